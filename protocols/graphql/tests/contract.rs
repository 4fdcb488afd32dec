//! GraphQL keeps the promises of every protocol.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use portolan_config::snapshot::GraphQlLimits;
use portolan_exchange::contract::{
    self, FakeInbound, FakeOutbound, FakeUpstream, Kin, Seen, SentBody, Told, a_child_is_of_its_parent,
    a_reply_streams, an_endless_answer_is_refused, bytes_pass_unread, describe, dropping_the_call_reaches_the_upstream,
    dropping_the_reply_reaches_the_upstream, every_fault_renders, fault, the_deadline_travels, too_much_is_refused,
    values_keep_their_types, worker,
};
use portolan_exchange::value::{Map, MapType, Others, Payload, Type, Value, json};
use portolan_exchange::{
    Body, Content, Described, Exchange, Fault, FaultKind, Identity, Kind, Method, Operation, Outbound, Reply, Request,
    Response, Target,
};
use portolan_graphql::stored::MAX_ANSWER;
use portolan_graphql::{GraphQlInbound, GraphQlOutbound, Schema, StoredOutbound};
use serde_json::Value as Json;

const MAX_BODY: usize = 1_000;
const ECHO: &str = "query($value: Anything) { echo(value: $value) }";

fn inbound(max_body: usize) -> Arc<GraphQlInbound> {
    let limits = GraphQlLimits {
        max_cost: 1_000,
        max_depth: 10,
        max_aliases: 30,
        max_root_fields: 20,
        max_directives: 50,
        max_tokens: 15_000,
        max_selections: 5_000,
        batch: 10,
    };
    let schema = Schema::parse("scalar Anything type Query { echo(value: Anything): Anything }").expect("a schema");
    Arc::new(GraphQlInbound::new(Arc::new(schema), &limits, max_body))
}

/// An exchange of a GraphQL client with this body.
fn asking(max_body: usize, body: Body) -> Exchange {
    let nobody = FakeOutbound::answering(|_| Err(Fault::new(FaultKind::NotImplemented, "nobody is called here")));
    let mut request = Request::new(Method::Post, Target::new("/"));
    request.fields.push(b"content-type", b"application/json");
    request.body = body;
    contract::exchange(contract::route(inbound(max_body), nobody), request)
}

/// An exchange that is answered through this outbound.
fn calling(outbound: impl Outbound + 'static) -> Exchange {
    let request = Request::new(Method::Post, Target::new("/"));
    contract::exchange(contract::route(Arc::new(FakeInbound), Arc::new(outbound)), request)
}

fn passing(upstream: Arc<FakeUpstream>) -> Exchange {
    calling(GraphQlOutbound::new(upstream, "/graphql"))
}

fn stored(upstream: Arc<FakeUpstream>) -> Exchange {
    calling(StoredOutbound::new(upstream, "/graphql", ECHO, "/echo"))
}

/// What a client reads: a GraphQL error, or a problem document where there was no GraphQL request.
fn told(answer: &Json) -> Told {
    let Some(error) = answer["errors"].get(0).filter(|error| error["extensions"].is_object()) else {
        return Told::by(answer);
    };
    Told { detail: error["message"].as_str().unwrap_or_default().to_owned(), ..Told::by(&error["extensions"]) }
}

fn parsed(content: &[u8]) -> Json {
    serde_json::from_slice(content).expect("an answer is JSON")
}

#[test]
fn every_fault_renders_as_a_graphql_error_or_a_problem() {
    every_fault_renders(&asking(MAX_BODY, Body::Empty), |content| told(&parsed(content)));
    let mut modern = asking(MAX_BODY, Body::Empty);
    modern.request.fields.push(b"accept", b"application/graphql-response+json");
    every_fault_renders(&modern, |content| told(&parsed(content)));
}

#[test]
fn every_fault_is_told_in_its_place_of_a_batch() {
    for kind in FaultKind::ALL {
        let exchange = asking(MAX_BODY, Body::Empty);
        let inbound = exchange.route.inbound.clone();
        let good = Ok(Reply::payload(Payload::of(Map::new())));
        let children = vec![(asking(MAX_BODY, Body::Empty), good), (asking(MAX_BODY, Body::Empty), Err(fault(*kind)))];
        let response = inbound.render(&exchange, inbound.join(&exchange, children));
        let list = parsed(&whole(response));
        assert_eq!(list[0], serde_json::json!({ "data": {} }));
        assert_eq!(told(&list[1]), Told::of(*kind, &exchange.id.to_string()));
    }
}

#[test]
fn a_reply_is_rendered_as_it_streams() {
    a_reply_streams(&asking(MAX_BODY, Body::Empty));
}

#[test]
fn bodies_pass_to_a_graphql_service_and_back_unread() {
    bytes_pass_unread(passing);
}

#[test]
fn the_answer_to_a_stored_document_has_its_bound() {
    an_endless_answer_is_refused(stored, MAX_ANSWER);
}

#[test]
fn a_dropped_exchange_ends_its_call_to_a_graphql_service() {
    for open in [passing, stored] {
        let upstream = FakeUpstream::silent();
        dropping_the_call_reaches_the_upstream(open(upstream.clone()), upstream.watch());
        dropping_the_reply_reaches_the_upstream(open);
    }
}

#[test]
fn a_call_to_a_graphql_service_ends_with_its_deadline() {
    the_deadline_travels(passing);
    the_deadline_travels(stored);
}

#[test]
fn the_elements_of_a_batch_are_of_its_exchange() {
    let batch = r#"[{"query":"{ echo }"},7,{"query":"{ echo(value: 1) }"}]"#;
    let mut exchange = asking(MAX_BODY, Body::whole(batch));
    exchange.client.address = [192, 0, 2, 7].into();
    let (consumer, credential) = ("acme".into(), "k1".into());
    exchange.identity =
        Some(Arc::new(Identity { consumer, source: "keys".into(), credential, expires: None, scopes: Arc::default() }));
    let Ok(Described::Batch(children)) = describe(&worker(), &mut exchange) else { panic!("a list is a batch") };
    assert_eq!(children.len(), 3);
    for child in &children {
        a_child_is_of_its_parent(&Kin::of(&exchange), &Kin::of(child), exchange.deadline);
    }
}

#[test]
fn a_request_has_its_bound() {
    too_much_is_refused(|body| asking(MAX_BODY, body), MAX_BODY);
}

#[test]
fn values_in_variables_keep_their_types() {
    values_keep_their_types(|expected, value| {
        let request = Map::new().with("query", ECHO).with("variables", of_one("value", value));
        let mut exchange = asking(1 << 20, Body::whole(json::encode(&request.into())));
        describe(&worker(), &mut exchange).map_err(|fault| fault.to_string())?;
        let input = exchange.input.as_ref().ok_or("they were not read")?;
        let input = input.value(&holding("value", expected)).map_err(|error| error.to_string())?;
        input.get("value").cloned().ok_or_else(|| "it is absent".to_owned())
    });
}

#[test]
fn values_in_data_keep_their_types() {
    let exchange = asking(MAX_BODY, Body::Empty);
    values_keep_their_types(|expected, value| {
        let reply = Reply::payload(Payload::of(value.clone()));
        let content = whole(exchange.route.inbound.render(&exchange, Ok(reply)));
        member(&content, "data", expected)
    });
}

#[test]
fn values_reach_a_service_as_variables_of_a_stored_document_and_return_as_its_data() {
    values_keep_their_types(|expected, value| {
        let of_variables = expected.clone();
        let upstream = FakeUpstream::answering(move |seen| Ok(echoed(seen, &of_variables)));
        let mut exchange = stored(upstream);
        exchange.input = Some(Payload::of(of_one("value", value)));
        answered(&mut exchange)?.into_value(expected).map_err(|error| error.to_string())
    });
}

#[test]
fn variables_of_the_types_of_graphql_take_the_values_of_these_types() {
    let pairs = [
        ("Int", Type::I64, Value::I64(7)),
        ("Float", Type::F64, Value::F64(0.5)),
        ("Boolean", Type::Bool, Value::Bool(true)),
        ("String", Type::Text, Value::from("12")),
        ("ID", Type::Text, Value::from("12")),
        ("[String]", Type::list(Type::Text), Value::List(vec!["12".into()])),
    ];
    for (declared, expected, value) in pairs {
        for (expected, value) in [(expected.clone(), value), (Type::nullable(expected), Value::Null)] {
            let of_variables = expected.clone();
            let upstream = FakeUpstream::answering(move |seen| Ok(echoed(seen, &of_variables)));
            let document = format!("query($value: {declared}) {{ echo(value: $value) }}");
            let mut exchange = calling(StoredOutbound::new(upstream, "/graphql", &document, "/echo"));
            exchange.input = Some(Payload::of(of_one("value", &value)));
            let back = answered(&mut exchange).unwrap().into_value(&expected);
            assert_eq!(back, Ok(value), "a variable of type {declared}");
        }
    }
}

#[test]
fn a_service_that_says_numbers_its_own_way_is_told_as_the_contract_says() {
    let numbers = [Type::I64, Type::U64, Type::Number, Type::Decimal, Type::list(Type::Decimal)];
    values_keep_their_types(|expected, value| {
        if !numbers.contains(expected) {
            return Ok(value.clone());
        }
        // All numbers as text, all decimals as numbers.
        let told = the_other_way(value);
        let upstream =
            FakeUpstream::answering(move |_| Ok(json_response(json::encode(&of_one("data", &of_one("echo", &told))))));
        let mut exchange = stored(upstream);
        exchange.input = Some(Payload::of(Map::new()));
        let (input, output) = (Type::Any, expected.clone());
        exchange.operation = Some(Arc::new(Operation { id: "echo".into(), kind: Kind::Call, input, output }));
        let reply = answered(&mut exchange)?;
        // As the caller reads it, of the bytes.
        Payload::json(reply.bytes()).into_value(expected).map_err(|error| error.to_string())
    });
}

/// Numbers as text, and decimals as numbers where those say the same.
fn the_other_way(value: &Value) -> Value {
    match value {
        Value::I64(_) | Value::U64(_) | Value::F64(_) | Value::Number(_) => {
            Value::Text(String::from_utf8_lossy(&json::encode(value)).into_owned())
        }
        Value::Decimal(decimal) => {
            // Zeros at the end of a number mean nothing in JSON (RFC 8259, section 6): a decimal that has some is told as text.
            let number = Value::number(decimal.clone());
            if *json::encode(&number) == *decimal.to_string().as_bytes() { number } else { value.clone() }
        }
        Value::List(elements) => elements.iter().map(the_other_way).collect(),
        Value::Map(members) => members.iter().map(|(name, value)| (name, the_other_way(value))).collect::<Map>().into(),
        other => other.clone(),
    }
}

#[test]
fn a_variable_that_is_absent_is_not_sent_as_null() {
    let upstream = FakeUpstream::answering(|_| Ok(json_response(r#"{"data":{"echo":1}}"#.into())));
    let mut exchange = stored(upstream.clone());
    exchange.input = Some(Payload::of(Map::new()));
    answered(&mut exchange).unwrap();
    let seen = upstream.seen();
    let SentBody::Whole(sent) = &seen[0].body else { panic!("a translated request is whole") };
    assert_eq!(parsed(sent)["variables"], serde_json::json!({}));
}

/// A service that reads the variable `value` by its type and answers with it.
fn echoed(seen: &Seen, expected: &Type) -> Response {
    let SentBody::Whole(sent) = &seen.body else { panic!("a translated request is whole") };
    let request =
        Type::map(MapType::new().required("query", Type::Text).required("variables", holding("value", expected)));
    let request =
        json::decode(sent, &request, json::DecodeLimits::default()).expect("the request of a stored document");
    let value = request.at("/variables/value").cloned().expect("the variable was given");
    json_response(json::encode(&of_one("data", &of_one("echo", &value))))
}

fn answered(exchange: &mut Exchange) -> Result<Payload, String> {
    let outbound = exchange.route.outbound.clone();
    let answer = outbound.call(&worker(), exchange).now_or_never().ok_or("the call waits")?;
    match answer.map_err(|fault| format!("{fault}: {:?}", fault.cause()))?.content {
        Content::Payload(payload) => Ok(payload),
        other => Err(format!("the reply is {other:?}")),
    }
}

fn json_response(content: Bytes) -> Response {
    let mut response = Response::new(200);
    response.fields.push(b"content-type", b"application/json");
    response.body = Body::whole(content);
    response
}

fn whole(response: Response) -> Bytes {
    response.body.collect(1 << 20).now_or_never().expect("it is rendered whole").expect("it is short").bytes
}

fn of_one(name: &str, value: &Value) -> Value {
    Map::new().with(name, value.clone()).into()
}

/// A map that has this member, and perhaps others.
fn holding(name: &str, expected: &Type) -> Type {
    Type::map(MapType::new().required(name, expected.clone()).others(Others::Of(Type::Any)))
}

fn member(content: &[u8], name: &str, expected: &Type) -> Result<Value, String> {
    let read = json::decode(content, &holding(name, expected), json::DecodeLimits::default());
    read.map_err(|error| error.to_string())?.get(name).cloned().ok_or_else(|| "it is absent".to_owned())
}
