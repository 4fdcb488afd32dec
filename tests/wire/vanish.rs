//! Clients that go away, in every phase and in every way: what was begun for them ends with them.

use serde_json::{Value, json};

use super::{SECOND, answer, echo, get, listening, ok, plain};
use crate::kit::raw::End;
use crate::kit::{FaultProxy, RawClient, RawUpstream, TestGateway, Way, wait};

/// Ends a client's connection.
fn leave(client: RawClient, how: End) {
    match how {
        End::Closed => drop(client),
        End::Reset => client.reset(),
    }
}

/// Waits until the gateway has no connection of a client any more.
fn wait_until_alone(gateway: &TestGateway) {
    wait::until("the client's connection is let go", || {
        gateway.metric("portolan_connections{listener=\"public\"}") == 0.0
            && gateway.metric("portolan_connections") == 0.0
    });
}

/// An upstream that says this behind the head of its first request, and then nothing more.
fn stuck(begins: impl Into<String>) -> RawUpstream {
    let begins = begins.into();
    RawUpstream::start(move |peer| {
        if peer.head().is_some() {
            peer.send(&begins);
            peer.hang();
        }
    })
}

/// Waits until the upstream's call was cancelled, and gives what is told of the only exchange.
fn cancelled(gateway: &TestGateway, upstream: &RawUpstream) -> Value {
    upstream.wait_for_cancelled(1);
    let lines = gateway.log(1);
    wait_until_alone(gateway);
    assert_eq!((lines.len(), upstream.count()), (1, 1));
    let line = &lines[0];
    json!([line["status"], line["outcome"], line["bytes_in"], line["bytes_out"]])
}

#[test]
fn between_two_requests_or_within_a_head_it_leaves_nothing_behind() {
    let upstream = echo();
    for how in [End::Closed, End::Reset] {
        for begun in ["", "G", "GET / HTTP/1.1\r\nhost: a\r\nx-half"] {
            let gateway = plain(&upstream.url());
            let mut client = RawClient::connect(gateway.address());
            client.send(get("/whole"));
            assert_eq!(answer(&mut client, "GET"), ok(""));
            client.send(begun);
            leave(client, how);
            wait_until_alone(&gateway);
            assert_eq!(gateway.log(1).len(), 1, "{how:?} behind {begun:?}");
        }
    }
    assert_eq!(upstream.count(), 6);
}

#[test]
fn within_its_body_it_takes_its_call_with_it() {
    for how in [End::Closed, End::Reset] {
        for (framing, begun) in [("content-length: 10", "half"), ("transfer-encoding: chunked", "4\r\nhalf\r\n")] {
            let upstream = stuck("");
            let gateway = plain(&upstream.url());
            let mut client = RawClient::connect(gateway.address());
            client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{begun}"));
            upstream.wait_for(1);
            leave(client, how);
            let told = cancelled(&gateway, &upstream);
            // A refusal may have been on its way to who is no longer there.
            assert_eq!(json!([told[0], told[1], told[2]]), json!([499, "cancelled", 4]), "{how:?} with {framing}");
        }
    }
}

#[test]
fn while_it_waits_it_takes_its_call_with_it() {
    for how in [End::Closed, End::Reset] {
        let upstream = stuck("");
        let gateway = plain(&upstream.url());
        let mut client = RawClient::connect(gateway.address());
        client.send(get("/"));
        upstream.wait_for(1);
        leave(client, how);
        assert_eq!(cancelled(&gateway, &upstream), json!([499, "cancelled", 0, 0]), "{how:?}");
    }
}

#[test]
fn within_its_answer_it_takes_its_call_with_it() {
    for how in [End::Closed, End::Reset] {
        for head in ["content-length: 10\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "\r\nhalf"] {
            let upstream = stuck(format!("HTTP/1.1 200 OK\r\n{head}"));
            let gateway = plain(&upstream.url());
            let mut client = RawClient::connect(gateway.address());
            client.send(get("/"));
            client.read_until("half");
            leave(client, how);
            assert_eq!(cancelled(&gateway, &upstream), json!([200, "cancelled", 0, 4]), "{how:?} with {head:?}");
        }
    }
}

#[test]
fn with_requests_sent_ahead_it_takes_them_all_with_it() {
    let upstream = stuck("");
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/1") + &get("/2") + &get("/3"));
    upstream.wait_for(1);
    leave(client, End::Reset);
    assert_eq!(cancelled(&gateway, &upstream), json!([499, "cancelled", 0, 0]));
}

#[test]
fn one_that_ends_its_sending_side_counts_as_gone() {
    let upstream = stuck("");
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    upstream.wait_for(1);
    client.finish();
    assert_eq!(cancelled(&gateway, &upstream), json!([499, "cancelled", 0, 0]));
    client.rest();
}

#[test]
fn one_that_ends_its_sending_side_gets_its_answers_where_that_is_wanted() {
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            if request.start.contains("/hang ") {
                return peer.hang();
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = listening("half_close: answer", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/1") + "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
    client.finish();
    assert_eq!(answer(&mut client, "GET"), ok("ok"));
    assert_eq!(answer(&mut client, "POST"), ok("ok"));
    assert_eq!(client.end(), End::Closed);
    // One that is gone altogether is still noticed.
    let client = RawClient::connect(gateway.address());
    let mut client = client;
    client.send(get("/hang"));
    upstream.wait_for(3);
    leave(client, End::Reset);
    upstream.wait_for_cancelled(1);
}

#[test]
fn one_that_ends_its_sending_side_within_a_message_never_had_a_whole_one() {
    let upstream = echo();
    let gateway = plain(&upstream.url());
    for begun in ["GET / HTTP/1.1\r\nhost: a\r\n", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nfour"] {
        let mut client = RawClient::connect(gateway.address());
        client.send(begun);
        client.finish();
        let (_, told) = client.rest();
        let told = String::from_utf8(told).unwrap();
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{begun:?}: {told}");
    }
    assert_eq!(upstream.requests(), []);
}

#[test]
fn one_that_says_nothing_any_more_is_given_up_when_it_takes_nothing() {
    let upstream = RawUpstream::start(|peer| {
        if peer.head().is_some() && peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40)) {
            while peer.send([b'x'; 64 * 1024]) {}
            peer.hang();
        }
    });
    let gateway = plain(&upstream.url());
    // Behind the proxy nobody is seen to leave: neither an end nor a reset comes through, and nothing is taken.
    let proxy = FaultProxy::to(gateway.address());
    proxy.allow(Way::Back, 1_000);
    let mut client = RawClient::connect(proxy.address());
    client.send(get("/"));
    proxy.wait_for_passed(Way::Back, 1_000);
    proxy.hold(Way::There);
    drop(client);
    gateway.advance_until("the upstream is let go", 10 * SECOND, || upstream.cancelled() == 1);
    let line = &gateway.log(1)[0];
    assert_eq!((&line["status"], &line["outcome"]), (&json!(200), &json!("cancelled")));
}
