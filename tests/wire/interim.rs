//! Answers before the answer: `100 Continue`, asked for and not, and others that are passed on.

use super::{answer, bare, get, listening, naming, ok, plain, request, whole};
use crate::kit::raw::Peer;
use crate::kit::{Message, RawClient, RawUpstream, TestGateway};

const ASKING: &str = "POST /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn go_on() -> Message {
    Message::new("HTTP/1.1 100 Continue", &[], "")
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on_once_and_its_connection_is_kept() {
    let upstream = super::echo();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..2 {
        client.send(ASKING);
        assert_eq!(client.answer_to("POST"), go_on());
        client.send("body");
        assert_eq!(answer(&mut client, "POST"), ok("body"));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn what_the_gateway_answered_itself_its_upstream_is_not_asked_again() {
    let upstream = super::echo();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(ASKING);
    assert_eq!(client.answer_to("POST"), go_on());
    client.send("body");
    assert_eq!(answer(&mut client, "POST"), ok("body"));
    assert_eq!(bare(upstream.requests().remove(0)), request("POST /x HTTP/1.1", "body"));
}

#[test]
fn a_client_that_asks_and_does_not_wait_is_served() {
    let upstream = super::echo();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("{ASKING}body{}", get("/next")));
    let mut first = client.answer_to("POST");
    if first == go_on() {
        first = client.answer_to("POST");
    }
    assert_eq!((first.status(), first.text().as_str()), (200, "body"));
    assert_eq!(answer(&mut client, "GET"), ok(""));
}

#[test]
fn a_client_that_asks_and_is_refused_is_never_told_to_go_on() {
    let upstream = naming();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { only: { path: /only, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut client = RawClient::connect(gateway.address());
    client.send(ASKING);
    assert_eq!(answer(&mut client, "POST").status(), 404);
    assert_eq!(upstream.count(), 0);
}

/// Answers each request as the script says, once its head is there.
fn by_head(script: impl Fn(&mut Peer, &str) + Send + Sync + 'static) -> RawUpstream {
    RawUpstream::start(move |peer| {
        while let Some(head) = peer.head() {
            script(peer, &head);
        }
    })
}

#[test]
fn the_question_is_passed_on_where_the_upstream_is_to_answer_it() {
    let upstream = by_head(|peer, head| {
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        if head.starts_with("POST /refused ") {
            peer.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
            return;
        }
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(peer.read_bytes(4).as_deref(), Some(&b"body"[..]));
        peer.send(OK);
    });
    let gateway = listening("expect_continue: pass", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(ASKING);
    assert_eq!(client.answer_to("POST"), go_on());
    client.send("body");
    assert_eq!(answer(&mut client, "POST"), ok("ok"));
    client.send(ASKING.replace("/x", "/refused"));
    let mut refused = answer(&mut client, "POST");
    refused.take("connection");
    assert_eq!(refused, whole("HTTP/1.1 403 Forbidden", "no"));
}

#[test]
fn interim_answers_are_passed_on_in_their_order_before_the_answer() {
    let upstream = by_head(|peer, _| {
        peer.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n");
        peer.send(OK);
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..2 {
        client.send(get("/"));
        assert_eq!(client.answer_to("GET"), Message::new("HTTP/1.1 102 Processing", &[], ""));
        let hints = [("link", "</a.css>; rel=preload"), ("link", "</b.js>; rel=preload")];
        assert_eq!(client.answer_to("GET"), Message::new("HTTP/1.1 103 Early Hints", &hints, ""));
        assert_eq!(answer(&mut client, "GET"), ok("ok"));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_interim_answer_is_there_before_the_answer_was_sent() {
    let gone_on = crate::kit::wait::Watched::<bool>::default();
    let opened = gone_on.clone();
    let upstream = by_head(move |peer, _| {
        peer.send("HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n");
        opened.wait("the answer may come", |may| may.then_some(()));
        peer.send(OK);
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    assert_eq!(client.answer_to("GET"), Message::new("HTTP/1.1 103 Early Hints", &[("link", "a")], ""));
    gone_on.change(|may| *may = true);
    assert_eq!(answer(&mut client, "GET"), ok("ok"));
}

#[test]
fn a_client_of_http_1_0_sees_no_interim_answer() {
    let upstream = by_head(|peer, _| {
        peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n");
        peer.send(OK);
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = answer(&mut client, "GET");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
}

#[test]
fn an_upstream_that_says_go_on_unasked_confuses_nobody() {
    let upstream = by_head(|peer, _| {
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        peer.send(OK);
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..3 {
        client.send(get("/"));
        let mut first = client.answer_to("GET");
        if first == go_on() {
            first = client.answer_to("GET");
        }
        assert_eq!((first.status(), first.text().as_str()), (200, "ok"));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upstream_that_never_comes_to_its_answer_is_given_up() {
    let upstream = by_head(|peer, _| while peer.send("HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n".repeat(100)) {});
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    let mut last = client.answer_to("GET");
    while last.status() == 103 {
        last = client.answer_to("GET");
    }
    assert_eq!((last.status(), &last.json()["code"]), (502, &"upstream_broken".into()));
}
