//! The admin port: probes, metrics, routes, actors, and who may see them.

mod exposition;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use portolan_identity::testing::{SigningKey, key_set};
use serde_json::{Value, json};

use crate::kit::kafka::{Kafka, MockKafka};
use crate::kit::wait::{self, Watched};
use crate::kit::{Client, FakeUpstream, Reply, TestGateway};
use exposition::{Family, parse};

/// A service behind one route.
const ONE: &str = r#"
    upstreams: { service: { endpoints: [ "{upstream}" ] } }
    routes: { all: { path: /all/**, upstream: service } }
"#;

fn one(upstream: &FakeUpstream) -> TestGateway {
    TestGateway::with_config(ONE).with("upstream", upstream.url()).start()
}

const CONFIGURATION: &str =
    r#"{ "reloads": 0, "refused": 0, "in_force": "the file", "problem": null, "waits_for_restart": [] }"#;

fn ready(ready: bool, stopping: bool, failed: &[&str]) -> Value {
    let configuration: Value = serde_json::from_str(CONFIGURATION).unwrap();
    json!({ "ready": ready, "stopping": stopping, "failed_actors": failed, "configuration": configuration })
}

#[test]
fn probes_say_that_it_serves_and_what_keeps_it_from_serving() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = one(&upstream);
    let admin = gateway.admin();
    assert_eq!(admin.get("/livez").assert_status(200).json(), json!({ "live": true }));
    assert_eq!(admin.get("/readyz").assert_status(200).json(), ready(true, false, &[]));
    // Probes are often asked with HEAD.
    for page in ["/livez", "/readyz"] {
        let answer = admin.call("HEAD", page).send().assert_status(200);
        assert_eq!(answer.text(), "");
    }
    // An actor that fails for good makes it not ready, not dead; it goes on serving.
    let registry = gateway.inner().registry();
    gateway.advance_until("an actor that fails for good", Duration::from_millis(500), || {
        registry.make_panic("breaker/service");
        !registry.failed().is_empty()
    });
    assert_eq!(admin.get("/readyz").assert_status(503).json(), ready(false, false, &["breaker/service"]));
    admin.get("/livez").assert_status(200);
    gateway.get("/all/x").assert_status(200);
}

#[test]
fn while_it_ends_it_is_not_ready() {
    let gate = Watched::<bool>::default();
    let upstream = FakeUpstream::start({
        let gate = gate.clone();
        move |_| {
            gate.wait("the test's leave to answer", |is_open| is_open.then_some(()));
            Reply::json(200, &json!("served"))
        }
    });
    let gateway = one(&upstream);
    let (admin, pending) = (gateway.admin(), gateway.call("GET", "/all/x").start());
    upstream.wait_for(1);
    // It ends while a request is under way.
    let ending = thread::spawn(move || drop(gateway));
    let mut last = Value::Null;
    wait::until("the probe to say so", || {
        let answer = admin.get("/readyz");
        last = answer.json();
        answer.status == 503
    });
    gate.change(|is_open| *is_open = true);
    assert_eq!(last, ready(false, true, &[]));
    pending.answer().assert_status(200);
    ending.join().unwrap();
}

/// One of everything that has metrics and actors of its own.
const EVERYTHING: &str = r#"
    identity:
      keys: { api_key: { header: x-api-key, pepper: pepper } }
      partners: { jwt: { jwks: ./keys.json, issuer: https://idp.example.com, audience: api } }
    brokers: { main: { kafka: { bootstrap: [ "{kafka}" ] } } }
    upstreams:
      orders: { endpoints: [ "{upstream}" ], health: { path: /healthz, interval: 5s } }
      plain: { endpoints: [ "{upstream}" ], breaker: off }
    apis:
      orders:
        version: v3
        openapi: ./orders.yaml
        path: /orders
        host: api.example.com
        upstream: orders
        authenticate: [ keys ]
        rate_limit: { per: consumer, limit: 100, every: 1m }
        headers: { response: { set: { x-a: b } } }
        deadline: 7s
      events: { version: v1, asyncapi: ./events.yaml, path: /events, broker: main }
    routes:
      files: { path: /files/**, methods: [ GET, PUT ], upstream: plain }
    consumers:
      one: { keys: [ { hash: 712429ca48bfa664f9b847611a7035c787d010f3ed3676f2ee6cbede9e8b68b1 } ], subscriptions: [ { api: orders } ] }
"#;

const OPENAPI: &str = "
    openapi: 3.1.0
    info: { title: Orders, version: 1.0.0 }
    paths: { '/{id}': { get: { operationId: getOrder, parameters: [ { name: id, in: path, required: true } ], responses: {} } } }
";

const ASYNCAPI: &str = "
    asyncapi: 3.0.0
    info: { title: Events, version: 1.0.0 }
    channels: { made: { address: made } }
    operations:
      tell: { action: send, channel: { $ref: '#/channels/made' } }
      take: { action: receive, channel: { $ref: '#/channels/made' } }
";

fn everything(upstream: &FakeUpstream, kafka: &MockKafka) -> TestGateway {
    TestGateway::with_config(EVERYTHING)
        .with("upstream", upstream.url())
        .with("kafka", kafka.bootstrap())
        .file("orders.yaml", OPENAPI)
        .file("events.yaml", ASYNCAPI)
        .file("keys.json", &key_set(&[&SigningKey::es256("e1")]))
        .start()
}

#[test]
fn routes_show_their_policies_in_the_order_of_their_phases() {
    let (upstream, kafka) = (FakeUpstream::echo(), MockKafka::start(&[("made", 1)]));
    let gateway = everything(&upstream, &kafka);
    let shown = gateway.admin().get("/routes").assert_status(200).json();
    let policies = |list: &[(&str, &str)]| {
        list.iter().map(|(name, phase)| json!({ "name": name, "phase": phase })).collect::<Vec<_>>()
    };
    let orders = policies(&[
        ("api_key", "authenticate"),
        ("subscription", "authorize"),
        ("rate_limit", "limit"),
        ("headers", "transform"),
        ("sanitise", "transform"),
    ]);
    let expected = json!({ "routes": [
        {
            "route": "orders", "path": "/orders/{id}", "methods": ["GET"], "inbound": "rest", "outbound": "http",
            "policies": orders, "deadline_ms": 7000, "host": "api.example.com", "version": "v3", "operation": "getOrder",
        },
        {
            "route": "events", "path": "/events/**", "methods": [], "inbound": "events", "outbound": "events",
            "policies": [], "deadline_ms": 30000, "version": "v1",
        },
        {
            "route": "files", "path": "/files/**", "methods": ["GET", "PUT"], "inbound": "rest", "outbound": "http",
            "policies": policies(&[("sanitise", "transform")]), "deadline_ms": 30000,
        },
    ] });
    assert_eq!(shown, expected);
}

#[test]
fn actors_show_who_works_here() {
    let (upstream, kafka) = (FakeUpstream::echo(), MockKafka::start(&[("made", 1)]));
    let gateway = everything(&upstream, &kafka);
    let shown = gateway.admin().get("/actors").assert_status(200).json();
    let actors = shown["actors"].as_array().expect("a list");
    let named: Vec<_> =
        actors.iter().map(|actor| (&actor["name"], &actor["kind"], &actor["status"], &actor["restarts"])).collect();
    let expected = [
        ("breaker/orders", "breaker"),
        ("health/orders", "health"),
        ("limiter/memory", "limiter"),
        ("publisher/main", "publisher"),
        ("shard/0", "shard"),
        ("shard/1", "shard"),
        ("topic/main/made", "topic"),
        ("watch/configuration", "watch"),
    ];
    let expected = expected.map(|(name, kind)| (json!(name), json!(kind), json!("running"), json!(0)));
    assert_eq!(
        named,
        expected.iter().map(|(name, kind, status, restarts)| (name, kind, status, restarts)).collect::<Vec<_>>()
    );
    assert_eq!(actors[0]["state"]["state"], "closed");
}

/// Names of metrics with their labels and types, as `docs/operations.md` has them.
fn of_the_page() -> Vec<(String, Vec<String>, String)> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let rows = page
        .lines()
        .skip_while(|line| *line != "| metric | type | counts |")
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut metrics = Vec::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let names: Vec<_> = cells[0].split('`').skip(1).step_by(2).collect();
        let types: Vec<_> = cells[1].split(", ").collect();
        for (at, name) in names.iter().enumerate() {
            let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
            let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).map(str::to_owned);
            let kind = types.get(at).unwrap_or(&types[0]);
            metrics.push((format!("portolan_{name}"), labels.collect(), (*kind).to_owned()));
        }
    }
    metrics.sort();
    metrics
}

#[test]
fn metrics_are_sound_and_are_those_of_the_page() {
    let (upstream, kafka) = (FakeUpstream::echo(), MockKafka::start(&[("made", 1)]));
    let gateway = everything(&upstream, &kafka);
    for _ in 0..3 {
        gateway.call("PUT", "/files/x").body("hello").send().assert_status(200);
    }
    gateway.get("/nowhere").assert_status(404);
    gateway.call("GET", "/orders/1").header("host", "api.example.com").send().assert_status(401);
    gateway.post("/events/made", &json!({ "a": 1 })).assert_status(201);
    gateway.log(6);
    // Lines are there before their writer counts them.
    wait::until("the lines are counted", || gateway.metric("portolan_access_log_lines_total{fate=\"written\"}") >= 6.0);
    let answer = gateway.admin().get("/metrics").assert_status(200);
    assert_eq!(answer.header("content-type").as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
    let families = parse(&answer.text());

    let mut names: Vec<_> =
        families.iter().map(|family| (family.name.clone(), family.labels(), family.kind.clone())).collect();
    names.sort();
    assert_eq!(names, of_the_page());

    let value = |name: &str, labels: &[(&str, &str)]| -> Option<f64> {
        let family = families.iter().find(|family| name.starts_with(&family.name))?;
        family.value(name, labels)
    };
    let expected = [
        ("portolan_requests_total", vec![("route", "files"), ("status", "2xx")], 3.0),
        ("portolan_requests_total", vec![("route", "-"), ("status", "4xx")], 1.0),
        ("portolan_requests_total", vec![("route", "orders"), ("status", "4xx")], 1.0),
        ("portolan_requests_total", vec![("route", "events"), ("status", "2xx")], 1.0),
        ("portolan_faults_total", vec![("route", "-"), ("code", "unknown_route")], 1.0),
        ("portolan_faults_total", vec![("route", "orders"), ("code", "credentials_missing")], 1.0),
        ("portolan_received_bytes_total", vec![("route", "files")], 15.0),
        ("portolan_sent_bytes_total", vec![("route", "files")], 15.0),
        ("portolan_cancelled_total", vec![("route", "files")], 0.0),
        ("portolan_panics_total", vec![("route", "files")], 0.0),
        ("portolan_gateway_seconds_count", vec![("route", "files")], 3.0),
        ("portolan_upstream_seconds_count", vec![("route", "files")], 3.0),
        ("portolan_reloads_total", vec![("result", "ok")], 0.0),
        ("portolan_tokens_total", vec![("identity", "partners"), ("fate", "remembered")], 0.0),
        ("portolan_tokens_remembered", vec![("identity", "partners")], 0.0),
        ("portolan_access_log_lines_total", vec![("fate", "written")], 6.0),
        ("portolan_access_log_lines_total", vec![("fate", "dropped")], 0.0),
        ("portolan_actor_up", vec![("kind", "topic"), ("name", "topic/main/made")], 1.0),
        ("portolan_actor_restarts_total", vec![("kind", "breaker"), ("name", "breaker/orders")], 0.0),
    ];
    for (name, labels, count) in expected {
        assert_eq!(value(name, &labels), Some(count), "{name}{labels:?} in\n{}", answer.text());
    }
    assert!(value("portolan_connections_total", &[]) >= value("portolan_connections", &[]));
}

#[test]
fn metrics_stay_sound_whatever_a_route_is_called() {
    let upstream = FakeUpstream::echo();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { a.b-c_d: { path: /a, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    gateway.get("/a").assert_status(200);
    gateway.log(1);
    let families: Vec<Family> = parse(&gateway.admin().get("/metrics").text());
    let requests = families.iter().find(|family| family.name == "portolan_requests_total").unwrap();
    assert_eq!(requests.value("portolan_requests_total", &[("route", "a.b-c_d"), ("status", "2xx")]), Some(1.0));
}

#[test]
fn with_a_token_only_probes_are_open() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway =
        TestGateway::with_config(&format!("{ONE}    admin: {{ address: 127.0.0.1:0, token: \"${{env:TOKEN}}\" }}\n"))
            .with("upstream", upstream.url())
            .environment("TOKEN", "hush-hush")
            .start();
    let admin = gateway.admin();
    let asked = |page: &str, authorization: &str| admin.call("GET", page).header("authorization", authorization).send();
    // Probes are open; what stands behind the word is for whoever has the token.
    assert_eq!(admin.get("/livez").assert_status(200).json(), json!({ "live": true }));
    assert_eq!(admin.get("/readyz").assert_status(200).json(), json!({ "ready": true }));
    assert_eq!(asked("/readyz", "Bearer wrong").assert_status(200).json(), json!({ "ready": true }));
    assert_eq!(asked("/readyz", "Bearer hush-hush").assert_status(200).json(), ready(true, false, &[]));
    for page in ["/metrics", "/routes", "/actors"] {
        let mut refused = vec![admin.get(page)];
        let wrong = [
            "Bearer",
            "Bearer ",
            "Bearer hush",
            "Bearer hush-hush-hush",
            "Bearer HUSH-HUSH",
            "Basic hush-hush",
            "hush-hush",
        ];
        refused.extend(wrong.map(|authorization| asked(page, authorization)));
        for answer in refused {
            assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer realm=\"admin\""));
            let own = answer.assert_problem(401, "credentials_missing");
            assert_eq!(own, json!({ "detail": "the admin port wants `Authorization: Bearer TOKEN`" }));
        }
        asked(page, "Bearer hush-hush").assert_status(200);
        // A scheme is told without case (RFC 9110, section 11.1).
        asked(page, "bearer hush-hush").assert_status(200);
    }
}

#[test]
fn an_unknown_page_or_another_method_is_a_problem() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = one(&upstream);
    let admin = gateway.admin();
    let own = admin.get("/nowhere").assert_problem(404, "unknown_route");
    let pages = "there is no `/nowhere`; there are /livez, /readyz, /metrics, /routes and /actors";
    assert_eq!(own, json!({ "detail": pages }));
    let refused = admin.call("POST", "/routes").send();
    refused.assert_problem(405, "method_not_allowed");
    assert_eq!(refused.header("allow").as_deref(), Some("GET, HEAD"));
}

#[test]
fn admin_pages_are_not_served_to_clients_nor_routes_on_the_admin_port() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = one(&upstream);
    for page in ["/livez", "/readyz", "/metrics", "/routes", "/actors"] {
        gateway.get(page).assert_problem(404, "unknown_route");
    }
    Client::new(gateway.inner().admin()).get("/all/x").assert_status(404);
    assert_eq!(upstream.count(), 0);
}
