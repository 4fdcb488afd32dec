//! GraphQL over the wire: what passes, what is refused and how it is told, and REST answered by a GraphQL service.

mod batch;
mod bombs;
mod failing;
mod limits;
mod passing;
mod policies;
mod refusals;
mod schema;
mod translated;

use serde_json::{Value, json};

use crate::kit::{Answer, FakeUpstream, TestGateway};

const SDL: &str = "
    type Query {
      products(first: Int, last: Int): [Product!]!
      newest(first: Int = 20): [Product!]!
      product(id: ID!): Product
      orders(first: Int): [Order!]!
    }
    type Mutation { createOrder(productId: ID!, quantity: Int!): Order! }
    type Subscription { orderCreated: Order! }
    type Product { id: ID! name: String! orders(first: Int): [Order!]! }
    type Order { id: ID! quantity: Int! product: Product! }
";

/// A gateway before one GraphQL service. `more` are further settings of the API, such as `, max_body: 2KiB`.
fn shop(upstream: &str, more: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams: { shop: { endpoints: [ "{upstream}" ] } }
        apis: { shop: { version: v1, graphql: ./shop.graphql, path: /shop/graphql, upstream: shop {more} } }
        "#,
    )
    .with("upstream", upstream)
    .with("more", more)
    .file("shop.graphql", SDL)
    .start()
}

/// A service that answers every request alike.
fn quiet() -> FakeUpstream {
    FakeUpstream::answering(200, json!({ "data": null }))
}

/// Sends a document alone.
fn ask(gateway: &TestGateway, document: &str) -> Answer {
    send(gateway, &json!({ "query": document }))
}

/// Sends a document with its variables.
fn ask_with(gateway: &TestGateway, document: &str, variables: Value) -> Answer {
    send(gateway, &json!({ "query": document, "variables": variables }))
}

/// Sends a request, or a batch.
fn send(gateway: &TestGateway, body: &Value) -> Answer {
    gateway.post("/shop/graphql", body)
}

/// A request, or a batch, as it is written on the wire.
fn posted(body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST /shop/graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// The errors of an answer that is nothing but errors of the gateway, as a GraphQL client is told them: each without the
/// request's id, which is checked here to be that of the head.
#[track_caller]
fn errors(answer: &Answer, status: u16) -> Value {
    let media = answer.header("content-type").unwrap_or_default();
    let known = ["application/json; charset=utf-8", "application/graphql-response+json; charset=utf-8"];
    assert!(answer.status == status && known.contains(&media.as_str()), "{} {media} {}", answer.status, answer.text());
    of_gateway(answer.json(), &answer.header("x-request-id").expect("an answer has its request's id"))
}

/// The errors of a response that is nothing but errors of the gateway, without the request's id.
#[track_caller]
fn of_gateway(mut response: Value, request_id: &str) -> Value {
    let members: Vec<_> = response.as_object().expect("a response is an object").keys().cloned().collect();
    assert_eq!(members, ["errors"], "{response}");
    for error in response["errors"].as_array_mut().expect("errors are a list") {
        let extensions = error["extensions"].as_object_mut().expect("an error of the gateway has extensions");
        assert_eq!(extensions.shift_remove("request_id"), Some(request_id.into()));
    }
    response["errors"].take()
}

/// The error of a document that asks for more than a limit allows, at the place of what asks.
fn excess(message: &str, limit: &str, value: u64, maximum: u64, column: u32) -> Value {
    json!({
        "message": message,
        "locations": [{ "line": 1, "column": column }],
        "extensions": { "code": "graphql_limit", "limit": limit, "value": value, "maximum": maximum },
    })
}
