//! Answers that come while the body of their request is still on its way: they arrive, and only then the connection ends.

use serde_json::json;

use super::{SECOND, answer, get, naming, ok, plain, whole};
use crate::kit::raw::End;
use crate::kit::{Message, RawClient, RawUpstream, TestGateway};

/// A gateway with one route, `/only`.
fn only(upstream: &RawUpstream) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { only: { path: /only, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start()
}

fn upload(path: &str, size: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n")
}

#[test]
fn a_client_that_sends_all_before_it_reads_gets_the_refusal_and_then_the_end() {
    const SIZE: usize = 4 << 20;
    let upstream = naming();
    let gateway = only(&upstream);
    for _ in 0..10 {
        let mut client = RawClient::connect(gateway.address());
        client.send(upload("/nowhere", SIZE));
        // All of it is taken, though nobody wants it: a reset would take the answer away from the client.
        client.send(vec![b'x'; SIZE]);
        let refused = answer(&mut client, "POST");
        assert_eq!((refused.status(), refused.field("connection").as_deref()), (404, Some("close")));
        assert_eq!(refused.json()["code"], "unknown_route");
        assert_eq!(client.end(), End::Closed);
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn an_upstream_that_answers_before_it_has_read_is_heard() {
    // More than the kernel holds on the way.
    const SIZE: usize = 12 << 20;
    let upstream = RawUpstream::start(|peer| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 8\r\n\r\ntoo much");
            // It reads nothing and closes: its own end is a reset.
        }
    });
    let gateway = plain(&upstream.url());
    for round in 0..10 {
        let mut client = RawClient::connect(gateway.address());
        client.send(upload("/", SIZE));
        upstream.wait_for(round + 1);
        client.send(vec![b'x'; SIZE]);
        let expected = Message::new(
            "HTTP/1.1 413 Content Too Large",
            &[("connection", "close"), ("content-length", "8")],
            "too much",
        );
        assert_eq!(answer(&mut client, "POST"), expected);
        assert_eq!(client.end(), End::Closed);
    }
    let lines = gateway.log(10);
    assert!(lines.iter().all(|line| line["status"] == 413 && line["outcome"] == "completed"), "{lines:#?}");
}

#[test]
fn an_early_answer_is_there_before_the_body_is() {
    let upstream = RawUpstream::start(|peer| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
            peer.hang();
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("{}half", upload("/", 1 << 20)));
    let mut early = answer(&mut client, "POST");
    assert_eq!(early.take("connection").as_deref(), Some("close"));
    assert_eq!(early, whole("HTTP/1.1 403 Forbidden", "no"));
    // The upstream's connection is of no use any more either: half a request stands on it.
    upstream.wait_for_cancelled(1);
}

#[test]
fn a_client_that_goes_on_sending_behind_a_refusal_is_cut_off_in_the_end() {
    let upstream = naming();
    let gateway = only(&upstream);
    let mut client = RawClient::connect(gateway.address());
    client.send(upload("/nowhere", 1 << 40));
    assert_eq!(answer(&mut client, "POST").status(), 404);
    gateway.advance_until("the client is cut off", SECOND, || !client.try_send([b'x'; 1024]));
    assert_eq!(gateway.log(1).len(), 1);
}

#[test]
fn a_refused_request_whose_body_was_all_there_keeps_its_connection() {
    let upstream = naming();
    let gateway = only(&upstream);
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("{}body{}", upload("/nowhere", 4), get("/only")));
    let mut refused = answer(&mut client, "POST");
    refused.take("content-length");
    assert_eq!(
        (refused.status(), refused.fields),
        (404, vec![("content-type".into(), "application/problem+json".into())])
    );
    assert_eq!(answer(&mut client, "GET"), ok("/only"));
    let told: Vec<_> = gateway.log(2).iter().map(|line| json!([line["path"], line["status"]])).collect();
    assert_eq!(json!(told), json!([["/nowhere", 404], ["/only", 200]]));
}
