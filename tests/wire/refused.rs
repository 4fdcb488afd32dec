//! Requests that are refused over the socket: a choice from each rule; the whole table stands beside the reader, in `protocols/http1`.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{answer, get, listening, naming, ok, plain};
use crate::kit::{RawClient, RawUpstream, TestGateway};

/// What is wrong, the head and what follows, the status and the code of the refusal.
type Case = (&'static str, &'static str, u16, &'static str);

const MALFORMED: (u16, &str) = (400, "bad_request");

const fn malformed(what: &'static str, text: &'static str) -> Case {
    (what, text, MALFORMED.0, MALFORMED.1)
}

/// Refused before a route is looked for.
const HEADS: [Case; 46] = [
    malformed("no HTTP at all", "\x16\x03\x01\x02 hello\r\n\r\n"),
    malformed("no version", "GET /\r\n\r\n"),
    malformed("two spaces before the target", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n"),
    malformed("a space within the target", "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n"),
    malformed("a space behind the version", "GET / HTTP/1.1 \r\nhost: a\r\n\r\n"),
    malformed("a method that is no token", "G(T / HTTP/1.1\r\nhost: a\r\n\r\n"),
    malformed("a target without a slash", "GET a HTTP/1.1\r\nhost: a\r\n\r\n"),
    malformed("a fragment in the target", "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n"),
    malformed("a control byte in the target", "GET /a\x01 HTTP/1.1\r\nhost: a\r\n\r\n"),
    malformed("another scheme", "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    malformed("a target for the whole server in a GET", "GET * HTTP/1.1\r\nhost: a\r\n\r\n"),
    malformed("a malformed version", "GET / HTTP/1.x\r\nhost: a\r\n\r\n"),
    malformed("a version in lowercase", "GET / http/1.1\r\nhost: a\r\n\r\n"),
    ("a version to come", "GET / HTTP/9.9\r\nhost: a\r\n\r\n", 505, "version_unsupported"),
    malformed("a bare LF behind the request line", "GET / HTTP/1.1\nhost: a\r\n\r\n"),
    malformed("a bare LF behind a field", "GET / HTTP/1.1\r\nhost: a\n\r\n"),
    malformed("a bare CR within a field", "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n"),
    malformed("a NUL within a field", "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n"),
    malformed("a folded field", "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n"),
    malformed("a space before the first field", "GET / HTTP/1.1\r\n host: a\r\n\r\n"),
    malformed("a space before the colon", "GET / HTTP/1.1\r\nhost : a\r\n\r\n"),
    malformed("a space within a name", "GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n"),
    malformed("no name", "GET / HTTP/1.1\r\nhost: a\r\n: 1\r\n\r\n"),
    malformed("no colon", "GET / HTTP/1.1\r\nhost: a\r\nx\r\n\r\n"),
    malformed("a name beyond ASCII", "GET / HTTP/1.1\r\nhost: a\r\n\u{fc}: 1\r\n\r\n"),
    malformed("no host", "GET / HTTP/1.1\r\n\r\n"),
    malformed("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
    malformed("one host twice", "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n"),
    malformed("a list of hosts", "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n"),
    malformed("a host with a path", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
    malformed("a host with a user", "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n"),
    malformed("a host of another target", "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n"),
    malformed("two lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    malformed("a list of lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2, 2\r\n\r\nab"),
    malformed("a negative length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"),
    malformed("a length with a sign", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +2\r\n\r\nab"),
    malformed(
        "a length beyond all numbers",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n",
    ),
    malformed(
        "a length beside chunks",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    malformed(
        "chunked before another coding",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    malformed("chunked twice", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    malformed("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    malformed("a length in disguise", "POST / HTTP/1.1\r\nhost: a\r\ncontent_length: 2\r\n\r\nab"),
    (
        "an unknown coding",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
        "not_implemented",
    ),
    (
        "an expectation that nobody meets",
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\ncontent-length: 0\r\n\r\n",
        417,
        "expectation_failed",
    ),
    ("a tunnel", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 501, "not_implemented"),
    ("a trace", "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method_not_allowed"),
];

/// Refused when the body is read, behind its route.
const BODIES: [Case; 8] = [
    ("a size that is no number", "zz\r\nbody\r\n0\r\n\r\n", 400, "malformed_body"),
    ("a size with a sign", "+4\r\nbody\r\n0\r\n\r\n", 400, "malformed_body"),
    ("a size with a prefix", "0x4\r\nbody\r\n0\r\n\r\n", 400, "malformed_body"),
    ("a size of seventeen digits", "00000000000000004\r\nbody\r\n0\r\n\r\n", 400, "malformed_body"),
    ("a bare LF behind a size", "4\nbody\r\n0\r\n\r\n", 400, "malformed_body"),
    ("more than its size", "4\r\nbodyguard\r\n0\r\n\r\n", 400, "malformed_body"),
    ("a bare LF behind a chunk", "4\r\nbody\n0\r\n\r\n", 400, "malformed_body"),
    ("a length among the trailers", "4\r\nbody\r\n0\r\ncontent-length: 2\r\n\r\n", 400, "malformed_body"),
];

/// Sends what is refused, checks the whole refusal, and gives the request's id.
fn refusal(gateway: &TestGateway, what: &str, text: &str, status: u16, code: &str) -> String {
    let mut client = RawClient::connect(gateway.address());
    // What stands behind must not be read: it is part of what was refused.
    client.try_send(format!("{text}{}", get("/behind")));
    let mut refused = client.answer_to("GET");
    let id = refused.take("x-request-id").unwrap_or_else(|| panic!("{what}: no id in {refused:?}"));
    refused.take("date");
    let mut problem = refused.json();
    let detail = problem["detail"].take();
    assert!(detail.as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {refused:?}");
    let title = problem["title"].take();
    assert!(title.as_str().is_some_and(|title| !title.is_empty()), "{what}: {refused:?}");
    let expected = json!({
        "type": format!("urn:portolan:fault:{code}"), "title": null, "status": status, "detail": null, "code": code, "request_id": id,
    });
    assert_eq!((problem, refused.status()), (expected, status), "{what}");
    let length = refused.body.len().to_string();
    let mut fields =
        vec![("connection", "close"), ("content-length", &length), ("content-type", "application/problem+json")];
    if status == 405 {
        fields.insert(0, ("allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(refused.fields, fields, "{what}");
    // The answer came first and nothing behind it; then the connection ended, in whatever way.
    assert_eq!(client.rest().1, b"", "{what}");
    id
}

/// The lines of the log by the id of their request.
fn lines_by_id(gateway: &TestGateway, count: usize) -> HashMap<String, Value> {
    let lines = gateway.log(count);
    assert_eq!(lines.len(), count);
    lines.into_iter().map(|line| (line["request_id"].as_str().unwrap().to_owned(), line)).collect()
}

#[test]
fn every_head_that_breaks_a_rule_gets_a_problem_with_its_code_and_one_line_in_the_log() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    let ids = HEADS.map(|(what, text, status, code)| refusal(&gateway, what, text, status, code));
    let lines = lines_by_id(&gateway, HEADS.len());
    for (id, (what, _, status, code)) in ids.iter().zip(HEADS) {
        let line = &lines[id];
        assert_eq!(
            json!([line["status"], line["outcome"], line["fault"], line["client"]]),
            json!([status, "faulted", code, "127.0.0.1"]),
            "{what}: {line}"
        );
    }
    assert_eq!(upstream.count(), 0);
    gateway.get("/").assert_status(200);
}

#[test]
fn a_trace_passes_where_that_is_wanted() {
    let upstream = naming();
    let gateway = listening("trace: allow", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("TRACE /x HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(answer(&mut client, "TRACE"), ok("/x"));
}

#[test]
fn every_body_that_breaks_a_rule_gets_a_problem_and_no_upstream_takes_it_for_whole() {
    let upstream = RawUpstream::start(|peer| {
        while peer.request().is_some() && peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") {}
    });
    let gateway = plain(&upstream.url());
    let ids = BODIES.map(|(what, chunks, status, code)| {
        let text = format!("POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        refusal(&gateway, what, &text, status, code)
    });
    let lines = lines_by_id(&gateway, BODIES.len());
    for (id, (what, ..)) in ids.iter().zip(BODIES) {
        let line = &lines[id];
        assert_eq!(
            json!([line["path"], line["status"], line["fault"]]),
            json!(["/x", 400, "malformed_body"]),
            "{what}: {line}"
        );
    }
    assert_eq!(upstream.requests(), []);
    gateway.get("/").assert_status(200);
}

#[test]
fn what_is_too_long_is_told_which_bound_it_broke_and_what_is_just_short_enough_passes() {
    let upstream = naming();
    let gateway =
        listening("max_request_line: 1KiB, max_header: 2KiB, max_headers: 10, max_head: 4KiB", &upstream.url());
    let line = |size: usize| format!("GET /{} HTTP/1.1", "x".repeat(size - "GET / HTTP/1.1".len()));
    let field = |size: usize| format!("x-a:{}", "x".repeat(size - 4));
    let request = |line: &str, fields: &[String]| {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{line}\r\nhost: a\r\n{fields}\r\n")
    };
    let many = |count: usize| (1..count).map(|number| format!("x-{number}: 1")).collect::<Vec<_>>();
    let plain = "GET / HTTP/1.1";
    for (what, text, status, code) in [
        ("a request line", request(&line(1_025), &[]), 414, "target_too_long"),
        ("a field", request(plain, &[field(2_049)]), 431, "head_too_large"),
        ("fields", request(plain, &many(11)), 431, "head_too_large"),
        ("a head", request(plain, &[field(2_000), field(2_000), field(200)]), 431, "head_too_large"),
    ] {
        refusal(&gateway, what, &text, status, code);
    }
    assert_eq!(upstream.count(), 0);
    let mut client = RawClient::connect(gateway.address());
    for text in [request(&line(1_024), &[]), request(plain, &[field(2_048)]), request(plain, &many(10))] {
        client.send(text);
        assert_eq!(answer(&mut client, "GET").status(), 200);
    }
}

#[test]
fn a_flood_is_cut_off_whatever_it_is_made_of() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for (what, begin, more) in [
        ("a request line", "GET /", "x".repeat(4_096)),
        ("a field's name", "GET / HTTP/1.1\r\nhost: a\r\n", "x".repeat(4_096)),
        ("a field's value", "GET / HTTP/1.1\r\nhost: a\r\nx: ", "x".repeat(4_096)),
        ("fields", "GET / HTTP/1.1\r\nhost: a\r\n", "x: 1\r\n".repeat(500)),
        ("a chunk's extensions", &format!("{chunked}4;x="), "x".repeat(4_096)),
        ("extensions of many chunks", chunked, format!("1;{}\r\na\r\n", "x".repeat(100)).repeat(40)),
        ("trailers", &format!("{chunked}0\r\n"), "x-a: 1\r\n".repeat(500)),
    ] {
        let mut client = RawClient::connect(gateway.address());
        client.send(begin);
        let mut sent = 0;
        // Far beyond every bound, and beyond what a close reads and drops (16 MiB) and sockets hold of the rest.
        while sent < 32 << 20 && client.try_send(&more) {
            sent += more.len();
        }
        assert!(sent < 32 << 20, "{what}: {sent} bytes were taken");
    }
    assert_eq!(upstream.requests(), []);
    gateway.get("/").assert_status(200);
}

#[test]
fn what_is_odd_and_has_one_reading_passes() {
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", request.body.len(), request.text()));
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for (what, text, body) in [
        ("an empty line before the request", "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", ""),
        ("no space behind the colon", "GET / HTTP/1.1\r\nhost:a\r\n\r\n", ""),
        ("space and tabs around a value", "GET / HTTP/1.1\r\nhost: \t a \t\r\n\r\n", ""),
        ("bytes beyond ASCII in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: \u{fc}\u{20ac}\r\n\r\n", ""),
        ("an empty value", "GET / HTTP/1.1\r\nhost: a\r\nx:\r\n\r\n", ""),
        ("a method nobody knows", "BREW / HTTP/1.1\r\nhost: a\r\n\r\n", ""),
        ("a host with a port", "GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", ""),
        ("an absolute target", "GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n", ""),
        ("a body in a GET", "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody", "body"),
        (
            "a coding in capitals",
            "POST / HTTP/1.1\r\nhost: a\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            "body",
        ),
        (
            "a size in capitals",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "0123456789",
        ),
        (
            "a size with zeros before it",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0004\r\nbody\r\n0\r\n\r\n",
            "body",
        ),
        (
            "an extension with a value",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4;a=b;c\r\nbody\r\n0\r\n\r\n",
            "body",
        ),
    ] {
        client.send(text);
        assert_eq!(answer(&mut client, "POST"), ok(body), "{what}");
    }
}
