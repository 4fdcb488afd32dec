//! Endpoints that fail, return, hang, come and go, and an actor that panics meanwhile.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt as _;
use portolan_exchange::LocalBoxFuture;
use serde_json::json;

use super::*;
use crate::supervision::{Status, lock};
use crate::testing::{advance_until, control, until};

/// Endpoints by address, how they answer, and how often they were asked.
#[derive(Default)]
struct Fake(Mutex<BTreeMap<Arc<str>, (Answer, usize)>>);

#[derive(Clone, Copy, Default)]
enum Answer {
    #[default]
    Well,
    Badly,
    Never,
}

impl Fake {
    fn set(&self, endpoint: &str, answer: Answer) {
        lock(&self.0).entry(endpoint.into()).or_default().0 = answer;
    }

    fn asked(&self, endpoint: &str) -> usize {
        lock(&self.0).get(endpoint).map_or(0, |(_, asked)| *asked)
    }
}

impl Probe for Fake {
    fn probe(&self, endpoint: &Arc<str>) -> LocalBoxFuture<'static, Result<(), String>> {
        let mut endpoints = lock(&self.0);
        let (answer, asked) = endpoints.entry(endpoint.clone()).or_default();
        *asked += 1;
        match answer {
            Answer::Well => std::future::ready(Ok(())).boxed_local(),
            Answer::Badly => std::future::ready(Err("status 503".to_owned())).boxed_local(),
            Answer::Never => std::future::pending().boxed_local(),
        }
    }
}

fn addresses(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn start(control: &Control, fake: &Arc<Fake>, names: &[&str]) -> Health {
    Health::start(control, "orders", &addresses(names), Settings::default(), fake.clone())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_endpoint_that_fails_three_times_is_taken_out_and_returns_with_a_success() {
    let control = control();
    let clock = control.clock();
    let fake = Arc::new(Fake::default());
    fake.set("b", Answer::Badly);
    let health = start(&control, &fake, &["a", "b"]);
    let view = health.view();
    assert!(view.is_healthy(0) && view.is_healthy(1) && !view.is_healthy(2));
    until("the first probe", || fake.asked("b") == 1 && clock.sleepers() == 1);
    assert!(view.is_healthy(1));
    advance_until(clock, SECOND, "its end", || !view.is_healthy(1));
    assert_eq!((fake.asked("a"), fake.asked("b"), view.healthy()), (3, 3, 1));
    let expected = json!({
        "upstream": "orders", "healthy": 1,
        "endpoints": [
            { "endpoint": "a", "healthy": true, "probes": 3, "against": 0 },
            { "endpoint": "b", "healthy": false, "probes": 3, "against": 0, "last_error": "status 503" },
        ],
    });
    assert_eq!(control.registry().states()[0]["state"], expected);
    fake.set("b", Answer::Well);
    advance_until(clock, SECOND, "its return", || view.is_healthy(1));
    assert_eq!(fake.asked("b"), 4);
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_fails() {
    let control = control();
    let fake = Arc::new(Fake::default());
    fake.set("a", Answer::Never);
    let health = start(&control, &fake, &["a"]);
    advance_until(control.clock(), SECOND, "its end", || health.view().healthy() == 0);
    let state = &control.registry().states()[0]["state"]["endpoints"][0];
    assert_eq!(state["last_error"], "no answer within 1000 ms");
}

#[test]
fn a_reload_keeps_what_is_known_probes_what_is_new_and_leaves_what_is_gone() {
    let control = control();
    let clock = control.clock();
    let fake = Arc::new(Fake::default());
    fake.set("b", Answer::Badly);
    let health = start(&control, &fake, &["a", "b"]);
    let before = health.view();
    advance_until(clock, SECOND, "b's end", || before.healthy() == 1);
    let after = health.reload(&addresses(&["c", "b"]), Settings::default(), fake.clone());
    assert!(after.is_healthy(0) && !after.is_healthy(1));
    until("the new one to be probed", || fake.asked("c") == 1);
    let asked = fake.asked("a");
    fake.set("b", Answer::Well);
    advance_until(clock, SECOND, "b's return", || after.is_healthy(1));
    assert!(before.is_healthy(1), "an older view shows the same endpoint");
    assert_eq!(fake.asked("a"), asked);
}

#[test]
fn what_is_known_outlives_a_panic() {
    let control = control();
    let clock = control.clock();
    let fake = Arc::new(Fake::default());
    fake.set("b", Answer::Badly);
    let health = start(&control, &fake, &["a", "b"]);
    let view = health.view();
    advance_until(clock, SECOND, "b's end", || view.healthy() == 1);
    let registry = control.registry();
    assert!(registry.make_panic("health/orders"));
    until("the panic", || registry.status("health/orders") == Some(Status::Restarting));
    assert!(view.is_healthy(0) && !view.is_healthy(1));
    fake.set("b", Answer::Well);
    advance_until(clock, SECOND, "b's return", || view.is_healthy(1));
    drop(health);
    let asked = fake.asked("a");
    control.stop();
    assert_eq!(fake.asked("a"), asked);
}
