//! The body of a `POST` as GraphQL over HTTP has it: one request, or a batch of them in a list.
//!
//! The draft "GraphQL over HTTP" (section 5.3) names the members: `query`, `operationName`, `variables`, `extensions`.
//! Others are let pass, as it demands. A member that stands twice is refused, in the request and inside of the variables:
//! the gateway would price one of the two and the upstream might execute the other.

use portolan_exchange::value::json::{DecodeError, DecodeLimits, decode};
use portolan_exchange::value::{Map, Type, Value};
use portolan_exchange::{Fault, FaultKind};

use crate::error::Error;
use crate::limits::{Limit, Limits};

/// One request: a document and what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The document.
    pub query: String,
    /// Which of its operations is meant.
    pub operation_name: Option<String>,
    /// The values of its variables; empty when there are none.
    pub variables: Map,
}

/// What a body holds.
#[derive(Debug, PartialEq)]
pub enum Requests {
    /// One request.
    One(Call),
    /// A batch; never empty. Each element as it is to be sent on: what is wrong with one is for that one to tell.
    Batch(Vec<Value>),
}

/// Why a body is not taken.
#[derive(Debug)]
pub enum Unreadable {
    /// It is not JSON, or nested deeper than is allowed: no GraphQL request that could be answered as one.
    Malformed(Fault),
    /// It is JSON, but no GraphQL request.
    Refused(Error),
}

/// Reads the body of a request.
pub fn read(body: &[u8], limits: &Limits) -> Result<Requests, Unreadable> {
    match decode(body, &Type::Any, bounds(limits)) {
        Ok(Value::List(elements)) if elements.is_empty() => {
            Err(Unreadable::Refused(Error::new(FaultKind::BadRequest, "the batch is empty")))
        }
        Ok(Value::List(elements)) => match elements.len() as u64 {
            length if length > limits.batch => {
                Err(Unreadable::Refused(Error::over(Limit::Batch, length, limits.batch)))
            }
            _ => Ok(Requests::Batch(elements)),
        },
        Ok(other) => Call::of(other, limits).map(Requests::One).map_err(Unreadable::Refused),
        Err(error) => Err(Unreadable::Malformed(malformed(&error))),
    }
}

/// Members of a request nest below a list, an object and `variables`. A value takes some 40 bytes in memory, so that the
/// largest body becomes 4 MB, and no operation has a hundred thousand values to say.
fn bounds(limits: &Limits) -> DecodeLimits {
    DecodeLimits { depth: limits.nesting as usize + 3, values: 100_000 }
}

fn malformed(error: &DecodeError) -> Fault {
    Fault::new(FaultKind::MalformedBody, error.to_string())
}

impl Call {
    /// The request that a JSON value means.
    pub fn of(value: Value, limits: &Limits) -> Result<Call, Error> {
        let refuse = |message: &str| Error::new(FaultKind::BadRequest, message);
        let Value::Map(mut members) = value else {
            return Err(refuse("a GraphQL request is a JSON object with the member `query`"));
        };
        let query = match members.remove("query") {
            Some(Value::Text(query)) => query,
            Some(Value::Null) | None => return Err(refuse("the request has no `query`")),
            Some(_) => return Err(refuse("`query` must be a string")),
        };
        let operation_name = match members.remove("operationName") {
            Some(Value::Text(name)) => Some(name),
            Some(Value::Null) | None => None,
            Some(_) => return Err(refuse("`operationName` must be a string")),
        };
        let variables = match members.remove("variables") {
            Some(Value::Map(variables)) => variables,
            Some(Value::Null) | None => Map::new(),
            Some(_) => return Err(refuse("`variables` must be an object")),
        };
        if !matches!(members.get("extensions"), None | Some(Value::Null | Value::Map(_))) {
            return Err(refuse("`extensions` must be an object"));
        }
        let longest = variables.iter().map(|(_, value)| longest_list(value)).max().unwrap_or(0);
        if longest > limits.list_length {
            return Err(Error::over(Limit::ListLength, longest, limits.list_length));
        }
        Ok(Call { query, operation_name, variables })
    }
}

/// The length of the longest list in a value, which nests no deeper than the reader of the body allowed.
fn longest_list(value: &Value) -> u64 {
    match value {
        Value::List(items) => items.iter().map(longest_list).fold(items.len() as u64, u64::max),
        Value::Map(members) => members.iter().map(|(_, member)| longest_list(member)).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> String {
        match read(body.as_bytes(), &Limits::default()) {
            Ok(requests) => format!("{requests:?}"),
            Err(Unreadable::Malformed(fault)) => fault.to_string(),
            Err(Unreadable::Refused(error)) => format!("{}: {}", error.kind.code(), error.message),
        }
    }

    #[test]
    fn one_request_is_read_with_all_its_members() {
        let body = br#"{"query":"{ a }","operationName":"A","variables":{"n":1},"extensions":{},"more":[]}"#;
        let expected =
            Call { query: "{ a }".into(), operation_name: Some("A".into()), variables: Map::from([("n", 1)]) };
        assert_eq!(read(body, &Limits::default()).unwrap(), Requests::One(expected));
    }

    #[test]
    fn a_batch_is_split_into_its_elements() {
        let body = br#"[{"query":"{ a }"}, 7]"#;
        let Requests::Batch(elements) = read(body, &Limits::default()).unwrap() else { panic!("no batch") };
        assert_eq!(elements.len(), 2);
        assert!(Call::of(elements[0].clone(), &Limits::default()).is_ok());
        assert!(Call::of(elements[1].clone(), &Limits::default()).is_err());
    }

    #[test]
    fn what_is_no_request_is_refused_with_a_reason() {
        let cases = [
            (r#"{}"#, "bad_request: the request has no `query`"),
            (r#"{"query":null}"#, "bad_request: the request has no `query`"),
            (r#"{"query":1}"#, "bad_request: `query` must be a string"),
            (r#"{"query":"{a}","operationName":1}"#, "bad_request: `operationName` must be a string"),
            (r#"{"query":"{a}","variables":"{}"}"#, "bad_request: `variables` must be an object"),
            (r#"{"query":"{a}","extensions":[]}"#, "bad_request: `extensions` must be an object"),
            (r#""query""#, "bad_request: a GraphQL request is a JSON object with the member `query`"),
            ("[]", "bad_request: the batch is empty"),
            ("[1,1,1,1,1,1,1,1,1,1,1]", "graphql_limit: batch of 11 exceeds the limit of 10"),
        ];
        for (body, expected) in cases {
            assert_eq!(told(body), expected, "{body}");
        }
        let long = format!(r#"{{"query":"{{a}}","variables":{{"a":{{"b":[{}1]}}}}}}"#, "1,".repeat(250));
        assert_eq!(told(&long), "graphql_limit: list length 251 exceeds the limit of 250");
    }

    #[test]
    fn what_is_not_json_or_names_a_member_twice_or_nests_too_deep_is_malformed() {
        for body in
            ["", "{broken", r#"{"query":"a","query":"b"}"#, r#"{"query":"a","variables":{"n":1,"\u006e":1000000}}"#]
        {
            assert!(told(body).starts_with("malformed_body: "), "{body}: {}", told(body));
        }
        let nested = |levels: usize| {
            format!(r#"{{"query":"{{a}}","variables":{{"a":{}1{}}}}}"#, "[".repeat(levels), "]".repeat(levels))
        };
        assert!(matches!(read(nested(64).as_bytes(), &Limits::default()), Ok(Requests::One(_))));
        for body in [nested(66), "[".repeat(1_000_000)] {
            assert!(told(&body).starts_with("malformed_body: "), "{}", told(&body));
        }
    }
}
