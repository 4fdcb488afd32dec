//! GraphQL over the wire: documents read and priced before they are forwarded, batches, bombs, and REST answered by GraphQL.

use serde_json::{Value, json};

use crate::kit::{Answer, FakeUpstream, Reply, TestGateway};

const SCHEMA: &str = r"
    type Query { products(first: Int): [Product!]! product(id: ID!): Product }
    type Mutation { createOrder(productId: ID!, quantity: Int!): Order! }
    type Subscription { orderCreated: Order! }
    type Product { id: ID! name: String! price: Float orders(first: Int): [Order!]! }
    type Order { id: ID! quantity: Int! product: Product! }
";

/// An upstream that answers every operation with the same data.
fn shop() -> FakeUpstream {
    FakeUpstream::answering(200, json!({ "data": { "products": [ { "id": "1" } ] } }))
}

fn gateway(upstream: &FakeUpstream, more: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams: { shop: { endpoints: [ "{upstream}" ] } }
        apis:
          shop: { version: v1, graphql: ./shop.graphql, path: /shop/graphql, upstream: shop {more} }
        "#,
    )
    .with("upstream", upstream.url())
    .with("more", more)
    .file("shop.graphql", SCHEMA)
    .start()
}

fn ask(gateway: &TestGateway, query: &str) -> Answer {
    gateway.post("/shop/graphql", &json!({ "query": query }))
}

/// The first error of a refused document, without its request id.
fn refusal(answer: &Answer) -> Value {
    let mut error = answer.json()["errors"][0].take();
    assert!(error["message"].is_string(), "{}", answer.text());
    error["extensions"].as_object_mut().map(|extensions| extensions.remove("request_id"));
    error
}

#[test]
fn a_document_that_keeps_the_limits_is_forwarded_byte_for_byte() {
    let upstream = shop();
    let gateway = gateway(&upstream, "");
    let body = r#"{ "query": "query A($n: Int) { products(first: $n) { id } }",  "variables": {"n": 2} }"#;
    let answer = gateway.call("POST", "/shop/graphql").header("content-type", "application/json").body(body).send();
    assert_eq!((answer.status, answer.json()), (200, json!({ "data": { "products": [ { "id": "1" } ] } })));
    let seen = upstream.the_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.text().as_str()), ("POST", "/graphql", body));
}

#[test]
fn depth_and_cost_are_refused_with_limit_and_value() {
    let upstream = shop();
    let gateway = gateway(&upstream, ", limits: { max_depth: 3 }");
    let deep = ask(&gateway, "{ products { orders { product { id } } } }");
    assert_eq!(
        refusal(&deep)["extensions"],
        json!({ "code": "graphql_limit", "limit": "depth", "value": 4, "maximum": 3 })
    );
    let dear = ask(&gateway, "{ products(first: 100) { orders(first: 100) { id } } }");
    assert_eq!(
        refusal(&dear)["extensions"],
        json!({ "code": "graphql_limit", "limit": "cost", "value": 11010, "maximum": 1000 })
    );
    assert_eq!(upstream.count(), 0);
}

#[test]
fn one_document_is_priced_anew_with_each_request_variables() {
    let upstream = shop();
    let gateway = gateway(&upstream, "");
    let query = "query($n: Int = 5) { products(first: $n) { id name } }";
    let cost = |variables: Value| {
        let answer = gateway.post("/shop/graphql", &json!({ "query": query, "variables": variables }));
        answer.json()["errors"][0]["extensions"]["value"].as_u64()
    };
    assert_eq!(cost(json!({ "n": 10 })), None);
    assert_eq!(cost(json!({ "n": 1_000 })), Some(2_010));
    assert_eq!(cost(json!({})), None);
    assert_eq!(cost(json!({ "n": 600 })), Some(1_210));
    assert_eq!(upstream.count(), 2);
}

#[test]
fn bombs_are_refused_and_the_gateway_goes_on() {
    let upstream = shop();
    let gateway = gateway(&upstream, "");
    let doubling: String =
        (0..30).map(|at| format!("fragment f{at} on Product {{ ...f{next} ...f{next} }} ", next = at + 1)).collect();
    let spreads = format!("{{ products(first: 1) {{ ...f0 }} }} {doubling} fragment f30 on Product {{ id }}");
    let aliases: String = (0..10_000).map(|at| format!("a{at}: products(first: 1) {{ id }} ")).collect();
    let circle = "{ products { ...a } } fragment a on Product { ...b } fragment b on Product { ...a }".to_owned();
    let nested = format!("{}{{ id }}{}", "{ products ".repeat(50_000), "}".repeat(50_000));
    let lists = format!("{{ product(id: {}{}) {{ id }} }}", "[".repeat(100_000), "]".repeat(100_000));
    for (what, document) in [
        ("2^30 spreads", spreads),
        ("10,000 aliases", format!("{{ {aliases} }}")),
        ("a circle", circle),
        ("50,000 levels", nested),
        ("100,000 lists", lists),
        ("a megabyte of commas", format!("{{ products {{ id {} }} }}", ",".repeat(900_000))),
    ] {
        let answer = ask(&gateway, &document);
        assert!(answer.status < 500, "{what}: {}", answer.text());
        let code = refusal(&answer)["extensions"]["code"].clone();
        assert!(
            ["graphql_limit", "graphql_invalid", "graphql_syntax"].contains(&code.as_str().unwrap()),
            "{what}: {code}"
        );
    }
    assert_eq!(upstream.count(), 0);
    ask(&gateway, "{ products { id } }").assert_status(200);
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_document_that_is_none_or_does_not_fit_the_schema_is_refused_with_its_place() {
    let upstream = shop();
    let gateway = gateway(&upstream, "");
    for (query, code) in [
        ("{ products { id ", "graphql_syntax"),
        ("", "graphql_syntax"),
        ("{ products { colour } }", "graphql_invalid"),
        ("{ product { id } }", "graphql_invalid"),
        ("subscription { orderCreated { id } }", "graphql_invalid"),
    ] {
        let answer = ask(&gateway, query);
        assert_eq!(
            (answer.status, &refusal(&answer)["extensions"]["code"]),
            (200, &json!(code)),
            "{query}: {}",
            answer.text()
        );
        let told = gateway
            .call("POST", "/shop/graphql")
            .header("accept", "application/graphql-response+json")
            .json(&json!({ "query": query }))
            .send();
        let media = told.header("content-type").unwrap();
        assert!(
            told.status == 400 && media.starts_with("application/graphql-response+json"),
            "{} {media}",
            told.status
        );
    }
    assert_eq!(refusal(&ask(&gateway, "{ products {\n  colour } }"))["locations"], json!([{ "line": 2, "column": 3 }]));
    assert_eq!(upstream.count(), 0);
}

#[test]
fn what_is_no_graphql_request_is_a_problem() {
    let upstream = shop();
    let gateway = gateway(&upstream, ", max_body: 1KiB");
    let post =
        |media: &str, body: &str| gateway.call("POST", "/shop/graphql").header("content-type", media).body(body).send();
    post("application/json", "{broken").assert_problem(400, "malformed_body");
    post("application/json", r#"{"query":"{ a }","query":"{ b }"}"#).assert_problem(400, "malformed_body");
    post("text/plain", r#"{"query":"{ products { id } }"}"#).assert_problem(415, "unsupported_media_type");
    post("application/json", &format!("{{\"query\":\"{}\"}}", " ".repeat(2_000))).assert_problem(413, "body_too_large");
    gateway.call("PUT", "/shop/graphql").body("{}").send().assert_problem(405, "method_not_allowed");
    assert_eq!(upstream.count(), 0);
}

#[test]
fn the_elements_of_a_batch_are_exchanges_of_their_own_answered_in_order() {
    let upstream =
        FakeUpstream::start(|seen| Reply::json(200, &json!({ "data": { "asked": seen.json()["operationName"] } })));
    let gateway = gateway(&upstream, "");
    let element =
        |name: &str, body: &str| json!({ "operationName": name, "query": format!("query {name} {{ {body} }}") });
    let batch = json!([
        element("first", "products { id }"),
        element("dear", "products(first: 100) { orders(first: 100) { id } }"),
        element("last", "product(id: 1) { name }"),
    ]);
    let answer = gateway.post("/shop/graphql", &batch).assert_status(200);
    let answers = answer.json();
    assert_eq!(
        (&answers[0], &answers[2]),
        (&json!({ "data": { "asked": "first" } }), &json!({ "data": { "asked": "last" } }))
    );
    assert_eq!(answers[1]["errors"][0]["extensions"]["code"], "graphql_limit");
    assert_eq!(upstream.count(), 2, "the element that was refused reached the upstream");
    // One line for the request, one for each element, all under one id.
    let lines = gateway.log(4);
    let id = answer.header("x-request-id");
    assert!(lines.iter().all(|line| line["request_id"].as_str() == id.as_deref()), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line["path"].is_null()).count(), 3, "{lines:#?}");

    let eleven = json!(vec![element("a", "products { id }"); 11]);
    let answer = gateway.post("/shop/graphql", &eleven);
    assert!(answer.text().contains("graphql_limit"), "{}", answer.text());
    assert_eq!(upstream.count(), 2);
}

#[test]
fn a_limit_counts_a_query_by_its_cost_and_a_batch_by_the_sum() {
    let upstream = shop();
    let gateway = gateway(&upstream, ", rate_limit: { per: address, limit: 100, every: 1m }");
    let left = |answer: &Answer| answer.header("x-ratelimit-remaining");
    let first = ask(&gateway, "{ products(first: 10) { id name } }");
    assert_eq!(left(&first).as_deref(), Some("70"));
    let element = json!({ "query": "{ products(first: 10) { id name } }" });
    let both = gateway.post("/shop/graphql", &json!([element, element]));
    assert_eq!(left(&both).as_deref(), Some("10"));
    let refused = gateway.post("/shop/graphql", &json!([element, element]));
    assert!(refused.text().contains("rate_limited"), "{}", refused.text());
    assert_eq!(upstream.count(), 3);
}

#[test]
fn a_service_that_fails_is_told_as_graphql_tells_errors() {
    let upstream = FakeUpstream::answering(200, json!({ "data": null, "errors": [ { "message": "its own words" } ] }));
    let own = gateway(&upstream, "");
    assert_eq!(ask(&own, "{ products { id } }").json()["errors"][0]["message"], "its own words");

    let away = TestGateway::with_config(
        r#"
        upstreams: { shop: { endpoints: [ "http://{nobody}" ] } }
        apis: { shop: { version: v1, graphql: ./shop.graphql, path: /shop/graphql, upstream: shop } }
        "#,
    )
    .with("nobody", crate::kit::upstream::nobody())
    .file("shop.graphql", SCHEMA)
    .start();
    let answer = ask(&away, "{ products { id } }").assert_status(502);
    assert_eq!(refusal(&answer)["extensions"]["code"], "upstream_unreachable");
}

/// An API of one operation, answered by a GraphQL service.
fn pair(upstream: &FakeUpstream) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams: { shop: { endpoints: [ "{upstream}" ] }, orders: { endpoints: [ "{upstream}" ] } }
        apis:
          orders:
            version: v3
            openapi: ./orders.openapi.yaml
            path: /api
            upstream: orders
            operations:
              listProducts:
                graphql: { upstream: shop, document: 'query ($limit: Int! = 20) { products(first: $limit) { id price } }', result: /products }
        "#,
    )
    .with("upstream", upstream.url())
    .file(
        "orders.openapi.yaml",
        r"
        openapi: 3.1.0
        info: { title: Orders, version: 3.0.0 }
        paths:
          /products:
            get:
              operationId: listProducts
              parameters: [ { name: limit, in: query, schema: { type: integer, maximum: 50 } } ]
              responses: { '200': { description: products } }
        ",
    )
    .start()
}

#[test]
fn a_rest_operation_is_answered_by_a_graphql_service() {
    let upstream = FakeUpstream::start(|_| {
        Reply::bytes(200, r#"{"data":{"products":[{"id":"1","price":12345678901234567890.125}]}}"#)
            .header("content-type", "application/json")
    });
    let gateway = pair(&upstream);
    let answer = gateway.get("/api/products?limit=2");
    assert_eq!((answer.status, answer.header("content-type").as_deref()), (200, Some("application/json")));
    // No digit is lost, though the answer was read and written anew.
    assert_eq!(answer.text(), r#"[{"id":"1","price":12345678901234567890.125}]"#);
    let seen = upstream.the_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/graphql"));
    assert_eq!(
        (&seen.json()["query"], &seen.json()["variables"]),
        (&json!("query ($limit: Int! = 20) { products(first: $limit) { id price } }"), &json!({ "limit": 2 }))
    );
    gateway.get("/api/products?limit=51").assert_problem(400, "invalid_parameters");
    assert_eq!(upstream.count(), 1);
}

#[test]
fn errors_of_the_graphql_service_are_a_problem_and_stay_out_of_the_answer() {
    let upstream = FakeUpstream::answering(200, json!({ "data": null, "errors": [ { "message": "secret" } ] }));
    let gateway = pair(&upstream);
    let answer = gateway.get("/api/products");
    answer.assert_problem(502, "upstream_refused");
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    assert!(gateway.log(1)[0]["cause"].as_str().is_some_and(|cause| cause.contains("secret")));
}
