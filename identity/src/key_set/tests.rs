//! Sets as issuers publish them, and as they should not be.

use super::*;
use crate::testing::{SigningKey, encode, key_set};

fn read(text: &str) -> Result<(usize, Vec<String>), Vec<String>> {
    let told = |notes: Vec<Note>| notes.iter().map(|note| format!("{}: {}", note.path, note.message)).collect();
    match KeySet::read(text.as_bytes()) {
        Ok((set, notes)) => Ok((set.names().count(), told(notes))),
        Err(notes) => Err(told(notes)),
    }
}

/// A set of keys as written, each a list of members.
fn set(keys: &[String]) -> String {
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

/// A key with members added or changed.
fn with(key: &SigningKey, changes: &[(&'static str, &str)]) -> String {
    let mut members = key.members();
    members.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    members.extend(
        changes.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (*name, (*value).to_owned())),
    );
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn keys_of_both_kinds_are_read_and_others_passed_over() {
    let (rsa, p256) = (SigningKey::rs256("r"), SigningKey::es256("e"));
    assert_eq!(read(&key_set(&[&rsa, &p256])), Ok((2, vec![])));
    let others = [
        with(&rsa, &[("kid", "for-encryption"), ("use", "enc")]),
        with(&rsa, &[("kid", "for-pss"), ("alg", "PS256")]),
        r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA","kid":"ed"}"#.to_owned(),
        r#"{"kty":"EC","crv":"P-521","x":"AAAA","y":"AAAA"}"#.to_owned(),
        r#"{"kty":"oct","k":"AAAA"}"#.to_owned(),
        r#"{"kty":"RSA","key_ops":["encrypt"]}"#.to_owned(),
    ];
    let mut keys = vec![with(&p256, &[("use", "sig"), ("alg", "ES256")])];
    keys.extend(others.clone());
    let kind = "passed over: it is of a kind that neither RS256 nor ES256 has";
    let passed = |offset: usize| {
        [
            "passed over: it is not for signatures by its `use`",
            "passed over: it is for another algorithm by its `alg`",
            kind,
            kind,
            kind,
            "passed over: it is not for verifying by its `key_ops`",
        ]
        .iter()
        .enumerate()
        .map(|(index, why)| format!("keys[{}]: {why}", index + offset))
        .collect::<Vec<_>>()
    };
    assert_eq!(read(&set(&keys)), Ok((1, passed(1))));
    let mut nothing = passed(0);
    nothing.push("keys: no key of it can verify RS256 or ES256".to_owned());
    assert_eq!(read(&set(&others)), Err(nothing));
}

#[test]
fn what_is_wrong_with_keys_is_told_all_at_once_with_its_place() {
    let (rsa, p256) = (SigningKey::rs256("r"), SigningKey::es256("e"));
    let weak = encode(&[0xff; 128]);
    let long = encode(&[0xff; 1_025]);
    let even = encode(&[0xfe; 256]);
    let keys = [
        with(&rsa, &[("n", &weak)]),
        with(&rsa, &[("n", &long)]),
        with(&rsa, &[("n", &even)]),
        with(&rsa, &[("e", "AQ")]),
        with(&rsa, &[("e", "AQAA")]),
        with(&rsa, &[("e", "AQAAAAE")]),
        with(&rsa, &[("n", "")]),
        with(&rsa, &[("n", "a+b/")]),
        with(&rsa, &[("d", "AAAA")]),
        with(&p256, &[("x", "AQAB")]),
        with(&p256, &[("x", &encode(&[0xff; 32]))]),
        with(&p256, &[("d", "AAAA")]),
        with(&p256, &[("kid", &"k".repeat(257))]),
        with(&p256, &[("kty", "")]),
        "7".to_owned(),
        r#"{"kty":7}"#.to_owned(),
    ];
    let exponent = "this is no exponent of an RSA key; 65537 (`AQAB`) is usual";
    let private =
        "this is a private key, which belongs to the issuer alone; put the public one here and make a new pair";
    let expected = [
        "keys[0].n: an RSA key of 1024 bits is weak; it needs 2048 at least",
        "keys[1].n: an RSA key of 8200 bits is too long; it may have 8192 at most",
        "keys[2].n: this is no RSA key",
        &format!("keys[3].e: {exponent}"),
        &format!("keys[4].e: {exponent}"),
        &format!("keys[5].e: {exponent}"),
        "keys[6]: the key has no text `n`",
        "keys[7].n: this is not in base64url without padding",
        &format!("keys[8]: {private}"),
        "keys[9].x: a coordinate of P-256 has 32 bytes",
        "keys[10]: this is no point of P-256",
        &format!("keys[11]: {private}"),
        "keys[12].kid: the `kid` is longer than 256 bytes",
        "keys[13]: the key has no `kty`",
        "keys[14]: a key is an object",
        "keys[15].kty: this is not text",
    ];
    assert_eq!(read(&set(&keys)), Err(expected.map(str::to_owned).to_vec()));
}

#[test]
fn two_keys_cannot_share_a_kid_unless_their_algorithms_tell_them_apart() {
    let (rsa, p256, other) = (SigningKey::rs256("a"), SigningKey::es256("a"), SigningKey::es256("a"));
    assert_eq!(read(&key_set(&[&rsa, &p256])), Ok((2, vec![])));
    let told = "keys[2].kid: another key has the same `kid`".to_owned();
    assert_eq!(read(&key_set(&[&rsa, &p256, &other])), Err(vec![told]));
}

#[test]
fn what_is_no_set_is_refused() {
    let list = "a key set is an object with a list `keys`";
    for (text, why) in [
        ("{}", format!(": {list}")),
        ("[]", format!(": {list}")),
        (r#"{"keys":{}}"#, format!(": {list}")),
        (r#"{"keys":[]}"#, "keys: no key of it can verify RS256 or ES256".to_owned()),
    ] {
        assert_eq!(read(text), Err(vec![why]), "{text}");
    }
    for text in ["", "{", r#"{"keys":[],"keys":[]}"#, r#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#] {
        let told = read(text).unwrap_err();
        assert!(told.len() == 1 && told[0].starts_with(": this is not JSON: "), "{text}: {told:?}");
    }
    let many = vec![r#"{"kty":"oct"}"#.to_owned(); MAX_KEYS + 1];
    assert_eq!(read(&set(&many)), Err(vec!["keys: there are 101 keys, and 100 may be".to_owned()]));
}

#[test]
fn a_leading_zero_changes_nothing() {
    let key = SigningKey::rs256("r");
    let members = key.members();
    let n = members.iter().find(|(name, _)| *name == "n").map(|(_, n)| URL_SAFE_NO_PAD.decode(n).unwrap()).unwrap();
    let padded = encode(&[&[0][..], &n].concat());
    let (usual, _) = KeySet::read(key_set(&[&key]).as_bytes()).unwrap();
    let (zero, _) = KeySet::read(set(&[with(&key, &[("n", &padded)])]).as_bytes()).unwrap();
    assert_eq!(usual.names().collect::<Vec<_>>(), zero.names().collect::<Vec<_>>());
}

#[test]
fn a_key_is_named_by_its_thumbprint() {
    // The example of RFC 7638, section 3.1, whose thumbprint is NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
        tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOp\
        bISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let text = format!(r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"AQAB","alg":"RS256","kid":"2011-04-29"}}]}}"#);
    let (set, _) = KeySet::read(text.as_bytes()).unwrap();
    assert_eq!(set.names().map(|name| &**name).collect::<Vec<_>>(), ["3736cbb1787c"]);
}
