//! The parts for tests of the wire, tested on themselves.

use std::net::SocketAddr;

use serde_json::json;

use super::fault_proxy::{FaultProxy, Way};
use super::foreign::{PythonClient, SegmentClient, SegmentService, WebSocketEcho, curl};
use super::message::Message;
use super::nginx::Nginx;
use super::raw::End;
use super::{RawClient, RawUpstream};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn behind_a_proxy(upstream: &RawUpstream) -> (FaultProxy, RawClient) {
    let proxy = FaultProxy::to(upstream.address());
    let client = RawClient::connect(proxy.address());
    (proxy, client)
}

fn ok() -> Message {
    Message::new("HTTP/1.1 200 OK", &[("content-length", "2")], "ok")
}

#[test]
fn a_proxy_passes_holds_and_meters_each_way_on_its_own() {
    let upstream = RawUpstream::answering(OK);
    let (proxy, mut client) = behind_a_proxy(&upstream);
    client.send(GET);
    assert_eq!(client.answer_to("GET"), ok());
    proxy.hold(Way::There);
    client.send(GET);
    assert!(client.is_quiet());
    proxy.allow(Way::There, 10);
    proxy.wait_for_passed(Way::There, GET.len() as u64 + 10);
    assert_eq!(upstream.count(), 1, "a head passed of which ten bytes may");
    proxy.hold(Way::Back);
    proxy.pass(Way::There);
    upstream.wait_for(2);
    assert!(client.is_quiet());
    proxy.allow(Way::Back, OK.len() as u64 - 1);
    proxy.wait_for_passed(Way::Back, 2 * OK.len() as u64 - 1);
    proxy.allow(Way::Back, 1);
    assert_eq!(client.answer_to("GET"), ok());
    proxy.swallow(Way::There);
    client.send(GET);
    proxy.finish(Way::Back);
    assert_eq!((client.end(), upstream.count()), (End::Closed, 2));
}

#[test]
fn a_proxy_cuts_after_a_byte_and_ends_in_good_order_or_with_a_reset() {
    let upstream = RawUpstream::answering(OK);
    for end in [End::Closed, End::Reset] {
        let (proxy, mut client) = behind_a_proxy(&upstream);
        proxy.cut_after(Way::Back, 10, end);
        client.send(GET);
        assert_eq!(client.read_bytes(10), OK.as_bytes()[..10]);
        assert_eq!(client.end(), end);
        proxy.wait_for_open(0);

        let (proxy, mut client) = behind_a_proxy(&upstream);
        client.send(GET);
        assert_eq!(client.answer_to("GET"), ok());
        proxy.end_all(end);
        assert_eq!(client.end(), end);
        // The next connection is served.
        let mut client = RawClient::connect(proxy.address());
        client.send(GET);
        assert_eq!((client.answer_to("GET"), proxy.connections()), (ok(), 2));
    }
}

#[test]
fn a_proxy_passes_on_the_end_of_one_way_and_a_reset() {
    let upstream = RawUpstream::start(|peer| {
        peer.hang();
        peer.send(OK);
    });
    let (_proxy, mut client) = behind_a_proxy(&upstream);
    client.finish();
    assert_eq!(client.answer_to("GET"), ok());
    assert_eq!(client.end(), End::Closed);
    let resetting = RawUpstream::start(|peer| peer.reset());
    let (_proxy, mut client) = behind_a_proxy(&resetting);
    assert_eq!(client.end(), End::Reset);
}

#[test]
fn segments_are_counted_on_either_side() {
    for (pieces, segments) in [(&[OK][..], 1), (&OK.split_inclusive("\r\n\r\n").collect::<Vec<_>>(), 2)] {
        let pieces: Vec<_> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let upstream = RawUpstream::start(move |peer| {
            while peer.head().is_some() {
                assert!(pieces.iter().all(|piece| peer.send(piece)));
            }
        });
        let mut client = SegmentClient::connect(upstream.address());
        assert_eq!([client.ask(GET), client.ask(GET)], [(200, segments); 2]);
    }
    let mut service = SegmentService::start();
    let mut client = RawClient::connect(service.address());
    let (head, body) = ("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n", "ok");
    client.send_pieces([head, body]);
    assert_eq!(client.answer_to("POST").status(), 204);
    client.send([head, body].concat());
    assert_eq!(client.answer_to("POST").status(), 204);
    assert_eq!(service.seen(), [2, 1].map(|segments| ("POST / HTTP/1.1".to_owned(), segments)));
}

#[test]
fn messages_are_read_to_the_letter() {
    let answers = [
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
        ("GET", "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\n\r\nto the end"),
    ];
    let all: String = answers.iter().map(|(_, answer)| *answer).collect();
    let upstream = RawUpstream::start(move |peer| {
        peer.head();
        peer.send(&all);
    });
    let mut client = RawClient::connect(upstream.address());
    client.send(GET);
    let read: Vec<_> = answers.iter().map(|(method, _)| client.answer_to(method)).collect();
    let expected = [
        Message::new("HTTP/1.1 200 OK", &[("transfer-encoding", "chunked")], "ok").with_trailers(&[("x-sum", "1")]),
        Message::new("HTTP/1.1 200 OK", &[("content-length", "2")], ""),
        Message::new("HTTP/1.1 103 Early Hints", &[("link", "a")], ""),
        Message::new("HTTP/1.1 200 OK", &[], "to the end"),
    ];
    assert_eq!(read, expected);
    for wrong in [
        "HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n no field\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
    ] {
        let upstream = RawUpstream::start(move |peer| {
            peer.head();
            peer.send(wrong);
        });
        let mut client = RawClient::connect(upstream.address());
        client.send(GET);
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.answer_to("GET")));
        assert!(read.is_err(), "{wrong:?} was read as {read:?}");
    }
}

#[test]
fn an_upstream_reads_whole_requests_and_the_end_of_a_client_is_told_from_its_reset() {
    let upstream = RawUpstream::start(|peer| while peer.request().is_some() && peer.send(OK) {});
    let mut client = RawClient::connect(upstream.address());
    client.send_pieces(["POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r", "\na\r\n0\r\nx: 1\r\n\r\n"]);
    assert_eq!(client.answer_to("POST"), ok());
    let seen = Message::new("POST / HTTP/1.1", &[("transfer-encoding", "chunked")], "a").with_trailers(&[("x", "1")]);
    assert_eq!((upstream.requests(), upstream.connections()), (vec![seen], 1));
    client.reset();
    upstream.wait_for_open(0);
}

#[test]
fn foreign_clients_and_nginx_understand_one_another() {
    let nginx = Nginx::start("location /made { return 201 made; }\nlocation /up { dav_methods PUT; }");
    nginx.file("hello", "hello from a file");
    let url = nginx.url();
    assert_eq!(curl(&[&format!("{url}/hello")]).text(), "hello from a file");
    let mut python = PythonClient::connect(nginx.address());
    let made = python.ask(json!({ "method": "GET", "target": "/made" }));
    assert_eq!(json!([made["status"], made["body"], made["new_connection"]]), json!([201, "made", true]));
    let taken = python.ask(json!({ "method": "PUT", "target": "/up", "chunks": ["one ", "two"] }));
    assert_eq!(json!([taken["status"], taken["new_connection"]]), json!([201, false]));
    assert_eq!(nginx.read("up"), b"one two");
}

#[test]
fn a_foreign_websocket_service_gives_back_messages_and_refuses() {
    let echo = WebSocketEcho::start();
    let address: SocketAddr = echo.url().strip_prefix("http://").unwrap().parse().unwrap();
    let mut client = RawClient::connect(address);
    let upgrade = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
    };
    client.send(upgrade("/"));
    assert_eq!(client.answer_to("GET").status(), 101);
    // A text of two letters, masked with zeros.
    client.send([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    assert_eq!(client.read_bytes(4), [0x81, 2, b'h', b'i']);
    let mut client = RawClient::connect(address);
    client.send(upgrade("/refused"));
    assert_eq!(client.answer_to("GET").status(), 403);
}
