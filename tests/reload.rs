//! A configuration that changes while the gateway serves.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::kit::{FakeUpstream, RawClient, TestGateway};

const TWO: &str = r#"
    upstreams: { old: { endpoints: [ "{old}" ] }, new: { endpoints: [ "{new}" ] } }
    routes: { one: { path: /**, upstream: old } }
"#;

fn start(old: &FakeUpstream, new: &FakeUpstream) -> TestGateway {
    TestGateway::with_config(TWO).with("old", old.url()).with("new", new.url()).start()
}

fn turned(gateway: &TestGateway) -> String {
    gateway.configuration().replace("upstream: old", "upstream: new")
}

#[test]
fn a_reload_takes_effect_for_the_next_request_and_leaves_those_under_way_alone() {
    let ((old, feed), new) = (FakeUpstream::fed(), FakeUpstream::answering(200, json!("new")));
    let gateway = start(&old, &new);
    let mut under_way = RawClient::connect(gateway.address());
    under_way.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    feed.send("first");
    under_way.read_until("first");
    gateway.reload(&turned(&gateway)).unwrap();
    assert_eq!(gateway.get("/").json(), "new");
    feed.send("second");
    under_way.read_until("second");
    feed.end();
    under_way.read_until("0\r\n\r\n");
    // The connection outlives the plan it was opened under.
    under_way.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(under_way.read_answer().1, "\"new\"");
}

#[test]
fn a_document_with_problems_is_refused_all_told_at_once_and_the_one_before_stays_in_force() {
    let (old, new) = (FakeUpstream::answering(200, json!("old")), FakeUpstream::echo());
    let gateway = start(&old, &new);
    let sound = gateway.configuration();
    let broken = sound.replace("upstream: old", "upstream: odl, colour: red");
    let problems = gateway.reload(&broken).unwrap_err();
    for said in ["odl", "did you mean `old`?", "colour", "gateway.yaml:"] {
        assert!(problems.contains(said), "no {said} in {problems}");
    }
    assert_eq!(gateway.get("/").json(), "old");
    let ready = gateway.admin().get("/readyz").assert_status(200).json();
    assert_eq!(
        (&ready["configuration"]["refused"], &ready["configuration"]["in_force"]),
        (&json!(1), &json!("the last good one"))
    );
    assert!(ready["configuration"]["problem"].as_str().is_some_and(|problem| problem.contains("odl")), "{ready}");
    gateway.reload(&sound).unwrap();
    assert_eq!(gateway.admin().get("/readyz").json()["configuration"]["in_force"], "the file");
}

#[test]
fn a_change_of_the_file_is_noticed() {
    let (old, new) = (FakeUpstream::answering(200, json!("old")), FakeUpstream::answering(200, json!("new")));
    let gateway = start(&old, &new);
    assert_eq!(gateway.get("/").json(), "old");
    fs::write(gateway.folder().join("gateway.yaml"), turned(&gateway)).unwrap();
    gateway.advance_until("the change is noticed", Duration::from_millis(500), || gateway.get("/").json() == "new");
}

#[test]
fn what_did_not_change_keeps_its_state_through_a_reload() {
    let (old, new) = (FakeUpstream::failing(), FakeUpstream::echo());
    let gateway = TestGateway::with_config(
        r#"
        upstreams:
          old: { endpoints: [ "{old}" ], breaker: { error_ratio: 50%, minimum: 2, window: 10s, open_for: 60s } }
          new: { endpoints: [ "{new}" ] }
        routes:
          one: { path: /one, upstream: old }
          few: { path: /few, upstream: new, rate_limit: { per: address, limit: 1, every: 1h } }
        "#,
    )
    .with("old", old.url())
    .with("new", new.url())
    .start();
    gateway.get("/one").assert_status(500);
    gateway.get("/one").assert_status(500);
    gateway.get("/one").assert_problem(503, "circuit_open");
    gateway.get("/few").assert_status(200);
    let more = gateway.configuration() + "  two: { path: /two, upstream: new }\n";
    gateway.reload(&more).unwrap();
    gateway.get("/two").assert_status(200);
    gateway.get("/one").assert_problem(503, "circuit_open");
    gateway.get("/few").assert_problem(429, "rate_limited");
}

#[test]
fn twenty_mistakes_are_told_in_one_run_each_with_its_place() {
    let mut configuration = "listeners: { public: { address: 127.0.0.1:0 } }\nadmin: { address: 127.0.0.1:0 }\nupstreams: { service: { endpoints: [ \"http://127.0.0.1:1\" ] } }\nroutes:\n".to_owned();
    for number in 0..10 {
        configuration += &format!("  r{number}: {{ path: /{number}, upstream: servise, colour{number}: red }}\n");
    }
    let refused =
        TestGateway::with_config(&configuration).try_start().err().expect("nothing of it is right").to_string();
    for number in 0..10 {
        let line = number + 7;
        let places = refused.lines().filter(|told| told.contains(&format!("gateway.yaml:{line}:"))).count();
        assert!(places >= 2, "line {line} is told {places} times in\n{refused}");
        assert!(refused.contains(&format!("colour{number}")), "{refused}");
    }
    assert!(refused.matches("did you mean `service`?").count() >= 10, "{refused}");
}
