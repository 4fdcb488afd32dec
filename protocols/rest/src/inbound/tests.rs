use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use portolan_exchange::body::{BodyError, BodyStream, Frame};
use portolan_exchange::exchange::RequestId;
use portolan_exchange::protocol::{Outbound, Upstream};
use portolan_exchange::{Api, Clock, LocalBoxFuture, Method, Moment, Route, Target};
use serde_json::{Value, json};

use super::*;
use crate::{HttpOutbound, UpstreamPath};

fn shop() -> Contract {
    let tree = portolan_config::tree::parse("api.yaml", include_str!("../../cases/shop-3.0.yaml")).unwrap();
    Contract::read(&tree).unwrap()
}

/// An exchange of one operation of the shop, as the pipeline opens it.
fn exchange(inbound: RestInbound, id: &str, target: &str, parameters: &[(&str, &str)]) -> Exchange {
    let operation = shop().operations.iter().find(|operation| &*operation.id == id).unwrap().clone();
    let route = Route {
        name: "orders".into(),
        api: Some(Api { name: "orders".into(), version: "v3".into(), environment: "production".into() }),
        inbound: Arc::new(inbound),
        outbound: Arc::new(HttpOutbound::new(Arc::new(Echo::default()), UpstreamPath::Unchanged)),
        policies: Box::default(),
        deadline: Duration::from_secs(10),
        prefix: "/orders-api/v3".into(),
    };
    let mut request = Request::new(Method::of(operation.method), Target::new(target));
    request.fields.push(b"X-Tenant", b"acme");
    let mut exchange = Exchange::new(RequestId::new(7), Arc::new(route), request, Moment::from_nanos(0));
    exchange.path_parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    exchange.operation = Some(operation.operation());
    exchange
}

fn enforcing() -> RestInbound {
    RestInbound::new(&shop(), Checks::Enforce, 1_000)
}

fn with_json(mut exchange: Exchange, body: &str) -> Exchange {
    exchange.request.fields.push(b"Content-Type", b"application/json");
    exchange.request.body = Body::whole(body.to_owned());
    exchange
}

fn worker() -> Rc<Worker> {
    Worker::new(0, Clock::system())
}

/// Describes the exchange as the pipeline does: its body is gathered where the inbound asks for it.
fn described(exchange: &mut Exchange) -> Result<(), Fault> {
    let inbound = exchange.route.inbound.clone();
    if let Some(cap) = inbound.gathers(exchange) {
        let body = std::mem::take(&mut exchange.request.body);
        exchange.request.body = Body::whole(body.collect(cap).now_or_never().unwrap().unwrap().bytes);
    }
    inbound.describe(&worker(), exchange).map(drop)
}

/// The response as status, media type and JSON.
fn rendered(exchange: &Exchange, answer: Answer) -> (u16, String, Value) {
    let response = exchange.route.inbound.render(exchange, answer);
    let media_type = response.fields.get_str("content-type").unwrap_or_default().to_owned();
    let bytes = response.body.collect(1 << 20).now_or_never().unwrap().unwrap().bytes;
    (response.status, media_type, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// A body that is still on its way.
struct Arriving(Vec<Bytes>);

impl BodyStream for Arriving {
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        Poll::Ready(self.0.pop().map(|data| Ok(Frame::Data(data))))
    }

    fn size(&self) -> Size {
        Size::Unknown
    }
}

/// An upstream that answers with what it was sent, in one line.
#[derive(Default)]
struct Echo {
    name: Arc<str>,
}

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Upstream for Echo {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn send<'a>(
        &'a self,
        _: &'a Rc<Worker>,
        _: &'a mut Exchange,
        request: Request,
    ) -> LocalBoxFuture<'a, Result<Response, Fault>> {
        let fields = request.fields.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned());
        let fields = fields.collect::<Vec<_>>().join(" ");
        let line = format!("{} {} [{fields}] {:?}", request.method, request.target.as_str(), request.body);
        SEEN.with_borrow_mut(|seen| seen.push(line));
        let mut response = Response::new(201);
        response.fields.push(b"etag", b"\"1\"");
        response.body = request.body;
        Box::pin(async move { Ok(response) })
    }
}

#[test]
fn a_request_that_does_not_fit_is_answered_with_a_problem_that_names_each_place() {
    let exchange = exchange(enforcing(), "createOrder", "/orders-api/v3/orders", &[]);
    let mut exchange = with_json(exchange, r#"{"productId": "1", "quantity": "two"}"#);
    let fault = described(&mut exchange).unwrap_err();
    assert_eq!(
        rendered(&exchange, Err(fault)),
        (
            422,
            "application/problem+json".to_owned(),
            json!({
                "type": "urn:portolan:fault:invalid_body",
                "title": "The body does not fit the operation",
                "status": 422,
                "detail": "the body does not fit operation `createOrder`; `errors` names each place",
                "code": "invalid_body",
                "request_id": "00000000000000000000000000000007",
                "errors": [
                    { "location": "body/customerId", "message": "is required" },
                    { "location": "body/quantity", "message": "must be an integer" },
                ],
            })
        )
    );
}

#[test]
fn each_kind_of_misfit_has_its_status() {
    let status = |exchange: &mut Exchange| {
        let fault = described(exchange).unwrap_err();
        (fault.kind().status(), fault.kind().code())
    };
    let create = || exchange(enforcing(), "createOrder", "/orders", &[]);
    assert_eq!(
        status(&mut exchange(enforcing(), "getOrder", "/orders/x", &[("id", "x")])),
        (400, "invalid_parameters")
    );
    assert_eq!(status(&mut with_json(create(), "{")), (400, "malformed_body"));
    assert_eq!(status(&mut create()), (400, "malformed_body"));
    assert_eq!(status(&mut with_json(create(), "{}")), (422, "invalid_body"));
    let mut plain = create();
    plain.request.fields.push(b"content-type", b"text/plain");
    plain.request.body = Body::whole("x");
    assert_eq!(status(&mut plain), (415, "unsupported_media_type"));
    let mut twice = with_json(create(), "{}");
    twice.request.fields.push(b"content-type", b"application/x-www-form-urlencoded");
    assert_eq!(status(&mut twice), (415, "unsupported_media_type"));
}

#[test]
fn only_a_body_that_is_checked_is_gathered() {
    let gathers = |exchange: &Exchange| exchange.route.inbound.gathers(exchange);
    let create =
        |checks| with_json(exchange(RestInbound::new(&shop(), checks, 1_000), "createOrder", "/orders", &[]), "{}");
    assert_eq!(gathers(&create(Checks::Enforce)), Some(1_000));
    assert_eq!(gathers(&create(Checks::Report)), Some(1_000));
    assert_eq!(gathers(&create(Checks::Off)), None);
    assert_eq!(gathers(&exchange(enforcing(), "getOrder", "/orders/1", &[("id", "1")])), None);

    let product = "0190f7d5-6f63-7b0e-a2ac-2d2f7f2f6a11";
    let mut image = exchange(enforcing(), "putImage", "/products/x/image", &[("productId", product)]);
    image.request.fields.push(b"content-type", b"image/png");
    image.request.body = Body::stream(Arriving(vec![Bytes::from_static(b"png")]));
    assert_eq!(gathers(&image), None);
    assert!(described(&mut image).is_ok());
    assert!(matches!(image.request.body, Body::Stream(_)));

    let mut long = create(Checks::Report);
    long.request.body = Body::whole("x".repeat(1_001));
    assert_eq!(gathers(&long), None);
}

#[test]
fn parameters_of_one_segment_are_checked_each_for_itself() {
    let text = "openapi: 3.1.0
paths:
  /compare/{base}...{head}:
    get:
      parameters:
        - { name: base, in: path, required: true, schema: { type: string, maxLength: 4 } }
        - { name: head, in: path, required: true, schema: { type: string } }
";
    let contract = Contract::read(&portolan_config::tree::parse("api.yaml", text).unwrap()).unwrap();
    let operation = contract.operations[0].clone();
    let told = |matched: &str| {
        let inbound = RestInbound::new(&contract, Checks::Enforce, 1_000);
        let mut exchange = exchange(inbound, "getOrder", "/compare/x", &[("base...head", matched)]);
        exchange.operation = Some(operation.operation());
        let violations = described(&mut exchange).err().map(|fault| fault.violations().to_vec()).unwrap_or_default();
        violations
            .into_iter()
            .map(|violation| format!("{}: {}", violation.location, violation.message))
            .collect::<Vec<_>>()
    };
    assert_eq!(told("main...a%2Fb"), Vec::<String>::new());
    assert_eq!(told("trunk...next"), ["path.base: must have at most 4 characters"]);
    assert_eq!(told("main"), ["path.base: is required", "path.head: is required"]);
}

#[test]
fn in_report_what_does_not_fit_goes_on_and_is_noted() {
    let report = RestInbound::new(&shop(), Checks::Report, 1_000);
    let mut exchange =
        with_json(exchange(report, "createOrder", "/orders", &[]), r#"{"productId": "1", "customerId": "1"}"#);
    assert!(described(&mut exchange).is_ok());
    assert_eq!(exchange.record.cause.as_deref(), Some("does not fit, invalid_body: body/quantity: is required"));
    let Misfit(refusal) = exchange.tickets.take().unwrap();
    assert_eq!(refusal.violations.len(), 1);
}

#[test]
fn a_route_without_a_contract_lets_everything_through() {
    let mut exchange = with_json(exchange(RestInbound::plain(), "createOrder", "/orders?%zz", &[]), "{");
    assert_eq!(exchange.route.inbound.gathers(&exchange), None);
    assert!(described(&mut exchange).is_ok());
}

#[test]
fn fields_of_one_name_are_checked_together() {
    let mut exchange = exchange(enforcing(), "getOrder", "/orders/1", &[("id", "1")]);
    exchange.request.fields.push(b"x-tenant", b"b-second-tenant-here");
    let fault = described(&mut exchange).unwrap_err();
    assert_eq!(fault.violations()[0].message, "must have at most 20 characters");
}

#[test]
fn the_input_of_an_operation_is_its_parameters_and_the_members_of_its_body() {
    let inbound = enforcing().reading_input();
    let exchange = exchange(inbound, "patch /orders/{id}", "/orders/17?id=18&other=1", &[("id", "17")]);
    let mut exchange = with_json(exchange, r#"{"quantity": 3, "status": "paid"}"#);
    exchange.request.fields.set("content-type", "application/merge-patch+json").unwrap();
    described(&mut exchange).unwrap();
    assert_eq!(exchange.input.as_ref().unwrap().bytes(), r#"{"quantity":3,"status":"paid","id":17}"#);

    let list = "/orders?limit=5&status=open,paid&tag=1&price[min]=1.5&full=true";
    let mut exchange = self::exchange(enforcing().reading_input(), "listOrders", list, &[]);
    described(&mut exchange).unwrap();
    let read: Value = serde_json::from_slice(&exchange.input.as_ref().unwrap().bytes()).unwrap();
    assert_eq!(
        read,
        json!({ "limit": 5, "status": ["open", "paid"], "tag": ["1"], "price": { "min": 1.5 }, "full": true })
    );
}

#[test]
fn a_number_that_no_double_holds_is_given_on_as_it_came() {
    let inbound = RestInbound::new(&shop(), Checks::Off, 1_000).reading_input();
    let body = r#"{"far":1e400,"fine":0.10000000000000001,"long":1234567890123456789012345}"#;
    let mut exchange = with_json(exchange(inbound, "createOrder", "/orders", &[]), body);
    described(&mut exchange).unwrap();
    assert_eq!(exchange.input.unwrap().bytes(), body);

    let text = "openapi: 3.0.3
paths:
  /a:
    get: { parameters: [ { name: share, in: query, schema: { type: number } } ] }
";
    let contract = Contract::read(&portolan_config::tree::parse("api.yaml", text).unwrap()).unwrap();
    let inbound = RestInbound::new(&contract, Checks::Enforce, 1_000).reading_input();
    let mut exchange = self::exchange(inbound, "getOrder", "/a?share=0.10000000000000001", &[]);
    exchange.operation = Some(contract.operations[0].operation());
    described(&mut exchange).unwrap();
    assert_eq!(exchange.input.unwrap().bytes(), r#"{"share":0.10000000000000001}"#);
}

#[test]
fn a_body_that_could_be_read_in_two_ways_is_no_input() {
    let told = |body: &str| {
        let inbound = RestInbound::new(&shop(), Checks::Off, 1_000).reading_input();
        let fault = described(&mut with_json(exchange(inbound, "createOrder", "/orders", &[]), body)).unwrap_err();
        let place = fault.violations()[0].clone();
        (fault.kind(), place.location, place.message)
    };
    let malformed = |location: &str, message: &str| (FaultKind::MalformedBody, location.to_owned(), message.to_owned());
    assert_eq!(told(r#"{"x": {"id": 1, "id": 2}}"#), malformed("body/x/id", "stands twice in the same map"));
    let deep = ["[".repeat(65), "]".repeat(65)].concat();
    assert_eq!(
        told(&deep),
        malformed(&format!("body{}", "/0".repeat(64)), "more than 64 lists and maps in one another")
    );
}

#[test]
fn an_input_that_cannot_be_read_is_refused_even_where_nothing_is_checked() {
    let inbound = || RestInbound::new(&shop(), Checks::Off, 1_000).reading_input();
    let kind = |exchange: &mut Exchange| described(exchange).unwrap_err().kind().code();
    assert_eq!(kind(&mut exchange(inbound(), "getOrder", "/orders/%", &[("id", "%")])), "invalid_parameters");
    assert_eq!(kind(&mut with_json(exchange(inbound(), "createOrder", "/orders", &[]), "{")), "malformed_body");
    let mut form = exchange(inbound(), "createOrder", "/orders", &[]);
    form.request.fields.push(b"content-type", b"application/x-www-form-urlencoded");
    form.request.body = Body::whole("a=1");
    assert_eq!(kind(&mut form), "unsupported_media_type");
}

#[test]
fn a_payload_from_another_protocol_is_rendered_as_json() {
    let exchange = exchange(enforcing(), "getOrder", "/orders/1", &[("id", "1")]);
    let mut reply = Reply::payload(Payload::json(Bytes::from_static(br#"{"id": "1"}"#)));
    reply.fields.push(b"content-length", b"9999");
    reply.fields.push(b"etag", b"\"of the other\"");
    let response = exchange.route.inbound.render(&exchange, Ok(reply));
    let fields: Vec<(String, String)> = response.fields.iter().map(|(name, value)| (text(name), text(value))).collect();
    assert_eq!(response.status, 200);
    assert_eq!(fields, [("content-type".to_owned(), "application/json".to_owned())]);
    assert_eq!(response.body.collect(100).now_or_never().unwrap().unwrap().bytes, r#"{"id": "1"}"#);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_request_goes_on_as_it_came_and_its_answer_comes_back_so() {
    let mut exchange = exchange(enforcing(), "createOrder", "/orders-api/v3/orders?a=%20", &[]);
    exchange.request.body = Body::stream(Arriving(vec![Bytes::from_static(b"abc")]));
    let outbound = exchange.route.outbound.clone();
    let reply = outbound.call(&worker(), &mut exchange).now_or_never().unwrap().unwrap();
    assert_eq!(SEEN.take(), ["POST /orders-api/v3/orders?a=%20 [X-Tenant] Stream(Unknown)"]);
    assert_eq!((reply.status, reply.fields.get_str("etag")), (201, Some("\"1\"")));
    assert!(matches!(reply.content, Content::Bytes(Body::Stream(_))));
    // What was asked for stays to be recorded.
    assert_eq!((exchange.request.method, exchange.request.target.path()), (Method::Post, "/orders-api/v3/orders"));
}

#[test]
fn an_upstream_sees_its_own_prefix_in_place_of_the_routes() {
    let told = |path: UpstreamPath, target: &str| {
        let mut exchange = exchange(RestInbound::plain(), "listOrders", target, &[]);
        let outbound = HttpOutbound::new(Arc::new(Echo::default()), path);
        outbound.call(&worker(), &mut exchange).now_or_never().unwrap().unwrap();
        let line = SEEN.take().pop().unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    let replaced = |prefix: &str| UpstreamPath::Replaced(prefix.into());
    assert_eq!(told(UpstreamPath::Unchanged, "/orders-api/v3/orders?a=1"), "/orders-api/v3/orders?a=1");
    assert_eq!(told(replaced("/v3"), "/orders-api/v3/orders/%2F?a=1"), "/v3/orders/%2F?a=1");
    assert_eq!(told(replaced(""), "/orders-api/v3/orders"), "/orders");
    assert_eq!(told(replaced(""), "/orders-api/v3?a=1"), "/?a=1");
}
