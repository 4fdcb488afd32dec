//! What is remembered of keys, and for how long: each test asks over one connection, and so one worker.

use serde_json::json;

use super::SECOND;
use crate::kit::{Answer, Client, FakeUpstream, TestGateway};

/// HMAC-SHA-256 of `acme-key` under `pepper`, as `printf %s KEY | openssl dgst -sha256 -hmac pepper` prints it.
const KEY: &str = "a376e52b3014fe48601dc1dfb66ff2b55fe15daeae5a530ada7936ad677381cf";

/// Two identities that look in one place and have peppers of their own; the consumer's key is good for the first.
fn gateway(upstream: &FakeUpstream, key: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        identity:
          keys: { api_key: { header: x-api-key, pepper: pepper } }
          others: { api_key: { header: x-api-key, pepper: salt } }
        upstreams: { orders: { endpoints: [ "{upstream}" ] } }
        routes:
          keyed: { path: /keyed, upstream: orders, authenticate: [ keys ] }
          also: { path: /also, upstream: orders, authenticate: [ keys ] }
          other: { path: /other, upstream: orders, authenticate: [ others ] }
        consumers:
          acme: { keys: [ {key} ] }
          other: { keys: [] }
        "#,
    )
    .with("upstream", upstream.url())
    .with("key", key)
    .start()
}

fn ask(client: &Client, path: &str, key: &str) -> Answer {
    client.call("GET", path).header("x-api-key", key).send()
}

fn unknown(answer: &Answer) {
    assert_eq!(answer.assert_problem(401, "credentials_invalid"), json!({ "detail": "the key is not known" }));
}

#[test]
fn a_key_that_was_good_is_refused_with_the_reload_that_takes_it_out_and_is_whose_the_file_says() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, &format!("{{ hash: {KEY} }}"));
    let client = gateway.client();
    let first = gateway.configuration();
    for path in ["/keyed", "/keyed", "/also"] {
        ask(&client, path, "acme-key").assert_status(200);
    }
    gateway.reload(&first.replace(&format!("{{ hash: {KEY} }}"), "")).unwrap();
    for path in ["/keyed", "/also", "/keyed"] {
        unknown(&ask(&client, path, "acme-key"));
    }
    let moved = first.replace(&format!("acme: {{ keys: [ {{ hash: {KEY} }} ] }}"), "acme: { keys: [] }");
    let moved = moved.replace("other: { keys: [] }", &format!("other: {{ keys: [ {{ hash: {KEY} }} ] }}"));
    gateway.reload(&moved).unwrap();
    ask(&client, "/keyed", "acme-key").assert_status(200);
    gateway.reload(&first).unwrap();
    ask(&client, "/keyed", "acme-key").assert_status(200);
    let consumers: Vec<_> = gateway.log(8).iter().map(|line| line["consumer"].clone()).collect();
    let (acme, other, nobody) = (json!("acme"), json!("other"), json!(null));
    assert_eq!(consumers[..3], [acme.clone(), acme.clone(), acme.clone()]);
    assert_eq!(consumers[3..6], [nobody.clone(), nobody.clone(), nobody]);
    assert_eq!(consumers[6..], [other, acme]);
}

#[test]
fn a_key_that_is_remembered_ends_with_its_time_to_the_second() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, &format!("{{ hash: {KEY}, expires: \"2026-01-02T03:05:05Z\" }}"));
    let client = gateway.client();
    ask(&client, "/keyed", "acme-key").assert_status(200);
    gateway.advance(59 * SECOND);
    ask(&client, "/keyed", "acme-key").assert_status(200);
    gateway.advance(SECOND);
    for _ in 0..2 {
        let problem = ask(&client, "/keyed", "acme-key").assert_problem(401, "credentials_expired");
        assert_eq!(problem, json!({ "detail": "the key has expired" }));
    }
}

#[test]
fn a_key_that_is_remembered_lets_nothing_in_that_only_looks_like_it() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, &format!("{{ hash: {KEY} }}"));
    let client = gateway.client();
    ask(&client, "/keyed", "acme-key").assert_status(200);
    for key in ["acme-ke", "acme-kez", "acme-key-2", "bcme-key", "xacme-key", "ACME-KEY", "acme-key acme-key"] {
        unknown(&ask(&client, "/keyed", key));
    }
    // It is remembered for the identity that knows it, and for no other.
    unknown(&ask(&client, "/other", "acme-key"));
    ask(&client, "/keyed", "acme-key").assert_status(200);
}
