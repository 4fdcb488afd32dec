//! How many at once: connections of a listener and of an address, calls to an upstream.

use std::thread;

use serde_json::json;

use super::{SECOND, answer, get, listening, naming, ok};
use crate::kit::raw::End;
use crate::kit::wait::Watched;
use crate::kit::{RawClient, RawUpstream, TestGateway, wait};

#[test]
fn beyond_the_connections_of_a_listener_the_next_one_waits_for_another_to_end() {
    let upstream = naming();
    let gateway = listening("max_connections: 2", &upstream.url());
    let mut open: Vec<_> = (0..2).map(|_| RawClient::connect(gateway.address())).collect();
    for client in &mut open {
        client.send(get("/in"));
        assert_eq!(answer(client, "GET"), ok("/in"));
    }
    let mut waiting = RawClient::connect(gateway.address());
    waiting.send(get("/next"));
    // The others are still served, and a served request is a turn in which the next one would have been, too.
    for client in &mut open {
        client.send(get("/in"));
        assert_eq!(answer(client, "GET"), ok("/in"));
    }
    assert!(waiting.is_quiet() && upstream.count() == 4, "a third connection was served");
    drop(open.pop());
    assert_eq!(answer(&mut waiting, "GET"), ok("/next"));
}

#[test]
#[ignore = "wire: connections are not counted by address yet"]
fn beyond_the_connections_of_an_address_the_next_one_is_closed_at_once() {
    let upstream = naming();
    let gateway = listening("max_connections_per_address: 2", &upstream.url());
    let mut open: Vec<_> = (0..2).map(|_| RawClient::connect(gateway.address())).collect();
    for client in &mut open {
        client.send(get("/in"));
        assert_eq!(answer(client, "GET"), ok("/in"));
    }
    let mut third = RawClient::connect(gateway.address());
    third.try_send(get("/third"));
    assert_eq!(third.rest().1, b"");
    drop(open.pop());
    wait::until("there is room again", || {
        let mut next = RawClient::connect(gateway.address());
        next.try_send(get("/next")) && next.try_answer_to("GET").is_some()
    });
    assert!(upstream.requests().iter().all(|request| !request.start.contains("/third")));
}

#[test]
fn beyond_the_calls_that_may_wait_for_an_upstream_the_next_one_is_told_to_come_again() {
    let may_answer = Watched::<bool>::default();
    let opened = may_answer.clone();
    let upstream = RawUpstream::start(move |peer| {
        while peer.request().is_some() {
            opened.wait("the upstream may answer", |may| may.then_some(()));
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ], pool: { max_connections: 1, pending: 2 }, timeouts: { connect: 10s } } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let called = gateway.call("GET", "/").start();
    upstream.wait_for_requests(1);
    // Two wait; of the others each is refused, however many come.
    let pending: Vec<_> = (0..6).map(|_| gateway.call("GET", "/").start()).collect();
    wait::until("four are refused", || pending.iter().filter(|pending| pending.is_there()).count() == 4);
    may_answer.change(|may| *may = true);
    let mut answers: Vec<_> = pending.into_iter().map(|pending| pending.answer()).collect();
    answers.push(called.answer());
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((served.len(), refused.len(), upstream.count(), upstream.connections()), (3, 4, 3, 1));
    for answer in refused {
        answer.assert_problem(503, "overloaded");
        assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
    }
}

#[test]
fn a_call_that_waits_too_long_for_its_turn_is_told_to_come_again() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            peer.hang();
        }
    });
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ], pool: { max_connections: 1 }, timeouts: { connect: 3s, first_byte: 1h, request: 1h } } }
        routes: { all: { path: /**, upstream: service, deadline: 1h } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut first = RawClient::connect(gateway.address());
    first.send(get("/"));
    upstream.wait_for_requests(1);
    let second = gateway.call("GET", "/").start();
    gateway.advance_until("the second is told", SECOND, || second.is_there());
    second.answer().assert_problem(503, "overloaded");
    assert!(first.is_quiet());
    assert_eq!(gateway.log(1)[0]["fault"], json!("overloaded"));
}

#[test]
fn an_idle_connection_ends_after_its_time_and_one_that_is_used_does_not() {
    let upstream = naming();
    let gateway = listening("idle_timeout: 20s", &upstream.url());
    let mut idle = RawClient::connect(gateway.address());
    idle.send(get("/once"));
    assert_eq!(answer(&mut idle, "GET"), ok("/once"));
    let mut used = RawClient::connect(gateway.address());
    let reading = thread::spawn(move || idle.end());
    for _ in 0..20 {
        used.send(get("/again"));
        assert_eq!(answer(&mut used, "GET"), ok("/again"));
        gateway.advance(5 * SECOND);
    }
    assert_eq!(reading.join().unwrap(), End::Closed);
    used.send(get("/again"));
    assert_eq!(answer(&mut used, "GET"), ok("/again"));
}
