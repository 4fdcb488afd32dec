//! What passes through: heads, bodies, and the news that a client is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{PLAIN, plain};
use crate::kit::{FakeUpstream, RawClient, RawUpstream, Reply, TestGateway};

#[test]
fn an_upstream_sees_the_request_as_it_was_written_and_who_sent_it() {
    let upstream = FakeUpstream::answering(200, json!({}));
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(
        "POST /a%20b/%C3%BC?c=d&c=%26 HTTP/1.1\r\nHost: shop.example\r\nX-Twice: 1\r\nX-Twice: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\n\
         TE: trailers\r\nKeep-Alive: 5\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Length: 4\r\n\r\nbody",
    );
    assert!(client.read_head().starts_with("HTTP/1.1 200"));
    let mut seen = upstream.the_request();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), seen.text()),
        ("POST", "/a%20b/%C3%BC?c=d&c=%26", "body".into())
    );
    seen.headers.retain(|(name, value)| name != "x-request-id" || value.len() != 32);
    seen.headers.sort();
    let endpoint = upstream.address().to_string();
    let expected = [
        ("content-length", "4"),
        ("host", &endpoint),
        ("via", "1.1 portolan"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", &gateway.address().port().to_string()),
        ("x-forwarded-proto", "http"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ];
    assert_eq!(seen.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn an_answer_comes_back_as_it_was_sent_whatever_it_says() {
    let upstream = FakeUpstream::start(|seen| match seen.target.as_str() {
        "/made" => Reply::json(201, &json!({ "id": 1 })).header("location", "/orders/1"),
        "/empty" => Reply::bytes(204, ""),
        "/same" => Reply::bytes(304, "").header("etag", "\"1\""),
        "/gone" => Reply::bytes(410, "its own words").header("x-a", "1").header("x-a", "2"),
        _ => Reply::bytes(500, "its own failure"),
    });
    let gateway = plain(&upstream.url());
    let told = |target: &str, name: &str| {
        let answer = gateway.get(target);
        assert_eq!(answer.header("x-request-id").map(|id| id.len()), Some(32), "{target}");
        (answer.status, answer.header(name), answer.text())
    };
    assert_eq!(told("/made", "location"), (201, Some("/orders/1".into()), "{\"id\":1}".into()));
    assert_eq!(told("/empty", "content-type"), (204, None, String::new()));
    assert_eq!(told("/same", "etag"), (304, Some("\"1\"".into()), String::new()));
    assert_eq!(told("/gone", "x-a"), (410, Some("1, 2".into()), "its own words".into()));
    assert_eq!(told("/failing", "content-type"), (500, None, "its own failure".into()));
}

#[test]
fn an_answer_streams_its_first_piece_is_there_before_the_second_was_sent() {
    let (upstream, feed) = FakeUpstream::fed();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    feed.send("first");
    assert!(client.read_until("first").contains("HTTP/1.1 200"));
    feed.send("second");
    client.read_until("second");
    feed.end();
    client.read_until("0\r\n\r\n");
}

#[test]
fn a_request_streams_its_first_piece_is_there_before_the_second_was_sent() {
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    upstream.wait_until("the first piece", |seen| seen.body == b"first");
    client.send("6\r\nsecond\r\n0\r\n\r\n");
    let (_, body) = client.read_answer();
    assert_eq!(body, "firstsecond");
}

#[test]
fn a_large_body_passes_both_ways_unchanged() {
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url());
    let body: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let answer = gateway.call("POST", "/").body(body.clone()).send();
    assert!(answer.body == body, "{} bytes came back of {}", answer.body.len(), body.len());
}

#[test]
fn a_client_that_leaves_cancels_the_call_wherever_it_stands() {
    let waiting = FakeUpstream::hanging();
    let gateway = plain(&waiting.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    waiting.wait_for(1);
    drop(client);
    waiting.wait_for_cancelled(1);
    assert_eq!(gateway.log(1)[0]["outcome"], "cancelled");

    let (reading, feed) = FakeUpstream::fed();
    let gateway = plain(&reading.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    feed.send("first");
    client.read_until("first");
    drop(client);
    reading.wait_for_cancelled(1);
    assert_eq!(gateway.log(1)[0]["outcome"], "cancelled");

    let sending = FakeUpstream::echo();
    let gateway = plain(&sending.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    sending.wait_until("half a body", |seen| seen.body == b"half");
    drop(client);
    sending.wait_for_cancelled(1);
    assert!(!sending.the_request().whole);
}

#[test]
fn a_client_that_stops_reading_holds_back_its_upstream_and_nobody_else() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 1_000;
    let taken = Arc::new(AtomicUsize::new(0));
    let upstream = RawUpstream::start({
        let taken = taken.clone();
        move |peer| {
            let Some(head) = peer.head() else { return };
            if head.starts_with("GET /small") {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nsmall");
                return;
            }
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECE * PIECES));
            while taken.load(Ordering::Relaxed) < PIECE * PIECES && peer.send([b'x'; PIECE]) {
                taken.fetch_add(PIECE, Ordering::Relaxed);
            }
        }
    });
    let gateway = plain(&upstream.url());
    let mut stalled = RawClient::connect(gateway.address());
    stalled.send("GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stalled.read_head();
    for _ in 0..50 {
        assert_eq!(gateway.get("/small").text(), "small");
    }
    // What the sockets of both sides hold is some megabytes; the rest waits at the upstream.
    let so_far = taken.load(Ordering::Relaxed);
    assert!(so_far < PIECE * PIECES / 2, "{so_far} bytes were taken for a client that does not read");
    assert_eq!(stalled.read_to_end().len(), PIECE * PIECES);
}

#[test]
fn a_connection_to_an_upstream_serves_one_request_after_the_other() {
    let upstream = FakeUpstream::echo();
    let one_worker = format!("workers: 1\n{}", crate::kit::gateway::unindented(PLAIN));
    let gateway = TestGateway::with_config(&one_worker).with("upstream", upstream.url()).start();
    for number in 0..5 {
        let body = format!("number {number}");
        assert_eq!(gateway.call("POST", "/").body(body.as_str()).send().text(), body);
    }
    assert_eq!((upstream.count(), upstream.connections()), (5, 1));
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    let upstream = FakeUpstream::start(|seen| Reply::bytes(200, seen.target.clone()));
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client
        .send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\nGET /3 HTTP/1.1\r\nhost: a\r\n\r\n");
    let bodies: Vec<_> = (0..3).map(|_| client.read_answer().1).collect();
    assert_eq!(bodies, ["/1", "/2", "/3"]);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    assert!(client.read_head().starts_with("HTTP/1.1 100"));
    client.send("body");
    let (head, body) = client.read_answer();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "body");
}

#[test]
fn an_old_client_gets_its_answer_and_the_end_of_the_connection() {
    let upstream = FakeUpstream::answering(200, json!("hello"));
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.0\r\n\r\n");
    let all = client.read_to_end();
    assert!(all.starts_with("HTTP/1.0 200") || all.starts_with("HTTP/1.1 200"), "{all}");
    assert!(all.ends_with("\"hello\""), "{all}");
    assert_eq!(upstream.the_request().header("x-forwarded-host"), None);
}

#[test]
fn http_2_is_served_on_the_same_port() {
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url());
    let (status, body) = over_http2(gateway.address(), "/x", "over two");
    assert_eq!((status, body.as_str()), (200, "over two"));
    let seen = upstream.the_request();
    assert_eq!((seen.target.as_str(), seen.header("via")), ("/x", Some("2 portolan".into())));
    gateway.call("POST", "/x").body("over one").send().assert_status(200);
}

/// A `POST` with prior knowledge of HTTP/2 (RFC 9113, section 3.3).
fn over_http2(address: std::net::SocketAddr, target: &str, body: &str) -> (u16, String) {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asking = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::post(format!("http://{address}{target}"))
            .body(Full::new(bytes::Bytes::copy_from_slice(body.as_bytes())));
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    runtime.block_on(asking)
}
