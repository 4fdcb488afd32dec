//! The seam between the wire library and our own messages, on the upstream's side. Its types appear nowhere else.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use portolan_exchange::{Body, BodyError, Frame, Request, Size};
use tokio::sync::oneshot;

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
    // Dropped with the last piece: then the time for the first byte of the answer begins.
    end: Option<oneshot::Sender<()>>,
}

impl Sent {
    /// A body to be sent.
    pub fn of(body: Body) -> Self {
        Self { body, end: None }
    }

    /// Resolves when the body has ended, or is not read any more; `None` for one that is here as a whole.
    pub fn ended(&mut self) -> Option<oneshot::Receiver<()>> {
        if !matches!(self.body, Body::Stream(_)) {
            return None;
        }
        let (tell, told) = oneshot::channel();
        self.end = Some(tell);
        Some(told)
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
        let frame = std::task::ready!(self.body.poll_frame(context));
        // It ends with its end, its trailers, its failure, or the last byte of a known size.
        if !matches!(frame, Some(Ok(Frame::Data(_)))) || self.body.size() == Size::Exact(0) {
            self.end = None;
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
