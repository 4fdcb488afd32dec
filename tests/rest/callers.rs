//! Callers that send what is malformed, too much, or too slowly.

use std::time::Duration;

use serde_json::json;

use super::plain;
use crate::kit::{FakeUpstream, RawClient, TestGateway};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_is_not_http_is_refused_and_the_gateway_goes_on() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = plain(&upstream.url());
    let malformed: [(&str, &[u8]); 9] = [
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n"),
        ("no version", b"GET /\r\n\r\n"),
        ("a target that is not percent-encoded", "GET /ü HTTP/1.1\r\nhost: a\r\n\r\n".as_bytes()),
        ("an unknown version", b"GET / HTTP/9.9\r\nhost: a\r\n\r\n"),
        ("a space within a field name", b"GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n"),
        ("a control byte within a field", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n"),
        ("two lengths", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        ("a length that is none", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"),
        ("an encoding that is none", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, x\r\n\r\n0\r\n\r\n"),
    ];
    for (what, bytes) in malformed {
        let mut client = RawClient::connect(gateway.address());
        client.send(bytes);
        let answer = client.read_to_end();
        let statuses = ["HTTP/1.1 400 ", "HTTP/1.1 501 ", "HTTP/1.1 505 "];
        assert!(statuses.iter().any(|status| answer.starts_with(status)), "{what}: {answer:?}");
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(gateway.get("/").json(), "sound");
}

#[test]
fn a_request_that_two_readers_could_read_in_two_ways_reaches_no_upstream() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = plain(&upstream.url());
    for (what, request) in [
        ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("a host that is not the target's", "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n"),
    ] {
        let mut client = RawClient::connect(gateway.address());
        client.send(request);
        let (head, body) = client.read_answer();
        assert!(head.starts_with("HTTP/1.1 400 "), "{what}: {head}");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["code"], "bad_request", "{what}");
    }
    // A length beside chunks is how a request is smuggled (RFC 9112, section 6.1): refused, or only the chunks count and the connection ends.
    let mut client = RawClient::connect(gateway.address());
    client.send(
        "POST /outer HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    client.finish();
    client.read_to_end();
    let lengths: Vec<_> = upstream.requests().into_iter().filter_map(|seen| seen.header("content-length")).collect();
    assert_eq!(lengths, Vec::<String>::new(), "a length went on beside chunks");
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = TestGateway::with_config(
        r#"
        listeners: { public: { address: 127.0.0.1:0, max_head: 16KiB } }
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let many = (0..500).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    let long = format!("x-long: {}\r\n", "x".repeat(20_000));
    for (what, fields) in [("many fields", many), ("a long field", long)] {
        let mut client = RawClient::connect(gateway.address());
        client.try_send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        let answer = client.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 431 "), "{what}: {answer:?}");
    }
    assert_eq!(upstream.count(), 0);
    gateway.call("GET", "/").header("x-long", &"x".repeat(8_000)).send().assert_status(200);
}

#[test]
fn a_body_with_broken_chunks_does_not_pass_as_a_whole_one() {
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\nzz\r\n");
    let answer = client.read_to_end();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(upstream.requests().iter().all(|seen| !seen.whole), "half a body was taken for a whole one");
    assert_eq!(gateway.call("POST", "/").body("sound").send().text(), "sound");
}

#[test]
fn a_head_that_does_not_end_is_given_up_after_its_time() {
    let upstream = FakeUpstream::echo();
    let gateway = TestGateway::with_config(
        r#"
        listeners: { public: { address: 127.0.0.1:0, head_timeout: 5s, idle_timeout: 20s } }
        upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { connect: 10m } } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let ended = |sent: &'static str| {
        let mut client = RawClient::connect(gateway.address());
        client.send(sent);
        let reading = std::thread::spawn(move || client.read_to_end());
        gateway.advance_until("the connection is closed", SECOND, || reading.is_finished());
        reading.join().unwrap()
    };
    let answer = ended("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // And a connection on which nothing more is asked is closed without a word.
    let answer = ended("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(upstream.count(), 1);
}
