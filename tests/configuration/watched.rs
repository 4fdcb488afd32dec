//! Changes on disk are noticed: nobody has to tell the gateway.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::{in_force, named, renamed, told};
use crate::kit::{FakeUpstream, TestGateway};

/// The watch looks so often, and tells of a change when two looks agree.
const LOOK: Duration = Duration::from_millis(500);

/// Lets time pass until the plan of this name is in force.
fn wait_for_plan(gateway: &TestGateway, name: &str) {
    gateway
        .advance_until(&format!("plan `{name}`"), LOOK, || gateway.get("/x").header("x-plan").as_deref() == Some(name));
}

#[test]
fn a_file_that_is_written_renamed_over_or_replaced_takes_effect() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = named(&upstream);
    let file = gateway.folder().join("gateway.yaml");
    let (second, third, fourth) = (renamed(&gateway, "two"), renamed(&gateway, "three"), renamed(&gateway, "four"));
    fs::write(&file, second).unwrap();
    wait_for_plan(&gateway, "two");
    // As editors save: a new file takes the name.
    fs::write(gateway.folder().join(".gateway.yaml.swp"), third).unwrap();
    fs::rename(gateway.folder().join(".gateway.yaml.swp"), &file).unwrap();
    wait_for_plan(&gateway, "three");
    // As careful editors save: the old file steps aside first.
    fs::rename(&file, gateway.folder().join("gateway.yaml~")).unwrap();
    fs::write(&file, fourth).unwrap();
    wait_for_plan(&gateway, "four");
}

const ORDERS: &str = r#"
    upstreams: { service: { endpoints: [ "{upstream}" ] } }
    apis:
      orders: { version: v1, openapi: ./orders.yaml, path: /orders, upstream: service }
"#;

/// A contract with one operation at this path.
fn contract(path: &str) -> String {
    format!(
        "openapi: 3.1.0\ninfo: {{ title: O, version: '1' }}\npaths: {{ {path}: {{ get: {{ responses: {{}} }} }} }}\n"
    )
}

#[test]
fn a_contract_that_changes_takes_effect() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = TestGateway::with_config(ORDERS)
        .with("upstream", upstream.url())
        .file("orders.yaml", &contract("/all"))
        .start();
    gateway.get("/orders/all").assert_status(200);
    fs::write(gateway.folder().join("orders.yaml"), contract("/open")).unwrap();
    gateway.advance_until("the new operation", LOOK, || gateway.get("/orders/open").status == 200);
    gateway.get("/orders/all").assert_problem(404, "unknown_route");
    assert_eq!(told(&gateway), in_force(1, 0));
}

#[test]
fn a_file_with_mistakes_is_refused_once_and_taken_when_it_is_mended() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = named(&upstream);
    let sound = renamed(&gateway, "two");
    let file = gateway.folder().join("gateway.yaml");
    fs::write(&file, "nonsense: true\n").unwrap();
    gateway.advance_until("the refusal", LOOK, || told(&gateway)["refused"] == 1);
    assert_eq!(gateway.get("/x").assert_status(200).header("x-plan"), Some("one".into()));
    fs::write(&file, sound).unwrap();
    wait_for_plan(&gateway, "two");
    assert_eq!(told(&gateway), in_force(1, 1));
}

#[test]
fn a_new_contract_with_mistakes_is_watched_so_that_mending_it_is_enough() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = TestGateway::with_config(ORDERS)
        .with("upstream", upstream.url())
        .file("orders.yaml", &contract("/all"))
        .start();
    let added = "  shop: { version: v1, graphql: ./shop.graphql, path: /shop, upstream: service }\n";
    // First the file that it names is missing, then it is wrong, then it is mended. Nobody touches the configuration again.
    let told_now = gateway.reload(&(gateway.configuration() + added)).unwrap_err();
    assert!(told_now.contains("there is no file"), "{told_now}");
    let shop = gateway.folder().join("shop.graphql");
    fs::write(&shop, "type Query { a: Number }").unwrap();
    gateway.advance_until("the second refusal", LOOK, || {
        told(&gateway)["problem"].as_str().is_some_and(|problem| problem.contains("`Number`"))
    });
    fs::write(&shop, "type Query { a: Int }").unwrap();
    gateway.advance_until("the mended contract", LOOK, || told(&gateway)["in_force"] == "the file");
    let query = json!({ "query": "{ a }" });
    gateway.post("/shop", &query).assert_status(200);
    gateway.get("/orders/all").assert_status(200);
}
