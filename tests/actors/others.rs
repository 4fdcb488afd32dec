//! Health and the watch over the configuration: what they found stands, what they missed is made up for.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{SECOND, panic, revive, shown, state};
use crate::kit::{FakeUpstream, Reply, TestGateway, wait};

const HEALTH: &str = "health/service";
const WATCH: &str = "watch/configuration";

/// An upstream that is well while the switch is on.
fn switched() -> (FakeUpstream, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let upstream = FakeUpstream::start({
        let well = well.clone();
        move |_| Reply::bytes(if well.load(Ordering::Relaxed) { 200 } else { 500 }, "")
    });
    (upstream, well)
}

#[test]
fn an_endpoint_that_is_ill_is_left_out_while_health_panics_and_comes_back_after() {
    let (steady, _) = switched();
    let (shaky, well) = switched();
    let gateway = TestGateway::with_config(
        r#"
        upstreams:
          service:
            endpoints: [ "{steady}", "{shaky}" ]
            health: { path: /healthz, interval: 5s, timeout: 10m, unhealthy_after: 2, healthy_after: 1 }
            breaker: off
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("steady", steady.url())
    .with("shaky", shaky.url())
    .start();
    well.store(false, Ordering::Relaxed);
    gateway.advance_until("one of two is healthy", SECOND, || state(&gateway, HEALTH)["healthy"] == 1);
    let all_are_served = |gateway: &TestGateway| {
        let before = shaky.count_of("/x");
        (0..4).for_each(|_| drop(gateway.get("/x").assert_status(200)));
        assert_eq!(shaky.count_of("/x"), before);
    };
    all_are_served(&gateway);
    panic(&gateway, HEALTH);
    all_are_served(&gateway);
    assert_eq!(state(&gateway, HEALTH)["healthy"], 1);
    revive(&gateway, HEALTH);
    all_are_served(&gateway);
    assert_eq!([&shown(&gateway, HEALTH)["restarts"], &state(&gateway, HEALTH)["healthy"]], [&json!(1), &json!(1)]);
    well.store(true, Ordering::Relaxed);
    gateway.advance_until("both are healthy", SECOND, || state(&gateway, HEALTH)["healthy"] == 2);
    let before = shaky.count_of("/x");
    (0..4).for_each(|_| drop(gateway.get("/x").assert_status(200)));
    assert_eq!(shaky.count_of("/x"), before + 2);
}

#[test]
fn a_configuration_that_changes_while_the_watch_is_down_is_read_after() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { one: { path: /one, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    gateway.get("/one").assert_status(200);
    gateway.get("/two").assert_problem(404, "unknown_route");
    panic(&gateway, WATCH);
    let changed = gateway.configuration().replace("/one", "/two/**");
    fs::write(gateway.folder().join("gateway.yaml"), changed).unwrap();
    gateway.get("/one").assert_status(200);
    revive(&gateway, WATCH);
    gateway.advance_until("the change is in force", SECOND, || gateway.get("/two").status == 200);
    gateway.get("/one").assert_problem(404, "unknown_route");
    let ready = gateway.admin().get("/readyz").assert_status(200).json();
    assert_eq!(
        ready["configuration"],
        json!({ "reloads": 1, "refused": 0, "in_force": "the file", "problem": null, "waits_for_restart": [] })
    );
    wait::until("the watch runs", || shown(&gateway, WATCH)["status"] == "running");
}
