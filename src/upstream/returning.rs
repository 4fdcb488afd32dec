//! A response's body on its way back; behind its last byte the connection goes back to the pool.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use portolan_exchange::{Body, BodyError, BodyStream, Frame, Size};
use portolan_http1::{Decoder, Framing, Persistence};

use super::call::LIMITS;
use super::idle::Connection;
use super::place::Place;
use super::upload::{Broken, Upload};
use crate::wire::content;

/// A connection on which an answer comes, and what becomes of it.
pub struct Return {
    /// The connection.
    pub connection: Connection,
    /// The rest of the request: an answer may be there before its end.
    pub upload: Upload,
    /// The call's place, and so the way back.
    pub place: Place,
}

impl Return {
    /// The body that comes on the connection, of which pieces may be `idle` apart: whole where it is here already.
    pub fn body(self, framing: Framing, idle: Duration) -> Body {
        match content::whole(&self.connection.link, framing) {
            Some(bytes) => {
                // An upload that goes on is not waited for: its answer is complete.
                self.put();
                Body::whole(bytes)
            }
            None => Body::stream(Returning { back: Some(self), decoder: Decoder::new(framing), idle }),
        }
    }

    /// Both ways at once: sends what is still to come of the request.
    fn send_on(&mut self, context: &mut Context<'_>) -> Result<(), BodyError> {
        match self.upload.poll(&self.connection.link, context) {
            Poll::Ready(Err(Broken::Source(error))) => Err(error),
            Poll::Ready(Err(Broken::Faulty(how))) => Err(BodyError::Broken(how)),
            // A service that has answered and takes no more, or not in time: its answer counts.
            Poll::Ready(Ok(()) | Err(Broken::Refused | Broken::Stalled)) | Poll::Pending => Ok(()),
        }
    }

    /// The answer has come to its end: puts the connection back, if it is fit for another request.
    fn put(mut self) {
        let link = &self.connection.link;
        link.reading.clear();
        link.writing.clear();
        let (request, surplus) = (self.upload.progress(link), self.connection.surplus());
        if self.connection.calling.keep(request, surplus) == Persistence::KeepAlive {
            self.place.leave(self.connection);
        }
    }
}

/// The body of an upstream's response. Dropping it before its end closes the connection: that is the cancellation.
struct Returning {
    // Nothing once the body has ended, in whatever way.
    back: Option<Return>,
    decoder: Decoder,
    idle: Duration,
}

impl Returning {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            let Some(back) = &mut self.back else { return Poll::Ready(None) };
            back.send_on(context)?;
            let link = &back.connection.link;
            let frame = content::decode(link, &mut self.decoder, &LIMITS)?;
            if frame.is_some() {
                link.reading.clear();
            }
            if self.decoder.has_ended()
                && let Some(back) = self.back.take()
            {
                back.put();
                return Poll::Ready(frame.map(Ok));
            }
            if frame.is_some() {
                return Poll::Ready(frame.map(Ok));
            }
            ready!(self.poll_more(context)?);
        }
    }

    /// Waits until there is more to decode, or no more: a body may end with its connection.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(back) = &self.back else { return Poll::Ready(Ok(())) };
        let link = &back.connection.link;
        match link.poll_fill(context) {
            Poll::Ready(Ok(0)) => {
                self.decoder.close().map_err(|_| BodyError::Gone)?;
                self.back = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(_)) => Poll::Ready(Err(BodyError::Gone)),
            Poll::Pending => {
                if !link.reading.is_set() {
                    link.reading.set(link.reading.now().after(self.idle));
                }
                link.inflow_mut().cool();
                link.reading.poll(context).map(|()| Err(BodyError::Late))
            }
        }
    }
}

impl BodyStream for Returning {
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let next = self.poll_next(context);
        if let Poll::Ready(Some(Err(_))) = &next {
            self.back = None;
        }
        next
    }

    fn size(&self) -> Size {
        self.decoder.size()
    }
}
