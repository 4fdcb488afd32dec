//! The input of an operation as values: what an upstream of another protocol is given.
//!
//! The parameters of path and query and the members of a JSON body stand side by side under their names. Where one name
//! is given twice, the path counts before the query and the query before the body: what a policy saw in the target is
//! what the upstream is told. A body that is not an object is the member `body`.

use portolan_exchange::fault::FaultKind;
use portolan_exchange::value::json::{DecodeError, DecodeLimits, decode};
use portolan_exchange::value::{Map, Type, Value};
use portolan_exchange::{Body, Request};

use crate::check::{Head, Refusal, parameters};
use crate::{RestOperation, json, media};

/// Reads the input. The body was gathered.
///
/// # Errors
/// Parameters that cannot be decoded, a body that is not JSON or cannot be read.
pub(crate) fn read(operation: &RestOperation, head: &Head<'_>, request: &Request) -> Result<Map, Refusal> {
    let mut input = Map::new();
    if let (Some(_), Body::Whole(bytes)) = (&operation.body, &request.body) {
        let content_type = (head.header)("content-type").unwrap_or_default();
        if !media::is_json(&media::essence(&content_type)) {
            let message = "must be JSON, as this operation is translated";
            return Err(Refusal::of(FaultKind::UnsupportedMediaType, "header.content-type", message));
        }
        // As strict as the reading for a check: nothing that two readers could understand in two ways. It keeps every number.
        let limits = DecodeLimits { depth: json::DEEPEST_BODY, ..DecodeLimits::default() };
        match decode(bytes, &Type::Any, limits).map_err(malformed)? {
            Value::Map(members) => input = members,
            other => drop(input.insert("body", other)),
        }
    }
    let mut values = parameters::values(operation, head)
        .map_err(|violation| Refusal::of(FaultKind::InvalidParameters, &violation.location, violation.message))?;
    // Those of the path stand first and are put in last.
    values.sort_by_key(|(place, ..)| *place);
    for (_, name, value) in values.into_iter().rev() {
        input.insert(name, value);
    }
    Ok(input)
}

fn malformed(error: DecodeError) -> Refusal {
    Refusal::of(FaultKind::MalformedBody, &format!("body{}", error.pointer), error.message)
}
