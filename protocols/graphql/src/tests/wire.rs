//! Inbound and outbound against an upstream that records what it is asked.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use portolan_config::snapshot::GraphQlLimits;
use portolan_exchange::exchange::RequestId;
use portolan_exchange::value::{Map, Payload};
use portolan_exchange::{
    Answer, Body, Clock, Described, Exchange, Fault, FaultKind, Inbound, LocalBoxFuture, Method, Moment, Outbound,
    Request, Response, Route, Target, Upstream, Worker,
};
use serde_json::{Value as Json, json};

use super::shop;
use crate::{GraphQlInbound, GraphQlOutbound, StoredOutbound};

/// What was sent: the target, the fields and the body.
type Sent = (String, Vec<(String, String)>, String);

/// Answers every request alike, and keeps what it was sent.
struct Recording {
    name: Arc<str>,
    status: u16,
    answer: &'static str,
    sent: Mutex<Vec<Sent>>,
}

impl Recording {
    fn answering(status: u16, answer: &'static str) -> Arc<Recording> {
        Arc::new(Recording { name: "shop".into(), status, answer, sent: Mutex::default() })
    }
}

impl Upstream for Recording {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn send<'a>(
        &'a self,
        _: &'a Rc<Worker>,
        _: &'a mut Exchange,
        request: Request,
    ) -> LocalBoxFuture<'a, Result<Response, Fault>> {
        Box::pin(async move {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let fields = request.fields.iter().map(|(name, value)| (text(name), text(value))).collect();
            let target = format!("{} {}", request.method, request.target.as_str());
            let body = request.body.collect(1 << 20).await.unwrap().bytes;
            self.sent.lock().unwrap().push((target, fields, text(&body)));
            let mut response = Response::new(self.status);
            response.fields.add("content-type", "application/json").unwrap();
            response.body = Body::whole(self.answer);
            Ok(response)
        })
    }
}

fn worker() -> Rc<Worker> {
    Worker::new(0, Clock::manual(SystemTime::UNIX_EPOCH))
}

fn inbound() -> Arc<GraphQlInbound> {
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
    Arc::new(GraphQlInbound::new(shop(), &limits, 1 << 20))
}

fn exchange(
    inbound: &Arc<GraphQlInbound>,
    outbound: Arc<dyn Outbound>,
    fields: &[(&str, &str)],
    body: &str,
) -> Exchange {
    let route = Route {
        name: "shop".into(),
        api: None,
        inbound: inbound.clone(),
        outbound,
        policies: Box::default(),
        deadline: Duration::from_secs(10),
        prefix: "/shop/graphql".into(),
    };
    let mut request = Request::new(Method::Post, Target::new("/shop/graphql"));
    for (name, value) in fields {
        request.fields.add(name, value).unwrap();
    }
    request.body = Body::whole(body.to_owned());
    let mut exchange = Exchange::new(RequestId::new(7), Arc::new(route), request, Moment::default());
    exchange.client.address = IpAddr::from([127, 0, 0, 1]);
    exchange
}

const JSON: (&str, &str) = ("content-type", "application/json");
const MODERN: (&str, &str) = ("accept", "application/graphql-response+json");

/// What a client gets: status, media type and body. The call is made when nothing stands against it.
fn answer(upstream: Arc<Recording>, fields: &[(&str, &str)], body: &str) -> (u16, String, Json) {
    let inbound = inbound();
    let outbound: Arc<dyn Outbound> = Arc::new(GraphQlOutbound::new(upstream, "/graphql"));
    let (worker, mut exchange) = (worker(), exchange(&inbound, outbound.clone(), fields, body));
    let answer = match inbound.describe(&worker, &mut exchange) {
        Ok(Described::One) => call(&worker, &outbound, &mut exchange),
        Ok(Described::Batch(children)) => {
            let answers = children.into_iter().map(|mut child| {
                let answer = match inbound.describe(&worker, &mut child) {
                    Ok(_) => call(&worker, &outbound, &mut child),
                    Err(fault) => Err(fault),
                };
                (child, answer)
            });
            inbound.join(&exchange, answers.collect())
        }
        Err(fault) => Err(fault),
    };
    read(inbound.render(&exchange, answer))
}

fn call(worker: &Rc<Worker>, outbound: &Arc<dyn Outbound>, exchange: &mut Exchange) -> Answer {
    outbound.call(worker, exchange).now_or_never().expect("the recording upstream answers at once")
}

fn read(response: Response) -> (u16, String, Json) {
    let media = response.fields.get_str("content-type").unwrap_or_default().to_owned();
    let body = response.body.collect(1 << 20).now_or_never().unwrap().unwrap().bytes;
    (response.status, media, serde_json::from_slice(&body).unwrap())
}

fn quiet() -> Arc<Recording> {
    Recording::answering(200, r#"{"data":null}"#)
}

#[test]
fn a_sound_request_goes_on_byte_for_byte_and_its_answer_comes_back_so() {
    let upstream = Recording::answering(200, r#"{"data":{"products":[]}}"#);
    let body = r#" {"query" : "query Q { products { id } }", "extensions":{"a":1.0}} "#;
    let got = answer(upstream.clone(), &[JSON, ("authorization", "Bearer x")], body);
    assert_eq!(got, (200, "application/json".into(), json!({ "data": { "products": [] } })));
    let sent = upstream.sent.lock().unwrap();
    let fields = [("content-type", "application/json"), ("authorization", "Bearer x")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    assert_eq!(*sent, [("POST /graphql".to_owned(), fields, body.to_owned())]);
}

#[test]
fn the_operation_stands_in_the_exchange_with_its_name_cost_and_variables() {
    let inbound = inbound();
    let outbound: Arc<dyn Outbound> = Arc::new(GraphQlOutbound::new(quiet(), "/graphql"));
    let body = r#"{"query":"query Q($n: Int) { products(first: $n) { id } }","variables":{"n":20}}"#;
    let mut exchange = exchange(&inbound, outbound, &[JSON], body);
    assert!(matches!(inbound.describe(&worker(), &mut exchange), Ok(Described::One)));
    assert_eq!(exchange.operation.as_ref().map(|operation| &*operation.id), Some("Q"));
    assert_eq!(exchange.cost, 30);
    assert_eq!(exchange.input.unwrap().bytes(), r#"{"n":20}"#);
}

#[test]
fn a_refused_document_is_400_for_clients_that_read_the_status_and_200_for_others() {
    let body = r#"{"query":"query($n: Int) { products(first: $n) { id } }","variables":{"n":1000000}}"#;
    let expected = json!({ "errors": [{
        "message": "query cost 1000010 exceeds the limit of 1000",
        "locations": [{ "line": 1, "column": 1 }],
        "extensions": {
            "code": "graphql_limit", "limit": "cost", "value": 1_000_010, "maximum": 1000,
            "request_id": "00000000000000000000000000000007",
        },
    }] });
    let upstream = quiet();
    let got = answer(upstream.clone(), &[JSON], body);
    assert_eq!(got, (200, "application/json; charset=utf-8".into(), expected.clone()));
    let got = answer(upstream.clone(), &[JSON, MODERN], body);
    assert_eq!(got, (400, "application/graphql-response+json; charset=utf-8".into(), expected));
    assert!(upstream.sent.lock().unwrap().is_empty());
}

#[test]
fn syntax_validation_and_operation_mistakes_are_told_alike() {
    let cases = [
        (
            r#"{"query":"{ products { id "}"#,
            "graphql_syntax",
            "syntax error: expected a field or `}`, found the end of the document",
        ),
        (r#"{"query":"{ nothing }"}"#, "graphql_invalid", "Cannot query field \"nothing\" on type \"Query\"."),
        (
            r#"{"query":"{ orders { id } }","operationName":"A"}"#,
            "invalid_parameters",
            "the document has no operation `A`",
        ),
        (
            r#"{"query":"subscription { orderCreated { id } }"}"#,
            "graphql_invalid",
            "a subscription cannot be answered over plain HTTP",
        ),
        (r#"{"variables":{}}"#, "bad_request", "the request has no `query`"),
    ];
    for (body, code, message) in cases {
        let (status, _, told) = answer(quiet(), &[JSON, MODERN], body);
        assert_eq!(status, 400, "{body}");
        assert_eq!(told["errors"][0]["message"], message, "{body}");
        assert_eq!(told["errors"][0]["extensions"]["code"], code, "{body}");
        let (status, ..) = answer(quiet(), &[JSON], body);
        assert_eq!(status, if code == "bad_request" { 400 } else { 200 }, "{body}");
    }
}

#[test]
fn what_is_no_graphql_request_is_a_problem_document() {
    type Sample<'a> = (&'a [(&'a str, &'a str)], &'a str, u16, &'a str);
    let cases: [Sample<'_>; 5] = [
        (&[JSON], "{broken", 400, "malformed_body"),
        (&[JSON], "", 400, "malformed_body"),
        (&[("content-type", "text/plain")], "{}", 415, "unsupported_media_type"),
        (&[], "{}", 415, "unsupported_media_type"),
        (&[JSON, ("content-encoding", "gzip")], "{}", 415, "unsupported_media_type"),
    ];
    for (fields, body, status, code) in cases {
        let (got, media, told) = answer(quiet(), fields, body);
        assert_eq!((got, media.as_str(), &told["code"]), (status, "application/problem+json", &json!(code)), "{body}");
    }
}

#[test]
fn a_batch_is_answered_in_order_and_one_bad_request_spoils_no_other() {
    let upstream = Recording::answering(200, r#"{"data":{}}"#);
    let body = r#"[{"query":"{ orders { id } }"},7,{"query":"{ products(first: 5000) { id } }"},{"query":"{ product(id: 1) { id } }"}]"#;
    let (status, media, told) = answer(upstream.clone(), &[JSON, ("content-length", "9")], body);
    assert_eq!((status, media.as_str()), (200, "application/json; charset=utf-8"));
    let codes: Vec<_> =
        told.as_array().unwrap().iter().map(|one| one["errors"][0]["extensions"]["code"].clone()).collect();
    assert_eq!(codes, [json!(null), json!("bad_request"), json!("graphql_limit"), json!(null)]);
    let sent = upstream.sent.lock().unwrap();
    let bodies: Vec<_> = sent.iter().map(|(_, _, body)| body.as_str()).collect();
    assert_eq!(bodies, [r#"{"query":"{ orders { id } }"}"#, r#"{"query":"{ product(id: 1) { id } }"}"#]);
    assert_eq!(sent[0].1, [("content-type".to_owned(), "application/json".to_owned())]);
}

#[test]
fn each_request_of_a_batch_has_a_cost_and_a_name_of_its_own() {
    let inbound = inbound();
    let outbound: Arc<dyn Outbound> = Arc::new(GraphQlOutbound::new(quiet(), "/graphql"));
    let body = r#"[{"query":"query A { orders { id } }"},{"query":"query B { product(id: 1) { id } }"}]"#;
    let mut exchange = exchange(&inbound, outbound, &[JSON], body);
    let Ok(Described::Batch(children)) = inbound.describe(&worker(), &mut exchange) else { panic!("no batch") };
    let found: Vec<_> =
        children.iter().map(|child| (child.operation.as_ref().unwrap().id.to_string(), child.cost)).collect();
    assert_eq!(found, [("A".to_owned(), 11), ("B".to_owned(), 6)]);
}

#[test]
fn an_answer_that_is_not_json_becomes_an_error_in_its_place_of_the_batch() {
    let upstream = Recording::answering(502, "<html>");
    let (status, _, told) = answer(upstream, &[JSON], r#"[{"query":"{ orders { id } }"}]"#);
    assert_eq!((status, &told[0]["errors"][0]["extensions"]["code"]), (200, &json!("upstream_broken")));
}

#[test]
fn every_fault_renders_as_a_graphql_error_or_a_problem_with_code_and_request_id() {
    let inbound = inbound();
    let outbound: Arc<dyn Outbound> = Arc::new(GraphQlOutbound::new(quiet(), "/graphql"));
    let exchange = exchange(&inbound, outbound, &[JSON], "{}");
    for kind in FaultKind::ALL {
        let fault = Fault::new(*kind, "what happened").retry_after(Duration::from_millis(1_500)).with("limit", 5);
        let response = inbound.render(&exchange, Err(fault));
        assert_eq!(response.fields.get_str("retry-after"), Some("2"));
        let (status, media, told) = read(response);
        assert_eq!(status, kind.status());
        let part = if media == "application/problem+json" { &told } else { &told["errors"][0]["extensions"] };
        assert_eq!((&part["code"], &part["limit"]), (&json!(kind.code()), &json!(5)), "{told}");
        assert_eq!(part["request_id"], "00000000000000000000000000000007");
    }
}

#[test]
fn a_payload_of_another_protocol_becomes_the_data() {
    let inbound = inbound();
    let outbound: Arc<dyn Outbound> = Arc::new(GraphQlOutbound::new(quiet(), "/graphql"));
    let exchange = exchange(&inbound, outbound, &[JSON], "{}");
    let reply = portolan_exchange::Reply::payload(Payload::of(Map::from([("id", 1)])));
    let (status, _, told) = read(inbound.render(&exchange, Ok(reply)));
    assert_eq!((status, told), (200, json!({ "data": { "id": 1 } })));
}

const ORDERS: &str =
    "query Orders($first: Int!, $note: String, $all: Boolean, $share: Float, $id: ID) { orders(first: $first) { id } }";

fn stored(upstream: Arc<Recording>, pointer: &str, input: Option<Payload>) -> Result<Json, Fault> {
    let outbound: Arc<dyn Outbound> = Arc::new(StoredOutbound::new(upstream, "/graphql", ORDERS, pointer));
    let inbound = inbound();
    let fields = [JSON, ("content-length", "2"), ("accept-encoding", "gzip"), ("authorization", "Bearer x")];
    let mut exchange = exchange(&inbound, outbound.clone(), &fields, "{}");
    exchange.input = input;
    let reply = call(&worker(), &outbound, &mut exchange)?;
    assert_eq!(reply.status, 200);
    let portolan_exchange::Content::Payload(payload) = reply.content else { panic!("no payload") };
    Ok(serde_json::from_slice(&payload.bytes()).unwrap())
}

#[test]
fn a_stored_document_is_called_with_the_input_as_its_variables() {
    let upstream = Recording::answering(200, r#"{"data":{"orders":[{"id":"1"}]}}"#);
    let input = Map::new().with("first", "3").with("note", 7).with("all", "true").with("share", "0.5").with("other", 1);
    let input =
        input.with("body", portolan_exchange::value::Value::Map(Map::new().with("share", "0.5").with("first", 9)));
    assert_eq!(stored(upstream.clone(), "/orders", Some(Payload::of(input))).unwrap(), json!([{ "id": "1" }]));
    let sent = upstream.sent.lock().unwrap();
    let body: Json = serde_json::from_str(&sent[0].2).unwrap();
    let variables = json!({ "first": 3, "note": "7", "all": true, "share": 0.5 });
    assert_eq!(body, json!({ "query": ORDERS, "variables": variables }));
    let fields: Vec<_> = sent[0].1.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        fields,
        [
            ("authorization", "Bearer x"),
            ("content-type", "application/json"),
            ("accept", "application/graphql-response+json, application/json;q=0.9"),
        ]
    );
}

#[test]
fn what_the_service_answers_to_a_stored_document_is_a_reply_or_a_fault() {
    let cases = [
        (200, r#"{"data":{"orders":null}}"#, "/orders", Ok(json!(null))),
        (200, r#"{"data":{"orders":[7]}}"#, "", Ok(json!({ "orders": [7] }))),
        (200, r#"{"data":{"orders":[7]}}"#, "/orders/0", Ok(json!(7))),
        (200, r#"{"data":{"orders":[]}}"#, "/products", Err(FaultKind::UpstreamBroken)),
        (200, r#"{"data":null}"#, "/orders", Err(FaultKind::UpstreamBroken)),
        (200, r#"{"data":{"orders":[]},"errors":[{"message":"secret"}]}"#, "/orders", Err(FaultKind::UpstreamRefused)),
        (400, r#"{"errors":[{"message":"secret"}]}"#, "/orders", Err(FaultKind::UpstreamRefused)),
        (502, "<html>", "/orders", Err(FaultKind::UpstreamBroken)),
        (200, "[]", "/orders", Err(FaultKind::UpstreamBroken)),
    ];
    for (status, body, pointer, expected) in cases {
        let got = stored(Recording::answering(status, body), pointer, None);
        if let Err(fault) = &got {
            assert!(!fault.detail().contains("secret") && fault.cause().is_some(), "{fault:?}");
        }
        assert_eq!(got.map_err(|fault| fault.kind()), expected, "{body}");
    }
}
