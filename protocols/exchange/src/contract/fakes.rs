//! What stands on the other side of a protocol under test.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Watch;
use crate::{
    Answer, Body, Content, Described, Exchange, Fault, Inbound, Kind, LocalBoxFuture, Moment, Operation, Outbound,
    Request, Response, Upstream, Worker,
};

/// A service that keeps what it was asked, and answers by a closure or not at all.
pub struct FakeUpstream {
    name: Arc<str>,
    answer: Option<Box<Answering>>,
    seen: Mutex<Vec<Seen>>,
    watch: Watch,
}

type Answering = dyn Fn(&Seen) -> Result<Response, Fault> + Send + Sync;

/// A request as an upstream saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its header fields, in order.
    pub fields: Vec<(String, String)>,
    /// Its content.
    pub body: SentBody,
    /// Until when the exchange waits for the answer.
    pub deadline: Moment,
}

/// The content that an upstream is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentBody {
    /// All of it at once; empty where there is none.
    Whole(Bytes),
    /// Still on its way, and not read here.
    Stream,
}

impl FakeUpstream {
    /// Answers at once, by this closure.
    pub fn answering(answer: impl Fn(&Seen) -> Result<Response, Fault> + Send + Sync + 'static) -> Arc<Self> {
        Self::of(Some(Box::new(answer)))
    }

    /// Takes the request and never answers.
    pub fn silent() -> Arc<Self> {
        Self::of(None)
    }

    fn of(answer: Option<Box<Answering>>) -> Arc<Self> {
        Arc::new(Self { name: "fake".into(), answer, seen: Mutex::default(), watch: Watch::default() })
    }

    /// What it was asked, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells whether calls that it does not answer still wait.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }
}

impl Upstream for FakeUpstream {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn send<'a>(
        &'a self,
        _: &'a Rc<Worker>,
        exchange: &'a mut Exchange,
        request: Request,
    ) -> LocalBoxFuture<'a, Result<Response, Fault>> {
        Box::pin(async move {
            let seen = Seen::of(&request, exchange.deadline);
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
            match &self.answer {
                Some(answer) => answer(&seen),
                // The request is held meanwhile, as a wire would.
                None => self.watch.never().await,
            }
        })
    }
}

impl Seen {
    fn of(request: &Request, deadline: Moment) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            method: request.method.to_string(),
            target: request.target.as_str().to_owned(),
            fields: request.fields.iter().map(|(name, value)| (text(name), text(value))).collect(),
            body: match &request.body {
                Body::Empty => SentBody::Whole(Bytes::new()),
                Body::Whole(bytes) => SentBody::Whole(bytes.clone()),
                Body::Stream(_) => SentBody::Stream,
            },
            deadline,
        }
    }
}

/// A protocol towards clients that knows one operation and renders as plainly as can be.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeInbound;

impl Inbound for FakeInbound {
    fn protocol(&self) -> &'static str {
        "fake"
    }

    fn describe(&self, _: &Rc<Worker>, exchange: &mut Exchange) -> Result<Described, Fault> {
        exchange.operation.get_or_insert_with(|| Arc::new(Operation::untyped("fake", Kind::Call)));
        Ok(Described::One)
    }

    fn render(&self, exchange: &Exchange, answer: Answer) -> Response {
        let reply = match answer {
            Ok(reply) => reply,
            Err(fault) => return fault.response(&exchange.id.to_string()),
        };
        let mut response = Response::new(reply.status);
        response.fields = reply.fields;
        match reply.content {
            Content::Bytes(body) => response.body = body,
            Content::Payload(payload) => response.body = Body::whole(payload.bytes()),
            Content::Tunnel(tunnel) => response.tunnel = Some(tunnel),
            Content::Events { .. } => {}
        }
        response
    }
}

/// A protocol towards upstreams that answers by a closure.
pub struct FakeOutbound(Box<dyn Fn(&Exchange) -> Answer + Send + Sync>);

impl FakeOutbound {
    /// Answers at once, by this closure.
    pub fn answering(answer: impl Fn(&Exchange) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new(answer)))
    }
}

impl Outbound for FakeOutbound {
    fn protocol(&self) -> &'static str {
        "fake"
    }

    fn call<'a>(&'a self, _: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Answer> {
        Box::pin(async move { (self.0)(exchange) })
    }
}
