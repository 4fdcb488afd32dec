//! Keys, subscriptions, limits and header rules.

use std::time::Duration;

use serde_json::json;

use crate::kit::{Answer, FakeUpstream, TestGateway};

/// HMAC-SHA-256 under `pepper`, as `printf %s KEY | openssl dgst -sha256 -hmac pepper` prints it.
const ACME_KEY: &str = "a376e52b3014fe48601dc1dfb66ff2b55fe15daeae5a530ada7936ad677381cf";
const LATE_KEY: &str = "928084e9fbb3b06fc2834c7e0589b7f7932ffcaf41c0d88ff70e755aeb4b1d0e";
const OTHER_KEY: &str = "c1dca251c00a1e1fcf035a3d5b816aa644561c450e9c6af4da3371f7aa8536b0";

const OPENAPI: &str = r"
    openapi: 3.1.0
    info: { title: Orders, version: 3.0.0 }
    paths:
      /orders: { get: { operationId: listOrders, responses: { '200': { description: orders } } } }
";

/// Two consumers with the keys `acme-key` and `other-key`; `acme` alone has subscribed to the API.
fn gateway(upstream: &FakeUpstream, limit: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        identity: { keys: { api_key: { header: x-api-key, pepper: "${env:PEPPER}" } } }
        upstreams: { orders: { endpoints: [ "{upstream}" ] } }
        apis:
          orders: { version: v3, openapi: ./orders.openapi.yaml, path: /api, upstream: orders, authenticate: [ keys ], rate_limit: [ {limit} ] }
        consumers:
          acme: { keys: [ { hash: {acme} } ], subscriptions: [ { api: orders, plan: gold } ] }
          other: { keys: [ { hash: {other} } ] }
          late: { keys: [ { hash: {late}, expires: "2026-01-02T00:00:00Z" } ], subscriptions: [ { api: orders } ] }
        plans: { gold: { rate_limit: { name: gold, limit: 100, every: 1m } } }
        "#,
    )
    .with("upstream", upstream.url())
    .with("limit", limit)
    .with("acme", ACME_KEY)
    .with("other", OTHER_KEY)
    .with("late", LATE_KEY)
    .environment("PEPPER", "pepper")
    .file("orders.openapi.yaml", OPENAPI)
    .start()
}

fn with_key(gateway: &TestGateway, key: &str) -> Answer {
    gateway.call("GET", "/api/orders").header("x-api-key", key).send()
}

#[test]
fn a_key_that_is_known_lets_its_consumer_in_and_does_not_reach_the_upstream() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "");
    with_key(&gateway, "acme-key").assert_status(200);
    assert_eq!(upstream.the_request().header("x-api-key"), None);
    assert_eq!(gateway.log(1)[0]["consumer"], "acme");
}

#[test]
fn without_a_key_with_a_wrong_one_or_an_old_one_a_caller_is_challenged() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "");
    let missing = gateway.get("/api/orders");
    let problem = missing.assert_problem(401, "credentials_missing");
    assert_eq!(problem, json!({ "detail": "a key is needed; send it in the header `x-api-key`" }));
    let wrong = with_key(&gateway, "acme-kez");
    assert_eq!(wrong.assert_problem(401, "credentials_invalid"), json!({ "detail": "the key is not known" }));
    let old = with_key(&gateway, "late-key");
    assert_eq!(old.assert_problem(401, "credentials_expired"), json!({ "detail": "the key has expired" }));
    for answer in [missing, wrong, old] {
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge.as_deref(), Some(r#"ApiKey realm="keys", header="x-api-key""#));
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_consumer_without_a_subscription_is_refused() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "");
    with_key(&gateway, "other-key").assert_problem(403, "not_subscribed");
    assert_eq!(upstream.count(), 0);
}

/// The headers that tell a caller how it stands.
fn standing(answer: &Answer) -> Vec<(String, String)> {
    let told = |name: &str| answer.header(name).map(|value| (name.to_owned(), value));
    let names = [
        "retry-after",
        "ratelimit-policy",
        "ratelimit",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ];
    names.into_iter().filter_map(told).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[test]
fn a_caller_at_its_limit_is_refused_and_always_knows_how_it_stands() {
    let upstream = FakeUpstream::echo();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service, rate_limit: { name: few, per: address, limit: 3, every: 30s } } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let first = gateway.get("/").assert_status(200);
    assert_eq!(
        standing(&first),
        pairs([
            ("ratelimit-policy", r#""few";q=3;w=30"#),
            ("ratelimit", r#""few";r=2;t=10"#),
            ("x-ratelimit-limit", "3"),
            ("x-ratelimit-remaining", "2"),
            ("x-ratelimit-reset", "10"),
        ])
    );
    gateway.get("/").assert_status(200);
    gateway.get("/").assert_status(200);
    let refused = gateway.get("/");
    let problem = refused.assert_problem(429, "rate_limited");
    assert_eq!(problem, json!({ "detail": "3 requests per 30s reached for this address; retry in 10s", "limit": 3 }));
    assert_eq!(
        standing(&refused),
        pairs([
            ("retry-after", "10"),
            ("ratelimit-policy", r#""few";q=3;w=30"#),
            ("ratelimit", r#""few";r=0;t=30"#),
            ("x-ratelimit-limit", "3"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "30"),
        ])
    );
    assert_eq!(upstream.count(), 3);
    gateway.advance(Duration::from_secs(10));
    gateway.get("/").assert_status(200);
    gateway.get("/").assert_problem(429, "rate_limited");
}

#[test]
fn consumers_have_buckets_of_their_own_and_the_plan_of_a_subscription_counts_beside_the_api() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "{ per: consumer, limit: 2, every: 1m }");
    for _ in 0..2 {
        with_key(&gateway, "acme-key").assert_status(200);
    }
    let refused = with_key(&gateway, "acme-key");
    let problem = refused.assert_problem(429, "rate_limited");
    assert_eq!(
        problem,
        json!({ "detail": "2 requests per minute reached for consumer `acme`; retry in 30s", "limit": 2 })
    );
    let policy = refused.header("ratelimit-policy");
    assert_eq!(policy.as_deref(), Some(r#""default";q=2;w=60, "gold";q=100;w=60"#));
    // What was refused by one limit was drawn from none.
    assert!(refused.header("ratelimit").is_some_and(|state| state.contains(r#""gold";r=98"#)), "{refused:?}");
    with_key(&gateway, "other-key").assert_problem(403, "not_subscribed");
}

#[test]
fn heads_are_changed_as_the_rules_say() {
    let upstream = FakeUpstream::start(|_| {
        crate::kit::Reply::bytes(200, "").header("x-secret", "1").header("server", "old").header("x-kept", "1")
    });
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes:
          all:
            path: /**
            upstream: service
            headers:
              request: { remove: [ X-Internal ], set: { X-Tenant: acme }, add: { X-Tag: new } }
              response: { remove: [ x-secret ], set: { server: new }, add: { X-Served-By: portolan } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let call = gateway.call("GET", "/").header("x-internal", "1").header("x-tenant", "forged").header("x-tag", "old");
    let answer = call.send();
    let seen = upstream.the_request();
    let told = ["x-internal", "x-tenant", "x-tag"].map(|name| seen.header(name));
    assert_eq!(told, [None, Some("acme".into()), Some("old, new".into())]);
    let told = ["x-secret", "server", "x-served-by", "x-kept"].map(|name| answer.header(name));
    assert_eq!(told, [None, Some("new".into()), Some("portolan".into()), Some("1".into())]);
}
