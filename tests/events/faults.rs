//! Slow clients and panicking actors: no event is lost in silence.

use std::time::Duration;

use serde_json::{Value, json};

use super::{TOPIC, TOPICS, open, setup};
use crate::kit::kafka::{ForeignKafka, Kafka, MockKafka, RealKafka};
use crate::kit::wait;

#[test]
fn a_reader_that_panics_loses_no_event_and_no_session() {
    let kafka = MockKafka::start(&TOPICS);
    let gateway = setup(&kafka.bootstrap(), "").start();
    let mut foreign = ForeignKafka::connect(&kafka.bootstrap());
    let mut session = open(&gateway);
    session.subscribe("orders.created");
    foreign.produce(TOPIC, Some("before"), "1");
    session.event(|event| event["key"] == "before");

    let name = actor(&gateway, "topic", TOPIC);
    let registry = gateway.inner().registry();
    assert!(registry.make_panic(&name), "there is no actor `{name}`");
    foreign.produce(TOPIC, Some("meanwhile"), "2");
    gateway.advance_until("the reader runs again", Duration::from_millis(100), || {
        let states = registry.states();
        states.iter().any(|state| state["name"] == *name && state["status"] == "running" && state["restarts"] == 1)
    });
    foreign.produce(TOPIC, Some("after"), "3");
    let mut keys = Vec::new();
    for event in session.events(2) {
        keys.push(event["key"].as_str().unwrap().to_owned());
    }
    keys.sort();
    assert_eq!(keys, ["after", "meanwhile"]);
}

#[test]
fn a_topic_that_is_made_anew_is_read_on_and_the_hole_is_announced() {
    let mut kafka = RealKafka::start(&TOPICS);
    let gateway = setup(&kafka.bootstrap(), "").start();
    let mut foreign = ForeignKafka::connect(&kafka.bootstrap());
    let mut session = open(&gateway);
    session.subscribe("orders.told");
    foreign.produce("orders.told", Some("old"), "1");
    session.event(|event| event["key"] == "old");

    kafka.delete_topic("orders.told");
    let _time = gateway.let_time_pass();
    let name = actor(&gateway, "topic", "orders.told");
    gateway.wait_for_actor("the topic is missed", |state| state["name"] == *name && state["state"]["state"] == "away");
    kafka.create_topic("orders.told", 1);
    gateway.wait_for_actor("the topic is read again", |state| {
        state["name"] == *name && state["state"]["state"] == "reading" && state["state"]["positions_lost"] == 1
    });
    foreign.produce("orders.told", Some("new"), "2");
    let gap = session.receive("gap", |_| true);
    assert!(gap["reason"].is_string(), "{gap}");
    assert_eq!(session.event(|_| true)["key"], "new");
}

#[test]
fn a_client_that_stops_reading_is_told_what_it_missed_and_holds_back_nobody() {
    const COUNT: usize = 400;
    let kafka = MockKafka::start(&TOPICS);
    let gateway = setup(&kafka.bootstrap(), "").start();
    let (mut slow, mut quick, mut sender) = (open(&gateway), open(&gateway), open(&gateway));
    slow.subscribe("orders.told");
    quick.subscribe("orders.told");
    let mut foreign = ForeignKafka::connect(&kafka.bootstrap());
    // Far more than the sockets hold, so that the ring, of a hundred events, runs over for whoever does not read.
    let large = "x".repeat(60_000);
    let keys: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
    for keys in keys.chunks(40) {
        for key in keys {
            foreign.produce("orders.told", Some(key), &json!(large).to_string());
        }
        let seen: Vec<_> =
            quick.events(keys.len()).iter().map(|event| event["key"].as_str().unwrap().to_owned()).collect();
        assert_eq!(seen, keys, "who reads misses nothing");
    }
    let (mut received, mut missed, mut last) = (0, 0, None);
    while last.as_deref() != Some("399") {
        let frame = slow.any(&["message", "gap"]);
        if frame["type"] == "gap" {
            missed += usize::try_from(frame["count"].as_u64().unwrap()).unwrap();
        }
        for event in frame["events"].as_array().into_iter().flatten() {
            received += 1;
            last = event["key"].as_str().map(str::to_owned);
        }
    }
    assert_eq!(received + missed, COUNT);
    assert!(missed > 0, "the client was never slow enough to miss anything");
    sender.publish("orders.asked", "k", &json!("still served"));
}

#[test]
fn a_session_ends_when_its_client_is_gone() {
    let kafka = MockKafka::start(&TOPICS);
    let gateway = setup(&kafka.bootstrap(), "").start();
    let mut session = open(&gateway);
    session.subscribe("orders.created");
    drop(session);
    wait::until("the line of the session", || !gateway.log(1).is_empty());
}

fn actor(gateway: &crate::kit::TestGateway, kind: &str, subject: &str) -> String {
    let states = gateway.inner().registry().states();
    let found = states
        .iter()
        .find(|state| state["name"].as_str().is_some_and(|name| name.starts_with(kind) && name.ends_with(subject)));
    let Some(Value::String(name)) = found.map(|state| &state["name"]) else {
        panic!("no {kind} of {subject} among {states:#?}")
    };
    name.clone()
}
