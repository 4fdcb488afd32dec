//! A response's body on its way back; behind its last byte the connection goes back to the pool.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use portolan_exchange::{BodyError, BodyStream, Frame, Moment, Size};
use portolan_http1::{Decoder, Framing, Limits, Persistence, Piece};

use super::idle::Connection;
use super::pool::Pools;
use super::seats::Seat;
use super::upload::{Broken, Upload};
use crate::wire::Link;

/// Where a connection goes when its response was read.
pub struct Return {
    /// The connection.
    pub connection: Connection,
    /// The rest of the request: an answer may be there before its end.
    pub upload: Upload,
    /// Whether the upstream keeps the connection.
    pub persistence: Persistence,
    /// The worker's pools.
    pub pools: Rc<Pools>,
    /// How many may be kept.
    pub bound: usize,
    /// How long it may be kept.
    pub idle: Duration,
    /// The call's place among those of the upstream.
    pub _seat: Seat,
}

impl Return {
    /// Puts the connection back, if nothing of its request is still to be sent, which whoever took it next would wait for, and
    /// nothing has arrived behind the response.
    pub fn put(self, now: Moment) {
        let link = &self.connection.link;
        let has_left = self.upload.has_left(link);
        link.reading.clear();
        link.writing.clear();
        if has_left && self.persistence == Persistence::KeepAlive {
            self.pools.keep(self.connection, now.after(self.idle), self.bound);
        }
    }
}

/// The body of an upstream's response. Dropping it before its end closes the connection: that is the cancellation.
pub struct Returning {
    place: Option<Return>,
    decoder: Decoder,
    limits: Limits,
    idle: Duration,
}

impl Returning {
    /// A body of which pieces may be `idle` apart.
    pub fn new(place: Return, framing: Framing, limits: Limits, idle: Duration) -> Self {
        Self { place: Some(place), decoder: Decoder::new(framing), limits, idle }
    }

    /// The next piece of what is here.
    fn decode(&mut self, link: &Link) -> Result<Option<Frame>, BodyError> {
        let mut inflow = link.inflow_mut();
        while inflow.len() > 0 && !self.decoder.has_ended() {
            let piece = self
                .decoder
                .decode(inflow.bytes(), &self.limits)
                .map_err(|refusal| BodyError::Broken(refusal.sentence().to_owned()))?;
            match piece {
                Piece::Data { range, consumed } => return Ok(Some(Frame::Data(inflow.take(range, consumed)))),
                Piece::Trailers { fields, consumed } => {
                    inflow.consume(consumed);
                    return Ok(Some(Frame::Trailers(fields)));
                }
                Piece::End { consumed } => inflow.consume(consumed),
                Piece::More { consumed } => {
                    inflow.consume(consumed);
                    if consumed == 0 {
                        break;
                    }
                }
            }
        }
        Ok(None)
    }

    fn end(&mut self) {
        if let Some(place) = self.place.take() {
            let now = place.connection.link.reading.now();
            place.put(now);
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        self.place = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl BodyStream for Returning {
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let this = &mut *self;
        loop {
            let Some(place) = &mut this.place else { return Poll::Ready(None) };
            let link = place.connection.link.clone();
            // Both ways at once: what is still to come of the request goes on.
            match place.upload.poll(&link, context) {
                Poll::Ready(Err(Broken::Source(error))) => return this.fail(error),
                // The upstream has answered and takes no more; its answer counts.
                Poll::Ready(Ok(()) | Err(Broken::Refused)) | Poll::Pending => {}
                Poll::Ready(Err(Broken::Stalled)) => return this.fail(BodyError::Late),
                Poll::Ready(Err(Broken::Panicked(panic))) => return this.fail(BodyError::Broken(panic)),
            }
            match this.decode(&link) {
                Ok(frame) => {
                    if this.decoder.has_ended() {
                        this.end();
                    }
                    if let Some(frame) = frame {
                        link.reading.clear();
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    if this.place.is_none() {
                        return Poll::Ready(None);
                    }
                }
                Err(error) => return this.fail(error),
            }
            match link.poll_fill(context) {
                Poll::Ready(Ok(0)) => {
                    if this.decoder.close().is_err() {
                        return this.fail(BodyError::Gone);
                    }
                    this.place = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Err(_)) => return this.fail(BodyError::Gone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    if !link.reading.is_set() {
                        link.reading.set(link.reading.now().after(this.idle));
                    }
                    link.inflow_mut().cool();
                    if link.reading.poll(context).is_ready() {
                        return this.fail(BodyError::Late);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn size(&self) -> Size {
        self.decoder.size()
    }
}
