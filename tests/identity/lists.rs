//! Several identities on one API: keys beside tokens, and tokens of two issuers.

use portolan_identity::testing::key_set;
use serde_json::{Value, json};

use super::{NOW, OPENAPI, claims, keys};
use crate::kit::{Answer, FakeUpstream, TestGateway};

/// HMAC-SHA-256 under `pepper`, as `printf %s KEY | openssl dgst -sha256 -hmac pepper` prints it.
const OTHER_KEY: &str = "c1dca251c00a1e1fcf035a3d5b816aa644561c450e9c6af4da3371f7aa8536b0";
const LATE_KEY: &str = "928084e9fbb3b06fc2834c7e0589b7f7932ffcaf41c0d88ff70e755aeb4b1d0e";

/// An API that is open to keys, to tokens of the partners and to those of the staff, asked in this order. `other` has a key,
/// `late` one that has expired.
fn gateway(upstream: &FakeUpstream, order: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        identity:
          keys: { api_key: { header: x-api-key, pepper: pepper } }
          partners: { jwt: { jwks: ./partners.json, issuer: https://idp.example.com, audience: api } }
          staff: { jwt: { jwks: ./staff.json, issuer: https://staff.example.com, audience: api } }
        upstreams: { orders: { endpoints: [ "{upstream}" ] } }
        apis:
          orders: { version: v3, openapi: ./orders.openapi.yaml, path: /api, upstream: orders, authenticate: [ {order} ] }
        consumers:
          acme: { subscriptions: [ { api: orders } ] }
          other: { keys: [ { hash: {other} } ], subscriptions: [ { api: orders } ] }
          late: { keys: [ { hash: {late}, expires: "2026-01-02T00:00:00Z" } ], subscriptions: [ { api: orders } ] }
        "#,
    )
    .with("upstream", upstream.url())
    .with("order", order)
    .with("other", OTHER_KEY)
    .with("late", LATE_KEY)
    .file("orders.openapi.yaml", OPENAPI)
    .file("partners.json", &key_set(&[&keys().p256]))
    .file("staff.json", &key_set(&[&keys().next]))
    .start()
}

/// A request with a key, a token, both or none.
fn ask(gateway: &TestGateway, key: Option<&str>, token: Option<&str>) -> Answer {
    let mut call = gateway.call("GET", "/api/orders");
    if let Some(key) = key {
        call = call.header("x-api-key", key);
    }
    if let Some(token) = token {
        call = call.header("authorization", &format!("Bearer {token}"));
    }
    call.send()
}

#[test]
fn keys_and_tokens_of_two_issuers_open_one_api() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "keys, partners, staff");
    let partner = keys().p256.token(&claims(json!({})));
    let staff = keys().next.token(&claims(json!({ "iss": "https://staff.example.com", "sub": "other" })));
    ask(&gateway, Some("other-key"), None).assert_status(200);
    ask(&gateway, None, Some(&partner)).assert_status(200);
    ask(&gateway, None, Some(&staff)).assert_status(200);
    let consumers: Vec<Value> = gateway.log(3).iter().map(|line| line["consumer"].clone()).collect();
    assert_eq!(consumers, ["other", "acme", "other"]);
    // One issuer cannot sign for the other.
    for (key, issuer) in [(&keys().next, "https://idp.example.com"), (&keys().p256, "https://staff.example.com")] {
        let problem = ask(&gateway, None, Some(&key.token(&claims(json!({ "iss": issuer })))))
            .assert_problem(401, "credentials_invalid");
        assert_eq!(problem["reason"], "unknown_key");
    }
    let policies = &gateway.admin().get("/routes").json()["routes"][0]["policies"];
    assert_eq!(policies[0], json!({ "name": "identity", "phase": "authenticate" }));
}

#[test]
fn who_shows_nothing_good_is_challenged_for_each_identity() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "keys, partners, staff");
    let keys_and_partners = r#"ApiKey realm="keys", header="x-api-key", Bearer realm="partners""#;
    let missing = ask(&gateway, None, None);
    let told =
        "a key or a token is needed; send it in the header `x-api-key` or the header `authorization` after `Bearer`";
    assert_eq!(missing.assert_problem(401, "credentials_missing"), json!({ "detail": told }));
    // Each in a field of its own, which the test's client joins.
    assert_eq!(missing.headers.iter().filter(|(name, _)| name == "www-authenticate").count(), 3);
    let all = format!(r#"{keys_and_partners}, Bearer realm="staff""#);
    assert_eq!(missing.header("www-authenticate"), Some(all.clone()));

    let unknown_key = ask(&gateway, Some("other-kez"), None);
    assert_eq!(unknown_key.assert_problem(401, "credentials_invalid"), json!({ "detail": "the key is not known" }));
    assert_eq!(unknown_key.header("www-authenticate"), Some(all));

    let expired = keys().next.token(&claims(json!({ "iss": "https://staff.example.com", "exp": NOW - 300 })));
    let expired = ask(&gateway, None, Some(&expired));
    expired.assert_problem(401, "credentials_expired");
    let staff = r#"Bearer realm="staff", error="invalid_token", error_description="the token has expired""#;
    assert_eq!(expired.header("www-authenticate"), Some(format!("{keys_and_partners}, {staff}")));
}

#[test]
fn of_two_credentials_the_first_in_the_list_that_is_somebodys_own_decides() {
    let upstream = FakeUpstream::echo();
    let good = keys().p256.token(&claims(json!({})));
    let expired = keys().p256.token(&claims(json!({ "exp": NOW - 300 })));
    let foreign = keys().p256.token(&claims(json!({ "iss": "https://elsewhere.example.com" })));
    let forged = keys().strange_p256.token(&claims(json!({})));
    let cases = [
        // Both are good: the order names the caller.
        ("keys, partners", "other-key", &good, Ok("other")),
        ("partners, keys", "other-key", &good, Ok("acme")),
        // A key that nobody knows is nobody's, and so is a token of an issuer that is not trusted.
        ("keys, partners", "other-kez", &good, Ok("acme")),
        ("partners, keys", "other-kez", &good, Ok("acme")),
        ("keys, partners", "other-key", &foreign, Ok("other")),
        ("partners, keys", "other-key", &foreign, Ok("other")),
        ("keys, partners", "other-kez", &foreign, Err("credentials_invalid")),
        // One that is known and not good ends it, unless one before it was good.
        ("keys, partners", "late-key", &good, Err("credentials_expired")),
        ("partners, keys", "late-key", &good, Ok("acme")),
        ("keys, partners", "other-key", &expired, Ok("other")),
        ("partners, keys", "other-key", &expired, Err("credentials_expired")),
        ("partners, keys", "other-key", &forged, Err("credentials_invalid")),
    ];
    for order in ["keys, partners", "partners, keys"] {
        let gateway = gateway(&upstream, order);
        let mut lines = 0;
        for (_, key, token, expected) in cases.iter().filter(|case| case.0 == order) {
            let answer = ask(&gateway, Some(key), Some(token));
            lines += 1;
            match expected {
                Ok(consumer) => {
                    answer.assert_status(200);
                    assert_eq!(gateway.log(lines)[lines - 1]["consumer"], *consumer, "{order}: {key}");
                }
                Err(code) => {
                    answer.assert_problem(401, code);
                }
            }
        }
    }
    // Neither credential goes on, whichever of them was the one.
    for seen in upstream.requests() {
        assert_eq!((seen.header("x-api-key"), seen.header("authorization")), (None, None));
    }
}

#[test]
fn a_header_of_another_scheme_belongs_to_the_upstream() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "keys, partners");
    let basic = "Basic YWNtZTphY21l";
    let answer =
        gateway.call("GET", "/api/orders").header("x-api-key", "other-key").header("authorization", basic).send();
    answer.assert_status(200);
    assert_eq!(upstream.the_request().header("authorization").as_deref(), Some(basic));
}
