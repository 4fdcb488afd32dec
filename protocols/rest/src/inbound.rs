//! REST towards clients: requests checked against their operation, replies and faults rendered.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use portolan_exchange::body::Size;
use portolan_exchange::protocol::{Answer, Content, Described, Inbound, Reply};
use portolan_exchange::value::Payload;
use portolan_exchange::{Body, Exchange, Fault, FaultKind, Request, Response, Worker};

use crate::check::{self, BodyCheck, Head, Refusal};
use crate::{Contract, RestOperation, input};

/// Speaks REST to clients of one API, or of a route without a contract.
#[derive(Debug)]
pub struct RestInbound {
    operations: HashMap<Arc<str>, Arc<RestOperation>>,
    checks: Checks,
    input: Input,
    max_body: usize,
}

/// What is done about requests that do not fit their operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// They are not looked into.
    Off,
    /// They go on; the access log says what does not fit, and the exchange holds it as a ticket [`Misfit`].
    Report,
    /// They are refused.
    Enforce,
}

/// A request that went on although it does not fit: a ticket in its exchange.
#[derive(Debug)]
pub struct Misfit(pub Refusal);

/// Whether an operation's input is read, or goes through as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Through,
    Read,
}

impl RestInbound {
    /// For a route without a contract: everything goes through.
    pub fn plain() -> Self {
        Self { operations: HashMap::new(), checks: Checks::Off, input: Input::Through, max_body: 0 }
    }

    /// For the operations of a contract; an exchange's operation is found among them by its id. A body that is checked
    /// has at most `max_body` bytes.
    pub fn new(contract: &Contract, checks: Checks, max_body: usize) -> Self {
        let operations =
            contract.operations.iter().map(|operation| (operation.id.clone(), operation.clone())).collect();
        Self { operations, checks, input: Input::Through, max_body }
    }

    /// The same for routes whose upstream speaks another protocol: the input is read into the exchange.
    #[must_use]
    pub fn reading_input(mut self) -> Self {
        self.input = Input::Read;
        self
    }

    /// The operation as its contract has it.
    fn operation(&self, exchange: &Exchange) -> Option<&Arc<RestOperation>> {
        self.operations.get(&exchange.operation.as_ref()?.id)
    }

    /// Checks the request; in report, what does not fit is noted and goes on.
    fn check(&self, operation: &RestOperation, exchange: &mut Exchange) -> Result<(), Fault> {
        let Err(refusal) = checked(operation, exchange) else { return Ok(()) };
        if self.checks == Checks::Enforce {
            return Err(refusal.fault(operation));
        }
        let first =
            refusal.violations.first().map(|violation| format!("{}: {}", violation.location, violation.message));
        exchange.record.cause = Some(format!("does not fit, {}: {}", refusal.kind.code(), first.unwrap_or_default()));
        exchange.tickets.put(Misfit(refusal));
        Ok(())
    }
}

impl Inbound for RestInbound {
    fn protocol(&self) -> &'static str {
        "rest"
    }

    fn gathers(&self, exchange: &Exchange) -> Option<usize> {
        let operation = self.operation(exchange)?;
        if self.input == Input::Read {
            return Some(self.max_body);
        }
        if self.checks == Checks::Off || operation.body.as_ref().is_none_or(|body| !body.is_checked()) {
            return None;
        }
        // What is too long to be looked into is refused when checks are enforced, and goes on otherwise.
        if self.checks == Checks::Report
            && matches!(exchange.request.body.size(), Size::Exact(size) if size > self.max_body as u64)
        {
            return None;
        }
        with_head(exchange, operation, |head| match check::body_check(operation, head, has_body(&exchange.request)) {
            Ok(BodyCheck::Gather(_)) => Some(self.max_body),
            // What is wrong about it is said without reading it.
            Ok(BodyCheck::Pass) | Err(_) => None,
        })
    }

    fn describe(&self, _: &Rc<Worker>, exchange: &mut Exchange) -> Result<Described, Fault> {
        let Some(operation) = self.operation(exchange).cloned() else { return Ok(Described::One) };
        if self.checks != Checks::Off {
            self.check(&operation, exchange)?;
        }
        if self.input == Input::Read {
            let map = with_head(exchange, &operation, |head| input::read(&operation, head, &exchange.request));
            exchange.input = Some(Payload::of(map.map_err(|refusal| refusal.fault(&operation))?));
        }
        Ok(Described::One)
    }

    fn render(&self, exchange: &Exchange, answer: Answer) -> Response {
        match answer {
            Ok(reply) => render(exchange, reply),
            Err(fault) => fault.response(&exchange.id.to_string()),
        }
    }
}

fn render(exchange: &Exchange, reply: Reply) -> Response {
    let mut response = Response::new(reply.status);
    response.fields = reply.fields;
    match reply.content {
        Content::Bytes(body) => response.body = body,
        Content::Tunnel(tunnel) => response.tunnel = Some(tunnel),
        Content::Payload(payload) => {
            // They spoke of the bytes the payload was made from.
            for name in ["content-type", "content-length", "content-encoding", "etag"] {
                response.fields.remove(name);
            }
            response.fields.push(b"content-type", payload.media_type().as_bytes());
            response.body = Body::whole(payload.bytes());
        }
        Content::Events { .. } => {
            let fault = Fault::new(FaultKind::NotImplemented, "a stream of events cannot be answered as REST");
            return fault.response(&exchange.id.to_string());
        }
    }
    response
}

fn checked(operation: &RestOperation, exchange: &Exchange) -> Result<(), Refusal> {
    let request = &exchange.request;
    // Whoever reads the other one of the two reads another body than was checked.
    if request.fields.get_all("content-type").nth(1).is_some() {
        let kind = FaultKind::UnsupportedMediaType;
        return Err(Refusal::of(kind, "header.content-type", "is given more than once"));
    }
    with_head(exchange, operation, |head| match &request.body {
        Body::Whole(bytes) => check::request(operation, head, Some(bytes)),
        // Checked so far as it can be while it streams; a body that must be looked into was gathered before.
        Body::Stream(_) if has_body(request) => check::head(operation, head, true).map(drop),
        Body::Stream(_) | Body::Empty => check::request(operation, head, None),
    })
}

/// Whether content follows the head, as far as the head tells.
fn has_body(request: &Request) -> bool {
    request.body.size() != Size::Exact(0)
}

/// Shows the head of a request to a check.
fn with_head<T>(exchange: &Exchange, operation: &RestOperation, see: impl FnOnce(&Head<'_>) -> T) -> T {
    let matched = |name: &str| {
        let mut parameters = exchange.path_parameters.iter();
        parameters.find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    };
    let path = |name: &str| operation.path.value(name, matched);
    let header = |name: &str| joined(&exchange.request, name);
    see(&Head { path: &path, query: exchange.request.target.query().unwrap_or_default(), header: &header })
}

/// All fields of a name as one.
fn joined<'r>(request: &'r Request, name: &str) -> Option<Cow<'r, str>> {
    let separator = if name == "cookie" { "; " } else { ", " };
    let mut values = request.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
    let (_, first) = values.next()?;
    let mut value = String::from_utf8_lossy(first);
    for (_, more) in values {
        let value = value.to_mut();
        value.push_str(separator);
        value.push_str(&String::from_utf8_lossy(more));
    }
    Some(value)
}

#[cfg(test)]
mod tests;
