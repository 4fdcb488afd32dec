//! GraphQL towards clients: a `POST` is read, its document looked up or analysed, and priced with its variables, before
//! any policy that costs something runs. A batch becomes one exchange for each of its requests.

use std::rc::Rc;
use std::sync::Arc;

use portolan_config::snapshot::GraphQlLimits;
use portolan_exchange::value::json::encode;
use portolan_exchange::value::{Payload, Value};
use portolan_exchange::{
    Answer, Body, Described, Exchange, Fault, FaultKind, Inbound, Kind, Method, Operation, Response, Worker,
};

use crate::document::OperationKind;
use crate::documents::{DEFAULT_CAPACITY, Documents};
use crate::error::Error;
use crate::limits::Limit;
use crate::render::{self, refuse};
use crate::request::{Call, Requests, Unreadable, read};
use crate::schema::Schema;

/// The GraphQL API of a route.
#[derive(Debug)]
pub struct GraphQlInbound {
    documents: Documents,
    max_body: usize,
    batch: Arc<Operation>,
}

/// What the parent of a batch found out about an element, for its own exchange to tell.
struct Judged(Result<(), Fault>);

impl GraphQlInbound {
    /// An API with this schema and these limits; its document cache is empty. A body has at most `max_body` bytes.
    pub fn new(schema: Arc<Schema>, limits: &GraphQlLimits, max_body: usize) -> GraphQlInbound {
        let documents = Documents::new(schema, limits.into(), DEFAULT_CAPACITY);
        GraphQlInbound { documents, max_body, batch: Arc::new(Operation::untyped("batch", Kind::Call)) }
    }

    /// The documents seen, and how much they take.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// Puts the operation of one request into its exchange: what is asked for, its cost, its variables as input.
    fn describe_call(&self, exchange: &mut Exchange, call: Call) -> Result<(), Fault> {
        let verdict = self.documents.verdict(&call.query);
        let analyzed = match verdict.as_ref() {
            Ok(analyzed) => analyzed,
            Err(errors) => return Err(refuse(exchange, errors.clone())),
        };
        let operation = match analyzed.operation(call.operation_name.as_deref()) {
            Ok(operation) => operation,
            Err(error) => return Err(refuse(exchange, vec![error])),
        };
        if operation.kind == OperationKind::Subscription {
            let message = "a subscription cannot be answered over plain HTTP";
            let error = Error::new(FaultKind::QueryInvalid, message).at(operation.location(&call.query));
            return Err(refuse(exchange, vec![error]));
        }
        let (cost, max) = (analyzed.price(operation, &call.variables), self.documents.limits().cost);
        if cost > max {
            let error = Error::over(Limit::Cost, cost, max).at(operation.location(&call.query));
            return Err(refuse(exchange, vec![error]));
        }
        exchange.cost = cost.max(1);
        exchange.operation = Some(operation.asked.clone());
        exchange.input = Some(Payload::of(Value::Map(call.variables)));
        Ok(())
    }

    /// One exchange for each request of a batch. What is wrong with one of them is for that one to tell.
    fn describe_batch(&self, worker: &Rc<Worker>, exchange: &mut Exchange, elements: Vec<Value>) -> Vec<Exchange> {
        exchange.operation = Some(self.batch.clone());
        let now = worker.clock.now();
        let child = |element: Value| {
            let mut child = exchange.child(self.batch.clone(), now);
            child.request.fields = exchange.request.fields.clone();
            child.request.authority = exchange.request.authority.clone();
            // The list of answers is put together from theirs: they must be readable, and no part of another length.
            for name in ["content-length", "content-encoding", "accept-encoding", "transfer-encoding"] {
                child.request.fields.remove(name);
            }
            child.request.body = Body::whole(encode(&element));
            let judged = match Call::of(element, self.documents.limits()) {
                Ok(call) => self.describe_call(&mut child, call),
                Err(error) => Err(refuse(&mut child, vec![error])),
            };
            child.tickets.put(Judged(judged));
            child
        };
        elements.into_iter().map(child).collect()
    }
}

impl Inbound for GraphQlInbound {
    fn protocol(&self) -> &'static str {
        "graphql"
    }

    fn gathers(&self, _: &Exchange) -> Option<usize> {
        Some(self.max_body)
    }

    fn describe(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Result<Described, Fault> {
        if let Some(Judged(judged)) = exchange.tickets.take::<Judged>() {
            return judged.map(|()| Described::One);
        }
        check_head(exchange)?;
        let body = match &exchange.request.body {
            Body::Whole(bytes) => bytes.clone(),
            Body::Empty | Body::Stream(_) => return Err(Fault::new(FaultKind::MalformedBody, "the body is empty")),
        };
        match read(&body, self.documents.limits()) {
            Ok(Requests::One(call)) => self.describe_call(exchange, call).map(|()| Described::One),
            Ok(Requests::Batch(elements)) => Ok(Described::Batch(self.describe_batch(worker, exchange, elements))),
            Err(Unreadable::Malformed(fault)) => Err(fault),
            Err(Unreadable::Refused(error)) => Err(refuse(exchange, vec![error])),
        }
    }

    fn join(&self, exchange: &Exchange, answers: Vec<(Exchange, Answer)>) -> Answer {
        Ok(render::batch(exchange, answers))
    }

    fn render(&self, exchange: &Exchange, answer: Answer) -> Response {
        render::response(exchange, answer)
    }
}

/// A GraphQL request is a `POST` of JSON. Demanding the media type also keeps out what a browser sends to a foreign site
/// without asking it first.
fn check_head(exchange: &Exchange) -> Result<(), Fault> {
    let request = &exchange.request;
    if request.method != Method::Post {
        let detail = format!("GraphQL requests come by POST, not {}", request.method);
        return Err(Fault::new(FaultKind::MethodNotAllowed, detail).field("allow", "POST"));
    }
    let refused = |detail: &'static str| Err(Fault::new(FaultKind::UnsupportedMediaType, detail));
    let essence = request.fields.get_str("content-type").and_then(|value| value.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return refused("a GraphQL request has `content-type: application/json`");
    }
    match request.fields.get_str("content-encoding") {
        // What is packed cannot be looked into, and what was not looked into must not pass.
        Some(coding) if !coding.eq_ignore_ascii_case("identity") => refused("a packed body cannot be read"),
        _ => Ok(()),
    }
}
