//! What passes goes on as it came, and its answer comes back so.

use serde_json::json;

use super::{ask, errors, excess, posted, quiet, send, shop};
use crate::kit::{FakeUpstream, RawClient, Reply};

/// What a service answers is its own affair; here it is odd on purpose.
const ODD_ANSWER: &str =
    "{ \"data\" : {\"products\":[ {\"id\":\"1\",\"n\":1.0} ]},\"extensions\":{\"b\":1,\"a\":2} }\n";

#[test]
fn a_query_goes_on_byte_for_byte_and_its_answer_comes_back_so() {
    let upstream = FakeUpstream::start(|_| {
        Reply::bytes(200, ODD_ANSWER).header("content-type", "application/graphql-response+json").header("x-a", "1")
    });
    let gateway = shop(&upstream.url(), "");
    // Odd spaces, an order of its own, a number that another writer would shorten, a member that nobody knows.
    let body = "\n{\"variables\": {\"n\":2.0, \"more\":\"\\u00e9\"},\t\"query\":\"query Q($n: Int) {\\n  products(first: $n) { id }\\n}\", \
                \"extensions\":{\"z\":1}, \"unknown\":[ ], \"operationName\" : \"Q\"} ";
    let call = gateway.call("POST", "/shop/graphql").header("content-type", "application/json; charset=utf-8");
    let answer = call
        .header("accept", "application/graphql-response+json")
        .header("authorization", "Bearer x")
        .body(body)
        .send();
    let told = ["content-type", "x-a"].map(|name| answer.header(name));
    assert_eq!((answer.status, answer.text().as_str()), (200, ODD_ANSWER));
    assert_eq!(told, [Some("application/graphql-response+json".into()), Some("1".into())]);
    let mut seen = upstream.the_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.text().as_str()), ("POST", "/graphql", body));
    seen.headers.retain(|(name, _)| !["user-agent", "accept-encoding"].contains(&name.as_str()));
    seen.headers.sort();
    let expected = [
        ("accept", "application/graphql-response+json"),
        ("authorization", "Bearer x"),
        ("content-length", &body.len().to_string()),
        ("content-type", "application/json; charset=utf-8"),
        ("host", &upstream.address().to_string()),
        ("via", "1.1 portolan"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", &gateway.address().to_string()),
        ("x-forwarded-port", &gateway.address().port().to_string()),
        ("x-forwarded-proto", "http"),
        ("x-request-id", &answer.header("x-request-id").unwrap()),
    ];
    assert_eq!(seen.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_mutation_goes_on_once_and_its_answer_comes_back() {
    let upstream = FakeUpstream::answering(200, json!({ "data": { "createOrder": { "id": "7" } } }));
    let gateway = shop(&upstream.url(), "");
    let body = json!({
        "query": "mutation Order($q: Int!) { createOrder(productId: 1, quantity: $q) { id } }",
        "variables": { "q": 3 },
    });
    let answer = send(&gateway, &body).assert_status(200);
    assert_eq!(answer.json(), json!({ "data": { "createOrder": { "id": "7" } } }));
    assert_eq!(upstream.the_request().json(), body);
}

#[test]
fn what_the_service_says_of_its_own_comes_back_untouched() {
    let own = [
        (200, json!({ "data": { "product": null }, "errors": [{ "message": "gone", "path": ["product"] }] })),
        (400, json!({ "errors": [{ "message": "the service sees it differently" }] })),
        (401, json!({ "errors": [{ "message": "who are you" }] })),
        (500, json!({ "errors": [{ "message": "out of order" }] })),
    ];
    for (status, body) in own {
        let upstream = FakeUpstream::answering(status, body.clone());
        let gateway = shop(&upstream.url(), "");
        let answer = ask(&gateway, "{ product(id: 1) { id } }");
        assert_eq!((answer.status, answer.json()), (status, body));
    }
}

#[test]
fn an_answer_streams_its_first_piece_is_there_before_the_second_was_sent() {
    let (upstream, feed) = FakeUpstream::fed();
    let gateway = shop(&upstream.url(), "");
    let mut client = RawClient::connect(gateway.address());
    client.send(posted(&json!({ "query": "{ products { id } }" })));
    feed.send("{\"data\":");
    assert!(client.read_until("{\"data\":").starts_with("HTTP/1.1 200"));
    feed.send("null}");
    client.read_until("null}");
    feed.end();
    client.read_until("0\r\n\r\n");
}

#[test]
fn the_service_may_have_a_path_of_its_own() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), ", upstream_path: /v2/query");
    ask(&gateway, "{ products { id } }").assert_status(200);
    assert_eq!(upstream.the_request().target, "/v2/query");
}

#[test]
fn of_several_operations_the_one_that_is_named_is_priced_and_logged() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let document = "query Small { products(first: 1) { id } } query Large { products(first: 5000) { id } }";
    send(&gateway, &json!({ "query": document, "operationName": "Small" })).assert_status(200);
    assert_eq!(upstream.count(), 1);
    let refused = send(&gateway, &json!({ "query": document, "operationName": "Large" }));
    assert_eq!(
        errors(&refused, 200),
        json!([excess("query cost 5010 exceeds the limit of 1000", "cost", 5_010, 1_000, 43)])
    );
    ask(&gateway, "{ products { id } }").assert_status(200);
    assert_eq!(upstream.count(), 2);
    let operations: Vec<_> = gateway.log(3).into_iter().map(|line| line["operation"].clone()).collect();
    // What was refused at its document has no operation that could be told.
    assert_eq!(operations, [json!("Small"), json!(null), json!("anonymous")]);
}

/// The query that tools send to learn a schema, as `getIntrospectionQuery` of graphql-js 16 writes it.
const INTROSPECTION: &str = "
    query IntrospectionQuery {
      __schema {
        queryType { name } mutationType { name } subscriptionType { name }
        types { ...FullType }
        directives { name description locations args { ...InputValue } }
      }
    }
    fragment FullType on __Type {
      kind name description
      fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
      inputFields { ...InputValue }
      interfaces { ...TypeRef }
      enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
      possibleTypes { ...TypeRef }
    }
    fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
    fragment TypeRef on __Type {
      kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType {
        kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } }
    }
";

#[test]
fn introspection_by_tools_passes_all_limits() {
    let upstream = FakeUpstream::answering(200, json!({ "data": { "__schema": {} } }));
    let gateway = shop(&upstream.url(), ", limits: { max_cost: 1, max_depth: 1 }");
    let answer = ask(&gateway, INTROSPECTION);
    assert_eq!((answer.status, answer.json()), (200, json!({ "data": { "__schema": {} } })));
    assert_eq!(upstream.the_request().json(), json!({ "query": INTROSPECTION }));
    ask(&gateway, "{ __typename }").assert_status(200);
}

#[test]
fn introspection_in_circles_is_refused() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let circle = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }";
    let refused = ask(&gateway, circle);
    let expected = excess("introspection depth 3 exceeds the limit of 2", "introspection", 3, 2, 1);
    assert_eq!(errors(&refused, 200), json!([expected]));
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_request_leaves_a_line_in_the_access_log_with_its_operation() {
    let upstream = FakeUpstream::answering(200, json!({ "data": 1 }));
    let gateway = shop(&upstream.url(), "");
    let body = json!({ "query": "query Newest { newest(first: 1) { id } }" });
    let answer = send(&gateway, &body).assert_status(200);
    assert_eq!(
        gateway.log(1),
        [json!({
            "time": "2026-01-02T03:04:05Z", "request_id": answer.header("x-request-id"), "route": "shop", "operation": "Newest",
            "method": "POST", "path": "/shop/graphql", "protocol": "graphql", "client": "127.0.0.1", "status": 200,
            "outcome": "completed", "bytes_in": body.to_string().len(), "bytes_out": 10, "queue_us": 0, "gateway_us": 0,
            "upstream_us": 0, "upstream": "shop", "endpoint": upstream.address().to_string(),
        })]
    );
}
