//! Who is calling, over the wire: tokens of an issuer, alone and beside keys.

mod callers;
mod claims;
mod confusion;
mod floods;
mod foreign;
mod keys;
mod lists;
mod memory;
mod rotation;
mod sessions;

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use portolan_identity::Refusal;
use portolan_identity::testing::{SigningKey, key_set};
use serde_json::{Value, json};

use crate::kit::gateway::Setup;
use crate::kit::{Answer, FakeUpstream, TestGateway};

/// The gateway's clock when it starts: 2026-01-02 03:04:05 UTC.
const NOW: u64 = 1_767_323_045;

const SECOND: Duration = Duration::from_secs(1);

/// The watch over files looks so often, and tells of a change when two looks agree.
const LOOK: Duration = Duration::from_millis(500);

const OPENAPI: &str = r"
    openapi: 3.1.0
    info: { title: Orders, version: 3.0.0 }
    paths:
      /orders: { get: { operationId: listOrders, responses: { '200': { description: orders } } } }
";

/// Keys of the issuer, and of others. Made once for all tests: RSA takes its time.
struct Keys {
    rsa: SigningKey,
    p256: SigningKey,
    /// The issuer's next keys.
    next: SigningKey,
    /// Somebody else's, under the names of the issuer's.
    strange_rsa: SigningKey,
    strange_p256: SigningKey,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        rsa: SigningKey::rs256("r1"),
        p256: SigningKey::es256("e1"),
        next: SigningKey::es256("e2"),
        strange_rsa: SigningKey::rs256("r1"),
        strange_p256: SigningKey::es256("e1"),
    })
}

/// Claims that are good for another five minutes, with members put in the place of those of their names; null leaves one out.
fn claims(changes: Value) -> String {
    let mut claims = json!({
        "iss": "https://idp.example.com", "aud": "api", "sub": "acme", "exp": NOW + 300, "iat": NOW - 10,
        "scope": "orders:read orders:write",
    });
    for (name, value) in changes.as_object().expect("changes are members") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("claims are members").retain(|_, value| !value.is_null());
    claims.to_string()
}

/// A good token for the consumer `acme`, each time another one.
fn token(key: &SigningKey) -> String {
    key.token(&claims(json!({})))
}

/// A gateway that takes the issuer's tokens, with more said of them: an API at `/api` to which `acme` alone has subscribed, and
/// a route at `/plain`.
fn setup(upstream: &FakeUpstream, of_tokens: &str) -> Setup {
    TestGateway::with_config(
        r#"
        identity: { partners: { jwt: { jwks: ./keys.json, issuer: https://idp.example.com, audience: api, {of_tokens} } } }
        upstreams: { orders: { endpoints: [ "{upstream}" ] } }
        apis:
          orders: { version: v3, openapi: ./orders.openapi.yaml, path: /api, upstream: orders, authenticate: [ partners ] }
        routes:
          plain: { path: /plain, upstream: orders, authenticate: [ partners ] }
        consumers:
          acme: { subscriptions: [ { api: orders } ] }
          other: {}
        "#,
    )
    .with("upstream", upstream.url())
    .with("of_tokens", of_tokens)
    .file("orders.openapi.yaml", OPENAPI)
    .file("keys.json", &key_set(&[&keys().rsa, &keys().p256]))
}

fn gateway(upstream: &FakeUpstream) -> TestGateway {
    setup(upstream, "").start()
}

/// A `GET` of the API with this token.
fn with_token(gateway: &TestGateway, token: &str) -> Answer {
    gateway.call("GET", "/api/orders").header("authorization", &format!("Bearer {token}")).send()
}

/// What was counted of the tokens: remembered, verified, refused, limited.
fn counted(gateway: &TestGateway) -> [f64; 4] {
    ["remembered", "verified", "refused", "limited"]
        .map(|fate| gateway.metric(&format!("portolan_tokens_total{{identity=\"partners\",fate=\"{fate}\"}}")))
}

#[test]
fn the_reasons_of_the_page_are_those_of_the_code() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/identity.md")).unwrap();
    let rows = page.lines().skip_while(|line| *line != "| `reason` | what is wrong |").skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(rows, Refusal::CODES);
}

/// Writes the issuer's key set anew.
fn publish(gateway: &TestGateway, set: &str) {
    fs::write(gateway.folder().join("keys.json"), set).unwrap();
}
