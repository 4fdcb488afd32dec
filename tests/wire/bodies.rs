//! Bodies and their framing, both ways.

use serde_json::json;

use super::{answer, bare, echo, get, ok, pattern, plain, request};
use crate::kit::wait::Watched;
use crate::kit::{Message, RawClient, RawUpstream};

const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");

#[test]
fn a_length_stays_a_length_and_chunks_stay_chunks() {
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            let answer = if request.start.contains("/chunks") {
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nanswer\r\n0\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nanswer"
            };
            peer.send(answer);
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("PUT /length HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nquestion");
    assert_eq!(answer(&mut client, "PUT"), ok("answer"));
    client.send("PUT /chunks HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n8;name=\"a value\"\r\nquestion\r\n000\r\n\r\n");
    assert_eq!(answer(&mut client, "PUT"), Message::new("HTTP/1.1 200 OK", &[CHUNKED], "answer"));
    let seen: Vec<_> = upstream.requests().into_iter().map(bare).collect();
    let expected =
        [request("PUT /length HTTP/1.1", "question"), Message::new("PUT /chunks HTTP/1.1", &[CHUNKED], "question")];
    assert_eq!(seen, expected);
}

#[test]
fn a_body_without_content_is_passed_on_as_one() {
    let upstream = echo();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for framing in ["transfer-encoding: chunked\r\n\r\n0\r\n\r\n", "content-length: 0\r\n\r\n"] {
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}"));
        assert_eq!(answer(&mut client, "POST"), ok(""));
    }
    for mut seen in upstream.requests().into_iter().map(bare) {
        // Some services refuse a POST that says nothing of its length.
        let framed = [seen.take("transfer-encoding"), seen.take("content-length")];
        assert!(framed == [Some("chunked".into()), None] || framed == [None, Some("0".into())], "{framed:?}");
        assert_eq!(seen, request("POST / HTTP/1.1", ""));
    }
}

#[test]
fn a_thousand_chunks_of_one_byte_pass_both_ways() {
    let chunks: String = (0..1_000).map(|number| format!("1\r\n{}\r\n", number % 10)).collect::<String>() + "0\r\n\r\n";
    let back = chunks.clone();
    let upstream = RawUpstream::start(move |peer| {
        while peer.request().is_some() {
            peer.send(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{back}"));
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"));
    let content = "0123456789".repeat(100);
    assert_eq!(answer(&mut client, "POST"), Message::new("HTTP/1.1 200 OK", &[CHUNKED], &content));
    assert_eq!(bare(upstream.requests().remove(0)), Message::new("POST / HTTP/1.1", &[CHUNKED], &content));
}

#[test]
fn an_answer_without_content_on_the_wire_keeps_its_fields_and_both_connections() {
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            let answer = match request.start.as_str() {
                "HEAD /length HTTP/1.1" => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
                "HEAD /chunks HTTP/1.1" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "GET /204 HTTP/1.1" => "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n",
                "GET /304 HTTP/1.1" => "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
            };
            peer.send(answer);
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    let mut ask = |method: &str, path: &str| {
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        answer(&mut client, method)
    };
    assert_eq!(ask("HEAD", "/length"), Message::new("HTTP/1.1 200 OK", &[("content-length", "1000")], ""));
    let mut chunked = ask("HEAD", "/chunks");
    // Whether a HEAD's answer names the coding is the gateway's to choose (RFC 9110, section 9.3.2).
    chunked.take("transfer-encoding");
    assert_eq!(chunked, Message::new("HTTP/1.1 200 OK", &[], ""));
    assert_eq!(ask("GET", "/204"), Message::new("HTTP/1.1 204 No Content", &[("x-a", "1")], ""));
    assert_eq!(ask("GET", "/304"), Message::new("HTTP/1.1 304 Not Modified", &[("etag", "\"1\"")], ""));
    assert_eq!(ask("GET", "/body"), ok("body"));
    assert_eq!(upstream.connections(), 1);
    let sent: Vec<_> = gateway.log(5).iter().map(|line| json!([line["status"], line["bytes_out"]])).collect();
    assert_eq!(json!(sent), json!([[200, 0], [200, 0], [204, 0], [304, 0], [200, 4]]));
}

#[test]
fn a_304_keeps_the_length_of_what_it_stands_for() {
    let upstream = RawUpstream::answering("HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n");
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..2 {
        client.send(get("/"));
        let expected = Message::new("HTTP/1.1 304 Not Modified", &[("content-length", "1000")], "");
        assert_eq!(answer(&mut client, "GET"), expected);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_answer_that_ends_with_its_connection_comes_in_chunks_and_whole() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\n\r\nall up to the end");
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..2 {
        client.send(get("/"));
        assert_eq!(answer(&mut client, "GET"), Message::new("HTTP/1.1 200 OK", &[CHUNKED], "all up to the end"));
    }
}

#[test]
fn trailers_pass_both_ways() {
    let upstream = RawUpstream::start(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\nx-more: 3\r\n\r\n");
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 4\r\nX-Two: a\r\nX-Forwarded-For: 192.0.2.1\r\nx_two: c\r\nx-two: b\r\n\r\n");
        let mut answer = answer(&mut client, "POST");
        // Announcing them is allowed and not asked for (RFC 9110, section 6.6.2).
        answer.take("trailer");
        let expected = Message::new("HTTP/1.1 200 OK", &[CHUNKED], "ok");
        assert_eq!(answer, expected.with_trailers(&[("x-more", "3"), ("x-sum", "2")]));
    }
    for mut seen in upstream.requests().into_iter().map(bare) {
        seen.take("trailer");
        seen.take("te");
        let expected = Message::new("POST / HTTP/1.1", &[CHUNKED], "body");
        assert_eq!(seen, expected.with_trailers(&[("x-sum", "4"), ("x-two", "a"), ("x-two", "b")]));
    }
    assert_eq!((upstream.count(), upstream.connections()), (2, 1));
}

#[test]
fn an_upload_to_a_service_that_does_not_read_holds_back_its_client() {
    const SIZE: usize = 32 << 20;
    let may_read = Watched::<bool>::default();
    let opened = may_read.clone();
    let upstream = RawUpstream::start(move |peer| {
        let Some(_) = peer.head() else { return };
        opened.wait("the upstream may read", |may| may.then_some(()));
        let Some(body) = peer.read_bytes(SIZE) else { return };
        assert!(body == pattern(SIZE), "the body came changed");
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ngot");
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n"));
    upstream.wait_for(1);
    let body = pattern(SIZE);
    let sent = client.send_until_blocked(&body);
    // What the sockets on the way hold is some megabytes.
    assert!(sent < SIZE * 3 / 4, "{sent} bytes were taken for a service that does not read");
    may_read.change(|may| *may = true);
    client.send(&body[sent..]);
    assert_eq!(answer(&mut client, "POST"), ok("got"));
}

#[test]
fn a_large_body_in_chunks_of_odd_sizes_passes_both_ways_unchanged() {
    const SIZE: usize = 2 << 20;
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            answer.extend(in_chunks(&request.body, 70_001));
            peer.send(answer);
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send(in_chunks(&pattern(SIZE), 9_973));
    let answer = answer(&mut client, "POST");
    assert!(answer.body == pattern(SIZE), "{} bytes came back of {SIZE}", answer.body.len());
    assert!(upstream.requests()[0].body == pattern(SIZE), "the upstream saw another body");
}

fn in_chunks(content: &[u8], size: usize) -> Vec<u8> {
    let mut chunks = Vec::new();
    for chunk in content.chunks(size) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}
