//! The whole path of an event, told once on the mock cluster and once on a real Apache Kafka.

use serde_json::{Value, json};

use super::{TOPIC, TOPICS, open, setup};
use crate::kit::kafka::{ForeignKafka, Kafka, MockKafka, RealKafka};

#[test]
fn events_pass_between_sessions_callers_and_foreign_clients_on_the_mock_cluster() {
    passes(&MockKafka::start(&TOPICS));
}

#[test]
fn events_pass_between_sessions_callers_and_foreign_clients_on_a_real_kafka() {
    passes(&RealKafka::start(&TOPICS));
}

fn passes(kafka: &dyn Kafka) {
    let gateway = setup(&kafka.bootstrap(), "").start();
    let mut foreign = ForeignKafka::connect(&kafka.bootstrap());
    let (mut first, mut second) = (open(&gateway), open(&gateway));
    for session in [&mut first, &mut second] {
        let subscribed = session.subscribe("orders.created");
        assert_eq!((&subscribed["channel"], &subscribed["qos"]), (&json!("orders.created"), &json!("none")));
    }

    // From a session to all sessions.
    let published = first.publish("orders.created", "k1", &json!({ "id": "1", "quantity": 1 }));
    for session in [&mut first, &mut second] {
        let event = session.event(|event| event["key"] == "k1");
        assert_eq!(event["pos"], pos(&published));
        assert_eq!((&event["ts"], &event["data"]), (&published["ts"], &json!({ "id": "1", "quantity": 1 })));
    }

    // From a caller, its number untouched, and on to a foreign client.
    let answer = gateway
        .call("POST", "/events/orders.created")
        .header("content-type", "application/json")
        .header("portolan-key", "k2")
        .body(r#"{"id":"2","total":1.10}"#)
        .send()
        .assert_status(201)
        .json();
    let event = second.event(|event| event["key"] == "k2");
    assert_eq!((&event["pos"], &event["ts"]), (&pos(&answer), &answer["timestamp"]));
    let (partition, offset) = (answer["partition"].as_i64().unwrap(), answer["offset"].as_i64().unwrap());
    let record = foreign.read(TOPIC, partition, offset, 1).remove(0);
    assert_eq!((&record["key"], &record["value"]), (&json!("k2"), &json!(r#"{"id":"2","total":1.10}"#)));
    let headers = record["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["content-type", "application/json"])), "{headers:?}");

    // From a foreign client to the sessions.
    let (partition, offset) = foreign.produce(TOPIC, Some("k3"), r#"{"id":"3"}"#);
    let event = first.event(|event| event["key"] == "k3");
    assert_eq!((&event["pos"], &event["data"]), (&json!(format!("{partition}:{offset}")), &json!({ "id": "3" })));
    foreign.produce_tombstone(TOPIC, "k3");
    let event = first.event(|event| event["key"] == "k3");
    assert_eq!((&event["deleted"], event.get("data")), (&json!(true), None));
    foreign.produce_with(TOPIC, json!({ "key": "k4", "value": "no JSON", "headers": [["a", "1"], ["a", "2"]] }));
    let event = first.event(|event| event["key"] == "k4");
    assert_eq!((&event["data_base64"], &event["headers"]), (&json!("bm8gSlNPTg=="), &json!({ "a": ["1", "2"] })));
}

#[test]
fn a_broker_that_goes_away_and_returns_costs_no_event_and_no_session_on_the_mock_cluster() {
    survives(&mut MockKafka::start(&TOPICS));
}

#[test]
fn a_broker_that_is_killed_and_returns_costs_no_event_and_no_session_on_a_real_kafka() {
    survives(&mut RealKafka::start(&TOPICS));
}

fn survives(kafka: &mut dyn Kafka) {
    let gateway = setup(&kafka.bootstrap(), "").start();
    let mut session = open(&gateway);
    session.subscribe("orders.created");
    session.publish("orders.created", "before", &json!(1));
    session.event(|event| event["key"] == "before");

    kafka.down();
    // A record that is published meanwhile waits for the broker, as long as it may.
    let meanwhile =
        gateway.call("POST", "/events/orders.created").header("portolan-key", "meanwhile").body("2").start();
    let id = session.send(json!({ "type": "ping" }));
    session.receive("pong", |frame| frame["id"] == id);
    kafka.up();

    let _time = gateway.let_time_pass();
    let meanwhile = meanwhile.answer();
    let mut expected = vec!["after"];
    match meanwhile.status {
        201 => expected.insert(0, "meanwhile"),
        // A real Kafka may take longer to return than a record waits.
        _ => drop(meanwhile.assert_problem(503, "broker_unavailable")),
    }
    let mut foreign = ForeignKafka::connect(&kafka.bootstrap());
    foreign.produce(TOPIC, Some("after"), "3");
    let mut seen: Vec<_> =
        session.events(expected.len()).iter().map(|event| event["key"].as_str().unwrap().to_owned()).collect();
    seen.sort_by_key(|key| key == "after");
    assert_eq!(seen, expected);
    session.publish("orders.created", "again", &json!(4));
    session.event(|event| event["key"] == "again");
}

fn pos(placed: &Value) -> Value {
    json!(format!("{}:{}", placed["partition"], placed["offset"]))
}
