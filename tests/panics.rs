//! Panics: of a policy, of actors that hold work. Each costs what it is in, and nothing else.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portolan_exchange::{Exchange, LocalBoxFuture, Outcome, Phase, Policy, Step, Worker};
use serde_json::{Value, json};

use crate::kit::gateway::Setup;
use crate::kit::{FakeUpstream, TestGateway};

const PLAIN: &str = r#"
    upstreams: { service: { endpoints: [ "{upstream}" ], breaker: { error_ratio: 50%, minimum: 2, window: 10s, open_for: 5s } } }
    routes:
      limited: { path: /limited, upstream: service, rate_limit: { per: address, limit: 2, every: 1h } }
      all: { path: /**, upstream: service }
"#;

fn setup(upstream: &FakeUpstream) -> Setup {
    TestGateway::with_config(PLAIN).with("upstream", upstream.url())
}

/// Panics where the path says so, and counts how often it is told of an end.
struct Panicking(Arc<AtomicUsize>);

impl Policy for Panicking {
    fn name(&self) -> &'static str {
        "panicking"
    }

    fn phase(&self) -> Phase {
        Phase::Filter
    }

    fn request(&self, _: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        assert!(exchange.request.target.path() != "/panic", "on purpose");
        Step::Next
    }

    fn wait<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Step> {
        Box::pin(async move { self.request(worker, exchange) })
    }

    fn response(&self, _: &Rc<Worker>, exchange: &mut Exchange, _: &mut portolan_exchange::Answer) {
        assert!(exchange.request.target.path() != "/panic-on-the-way-out", "on purpose");
    }

    fn end(&self, _: &Rc<Worker>, exchange: &mut Exchange, _: Outcome) {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert!(exchange.request.target.path() != "/panic-at-the-end", "on purpose");
    }
}

#[test]
fn a_policy_that_panics_loses_its_exchange_alone() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let ends = Arc::new(AtomicUsize::new(0));
    let gateway = setup(&upstream).policy(Panicking(ends.clone())).start();
    let client = gateway.client();
    client.get("/sound").assert_status(200);
    for target in ["/panic", "/panic-on-the-way-out"] {
        let problem = client.get(target).assert_problem(500, "internal");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("the gateway failed while it "), "{detail}: a panic's own words are for the log");
    }
    client.get("/panic-at-the-end").assert_status(200);
    for _ in 0..4 {
        client.get("/sound").assert_status(200);
    }
    let lines = gateway.log(8);
    for target in ["/panic", "/panic-on-the-way-out"] {
        let line = lines.iter().find(|line| line["path"] == target).unwrap_or_else(|| panic!("no line of {target}"));
        assert_eq!((&line["outcome"], &line["status"]), (&json!("panicked"), &json!(500)), "{line}");
    }
    assert_eq!(ends.load(Ordering::Relaxed), 8, "every exchange is ended once");
}

/// A policy that really waits, and counts how many wait with it.
struct Waiting(Arc<AtomicUsize>);

impl Policy for Waiting {
    fn name(&self) -> &'static str {
        "waiting"
    }

    fn phase(&self) -> Phase {
        Phase::Authorize
    }

    fn request(&self, _: &Rc<Worker>, _: &mut Exchange) -> Step {
        Step::Wait
    }

    fn wait<'a>(&'a self, worker: &'a Rc<Worker>, _: &'a mut Exchange) -> LocalBoxFuture<'a, Step> {
        Box::pin(async {
            self.0.fetch_add(1, Ordering::Relaxed);
            worker.clock.sleep(Duration::from_secs(3)).await;
            Step::Next
        })
    }
}

#[test]
fn a_policy_may_wait_and_a_client_that_leaves_meanwhile_costs_no_call() {
    let upstream = FakeUpstream::echo();
    let waiting = Arc::new(AtomicUsize::new(0));
    let gateway = setup(&upstream).policy(Waiting(waiting.clone())).start();
    let pending = gateway.call("POST", "/a").body("body").start();
    let mut leaving = crate::kit::RawClient::connect(gateway.address());
    leaving.send("GET /leaving HTTP/1.1\r\nhost: a\r\n\r\n");
    crate::kit::wait::until("both wait", || waiting.load(Ordering::Relaxed) == 2);
    drop(leaving);
    assert_eq!(gateway.log(1)[0]["outcome"], "cancelled");
    assert_eq!(upstream.count(), 0);
    gateway.advance_until("the answer comes", Duration::from_secs(1), || pending.is_there());
    assert_eq!(pending.answer().assert_status(200).text(), "body");
    assert_eq!(upstream.the_request().target, "/a");
}

/// Makes an actor panic and waits until it runs again.
fn panic_and_return(gateway: &TestGateway, name: &str) {
    let registry = gateway.inner().registry();
    let before = registry.restarts(name).unwrap_or_else(|| panic!("no actor `{name}` in {:?}", registry));
    assert!(registry.make_panic(name), "`{name}` has failed");
    gateway.advance_until(&format!("`{name}` runs again"), Duration::from_millis(10), || {
        state(gateway, name).is_some_and(|state| state["status"] == "running" && state["restarts"] == before + 1)
    });
}

fn state(gateway: &TestGateway, name: &str) -> Option<Value> {
    gateway.inner().registry().states().into_iter().find(|state| state["name"] == name)
}

#[test]
fn an_open_breaker_stays_open_when_its_actor_panics_and_a_permit_that_is_out_still_counts() {
    let (hanging, feed) = FakeUpstream::fed();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { first_byte: 1s }, breaker: { error_ratio: 50%, minimum: 2, window: 60s, open_for: 60s } } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", hanging.url())
    .start();
    drop(feed);
    gateway.get("/").assert_status(200);
    // Everything after the first is a 500: one of two has failed, so the breaker is open now.
    gateway.get("/").assert_status(500);
    gateway.get("/").assert_problem(503, "circuit_open");
    panic_and_return(&gateway, "breaker/service");
    gateway.get("/").assert_problem(503, "circuit_open");
    assert_eq!(hanging.count(), 2);
}

#[test]
fn a_call_under_way_counts_though_the_actor_of_its_breaker_panics_meanwhile() {
    let upstream = FakeUpstream::hanging();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { first_byte: 30s }, breaker: { error_ratio: 50%, minimum: 2, window: 60s, open_for: 60s } } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let calls = [(); 2].map(|()| gateway.call("GET", "/").start());
    upstream.wait_for(2);
    panic_and_return(&gateway, "breaker/service");
    gateway.advance(Duration::from_secs(30));
    for call in calls {
        assert_eq!(call.answer().status, 504);
    }
    gateway.get("/").assert_problem(503, "circuit_open");
    assert_eq!(upstream.count(), 2);
}

#[test]
fn an_empty_bucket_stays_empty_when_the_limiter_panics() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream).start();
    gateway.get("/limited").assert_status(200);
    panic_and_return(&gateway, "limiter/memory");
    gateway.get("/limited").assert_status(200);
    gateway.get("/limited").assert_problem(429, "rate_limited");
    panic_and_return(&gateway, "limiter/memory");
    gateway.get("/limited").assert_problem(429, "rate_limited");
    assert_eq!(upstream.count(), 2);
}

#[test]
fn an_actor_that_panics_again_and_again_is_failed_for_all_to_see_and_requests_are_served() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream).start();
    gateway.admin().get("/readyz").assert_status(200);
    for _ in 0..5 {
        panic_and_return(&gateway, "breaker/service");
    }
    assert!(gateway.inner().registry().make_panic("breaker/service"));
    gateway.wait_for_actor("the breaker has failed", |state| {
        state["name"] == "breaker/service" && state["status"] == "failed"
    });
    let ready = gateway.admin().get("/readyz").assert_status(503).json();
    assert_eq!((&ready["ready"], &ready["failed_actors"]), (&json!(false), &json!(["breaker/service"])));
    let actors = gateway.admin().get("/actors").assert_status(200).json();
    let told = actors["actors"]
        .as_array()
        .unwrap()
        .iter()
        .any(|actor| actor["name"] == "breaker/service" && actor["status"] == "failed");
    assert!(told, "{actors:#}");
    let metrics = gateway.admin().get("/metrics").text();
    assert!(metrics.contains(r#"portolan_actor_up{kind="breaker",name="breaker/service"} 0"#), "{metrics}");
    gateway.get("/").assert_status(200);
}
