//! Requests checked against an OpenAPI document.

use serde_json::{Value, json};

use crate::kit::{Answer, FakeUpstream, RawClient, TestGateway};

const ORDERS: &str = r"
    openapi: 3.1.0
    info: { title: Orders, version: 3.0.0 }
    paths:
      /orders:
        get:
          operationId: listOrders
          parameters:
            - { name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 100 } }
            - { name: status, in: query, schema: { type: string, enum: [ open, paid ] } }
          responses: { '200': { description: orders } }
        post:
          operationId: createOrder
          requestBody:
            required: true
            content:
              application/json:
                schema:
                  type: object
                  required: [ productId, quantity ]
                  additionalProperties: false
                  properties:
                    productId: { type: string, minLength: 1 }
                    quantity: { type: integer, minimum: 1, maximum: 1000 }
          responses: { '201': { description: made } }
      /orders/{id}:
        get:
          operationId: getOrder
          parameters: [ { name: id, in: path, required: true, schema: { type: integer } } ]
          responses: { '200': { description: an order } }
";

fn gateway(upstream: &FakeUpstream, more: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams: { orders: { endpoints: [ "{upstream}" ] } }
        apis:
          orders: { version: v3, openapi: ./orders.openapi.yaml, path: /orders-api/v3, upstream: orders {more} }
        "#,
    )
    .with("upstream", upstream.url())
    .with("more", more)
    .file("orders.openapi.yaml", ORDERS)
    .start()
}

fn refused(answer: &Answer, status: u16, code: &str) -> (String, Value) {
    let mut problem = answer.assert_problem(status, code);
    (problem["detail"].as_str().unwrap().to_owned(), problem["errors"].take())
}

fn at(location: &str, message: &str) -> Value {
    json!({ "location": location, "message": message })
}

#[test]
fn a_request_that_fits_reaches_the_upstream_as_it_was_written() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "");
    let body = r#"{ "quantity": 3,  "productId": "p-1" }"#;
    let answer =
        gateway.call("POST", "/orders-api/v3/orders").header("content-type", "application/json").body(body).send();
    assert_eq!((answer.status, answer.text().as_str()), (200, body));
    gateway.get("/orders-api/v3/orders?limit=10&status=paid").assert_status(200);
    gateway.get("/orders-api/v3/orders/17").assert_status(200);
    let seen: Vec<_> = upstream.requests().into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        seen,
        ["/orders-api/v3/orders", "/orders-api/v3/orders?limit=10&status=paid", "/orders-api/v3/orders/17"]
    );
}

#[test]
fn parameters_that_do_not_fit_are_refused_each_with_its_place() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "");
    let answer = gateway.get("/orders-api/v3/orders?limit=0&status=lost");
    assert_eq!(
        refused(&answer, 400, "invalid_parameters"),
        (
            "parameters do not fit operation `listOrders`; `errors` names each place".to_owned(),
            json!([at("query.limit", "must be at least 1"), at("query.status", "must be one of `open`, `paid`")]),
        )
    );
    let answer = gateway.get("/orders-api/v3/orders/first");
    assert_eq!(refused(&answer, 400, "invalid_parameters").1, json!([at("path.id", "must be an integer")]));
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_body_that_does_not_fit_is_refused_each_place_named() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "");
    let answer = gateway.post("/orders-api/v3/orders", &json!({ "quantity": 0, "colour": "red" }));
    let (detail, mut errors) = refused(&answer, 422, "invalid_body");
    assert_eq!(detail, "the body does not fit operation `createOrder`; `errors` names each place");
    errors.as_array_mut().unwrap().sort_by_key(|error| error["location"].to_string());
    assert_eq!(
        errors,
        json!([
            at("body/colour", "is not a known member"),
            at("body/productId", "is required"),
            at("body/quantity", "must be at least 1")
        ])
    );
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_body_that_cannot_be_read_or_is_of_another_kind_is_refused() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "");
    // Each on a connection of its own: a body that is refused unread may close it.
    let sent = |media: &str, body: &[u8]| {
        let call = gateway.client().call("POST", "/orders-api/v3/orders");
        call.header("content-type", media).body(body).send()
    };
    for broken in [&b"{broken"[..], b"", b"{}{}", b"\"\xff\xfe\"", b"[[[[", b"{\"a\":1,}"] {
        let answer = sent("application/json", broken);
        assert_eq!(answer.status, 400, "{:?}: {}", String::from_utf8_lossy(broken), answer.text());
        answer.assert_problem(400, "malformed_body");
    }
    sent("text/plain", b"{}").assert_problem(415, "unsupported_media_type");
    let deep = [b"{\"productId\":".repeat(5_000), b"1".to_vec(), b"}".repeat(5_000)].concat();
    let answer = sent("application/json", &deep);
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    assert_eq!(upstream.count(), 0);
    gateway.post("/orders-api/v3/orders", &json!({ "productId": "p", "quantity": 1 })).assert_status(200);
}

#[test]
fn a_body_that_is_checked_is_bounded_whether_it_says_its_length_or_not() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, ", max_body: 2KiB");
    let large = json!({ "productId": "p".repeat(3_000), "quantity": 1 });
    let answer = gateway.post("/orders-api/v3/orders", &large);
    let problem = answer.assert_problem(413, "body_too_large");
    assert_eq!(problem, json!({ "detail": "the body is larger than 2048 bytes", "limit": 2048 }));

    let mut client = RawClient::connect(gateway.address());
    client.send("POST /orders-api/v3/orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send(format!("c00\r\n{}\r\n", " ".repeat(3_072)));
    // Its last chunk never comes: it is refused while it is still being sent.
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_path_of_the_document_takes_its_methods_alone_and_another_path_none() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "");
    let answer = gateway.call("DELETE", "/orders-api/v3/orders").send();
    answer.assert_problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow").as_deref(), Some("GET, HEAD, POST"));
    gateway.get("/orders-api/v3/customers").assert_problem(404, "unknown_route");
    gateway.get("/orders").assert_problem(404, "unknown_route");
    assert_eq!(upstream.count(), 0);
}

#[test]
fn checks_can_report_instead_of_refusing_and_be_off() {
    for mode in ["report", "off"] {
        let upstream = FakeUpstream::echo();
        let gateway = gateway(&upstream, &format!(", validate: {mode}"));
        gateway.get("/orders-api/v3/orders?limit=0").assert_status(200);
        gateway.post("/orders-api/v3/orders", &json!({})).assert_status(200);
        assert_eq!(upstream.count(), 2, "{mode}");
        let causes: Vec<_> = gateway.log(2).into_iter().map(|line| line["cause"].clone()).collect();
        let expected = match mode {
            "report" => json!([
                "does not fit, invalid_parameters: query.limit: must be at least 1",
                "does not fit, invalid_body: body/productId: is required"
            ]),
            _ => json!([null, null]),
        };
        assert_eq!(json!(causes), expected, "{mode}");
    }
}

#[test]
fn an_upstream_may_know_the_api_by_another_path() {
    for (more, seen) in [("strip_path: true", "/orders/17"), ("upstream_path: /v3", "/v3/orders/17")] {
        let upstream = FakeUpstream::echo();
        let gateway = gateway(&upstream, &format!(", {more}"));
        gateway.get("/orders-api/v3/orders/17").assert_status(200);
        assert_eq!(upstream.the_request().target, seen, "{more}");
    }
}
