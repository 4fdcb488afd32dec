//! Upstreams that cannot be reached, hang, reset, or answer what is not HTTP. After each the gateway goes on.

use std::time::Duration;

use serde_json::json;

use super::plain;
use crate::kit::upstream::nobody;
use crate::kit::{FakeUpstream, RawClient, RawUpstream, TestGateway};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_upstream_that_cannot_be_reached_is_a_502() {
    let gateway = plain(&format!("http://{}", nobody()));
    let problem = gateway.get("/").assert_problem(502, "upstream_unreachable");
    assert_eq!(problem, json!({ "detail": "`service` could not be reached" }));
}

#[test]
fn an_upstream_that_resets_closes_or_talks_garbage_is_a_502_and_the_next_request_is_served() {
    type Start = fn() -> RawUpstream;
    let bad: [(&str, Start); 6] = [
        ("a reset", || {
            RawUpstream::start(|peer| {
                peer.head();
                peer.reset();
            })
        }),
        ("an end without an answer", || {
            RawUpstream::start(|peer| {
                peer.head();
            })
        }),
        ("an end within the head", || {
            RawUpstream::start(|peer| {
                peer.head();
                peer.send("HTTP/1.1 200 OK\r\ncontent-le");
            })
        }),
        ("garbage", || RawUpstream::answering("\0\x01\x02 this is not HTTP\r\n\r\n")),
        ("two lengths", || {
            RawUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")
        }),
        ("an endless head", || {
            RawUpstream::start(|peer| {
                peer.head();
                peer.send("HTTP/1.1 200 OK\r\n");
                while peer.send(format!("x-long: {}\r\n", "x".repeat(8_000))) {}
            })
        }),
    ];
    for (what, start) in bad {
        let (broken, sound) = (start(), FakeUpstream::answering(200, json!("sound")));
        let gateway = TestGateway::with_config(
            r#"
            upstreams: { broken: { endpoints: [ "{broken}" ] }, sound: { endpoints: [ "{sound}" ] } }
            routes: { broken: { path: /broken, upstream: broken }, sound: { path: /sound, upstream: sound } }
            "#,
        )
        .with("broken", broken.url())
        .with("sound", sound.url())
        .start();
        let answer = gateway.call("POST", "/broken").body("x").send();
        assert_eq!(answer.status, 502, "{what}: {}", answer.text());
        answer.assert_problem(502, "upstream_broken");
        assert_eq!(gateway.get("/sound").json(), "sound", "after {what}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_never_taken_for_a_whole_one() {
    let (upstream, feed) = FakeUpstream::fed();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    feed.send("first");
    client.read_until("first");
    feed.break_off();
    assert!(!client.read_to_end().contains("0\r\n\r\n"), "the answer was ended in good order");
    let line = &gateway.log(1)[0];
    assert_eq!(
        (&line["outcome"], &line["fault"], &line["status"]),
        (&json!("faulted"), &json!("upstream_broken"), &json!(200))
    );

    let short = RawUpstream::start(|peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    });
    let gateway = plain(&short.url());
    assert!(gateway.call("GET", "/").try_send().is_err(), "half an answer was taken for a whole one");
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_a_504_and_is_let_go() {
    let upstream = FakeUpstream::hanging();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { first_byte: 3s } } }
        routes: { all: { path: /**, upstream: service, deadline: 1h } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let pending = gateway.call("GET", "/").start();
    upstream.wait_for(1);
    gateway.advance(2 * SECOND);
    assert!(!pending.is_there(), "the time was not over");
    // The time runs from the end of the request, of which the upstream may know before the gateway looks at its clock.
    gateway.advance_until("the answer comes", SECOND, || pending.is_there());
    let problem = pending.answer().assert_problem(504, "upstream_timeout");
    assert_eq!(problem, json!({ "detail": "`service` did not answer in time" }));
    upstream.wait_for_cancelled(1);
}

#[test]
fn a_request_past_its_deadline_is_a_504() {
    let upstream = FakeUpstream::hanging();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service, deadline: 2s } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let pending = gateway.call("GET", "/").start();
    upstream.wait_for(1);
    gateway.advance(2 * SECOND);
    let answer = pending.answer();
    assert_eq!(answer.status, 504, "{}", answer.text());
    upstream.wait_for_cancelled(1);
}

#[test]
fn an_answer_that_stops_half_way_is_broken_off_after_its_idle_time() {
    let (upstream, feed) = FakeUpstream::fed();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { idle: 10s } } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    feed.send("first");
    client.read_until("first");
    gateway.advance_until("the upstream is let go", 5 * SECOND, || upstream.cancelled() == 1);
    assert!(!client.read_to_end().contains("0\r\n\r\n"), "the answer was ended in good order");
}

#[test]
fn a_kept_connection_that_was_closed_meanwhile_costs_no_get_and_doubles_no_post() {
    // Answers the first request of each connection and closes at the second.
    let upstream = RawUpstream::start(|peer| {
        // All of it: an answer to half a request ends its connection.
        if peer.request().is_some() && peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") {
            peer.request();
        }
    });
    let configuration = r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service } }
    "#;
    let gateway = TestGateway::with_config(configuration).with("upstream", upstream.url()).start();
    assert_eq!(gateway.get("/1").text(), "ok");
    assert_eq!(gateway.get("/2").text(), "ok");
    assert_eq!(upstream.count(), 3, "the second request was sent twice");

    let gateway = TestGateway::with_config(configuration).with("upstream", upstream.url()).start();
    assert_eq!(gateway.call("POST", "/1").body("x").send().text(), "ok");
    gateway.call("POST", "/2").body("x").send().assert_problem(502, "upstream_broken");
    assert_eq!(upstream.count(), 5, "what may not be done twice was sent once");
}
