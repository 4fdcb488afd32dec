//! Topic readers: sessions that are subscribed lose no event and get none twice, however often the reader's actor panics.

use serde_json::{Value, json};

use super::{EVENTS, panic, revive, shown, state};
use crate::kit::kafka::{Kafka, MockKafka};
use crate::kit::session::Session;
use crate::kit::{TestGateway, wait};

const READER: &str = "topic/main/orders";

/// A broker with a topic of two partitions, and a gateway before it.
pub fn gateway(workers: usize) -> (MockKafka, TestGateway) {
    let kafka = MockKafka::start(&[("orders", 2)]);
    let gateway = TestGateway::with_config(
        r#"
        workers: {workers}
        brokers: { main: { kafka: { bootstrap: [ "{kafka}" ] } } }
        apis: { events: { version: v1, asyncapi: ./events.asyncapi.yaml, path: /events, broker: main } }
        "#,
    )
    .with("workers", workers)
    .with("kafka", kafka.bootstrap())
    .file("events.asyncapi.yaml", EVENTS)
    .start();
    (kafka, gateway)
}

/// Publishes an event over HTTP and gives its place, as sessions are told it.
pub fn publish(gateway: &TestGateway, number: u64) -> String {
    let call = gateway.call("POST", "/events/orders").header("portolan-key", &format!("key {number}"));
    let placed = call.json(&json!({ "number": number })).send().assert_status(201).json();
    format!("{}:{}", placed["partition"], placed["offset"])
}

/// The next events of a session: number and place of each, in order of number.
pub fn received(session: &mut Session, count: usize) -> Vec<(u64, String)> {
    let number = |event: &Value| event["data"]["number"].as_u64().expect("an event of this test");
    let place = |event: &Value| event["pos"].as_str().expect("an event has a place").to_owned();
    let mut events: Vec<_> = session.events(count).iter().map(|event| (number(event), place(event))).collect();
    events.sort();
    events
}

#[test]
fn no_event_is_lost_and_none_comes_twice_while_the_reader_panics_again_and_again() {
    let (_kafka, gateway) = gateway(2);
    let mut sessions = [(); 4].map(|()| Session::open(gateway.address(), "/events", &[]));
    for session in &mut sessions {
        session.subscribe("orders");
    }
    let mut published = Vec::new();
    for round in 0..5 {
        // Some are on their way when it panics, some come while it is down, some while it begins again.
        for step in 0..30 {
            let number = round * 30 + step;
            published.push((number, publish(&gateway, number)));
            match step {
                10 => panic(&gateway, READER),
                20 => revive(&gateway, READER),
                _ => {}
            }
        }
    }
    for session in &mut sessions {
        assert_eq!(received(session, published.len()), published);
    }
    // Had one come twice, it would come before this one.
    let last = (150, publish(&gateway, 150));
    for session in &mut sessions {
        assert_eq!(received(session, 1), std::slice::from_ref(&last));
    }
    let actor = shown(&gateway, READER);
    assert_eq!(
        [&actor["status"], &actor["restarts"], &actor["last_panic"]],
        [&json!("running"), &json!(5), &json!("told to panic")]
    );
    assert_eq!([&actor["state"]["events"], &actor["state"]["positions_lost"]], [&json!(151), &json!(0)]);
    assert_eq!(gateway.metric("portolan_actor_restarts_total{kind=\"topic\",name=\"topic/main/orders\"}"), 5.0);
}

#[test]
fn who_subscribes_while_the_reader_is_down_gets_what_comes_from_then_on() {
    let (_kafka, gateway) = gateway(1);
    let mut before = Session::open(gateway.address(), "/events", &[]);
    before.subscribe("orders");
    let first = (1, publish(&gateway, 1));
    assert_eq!(received(&mut before, 1), [first]);
    panic(&gateway, READER);
    // The log outlives its reader: nobody waits for it.
    let mut meanwhile = Session::open(gateway.address(), "/events", &[]);
    meanwhile.subscribe("orders");
    let second = (2, publish(&gateway, 2));
    revive(&gateway, READER);
    for session in [&mut before, &mut meanwhile] {
        assert_eq!(received(session, 1), std::slice::from_ref(&second));
    }
    wait::until("it reads again", || state(&gateway, READER)["state"] == "reading");
}

#[test]
fn a_reader_that_has_failed_for_good_leaves_sessions_and_publishers_alone() {
    let (_kafka, gateway) = gateway(1);
    let mut session = Session::open(gateway.address(), "/events", &[]);
    session.subscribe("orders");
    super::fail(&gateway, READER);
    let ready = gateway.admin().get("/readyz").assert_status(503).json();
    assert_eq!(ready["failed_actors"], json!([READER]));
    publish(&gateway, 1);
    session.publish("orders", "k", &json!(2));
    session.send(json!({ "type": "ping" }));
    session.receive("pong", |_| true);
    gateway.get("/nowhere").assert_problem(404, "unknown_route");
}
