//! The real binary: its commands, its signals, its demo.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::binary::{Binary, portolan};
use crate::kit::kafka::ForeignKafka;
use crate::kit::session::Session;
use crate::kit::{Answer, Client, FakeUpstream, wait};

const GATEWAY: &str = "listeners: { public: { address: 127.0.0.1:0 } }
admin: { address: 127.0.0.1:0 }
access_log: { to: off }
upstreams: { service: { endpoints: [ ${env:SERVICE} ] } }
routes: { all: { path: /**, upstream: service } }
";

/// Waits for the line that says where this listens.
fn address(binary: &Binary, message: &str) -> std::net::SocketAddr {
    let line = binary.wait_for_line(message);
    let line: Value = serde_json::from_str(&line).expect("a line of the log is JSON");
    line["address"].as_str().expect("the line names the address").parse().expect("an address")
}

#[test]
fn run_serves_reloads_on_sighup_and_ends_on_sigterm_in_good_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, GATEWAY).unwrap();
    let upstream = FakeUpstream::answering(200, json!("hello"));
    let arguments = ["run", "-c", file.to_str().unwrap()];
    let mut binary = Binary::start_with(&arguments, &[("SERVICE", &upstream.url())]);
    let client = Client::new(address(&binary, "\"listening\""));
    let admin = Client::new(address(&binary, "admin port open"));
    assert_eq!(client.get("/a").json(), "hello");

    fs::write(&file, GATEWAY.replace("/**", "/only/**")).unwrap();
    binary.signal(Signal::HUP);
    wait::until("the reload", || client.get("/a").status == 404);
    client.get("/only/a").assert_status(200);

    fs::write(&file, GATEWAY.replace("upstream: service", "upstream: servise")).unwrap();
    binary.signal(Signal::HUP);
    binary.wait_for_line("did you mean `service`?");
    client.get("/only/a").assert_status(200);
    admin.get("/readyz").assert_status(200);

    binary.signal(Signal::TERM);
    assert_eq!(binary.wait().code(), Some(0), "{:#?}", binary.lines());
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, GATEWAY).unwrap();
    let (upstream, feed) = FakeUpstream::fed();
    let arguments = ["run", "-c", file.to_str().unwrap()];
    let mut binary = Binary::start_with(&arguments, &[("SERVICE", &upstream.url())]);
    let pending = Client::new(address(&binary, "\"listening\"")).call("GET", "/").start();
    upstream.wait_for(1);
    binary.signal(Signal::INT);
    binary.wait_for_line("stopping");
    feed.send("answered");
    feed.end();
    assert_eq!(pending.answer().assert_status(200).text(), "answered");
    assert_eq!(binary.wait().code(), Some(0), "{:#?}", binary.lines());
}

#[test]
fn check_tells_every_problem_with_its_place_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.yaml");
    fs::write(
        &file,
        "listeners:\n  public: { address: 127.0.0.1:0 }\nupstreams:\n  warehouse:\n    endpoints: [ \"http://127.0.0.1:1\" ]\n\
         routes:\n  orders:\n    path: /orders\n    upstream: warehose\n    rate_limt: 3\n",
    )
    .unwrap();
    let said = portolan(&["check", file.to_str().unwrap()]);
    let text = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, Some(1), "{text}");
    for told in ["bad.yaml:9:", "bad.yaml:10:", "`warehouse`", "`rate_limit`"] {
        assert!(text.contains(told), "no {told} in\n{text}");
    }

    fs::write(&file, GATEWAY.replace("${env:SERVICE}", "http://127.0.0.1:1")).unwrap();
    let said = portolan(&["check", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert_eq!(portolan(&["check", "/no/such/file.yaml"]).code, Some(1));
    assert_eq!(portolan(&["dance"]).code, Some(2));
}

#[test]
fn run_without_a_sound_configuration_says_what_is_wrong_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.yaml");
    fs::write(&file, "listeners: {}\ncolour: red\n").unwrap();
    let said = portolan(&["run", "-c", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("bad.yaml:2:1") && said.stderr.contains("colour"), "{}", said.stderr);
}

#[test]
fn schema_is_a_json_schema_of_what_check_accepts() {
    let said = portolan(&["schema"]);
    let schema: Value = serde_json::from_str(&said.stdout).expect("the schema is JSON");
    assert_eq!(said.code, Some(0));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$ref"], "#/$defs/Document");
    for key in ["listeners", "upstreams", "apis", "routes", "consumers", "plans", "identity", "brokers"] {
        assert!(schema["$defs"]["Document"]["properties"][key].is_object(), "no {key} in the schema");
    }
}

#[test]
fn help_teaches() {
    let said = portolan(&["--help"]);
    for command in ["run", "check", "schema", "demo"] {
        assert!(said.stdout.contains(command), "{}", said.stdout);
    }
    assert!(portolan(&["run", "--help"]).stdout.contains("SIGHUP"));
}

/// Waits for the line of the demo that names an address.
fn named(demo: &Binary, name: &str) -> String {
    let prefix = format!("{name}: ");
    demo.wait_for_start(&prefix)[prefix.len()..].trim_start_matches("http://").to_owned()
}

#[test]
fn the_demo_keeps_its_contract() {
    let mut demo = Binary::start(&["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let (gateway, admin, kafka) = (named(&demo, "gateway"), named(&demo, "admin"), named(&demo, "kafka"));
    demo.wait_for_start("ready");
    let address = gateway.parse().unwrap();
    let client = Client::new(address);
    let call = |method: &str, target: &str, key: &str| client.call(method, target).header("x-api-key", key);
    let get = |target: &str| call("GET", target, "demo-key").send();

    let orders = get("/orders-api/v3/orders").assert_status(200).json();
    let first = orders["orders"][0].clone();
    let one = get(&format!("/orders-api/v3/orders/{}", first["id"].as_str().unwrap())).assert_status(200).json();
    assert_eq!(one, first);

    // The order that is made is an event, seen by a session and by a foreign client.
    let mut session = Session::open(address, "/order-events/v2", &[("x-api-key", "demo-key")]);
    session.subscribe("orders.created");
    let order = json!({ "productId": "1", "customerId": "1", "quantity": 2 });
    let made = call("POST", "/orders-api/v3/orders", "demo-key").json(&order).send();
    assert!([200, 201].contains(&made.status), "{}", made.text());
    let made = made.json();
    let event = session.event(|event| event["data"]["id"] == made["id"]);
    assert_eq!(event["data"]["quantity"], 2);
    let mut foreign = ForeignKafka::connect(&kafka);
    let (partition, offset) = event["pos"].as_str().unwrap().split_once(':').unwrap();
    let record = foreign.read("orders.created.v2", partition.parse().unwrap(), offset.parse().unwrap(), 1).remove(0);
    assert_eq!(serde_json::from_str::<Value>(record["value"].as_str().unwrap()).unwrap()["id"], made["id"]);
    foreign.produce("orders.created.v2", Some("foreign"), r#"{"id":"foreign","quantity":1}"#);
    session.event(|event| event["key"] == "foreign");

    let graphql =
        |query: &str| call("POST", "/shop/graphql", "demo-key").json(&json!({ "query": query })).send().json();
    let found = graphql(
        "{ products(first: 2) { id orders(first: 1) { id quantity product { id } customer { id } } } customers(first: 1) { id } }",
    );
    assert!(found["errors"].is_null() && found["data"]["products"][0]["id"].is_string(), "{found}");
    let made = graphql(r#"mutation { createOrder(productId: "1", customerId: "1", quantity: 3) { id quantity } }"#);
    assert_eq!(made["data"]["createOrder"]["quantity"], 3, "{made}");

    let refused = |answer: Answer, status: u16, code: &str| drop(answer.assert_problem(status, code));
    refused(client.get("/orders-api/v3/orders"), 401, "credentials_missing");
    refused(call("GET", "/orders-api/v3/orders", "demo-kez").send(), 401, "credentials_invalid");
    let free: Vec<_> = (0..6).map(|_| call("GET", "/orders-api/v3/orders", "demo-free").send()).collect();
    assert!(free[..5].iter().all(|answer| answer.status == 200), "{:?}", free[0]);
    free[5].assert_problem(429, "rate_limited");
    let actors = Client::new(admin.parse().unwrap()).get("/actors").assert_status(200).text();
    assert!(["breaker", "topic", "limit"].iter().all(|word| actors.contains(word)), "{actors}");

    demo.signal(Signal::INT);
    assert_eq!(demo.wait().code(), Some(0), "{:#?}", demo.lines());
}
