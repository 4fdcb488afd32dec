//! REST keeps the promises of every protocol.

use std::sync::Arc;

use portolan_config::Place;
use portolan_exchange::contract::{
    self, FakeInbound, FakeOutbound, FakeUpstream, Told, a_reply_streams, bytes_pass_unread, describe,
    dropping_the_call_reaches_the_upstream, dropping_the_reply_reaches_the_upstream, every_fault_renders,
    the_deadline_travels, too_much_is_refused, values_keep_their_types, worker,
};
use portolan_exchange::value::strategy::schema_of;
use portolan_exchange::value::{MapType, Payload, Type, Value, json};
use portolan_exchange::{Body, Content, Exchange, Fault, FaultKind, Method, Reply, Request, Response, Target};
use portolan_rest::{Checks, Contract, HttpOutbound, RestInbound, UpstreamPath};

const MAX_BODY: usize = 1_000;

/// One operation that takes any JSON.
fn document() -> Contract {
    let text = "openapi: 3.1.0
info: { title: Echo, version: '1' }
paths:
  /echo:
    post:
      operationId: echo
      requestBody: { content: { application/json: { schema: {} } } }
";
    let tree = portolan_config::tree::parse("echo.yaml", text).expect("the document is YAML");
    Contract::read(&tree).expect("the document is served")
}

/// An exchange of the operation behind this inbound, with a body of JSON.
fn echo(inbound: RestInbound, body: Body) -> Exchange {
    let nobody = FakeOutbound::answering(|_| Err(Fault::new(FaultKind::NotImplemented, "nobody is called here")));
    let mut request = Request::new(Method::Post, Target::new("/echo"));
    request.fields.push(b"content-type", b"application/json");
    request.body = body;
    let mut exchange = contract::exchange(contract::route(Arc::new(inbound), nobody), request);
    exchange.operation = Some(document().operations[0].operation());
    exchange
}

fn checking() -> RestInbound {
    RestInbound::new(&document(), Checks::Enforce, MAX_BODY)
}

fn reading() -> RestInbound {
    RestInbound::new(&document(), Checks::Off, 1 << 20).reading_input()
}

/// An exchange that calls a service over HTTP.
fn calling(upstream: Arc<FakeUpstream>) -> Exchange {
    let outbound = HttpOutbound::new(upstream, UpstreamPath::Replaced("/v3".into()));
    let request = Request::new(Method::Put, Target::new("/orders/1"));
    contract::exchange(contract::route(Arc::new(FakeInbound), Arc::new(outbound)), request)
}

#[test]
fn every_fault_renders_as_a_problem_document() {
    let problem = |content: &[u8]| Told::by(&serde_json::from_slice(content).expect("a problem document is JSON"));
    every_fault_renders(&echo(checking(), Body::Empty), problem);
    every_fault_renders(&echo(RestInbound::plain(), Body::Empty), problem);
}

#[test]
fn a_reply_is_rendered_as_it_streams() {
    a_reply_streams(&echo(checking(), Body::Empty));
    a_reply_streams(&echo(RestInbound::plain(), Body::Empty));
}

#[test]
fn bodies_pass_to_an_http_service_and_back_unread() {
    bytes_pass_unread(calling);
}

#[test]
fn a_dropped_exchange_ends_its_call_to_an_http_service() {
    let upstream = FakeUpstream::silent();
    dropping_the_call_reaches_the_upstream(calling(upstream.clone()), upstream.watch());
    dropping_the_reply_reaches_the_upstream(calling);
}

#[test]
fn a_call_to_an_http_service_ends_with_its_deadline() {
    the_deadline_travels(calling);
}

#[test]
fn a_body_that_is_looked_into_has_its_bound() {
    too_much_is_refused(|body| echo(checking(), body), MAX_BODY);
    let reading = || RestInbound::new(&document(), Checks::Off, MAX_BODY).reading_input();
    too_much_is_refused(|body| echo(reading(), body), MAX_BODY);
}

#[test]
fn values_in_a_body_of_json_keep_their_types() {
    values_keep_their_types(|expected, value| {
        let mut exchange = echo(reading(), Body::whole(json::encode(value)));
        describe(&worker(), &mut exchange).map_err(|fault| format!("{fault}: {:?}", fault.violations()))?;
        let input = exchange.input.as_ref().ok_or("it was not read")?;
        // What is no map is the member `body` of the input.
        let read = match value {
            Value::Map(_) => input.value(expected).cloned(),
            _ => {
                let within = Type::map(MapType::new().required("body", expected.clone()));
                input.value(&within).map(|input| input.get("body").cloned().unwrap_or_default())
            }
        };
        read.map_err(|error| error.to_string())
    });
}

#[test]
fn values_in_a_reply_keep_their_types() {
    let exchange = echo(reading(), Body::Empty);
    values_keep_their_types(|expected, value| {
        let response = exchange.route.inbound.render(&exchange, Ok(Reply::payload(Payload::of(value.clone()))));
        received(response).into_value(expected).map_err(|error| error.to_string())
    });
}

/// An exchange of an operation whose contract says this type for its body and for its answer.
fn of_type(expected: &Type, body: Body) -> Exchange {
    let content = serde_json::json!({ "application/json": { "schema": schema_of(expected) } });
    let operation = serde_json::json!({
        "requestBody": { "required": true, "content": content },
        "responses": { "200": { "description": "the same", "content": content } },
    });
    let document = serde_json::json!({ "openapi": "3.1.0", "paths": { "/echo": { "post": operation } } });
    let place = |pointer: &str| Place::new("echo.json", 0, 0, pointer);
    let contract = Contract::from_document(&document, &place).expect("the document is served");
    let mut exchange = echo(RestInbound::new(&contract, Checks::Off, 1 << 20).reading_input(), body);
    exchange.operation = Some(contract.operations[0].operation());
    exchange
}

#[test]
fn values_keep_the_types_that_the_contract_declares() {
    values_keep_their_types(|expected, value| {
        let mut exchange = of_type(expected, Body::whole(json::encode(value)));
        describe(&worker(), &mut exchange).map_err(|fault| format!("{fault}: {:?}", fault.violations()))?;
        let operation = exchange.operation.clone().ok_or("no operation")?;
        let input = exchange.input.take().ok_or("it was not read")?;
        let input = input.into_value(&operation.input).map_err(|error| format!("in the input: {error}"))?;
        // What is no map is the member `body` of the input.
        let read = match value {
            Value::Map(_) => input,
            _ => input.get("body").cloned().ok_or("there is no body")?,
        };
        let response = exchange.route.inbound.render(&exchange, Ok(Reply::payload(Payload::of(read))));
        received(response).into_value(&operation.output).map_err(|error| format!("in the output: {error}"))
    });
}

/// The content as a client sees it: bytes of a media type.
fn received(response: Response) -> Payload {
    let media_type = response.fields.get_str("content-type").unwrap_or_default().to_owned();
    match response.body {
        Body::Whole(bytes) => Payload::new(media_type, bytes),
        other => panic!("a payload is rendered whole, not as {other:?}"),
    }
}

#[test]
fn a_body_that_is_not_read_goes_on_as_it_is() {
    let mut exchange = echo(RestInbound::plain(), Body::Empty);
    let watch = contract::Watch::default();
    exchange.request.body = watch.endless(1_000);
    assert_eq!(exchange.route.inbound.gathers(&exchange), None);
    assert!(describe(&worker(), &mut exchange).is_ok());
    assert!(matches!(exchange.request.body, Body::Stream(_)));
    assert_eq!(watch.read(), 0);
}

#[test]
fn a_stream_of_events_is_a_fault_and_no_silence() {
    use portolan_exchange::events::{Bounds, EventLog};
    let log = EventLog::new("t", Bounds::default());
    let cursor = log.live();
    let exchange = echo(checking(), Body::Empty);
    let reply = Reply { status: 200, fields: Default::default(), content: Content::Events { log, cursor } };
    assert_eq!(exchange.route.inbound.render(&exchange, Ok(reply)).status, 501);
}
