//! Which connections serve another request, and that answers keep the order of their requests.

use super::{SECOND, answer, echo, get, listening, naming, ok, plain, request, whole};
use crate::kit::raw::End;
use crate::kit::wait::Watched;
use crate::kit::{Message, RawClient, RawUpstream, TestGateway};

#[test]
fn one_connection_on_each_side_serves_requests_of_all_kinds() {
    let upstream = echo();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    let post = "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
    let head = "HEAD /3 HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send(get("/1"));
    assert_eq!(answer(&mut client, "GET"), ok(""));
    client.send(post);
    assert_eq!(answer(&mut client, "POST"), ok("body"));
    client.send(head);
    assert_eq!(answer(&mut client, "HEAD"), ok(""));
    client.send(post.replace("/2", "/4"));
    assert_eq!(answer(&mut client, "POST"), ok("body"));
    let seen: Vec<_> = upstream.wait_for_requests(4).into_iter().map(super::bare).collect();
    let expected = [
        request("GET /1 HTTP/1.1", ""),
        request("POST /2 HTTP/1.1", "body"),
        request("HEAD /3 HTTP/1.1", ""),
        request("POST /4 HTTP/1.1", "body"),
    ];
    assert_eq!((seen, upstream.connections()), (expected.to_vec(), 1));
}

#[test]
fn requests_sent_ahead_wait_for_a_slow_first_answer_and_are_answered_in_their_order() {
    let may_answer = Watched::<bool>::default();
    let opened = may_answer.clone();
    let upstream = RawUpstream::start(move |peer| {
        while let Some(request) = peer.request() {
            if request.start.contains(" /slow ") {
                opened.wait("the slow answer may come", |may| may.then_some(()));
            }
            let body = [request.start.as_bytes(), b" ", &request.body].concat();
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()));
            if !request.start.starts_with("HEAD ") {
                peer.send(body);
            }
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(
        "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n\
         POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody\
         POST /3 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n\
         HEAD /4 HTTP/1.1\r\nhost: a\r\n\r\n\
         GET /5 HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    upstream.wait_for_requests(1);
    assert!(client.is_quiet(), "an answer overtook the slow one");
    may_answer.change(|may| *may = true);
    let answers = ["GET", "POST", "POST", "HEAD", "GET"].map(|method| answer(&mut client, method));
    let head_only = Message::new("HTTP/1.1 200 OK", &[("content-length", "17")], "");
    let expected = [
        ok("GET /slow HTTP/1.1 "),
        ok("POST /2 HTTP/1.1 body"),
        ok("POST /3 HTTP/1.1 GET"),
        head_only,
        ok("GET /5 HTTP/1.1 "),
    ];
    assert_eq!(answers, expected);
}

#[test]
fn a_hundred_requests_sent_ahead_are_all_answered() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send((0..100).map(|number| get(&format!("/{number}"))).collect::<String>());
    for number in 0..100 {
        assert_eq!(answer(&mut client, "GET"), ok(&format!("/{number}")));
    }
}

#[test]
fn a_request_in_single_bytes_is_the_request_in_one_piece() {
    let upstream = echo();
    let gateway = plain(&upstream.url());
    let text = "POST /x?y HTTP/1.1\r\nhost: a\r\nx-a:  1 \r\ntransfer-encoding: chunked\r\n\r\n4;e=1\r\nbody\r\n00A\r\n0123456789\r\n0\r\n\r\n";
    let mut client = RawClient::connect(gateway.address());
    client.send(text);
    assert_eq!(answer(&mut client, "POST"), ok("body0123456789"));
    client.send_pieces(text.as_bytes().chunks(1));
    assert_eq!(answer(&mut client, "POST"), ok("body0123456789"));
    let [one, other] = <[Message; 2]>::try_from(upstream.requests()).unwrap().map(super::bare);
    assert_eq!(one, other);
}

#[test]
fn an_answer_in_single_bytes_is_the_answer_in_one_piece() {
    let text =
        "HTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n00A\r\n0123456789\r\n0\r\n\r\n";
    let upstream = RawUpstream::start(move |peer| {
        while let Some(request) = peer.request() {
            if request.start.contains(" /pieces ") {
                for byte in text.as_bytes().chunks(1) {
                    peer.send(byte);
                }
            } else {
                peer.send(text);
            }
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    let expected = Message::new("HTTP/1.1 200 OK", &[("transfer-encoding", "chunked"), ("x-a", "1")], "body0123456789");
    for path in ["/whole", "/pieces"] {
        client.send(get(path));
        assert_eq!(answer(&mut client, "GET"), expected);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_client_that_asks_for_the_end_gets_it_behind_its_answer_and_nothing_else_is_served() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    for close in ["connection: close", "Connection: Keep-Alive, CLOSE"] {
        let mut client = RawClient::connect(gateway.address());
        client.send(format!("GET /last HTTP/1.1\r\nhost: a\r\n{close}\r\n\r\n{}", get("/behind")));
        let expected = Message::new("HTTP/1.1 200 OK", &[("connection", "close"), ("content-length", "5")], "/last");
        assert_eq!(answer(&mut client, "GET"), expected, "{close}");
        // A reset here would be no fault: bytes of the second request were never read.
        assert_eq!(client.rest().1, b"", "{close}");
    }
    assert!(upstream.requests().iter().all(|request| request.start.contains(" /last ")), "{:?}", upstream.requests());
}

#[test]
fn an_http_1_0_client_gets_no_chunks_and_the_end_of_the_connection() {
    let upstream = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nin\r\n6\r\npieces\r\n0\r\n\r\n",
    );
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut answer = answer(&mut client, "GET");
    answer.take("connection");
    assert_eq!((answer.status(), &answer.fields[..], answer.text().as_str()), (200, &[][..], "inpieces"));
}

#[test]
fn an_http_1_0_client_that_asks_for_it_keeps_its_connection_where_the_length_is_known() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for path in ["/1", "/2"] {
        client.send(format!("GET {path} HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"));
        let mut answer = answer(&mut client, "GET");
        assert_eq!(answer.take("connection").as_deref(), Some("keep-alive"));
        assert_eq!((answer.status(), answer.text().as_str()), (200, path));
    }
    client.send("GET /3 HTTP/1.0\r\n\r\n");
    assert_eq!(answer(&mut client, "GET").text(), "/3");
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn a_connection_ends_behind_the_last_request_that_it_may_carry() {
    let upstream = naming();
    let gateway = listening("max_requests: 3", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send((1..=4).map(|number| get(&format!("/{number}"))).collect::<String>());
    assert_eq!(answer(&mut client, "GET"), ok("/1"));
    assert_eq!(answer(&mut client, "GET"), ok("/2"));
    let last = Message::new("HTTP/1.1 200 OK", &[("connection", "close"), ("content-length", "2")], "/3");
    assert_eq!(answer(&mut client, "GET"), last);
    assert_eq!((client.rest().1, upstream.count()), (Vec::new(), 3));
}

#[test]
fn an_upstream_that_closes_behind_its_answer_costs_the_client_nothing() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
        assert_eq!(answer(&mut client, "POST"), ok("ok"));
    }
    assert_eq!((upstream.count(), upstream.connections()), (3, 3));
}

#[test]
fn an_http_1_0_upstream_is_understood_and_its_connection_ends_with_its_answer() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold");
            peer.hang();
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..2 {
        client.send(get("/"));
        assert_eq!(answer(&mut client, "GET"), whole("HTTP/1.1 200 OK", "old"));
    }
    upstream.wait_for_cancelled(2);
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_connection_to_an_upstream_is_kept_for_its_time_and_no_longer() {
    let upstream = naming();
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        listeners: { public: { address: 127.0.0.1:0, idle_timeout: 1h } }
        upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { idle: 10s } } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut client = RawClient::connect(gateway.address());
    for (path, idle, connections) in [("/1", 0, 1), ("/2", 9, 1), ("/3", 9, 1), ("/4", 11, 2)] {
        gateway.advance(idle * SECOND);
        client.send(get(path));
        assert_eq!(answer(&mut client, "GET"), ok(path));
        assert_eq!(upstream.connections(), connections, "{path}");
    }
}
