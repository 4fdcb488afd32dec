//! Which endpoint is called, and when none is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::kit::{FakeUpstream, Reply, TestGateway};

const SECOND: Duration = Duration::from_secs(1);

/// An upstream that works while the switch is on. Both its health and its answers tell.
fn switched() -> (FakeUpstream, Arc<AtomicBool>) {
    let works = Arc::new(AtomicBool::new(true));
    let upstream = FakeUpstream::start({
        let works = works.clone();
        move |_| Reply::bytes(if works.load(Ordering::Relaxed) { 200 } else { 500 }, "")
    });
    (upstream, works)
}

#[test]
fn endpoints_are_called_one_after_the_other() {
    let upstreams = [(); 3].map(|()| FakeUpstream::echo());
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{one}", "{two}", "{three}" ] } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("one", upstreams[0].url())
    .with("two", upstreams[1].url())
    .with("three", upstreams[2].url())
    .start();
    for _ in 0..6 {
        gateway.get("/").assert_status(200);
    }
    assert_eq!(upstreams.each_ref().map(FakeUpstream::count), [2, 2, 2]);
}

#[test]
fn an_endpoint_that_is_ill_is_left_out_and_comes_back() {
    let (steady, _) = switched();
    let (shaky, works) = switched();
    let gateway = TestGateway::with_config(
        r#"
        upstreams:
          service:
            endpoints: [ "{steady}", "{shaky}" ]
            health: { path: /healthz, interval: 5s, timeout: 10m, unhealthy_after: 2, healthy_after: 2 }
            breaker: off
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("steady", steady.url())
    .with("shaky", shaky.url())
    .start();
    let both_serve = || {
        let before = shaky.count_of("/x");
        (0..2).for_each(|_| drop(gateway.get("/x")));
        shaky.count_of("/x") > before
    };
    assert!(both_serve());
    works.store(false, Ordering::Relaxed);
    gateway.advance_until("the shaky endpoint is left out", SECOND, || !both_serve());
    for _ in 0..4 {
        gateway.get("/x").assert_status(200);
    }
    works.store(true, Ordering::Relaxed);
    gateway.advance_until("the shaky endpoint serves again", SECOND, both_serve);
}

#[test]
fn without_a_healthy_endpoint_callers_are_told_at_once() {
    let (upstream, works) = switched();
    let gateway = TestGateway::with_config(
        r#"
        upstreams:
          service:
            endpoints: [ "{upstream}" ]
            health: { path: /healthz, interval: 5s, timeout: 10m, unhealthy_after: 1 }
            breaker: off
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    works.store(false, Ordering::Relaxed);
    gateway.advance_until("the endpoint is left out", SECOND, || gateway.get("/x").status == 503);
    let before = upstream.count_of("/x");
    let refused = gateway.get("/x");
    let problem = refused.assert_problem(503, "no_endpoint");
    assert_eq!(problem, json!({ "detail": "no endpoint of `service` is healthy" }));
    assert_eq!(refused.header("retry-after").as_deref(), Some("5"));
    assert_eq!(upstream.count_of("/x"), before);
}

/// A gateway whose breaker opens at half of at least four calls.
fn with_breaker(upstream: &FakeUpstream) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams:
          service:
            endpoints: [ "{upstream}" ]
            breaker: { error_ratio: 50%, minimum: 4, window: 10s, open_for: 5s }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start()
}

#[test]
fn an_open_breaker_answers_without_calling_the_upstream() {
    let upstream = FakeUpstream::failing();
    let gateway = with_breaker(&upstream);
    for _ in 0..4 {
        gateway.get("/").assert_status(500);
    }
    let refused = gateway.get("/");
    let problem = refused.assert_problem(503, "circuit_open");
    assert_eq!(problem, json!({ "detail": "`service` is failing and is left alone for a while" }));
    assert_eq!(refused.header("retry-after").as_deref(), Some("5"));
    assert_eq!(upstream.count(), 4);
}

#[test]
fn a_breaker_stays_closed_below_its_minimum_and_below_its_ratio_and_forgets_what_is_past_its_window() {
    let (upstream, works) = switched();
    let gateway = with_breaker(&upstream);
    let call = |times: usize, status: u16| {
        works.store(status == 200, Ordering::Relaxed);
        (0..times).for_each(|_| drop(gateway.get("/").assert_status(status)));
    };
    call(3, 500);
    gateway.advance(11 * SECOND);
    call(5, 200);
    call(5, 500);
    // Now five of ten have failed.
    gateway.get("/").assert_problem(503, "circuit_open");
    assert_eq!(upstream.count(), 13);
}

#[test]
fn a_breaker_lets_a_probe_through_after_its_pause_and_closes_when_it_succeeds() {
    let (upstream, works) = switched();
    let gateway = with_breaker(&upstream);
    works.store(false, Ordering::Relaxed);
    for _ in 0..4 {
        gateway.get("/").assert_status(500);
    }
    gateway.advance(5 * SECOND);
    gateway.get("/").assert_status(500);
    gateway.get("/").assert_problem(503, "circuit_open");
    assert_eq!(upstream.count(), 5, "the probe failed, so nobody else was let through");
    works.store(true, Ordering::Relaxed);
    gateway.advance(5 * SECOND);
    for _ in 0..10 {
        gateway.get("/").assert_status(200);
    }
    assert_eq!(upstream.count(), 15);
}

#[test]
fn what_a_caller_did_wrong_does_not_open_a_breaker() {
    let upstream = FakeUpstream::answering(404, json!({}));
    let gateway = with_breaker(&upstream);
    for _ in 0..10 {
        gateway.get("/").assert_status(404);
    }
}
