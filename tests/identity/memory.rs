//! What is remembered of verified tokens, and for how long.

use serde_json::json;

use super::{NOW, SECOND, claims, counted, keys, setup, token, with_token};
use crate::kit::FakeUpstream;

#[test]
fn a_token_is_verified_once_on_each_worker_and_remembered_then() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "").start();
    let token = token(&keys().rsa);
    // One connection, which stays on its worker.
    for _ in 0..5 {
        with_token(&gateway, &token).assert_status(200);
    }
    assert_eq!(counted(&gateway), [4.0, 1.0, 0.0, 0.0]);
    assert_eq!(gateway.metric("portolan_tokens_remembered{identity=\"partners\"}"), 1.0);
}

#[test]
fn a_remembered_token_ends_with_its_time_to_the_second() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "").start();
    let token = keys().p256.token(&claims(json!({ "exp": NOW + 30 })));
    with_token(&gateway, &token).assert_status(200);
    gateway.advance(59 * SECOND);
    with_token(&gateway, &token).assert_status(200);
    assert_eq!(counted(&gateway), [1.0, 1.0, 0.0, 0.0]);
    gateway.advance(SECOND);
    for _ in 0..2 {
        let problem = with_token(&gateway, &token).assert_problem(401, "credentials_expired");
        assert_eq!(problem, json!({ "detail": "the token has expired", "reason": "token_expired" }));
    }
    assert_eq!(counted(&gateway), [1.0, 1.0, 2.0, 0.0]);
}

#[test]
fn what_is_remembered_is_bounded_in_tokens_and_in_bytes() {
    let upstream = FakeUpstream::echo();
    for (bound, most, bytes) in [("tokens: 6", 6.0, 16.0 * 1_048_576.0), ("bytes: 8KiB", 16.0, 8_192.0)] {
        let gateway = setup(&upstream, &format!("cache: {{ {bound} }}")).start();
        let client = gateway.client();
        for number in 0..40 {
            let token = keys().p256.token(&claims(json!({ "jti": number })));
            let answer = client.call("GET", "/plain").header("authorization", &format!("Bearer {token}")).send();
            answer.assert_status(200);
        }
        let held = gateway.metric("portolan_tokens_remembered{identity=\"partners\"}");
        let weight = gateway.metric("portolan_tokens_remembered_bytes{identity=\"partners\"}");
        // All of them came over one connection, and so to one worker.
        assert!(
            held > 0.0 && held <= most && weight > 0.0 && weight <= bytes,
            "{bound}: {held} tokens, {weight} bytes"
        );
        assert_eq!(counted(&gateway), [0.0, 40.0, 0.0, 0.0]);
    }
}

#[test]
fn what_was_refused_is_never_remembered_as_good() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "").start();
    let bad = token(&keys().strange_p256);
    for _ in 0..5 {
        with_token(&gateway, &bad).assert_problem(401, "credentials_invalid");
    }
    assert_eq!(counted(&gateway), [0.0, 0.0, 5.0, 0.0]);
    assert_eq!(gateway.metric("portolan_tokens_remembered{identity=\"partners\"}"), 0.0);
}

#[test]
fn a_reload_that_does_not_touch_it_forgets_nothing_and_one_that_does_forgets_all() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "").start();
    let token = token(&keys().p256);
    with_token(&gateway, &token).assert_status(200);
    let more = gateway.configuration() + "plans: { gold: {} }\n";
    gateway.reload(&more).unwrap();
    with_token(&gateway, &token).assert_status(200);
    assert_eq!(counted(&gateway), [1.0, 1.0, 0.0, 0.0]);
    // A consumer that is taken out is nobody any more, remembered or not.
    let without = more.replace("acme: { subscriptions: [ { api: orders } ] }", "");
    gateway.reload(&without).unwrap();
    with_token(&gateway, &token).assert_problem(403, "forbidden");
    let plain = gateway.call("GET", "/plain").header("authorization", &format!("Bearer {token}")).send();
    plain.assert_problem(403, "forbidden");
    gateway.reload(&more).unwrap();
    with_token(&gateway, &token).assert_status(200);
    // And so is a token when another audience is asked for.
    gateway.reload(&more.replace("audience: api", "audience: web")).unwrap();
    let problem = with_token(&gateway, &token).assert_problem(401, "credentials_invalid");
    assert_eq!(problem["reason"], "wrong_audience");
}
