//! Actors that panic again and again are given up, visibly, and the gateway goes on without them.

use serde_json::{Value, json};

use super::{EVENTS, SECOND, fail, shown};
use crate::kit::kafka::{Kafka, MockKafka};
use crate::kit::{FakeUpstream, Reply, TestGateway};

/// One actor of each kind.
const ALL: [&str; 7] = [
    "breaker/service",
    "health/service",
    "limiter/memory",
    "publisher/main",
    "shard/0",
    "topic/main/orders",
    "watch/configuration",
];

#[test]
fn a_gateway_whose_actors_have_all_failed_says_so_and_still_answers() {
    let kafka = MockKafka::start(&[("orders", 1)]);
    let upstream = FakeUpstream::start(|seen| Reply::bytes(if seen.target == "/bad" { 500 } else { 200 }, "an answer"));
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        upstreams:
          service: { endpoints: [ "{upstream}" ], health: { path: /healthz, interval: 5s }, breaker: { minimum: 2, open_for: 5s } }
        routes:
          all: { path: /**, upstream: service }
          limited: { path: /limited, upstream: service, rate_limit: { per: route, limit: 2, every: 1m } }
        brokers: { main: { kafka: { bootstrap: [ "{kafka}" ] } } }
        apis: { events: { version: v1, asyncapi: ./events.asyncapi.yaml, path: /events, broker: main } }
        "#,
    )
    .with("upstream", upstream.url())
    .with("kafka", kafka.bootstrap())
    .file("events.asyncapi.yaml", EVENTS)
    .start();
    let names = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let page = gateway.admin().get("/actors").json();
    let known: Vec<_> = page["actors"].as_array().unwrap().iter().map(|actor| actor["name"].clone()).collect();
    assert_eq!(names(&Value::from(known)), ALL);
    assert_eq!(gateway.admin().get("/readyz").assert_status(200).json()["failed_actors"], json!([]));

    for (at, name) in ALL.iter().enumerate() {
        fail(&gateway, name);
        let ready = gateway.admin().get("/readyz").assert_status(503).json();
        assert_eq!(
            (&ready["ready"], names(&ready["failed_actors"])),
            (&json!(false), ALL[..=at].iter().map(|name| (*name).to_owned()).collect())
        );
        let actor = shown(&gateway, name);
        assert_eq!(
            [&actor["status"], &actor["restarts"], &actor["last_panic"]],
            [&json!("failed"), &json!(5), &json!("told to panic")]
        );
        let (kind, _) = name.split_once('/').unwrap();
        let labels = format!("{{kind=\"{kind}\",name=\"{name}\"}}");
        assert_eq!(gateway.metric(&format!("portolan_actor_up{labels}")), 0.0);
        assert_eq!(gateway.metric(&format!("portolan_actor_restarts_total{labels}")), 5.0);
        assert!(!gateway.inner().registry().make_panic(name), "what is down for good cannot panic");
        gateway.get("/sound").assert_status(200);
    }

    // Alive, not ready, and not wrong: limits limit, breakers break, records are placed.
    gateway.admin().get("/livez").assert_status(200);
    gateway.get("/limited").assert_status(200);
    gateway.get("/limited").assert_status(200);
    gateway.get("/limited").assert_problem(429, "rate_limited");
    gateway.post("/events/orders", &json!({ "id": 1 })).assert_status(201);
    // The successes of before leave the window of ten seconds.
    gateway.advance(11 * SECOND);
    gateway.get("/bad").assert_status(500);
    gateway.get("/bad").assert_status(500);
    gateway.get("/sound").assert_problem(503, "circuit_open");
    gateway.advance(5 * SECOND);
    gateway.get("/sound").assert_status(200);
    gateway.get("/sound").assert_status(200);
}

#[test]
fn an_actor_that_panics_now_and_then_is_never_given_up() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    for _ in 0..12 {
        super::panic(&gateway, "limiter/memory");
        // A minute apart, each is the first: the pause is short, and nothing adds up.
        gateway.advance_until("it runs again", SECOND, || shown(&gateway, "limiter/memory")["status"] == "running");
        gateway.advance(60 * SECOND);
    }
    assert_eq!(shown(&gateway, "limiter/memory")["restarts"], 12);
    gateway.admin().get("/readyz").assert_status(200);
}
