//! The seam between the wire library and our own messages, on the upstream's side. Its types appear nowhere else.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use portolan_exchange::{Body, BodyError, Fields, Frame, Request, Size};

/// A request as the wire library wants it.
///
/// # Errors
/// A text for the log, when method or target cannot be written as HTTP/1.1.
pub fn request_out(request: Request) -> Result<http::Request<Sent>, String> {
    let method = http::Method::from_bytes(request.method.as_str().as_bytes()).map_err(|error| error.to_string())?;
    let target = http::Uri::try_from(request.target.as_str()).map_err(|error| error.to_string())?;
    let mut out = http::Request::new(Sent(request.body));
    *out.method_mut() = method;
    *out.uri_mut() = target;
    let map = out.headers_mut();
    map.reserve(request.fields.len());
    for (name, value) in request.fields.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    Ok(out)
}

/// The fields of a response.
pub fn fields_in(map: &http::HeaderMap) -> Fields {
    let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut fields = Fields::with_capacity(map.len(), bytes);
    for (name, value) in map {
        fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    fields
}

/// A request's body on its way to the upstream.
pub struct Sent(Body);

impl Sent {
    /// A body to be sent.
    pub fn of(body: Body) -> Self {
        Self(body)
    }

    /// Whether the body could be sent once more: there is none, or all of it is here.
    pub fn again(&self) -> Option<Body> {
        match &self.0 {
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
        self.0.poll_frame(context).map(|frame| {
            frame.map(|frame| {
                frame.map(|frame| match frame {
                    Frame::Data(data) => http_body::Frame::data(data),
                    Frame::Trailers(fields) => {
                        let mut map = http::HeaderMap::new();
                        for (name, value) in fields.iter() {
                            if let (Ok(name), Ok(value)) =
                                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
                            {
                                map.append(name, value);
                            }
                        }
                        http_body::Frame::trailers(map)
                    }
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Body::Empty)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.0.size() {
            Size::Exact(size) => http_body::SizeHint::with_exact(size),
            Size::Unknown => http_body::SizeHint::default(),
        }
    }
}
