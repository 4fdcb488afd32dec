//! Keys, subscriptions, limits and header rules before a GraphQL service: the faults are GraphQL errors with their status.

use std::time::Duration;

use serde_json::{Value, json};

use super::{SDL, errors, quiet};
use crate::kit::{Answer, FakeUpstream, TestGateway};

/// HMAC-SHA-256 under `pepper`, as `printf %s KEY | openssl dgst -sha256 -hmac pepper` prints it.
const ACME_KEY: &str = "a376e52b3014fe48601dc1dfb66ff2b55fe15daeae5a530ada7936ad677381cf";
const OTHER_KEY: &str = "c1dca251c00a1e1fcf035a3d5b816aa644561c450e9c6af4da3371f7aa8536b0";

/// Two consumers with the keys `acme-key` and `other-key`; `acme` alone has subscribed.
fn gateway(upstream: &FakeUpstream) -> TestGateway {
    TestGateway::with_config(
        r#"
        identity: { keys: { api_key: { header: x-api-key, pepper: pepper } } }
        upstreams: { shop: { endpoints: [ "{upstream}" ] } }
        apis:
          shop:
            version: v1
            graphql: ./shop.graphql
            path: /shop/graphql
            upstream: shop
            authenticate: [ keys ]
            rate_limit: { name: cost, per: consumer, limit: 60, every: 1m, counts: cost }
            headers: { request: { set: { x-tenant: acme } }, response: { set: { x-served-by: portolan } } }
        consumers:
          acme: { keys: [ { hash: {acme} } ], subscriptions: [ { api: shop } ] }
          other: { keys: [ { hash: {other} } ] }
        "#,
    )
    .with("upstream", upstream.url())
    .with("acme", ACME_KEY)
    .with("other", OTHER_KEY)
    .file("shop.graphql", SDL)
    .start()
}

fn with_key(gateway: &TestGateway, key: &str, accept: &str, body: &Value) -> Answer {
    gateway.call("POST", "/shop/graphql").header("x-api-key", key).header("accept", accept).json(body).send()
}

const JSON: &str = "application/json";
const MODERN: &str = "application/graphql-response+json";

#[test]
fn a_caller_without_a_key_is_challenged_in_a_graphql_error_and_its_document_is_not_read() {
    let upstream = quiet();
    let gateway = gateway(&upstream);
    let told = |message: &str, code: &str| json!([{ "message": message, "extensions": { "code": code } }]);
    let missing = told("a key is needed; send it in the header `x-api-key`", "credentials_missing");
    for body in [
        json!({ "query": "{ orders { id } }" }),
        json!({ "query": "{ broken" }),
        json!([{ "query": "{ orders { id } }" }]),
        json!(7),
    ] {
        let answer = gateway.post("/shop/graphql", &body);
        assert_eq!(errors(&answer, 401), missing, "{body}");
        assert_eq!(answer.header("www-authenticate").as_deref(), Some(r#"ApiKey realm="keys", header="x-api-key""#));
    }
    for accept in [JSON, MODERN] {
        let wrong = with_key(&gateway, "acme-kez", accept, &json!({ "query": "{ orders { id } }" }));
        assert_eq!(errors(&wrong, 401), told("the key is not known", "credentials_invalid"));
        assert_eq!(wrong.header("content-type"), Some(format!("{accept}; charset=utf-8")));
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_consumer_without_a_subscription_is_refused_alone_and_with_a_batch() {
    let upstream = quiet();
    let gateway = gateway(&upstream);
    let expected = json!([{ "message": "consumer `other` has no subscription to `shop` v1", "extensions": { "code": "not_subscribed" } }]);
    for body in [
        json!({ "query": "{ orders { id } }" }),
        json!([{ "query": "{ orders { id } }" }, { "query": "{ orders { id } }" }]),
    ] {
        assert_eq!(errors(&with_key(&gateway, "other-key", JSON, &body), 403), expected, "{body}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_consumer_draws_the_cost_of_its_documents_and_is_told_how_it_stands() {
    let upstream = quiet();
    let gateway = gateway(&upstream);
    let body = json!({ "query": "query($n: Int) { products(first: $n) { id } }", "variables": { "n": 30 } });
    let first = with_key(&gateway, "acme-key", JSON, &body).assert_status(200);
    let told = ["ratelimit-policy", "ratelimit", "x-ratelimit-remaining", "x-served-by"]
        .map(|name| first.header(name).unwrap());
    assert_eq!(told, ["\"cost\";q=60;w=60", "\"cost\";r=20;t=40", "20", "portolan"]);
    for accept in [JSON, MODERN] {
        let refused = with_key(&gateway, "acme-key", accept, &body);
        let told = errors(&refused, 429);
        assert_eq!(told[0]["extensions"], json!({ "code": "rate_limited", "limit": 60, "retry_after": 20.0 }));
        let told = ["retry-after", "x-ratelimit-remaining"].map(|name| refused.header(name).unwrap());
        assert_eq!(told, ["20", "20"]);
    }
    // A document that is refused for itself draws nothing.
    let dear = with_key(&gateway, "acme-key", JSON, &json!({ "query": "{ products(first: 5000) { id } }" }));
    assert_eq!(errors(&dear, 200)[0]["extensions"]["code"], "graphql_limit");
    gateway.advance(Duration::from_secs(20));
    with_key(&gateway, "acme-key", JSON, &body).assert_status(200);
    assert_eq!(upstream.count(), 2);
}

#[test]
fn the_key_does_not_go_on_and_header_rules_hold_for_each_request_of_a_batch() {
    let upstream = quiet();
    let gateway = gateway(&upstream);
    let one = json!({ "query": "{ orders { id } }" });
    with_key(&gateway, "acme-key", JSON, &one).assert_status(200);
    with_key(&gateway, "acme-key", JSON, &json!([one, one])).assert_status(200);
    let seen: Vec<_> =
        upstream.requests().iter().map(|seen| (seen.header("x-api-key"), seen.header("x-tenant"))).collect();
    assert_eq!(seen, [(None, Some("acme".to_owned())), (None, Some("acme".into())), (None, Some("acme".into()))]);
    let consumers: Vec<_> = gateway.log(4).into_iter().map(|line| line["consumer"].clone()).collect();
    assert_eq!(consumers, ["acme"; 4]);
}
