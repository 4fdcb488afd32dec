//! What the seam to the wire library needs, for HTTP/2: fields, frames and errors, translated one way or the other.

use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use portolan_exchange::{BodyError, Fields, Frame};

/// The fields of a received head, or of trailers.
pub fn fields_in(map: &HeaderMap) -> Fields {
    let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut fields = Fields::with_capacity(map.len(), bytes);
    for (name, value) in map {
        fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    fields
}

/// Our fields as the wire library wants them. A field that cannot stand in a head is left out.
pub fn fields_out(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// A received piece of a body.
///
/// # Errors
/// A piece of a kind that HTTP does not have.
pub fn frame_in(frame: http_body::Frame<bytes::Bytes>) -> Result<Frame, BodyError> {
    match frame.into_data() {
        Ok(data) => Ok(Frame::Data(data)),
        Err(frame) => match frame.into_trailers() {
            Ok(trailers) => Ok(Frame::Trailers(fields_in(&trailers))),
            Err(_) => Err(BodyError::Broken("a frame of an unknown kind".to_owned())),
        },
    }
}

/// A piece of a body to be sent.
pub fn frame_out(frame: Frame) -> http_body::Frame<bytes::Bytes> {
    match frame {
        Frame::Data(data) => http_body::Frame::data(data),
        Frame::Trailers(fields) => http_body::Frame::trailers(fields_out(&fields)),
    }
}

/// What a body broke off with.
pub fn broken(error: &hyper::Error) -> BodyError {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let cut = |cause: &std::io::Error| {
        matches!(cause.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
    };
    if cause.is_some_and(cut) || error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        BodyError::Gone
    } else if error.is_timeout() {
        BodyError::Late
    } else {
        BodyError::Broken(error.to_string())
    }
}
