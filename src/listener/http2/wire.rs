//! The seam between the wire library and our own messages, on the client's side.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use portolan_config::snapshot::Listener;
use portolan_exchange::{
    Body, BodyError, BodyStream, Fault, FaultKind, Fields, Frame, Method, Request, Response, Size, Target, Version,
    exchange,
};
use portolan_http1::{Refusal, is_allowed_in_trailers, is_authority};

use super::super::door::Door;
use super::super::http1::fault_of;
use super::pulse::Beat;
use crate::edge::pace::Pace;
use crate::pipeline::Tail;
use crate::wire::library::{broken, fields_in, fields_out, frame_in, frame_out};
use crate::wire::{Alarm, Upgrades, strip_hop};

/// A request that arrived.
pub struct Arrival {
    /// The request as we carry it.
    pub request: Request,
    /// Counts its content as it is read.
    pub counters: Rc<exchange::Bytes>,
}

/// The fields of a request's head, as they were received.
pub fn fields(received: &http::Request<Incoming>) -> Fields {
    fields_in(received.headers())
}

/// Takes a request from the wire library; these are its fields.
///
/// # Errors
/// A request that can be read in two ways, or that asks for what is not served.
pub fn request_in(received: http::Request<Incoming>, mut fields: Fields, door: &Door) -> Result<Arrival, Fault> {
    let authority = authority(&received, &fields)?;
    // Before any policy: what a client lists in `Connection` must not take away what a policy sets.
    strip_hop(&mut fields, Upgrades::Strip);
    let target = target(received.uri())?;
    let (head, body) = received.into_parts();
    let counters = Rc::new(exchange::Bytes::default());
    let body = if body.is_end_stream() {
        Body::Empty
    } else {
        let (late, settings) = (door.turn.alarms().alarm(), door.settings.clone());
        Body::stream(Received { body, counters: counters.clone(), pace: Pace::new(), late, settings })
    };
    let method = Method::of(head.method.as_str());
    let request = Request { method, target, authority, version: Version::Http2, fields, body, upgrade: None };
    Ok(Arrival { request, counters })
}

/// The host asked for: one, the same wherever it stands, and such as `Host` may hold over HTTP/1.1 (RFC 9113, section 8.3.1).
fn authority(received: &http::Request<Incoming>, fields: &Fields) -> Result<Box<str>, Fault> {
    let mut hosts = fields.get_all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Fault::new(FaultKind::BadRequest, "the request names its host twice"));
    }
    let of_target = received.uri().authority().map(http::uri::Authority::as_str);
    match (of_target, host) {
        (Some(of_target), Some(host)) if !host.eq_ignore_ascii_case(of_target.as_bytes()) => {
            Err(Fault::new(FaultKind::BadRequest, "the request's target and its host differ"))
        }
        (Some(of_target), _) => host_of(of_target.as_bytes()),
        (None, Some(host)) => host_of(host),
        (None, None) => Err(Fault::new(FaultKind::BadRequest, "the request names no host")),
    }
}

fn host_of(authority: &[u8]) -> Result<Box<str>, Fault> {
    let text = std::str::from_utf8(authority).ok().filter(|_| is_authority(authority));
    text.map(Into::into).ok_or_else(|| fault_of(Refusal::MalformedHost))
}

fn target(uri: &http::Uri) -> Result<Target, Fault> {
    match uri.path_and_query() {
        Some(path) => Ok(Target::new(path.as_str())),
        None => Err(Fault::new(FaultKind::MethodNotAllowed, "this is no tunnel; ask for a path")
            .field("allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")),
    }
}

/// A received body; its bytes are counted as they are read.
struct Received {
    body: Incoming,
    counters: Rc<exchange::Bytes>,
    pace: Pace,
    // Until when something must have come of it.
    late: Alarm,
    settings: Arc<Listener>,
}

impl BodyStream for Received {
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let Self { pace, late, settings, .. } = &mut *self;
            return pace.poll_late(settings, late, context).map(|()| Some(Err(BodyError::Late)));
        };
        let frame = match frame {
            None => None,
            Some(Ok(frame)) => Some(frame_in(frame).and_then(checked)),
            Some(Err(error)) => Some(Err(broken(&error))),
        };
        let bytes = if let Some(Ok(Frame::Data(data))) = &frame { data.len() } else { 0 };
        let received = &self.counters.received;
        received.set(received.get() + bytes as u64);
        let Self { pace, late, .. } = &mut *self;
        pace.arrives(bytes, late);
        Poll::Ready(frame)
    }

    fn size(&self) -> Size {
        self.body.size_hint().exact().map_or(Size::Unknown, Size::Exact)
    }
}

/// Trailers are held to the rule of HTTP/1.1's: behind us they would be trailers there.
fn checked(frame: Frame) -> Result<Frame, BodyError> {
    match &frame {
        Frame::Trailers(fields) if !fields.iter().all(|(name, _)| is_allowed_in_trailers(name)) => {
            Err(BodyError::Broken(Refusal::ForbiddenTrailer.sentence().to_owned()))
        }
        Frame::Trailers(_) | Frame::Data(_) => Ok(frame),
    }
}

/// A response as the wire library wants it, its exchange ending with its last byte.
pub fn response_out(response: Response, tail: Option<Tail>, beat: Beat) -> http::Response<Outgoing> {
    let mut out = http::Response::new(Outgoing { body: response.body, tail, _beat: beat });
    *out.status_mut() = http::StatusCode::from_u16(response.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    *out.headers_mut() = fields_out(&response.fields);
    out
}

/// A body on its way to the client.
pub struct Outgoing {
    body: Body,
    tail: Option<Tail>,
    _beat: Beat,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let was_whole = matches!(self.body, Body::Whole(_));
        let polled = catch_unwind(AssertUnwindSafe(|| self.body.poll_frame(context)));
        let frame = match polled {
            Ok(polled) => std::task::ready!(polled),
            Err(panic) => {
                self.body = Body::Empty;
                let panic = crate::pipeline::panic_text(panic.as_ref());
                if let Some(tail) = self.tail.take() {
                    tail.panicked(&panic);
                }
                return Poll::Ready(Some(Err(BodyError::Broken(panic))));
            }
        };
        match frame {
            Some(Ok(Frame::Data(data))) => {
                if let Some(tail) = &mut self.tail {
                    tail.sent(data.len());
                }
                // A body in one piece ends with it, and the library does not ask again.
                if was_whole || self.body.size() == Size::Exact(0) {
                    self.tail.take().map(Tail::complete).unwrap_or_default();
                }
                Poll::Ready(Some(Ok(http_body::Frame::data(data))))
            }
            Some(Ok(trailers)) => Poll::Ready(Some(Ok(frame_out(trailers)))),
            Some(Err(error)) => {
                if let Some(tail) = self.tail.take() {
                    tail.broke(&error);
                }
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.tail.take().map(Tail::complete).unwrap_or_default();
                Poll::Ready(None)
            }
        }
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
