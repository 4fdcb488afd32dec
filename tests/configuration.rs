//! Reloads of a running gateway: what they change, what they leave alone, and what becomes of a file with mistakes.

mod effects;
mod refused;
mod untouched;
mod watched;

use serde_json::{Value, json};

use crate::kit::{FakeUpstream, TestGateway};

/// One service behind one route, and the plan's name on every answer.
const NAMED: &str = r#"
    upstreams: { service: { endpoints: [ "{upstream}" ] } }
    routes: { all: { path: /**, upstream: service, headers: { response: { set: { x-plan: one } } } } }
"#;

/// A gateway of [`NAMED`].
fn named(upstream: &FakeUpstream) -> TestGateway {
    TestGateway::with_config(NAMED).with("upstream", upstream.url()).start()
}

/// The configuration in force with the plan called otherwise.
fn renamed(gateway: &TestGateway, name: &str) -> String {
    changed(gateway, "x-plan: one", &format!("x-plan: {name}"))
}

/// The configuration with one thing changed.
fn changed(gateway: &TestGateway, from: &str, to: &str) -> String {
    let configuration = gateway.configuration();
    assert!(configuration.contains(from), "`{from}` is not in the configuration");
    configuration.replace(from, to)
}

/// What `/readyz` says of the configuration.
fn told(gateway: &TestGateway) -> Value {
    gateway.admin().get("/readyz").json()["configuration"].take()
}

/// What `/readyz` says after so many reloads that went well.
fn in_force(reloads: u64, refused: u64) -> Value {
    json!({ "reloads": reloads, "refused": refused, "in_force": "the file", "problem": null, "waits_for_restart": [] })
}
