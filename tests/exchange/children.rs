//! The elements of a batch and the commands of a session: exchanges of their own, past the same policies.

use portolan_exchange::{Phase, Step};
use serde_json::{Value, json};

use super::scout::{Notes, Scout, who};
use super::with_scouts;
use crate::kit::gateway::Setup;
use crate::kit::kafka::{Kafka, MockKafka};
use crate::kit::session::Session;
use crate::kit::{FakeUpstream, Reply, TestGateway, wait};

fn graphql(upstream: &FakeUpstream) -> Setup {
    TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { shop: { endpoints: [ "{upstream}" ] } }
        apis: { shop: { version: v1, graphql: ./shop.graphql, path: /shop, upstream: shop } }
        "#,
    )
    .with("upstream", upstream.url())
    .file("shop.graphql", "type Query { first: Int second: Int }")
}

/// Answers each query with its own text as data.
fn shop() -> FakeUpstream {
    FakeUpstream::start(|seen| {
        let first = seen.json()["query"].as_str().unwrap().contains("first");
        Reply::json(200, &json!({ "data": if first { json!({ "first": 1 }) } else { json!({ "second": 2 }) } }))
    })
}

fn batch() -> Value {
    json!([{ "query": "query First { first }" }, { "query": "query Second { second }" }])
}

/// The kafka broker and an API of events before it, with one channel both ways.
fn events() -> (MockKafka, Setup) {
    let kafka = MockKafka::start(&[("orders", 1)]);
    let setup = TestGateway::with_config(
        r#"
        workers: 1
        brokers: { main: { kafka: { bootstrap: [ "{kafka}" ] } } }
        apis: { events: { version: v1, asyncapi: ./events.asyncapi.yaml, path: /events, broker: main } }
        "#,
    )
    .with("kafka", kafka.bootstrap())
    .file("events.asyncapi.yaml", crate::actors::EVENTS);
    (kafka, setup)
}

const ALL: [&str; 8] = ["guard", "authenticate", "authorize", "limit", "filter", "transform", "cache", "call"];
/// What a child passes: its parent passed what comes before Describe.
const FROM_DESCRIBE: [&str; 6] = ["authorize", "limit", "filter", "transform", "cache", "call"];
/// What an element of a batch passes: its limits are drawn by the batch, once.
const OF_AN_ELEMENT: [&str; 5] = ["authorize", "filter", "transform", "cache", "call"];
/// What a batch passes itself.
const OF_A_BATCH: [&str; 4] = ["guard", "authenticate", "authorize", "limit"];

/// In, out with this answer, and to this end, past these policies.
fn passage(policies: &[&str], answer: &str, end: &str) -> Vec<String> {
    let inwards = policies.iter().map(|name| format!("{name} request"));
    let outwards = policies.iter().rev().map(|name| format!("{name} response {answer}"));
    let ends = policies.iter().rev().map(|name| format!("{name} end {end}"));
    inwards.chain(outwards).chain(ends).collect()
}

#[test]
fn the_elements_of_a_batch_pass_the_same_policies_from_describe_on() {
    let notes = Notes::default();
    let shop = shop();
    let gateway = with_scouts(graphql(&shop), Scout::in_each_phase(&notes)).start();
    let answer = gateway.post("/shop", &batch()).assert_status(200);
    assert_eq!(answer.json(), json!([{ "data": { "first": 1 } }, { "data": { "second": 2 } }]));
    let lines = gateway.log(3);
    assert_eq!(notes.of("/shop"), passage(&OF_A_BATCH, "200", "Completed"));
    for element in ["First", "Second"] {
        assert_eq!(notes.of(element), passage(&OF_AN_ELEMENT, "200", "Completed"), "{element}");
    }
    assert_eq!(notes.all().len(), 12 + 2 * 15);
    // One id, a line for each; the elements end before the batch does.
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["operation"].as_str().unwrap(), line["request_id"] == lines[0]["request_id"]))
        .collect();
    let mut elements = told[..2].to_vec();
    elements.sort_unstable();
    assert_eq!((elements, told[2]), (vec![("First", true), ("Second", true)], ("batch", true)));
}

#[test]
fn a_batch_is_authorized_and_limited_as_a_whole_before_any_element() {
    let notes = Notes::default();
    let shop = shop();
    let refusing = Scout::new("refusing", Phase::Limit, &notes).on_request(|_, exchange| match exchange.cost {
        2 => Step::fault(portolan_exchange::Fault::new(portolan_exchange::FaultKind::RateLimited, "both at once")),
        _ => Step::Next,
    });
    let gateway = with_scouts(graphql(&shop), [refusing, Scout::new("inner", Phase::Call, &notes)]).start();
    let answer = gateway.post("/shop", &batch()).assert_status(429);
    assert_eq!(answer.json()["errors"][0]["extensions"]["code"], "rate_limited");
    gateway.log(1);
    assert_eq!(
        notes.all(),
        [
            "/shop: refusing request",
            "/shop: refusing response rate_limited",
            "/shop: refusing end Faulted(RateLimited)"
        ]
    );
    assert_eq!(shop.count(), 0);
    gateway.post("/shop", &json!([{ "query": "query First { first }" }])).assert_status(200);
}

#[test]
fn a_panic_in_an_element_of_a_batch_loses_that_element_alone() {
    for on_the_way_out in [false, true] {
        let notes = Notes::default();
        let shop = shop();
        let trap =
            |exchange: &mut portolan_exchange::Exchange| assert!(who(exchange) != "Second", "walked into the trap");
        let scout = Scout::new("trap", Phase::Filter, &notes);
        let scout = match on_the_way_out {
            true => scout.on_response(move |exchange, _| trap(exchange)),
            false => scout.on_request(move |_, exchange| {
                trap(exchange);
                Step::Next
            }),
        };
        let gateway = with_scouts(graphql(&shop), [scout]).start();
        let answer = gateway.post("/shop", &batch()).assert_status(200).json();
        assert_eq!(answer[0], json!({ "data": { "first": 1 } }), "{answer}");
        assert_eq!(answer[1]["errors"][0]["extensions"]["code"], "internal", "{answer}");
        let lines = gateway.log(3);
        let outcome =
            |operation: &str| lines.iter().find(|line| line["operation"] == operation).unwrap()["outcome"].clone();
        assert_eq!([outcome("First"), outcome("Second"), outcome("batch")], ["completed", "panicked", "completed"]);
        assert_eq!(notes.of("Second").last().unwrap(), "trap end Panicked");
        assert_eq!(notes.of("First").last().unwrap(), "trap end Completed");
        assert_eq!(gateway.metric("portolan_panics_total{route=\"shop\"}"), 1.0);
    }
}

#[test]
fn the_commands_of_a_session_pass_the_same_policies_from_describe_on() {
    let notes = Notes::default();
    let (_kafka, setup) = events();
    let gateway = with_scouts(setup, Scout::in_each_phase(&notes)).start();
    let mut session = Session::open(gateway.address(), "/events", &[]);
    session.subscribe("orders");
    session.publish("orders", "k", &json!({ "id": 1 }));
    assert_eq!(session.event(|_| true)["data"], json!({ "id": 1 }));
    session.close();
    let lines = gateway.log(3);
    assert_eq!(notes.of("subscribe orders"), passage(&FROM_DESCRIBE, "200", "Completed"));
    assert_eq!(notes.of("publish orders"), passage(&FROM_DESCRIBE, "201", "Completed"));
    assert_eq!(notes.of("/events"), passage(&ALL, "101", "Completed"));
    assert_eq!(notes.all().len(), 2 * 18 + 24);
    let told: Vec<_> = lines.iter().map(|line| [&line["kind"], &line["operation"], &line["request_id"]]).collect();
    let id = &lines[0]["request_id"];
    assert_eq!(
        told,
        [
            [&json!("subscribe"), &json!("orders"), id],
            [&json!("publish"), &json!("orders"), id],
            [&json!("session"), &json!("session"), id],
        ]
    );
}

#[test]
fn a_panic_in_a_command_of_a_session_loses_that_command_alone() {
    for on_the_way_out in [false, true] {
        let notes = Notes::default();
        let (_kafka, setup) = events();
        let trap = |exchange: &mut portolan_exchange::Exchange| {
            assert!(who(exchange) != "publish orders", "walked into the trap")
        };
        let scout = Scout::new("trap", Phase::Filter, &notes);
        let scout = match on_the_way_out {
            true => scout.on_response(move |exchange, _| trap(exchange)),
            false => scout.on_request(move |_, exchange| {
                trap(exchange);
                Step::Next
            }),
        };
        let gateway = with_scouts(setup, [scout]).start();
        let mut neighbour = Session::open(gateway.address(), "/events", &[]);
        let mut session = Session::open(gateway.address(), "/events", &[]);
        session.subscribe("orders");
        let id = session.send(json!({ "type": "publish", "channel": "orders", "data": 1 }));
        let refused = session.refused(id);
        assert_eq!(refused["code"], "internal", "{refused}");
        // The session goes on, and so does its neighbour.
        neighbour.subscribe("orders");
        session.send(json!({ "type": "ping" }));
        session.receive("pong", |_| true);
        assert_eq!(notes.of("publish orders").last().unwrap(), "trap end Panicked");
        assert_eq!(gateway.metric("portolan_panics_total{route=\"events\"}"), 1.0);
    }
}

#[test]
fn a_client_that_goes_away_ends_the_commands_that_its_session_waits_for() {
    let notes = Notes::default();
    let (_kafka, setup) = events();
    let begun = notes.clone();
    let waiter = Scout::new("waiter", Phase::Limit, &notes).on_wait(move |_, exchange| match who(exchange).as_str() {
        "publish orders" => {
            begun.note("waits");
            Box::pin(std::future::pending())
        }
        _ => Box::pin(std::future::ready(Step::Next)),
    });
    let gateway = with_scouts(setup, [waiter]).start();
    let mut session = Session::open(gateway.address(), "/events", &[]);
    session.send(json!({ "type": "publish", "channel": "orders", "data": 1 }));
    notes.wait_for("waits");
    drop(session);
    let lines = gateway.log(2);
    assert_eq!(notes.of("publish orders"), ["waiter request", "waiter end Cancelled"]);
    wait::until("the session ends", || notes.of("/events").len() == 3);
    let outcomes: Vec<_> = lines.iter().map(|line| [&line["kind"], &line["outcome"]]).collect();
    assert!(outcomes.contains(&[&json!("publish"), &json!("cancelled")]), "{outcomes:?}");
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

/// HMAC-SHA-256 of `acme-key` under `pepper`.
const ACME_KEY: &str = "a376e52b3014fe48601dc1dfb66ff2b55fe15daeae5a530ada7936ad677381cf";

/// An API of events whose clients say in their first frame who they are.
fn events_of_somebody() -> (MockKafka, Setup) {
    let kafka = MockKafka::start(&[("orders", 1)]);
    let setup = TestGateway::with_config(
        r#"
        workers: 1
        identity: { keys: { api_key: { pepper: pepper } } }
        brokers: { main: { kafka: { bootstrap: [ "{kafka}" ] } } }
        apis:
          events:
            version: v1
            asyncapi: ./events.asyncapi.yaml
            path: /events
            broker: main
            authenticate: [ keys ]
            sessions: { first_frame_credentials: allowed }
        consumers: { acme: { keys: [ { hash: {key} } ], subscriptions: [ { api: events } ] } }
        "#,
    )
    .with("kafka", kafka.bootstrap())
    .with("key", ACME_KEY)
    .file("events.asyncapi.yaml", crate::actors::EVENTS);
    (kafka, setup)
}

#[test]
fn a_first_frame_passes_every_policy_as_a_request_does_and_is_answered_where_others_are_called() {
    let notes = Notes::default();
    let (_kafka, setup) = events_of_somebody();
    let gateway = with_scouts(setup, Scout::in_each_phase(&notes)).start();
    let mut session = Session::open(gateway.address(), "/events", &[]);
    session.send(json!({ "type": "connect", "key": "acme-key" }));
    session.receive("connected", |_| true);
    session.subscribe("orders");
    gateway.log(2);
    assert_eq!(notes.of("connect"), passage(&ALL, "200", "Completed"));
    assert_eq!(notes.of("subscribe orders"), passage(&FROM_DESCRIBE, "200", "Completed"));

    let mut session = Session::open(gateway.address(), "/events", &[]);
    session.send(json!({ "type": "connect", "key": "acme-kez" }));
    assert_eq!(session.closed().code, 4401);
    gateway.log(3);
    // The scout of its phase was laid in before the keys are looked at.
    let refused = passage(&["guard", "authenticate"], "credentials_invalid", "Faulted(CredentialsInvalid)");
    assert_eq!(notes.of("connect")[24..], refused);
}

#[test]
fn a_first_frame_that_is_looked_at_for_long_is_bounded_by_its_deadline_and_ends_with_its_client() {
    let notes = Notes::default();
    let (_kafka, setup) = events_of_somebody();
    let begun = notes.clone();
    let waiter =
        Scout::new("waiter", Phase::Authenticate, &notes).on_wait(move |_, exchange| match who(exchange).as_str() {
            "connect" => {
                begun.note("waits");
                Box::pin(std::future::pending())
            }
            _ => Box::pin(std::future::ready(Step::Next)),
        });
    let gateway = with_scouts(setup, [waiter]).start();
    let connecting = || {
        let mut session = Session::open(gateway.address(), "/events", &[]);
        session.send(json!({ "type": "connect", "key": "acme-key" }));
        session
    };
    let mut patient = connecting();
    notes.wait_for("waits");
    gateway.advance(std::time::Duration::from_secs(30));
    // The ten seconds were for the frame to come.
    assert_eq!(patient.receive("error", |_| true)["code"], "deadline_exceeded");
    let told = "the time for this request was over before a policy was asked";
    assert_eq!(patient.closed(), crate::kit::session::Closed { code: 1013, reason: told.into() });
    patient.gone();
    let seen = gateway.log(2).len();

    let impatient = connecting();
    wait::until("the second waits", || notes.all().iter().filter(|note| *note == "waits").count() == 2);
    drop(impatient);
    let lines = gateway.log(seen + 2).split_off(seen);
    let outcomes: Vec<_> = lines.iter().map(|line| [&line["operation"], &line["outcome"]]).collect();
    assert!(outcomes.contains(&[&json!("connect"), &json!("cancelled")]), "{outcomes:?}");
    assert_eq!(notes.of("connect").last().unwrap(), "waiter end Cancelled");
}
