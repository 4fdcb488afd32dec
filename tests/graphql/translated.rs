//! A REST operation answered by a GraphQL service: two protocols that meet at the operation.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::upstream::nobody;
use crate::kit::{Answer, FakeUpstream, RawClient, RawUpstream, Reply, TestGateway};

const OPENAPI: &str = r"
    openapi: 3.1.0
    info: { title: Orders, version: 3.0.0 }
    paths:
      /products:
        get:
          operationId: listProducts
          parameters:
            - { name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 100 } }
            - { name: cheap, in: query, schema: { type: boolean } }
            - { name: share, in: query, schema: { type: number } }
            - { name: name, in: query, schema: { type: string } }
            - { name: tags, in: query, schema: { type: array, items: { type: string } } }
            - { name: page, in: query, schema: { type: integer } }
          responses: { '200': { description: products } }
      /products/{id}:
        get:
          operationId: getProduct
          parameters: [ { name: id, in: path, required: true, schema: { type: string } } ]
          responses: { '200': { description: a product } }
      /orders:
        post:
          operationId: createOrder
          requestBody:
            required: true
            content:
              application/json:
                schema:
                  type: object
                  required: [ productId, quantity ]
                  properties:
                    productId: { type: string }
                    quantity: { type: integer, minimum: 1 }
                    notes: { type: array, items: { type: object } }
          responses: { '200': { description: made } }
        get: { operationId: listOrders, responses: { '200': { description: orders } } }
";

const LIST: &str = "query ($limit: Int! = 20, $cheap: Boolean, $share: Float, $name: String, $tags: [String!]) \
                    { products(first: $limit, cheap: $cheap, share: $share, name: $name, tags: $tags) { id name } }";
const GET: &str = "query ($id: ID!) { product(id: $id) { id name } }";
const CREATE: &str = "mutation ($productId: ID!, $quantity: Int!, $notes: [Note!]) \
                      { createOrder(productId: $productId, quantity: $quantity, notes: $notes) { id } }";

/// HMAC-SHA-256 of `acme-key` under `pepper`.
const ACME_KEY: &str = "a376e52b3014fe48601dc1dfb66ff2b55fe15daeae5a530ada7936ad677381cf";

/// A REST API of which three operations are answered by `shop`, the fourth by `rest`. `more` are further settings of the API,
/// `own` of `listProducts`.
fn gateway_with(rest: &str, shop: &str, more: &str, own: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        identity: { keys: { api_key: { header: x-api-key, pepper: pepper } } }
        upstreams:
          rest: { endpoints: [ "{rest}" ] }
          shop:
            endpoints: [ "{shop}" ]
            breaker: { error_ratio: 50%, minimum: 4, window: 10s, open_for: 5s }
            timeouts: { first_byte: 3s }
        apis:
          orders:
            version: v3
            openapi: ./orders.openapi.yaml
            path: /api
            upstream: rest
            operations:
              listProducts: { graphql: { upstream: shop, document: '{LIST}', result: /products } {own} }
              getProduct: { graphql: { upstream: shop, document: '{GET}', result: /product, path: /v2/graphql } }
              createOrder: { graphql: { upstream: shop, document: '{CREATE}' } }
            {more}
        consumers:
          acme: { keys: [ { hash: {acme} } ], subscriptions: [ { api: orders } ] }
        "#,
    )
    .with("rest", rest)
    .with("shop", shop)
    .with("LIST", LIST)
    .with("GET", GET)
    .with("CREATE", CREATE)
    .with("own", own)
    .with("more", more)
    .with("acme", ACME_KEY)
    .file("orders.openapi.yaml", OPENAPI)
    .start()
}

fn gateway(shop: &str) -> TestGateway {
    gateway_with("http://127.0.0.1:1", shop, "", "")
}

fn products() -> FakeUpstream {
    FakeUpstream::answering(200, json!({ "data": { "products": [{ "id": "1", "name": "Lamp" }] } }))
}

fn media(answer: &Answer) -> String {
    answer.header("content-type").unwrap_or_default()
}

#[test]
fn parameters_become_variables_of_the_documents_types_and_the_part_that_is_named_becomes_the_answer() {
    let shop = products();
    let gateway = gateway(&shop.url());
    // `page` is in the contract, but the document does not ask for it.
    let answer = gateway.get("/api/products?limit=3&cheap=true&share=0.5&name=7&tags=a&tags=b%26c&page=2");
    assert_eq!((answer.status, media(&answer).as_str()), (200, "application/json"));
    assert_eq!(answer.json(), json!([{ "id": "1", "name": "Lamp" }]));
    let seen = shop.the_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/graphql"));
    assert_eq!(seen.header("content-type").as_deref(), Some("application/json"));
    let variables = json!({ "limit": 3, "cheap": true, "share": 0.5, "name": "7", "tags": ["a", "b&c"] });
    assert_eq!(seen.json(), json!({ "query": LIST, "variables": variables }));
}

#[test]
fn who_asks_for_the_head_alone_gets_it_without_the_answer() {
    let shop = products();
    let gateway = gateway(&shop.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("HEAD /api/products HTTP/1.1\r\nhost: a\r\n\r\nGET /api/products HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: application/json"), "{head}");
    let (head, body) = client.read_answer();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!([{ "id": "1", "name": "Lamp" }]));
    assert!(shop.requests().iter().all(|seen| seen.method == "POST"), "GraphQL is asked by POST");
}

#[test]
fn what_is_left_out_is_no_variable_so_that_the_documents_default_holds() {
    let shop = products();
    let gateway = gateway(&shop.url());
    gateway.get("/api/products").assert_status(200);
    assert_eq!(shop.the_request().json(), json!({ "query": LIST, "variables": {} }));
}

#[test]
fn a_parameter_of_the_path_is_a_variable_and_nothing_found_is_null() {
    let shop = FakeUpstream::answering(200, json!({ "data": { "product": null } }));
    let gateway = gateway(&shop.url());
    let answer = gateway.get("/api/products/a%2Fb");
    assert_eq!((answer.status, media(&answer).as_str(), answer.text().as_str()), (200, "application/json", "null"));
    let seen = shop.the_request();
    assert_eq!(seen.target, "/v2/graphql");
    assert_eq!(seen.json(), json!({ "query": GET, "variables": { "id": "a/b" } }));
}

#[test]
fn members_of_a_body_are_variables_and_without_a_pointer_all_of_the_data_is_the_answer() {
    // No digit is lost, though the answer is read and written anew.
    let shop = FakeUpstream::start(|_| {
        Reply::bytes(200, r#"{"data":{"createOrder":{"id":"7","total":12345678901234567890.125}}}"#)
    });
    let gateway = gateway(&shop.url());
    let notes = json!([{ "text": "é", "weight": 12_345_678_901_234_567_890_u64 }]);
    let call =
        gateway.call("POST", "/api/orders").header("accept-encoding", "gzip").header("authorization", "Bearer x");
    let answer = call.json(&json!({ "quantity": 3, "productId": "1", "notes": notes, "unknown": 1 })).send();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, r#"{"createOrder":{"id":"7","total":12345678901234567890.125}}"#)
    );
    let seen = shop.the_request();
    assert_eq!(
        seen.json(),
        json!({ "query": CREATE, "variables": { "productId": "1", "quantity": 3, "notes": notes } })
    );
    // What spoke of the caller's body does not speak of this one; who is calling may still matter.
    let told = ["accept-encoding", "authorization", "accept"].map(|name| seen.header(name));
    assert_eq!(
        told,
        [None, Some("Bearer x".into()), Some("application/graphql-response+json, application/json;q=0.9".into())]
    );
}

#[test]
fn numbers_keep_every_digit_and_are_told_as_the_contract_declares_them() {
    const STOCK: &str = r"
        openapi: 3.0.3
        info: { title: Stock, version: '1' }
        paths:
          /stock/{id}:
            get:
              operationId: getStock
              parameters:
                - { name: id, in: path, required: true, schema: { type: integer, format: int64 } }
                - { name: price, in: query, schema: { type: string, format: decimal } }
                - { name: weight, in: query, schema: { type: number } }
              responses: { '200': { description: stock, content: { application/json: { schema: { $ref: '#/components/schemas/Stock' } } } } }
        components:
          schemas:
            Stock:
              type: object
              properties:
                id: { type: integer, format: int64 }
                price: { type: string, format: decimal, nullable: true }
                weight: { type: number }
                code: { type: string }
                counts: { type: array, items: { type: integer, format: uint64 } }
                parts: { type: array, items: { $ref: '#/components/schemas/Stock' } }
    ";
    const ASK: &str =
        "query ($id: ID!, $price: Float, $weight: Money) { stock(id: $id, price: $price, weight: $weight) { id } }";
    // A service says an id as text, and other numbers as it likes.
    let stock = r#"{"id":"9007199254740993","price":0.10000000000000001,"weight":"12.5","code":7,
                    "counts":["18446744073709551615",1],"parts":[{"id":"1"}],"more":"12"}"#;
    let answer = format!(r#"{{"data":{{"stock":{stock}}}}}"#);
    let shop = FakeUpstream::start(move |_| Reply::bytes(200, answer.clone()));
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { shop: { endpoints: [ "{shop}" ] } }
        apis:
          stock:
            version: v1
            openapi: ./stock.openapi.yaml
            path: /api
            upstream: shop
            operations: { getStock: { graphql: { upstream: shop, document: '{ASK}', result: /stock } } }
        "#,
    );
    let gateway = gateway.with("shop", shop.url()).with("ASK", ASK).file("stock.openapi.yaml", STOCK).start();
    let target = "/api/stock/9007199254740993?price=0.10000000000000001&weight=0.30000000000000001";
    let told = gateway.get(target).assert_status(200).text();
    let as_declared = r#"{"id":9007199254740993,"price":"0.10000000000000001","weight":12.5,"code":"7","#;
    // What comes back to itself in the contract is told as it came.
    let as_it_came = r#""counts":[18446744073709551615,1],"parts":[{"id":"1"}],"more":"12"}"#;
    assert_eq!(told, [as_declared, as_it_came].concat());
    let variables = r#""variables":{"id":9007199254740993,"price":0.10000000000000001,"weight":0.30000000000000001}}"#;
    let asked = shop.the_request().text();
    assert!(asked.ends_with(variables), "{asked}");
}

#[test]
fn the_contract_is_checked_before_anything_is_asked() {
    let shop = products();
    let gateway = gateway(&shop.url());
    let mut problem = gateway.get("/api/products?limit=1000&share=half").assert_problem(400, "invalid_parameters");
    assert_eq!(
        problem["errors"].take(),
        json!([
            { "location": "query.limit", "message": "must be at most 100" },
            { "location": "query.share", "message": "must be a number" },
        ])
    );
    gateway.post("/api/orders", &json!({ "productId": "1" })).assert_problem(422, "invalid_body");
    let call =
        |body: &str| gateway.call("POST", "/api/orders").header("content-type", "application/json").body(body).send();
    call("{broken").assert_problem(400, "malformed_body");
    let twice = call(r#"{"productId":"1","quantity":1,"quantity":900}"#);
    twice.assert_problem(400, "malformed_body");
    gateway
        .call("POST", "/api/orders")
        .header("content-type", "text/plain")
        .body("{}")
        .send()
        .assert_problem(415, "unsupported_media_type");
    assert_eq!(shop.count(), 0);
}

#[test]
fn operations_that_name_no_graphql_service_go_to_the_apis_own() {
    let (rest, shop) = (FakeUpstream::answering(200, json!(["of the REST service"])), products());
    let gateway = gateway_with(&rest.url(), &shop.url(), "", "");
    assert_eq!(gateway.get("/api/orders").json(), json!(["of the REST service"]));
    gateway.get("/api/products").assert_status(200);
    assert_eq!((rest.count(), shop.count()), (1, 1));
    let mut told: Vec<_> = gateway
        .log(2)
        .iter()
        .map(|line| json!([line["operation"], line["protocol"], line["upstream"], line["status"]]))
        .collect();
    told.sort_by_key(Value::to_string);
    assert_eq!(told, [json!(["listOrders", "rest", "rest", 200]), json!(["listProducts", "rest", "shop", 200])]);
}

#[test]
fn errors_of_the_service_are_a_502_with_their_words_in_the_log_alone() {
    let errors =
        json!([{ "message": "column secret_price does not exist", "path": ["products"] }, { "message": "more" }]);
    let answers = [
        (200, json!({ "errors": errors })),
        (200, json!({ "data": { "products": [] }, "errors": errors })),
        (400, json!({ "errors": errors })),
        (500, json!({ "errors": errors, "data": null })),
    ];
    for (status, body) in answers {
        let shop = FakeUpstream::answering(status, body);
        let gateway = gateway(&shop.url());
        let problem = gateway.get("/api/products").assert_problem(502, "upstream_refused");
        assert_eq!(problem, json!({ "detail": "the service answered with an error" }));
        let line = &gateway.log(1)[0];
        let cause = format!("status {status}, 2 GraphQL errors, first: column secret_price does not exist");
        assert_eq!(
            (&line["fault"], &line["cause"], &line["upstream"]),
            (&json!("upstream_refused"), &json!(cause), &json!("shop"))
        );
    }
}

#[test]
fn an_answer_that_is_not_graphqls_is_a_502() {
    let answers: [(&str, u16, &str); 8] = [
        ("a page", 200, "<html>"),
        ("a failure with a page", 500, "<html>"),
        ("nothing", 200, ""),
        ("half an answer", 200, "{\"data\":{\"products\":["),
        ("a list", 200, "[]"),
        ("neither data nor errors", 200, "{}"),
        ("null for data", 200, "{\"data\":null}"),
        ("nothing where the pointer points", 200, "{\"data\":{\"product\":1}}"),
    ];
    for (what, status, body) in answers {
        let shop = FakeUpstream::start(move |_| Reply::bytes(status, body).header("content-type", "application/json"));
        let gateway = gateway(&shop.url());
        let answer = gateway.get("/api/products");
        assert_eq!(answer.status, 502, "{what}: {}", answer.text());
        let problem = answer.assert_problem(502, "upstream_broken");
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(
            (problem.as_object().unwrap().len(), detail),
            (1, "the service did not answer as GraphQL services do"),
            "{what}"
        );
        assert!(gateway.log(1)[0]["cause"].is_string(), "{what}");
    }
}

#[test]
fn an_answer_without_end_is_given_up_at_its_bound() {
    let shop = RawUpstream::start(|peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while peer.send(&piece) {}
    });
    let gateway = gateway(&shop.url());
    let problem = gateway.get("/api/products").assert_problem(502, "upstream_broken");
    assert_eq!(problem, json!({ "detail": "the service's answer could not be read" }));
}

#[test]
fn a_service_that_resets_hangs_or_cannot_be_reached_is_a_problem() {
    let resetting = RawUpstream::start(|peer| {
        peer.head();
        peer.reset();
    });
    let problem = gateway(&resetting.url()).get("/api/products").assert_problem(502, "upstream_broken");
    assert_eq!(problem, json!({ "detail": "`shop` closed the connection before it answered" }));
    let problem =
        gateway(&format!("http://{}", nobody())).get("/api/products").assert_problem(502, "upstream_unreachable");
    assert_eq!(problem, json!({ "detail": "`shop` could not be reached" }));

    let hanging = FakeUpstream::hanging();
    let gateway = gateway(&hanging.url());
    let pending = gateway.call("GET", "/api/products").start();
    hanging.wait_for(1);
    gateway.advance(Duration::from_secs(3));
    let problem = pending.answer().assert_problem(504, "upstream_timeout");
    assert_eq!(problem, json!({ "detail": "`shop` did not answer in time" }));
    hanging.wait_for_cancelled(1);
}

#[test]
fn an_answer_that_stops_half_way_is_a_504_at_the_deadline() {
    let (shop, feed) = FakeUpstream::fed();
    let gateway = gateway_with("http://127.0.0.1:1", &shop.url(), "deadline: 2s", "");
    let pending = gateway.call("GET", "/api/products").start();
    feed.send("{\"data\":");
    shop.wait_for(1);
    gateway.advance_until("the service is let go", Duration::from_secs(1), || shop.cancelled() == 1);
    let answer = pending.answer();
    answer.assert_problem(504, "deadline_exceeded");
}

#[test]
fn the_services_breaker_counts_these_calls_and_leaves_the_other_service_alone() {
    let rest = FakeUpstream::answering(200, json!([]));
    let shop = FakeUpstream::failing();
    let gateway = gateway_with(&rest.url(), &shop.url(), "", "");
    for _ in 0..4 {
        gateway.get("/api/products").assert_status(502);
    }
    let refused = gateway.get("/api/products/1");
    let problem = refused.assert_problem(503, "circuit_open");
    assert_eq!(problem, json!({ "detail": "`shop` is failing and is left alone for a while" }));
    assert_eq!(refused.header("retry-after").as_deref(), Some("5"));
    assert_eq!(shop.count(), 4);
    gateway.get("/api/orders").assert_status(200);
}

#[test]
fn keys_limits_and_header_rules_hold_as_for_any_operation() {
    let shop = products();
    let rules = ", rate_limit: { name: few, limit: 2, every: 1m }, headers: { request: { set: { x-tenant: acme } }, response: { set: { x-served-by: portolan } } }";
    let gateway = gateway_with("http://127.0.0.1:1", &shop.url(), "authenticate: [ keys ]", rules);
    gateway.get("/api/products").assert_problem(401, "credentials_missing");
    let with_key = |target: &str| gateway.call("GET", target).header("x-api-key", "acme-key").send();
    let first = with_key("/api/products").assert_status(200);
    let told = ["x-ratelimit-remaining", "x-served-by"].map(|name| first.header(name).unwrap());
    assert_eq!(told, ["1", "portolan"]);
    let seen = shop.the_request();
    assert_eq!((seen.header("x-api-key"), seen.header("x-tenant")), (None, Some("acme".into())));
    with_key("/api/products").assert_status(200);
    let problem = with_key("/api/products").assert_problem(429, "rate_limited");
    assert_eq!(
        problem,
        json!({ "detail": "2 requests per minute reached for consumer `acme`; retry in 30s", "limit": 2 })
    );
    // The operation's own limit and rules are not those of the others.
    let other = with_key("/api/products/1");
    assert_eq!((other.status, other.header("x-ratelimit-remaining")), (502, None));
}

#[test]
fn when_the_client_vanishes_the_call_is_cancelled() {
    let shop = FakeUpstream::hanging();
    let gateway = gateway(&shop.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET /api/products HTTP/1.1\r\nhost: a\r\n\r\n");
    shop.wait_for(1);
    drop(client);
    shop.wait_for_cancelled(1);
    assert_eq!(gateway.log(1)[0]["outcome"], "cancelled");
}

#[test]
fn a_document_that_cannot_be_read_is_told_when_the_configuration_is_loaded() {
    let refused = |document: &str| {
        let setup = TestGateway::with_config(
            r#"
            upstreams: { rest: { endpoints: [ "http://127.0.0.1:1" ] } }
            apis:
              orders:
                version: v3
                openapi: ./orders.openapi.yaml
                path: /api
                upstream: rest
                operations:
                  listProducts: { graphql: { upstream: rest, document: '{document}' } }
            "#,
        );
        let setup = setup.with("document", document).file("orders.openapi.yaml", OPENAPI);
        let told = setup.try_start().err().expect("the configuration is not sound").to_string();
        let (place, sentence) = told.split_once(": apis.orders").expect("a place in the configuration");
        assert!(place.contains("gateway.yaml:14:"), "{told}");
        sentence.lines().next().unwrap().to_owned()
    };
    let at = ".operations.listProducts.graphql.document: the document: ";
    assert_eq!(
        refused("{ products {"),
        format!("{at}syntax error: expected a field or `}}`, found the end of the document (line 1, column 13 of it)")
    );
    assert_eq!(refused("subscription { a }"), format!("{at}a stored document cannot be a subscription"));
}
