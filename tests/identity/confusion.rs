//! Tokens that would have us take one thing for another: another algorithm, another key, another text.

use aws_lc_rs::hmac;
use portolan_identity::testing::{SigningKey, encode};
use serde_json::json;

use super::{claims, keys, setup, token, with_token};
use crate::kit::{FakeUpstream, TestGateway};

/// Failures are not what is tested here.
fn gateway(upstream: &FakeUpstream) -> TestGateway {
    setup(upstream, "failures: { limit: 100000 }").start()
}

fn reason(gateway: &TestGateway, token: &str) -> String {
    let problem = with_token(gateway, token).assert_problem(401, "credentials_invalid");
    problem["reason"].as_str().unwrap_or_default().to_owned()
}

/// Header and claims, as they are signed.
fn message(alg: &str, kid: &str) -> String {
    let header = json!({ "alg": alg, "typ": "JWT", "kid": kid }).to_string();
    format!("{}.{}", encode(header.as_bytes()), encode(claims(json!({})).as_bytes()))
}

#[test]
fn a_token_cannot_choose_the_algorithm_of_a_key() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    for alg in ["none", "None", "nOnE", "NONE"] {
        for kid in ["r1", "e1"] {
            assert_eq!(reason(&gateway, &format!("{}.", message(alg, kid))), "algorithm_not_allowed", "{alg}");
        }
    }
    // The public key in each of its forms, taken for the secret of HS256.
    let rsa = &keys().rsa;
    for secret in [rsa.public_bytes(), rsa.jwk().into_bytes(), rsa.members()[1].1.clone().into_bytes()] {
        for (alg, expected) in [("HS256", "algorithm_not_allowed"), ("RS256", "bad_signature")] {
            let message = message(alg, "r1");
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
            assert_eq!(reason(&gateway, &format!("{message}.{}", encode(tag.as_ref()))), expected);
        }
    }
    for (alg, kid) in
        [("PS256", "r1"), ("RS384", "r1"), ("RS512", "r1"), ("ES384", "e1"), ("EdDSA", "e1"), ("rs256", "r1")]
    {
        let signed =
            |key: &SigningKey| format!("{}.{}", message(alg, kid), encode(&key.sign(message(alg, kid).as_bytes())));
        assert_eq!(reason(&gateway, &signed(if kid == "r1" { rsa } else { &keys().p256 })), "algorithm_not_allowed");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_signature_of_another_key_is_none() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    let own_key = format!(r#"{{"alg":"ES256","jwk":{}}}"#, keys().strange_p256.jwk());
    let elsewhere = r#"{"alg":"ES256","kid":"mine","jku":"https://evil.example.com/keys.json"}"#;
    for (token, expected) in [
        (token(&keys().strange_p256), "bad_signature"),
        (token(&keys().strange_rsa), "bad_signature"),
        (token(&keys().next), "unknown_key"),
        (keys().rsa.token_of(r#"{"alg":"ES256","kid":"r1"}"#, &claims(json!({}))), "unknown_key"),
        (keys().p256.token_of(r#"{"alg":"RS256","kid":"r1"}"#, &claims(json!({}))), "bad_signature"),
        (keys().strange_p256.token_of(&own_key, &claims(json!({}))), "bad_signature"),
        (keys().strange_p256.token_of(elsewhere, &claims(json!({}))), "unknown_key"),
        (format!("{}.", message("RS256", "r1")), "bad_signature"),
        (format!("{}.{}", message("ES256", "e1"), encode(&[0; 64])), "bad_signature"),
    ] {
        assert_eq!(reason(&gateway, &token), expected, "{token}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_token_that_was_tampered_with_is_refused_also_where_the_whole_one_is_remembered() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    for key in [&keys().rsa, &keys().p256] {
        let token = token(key);
        with_token(&gateway, &token).assert_status(200);
        with_token(&gateway, &token).assert_status(200);
        // Other claims under the signature of these, which end alike.
        let parts: Vec<_> = token.split('.').collect();
        let other = format!("{}.{}.{}", parts[0], encode(claims(json!({ "sub": "other" })).as_bytes()), parts[2]);
        assert_eq!(reason(&gateway, &other), "bad_signature");
        for place in (0..token.len()).step_by(37) {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(with_token(&gateway, &changed).status, 401, "byte {place}");
        }
        assert_eq!(with_token(&gateway, &format!("x{token}")).status, 401);
        assert_eq!(with_token(&gateway, &token[..token.len() - 1]).status, 401);
        with_token(&gateway, &token).assert_status(200);
    }
    assert_eq!(upstream.count(), 6);
}

#[test]
fn without_a_kid_a_token_is_taken_if_one_of_few_keys_fits() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    let anonymous = |key: &SigningKey, alg: &str| key.token_of(&json!({ "alg": alg }).to_string(), &claims(json!({})));
    with_token(&gateway, &anonymous(&keys().p256, "ES256")).assert_status(200);
    with_token(&gateway, &anonymous(&keys().rsa, "RS256")).assert_status(200);
    assert_eq!(reason(&gateway, &anonymous(&keys().next, "ES256")), "bad_signature");
}
