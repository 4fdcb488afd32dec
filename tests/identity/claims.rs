//! Tokens whose claims are not as they should be.

use serde_json::{Value, json};

use super::{NOW, claims, gateway, keys, setup, with_token};
use crate::kit::FakeUpstream;

/// What is told of a refused token: its fault, the reason in it, and the sentence, which the challenge repeats.
fn refused(gateway: &crate::kit::TestGateway, token: &str, code: &str, reason: &str, sentence: &str) {
    let answer = with_token(gateway, token);
    assert_eq!(answer.assert_problem(401, code), json!({ "detail": sentence, "reason": reason }), "{token}");
    let challenge = format!(r#"Bearer realm="partners", error="invalid_token", error_description="{sentence}""#);
    assert_eq!(answer.header("www-authenticate"), Some(challenge));
}

#[test]
fn each_claim_that_is_wrong_is_refused_with_its_reason() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    let invalid = "credentials_invalid";
    let issuer = ("wrong_issuer", "the token is from an issuer that is not trusted here");
    let audience = ("wrong_audience", "the token is for another audience");
    let cases: [(Value, &str, (&str, &str)); 17] = [
        (json!({ "iss": "https://evil.example.com" }), invalid, issuer),
        (json!({ "iss": "https://idp.example.com/" }), invalid, issuer),
        (json!({ "iss": null }), invalid, issuer),
        (json!({ "aud": "web" }), invalid, audience),
        (json!({ "aud": ["web", "mobile"] }), invalid, audience),
        (json!({ "aud": [] }), invalid, audience),
        (json!({ "aud": ["api", 7] }), invalid, ("claim_malformed", "the claim `aud` of the token cannot be read")),
        (json!({ "aud": null }), invalid, ("claim_missing", "the token lacks the claim `aud`")),
        (json!({ "exp": NOW - 30 }), "credentials_expired", ("token_expired", "the token has expired")),
        (json!({ "exp": 1 }), "credentials_expired", ("token_expired", "the token has expired")),
        (json!({ "exp": null }), invalid, ("claim_missing", "the token lacks the claim `exp`")),
        (json!({ "exp": "tomorrow" }), invalid, ("claim_malformed", "the claim `exp` of the token cannot be read")),
        (json!({ "exp": -1 }), invalid, ("claim_malformed", "the claim `exp` of the token cannot be read")),
        (json!({ "nbf": NOW + 31 }), invalid, ("token_not_yet_valid", "the token is not valid yet")),
        (
            json!({ "iat": NOW + 31 }),
            invalid,
            ("token_issued_later", "the token says that it was issued later than now"),
        ),
        (json!({ "sub": null }), invalid, ("claim_missing", "the token lacks the claim `sub`")),
        (json!({ "sub": 7 }), invalid, ("claim_malformed", "the claim `sub` of the token cannot be read")),
    ];
    for (changes, code, (reason, sentence)) in cases {
        refused(&gateway, &keys().p256.token(&claims(changes)), code, reason, sentence);
    }
    assert_eq!(upstream.count(), 0);
    let first = &gateway.log(1)[0];
    assert_eq!((&first["fault"], &first["cause"]), (&json!(invalid), &json!("wrong_issuer, by identity `partners`")));
}

#[test]
fn claims_that_are_just_right_pass() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    for changes in [
        json!({ "aud": ["web", "api"] }),
        json!({ "exp": NOW - 29 }),
        json!({ "exp": NOW as f64 + 0.5 }),
        json!({ "nbf": NOW + 30, "iat": NOW + 30 }),
        json!({ "iat": null }),
        json!({ "realm_access": { "roles": ["a", "b"] }, "email_verified": false }),
    ] {
        let token = keys().p256.token(&claims(changes.clone()));
        assert_eq!(with_token(&gateway, &token).status, 200, "{changes}");
    }
}

#[test]
fn a_leeway_of_nothing_and_any_audience_can_be_chosen() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "leeway: 0s").start();
    let of = |changes: Value| keys().p256.token(&claims(changes));
    refused(&gateway, &of(json!({ "exp": NOW })), "credentials_expired", "token_expired", "the token has expired");
    with_token(&gateway, &of(json!({ "exp": NOW + 1 }))).assert_status(200);
    let open = gateway.configuration().replace("audience: api", "dangerous_any_audience: true");
    gateway.reload(&open).unwrap();
    with_token(&gateway, &of(json!({ "aud": "web" }))).assert_status(200);
    with_token(&gateway, &of(json!({ "aud": null }))).assert_status(200);
}

#[test]
fn what_is_no_access_token_is_refused() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    let of = |header: &str| keys().p256.token_of(header, &claims(json!({})));
    let invalid = "credentials_invalid";
    let logout = of(r#"{"alg":"ES256","kid":"e1","typ":"logout+jwt"}"#);
    refused(&gateway, &logout, invalid, "wrong_type", "the token is not an access token by its `typ`");
    let extended = of(r#"{"alg":"ES256","kid":"e1","crit":["exp"]}"#);
    let told = "the token asks for an extension (`crit`), and none is known here";
    refused(&gateway, &extended, invalid, "critical_header", told);
    let unknown = of(r#"{"alg":"ES256","kid":"e9"}"#);
    refused(&gateway, &unknown, invalid, "unknown_key", "the token is signed with a key that is not known here");
    let malformed = |why: &str| format!("this is not a token that can be read: {why}");
    let parts = malformed("a token has three parts with dots between them");
    for text in ["", "a", "a.b"] {
        refused(&gateway, text, invalid, "malformed_token", &parts);
    }
    let twice = keys().p256.token(r#"{"iss":"https://idp.example.com","sub":"other","sub":"acme"}"#);
    let told = malformed("its claims is no JSON in which every name stands once");
    refused(&gateway, &twice, invalid, "malformed_token", &told);
    let long = format!("{}{}", super::token(&keys().p256), "A".repeat(16 * 1_024));
    with_token(&gateway, &long).assert_problem(431, "head_too_large");
    for typ in [r#","typ":"JWT""#, r#","typ":"at+jwt""#, ""] {
        with_token(&gateway, &of(&format!(r#"{{"alg":"ES256","kid":"e1"{typ}}}"#))).assert_status(200);
    }
}
