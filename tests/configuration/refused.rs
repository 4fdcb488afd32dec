//! A document with problems: all of them are told, nothing changes.

use std::fs;

use serde_json::json;

use super::{changed, in_force, named, renamed, told};
use crate::kit::{FakeUpstream, TestGateway};

const MISTAKEN: &str = r"
listeners: { public: { address: 127.0.0.1:0 } }
upstreams:
  service: { endpoints: [ http://127.0.0.1:9 ], timeout: 5s }
routes:
  all: { path: /**, upstream: servise, deadline: soon }
  odd: { path: legacy, upstream: service }
consumers:
  acme: { keys: [ { hash: ${env:NOBODY_SET_THIS} } ] }
";

const PROBLEMS: &str = "\
gateway.yaml:4:49: upstreams.service.timeout: unknown key; did you mean `timeouts`?
gateway.yaml:6:31: routes.all.upstream: no upstream `servise`; did you mean `service`?
gateway.yaml:6:50: routes.all.deadline: `soon` is not a duration; a whole number and a unit: `500ms`, `30s`, `1m`, `2h`, `1d`
gateway.yaml:7:16: routes.odd.path: `legacy` is not a path; a path begins with `/`
gateway.yaml:9:27: consumers.acme.keys[0].hash: the environment has no variable `NOBODY_SET_THIS`; set it, or give a default: `${env:NOBODY_SET_THIS:-…}`
";

/// Problems with file names as a reader of the test would write them.
fn relative(gateway: &TestGateway, text: &str) -> String {
    text.replace(&format!("{}/", gateway.folder().display()), "")
}

#[test]
fn all_problems_are_told_by_place_and_the_file_before_stays_in_force_until_they_are_mended() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = named(&upstream);
    let sound = gateway.configuration();
    let problems = gateway.reload(MISTAKEN).unwrap_err();
    assert_eq!(relative(&gateway, &problems), PROBLEMS);

    // Ready all the same: it serves as it did.
    let ready = gateway.admin().get("/readyz").assert_status(200).json();
    let refused = json!({ "reloads": 0, "refused": 1, "in_force": "the last good one", "problem": problems, "waits_for_restart": [] });
    let expected = json!({ "ready": true, "stopping": false, "failed_actors": [], "configuration": refused });
    assert_eq!(ready, expected);
    let answer = gateway.get("/x").assert_status(200);
    assert_eq!((answer.json(), answer.header("x-plan")), (json!("served"), Some("one".into())));
    let metrics = gateway.admin().get("/metrics").text();
    for line in ["portolan_reloads_total{result=\"ok\"} 0", "portolan_reloads_total{result=\"refused\"} 1"] {
        assert!(metrics.lines().any(|told| told == line), "{line} is not in\n{metrics}");
    }

    gateway.reload(&sound).unwrap();
    assert_eq!(told(&gateway), in_force(1, 1));
}

#[test]
fn a_file_that_is_gone_or_is_not_yaml_is_refused_and_the_gateway_goes_on() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = named(&upstream);
    fs::remove_file(gateway.folder().join("gateway.yaml")).unwrap();
    let gone = gateway.inner().reload().unwrap_err().render();
    assert_eq!(relative(&gateway, &gone), "gateway.yaml: there is no file `gateway.yaml`\n");
    let empty = gateway.reload("").unwrap_err();
    let least = "the least is a listener: `listeners: { public: { address: 0.0.0.0:8080 } }`";
    assert_eq!(relative(&gateway, &empty), format!("gateway.yaml:1:1: the file says nothing; {least}\n"));
    let torn = gateway.reload("listeners: { public: { address: 127.0").unwrap_err();
    assert!(relative(&gateway, &torn).starts_with("gateway.yaml:1:") && torn.lines().count() == 1, "{torn}");
    gateway.get("/x").assert_status(200);
    assert_eq!(told(&gateway)["refused"], 3);
}

/// An API with a contract of each kind that can be read from a file.
const CONTRACTS: &str = r#"
    upstreams: { service: { endpoints: [ "{upstream}" ] } }
    apis:
      orders: { version: v1, openapi: ./orders.yaml, path: /orders, upstream: service }
      shop: { version: v1, graphql: ./shop.graphql, path: /shop, upstream: service }
"#;

const OPENAPI: &str = "
    openapi: 3.1.0
    info: { title: Orders, version: 1.0.0 }
    paths: { /all: { get: { operationId: listOrders, responses: { '200': { description: all } } } } }
";

#[test]
fn mistakes_inside_contracts_are_told_with_the_contracts_own_places() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = TestGateway::with_config(CONTRACTS)
        .with("upstream", upstream.url())
        .file("orders.yaml", OPENAPI)
        .file("shop.graphql", "type Query { a: Int }")
        .start();
    let reference = "openapi: 3.1.0\ninfo: { title: O, version: '1' }\npaths:\n  /all: { get: { parameters: [ { $ref: '#/components/parameters/Limit' } ], responses: {} } }\n";
    fs::write(gateway.folder().join("orders.yaml"), reference).unwrap();
    fs::write(gateway.folder().join("shop.graphql"), "type Query {\n  a: Number\n}\n").unwrap();
    let problems = gateway.inner().reload().unwrap_err().render();
    let expected = "\
orders.yaml:4:40: paths./all.get.parameters.0.$ref: `#/components/parameters/Limit` is not in this document
shop.graphql:2:6: cannot find type `Number` in this document
";
    assert_eq!(relative(&gateway, &problems), expected);
    gateway.get("/orders/all").assert_status(200);
}

#[test]
fn routes_that_take_the_same_requests_are_refused_and_both_are_named() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = TestGateway::with_config(CONTRACTS)
        .with("upstream", upstream.url())
        .file("orders.yaml", OPENAPI)
        .file("shop.graphql", "type Query { a: Int }")
        .start();
    let sound = gateway.configuration();
    let from = gateway.configuration().lines().count() + 2;
    let refused = |routes: &str| {
        let problems = gateway.reload(&format!("{}routes:\n{routes}", sound)).unwrap_err();
        relative(&gateway, &problems)
    };
    let among_routes = refused(
        "  first: { path: '/things/{id}', methods: [ GET, PUT ], upstream: service }
  second: { path: '/things/{thing}', methods: [ DELETE, PUT ], upstream: service }
  beside: { path: '/things/{id}', methods: [ POST ], upstream: service }
",
    );
    let place = from + 1;
    let expected = format!(
        "gateway.yaml:{place}:19: routes.second.path: `/things/{{thing}}` is what route `first` serves already; tell them apart by path, `host` or `methods`\n"
    );
    assert_eq!(among_routes, expected);
    let with_an_api = refused("  third: { path: /orders/all, methods: [ GET ], upstream: service }\n");
    let expected = format!(
        "gateway.yaml:{from}:3: routes.third: `/orders/all` takes the same requests as `orders`; give one of them another path, host or method\n"
    );
    assert_eq!(with_an_api, expected);
    gateway.get("/things/1").assert_problem(404, "unknown_route");
}

#[test]
fn a_refused_file_does_not_touch_the_breaker_of_an_upstream_that_it_would_have_changed() {
    let upstream = FakeUpstream::failing();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ], breaker: { minimum: 2, open_for: 1m } } }
        apis: { orders: { version: v1, openapi: ./orders.yaml, path: /orders, upstream: service } }
        routes:
          all: { path: /**, upstream: service }
        "#,
    )
    .with("upstream", upstream.url())
    .file("orders.yaml", OPENAPI)
    .start();
    let sound = gateway.configuration();
    for _ in 0..2 {
        gateway.get("/x").assert_status(500);
    }
    gateway.get("/x").assert_problem(503, "circuit_open");
    // The mistake is one that only shows when the routes are laid.
    let other = changed(&gateway, "open_for: 1m", "open_for: 2m")
        + "  again: { path: /orders/all, methods: [ GET ], upstream: service }\n";
    gateway.reload(&other).unwrap_err();
    gateway.reload(&sound).unwrap();
    gateway.get("/x").assert_problem(503, "circuit_open");
    assert_eq!(upstream.count(), 2);
}

#[test]
fn a_listener_or_an_admin_port_that_changed_waits_for_the_next_start() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = named(&upstream);
    let (sound, address, admin) = (gateway.configuration(), gateway.address(), gateway.inner().admin());
    let elsewhere =
        renamed(&gateway, "two").replace("public: { address: 127.0.0.1:0 }", "other: { address: 127.0.0.1:1 }");
    gateway.reload(&elsewhere.replace("admin: { address: 127.0.0.1:0 }", "admin: { address: 127.0.0.1:2 }")).unwrap();
    assert_eq!((gateway.address(), gateway.inner().admin()), (address, admin));
    assert_eq!(gateway.get("/x").assert_status(200).header("x-plan"), Some("two".into()));
    assert_eq!(told(&gateway)["waits_for_restart"], json!(["listeners", "admin"]));
    gateway.reload(&sound).unwrap();
    assert_eq!(told(&gateway), in_force(2, 0));
}
