//! A request's body on its way to an upstream.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, ready};

use portolan_exchange::{Body, BodyError, Frame, Method, Size};
use portolan_http1::Framing;
use portolan_http1::connection::Progress;

use super::hop;
use crate::wire::content::{Framer, Miscounted};
use crate::wire::{HIGH_WATER, Link, NotTaken};

/// A request's body on its way to an upstream.
pub struct Upload {
    body: Body,
    framer: Framer,
    stage: Stage,
    stall: std::time::Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// More of it is to come.
    Arriving,
    /// All of it is queued.
    Queued,
    /// All of it is sent.
    Sent,
    /// The upstream takes no more of it.
    Refused,
}

/// Why a body was not sent to its end.
#[derive(Debug)]
pub enum Broken {
    /// Its source failed.
    Source(BodyError),
    /// The upstream takes nothing more of it; it may have answered already.
    Refused,
    /// The upstream takes nothing for too long.
    Stalled,
    /// Its source did what none may, or panicked: what there is to say of it.
    Faulty(String),
}

impl Upload {
    /// The body of a request of this method, of which the upstream may take nothing for `stall`.
    pub fn new(body: Body, method: &Method, stall: std::time::Duration) -> Self {
        let framing = match (&body, body.size()) {
            // A method that gives content a meaning says that there is none (RFC 9110, section 8.6).
            (Body::Empty, _) if matches!(method, Method::Post | Method::Put | Method::Patch) => Framing::Length(0),
            (Body::Empty, _) => Framing::None,
            (_, Size::Exact(length)) => Framing::Length(length),
            (_, Size::Unknown) => Framing::Chunked,
        };
        Self { body, framer: Framer::new(framing), stage: Stage::Arriving, stall }
    }

    /// How it is framed.
    pub fn framing(&self) -> Framing {
        self.framer.framing()
    }

    /// Whether nothing more of it is waited for.
    pub fn has_arrived(&self) -> bool {
        self.stage != Stage::Arriving
    }

    /// How much the system has taken of it. After the end of it, nothing of it is in the way of another request.
    pub fn progress(&self, link: &Link) -> Progress {
        match self.stage {
            Stage::Queued | Stage::Sent if link.waiting() == 0 => Progress::Ended,
            Stage::Queued | Stage::Sent | Stage::Arriving | Stage::Refused => Progress::Open,
        }
    }

    /// Queues a body that is here whole behind its head.
    pub fn queue_whole(&mut self, link: &Link) {
        match std::mem::take(&mut self.body) {
            Body::Empty => self.stage = Stage::Sent,
            Body::Whole(bytes) => {
                link.queue_bytes(bytes);
                self.stage = Stage::Queued;
            }
            streaming @ Body::Stream(_) => self.body = streaming,
        }
    }

    /// Sends on. Ready when all of it is sent, or no more of it will be.
    pub fn poll(&mut self, link: &Link, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            match self.stage {
                Stage::Sent => return Poll::Ready(Ok(())),
                Stage::Refused => return Poll::Ready(Err(Broken::Refused)),
                Stage::Queued => {
                    ready!(self.poll_taken(link, context)?);
                    self.stage = Stage::Sent;
                }
                Stage::Arriving if link.waiting() >= HIGH_WATER => ready!(self.poll_taken(link, context)?),
                Stage::Arriving => match self.poll_frame(context)? {
                    Poll::Ready(Some(frame)) => self.queue(link, frame)?,
                    Poll::Ready(None) => self.end(link)?,
                    Poll::Pending => {
                        // What is queued goes out meanwhile.
                        let _ = self.poll_taken(link, context)?;
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// The next piece of the body. A panic of its source ends this request alone, and does not count for the upstream.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Broken>>> {
        match catch_unwind(AssertUnwindSafe(|| self.body.poll_frame(context))) {
            Ok(polled) => polled.map_err(Broken::Source),
            Err(panic) => {
                self.body = Body::Empty;
                Poll::Ready(Some(Err(Broken::Faulty(crate::pipeline::panic_text(panic.as_ref())))))
            }
        }
    }

    /// Waits until the upstream has taken what is queued.
    fn poll_taken(&mut self, link: &Link, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        link.poll_taken(context, self.stall).map_err(|not_taken| {
            self.stop(match not_taken {
                NotTaken::Broken => Broken::Refused,
                NotTaken::Stalled => Broken::Stalled,
            })
        })
    }

    /// Reads no more of the body: nobody takes it, and its sender learns that when it is let go.
    fn stop(&mut self, broken: Broken) -> Broken {
        self.stage = Stage::Refused;
        self.body = Body::Empty;
        broken
    }

    fn queue(&mut self, link: &Link, mut frame: Frame) -> Result<(), Broken> {
        if let Frame::Trailers(fields) = &mut frame {
            // What the head must not claim, its trailers must not claim either.
            hop::strip_claims(fields);
        }
        let queued = self.framer.queue(link, frame);
        self.arrived(queued)
    }

    fn end(&mut self, link: &Link) -> Result<(), Broken> {
        let queued = self.framer.end(link, None);
        self.arrived(queued)
    }

    fn arrived(&mut self, queued: Result<(), Miscounted>) -> Result<(), Broken> {
        queued.map_err(|miscounted| Broken::Faulty(miscounted.to_string()))?;
        if self.framer.has_ended() {
            self.stage = Stage::Queued;
        }
        Ok(())
    }
}
