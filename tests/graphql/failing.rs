//! GraphQL services that cannot be reached, hang, reset or answer what is no GraphQL: clear errors, and a breaker that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{SDL, ask, errors, posted, quiet, send, shop};
use crate::kit::upstream::nobody;
use crate::kit::{FakeUpstream, RawClient, RawUpstream, Reply, TestGateway};

const SECOND: Duration = Duration::from_secs(1);
const QUERY: &str = "{ orders { id } }";

fn told(message: &str, code: &str) -> Value {
    json!([{ "message": message, "extensions": { "code": code } }])
}

/// A gateway whose breaker opens at half of at least four calls, and that waits a second for an answer to begin.
fn with_breaker(upstream: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams:
          shop:
            endpoints: [ "{upstream}" ]
            breaker: { error_ratio: 50%, minimum: 4, window: 10s, open_for: 5s }
            timeouts: { first_byte: 1s }
        apis: { shop: { version: v1, graphql: ./shop.graphql, path: /shop/graphql, upstream: shop } }
        "#,
    )
    .with("upstream", upstream)
    .file("shop.graphql", SDL)
    .start()
}

/// Checks that the breaker is open: the caller is told so at once, and when to come again.
#[track_caller]
fn assert_open(gateway: &TestGateway) {
    let refused = ask(gateway, QUERY);
    let message = "`shop` is failing and is left alone for a while";
    let expected = json!([{ "message": message, "extensions": { "code": "circuit_open", "retry_after": 5.0 } }]);
    assert_eq!(errors(&refused, 503), expected);
    assert_eq!(refused.header("retry-after").as_deref(), Some("5"));
}

#[test]
fn a_service_that_resets_closes_or_talks_garbage_is_a_graphql_error_and_counts_for_the_breaker() {
    type Script = fn() -> RawUpstream;
    let bad: [(&str, &str, Script); 4] = [
        ("a reset", "`shop` closed the connection before it answered", || {
            RawUpstream::start(|peer| {
                peer.head();
                peer.reset();
            })
        }),
        ("an end without an answer", "`shop` closed the connection before it answered", || {
            RawUpstream::start(|peer| {
                peer.head();
            })
        }),
        ("an end within the head", "`shop` closed the connection before it answered", || {
            RawUpstream::start(|peer| {
                peer.head();
                peer.send("HTTP/1.1 200 OK\r\ncontent-le");
            })
        }),
        ("garbage", "`shop` answered with what is not HTTP", || {
            RawUpstream::answering("\0\x01\x02 this is not HTTP\r\n\r\n")
        }),
    ];
    for (what, message, start) in bad {
        let upstream = start();
        let gateway = with_breaker(&upstream.url());
        for _ in 0..4 {
            assert_eq!(errors(&ask(&gateway, QUERY), 502), told(message, "upstream_broken"), "{what}");
        }
        let before = upstream.count();
        assert_open(&gateway);
        assert_eq!(upstream.count(), before, "{what}");
    }
}

#[test]
fn a_service_that_cannot_be_reached_is_a_graphql_error() {
    let gateway = with_breaker(&format!("http://{}", nobody()));
    for _ in 0..4 {
        assert_eq!(errors(&ask(&gateway, QUERY), 502), told("`shop` could not be reached", "upstream_unreachable"));
    }
    assert_open(&gateway);
}

#[test]
fn a_service_that_does_not_answer_in_time_is_a_graphql_error_and_is_let_go() {
    let upstream = FakeUpstream::hanging();
    let gateway = with_breaker(&upstream.url());
    for calls in 1..=4 {
        let pending = gateway.call("POST", "/shop/graphql").json(&json!({ "query": QUERY })).start();
        upstream.wait_for(calls);
        gateway.advance(SECOND / 2);
        assert!(!pending.is_there(), "the time was not over");
        gateway.advance(SECOND / 2);
        assert_eq!(errors(&pending.answer(), 504), told("`shop` did not answer in time", "upstream_timeout"));
        upstream.wait_for_cancelled(calls);
    }
    assert_open(&gateway);
    assert_eq!(upstream.count(), 4);
}

#[test]
fn a_request_past_its_deadline_is_a_graphql_error() {
    let upstream = FakeUpstream::hanging();
    let gateway = shop(&upstream.url(), ", deadline: 2s");
    let pending = gateway.call("POST", "/shop/graphql").json(&json!({ "query": QUERY })).start();
    upstream.wait_for(1);
    gateway.advance(2 * SECOND);
    let message = "the time for this request was over before the service answered";
    assert_eq!(errors(&pending.answer(), 504), told(message, "deadline_exceeded"));
    upstream.wait_for_cancelled(1);
}

#[test]
fn a_service_that_answers_500_is_passed_on_until_the_breaker_opens_and_a_probe_closes_it() {
    let works = Arc::new(AtomicBool::new(false));
    let upstream = FakeUpstream::start({
        let works = works.clone();
        move |_| match works.load(Ordering::Relaxed) {
            true => Reply::json(200, &json!({ "data": { "orders": [] } })),
            false => Reply::json(500, &json!({ "errors": [{ "message": "its own" }] })),
        }
    });
    let gateway = with_breaker(&upstream.url());
    for _ in 0..4 {
        assert_eq!(ask(&gateway, QUERY).assert_status(500).json(), json!({ "errors": [{ "message": "its own" }] }));
    }
    assert_open(&gateway);
    assert_eq!(upstream.count(), 4);
    // A batch meets the open breaker in each of its places.
    let batch = send(&gateway, &json!([{ "query": QUERY }, { "query": QUERY }])).assert_status(200).json();
    let codes: Vec<_> =
        batch.as_array().unwrap().iter().map(|one| one["errors"][0]["extensions"]["code"].clone()).collect();
    assert_eq!(codes, ["circuit_open", "circuit_open"]);
    assert_eq!(upstream.count(), 4);
    works.store(true, Ordering::Relaxed);
    gateway.advance(5 * SECOND);
    for _ in 0..3 {
        assert_eq!(ask(&gateway, QUERY).assert_status(200).json(), json!({ "data": { "orders": [] } }));
    }
}

#[test]
fn what_callers_did_wrong_and_errors_in_an_answer_do_not_open_the_breaker() {
    let upstream = FakeUpstream::answering(200, json!({ "errors": [{ "message": "no such order" }], "data": null }));
    let gateway = with_breaker(&upstream.url());
    for _ in 0..6 {
        errors(&ask(&gateway, "{ products(first: 5000) { id } }"), 200);
        errors(&ask(&gateway, "{ broken"), 200);
        ask(&gateway, QUERY).assert_status(200);
    }
    assert_eq!(upstream.count(), 6);
}

#[test]
fn an_answer_that_is_not_json_is_a_graphql_error() {
    let page = "<html>maintenance</html>";
    for status in [200, 500, 503] {
        let upstream =
            FakeUpstream::start(move |_| Reply::bytes(status, page).header("content-type", "text/html; charset=utf-8"));
        let gateway = shop(&upstream.url(), "");
        let answer = ask(&gateway, QUERY);
        assert_eq!(errors(&answer, 502), told("the service did not answer with JSON", "upstream_broken"));
        let line = &gateway.log(1)[0];
        assert_eq!(
            (&line["fault"], &line["cause"]),
            (&json!("upstream_broken"), &json!(format!("status {status} with `text/html; charset=utf-8`")))
        );
    }
    // What the service says to the caller, it says in its own words: a redirect, a challenge.
    let upstream = FakeUpstream::start(|_| Reply::bytes(401, "log in first").header("content-type", "text/plain"));
    let answer = ask(&shop(&upstream.url(), ""), QUERY);
    assert_eq!((answer.status, answer.text().as_str()), (401, "log in first"));
}

#[test]
fn an_answer_that_breaks_off_is_never_taken_for_a_whole_one() {
    let (upstream, feed) = FakeUpstream::fed();
    let gateway = shop(&upstream.url(), "");
    let mut client = RawClient::connect(gateway.address());
    client.send(posted(&json!({ "query": QUERY })));
    feed.send("{\"data\":");
    client.read_until("{\"data\":");
    feed.break_off();
    assert!(!client.read_to_end().contains("0\r\n\r\n"), "the answer was ended in good order");
    let line = &gateway.log(1)[0];
    assert_eq!((&line["outcome"], &line["fault"]), (&json!("faulted"), &json!("upstream_broken")));
}

#[test]
fn when_the_client_vanishes_the_call_is_cancelled() {
    let upstream = FakeUpstream::hanging();
    let gateway = shop(&upstream.url(), "");
    let mut client = RawClient::connect(gateway.address());
    client.send(posted(&json!({ "query": QUERY })));
    upstream.wait_for(1);
    drop(client);
    upstream.wait_for_cancelled(1);
    let line = &gateway.log(1)[0];
    assert_eq!((&line["operation"], &line["outcome"]), (&json!("anonymous"), &json!("cancelled")));
}

#[test]
fn a_client_that_vanishes_within_its_request_calls_nobody() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let mut client = RawClient::connect(gateway.address());
    let request = posted(&json!({ "query": QUERY }));
    client.send(&request[..request.len() - 5]);
    drop(client);
    gateway.log(1);
    assert_eq!(upstream.count(), 0);
    ask(&gateway, QUERY).assert_status(200);
}
