//! What belongs to one hop stays there; what belongs to the message passes as it is; what the gateway adds.

use super::{answer, get, ok, plain, request};
use crate::kit::{Message, RawClient, RawUpstream, TestGateway};

/// What the upstream of [`super::echo`] saw of a request, sent as it stands here, without the request's id.
fn seen_of(gateway: &TestGateway, upstream: &RawUpstream, text: &str) -> Message {
    let before = upstream.requests().len();
    let mut client = RawClient::connect(gateway.address());
    client.send(text);
    assert_eq!(answer(&mut client, "POST").status(), 200);
    let mut seen = upstream.wait_for_requests(before + 1).remove(before);
    let id = seen.take("x-request-id").expect("the upstream is told the request's id");
    assert!(super::is_id(&id), "{id}");
    seen
}

/// The host of an upstream.
fn host(upstream: &RawUpstream) -> String {
    upstream.address().to_string()
}

#[test]
fn a_request_leaves_without_the_fields_of_its_hop_and_says_where_it_has_been() {
    let upstream = super::echo();
    let gateway = plain(&upstream.url());
    let mut seen = seen_of(
        &gateway,
        &upstream,
        "POST /a%20b?c=d HTTP/1.1\r\nHost: shop.example:80\r\nConnection: keep-alive, X-Hop ,, x-other\r\nconnection: X-Third\r\nX-Hop: 1\r\n\
         x-other: 2\r\nX-THIRD: 3\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\n\
         Proxy-Authorization: Basic abc\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\nTrailer: x-sum\r\nAccept: a, b\r\nX-Twice: 1\r\nX-Twice: 2\r\n\
         Via: 1.0 edge\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: mine\r\n\
         X-Empty:\r\nX-Bytes: \u{fc}\r\nContent-Length: 4\r\n\r\nbody",
    );
    if let Some(port) = seen.take("x-forwarded-port") {
        assert_eq!(port, gateway.address().port().to_string());
    }
    // As one field or as two, it is one list.
    assert_eq!(seen.take("via").as_deref(), Some("1.0 edge, 1.1 portolan"));
    let endpoint = host(&upstream);
    let fields = [
        ("accept", "a, b"),
        ("content-length", "4"),
        ("host", &endpoint),
        ("x-bytes", "\u{fc}"),
        ("x-empty", ""),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "shop.example:80"),
        ("x-forwarded-proto", "http"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ];
    assert_eq!(seen, Message::new("POST /a%20b?c=d HTTP/1.1", &fields, "body"));
}

#[test]
fn a_client_cannot_take_away_what_frames_or_addresses_its_request() {
    let upstream = super::echo();
    let gateway = plain(&upstream.url());
    for framing in ["content-length: 4\r\n\r\nbody", "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
        let named = "connection: close, host, content-length, transfer-encoding, via, x-forwarded-for, x-request-id";
        let mut seen = seen_of(&gateway, &upstream, &format!("POST / HTTP/1.1\r\nhost: a\r\n{named}\r\n{framing}"));
        assert_eq!(seen.take("host"), Some(host(&upstream)));
        assert_eq!(seen.take("via").as_deref(), Some("1.1 portolan"));
        assert_eq!(seen.take("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        // One of the two, and the body is whole.
        let framed = [seen.take("content-length"), seen.take("transfer-encoding")];
        assert_eq!(framed.iter().flatten().count(), 1, "{framed:?}");
        assert_eq!(seen.text(), "body");
    }
}

#[test]
fn an_http_1_0_request_is_passed_on_in_1_1_and_told_apart_in_via() {
    let upstream = super::echo();
    let gateway = plain(&upstream.url());
    let mut seen = seen_of(&gateway, &upstream, "POST / HTTP/1.0\r\ncontent-length: 4\r\n\r\nbody");
    assert_eq!(seen.take("via").as_deref(), Some("1.0 portolan"));
    assert_eq!(seen.take("x-forwarded-host"), None);
    seen.take("host");
    seen.fields.retain(|(name, _)| !name.starts_with("x-forwarded-"));
    assert_eq!(seen, request("POST / HTTP/1.1", "body"));
}

#[test]
fn an_answer_arrives_without_the_fields_of_its_hop_and_with_all_others_in_their_order() {
    let upstream = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nSet-Cookie: a=1; Path=/\r\nX-Bytes: \u{fc}\r\n\
         Set-Cookie: b=2\r\nVary: accept\r\nSet-Cookie: a=3\r\nX-Empty:\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    let mut seen = client.answer_to("GET");
    assert!(seen.take("x-request-id").is_some());
    // A gateway may say where an answer has been (RFC 9110, section 7.6.3).
    assert!(matches!(seen.take("via").as_deref(), None | Some("1.1 portolan")), "{seen:?}");
    let fields = [
        ("content-length", "2"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "b=2"),
        ("set-cookie", "a=3"),
        ("vary", "accept"),
        ("x-bytes", "\u{fc}"),
        ("x-empty", ""),
    ];
    assert_eq!(seen, Message::new("HTTP/1.1 200 OK", &fields, "ok"));
}

#[test]
fn an_upstream_cannot_take_away_what_frames_its_answer() {
    let upstream = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\nconnection: content-length, x-request-id, keep-alive\r\ncontent-length: 2\r\n\r\nok",
    );
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..2 {
        client.send(get("/"));
        assert_eq!(answer(&mut client, "GET").text(), "ok");
    }
}

#[test]
fn a_request_for_the_whole_server_keeps_its_target() {
    let upstream = super::echo();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("OPTIONS /x HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(answer(&mut client, "OPTIONS"), ok(""));
    // An absolute target is passed on as its path (RFC 9112, section 3.2.1).
    client.send("GET http://a/y?z HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(answer(&mut client, "GET"), ok(""));
    let lines: Vec<_> = upstream.requests().into_iter().map(|request| request.start).collect();
    assert_eq!(lines, ["OPTIONS /x HTTP/1.1", "GET /y?z HTTP/1.1"]);
}

#[test]
fn a_client_cannot_take_away_what_a_rule_sets_by_asking_for_an_upgrade() {
    let config = r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service, headers: { request: { set: { x-tenant: acme } } } } }
    "#;
    let upstream = super::echo();
    let gateway = TestGateway::with_config(config).with("upstream", upstream.url()).start();
    for protocol in ["websocket", "h2c"] {
        let text = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, x-tenant\r\nupgrade: {protocol}\r\n\r\n");
        let mut seen = seen_of(&gateway, &upstream, &text);
        assert_eq!(seen.take("x-tenant").as_deref(), Some("acme"), "{protocol}");
    }
}
