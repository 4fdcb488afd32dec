//! An issuer that changes its keys: the file is written anew, and nobody restarts anything.

use std::fs;

use portolan_identity::testing::key_set;
use serde_json::json;

use super::{LOOK, gateway, keys, publish, token, with_token};
use crate::kit::{FakeUpstream, TestGateway};

fn status_of(gateway: &TestGateway, token: &str) -> u16 {
    with_token(gateway, token).status
}

#[test]
fn keys_are_exchanged_by_writing_the_file_anew() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    let (old, new) = (token(&keys().p256), token(&keys().next));
    assert_eq!([status_of(&gateway, &old), status_of(&gateway, &new)], [200, 401]);
    // While one replaces the other, both are good.
    publish(&gateway, &key_set(&[&keys().p256, &keys().next]));
    gateway.advance_until("the new key", LOOK, || status_of(&gateway, &new) == 200);
    assert_eq!([status_of(&gateway, &old), status_of(&gateway, &new)], [200, 200]);
    publish(&gateway, &key_set(&[&keys().next]));
    gateway.advance_until("the end of the old key", LOOK, || status_of(&gateway, &old) == 401);
    let problem = with_token(&gateway, &old).assert_problem(401, "credentials_invalid");
    let told = json!({ "detail": "the token is signed with a key that is not known here", "reason": "unknown_key" });
    assert_eq!(problem, told);
    assert_eq!([status_of(&gateway, &old), status_of(&gateway, &new)], [401, 200]);
}

#[test]
fn another_key_under_the_same_kid_makes_the_tokens_of_the_old_one_void() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    let (old, new) = (token(&keys().p256), token(&keys().strange_p256));
    assert_eq!([status_of(&gateway, &old), status_of(&gateway, &new)], [200, 401]);
    publish(&gateway, &key_set(&[&keys().strange_p256]));
    gateway.advance_until("the new key", LOOK, || status_of(&gateway, &new) == 200);
    let problem = with_token(&gateway, &old).assert_problem(401, "credentials_invalid");
    assert_eq!(problem["reason"], "bad_signature");
}

#[test]
fn a_key_set_that_cannot_be_used_is_refused_and_the_one_before_stays_in_force() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream);
    let (old, new) = (token(&keys().p256), token(&keys().next));
    let told = |gateway: &TestGateway| gateway.admin().get("/readyz").json()["configuration"].clone();
    // Half of a file, as somebody sees it who reads while it is written.
    let whole = key_set(&[&keys().next]);
    publish(&gateway, &whole[..whole.len() / 2]);
    gateway.advance_until("the refusal", LOOK, || told(&gateway)["refused"] == 1);
    assert!(told(&gateway)["problem"].as_str().unwrap_or_default().contains("keys.json: this is not JSON: "));
    assert_eq!([status_of(&gateway, &old), status_of(&gateway, &new)], [200, 401]);
    fs::remove_file(gateway.folder().join("keys.json")).unwrap();
    gateway.advance_until("the second refusal", LOOK, || told(&gateway)["refused"] == 2);
    assert_eq!([status_of(&gateway, &old), status_of(&gateway, &new)], [200, 401]);
    publish(&gateway, &whole);
    gateway.advance_until("the new key", LOOK, || status_of(&gateway, &new) == 200);
    assert_eq!(status_of(&gateway, &old), 401);
}
