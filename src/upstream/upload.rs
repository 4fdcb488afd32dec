//! A request's body on its way to an upstream.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, ready};

use portolan_exchange::{Body, BodyError, Fields, Frame, Method, Moment, Size};
use portolan_http1::{self as http1, Framing};

use super::hop;
use crate::wire::{HIGH_WATER, Link, buffers};

/// A request's body on its way to an upstream.
pub struct Upload {
    body: Body,
    framing: Framing,
    // Of a body whose length was announced, so many bytes were not queued yet.
    left: u64,
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
        let left = if let Framing::Length(length) = framing { length } else { 0 };
        Self { body, framing, left, stage: Stage::Arriving, stall }
    }

    /// How it is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether nothing more of it is waited for.
    pub fn has_arrived(&self) -> bool {
        self.stage != Stage::Arriving
    }

    /// Whether the system has taken all of it: nothing of it is in the way of another request.
    pub fn has_left(&self, link: &Link) -> bool {
        matches!(self.stage, Stage::Queued | Stage::Sent) && link.waiting() == 0
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
                    Poll::Ready(None) => self.end(link, None)?,
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
        let before = link.waiting();
        match link.poll_drained(context) {
            Poll::Ready(taken) => {
                link.writing.clear();
                Poll::Ready(taken.map_err(|_| self.stop(Broken::Refused)))
            }
            Poll::Pending => {
                if link.waiting() < before || !link.writing.is_set() {
                    let now: Moment = link.writing.now();
                    link.writing.set(now.after(self.stall));
                }
                link.writing.poll(context).map(|()| Err(self.stop(Broken::Stalled)))
            }
        }
    }

    /// Reads no more of the body: nobody takes it, and its sender learns that when it is let go.
    fn stop(&mut self, broken: Broken) -> Broken {
        self.stage = Stage::Refused;
        self.body = Body::Empty;
        broken
    }

    fn queue(&mut self, link: &Link, frame: Frame) -> Result<(), Broken> {
        match frame {
            Frame::Data(data) if self.framing == Framing::Chunked => {
                // An empty one would be the last.
                if !data.is_empty() {
                    link.queue_chunk(data);
                }
                Ok(())
            }
            Frame::Data(data) => {
                self.left = self.left.checked_sub(data.len() as u64).ok_or_else(miscounted)?;
                link.queue_bytes(data);
                if self.left == 0 { self.end(link, None) } else { Ok(()) }
            }
            Frame::Trailers(mut fields) => {
                // What the head must not claim, its trailers must not claim either.
                fields.retain(|name, _| !hop::is_claim(name));
                self.end(link, Some(&fields))
            }
        }
    }

    fn end(&mut self, link: &Link, trailers: Option<&Fields>) -> Result<(), Broken> {
        if self.left > 0 {
            return Err(miscounted());
        }
        if self.framing == Framing::Chunked {
            let mut last = buffers::head();
            http1::write_last_chunk(&mut last, trailers);
            link.queue_head(last);
        }
        self.stage = Stage::Queued;
        Ok(())
    }
}

/// One byte less or more than announced, and the upstream takes the next request for a part of this one.
fn miscounted() -> Broken {
    Broken::Faulty("a body was not as long as it had said".to_owned())
}
