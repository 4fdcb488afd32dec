//! Callers whose tokens are good, and those who show none.

use std::rc::Rc;

use portolan_exchange::{Exchange, Phase, Policy, Step, Worker};
use serde_json::json;

use super::{claims, gateway, keys, setup, token, with_token};
use crate::kit::{FakeUpstream, RawClient, TestGateway};

#[test]
fn a_good_token_of_either_algorithm_lets_its_consumer_in_and_does_not_reach_the_upstream() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    for key in [&keys().rsa, &keys().p256] {
        with_token(&gateway, &token(key)).assert_status(200);
    }
    // The scheme is told without case.
    let answer =
        gateway.call("GET", "/plain").header("authorization", &format!("bEARER  {}", token(&keys().p256))).send();
    answer.assert_status(200);
    assert_eq!(
        upstream.requests().iter().map(|seen| seen.header("authorization")).collect::<Vec<_>>(),
        [None, None, None]
    );
    let log = gateway.log(3);
    assert_eq!([&log[0]["consumer"], &log[1]["consumer"], &log[2]["consumer"]], ["acme", "acme", "acme"]);
}

#[test]
fn an_upstream_sees_the_token_where_it_may() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "forward: true").start();
    let token = token(&keys().p256);
    with_token(&gateway, &token).assert_status(200);
    assert_eq!(upstream.the_request().header("authorization"), Some(format!("Bearer {token}")));
}

#[test]
fn without_a_token_a_caller_is_challenged() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    let told = json!({ "detail": "a token is needed; send it in the header `authorization` after `Bearer`" });
    let missing = gateway.get("/api/orders");
    let other = gateway.call("GET", "/api/orders").header("authorization", "Basic YWNtZTphY21l").send();
    let alike =
        gateway.call("GET", "/api/orders").header("authorization", &format!("Bearer{}", token(&keys().p256))).send();
    for answer in [missing, other, alike] {
        assert_eq!(answer.assert_problem(401, "credentials_missing"), told);
        // RFC 6750, section 3.1: who shows nothing is not told of an error.
        assert_eq!(answer.header("www-authenticate").as_deref(), Some(r#"Bearer realm="partners""#));
    }
    // Of two nobody knows whose the request is.
    let good = token(&keys().p256);
    for pair in [
        [format!("Bearer {good}"), format!("Bearer {good}")],
        [format!("Bearer {good}"), "Basic YQ==".into()],
        ["Basic YQ==".into(), format!("Bearer {good}")],
    ] {
        let mut client = RawClient::connect(gateway.address());
        let [one, other] = pair;
        client.send(format!(
            "GET /api/orders HTTP/1.1\r\nhost: a\r\nauthorization: {one}\r\nauthorization: {other}\r\n\r\n"
        ));
        let (head, body) = client.read_answer();
        assert!(head.starts_with("HTTP/1.1 4") && !body.is_empty(), "{head}");
    }
    assert_eq!(upstream.count(), 0);
}

/// Tells the caller which scopes its identity carries.
struct TellScopes;

impl Policy for TellScopes {
    fn name(&self) -> &'static str {
        "tell_scopes"
    }

    fn phase(&self) -> Phase {
        Phase::Authorize
    }

    fn request(&self, _: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        let scopes = exchange.identity.as_ref().map(|identity| identity.scopes.join(" ")).unwrap_or_default();
        exchange.answer_fields.add("x-scopes", scopes).unwrap();
        Step::Next
    }
}

#[test]
fn an_identity_carries_the_scopes_of_its_token() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "").policy(TellScopes).start();
    for (changes, scopes) in [
        (json!({}), "orders:read orders:write"),
        (json!({ "scope": null }), ""),
        (json!({ "scope": null, "scp": ["a", "b"] }), "a b"),
        (json!({ "scope": null, "scp": "c d" }), "c d"),
    ] {
        let token = keys().p256.token(&claims(changes));
        // The second time they come out of the memory.
        for _ in 0..2 {
            let answer = with_token(&gateway, &token).assert_status(200);
            assert_eq!(answer.header("x-scopes").as_deref(), Some(scopes));
        }
    }
}

#[test]
fn the_claim_that_is_named_says_which_consumer_calls() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "consumer_claim: azp, consumers: { 0oa1xyz: acme }").start();
    let with_azp = |azp: &str| with_token(&gateway, &keys().p256.token(&claims(json!({ "azp": azp, "sub": "other" }))));
    with_azp("0oa1xyz").assert_status(200);
    // What is not in the list names nobody, be it the name of a consumer.
    for name in ["acme", "other", "0OA1XYZ"] {
        let told = "the token is good, and its claim `azp` names no consumer of this gateway";
        assert_eq!(with_azp(name).assert_problem(403, "forbidden"), json!({ "detail": told }));
    }
    assert_eq!(gateway.log(4)[0]["consumer"], "acme");
}

#[test]
fn a_good_token_of_somebody_who_is_no_consumer_or_has_not_subscribed_is_a_403() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    let of = |sub: &str| keys().p256.token(&claims(json!({ "sub": sub })));
    let told = "the token is good, and its claim `sub` names no consumer of this gateway";
    let stranger = of("nobody");
    for _ in 0..2 {
        assert_eq!(with_token(&gateway, &stranger).assert_problem(403, "forbidden"), json!({ "detail": told }));
    }
    with_token(&gateway, &of("other")).assert_problem(403, "not_subscribed");
    let plain = |token: &str| gateway.call("GET", "/plain").header("authorization", &format!("Bearer {token}")).send();
    plain(&of("other")).assert_status(200);
    plain(&stranger).assert_problem(403, "forbidden");
    assert_eq!(upstream.count(), 1);
}

#[test]
fn key_sets_that_cannot_be_used_keep_a_gateway_from_starting_and_say_why() {
    let upstream = FakeUpstream::echo();
    let weak = format!(
        r#"{{"keys":[{{"kty":"RSA","n":"{}","e":"AQAB"}}]}}"#,
        portolan_identity::testing::encode(&[0xff; 128])
    );
    for (set, told) in [
        (weak.as_str(), "keys[0].n: an RSA key of 1024 bits is weak; it needs 2048 at least"),
        (r#"{"keys":[]}"#, "keys: no key of it can verify RS256 or ES256"),
        ("{}", "a key set is an object with a list `keys`"),
    ] {
        let Err(error) = setup(&upstream, "").file("keys.json", set).try_start() else { panic!("{set} was taken") };
        let error = error.to_string();
        assert!(error.contains("keys.json: ") && error.contains(told), "{error}");
    }
    let url = TestGateway::with_config(
        r"
        identity: { partners: { jwt: { jwks: https://idp.example.com/jwks.json, issuer: a, audience: api } } }
        ",
    );
    let Err(error) = url.try_start() else { panic!("keys were fetched") };
    let told = "identity.partners.jwt.jwks: keys cannot be fetched from an address yet; save the key set in a file";
    assert!(error.to_string().contains(told), "{error}");
}
