//! Answers as a GraphQL client reads them: data, errors, and the status that goes with them.
//!
//! The status follows the draft "GraphQL over HTTP" (sections 6.4.1 and 6.4.2). A client that accepts
//! `application/graphql-response+json` reads the status, so a refused document is 400. One that only knows
//! `application/json` cannot tell a 400 of the service from one of whatever stands between, so a refused document is
//! 200, with the errors in its body. Faults that are not about the document (401, 429, 503) keep their status for both.

use bytes::Bytes;
use portolan_exchange::protocol::{Content, Reply};
use portolan_exchange::value::Payload;
use portolan_exchange::{Answer, Body, Exchange, Fault, FaultKind, Fields, Response};
use serde_json::{Map, Value, json};

use crate::error::Error;

/// The errors of a refused document, left in its exchange: a fault has one sentence, GraphQL has one for each mistake.
pub(crate) struct Refusal(pub(crate) Vec<Error>);

/// The two media types of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`: what is answered to who asks for nothing else.
    Json,
    /// `application/graphql-response+json`: the status tells of the document.
    Response,
}

impl Media {
    /// The better liked of the two, by the `Accept` of the request (RFC 9110, section 12.5.1).
    pub(crate) fn accepted(fields: &Fields) -> Media {
        let (mut json, mut response) = (None, None);
        for value in fields.get_all("accept") {
            for range in value.split(|byte| *byte == b',') {
                let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
                let name = parts.next().unwrap_or_default();
                let weight = parts.find_map(weight).unwrap_or(1.0);
                if name.eq_ignore_ascii_case(b"application/graphql-response+json") {
                    response = Some(weight);
                } else if name.eq_ignore_ascii_case(b"application/json") {
                    json = Some(weight);
                }
            }
        }
        match (response, json) {
            (Some(response), json) if response > 0.0 && response >= json.unwrap_or(0.0) => Media::Response,
            _ => Media::Json,
        }
    }

    fn content_type(self) -> &'static [u8] {
        match self {
            Media::Json => b"application/json; charset=utf-8",
            Media::Response => b"application/graphql-response+json; charset=utf-8",
        }
    }

    fn status(self, fault: &Fault, refusal: Option<&Refusal>) -> u16 {
        match (self, refusal) {
            (Media::Json, Some(_)) if fault.kind() != FaultKind::BadRequest => 200,
            _ => fault.status(),
        }
    }
}

fn weight(parameter: &[u8]) -> Option<f32> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Whether a fault means that there was no GraphQL request at all: it is then told as a problem document.
fn before_graphql(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::MalformedBody
            | FaultKind::UnsupportedMediaType
            | FaultKind::MethodNotAllowed
            | FaultKind::BodyTooLarge
            | FaultKind::HeadTooLarge
            | FaultKind::RequestTimeout
    )
}

/// The fault that a refused document ends its exchange with. The first mistake is its sentence.
pub(crate) fn refuse(exchange: &mut Exchange, errors: Vec<Error>) -> Fault {
    let first = errors.first().cloned().unwrap_or_else(|| Error::new(FaultKind::Internal, "refused without a reason"));
    exchange.tickets.put(Refusal(errors));
    Fault::new(first.kind, first.message)
}

/// The response to one request.
pub(crate) fn response(exchange: &Exchange, answer: Answer) -> Response {
    match answer {
        Ok(reply) => match data(reply) {
            Ok(response) => response,
            Err(fault) => refused(exchange, &fault),
        },
        Err(fault) => refused(exchange, &fault),
    }
}

fn data(reply: Reply) -> Result<Response, Fault> {
    let mut response = Response::new(reply.status);
    response.fields = reply.fields;
    match reply.content {
        Content::Bytes(body) => response.body = body,
        Content::Payload(payload) => {
            response.fields.push(b"content-type", Media::Json.content_type());
            response.body = Body::whole(with_data(&payload));
        }
        Content::Tunnel(tunnel) => response.tunnel = Some(tunnel),
        Content::Events { .. } => {
            return Err(Fault::new(
                FaultKind::NotImplemented,
                "a stream of events cannot answer a GraphQL request yet",
            ));
        }
    }
    Ok(response)
}

/// What an upstream of another protocol answered becomes the `data` of the response.
fn with_data(payload: &Payload) -> Bytes {
    [b"{\"data\":".as_slice(), &payload.bytes(), b"}"].concat().into()
}

fn refused(exchange: &Exchange, fault: &Fault) -> Response {
    if before_graphql(fault.kind()) {
        return fault.response(&exchange.id.to_string());
    }
    let media = Media::accepted(&exchange.request.fields);
    let mut response = Response::new(media.status(fault, exchange.tickets.get()));
    response.fields.push(b"content-type", media.content_type());
    fault.head_fields(&mut response.fields);
    response.body = Body::whole(errors(exchange, fault).to_string());
    response
}

/// The fault as a GraphQL response: no `data`, since nothing was executed (specification, section 7.1).
fn errors(exchange: &Exchange, fault: &Fault) -> Value {
    let mut extensions = Map::new();
    extensions.insert("request_id".into(), exchange.id.to_string().into());
    let errors: Vec<Value> = match exchange.tickets.get::<Refusal>() {
        Some(Refusal(errors)) if !errors.is_empty() => errors.iter().map(|error| error.to_json(&extensions)).collect(),
        _ => {
            extensions.extend(fault.extensions().iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            if !fault.violations().is_empty() {
                let places = fault.violations().iter();
                let places = places.map(|place| json!({ "location": place.location, "message": place.message }));
                extensions.insert("errors".into(), places.collect());
            }
            if let Some(wait) = fault.wait() {
                extensions.insert("retry_after".into(), wait.as_secs_f64().ceil().into());
            }
            vec![Error::new(fault.kind(), fault.detail()).to_json(&extensions)]
        }
    };
    json!({ "errors": errors })
}

/// The answers of a batch in one list, in the order of its requests. Each had a status of its own; the list has 200.
pub(crate) fn batch(exchange: &Exchange, answers: Vec<(Exchange, Answer)>) -> Reply {
    let mut joined = vec![b'['];
    for (at, (child, answer)) in answers.into_iter().enumerate() {
        if at > 0 {
            joined.push(b',');
        }
        match answer.and_then(element) {
            Ok(bytes) => joined.extend_from_slice(&bytes),
            Err(fault) => joined.extend_from_slice(errors(&child, &fault).to_string().as_bytes()),
        }
    }
    joined.push(b']');
    let mut fields = Fields::new();
    fields.push(b"content-type", Media::accepted(&exchange.request.fields).content_type());
    Reply { status: 200, fields, content: Content::Bytes(Body::whole(joined)) }
}

/// One answer as an element of the list. What is not JSON would break the list for all others.
fn element(reply: Reply) -> Result<Bytes, Fault> {
    match reply.content {
        Content::Payload(payload) => Ok(with_data(&payload)),
        Content::Bytes(Body::Whole(bytes)) if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok() => {
            Ok(bytes)
        }
        _ => Err(Fault::new(FaultKind::UpstreamBroken, "the service did not answer with JSON")
            .because(format!("status {} in a batch", reply.status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_the_one_the_client_likes_better() {
        let cases = [
            ("", Media::Json),
            ("*/*", Media::Json),
            ("application/json", Media::Json),
            ("text/html", Media::Json),
            ("application/graphql-response+json", Media::Response),
            ("application/graphql-response+json, application/json;q=0.9", Media::Response),
            ("application/json, application/graphql-response+json", Media::Response),
            ("application/json, Application/GraphQL-Response+JSON ;q=0.5", Media::Json),
            ("application/graphql-response+json;q=0", Media::Json),
        ];
        for (accept, media) in cases {
            let mut fields = Fields::new();
            fields.push(b"accept", accept.as_bytes());
            assert_eq!(Media::accepted(&fields), media, "{accept}");
        }
    }
}
