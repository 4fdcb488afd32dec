//! Upstreams that break off, hang, or answer what no upstream may: each costs its own request and nothing more.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{SECOND, answer, get, ok, plain};
use crate::kit::raw::End;
use crate::kit::wait::Watched;
use crate::kit::{FaultProxy, Message, RawClient, RawUpstream, TestGateway, Way, wait};

const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789";
const CHUNKS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Where the head of an answer ends.
fn head_of(text: &str) -> usize {
    text.find("\r\n\r\n").unwrap() + 4
}

/// Sends a `POST`, which is never sent twice, on a connection of its own.
fn post(gateway: &TestGateway) -> RawClient {
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
    client
}

/// Like [`post`], on a connection that ends behind the answer.
fn last_post(gateway: &TestGateway) -> RawClient {
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody");
    client
}

/// Checks that the next answer is the gateway's own 502, and that its connection goes on.
#[track_caller]
fn assert_broken(client: &mut RawClient, what: &str) {
    let answer = answer(client, "POST");
    assert_eq!((answer.status(), &answer.json()["code"]), (502, &json!("upstream_broken")), "{what}: {answer:?}");
    assert_eq!(answer.field("connection"), None, "{what}: {answer:?}");
}

#[test]
fn an_end_or_a_reset_at_any_byte_of_the_head_is_a_502() {
    let upstream = RawUpstream::answering(LENGTH);
    let proxy = FaultProxy::to(upstream.address());
    let gateway = plain(&proxy.url());
    let mut count = 0;
    for end in [End::Closed, End::Reset] {
        for at in (1..head_of(LENGTH)).step_by(3) {
            proxy.cut_after(Way::Back, at as u64, end);
            assert_broken(&mut post(&gateway), &format!("{end:?} behind {at} bytes"));
            count += 1;
        }
    }
    assert_eq!(upstream.count(), count);
    proxy.pass(Way::Back);
    assert_eq!(answer(&mut post(&gateway), "POST"), ok("0123456789"));
}

#[test]
fn an_end_or_a_reset_at_any_byte_of_the_body_ends_the_answer_short() {
    for text in [LENGTH, CHUNKS] {
        let upstream = RawUpstream::answering(text);
        let proxy = FaultProxy::to(upstream.address());
        let gateway = plain(&proxy.url());
        let mut count = 0;
        for end in [End::Closed, End::Reset] {
            for at in (head_of(text)..text.len()).step_by(2) {
                proxy.cut_after(Way::Back, at as u64, end);
                let told = String::from_utf8(last_post(&gateway).rest().1).unwrap();
                // Where nothing was sent yet, it may still become a problem; otherwise it ends short.
                let last = if text == LENGTH { "0123456789" } else { "0\r\n\r\n" };
                let is_short = !told.contains(last);
                assert!(is_short || told.starts_with("HTTP/1.1 502 "), "{end:?} behind {at} bytes: {told:?}");
                count += 1;
            }
        }
        let lines = gateway.log(count);
        let told = lines.iter().filter(|line| line["outcome"] == "faulted" && line["fault"] == "upstream_broken");
        assert_eq!(told.count(), count, "{lines:#?}");
    }
}

#[test]
fn an_answer_up_to_the_end_of_its_connection_is_not_whole_when_that_was_reset() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\n\r\nhalf");
            // Behind the bytes, not in their place.
            peer.hang();
        }
    });
    let proxy = FaultProxy::to(upstream.address());
    let gateway = plain(&proxy.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    client.read_until("half");
    proxy.end_all(End::Reset);
    assert!(!String::from_utf8(client.rest().1).unwrap().contains("0\r\n\r\n"), "it was ended in good order");
    assert_eq!(gateway.log(1)[0]["fault"], "upstream_broken");
}

/// Answers with what no upstream may send, each refused with 502.
const HOSTILE: [(&str, &str); 27] = [
    ("no HTTP", "\0\x01\x02\r\n\r\n"),
    ("no version", "200 OK\r\n\r\n"),
    ("another protocol", "ICY 200 OK\r\n\r\n"),
    ("an unknown version", "HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ("no status", "HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n"),
    ("a status of two digits", "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n"),
    ("a status of four digits", "HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n"),
    ("a status of zero", "HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n"),
    ("a bare LF", "HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n"),
    ("a bare LF behind a field", "HTTP/1.1 200 OK\r\ncontent-length: 0\n\r\n"),
    ("a bare CR within a field", "HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n"),
    ("a NUL within a field", "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n"),
    ("a control byte in the reason", "HTTP/1.1 200 O\x07K\r\ncontent-length: 0\r\n\r\n"),
    ("a folded field", "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n"),
    ("a space before the colon", "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n"),
    ("a field without a name", "HTTP/1.1 200 OK\r\n: a\r\ncontent-length: 0\r\n\r\n"),
    ("a field without a colon", "HTTP/1.1 200 OK\r\nx-a\r\ncontent-length: 0\r\n\r\n"),
    ("two lengths that differ", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    ("a list of lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab"),
    ("a negative length", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
    ("a length with a sign", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab"),
    ("a length beyond all numbers", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n"),
    ("a length beside chunks", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("an unknown coding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("a coding that does not end in chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("two codings", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
];

#[test]
fn an_answer_that_breaks_the_rules_is_a_502_and_its_connection_is_never_used_again() {
    let turn = Watched::<usize>::default();
    let at = turn.clone();
    let upstream = RawUpstream::start(move |peer| {
        if peer.request().is_some() {
            peer.send(HOSTILE[at.read(|at| *at)].1);
            // Whoever trusts the connection any further would get this as its next answer.
            peer.send(OK);
            peer.hang();
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for (number, (what, _)) in HOSTILE.iter().enumerate() {
        turn.change(|turn| *turn = number);
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
        assert_broken(&mut client, what);
        upstream.wait_for_cancelled(number + 1);
    }
    assert_eq!((upstream.count(), upstream.connections()), (HOSTILE.len(), HOSTILE.len()));
}

#[test]
fn chunks_that_break_the_rules_end_the_answer_short() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    for chunks in
        ["zz\r\nok\r\n", "-2\r\nok\r\n", "2\r\nokay\r\n", "ffffffffffffffffff\r\nok\r\n", "\r\n", "2 2\r\nok\r\n"]
    {
        let upstream = RawUpstream::start(move |peer| {
            if peer.request().is_some() {
                peer.send(HEAD);
                peer.send(chunks);
                peer.send("0\r\n\r\n");
                peer.hang();
            }
        });
        let gateway = plain(&upstream.url());
        let mut client = RawClient::connect(gateway.address());
        client.send(get("/"));
        client.read_head();
        let body = String::from_utf8(client.rest().1).unwrap();
        assert!(!body.contains("0\r\n\r\n"), "{chunks:?}: {body:?}");
        upstream.wait_for_cancelled(1);
    }
}

#[test]
fn a_flood_of_fields_is_a_502_and_ends_soon() {
    for line in ["x-a: 1\r\n".to_owned(), format!("x-{}: 1\r\n", "a".repeat(2_000)), "x".repeat(4_096)] {
        let upstream = RawUpstream::start(move |peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\n");
                while peer.send(line.repeat(16)) {}
                peer.hang();
            }
        });
        let gateway = plain(&upstream.url());
        assert_broken(&mut post(&gateway), "a flood");
        upstream.wait_for_cancelled(1);
    }
}

#[test]
fn a_protocol_switched_unasked_is_a_502() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
            peer.hang();
        }
    });
    let gateway = plain(&upstream.url());
    assert_broken(&mut post(&gateway), "101");
    upstream.wait_for_cancelled(1);
}

#[test]
fn what_comes_behind_an_answer_is_never_taken_for_the_next() {
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            let path = request.start.split(' ').nth(1).unwrap().to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
            // In one segment with the answer.
            peer.send(answer + "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for path in ["/1", "/22", "/333"] {
        client.send(get(path));
        assert_eq!(answer(&mut client, "GET"), ok(path));
    }
    assert_eq!((upstream.count(), upstream.connections()), (3, 3));
}

/// Requests, and answers of every framing to them.
const ANSWERS: [(&str, &str); 5] = [
    ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n"),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
    ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 42\r\n\r\n"),
    ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n"),
];

#[test]
fn whatever_its_framing_what_comes_behind_an_answer_ends_the_connection() {
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            match request.start.split(['/', ' ']).nth(2).and_then(|number| number.parse::<usize>().ok()) {
                // What a GET would have got, or the answer to somebody else's request.
                Some(number) => {
                    peer.send(ANSWERS[number].1.to_owned() + "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
                }
                None => peer.send(OK),
            };
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for (number, (method, text)) in ANSWERS.iter().enumerate() {
        client.send(format!("{method} /{number} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert!(text.starts_with(&answer(&mut client, method).start), "{text:?}");
        client.send(get("/next"));
        assert_eq!(answer(&mut client, "GET"), ok("ok"), "behind {text:?}");
    }
    // Each of the answers was the last of its connection.
    assert_eq!((upstream.count(), upstream.connections()), (2 * ANSWERS.len(), ANSWERS.len() + 1));
}

#[test]
fn an_answer_that_comes_with_the_end_of_its_connection_is_the_last_on_it() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            // Nothing in the answer tells of the end.
            peer.send_last(OK);
            peer.hang();
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
        assert_eq!(answer(&mut client, "POST"), ok("ok"));
    }
    assert_eq!((upstream.count(), upstream.connections()), (20, 20));
}

#[test]
fn a_connection_that_its_service_ends_while_nobody_uses_it_is_let_go_at_once() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            peer.send(OK);
            peer.finish();
            peer.hang();
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for count in 1..=5 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
        assert_eq!(answer(&mut client, "POST"), ok("ok"));
        upstream.wait_for_cancelled(count);
    }
}

#[test]
fn a_kept_connection_on_which_something_arrives_is_closed_and_never_used() {
    let say_more = Watched::<bool>::default();
    let told = say_more.clone();
    let is_first = AtomicBool::new(true);
    let upstream = RawUpstream::start(move |peer| {
        while peer.request().is_some() {
            peer.send(OK);
            if is_first.swap(false, Ordering::Relaxed) {
                told.wait("the upstream may say more", |told| told.then_some(()));
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
                return peer.hang();
            }
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    assert_eq!(answer(&mut client, "GET"), ok("ok"));
    say_more.change(|told| *told = true);
    // Nobody asks anything meanwhile: the connection itself is watched.
    upstream.wait_for_cancelled(1);
    for _ in 0..3 {
        client.send(get("/"));
        assert_eq!(answer(&mut client, "GET"), ok("ok"));
    }
    assert_eq!(upstream.connections(), 2);
}

/// Answers the first request of each connection, and ends the connection at the second as told.
fn ends_at_the_second(how: End, begins: &'static str) -> RawUpstream {
    RawUpstream::start(move |peer| {
        if peer.request().is_some() && peer.send(OK) && peer.request().is_some() {
            peer.send(begins);
            if how == End::Reset {
                peer.reset();
            }
        }
    })
}

#[test]
fn what_may_be_done_twice_is_sent_once_more_when_its_kept_connection_ended_before_the_answer_began() {
    for how in [End::Closed, End::Reset] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            let upstream = ends_at_the_second(how, "");
            let gateway = plain(&upstream.url());
            let mut client = RawClient::connect(gateway.address());
            client.send(get("/"));
            assert_eq!(answer(&mut client, "GET"), ok("ok"));
            client.send(format!("{method} /again HTTP/1.1\r\nhost: a\r\n\r\n"));
            let body = if method == "HEAD" { "" } else { "ok" };
            let expected = Message::new("HTTP/1.1 200 OK", &[("content-length", "2")], body);
            assert_eq!(answer(&mut client, method), expected, "{method}, {how:?}");
            let lines: Vec<_> = upstream.requests().into_iter().map(|request| request.start).collect();
            let again = format!("{method} /again HTTP/1.1");
            assert_eq!(lines, ["GET / HTTP/1.1", &again, &again]);
            assert_eq!((upstream.connections(), gateway.log(2).len()), (2, 2));
        }
    }
}

#[test]
fn a_small_body_is_sent_once_more_with_it() {
    let upstream = ends_at_the_second(End::Reset, "");
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    assert_eq!(answer(&mut client, "GET"), ok("ok"));
    client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
    assert_eq!(answer(&mut client, "PUT"), ok("ok"));
    let bodies: Vec<_> = upstream.requests().iter().map(Message::text).collect();
    assert_eq!(bodies, ["", "body", "body"]);
}

#[test]
fn what_may_not_be_done_twice_is_sent_once() {
    for (method, how) in [
        ("POST", End::Closed),
        ("POST", End::Reset),
        ("PATCH", End::Closed),
        // A method that nobody knows is not known to be harmless.
        ("BREW", End::Reset),
    ] {
        assert_sent_once(method, how, "");
    }
}

#[test]
fn what_was_answered_in_part_is_sent_once() {
    for begins in ["H", "HTTP/1.1 200 OK\r\n"] {
        for how in [End::Closed, End::Reset] {
            assert_sent_once("GET", how, begins);
        }
    }
}

#[test]
fn what_an_interim_answer_came_to_is_sent_once() {
    let upstream = ends_at_the_second(End::Closed, "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n");
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..2 {
        client.send(get("/"));
    }
    assert_eq!(answer(&mut client, "GET"), ok("ok"));
    assert_eq!(client.answer_to("GET"), Message::new("HTTP/1.1 103 Early Hints", &[("link", "a")], ""));
    assert_broken(&mut client, "103");
    assert_eq!(upstream.count(), 2);
}

/// Checks that such a request, on a kept connection that ends like this, is not sent again.
#[track_caller]
fn assert_sent_once(method: &str, how: End, begins: &'static str) {
    let upstream = ends_at_the_second(how, begins);
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    assert_eq!(answer(&mut client, "GET"), ok("ok"));
    client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
    assert_broken(&mut client, method);
    assert_eq!(upstream.count(), 2, "{method}, {how:?} behind {begins:?}");
}

#[test]
fn nothing_is_sent_a_third_time() {
    let upstream = RawUpstream::start(|peer| {
        // Every request to `/gone` ends its connection, on a fresh one too.
        while let Some(request) = peer.request() {
            if request.start.contains("/gone ") {
                return peer.reset();
            }
            peer.send(OK);
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    assert_eq!(answer(&mut client, "GET"), ok("ok"));
    client.send(get("/gone"));
    assert_broken(&mut client, "gone");
    assert_eq!(upstream.count(), 3);
    // And what ends on a fresh connection was not closed while it was idle.
    client.send(get("/gone"));
    assert_broken(&mut client, "gone");
    assert_eq!(upstream.count(), 4);
}

/// A gateway whose upstream has these times.
fn timed(timeouts: &str, upstream: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        workers: 1
        listeners: { public: { address: 127.0.0.1:0, idle_timeout: 24h } }
        upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { {timeouts} }, breaker: off } }
        routes: { all: { path: /**, upstream: service, deadline: 1h } }
        "#,
    )
    .with("timeouts", timeouts)
    .with("upstream", upstream)
    .start()
}

/// Asks an upstream that begins its answer like this and then hangs, and moves the clock until it is let go; gives what the
/// client got.
fn hung(timeouts: &str, begins: &'static str) -> (TestGateway, String) {
    let upstream = RawUpstream::start(move |peer| {
        if peer.request().is_some() {
            peer.send(begins);
            peer.hang();
        }
    });
    let gateway = timed(timeouts, &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
    upstream.wait_for_requests(1);
    gateway.advance_until("the upstream is let go", SECOND, || upstream.cancelled() == 1);
    let told = String::from_utf8(client.rest().1).unwrap();
    (gateway, told)
}

#[test]
fn one_that_hangs_before_its_answer_or_within_its_head_is_a_504() {
    for begins in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nx-a: 1\r\n"] {
        let (gateway, told) = hung("first_byte: 3s, request: 5s", begins);
        assert!(told.starts_with("HTTP/1.1 504 ") && told.contains("\"upstream_timeout\""), "{begins:?}: {told}");
        assert_eq!(gateway.log(1)[0]["fault"], "upstream_timeout");
    }
}

#[test]
fn one_that_hangs_within_its_body_ends_the_answer_short() {
    for begins in [&LENGTH[..LENGTH.len() - 5], &CHUNKS[..CHUNKS.len() - 5], "HTTP/1.1 200 OK\r\n\r\n01234"] {
        let (gateway, told) = hung("idle: 3s, first_byte: 1h, request: 1h", begins);
        assert!(told.contains("01234") && !told.ends_with("0\r\n\r\n"), "{begins:?}: {told}");
        assert_eq!(gateway.log(1)[0]["outcome"], "faulted");
    }
}

/// The answer to a body without end, from a service that takes nothing of it.
fn stalled(timeouts: &str) -> Message {
    let upstream = RawUpstream::start(|peer| peer.stall());
    let gateway = timed(timeouts, &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40));
    client.send_until_blocked(&vec![b'x'; 64 << 20]);
    let reading = std::thread::spawn(move || client.answer_to("POST"));
    gateway.advance_until("the answer comes", SECOND, || reading.is_finished());
    reading.join().unwrap()
}

#[test]
fn one_that_takes_nothing_of_the_request_is_a_504() {
    let answer = stalled("write: 3s, request: 1h, first_byte: 1h");
    assert_eq!((answer.status(), &answer.json()["code"]), (504, &json!("upstream_timeout")));
}

#[test]
fn one_that_has_not_taken_the_request_when_the_time_for_its_answer_is_over_is_to_blame() {
    let answer = stalled("request: 3s, first_byte: 1h, write: 1h");
    assert_eq!((answer.status(), &answer.json()["code"]), (504, &json!("upstream_timeout")));
}

#[test]
fn one_that_answers_and_takes_nothing_more_of_the_request_is_heard_to_its_end() {
    let may_send = Watched::<usize>::default();
    let told = may_send.clone();
    let upstream = RawUpstream::start(move |peer| {
        if peer.head().is_none() {
            return;
        }
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for number in 1..=10 {
            told.wait("the next piece may be sent", |may| (*may >= number).then_some(()));
            peer.send(format!("7\r\npiece {}\r\n", number % 10));
        }
        peer.send("0\r\n\r\n");
        peer.stall();
    });
    let gateway = timed("write: 3s, request: 1h, first_byte: 1h, idle: 1h", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40));
    client.read_head();
    client.send_until_blocked(&vec![b'x'; 64 << 20]);
    for number in 1..=10 {
        gateway.advance(SECOND);
        may_send.change(|may| *may = number);
        assert_eq!(client.next_chunk().as_deref(), Some(format!("piece {}", number % 10).as_bytes()));
    }
    assert_eq!(client.next_chunk(), None);
    assert_eq!((&gateway.log(1)[0]["status"], &gateway.log(1)[0]["outcome"]), (&json!(200), &json!("completed")));
}

#[test]
fn one_that_is_slow_to_take_a_connection_is_waited_for_and_then_given_up() {
    let full = crate::kit::upstream::Full::start();
    let gateway = timed("connect: 3s", &full.url());
    let pending = gateway.call("GET", "/").start();
    gateway.advance_until("the answer comes", SECOND, || pending.is_there());
    pending.answer().assert_problem(502, "upstream_unreachable");
}

#[test]
fn a_connection_that_nobody_hears_of_any_more_costs_one_request() {
    let upstream = RawUpstream::answering(OK);
    let proxy = FaultProxy::to(upstream.address());
    let gateway = timed("first_byte: 3s", &proxy.url());
    gateway.get("/").assert_status(200);
    // The connection stays, and nothing comes through any more: no end, no reset.
    proxy.hold(Way::There);
    proxy.hold(Way::Back);
    let pending = gateway.call("GET", "/").start();
    gateway.advance_until("the answer comes", SECOND, || pending.is_there());
    pending.answer().assert_problem(504, "upstream_timeout");
    proxy.pass(Way::There);
    proxy.pass(Way::Back);
    gateway.get("/").assert_status(200);
    wait::until("the silent connection is let go", || proxy.connections() == 2);
}
