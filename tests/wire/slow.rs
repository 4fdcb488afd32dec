//! Parties that are slow without standing still: one byte a second, by the gateway's clock.

use std::thread;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use super::{SECOND, answer, get, listening, ok, plain, with_listener};
use crate::kit::wait::{self, Watched};
use crate::kit::{RawClient, RawUpstream, TestGateway};

/// Sends these bytes one by one, a second apart, until they have all gone or the other side ended the connection.
fn trickle(gateway: &TestGateway, client: &RawClient, bytes: &[u8], mut took: impl FnMut(usize)) {
    let mut sender = client.sender();
    for (number, byte) in bytes.iter().enumerate() {
        if !sender.try_send([*byte]) {
            return;
        }
        took(number + 1);
        gateway.advance(SECOND);
    }
}

#[test]
fn a_head_of_a_byte_a_second_is_refused_after_its_time_though_it_never_stood_still() {
    let upstream = super::echo();
    let gateway = listening("head_timeout: 10s", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ");
    trickle(&gateway, &client, &[b'x'; 12], |_| {});
    gateway.advance_until("the head is given up", SECOND, || !client.is_quiet());
    let refused = answer(&mut client, "GET");
    assert_eq!((refused.status(), refused.field("connection").as_deref()), (408, Some("close")));
    assert_eq!((&refused.json()["code"], upstream.count()), (&json!("request_timeout"), 0));
    client.rest();
    let line = gateway.log(1).remove(0);
    assert_eq!(json!([line["status"], line["fault"]]), json!([408, "request_timeout"]));
}

#[test]
fn a_head_of_a_byte_a_second_ends_with_its_time_though_it_never_stood_still() {
    let upstream = super::echo();
    let gateway = listening("head_timeout: 10s, idle_timeout: 1h", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ");
    let mut sender = client.sender();
    let reading = thread::spawn(move || client.rest());
    let mut sent = 0;
    wait::until("the connection is ended", || {
        // Beyond its time each byte is one too many; a pace that a busy gateway may see late is no fault of it.
        sent += usize::from(sender.try_send("x"));
        gateway.advance(SECOND);
        reading.is_finished()
    });
    assert!(sent >= 10, "ended after {sent} s");
    let told = String::from_utf8(reading.join().unwrap().1).unwrap();
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 408 "), "{told}");
    assert_eq!(upstream.count(), 0);
}

/// One upstream whose requests and answers may take an hour.
const PATIENT: &str = r#"
    workers: 1
    upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { connect: 10m, first_byte: 1h, request: 1h, idle: 10s }, breaker: off } }
    routes: { all: { path: /**, upstream: service, deadline: 1h } }
"#;

/// An upstream that counts the bytes it has got of a body of this size, and answers when it is whole.
fn counting(size: usize) -> (RawUpstream, Watched<usize>) {
    let got = Watched::<usize>::default();
    let count = got.clone();
    let upstream = RawUpstream::start(move |peer| {
        while peer.head().is_some() {
            for _ in 0..size {
                if peer.read_bytes(1).is_none() {
                    return peer.hang();
                }
                count.change(|got| *got += 1);
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    (upstream, got)
}

#[test]
fn a_body_of_a_byte_a_second_is_refused_once_its_rate_is_judged() {
    let (upstream, got) = counting(1_000);
    let gateway = with_listener("min_body_rate: 240B", PATIENT).with("upstream", upstream.url()).start();
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n");
    upstream.wait_for(1);
    let mut sent = 0;
    let mut sender = client.sender();
    while client.is_quiet() && sender.try_send("x") {
        sent += 1;
        wait::until("the byte arrives, or is one too many", || got.read(|got| *got >= sent) || !client.is_quiet());
        gateway.advance(SECOND);
    }
    let refused = answer(&mut client, "POST");
    assert_eq!((refused.status(), &refused.json()["code"]), (408, &json!("request_timeout")));
    assert!(sent >= 10, "refused after {sent} s, before its rate counts");
    upstream.wait_for_cancelled(1);
}

#[test]
fn a_body_that_stands_still_is_given_up_after_its_time_and_not_before() {
    let (upstream, got) = counting(10);
    let gateway =
        with_listener("body_timeout: 20s, min_body_rate: off", PATIENT).with("upstream", upstream.url()).start();
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    got.wait("half of it arrives", |got| (*got == 4).then_some(()));
    gateway.advance(19 * SECOND);
    assert!(client.is_quiet(), "given up too soon");
    gateway.advance_until("the body is given up", SECOND, || !client.is_quiet());
    let refused = answer(&mut client, "POST");
    assert_eq!((refused.status(), refused.field("connection").as_deref()), (408, Some("close")));
    assert_eq!(refused.json()["code"], "request_timeout");
    upstream.wait_for_cancelled(1);
}

#[test]
fn over_http_2_a_body_that_is_too_slow_ends_its_stream_alone() {
    type Sent = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, std::convert::Infallible>;
    let upstream = super::naming();
    let gateway =
        with_listener("min_body_rate: 240B, body_timeout: 1h", PATIENT).with("upstream", upstream.url()).start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut sender = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, Sent>(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        sender
    });
    // One byte, and then nothing.
    let byte = stream::iter([Ok(http_body::Frame::data(bytes::Bytes::from_static(b"x")))]).chain(stream::pending());
    let request = http::Request::post("http://a/slow").body(StreamBody::new(byte).boxed_unsync()).unwrap();
    let slow = runtime.spawn(sender.send_request(request));
    let turn = || runtime.block_on(tokio::task::yield_now());
    wait::until("the call begins", || {
        turn();
        upstream.connections() == 1
    });
    let mut seconds = 0;
    gateway.advance_until("the body is given up", SECOND, || {
        seconds += 1;
        turn();
        slow.is_finished()
    });
    assert!(seconds >= 10, "refused after {seconds} s, before its rate counts");
    let refused = runtime.block_on(slow).unwrap().unwrap();
    assert_eq!(refused.status(), 408);
    let request = http::Request::get("http://a/next").body(http_body_util::Empty::new().boxed_unsync()).unwrap();
    let next = runtime.block_on(sender.send_request(request)).unwrap();
    assert_eq!(next.status(), 200);
}

#[test]
fn a_body_of_a_byte_a_second_passes_where_no_rate_is_asked_for() {
    let (upstream, got) = counting(100);
    let gateway = with_listener("min_body_rate: off", PATIENT).with("upstream", upstream.url()).start();
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n");
    trickle(&gateway, &client, &[b'x'; 100], |sent| {
        got.wait("the byte arrives", |got| (*got >= sent).then_some(()));
    });
    assert_eq!(answer(&mut client, "POST"), ok("ok"));
}

#[test]
fn a_body_of_a_piece_in_thirty_seconds_passes() {
    const PIECE: usize = 16 * 1024;
    let (upstream, got) = counting(10 * PIECE);
    let gateway = TestGateway::with_config(PATIENT).with("upstream", upstream.url()).start();
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 10 * PIECE));
    for number in 1..=10 {
        client.send([b'x'; PIECE]);
        got.wait("the piece arrives", |got| (*got >= number * PIECE).then_some(()));
        gateway.advance(30 * SECOND);
    }
    assert_eq!(answer(&mut client, "POST"), ok("ok"));
}

#[test]
fn an_answer_of_a_byte_in_five_seconds_passes_whatever_the_deadline_of_its_head_was() {
    let may_send = Watched::<usize>::default();
    let allowed = may_send.clone();
    let upstream = RawUpstream::start(move |peer| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n");
            for number in 1..=50 {
                allowed.wait("the next byte may go", |allowed| (*allowed >= number).then_some(()));
                peer.send("x");
            }
        }
    });
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { first_byte: 10s, request: 10s, idle: 10s } } }
        routes: { all: { path: /**, upstream: service, deadline: 10s } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    client.read_head();
    for number in 1..=50 {
        may_send.change(|may| *may = number);
        assert_eq!(client.read_bytes(1), b"x", "byte {number}");
        gateway.advance(5 * SECOND);
    }
    assert_eq!(gateway.log(1)[0]["outcome"], "completed");
}

#[test]
fn an_answers_head_of_a_byte_a_second_is_a_504_after_its_time() {
    let upstream = RawUpstream::start(|peer| {
        if peer.head().is_some() && peer.send("HTTP/1.1 200 OK\r\nx-slow: ") {
            while peer.send("x") {
                thread::park_timeout(Duration::from_millis(1));
            }
        }
    });
    let gateway = plain(&upstream.url());
    let pending = gateway.call("POST", "/").body("body").start();
    upstream.wait_for(1);
    gateway.advance_until("the answer comes", SECOND, || pending.is_there());
    // Or it had more bytes than a head may have before its time was over.
    let answer = pending.answer();
    assert!(matches!(answer.status, 502 | 504), "{answer:?}");
}

/// An upstream that sends so many pieces of 64 KiB and counts those that were taken.
fn flowing(pieces: usize) -> (RawUpstream, Watched<usize>) {
    let taken = Watched::<usize>::default();
    let count = taken.clone();
    let upstream = RawUpstream::start(move |peer| {
        if peer.head().is_some() {
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", pieces * PIECE));
            while count.read(|taken| *taken < pieces) && peer.send([b'x'; PIECE]) {
                count.change(|taken| *taken += 1);
            }
            peer.hang();
        }
    });
    (upstream, taken)
}

const PIECE: usize = 64 * 1024;

#[test]
fn a_client_that_reads_a_byte_a_second_is_cut_and_its_upstream_let_go() {
    let (upstream, _) = flowing(1_000);
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect_narrow(gateway.address());
    client.send(get("/"));
    client.read_head();
    let mut seconds = 0;
    gateway.advance_until("the upstream is let go", SECOND, || {
        // What it reads has long arrived: its window stays shut.
        assert_eq!(client.read_bytes(1), b"x");
        seconds += 1;
        upstream.cancelled() == 1
    });
    assert!(seconds >= 60, "cut after {seconds} s");
    let line = &gateway.log(1)[0];
    assert_eq!(json!([line["status"], line["outcome"]]), json!([200, "cancelled"]));
}

#[test]
fn a_client_that_reads_a_little_now_and_then_gets_all_of_it() {
    const PIECES: usize = 320;
    let (upstream, taken) = flowing(PIECES);
    let gateway =
        TestGateway::with_config(&PATIENT.replace("idle: 10s", "idle: 1h")).with("upstream", upstream.url()).start();
    let mut client = RawClient::connect_narrow(gateway.address());
    client.send(get("/"));
    client.read_head();
    let mut read = 0;
    while read < PIECES {
        let before = taken.read(|taken| *taken);
        // Until there is room again at every station of the way; how much that takes is the system's own affair.
        while read < PIECES && taken.read(|taken| *taken == before && *taken < PIECES) {
            assert!(client.read_bytes(PIECE).iter().all(|byte| *byte == b'x'));
            read += 1;
        }
        let last = (PIECES - read).min(8);
        assert!(client.read_bytes(last * PIECE).iter().all(|byte| *byte == b'x'));
        read += last;
        gateway.advance(25 * SECOND);
    }
    assert_eq!(gateway.log(1)[0]["outcome"], "completed");
}

#[test]
fn a_client_that_asks_on_and_takes_nothing_is_answered_no_further_and_cut() {
    const ASKED: usize = 1_000;
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", 32 * 1024, "x".repeat(32 * 1024));
    let upstream = RawUpstream::answering(large);
    let gateway = with_listener("write_timeout: 10s", PATIENT).with("upstream", upstream.url()).start();
    let mut client = RawClient::connect_narrow(gateway.address());
    client.send(get("/").repeat(ASKED));
    let mut sender = client.sender();
    gateway.advance_until("the client is cut", SECOND, || !sender.try_send("GET"));
    assert!(upstream.count() < ASKED, "all {ASKED} were asked for a client that read nothing");
}
