//! The limiter: an empty bucket stays empty whatever becomes of its actor.

use serde_json::json;

use super::{SECOND, panic, revive, shown, state};
use crate::kit::{FakeUpstream, RawClient, TestGateway};

const LIMITER: &str = "limiter/memory";

fn gateway(upstream: &FakeUpstream) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service, rate_limit: { per: address, limit: 6, every: 1m, burst: 2 } } }
        "#,
    )
    .with("upstream", upstream.url())
    .start()
}

fn refused(gateway: &TestGateway, retry_after: &str) {
    let answer = gateway.get("/");
    let detail = format!("6 requests per minute reached for this address; retry in {retry_after}s");
    assert_eq!(answer.assert_problem(429, "rate_limited"), json!({ "detail": detail, "limit": 6 }));
    assert_eq!(answer.header("retry-after").as_deref(), Some(retry_after));
}

#[test]
fn an_empty_bucket_stays_empty_through_a_panic() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = gateway(&upstream);
    for left in ["1", "0"] {
        let answer = gateway.get("/").assert_status(200);
        assert_eq!(answer.header("x-ratelimit-remaining").as_deref(), Some(left));
    }
    refused(&gateway, "10");
    panic(&gateway, LIMITER);
    refused(&gateway, "10");
    revive(&gateway, LIMITER);
    refused(&gateway, "10");
    gateway.advance(5 * SECOND);
    refused(&gateway, "5");
    assert_eq!(upstream.count(), 2);
    let actor = shown(&gateway, LIMITER);
    assert_eq!(
        [&actor["status"], &actor["restarts"], &actor["last_panic"]],
        [&json!("running"), &json!(1), &json!("told to panic")]
    );
    assert_eq!([&actor["state"]["buckets"], &actor["state"]["refused"]], [&json!(1), &json!(4)]);
    assert_eq!(gateway.metric("portolan_actor_restarts_total{kind=\"limiter\",name=\"limiter/memory\"}"), 1.0);
    // What flows in is not lost either: ten seconds make one more.
    gateway.advance(5 * SECOND);
    gateway.get("/").assert_status(200);
    assert_eq!(gateway.get("/").status, 429);
}

#[test]
fn reservations_that_are_held_while_its_actor_panics_are_kept() {
    let upstream = FakeUpstream::hanging();
    let gateway = gateway(&upstream);
    let mut clients = [(); 2].map(|()| RawClient::connect(gateway.address()));
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    upstream.wait_for(2);
    panic(&gateway, LIMITER);
    refused(&gateway, "10");
    // Both go away while the actor is down. What they drew stays drawn: a client that goes away has used it.
    drop(clients);
    upstream.wait_for_cancelled(2);
    gateway.log(3);
    refused(&gateway, "10");
    revive(&gateway, LIMITER);
    refused(&gateway, "10");
    assert_eq!(state(&gateway, LIMITER)["buckets"], 1);
}

#[test]
fn buckets_are_made_and_swept_by_the_actor_that_came_anew() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = gateway(&upstream);
    gateway.get("/").assert_status(200);
    panic(&gateway, LIMITER);
    revive(&gateway, LIMITER);
    gateway.get("/").assert_status(200);
    assert_eq!(state(&gateway, LIMITER)["buckets"], 1);
    gateway.advance_until("the full bucket is swept", 10 * SECOND, || state(&gateway, LIMITER)["buckets"] == 0);
}
