//! Operations of other protocols answered by a GraphQL service: a document stored in the configuration, the operation's
//! input as its variables, and a part of `data` as the reply, told as the operation's output type says it.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use portolan_exchange::protocol::Reply;
use portolan_exchange::value::json::{DecodeLimits, decode, encode};
use portolan_exchange::value::{Map, Payload, Type, Value};
use portolan_exchange::{
    Answer, Body, BodyError, Exchange, Fault, FaultKind, LocalBoxFuture, Method, Outbound, Request, Response, Target,
    Upstream, Worker,
};

use crate::document::{Document, OperationKind, VariableDefinition};
use crate::documents::stopped;
use crate::error::Error;
use crate::fitting::{fit, number};
use crate::limits::Limits;
use crate::parser::parse;

/// An answer may have this many bytes. It is gathered, so it stays in memory until it is sent.
pub const MAX_ANSWER: usize = 8 << 20;

/// Fields of a request that speak of its body, or of what answer is wanted: they are not those of the GraphQL request.
const OF_THE_BODY: [&str; 15] = [
    "content-type",
    "content-length",
    "content-encoding",
    "content-language",
    "content-location",
    "transfer-encoding",
    "expect",
    "accept",
    "accept-encoding",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
];

/// A stored document and the service that executes it.
pub struct StoredOutbound {
    upstream: Arc<dyn Upstream>,
    target: Target,
    document: String,
    variables: Vec<Variable>,
    pointer: Box<str>,
}

/// A variable that the document declares, and what its type takes.
#[derive(Debug, PartialEq)]
struct Variable {
    name: Box<str>,
    takes: Takes,
}

/// Which reading of a text or a number a variable's type wants. Parameters of a path or a query are text, until their
/// contract says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Int,
    Float,
    Boolean,
    Text,
    Anything,
}

impl StoredOutbound {
    /// A document that `upstream` executes under `path`; the reply is what the JSON pointer (RFC 6901) names in `data`,
    /// all of it when the pointer is empty. The document was found sound by [`crate::contract::check_stored`]; of one that
    /// is not, no variables are known, and the service will refuse it.
    pub fn new(upstream: Arc<dyn Upstream>, path: &str, document: &str, pointer: &str) -> StoredOutbound {
        let variable = |definition: &VariableDefinition| Variable {
            name: definition.name.of(document).into(),
            takes: Takes::of(definition.of.of(document), definition.lists),
        };
        let variables = read(document).map(|parsed| parsed.variables.iter().map(variable).collect());
        StoredOutbound {
            upstream,
            target: Target::new(path),
            document: document.to_owned(),
            variables: variables.unwrap_or_default(),
            pointer: pointer.into(),
        }
    }

    /// The document's variables, as far as the operation's input has members of their names.
    fn variables(&self, input: Option<&Value>) -> Map {
        let mut variables = Map::new();
        for variable in &self.variables {
            if let Some(value) = input.and_then(|input| input.get(&variable.name)) {
                variables.insert(&*variable.name, variable.takes.read(value.clone()));
            }
        }
        variables
    }

    fn request(&self, exchange: &Exchange, variables: Map) -> Request {
        let members = Map::new().with("query", self.document.as_str()).with("variables", Value::Map(variables));
        let mut request = Request::new(Method::Post, self.target.clone());
        request.fields = exchange.request.fields.clone();
        for name in OF_THE_BODY {
            request.fields.remove(name);
        }
        request.fields.push(b"content-type", b"application/json");
        request.fields.push(b"accept", b"application/graphql-response+json, application/json;q=0.9");
        request.authority = exchange.request.authority.clone();
        request.version = exchange.request.version;
        request.body = Body::whole(encode(&Value::Map(members)));
        request
    }

    async fn ask(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Answer {
        let input =
            match &exchange.input {
                Some(input) => Some(input.value(&Type::Any).map_err(|error| {
                    Fault::new(FaultKind::MalformedBody, "the input could not be read").because(error)
                })?),
                None => None,
            };
        let request = self.request(exchange, self.variables(input));
        let deadline = exchange.deadline;
        let mut response = self.upstream.send(worker, exchange, request).await?;
        response.body = self.upstream.held(worker, exchange, response.body);
        let late = |_| {
            Fault::new(FaultKind::DeadlineExceeded, "the time for this request was over before the service's answer")
        };
        let (status, body) = worker.clock.until(deadline, gather(response)).await.map_err(late)??;
        let mut value = self.result(status, &body)?;
        if let Some(operation) = &exchange.operation {
            fit(&mut value, &operation.output);
        }
        Ok(Reply::payload(Payload::of(value)))
    }

    /// What the service answered: the part of `data`, or why there is none.
    fn result(&self, status: u16, body: &Bytes) -> Result<Value, Fault> {
        let broken = |cause: String| {
            Fault::new(FaultKind::UpstreamBroken, "the service did not answer as GraphQL services do").because(cause)
        };
        let answer = match decode(body, &Type::Any, DecodeLimits::default()) {
            Ok(Value::Map(answer)) => answer,
            Ok(_) => return Err(broken(format!("status {status}, and the answer is no object"))),
            Err(error) => return Err(broken(format!("status {status}: {error}"))),
        };
        if let Some(Value::List(errors)) = answer.get("errors")
            && let Some(first) = errors.first()
        {
            // What the service says of a document that the caller never saw is for the log.
            let message = first.get("message").and_then(Value::as_str).unwrap_or("without a message");
            let cause = format!("status {status}, {} GraphQL errors, first: {message}", errors.len());
            return Err(Fault::new(FaultKind::UpstreamRefused, "the service answered with an error").because(cause));
        }
        let Some(data) = answer.get("data").filter(|data| !data.is_null()) else {
            return Err(broken(format!("status {status}, and neither data nor errors")));
        };
        data.at(&self.pointer).cloned().ok_or_else(|| broken(format!("nothing at `{}` in the data", self.pointer)))
    }
}

/// Reads a stored document. It is the operator's, so limits of clients do not hold for it; its schema is not known here.
///
/// # Errors
/// When it is not GraphQL, or is not one query or mutation.
pub(crate) fn read(document: &str) -> Result<Document, Error> {
    let limits = Limits { tokens: 1_000_000, ..Limits::default() };
    let parsed = parse(document, &limits).map_err(|stop| stopped(stop, document, &limits))?;
    let refuse = |message: String| Err(Error::new(FaultKind::QueryInvalid, message));
    match parsed.operations.as_slice() {
        [one] if one.kind == OperationKind::Subscription => refuse("a stored document cannot be a subscription".into()),
        [_] => Ok(parsed),
        several => refuse(format!("a stored document has one operation, this one has {}", several.len())),
    }
}

impl Takes {
    fn of(name: &str, lists: u64) -> Takes {
        match (lists, name) {
            (0, "Int") => Takes::Int,
            (0, "Float") => Takes::Float,
            (0, "Boolean") => Takes::Boolean,
            (0, "String") => Takes::Text,
            _ => Takes::Anything,
        }
    }

    /// The value as the type wants it; as it is where it means nothing of the type, for the service to refuse.
    fn read(self, value: Value) -> Value {
        let read = match (self, &value) {
            (Takes::Int, Value::Text(text)) => text.parse().ok().map(Value::I64),
            (Takes::Int, Value::Decimal(number)) => number.to_i64().map(Value::I64),
            (Takes::Float, Value::Text(text)) => float(text),
            (Takes::Float, Value::Decimal(number)) => Some(Value::number(number.clone())),
            (Takes::Boolean, Value::Text(text)) => text.parse().ok().map(Value::Bool),
            (Takes::Text, Value::I64(number)) => Some(Value::Text(number.to_string())),
            (Takes::Text, Value::U64(number)) => Some(Value::Text(number.to_string())),
            (Takes::Text, Value::Number(number)) => Some(Value::Text(number.to_string())),
            _ => None,
        };
        read.unwrap_or(value)
    }
}

/// A text as a number; of more digits than a double has, none is lost.
fn float(text: &str) -> Option<Value> {
    if let Some(exact @ Value::Number(_)) = number(text, &Type::Number) {
        return Some(exact);
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::F64)
}

impl fmt::Debug for StoredOutbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("StoredOutbound");
        shown.field("upstream", self.upstream.name()).field("target", &self.target).field("pointer", &self.pointer);
        shown.finish_non_exhaustive()
    }
}

impl Outbound for StoredOutbound {
    fn protocol(&self) -> &'static str {
        "graphql"
    }

    fn call<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Answer> {
        Box::pin(self.ask(worker, exchange))
    }
}

async fn gather(response: Response) -> Result<(u16, Bytes), Fault> {
    let status = response.status;
    let fault = |error: BodyError| {
        let kind = if error == BodyError::Late { FaultKind::UpstreamTimeout } else { FaultKind::UpstreamBroken };
        Fault::new(kind, "the service's answer could not be read").because(error)
    };
    response.body.collect(MAX_ANSWER).await.map(|gathered| (status, gathered.bytes)).map_err(fault)
}
