//! What callers show, and the keys it is judged with.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portolan_exchange::value::Value;
use portolan_identity::{Algorithm, KeySet, Refusal, Rules, Token, Verifier};
use serde_json::value::RawValue;

use super::linear;
use crate::signature::Signature;
use crate::target::Target;

/// The public keys of RFC 7515, appendices A.2.1 and A.3.1.
const KEYS: &str = r#"{"keys":[
    {"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
    {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
]}"#;

/// What those keys signed, in the same appendices: nothing else can be verified.
const SIGNED: [&str; 2] = [
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
];

/// Shortly before the examples expire.
const NOW: u64 = 1_300_819_000;

/// A token as it is sent; or, behind a first byte below a space, its header, its claims and its signature as lines, which are
/// put into base64url here, so that mutations reach what stands in them.
pub(super) const TOKEN: Target = Target {
    name: "identity-token",
    about: "tokens: what is read another reader of JSON reads alike, and only what was signed is verified",
    run: token,
    words: &[
        "RS256", "ES256", "none", "HS256", "alg", "kid", "typ", "crit", "iss", "joe", "aud", "exp", "nbf", "iat",
        "sub", "scope", "scp", "at+jwt",
    ],
    seeds: &[],
    longest: 20 * 1024,
    memory: linear(512),
};

fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let (keys, notes) = KeySet::read(KEYS.as_bytes()).expect("the keys of RFC 7515 can be read");
        assert_eq!(notes, []);
        let rules = Rules {
            issuer: "joe".into(),
            audiences: None,
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
            leeway: Duration::from_secs(30),
            consumer_claim: "iss".into(),
        };
        Verifier::new(rules, Arc::new(keys))
    })
}

fn token(input: &[u8]) -> Signature {
    // Made before the allocations of one input would show it.
    let verifier = verifier();
    let written;
    let text = match input.split_first() {
        Some((..b' ', lines)) => {
            let mut parts = lines.splitn(3, |byte| *byte == b'\n');
            let mut part = || URL_SAFE_NO_PAD.encode(parts.next().unwrap_or_default());
            written = format!("{}.{}.{}", part(), part(), part());
            written.as_bytes()
        }
        _ => input,
    };
    let token = match Token::parse(text) {
        Ok(token) => token,
        Err(refusal) => {
            assert_eq!(refusal.code(), "malformed_token");
            return Signature::of("malformed").told(&refusal.to_string());
        }
    };
    check(text, &token);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let examined = match verifier.examine(&token, now) {
        Ok(examined) => examined,
        Err(refusal) => {
            assert!(!matches!(refusal, Refusal::Signature), "a signature was judged too early");
            return Signature::of("refused").told(&refusal.to_string());
        }
    };
    match examined.verify() {
        Ok(verified) => {
            let message = std::str::from_utf8(token.message()).expect("a token that was read is text");
            assert!(SIGNED.contains(&message), "what nobody signed was verified");
            assert_eq!(&*verified.consumer, "joe");
            assert!(verified.expires > now);
            Signature::of("verified")
        }
        Err(refusal) => {
            assert_eq!(refusal, Refusal::Signature);
            Signature::of("not signed").told(token.algorithm())
        }
    }
}

/// Another reader sees what we see.
fn check(text: &[u8], token: &Token<'_>) {
    let parts: Vec<_> = text.split(|byte| *byte == b'.').collect();
    let [header, claims, signature] = parts[..] else { panic!("a token of {} parts was read", parts.len()) };
    assert_eq!(token.message(), &text[..header.len() + 1 + claims.len()]);
    assert_eq!(URL_SAFE_NO_PAD.encode(token.signature()).as_bytes(), signature, "a signature has a second form");
    let read = |part: &[u8]| -> BTreeMap<String, Box<RawValue>> {
        let decoded = URL_SAFE_NO_PAD.decode(part).expect("a part that was read is in base64url");
        serde_json::from_slice(&decoded).expect("a part that was read is a JSON object")
    };
    let (header, claims) = (read(header), read(claims));
    let text = |name: &str| header.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
    assert_eq!(text("alg").as_deref(), Some(token.algorithm()));
    assert_eq!(text("kid").as_deref(), token.key_id());
    for (name, value) in &claims {
        let ours = token.claim(name).expect("a claim that stands there is found");
        // The other reader has no room for numbers as large as 1e400, which are no dates either.
        let Ok(theirs) = serde_json::from_str::<serde_json::Value>(value.get()) else { continue };
        match theirs {
            serde_json::Value::String(text) => assert_eq!(ours.as_str(), Some(text.as_str())),
            serde_json::Value::Number(number) => {
                assert_eq!(number.as_u64().is_some(), ours.as_u64().is_some(), "{number}");
                assert!(number.as_u64().is_none_or(|number| ours.as_u64() == Some(number)), "{number}");
            }
            serde_json::Value::Bool(truth) => assert_eq!(ours.as_bool(), Some(truth)),
            serde_json::Value::Null => assert!(ours.is_null()),
            serde_json::Value::Array(items) => assert_eq!(ours.as_list().map(<[Value]>::len), Some(items.len())),
            serde_json::Value::Object(members) => assert_eq!(ours.as_map().map(|map| map.len()), Some(members.len())),
        }
    }
}

/// A key set, as operators get it from issuers.
pub(super) const KEY_SET: Target = Target {
    name: "identity-keys",
    about: "key sets: a refusal says why, and what is read has keys with names of their own",
    run: key_set,
    words: &[
        "keys", "kty", "RSA", "EC", "P-256", "OKP", "oct", "use", "sig", "enc", "key_ops", "verify", "alg", "RS256",
        "ES256", "kid", "AQAB", "d",
    ],
    seeds: &[],
    longest: 32 * 1024,
    memory: linear(512),
};

fn key_set(input: &[u8]) -> Signature {
    match KeySet::read(input) {
        Ok((set, notes)) => {
            let names: Vec<_> = set.names().collect();
            assert!((1..=portolan_identity::key_set::MAX_KEYS).contains(&names.len()));
            let signature = Signature::of("read").size("keys", names.len());
            notes.iter().fold(signature, |signature, note| signature.told(&note.message))
        }
        Err(notes) => {
            assert!(!notes.is_empty(), "a refusal says why");
            // What the reader of JSON says names members of the input.
            let told = |message: &str| message.split(": ").next().unwrap_or_default().to_owned();
            notes.iter().fold(Signature::of("refused"), |signature, note| signature.told(&told(&note.message)))
        }
    }
}
