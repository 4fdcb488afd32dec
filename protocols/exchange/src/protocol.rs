//! The traits by which protocols meet the pipeline: any inbound can be paired with any outbound.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::events::{Cursor, EventLog};
use crate::upgrade::Tunnel;
use crate::value::Payload;
use crate::{Body, Exchange, Fault, Fields, LocalBoxFuture, Request, Response, Target, Worker};

/// What an exchange ends with.
pub type Answer = Result<Reply, Fault>;

/// What an upstream, a cache or a policy answered.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status where the answer has one; 200 otherwise.
    pub status: u16,
    /// Header fields of the answer.
    pub fields: Fields,
    /// What it holds.
    pub content: Content,
}

/// What a reply holds.
pub enum Content {
    /// Bytes on their way through: both sides speak the same protocol.
    Bytes(Body),
    /// One payload, to be rendered by the inbound protocol.
    Payload(Payload),
    /// Events from a place in a log on.
    Events {
        /// The log.
        log: Arc<EventLog>,
        /// The place.
        cursor: Cursor,
    },
    /// Bytes both ways, once the head is sent.
    Tunnel(Tunnel),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(body) => write!(f, "Bytes({body:?})"),
            Self::Payload(_) => f.write_str("Payload"),
            Self::Events { log, .. } => write!(f, "Events({})", log.topic()),
            Self::Tunnel(_) => f.write_str("Tunnel"),
        }
    }
}

impl Reply {
    /// A reply of one payload.
    pub fn payload(payload: Payload) -> Self {
        Self { status: 200, fields: Fields::new(), content: Content::Payload(payload) }
    }

    /// A response on its way through.
    pub fn through(response: Response) -> Self {
        let content = match response.tunnel {
            Some(tunnel) => Content::Tunnel(tunnel),
            None => Content::Bytes(response.body),
        };
        Self { status: response.status, fields: response.fields, content }
    }
}

/// Where heads go that an upstream sends before its answer's own (RFC 9110, section 15.2): 103 Early Hints, or 100 Continue.
pub trait Interim {
    /// Passes one on to the client; nothing where its protocol has none.
    fn send(self: Rc<Self>, status: u16, fields: &Fields);
}

/// What the inbound protocol found in the request.
pub enum Described {
    /// One operation, now standing in the exchange.
    One,
    /// Several: each is an exchange of its own, made by [`Exchange::child`], and their answers are joined.
    Batch(Vec<Exchange>),
}

/// A protocol towards clients.
pub trait Inbound: Send + Sync {
    /// Its name in logs: `rest`.
    fn protocol(&self) -> &'static str;

    /// Up to how many bytes of the body [`Inbound::describe`] needs gathered; `None` leaves it streaming.
    fn gathers(&self, exchange: &Exchange) -> Option<usize> {
        let _ = exchange;
        None
    }

    /// Completes the operation from head, body or frame, and puts it into the exchange. A child exchange, or a session's first
    /// frame, comes here with the operation that its parent gave it.
    ///
    /// # Errors
    /// A fault of the caller, that says what does not fit and where.
    fn describe(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Result<Described, Fault>;

    /// Whether this exchange opens a session in whose first frame the client may say who it is, so that it may come without
    /// credentials. Asked before Describe, of requests that showed none.
    fn takes_credentials_later(&self, exchange: &Exchange) -> bool {
        let _ = exchange;
        false
    }

    /// Opens the session of an exchange whose operation is of kind `Session`: a reply with a tunnel.
    ///
    /// # Errors
    /// A fault of the caller when the upgrade is not one.
    fn open(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Answer {
        let _ = (worker, exchange);
        Err(Fault::new(crate::FaultKind::NotImplemented, "this protocol has no sessions"))
    }

    /// Joins the answers of a batch, in the order of its children.
    fn join(&self, exchange: &Exchange, answers: Vec<(Exchange, Answer)>) -> Answer {
        let _ = (exchange, answers);
        Err(Fault::new(crate::FaultKind::NotImplemented, "this protocol has no batches"))
    }

    /// Renders a reply or a fault as a response.
    fn render(&self, exchange: &Exchange, answer: Answer) -> Response;
}

/// A protocol towards upstreams.
pub trait Outbound: Send + Sync {
    /// Its name in logs: `http`.
    fn protocol(&self) -> &'static str;

    /// Up to how many bytes of the body a call needs gathered; `None` leaves it streaming.
    fn gathers(&self, exchange: &Exchange) -> Option<usize> {
        let _ = exchange;
        None
    }

    /// Whether a call ends by itself at the exchange's deadline, with a fault that says what was late. Otherwise it is dropped then.
    fn keeps_deadline(&self) -> bool {
        false
    }

    /// Makes the call, or several. Dropping the future cancels it at the upstream and gives back its permits.
    fn call<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Answer>;
}

/// A service that speaks HTTP, as outbound protocols hold it. Behind it stand the choice of an endpoint, permits of breakers,
/// time-outs and the worker's pool of connections.
pub trait Upstream: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &Arc<str>;

    /// Sends a request and waits for the head of the response. Hop-by-hop fields are removed on both ways, `Host`,
    /// `Via` and `X-Forwarded-*` are set, the exchange's record notes endpoint and time. Ends at the exchange's deadline at the latest.
    /// Dropping the future, or later the response's body,
    /// cancels the call.
    ///
    /// # Errors
    /// Faults of class upstream, an open circuit, or the deadline.
    fn send<'a>(
        &'a self,
        worker: &'a Rc<Worker>,
        exchange: &'a mut Exchange,
        request: Request,
    ) -> LocalBoxFuture<'a, Result<Response, Fault>>;

    /// Sends the exchange's own request, whose response is its answer as it comes; `target` stands in place of the request's own,
    /// which stays for the record as the method does. As [`Upstream::send`], with less that is moved where the upstream knows how.
    /// What else there is of the request afterwards is nobody's: it may be gone, or be what the upstream was told.
    fn pass<'a>(
        &'a self,
        worker: &'a Rc<Worker>,
        exchange: &'a mut Exchange,
        target: Option<Target>,
    ) -> LocalBoxFuture<'a, Answer> {
        let received = &mut exchange.request;
        let request = Request {
            method: received.method.clone(),
            target: target.unwrap_or_else(|| received.target.clone()),
            authority: std::mem::take(&mut received.authority),
            version: received.version,
            fields: std::mem::take(&mut received.fields),
            body: std::mem::take(&mut received.body),
            upgrade: received.upgrade.take(),
        };
        Box::pin(async move { self.send(worker, exchange, request).await.map(Reply::through) })
    }

    /// An answer's body on its way into memory, to be read in its place: where the upstream counts what is held, it counts this
    /// for as long as the exchange is under way.
    fn held(&self, _worker: &Worker, _exchange: &mut Exchange, body: Body) -> Body {
        body
    }
}
