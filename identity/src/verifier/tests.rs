//! Tokens that are good, and each way in which one is not.

use std::sync::OnceLock;

use aws_lc_rs::hmac;

use super::*;
use crate::testing::{SigningKey, encode, key_set};

/// 2026-01-02 03:04:05 UTC.
const NOW: u64 = 1_767_323_045;

struct Keys {
    rsa: SigningKey,
    p256: SigningKey,
    stranger: SigningKey,
    strange_rsa: SigningKey,
}

/// Made once: RSA takes its time.
fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        rsa: SigningKey::rs256("r1"),
        p256: SigningKey::es256("e1"),
        stranger: SigningKey::es256("e1"),
        strange_rsa: SigningKey::rs256("r1"),
    })
}

fn rules() -> Rules {
    Rules {
        issuer: "https://idp.example.com".into(),
        audiences: Some(vec!["api".into(), "other-api".into()]),
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        leeway: Duration::from_secs(30),
        consumer_claim: "sub".into(),
    }
}

fn verifier(rules: Rules, keys: &[&SigningKey]) -> Verifier {
    let (set, notes) = KeySet::read(key_set(keys).as_bytes()).unwrap();
    assert_eq!(notes, []);
    Verifier::new(rules, Arc::new(set))
}

fn usual() -> Verifier {
    verifier(rules(), &[&keys().rsa, &keys().p256])
}

fn judged_at(verifier: &Verifier, token: &str, now: u64) -> Result<Verified, Refusal> {
    let token = Token::parse(token.as_bytes())?;
    verifier.examine(&token, at(now))?.verify()
}

fn judged(verifier: &Verifier, token: &str) -> Result<Verified, Refusal> {
    judged_at(verifier, token, NOW)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Good claims, with members put in the place of those of the same name; an empty one leaves it out.
fn claims(changes: &[(&str, &str)]) -> String {
    let exp = (NOW + 300).to_string();
    let iat = (NOW - 10).to_string();
    let mut members = vec![
        ("iss", r#""https://idp.example.com""#),
        ("aud", r#""api""#),
        ("sub", r#""acme""#),
        ("exp", &exp),
        ("iat", &iat),
        ("scope", r#""orders:read orders:write""#),
    ];
    members.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    members.extend(changes.iter().copied().filter(|(_, value)| !value.is_empty()));
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn scopes(names: &[&str]) -> Arc<[Arc<str>]> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn a_good_token_of_either_algorithm_tells_who_calls() {
    let verifier = usual();
    for (key, name) in [(&keys().rsa, 0), (&keys().p256, 1)] {
        let token = key.token(&claims(&[]));
        let verified = judged(&verifier, &token).unwrap();
        let expected = Verified {
            consumer: "acme".into(),
            scopes: scopes(&["orders:read", "orders:write"]),
            expires: at(NOW + 330),
            key: verifier.keys().names().nth(name).unwrap().clone(),
            fingerprint: fingerprint(token.as_bytes()),
        };
        assert_eq!(verified, expected);
    }
}

#[test]
fn each_claim_that_is_wrong_is_told_by_its_own_reason() {
    use Refusal::{Audience, Claim, Expired, IssuedLater, Issuer, Missing, NotYet};
    let verifier = usual();
    let claim = |name: &str| Claim(name.into());
    let missing = |name: &str| Missing(name.into());
    let time = |offset: i64| (NOW as i64 + offset).to_string();
    let cases: Vec<(&str, String, Refusal)> = vec![
        ("iss", r#""https://idp.example.com/""#.into(), Issuer),
        ("iss", r#""https://IDP.example.com""#.into(), Issuer),
        ("iss", r#"["https://idp.example.com"]"#.into(), Issuer),
        ("iss", String::new(), Issuer),
        ("aud", r#""web""#.into(), Audience),
        ("aud", r#"["web","ap","api "]"#.into(), Audience),
        ("aud", "[]".into(), Audience),
        ("aud", r#"["api",7]"#.into(), claim("aud")),
        ("aud", r#"{"api":true}"#.into(), claim("aud")),
        ("aud", "null".into(), claim("aud")),
        ("aud", String::new(), missing("aud")),
        ("exp", String::new(), missing("exp")),
        ("exp", time(-30), Expired),
        ("exp", time(-300), Expired),
        ("exp", format!("\"{}\"", time(300)), claim("exp")),
        ("exp", "-1".into(), claim("exp")),
        ("exp", "1e300".into(), claim("exp")),
        ("exp", "1e400".into(), claim("exp")),
        ("exp", "253402300800".into(), claim("exp")),
        ("exp", "18446744073709551615".into(), claim("exp")),
        ("exp", "99999999999999999999999999".into(), claim("exp")),
        ("exp", "null".into(), claim("exp")),
        ("exp", "true".into(), claim("exp")),
        ("exp", "0".into(), Expired),
        ("exp", "-0".into(), Expired),
        ("nbf", time(31), NotYet),
        ("nbf", r#""now""#.into(), claim("nbf")),
        ("iat", time(31), IssuedLater),
        ("iat", "[]".into(), claim("iat")),
        ("sub", String::new(), missing("sub")),
        ("sub", r#""""#.into(), claim("sub")),
        ("sub", "7".into(), claim("sub")),
        ("sub", r#"["acme"]"#.into(), claim("sub")),
        ("scope", "7".into(), claim("scope")),
        ("scope", r#"["a",7]"#.into(), claim("scope")),
    ];
    for (name, value, expected) in cases {
        let token = keys().p256.token(&claims(&[(name, &value)]));
        assert_eq!(judged(&verifier, &token), Err(expected), "{name}: {value}");
    }
}

#[test]
fn claims_may_be_written_in_all_ways_that_the_standards_allow() {
    let verifier = usual();
    for (name, value, expected) in [
        ("aud", r#"["web","other-api"]"#, &["orders:read", "orders:write"][..]),
        ("scope", "", &[]),
        ("scope", r#""""#, &[]),
        ("scope", r#""  one   two ""#, &["one", "two"]),
        ("scope", r#"["one","two three"]"#, &["one", "two three"]),
        ("exp", "1767323300.5", &["orders:read", "orders:write"]),
        ("exp", "1.7673233e9", &["orders:read", "orders:write"]),
        ("nbf", "1767323075", &["orders:read", "orders:write"]),
        ("iat", "", &["orders:read", "orders:write"]),
        ("unknown", r#"{"a":[1,2,{"b":null}]}"#, &["orders:read", "orders:write"]),
    ] {
        let verified = judged(&verifier, &keys().p256.token(&claims(&[(name, value)])));
        assert_eq!(verified.map(|verified| verified.scopes), Ok(scopes(expected)), "{name}: {value}");
    }
    let only_scp = claims(&[("scope", ""), ("scp", r#"["x"]"#)]);
    assert_eq!(judged(&verifier, &keys().p256.token(&only_scp)).unwrap().scopes, scopes(&["x"]));
    let both = claims(&[("scp", r#"["x"]"#)]);
    assert_eq!(judged(&verifier, &keys().p256.token(&both)).unwrap().scopes, scopes(&["orders:read", "orders:write"]));
}

#[test]
fn a_token_ends_with_its_leeway_to_the_second() {
    let verifier = usual();
    let token = keys().p256.token(&claims(&[]));
    assert!(judged_at(&verifier, &token, NOW + 329).is_ok());
    assert_eq!(judged_at(&verifier, &token, NOW + 330), Err(Refusal::Expired));
    assert_eq!(judged_at(&verifier, &token, NOW - 41), Err(Refusal::IssuedLater));
    assert!(judged_at(&verifier, &token, NOW - 40).is_ok());
    let strict = self::verifier(Rules { leeway: Duration::ZERO, ..rules() }, &[&keys().p256]);
    assert!(judged_at(&strict, &token, NOW + 299).is_ok());
    assert_eq!(judged_at(&strict, &token, NOW + 300), Err(Refusal::Expired));
}

#[test]
fn a_key_belongs_to_one_algorithm_whatever_a_token_says() {
    let verifier = usual();
    let Keys { rsa, p256, stranger, strange_rsa } = keys();
    let claims = claims(&[]);
    let header = |alg: &str, kid: &str| format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#);
    let unsigned =
        |alg: &str, kid: &str| format!("{}.{}", encode(header(alg, kid).as_bytes()), encode(claims.as_bytes()));
    // The public key taken for the secret of a symmetric algorithm, in the forms in which it can be had.
    let secrets = [rsa.public_bytes(), rsa.jwk().into_bytes(), rsa.members()[1].1.clone().into_bytes()];
    for secret in secrets {
        for name in ["HS256", "RS256"] {
            let message = unsigned(name, "r1");
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
            let told = judged(&verifier, &format!("{message}.{}", encode(tag.as_ref())));
            let expected = if name == "HS256" { Refusal::Algorithm } else { Refusal::Signature };
            assert_eq!(told, Err(expected), "{name}");
        }
    }
    for alg in ["none", "None", "NONE", "", "rs256", "RS384", "PS256", "ES384", "EdDSA", "HS512"] {
        assert_eq!(judged(&verifier, &format!("{}.", unsigned(alg, "r1"))), Err(Refusal::Algorithm), "{alg}");
    }
    for (token, expected) in [
        // No signature, and a signature that is none.
        (format!("{}.", unsigned("RS256", "r1")), Refusal::Signature),
        (format!("{}.", unsigned("ES256", "e1")), Refusal::Signature),
        (format!("{}.{}", unsigned("ES256", "e1"), encode(&[0; 64])), Refusal::Signature),
        (format!("{}.{}", unsigned("RS256", "r1"), encode(&[0; 256])), Refusal::Signature),
        (format!("{}.{}", unsigned("RS256", "r1"), encode(&[0xff; 256])), Refusal::Signature),
        // The other key by its name, under either algorithm.
        (rsa.token_of(&header("ES256", "r1"), &claims), Refusal::UnknownKey),
        (rsa.token_of(&header("RS256", "e1"), &claims), Refusal::UnknownKey),
        (p256.token_of(&header("RS256", "r1"), &claims), Refusal::Signature),
        (p256.token_of(&header("ES256", "r1"), &claims), Refusal::UnknownKey),
        (p256.token_of(&header("ES256", "e2"), &claims), Refusal::UnknownKey),
        // A stranger's key under a known name.
        (stranger.token(&claims), Refusal::Signature),
        (strange_rsa.token(&claims), Refusal::Signature),
    ] {
        assert_eq!(judged(&verifier, &token), Err(expected), "{token}");
    }
}

#[test]
fn a_key_that_a_token_brings_along_is_not_believed() {
    let verifier = usual();
    let stranger = &keys().stranger;
    let header = |more: String| format!(r#"{{"alg":"ES256","typ":"JWT",{more}}}"#);
    for (more, expected) in [
        (format!(r#""kid":"e1","jwk":{}"#, stranger.jwk()), Refusal::Signature),
        (format!(r#""jwk":{}"#, stranger.jwk()), Refusal::Signature),
        (r#""kid":"mine","jku":"https://evil.example.com/keys""#.to_owned(), Refusal::UnknownKey),
        (r#""kid":"../../dev/null","x5u":"https://evil.example.com/""#.to_owned(), Refusal::UnknownKey),
    ] {
        let token = stranger.token_of(&header(more), &claims(&[]));
        assert_eq!(judged(&verifier, &token), Err(expected));
    }
}

#[test]
fn one_byte_changed_anywhere_spoils_a_token() {
    let verifier = usual();
    for key in [&keys().rsa, &keys().p256] {
        let token = key.token(&claims(&[]));
        assert!(judged(&verifier, &token).is_ok());
        // Every byte of a short token, every seventh of a long one.
        for place in (0..token.len()).step_by(token.len() / 100) {
            for other in ["A", "z", ".", "="] {
                let mut changed = token.clone();
                changed.replace_range(place..=place, other);
                if changed != token {
                    assert!(judged(&verifier, &changed).is_err(), "byte {place}: {other}");
                }
            }
        }
        assert!(judged(&verifier, &format!("{token}A")).is_err());
        assert!(judged(&verifier, &token[..token.len() - 1]).is_err());
    }
}

#[test]
fn only_what_says_that_it_is_an_access_token_is_one() {
    let verifier = usual();
    let judge = |members: &str| {
        judged(&verifier, &keys().p256.token_of(&format!(r#"{{"alg":"ES256","kid":"e1"{members}}}"#), &claims(&[])))
    };
    for kind in ["", r#","typ":"JWT""#, r#","typ":"jwt""#, r#","typ":"at+jwt""#, r#","typ":"application/AT+JWT""#] {
        assert!(judge(kind).is_ok(), "{kind}");
    }
    for kind in ["logout+jwt", "dpop+jwt", "secevent+jwt", "", "application/", "éé", "JWT "] {
        assert_eq!(judge(&format!(r#","typ":"{kind}""#)).unwrap_err(), Refusal::Type, "{kind}");
    }
    for extension in [r#","crit":["b64"],"b64":false"#, r#","crit":[]"#, r#","crit":null"#] {
        assert_eq!(judge(extension).unwrap_err(), Refusal::Critical, "{extension}");
    }
}

#[test]
fn without_a_kid_the_keys_of_the_algorithm_are_tried_and_not_more_than_four() {
    let anonymous = |key: &SigningKey| key.token_of(r#"{"alg":"ES256"}"#, &claims(&[]));
    let several: Vec<_> = (0..5).map(|number| SigningKey::es256(&format!("e{number}"))).collect();
    let listed: Vec<&SigningKey> = several.iter().collect();
    let four = verifier(rules(), &listed[..4]);
    for (number, key) in several[..4].iter().enumerate() {
        let verified = judged(&four, &anonymous(key)).unwrap();
        assert_eq!(&verified.key, four.keys().names().nth(number).unwrap());
    }
    assert_eq!(judged(&four, &anonymous(&several[4])), Err(Refusal::Signature));
    assert_eq!(judged(&verifier(rules(), &listed), &anonymous(&several[0])), Err(Refusal::NoKeyId));
    // With their names there may be as many as one likes.
    assert!(judged(&verifier(rules(), &listed), &several[4].token(&claims(&[]))).is_ok());
}

#[test]
fn a_key_without_a_kid_may_have_signed_any_token() {
    let key = &keys().p256;
    let nameless = key.jwk().replace(r#","kid":"e1""#, "");
    let (set, _) = KeySet::read(format!(r#"{{"keys":[{nameless}]}}"#).as_bytes()).unwrap();
    let verifier = Verifier::new(rules(), Arc::new(set));
    assert!(judged(&verifier, &key.token(&claims(&[]))).is_ok());
    assert_eq!(judged(&verifier, &keys().stranger.token(&claims(&[]))), Err(Refusal::Signature));
}

#[test]
fn rules_say_which_algorithms_audiences_and_claims_count() {
    let Keys { rsa, p256, .. } = keys();
    let one = verifier(Rules { algorithms: vec![Algorithm::Es256], ..rules() }, &[rsa, p256]);
    assert_eq!(judged(&one, &rsa.token(&claims(&[]))), Err(Refusal::Algorithm));
    assert!(judged(&one, &p256.token(&claims(&[]))).is_ok());
    let anybody = verifier(Rules { audiences: None, ..rules() }, &[p256]);
    for audience in [r#""web""#, "7", ""] {
        assert!(judged(&anybody, &p256.token(&claims(&[("aud", audience)]))).is_ok(), "{audience}");
    }
    let client = verifier(Rules { consumer_claim: "client_id".into(), ..rules() }, &[p256]);
    let told = judged(&client, &p256.token(&claims(&[("client_id", r#""mobile""#)])));
    assert_eq!(told.map(|verified| verified.consumer), Ok("mobile".into()));
    assert_eq!(judged(&client, &p256.token(&claims(&[]))), Err(Refusal::Missing("client_id".into())));
}

#[test]
fn a_refusal_has_a_code_of_its_own_and_repeats_nothing_of_the_token() {
    let all = [
        Refusal::Malformed("x".into()),
        Refusal::Issuer,
        Refusal::Type,
        Refusal::Critical,
        Refusal::Algorithm,
        Refusal::UnknownKey,
        Refusal::NoKeyId,
        Refusal::Audience,
        Refusal::Missing("c".into()),
        Refusal::Claim("c".into()),
        Refusal::Expired,
        Refusal::NotYet,
        Refusal::IssuedLater,
        Refusal::Signature,
    ];
    assert_eq!(all.each_ref().map(Refusal::code), Refusal::CODES);
    let token = keys().p256.token(&claims(&[]));
    let shown = format!("{:?}", judged(&usual(), &token).unwrap());
    assert!(!shown.contains(&token[..20]), "{shown}");
}

#[test]
fn the_examples_of_rfc_7515_are_verified() {
    // Appendices A.2 and A.3. Both sign the same claims, with an end in 2011.
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rsa = concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs",
        "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV",
        "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    );
    let by_rsa = concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ",
        "cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-e",
        "OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let by_p256 = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let keys = format!(
        r#"{{"keys":[{{"kty":"RSA","n":"{rsa}","e":"AQAB"}},{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}]}}"#
    );
    let (set, _) = KeySet::read(keys.as_bytes()).unwrap();
    let rules = Rules { issuer: "joe".into(), audiences: None, consumer_claim: "iss".into(), ..rules() };
    let verifier = Verifier::new(rules, Arc::new(set));
    for (header, signature) in [("eyJhbGciOiJSUzI1NiJ9", by_rsa), ("eyJhbGciOiJFUzI1NiJ9", by_p256)] {
        let token = format!("{header}.{claims}.{signature}");
        assert_eq!(judged_at(&verifier, &token, 1_300_819_000).map(|verified| verified.consumer), Ok("joe".into()));
        assert_eq!(judged_at(&verifier, &token, NOW), Err(Refusal::Expired));
    }
}
