//! The seam between the wire library and our own messages, on the upstream's side.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use portolan_exchange::{Body, BodyError, Frame, Request, Size};
use tokio::sync::Notify;

use crate::wire::{fields_out, frame_out};

/// A request as the wire library wants it.
///
/// # Errors
/// A text for the log, when method or target cannot be written as HTTP/1.1.
pub fn request_out(request: Request) -> Result<http::Request<Sent>, String> {
    let method = http::Method::from_bytes(request.method.as_str().as_bytes()).map_err(|error| error.to_string())?;
    let target = http::Uri::try_from(request.target.as_str()).map_err(|error| error.to_string())?;
    let mut out = http::Request::new(Sent::of(request.body));
    *out.method_mut() = method;
    *out.uri_mut() = target;
    *out.headers_mut() = fields_out(&request.fields);
    Ok(out)
}

/// A request's body on its way to the upstream.
pub struct Sent {
    body: Body,
    progress: Progress,
}

/// How far a request's body has come.
#[derive(Clone)]
pub struct Progress(Option<Rc<Ending>>);

struct Ending {
    arrives: Arrives,
    ended: Cell<bool>,
    told: Notify,
}

/// How a body arrives here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrives {
    Whole,
    InPieces,
}

impl Progress {
    /// Whether the body was sent to its end; true where there is none.
    pub fn has_ended(&self) -> bool {
        self.0.as_ref().is_none_or(|ending| ending.ended.get())
    }

    /// Whether all of it was here to be sent.
    pub fn has_arrived(&self) -> bool {
        self.has_ended() || self.0.as_ref().is_some_and(|ending| ending.arrives == Arrives::Whole)
    }

    /// Waits until all of it is here. A body that is not read any more never ends.
    pub async fn arrived(&self) {
        let Some(ending) = &self.0 else { return };
        if ending.arrives == Arrives::InPieces && !ending.ended.get() {
            ending.told.notified().await;
        }
    }

    fn end(&self) {
        if let Some(ending) = &self.0 {
            ending.ended.set(true);
            // Kept for one who comes later.
            ending.told.notify_one();
        }
    }
}

impl Sent {
    /// A body to be sent.
    pub fn of(body: Body) -> Self {
        let arrives = match body {
            Body::Empty => None,
            Body::Whole(_) => Some(Arrives::Whole),
            Body::Stream(_) => Some(Arrives::InPieces),
        };
        let ending = |arrives| Rc::new(Ending { arrives, ended: Cell::new(false), told: Notify::new() });
        Self { body, progress: Progress(arrives.map(ending)) }
    }

    /// How far it has come, for whoever waits for it.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Whether the body could be sent once more: there is none, or all of it is here.
    pub fn again(&self) -> Option<Body> {
        match &self.body {
            Body::Empty => Some(Body::Empty),
            Body::Whole(bytes) => Some(Body::Whole(bytes.clone())),
            Body::Stream(_) => None,
        }
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let whole = matches!(self.body, Body::Whole(_));
        let frame = std::task::ready!(self.body.poll_frame(context));
        // It ends with its end, its trailers, or the last byte of a known size; one that fails does not end.
        let last = match &frame {
            None | Some(Ok(Frame::Trailers(_))) => true,
            Some(Ok(Frame::Data(_))) => whole || self.body.size() == Size::Exact(0),
            Some(Err(_)) => false,
        };
        if last {
            self.progress.end();
        }
        Poll::Ready(frame.map(|frame| frame.map(frame_out)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.body, Body::Empty)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.body.size() {
            Size::Exact(size) => http_body::SizeHint::with_exact(size),
            Size::Unknown => http_body::SizeHint::default(),
        }
    }
}
