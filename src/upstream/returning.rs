//! A response's body on its way back; behind its last byte the connection goes back to the pool.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use portolan_exchange::clock::Sleep;
use portolan_exchange::{BodyError, BodyStream, Clock, Frame, Size};

use super::pool::{Pooled, Pools};
use super::wire::Progress;
use crate::wire::{broken, frame_in};

/// Where a connection goes when its response was read.
pub struct Return {
    /// The worker's pools.
    pub pools: Rc<Pools>,
    /// The endpoint it leads to.
    pub endpoint: u64,
    /// How many may be kept.
    pub bound: usize,
    /// The time.
    pub clock: Clock,
    /// How long it may be kept.
    pub idle: Duration,
    /// The connection.
    pub connection: Pooled,
    /// How far the request has come: an answer may be there before its end.
    pub progress: Progress,
}

impl Return {
    /// Puts the connection back, if nothing of its request is still to be sent: whoever took it next would wait for a
    /// stranger's upload.
    pub fn put(self) {
        if self.progress.has_ended() {
            let until = self.clock.now().after(self.idle);
            self.pools.keep(self.endpoint, self.connection.let_go(), until, self.bound);
        }
    }
}

/// The body of an upstream's response. Dropping it before its end closes the connection: that is the cancellation.
pub struct Returning {
    body: Incoming,
    place: Option<Return>,
    clock: Clock,
    idle: Duration,
    // Runs while nothing arrives; made anew with each piece only if it was needed.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Returning {
    /// A body of which pieces may be `idle` apart.
    pub fn new(body: Incoming, place: Return, idle: Duration) -> Self {
        let clock = place.clock.clone();
        Self { body, place: Some(place), clock, idle, timer: None }
    }
}

impl BodyStream for Returning {
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let this = &mut *self;
        let frame = match http_body::Body::poll_frame(Pin::new(&mut this.body), context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let timer = this.timer.get_or_insert_with(|| Box::pin(this.clock.sleep(this.idle)));
                ready!(timer.as_mut().poll(context));
                return Poll::Ready(Some(Err(BodyError::Late)));
            }
        };
        this.timer = None;
        Poll::Ready(match frame {
            None => {
                if let Some(place) = this.place.take() {
                    place.put();
                }
                None
            }
            Some(Err(error)) => {
                this.place = None;
                Some(Err(broken(&error)))
            }
            Some(Ok(frame)) => {
                // A body of known length is not asked again after its last byte.
                if http_body::Body::is_end_stream(&this.body)
                    && let Some(place) = this.place.take()
                {
                    place.put();
                }
                Some(frame_in(frame))
            }
        })
    }

    fn size(&self) -> Size {
        http_body::Body::size_hint(&self.body).exact().map_or(Size::Unknown, Size::Exact)
    }
}
