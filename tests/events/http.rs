//! One event published with a `POST`, and what is refused.

use serde_json::json;

use super::{TOPICS, setup};
use crate::kit::kafka::{Kafka, MockKafka};

#[test]
fn a_post_is_refused_with_a_problem_that_says_why() {
    let kafka = MockKafka::start(&TOPICS);
    let gateway = setup(&kafka.bootstrap(), ", max_body: 1KiB").start();
    let post = |channel: &str, body: &str| {
        gateway.call("POST", &format!("/events/{channel}")).header("content-type", "application/json").body(body).send()
    };
    post("no.such.channel", "{}").assert_problem(404, "unknown_channel");
    post("orders.told", "{}").assert_problem(403, "forbidden");
    post("orders.created", "{broken").assert_problem(400, "malformed_body");
    post("orders.created", &"1".repeat(2_000)).assert_problem(413, "body_too_large");
    gateway.call("DELETE", "/events/orders.created").send().assert_problem(405, "method_not_allowed");
    gateway.get("/events").assert_problem(426, "upgrade_required");
    let made = post("orders.asked", "{}").assert_status(201).json();
    assert_eq!((&made["partition"], &made["offset"]), (&json!(0), &json!(0)), "something was published before: {made}");
}

#[test]
fn while_the_broker_is_away_a_caller_is_told_so() {
    let mut kafka = MockKafka::start(&TOPICS);
    let gateway = setup(&kafka.bootstrap(), "").start();
    gateway.call("POST", "/events/orders.created").body("1").send().assert_status(201);
    kafka.down();
    let answer = gateway.call("POST", "/events/orders.created").body("2").send();
    answer.assert_problem(503, "broker_unavailable");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

#[test]
fn a_limit_counts_every_event_over_either_way() {
    let kafka = MockKafka::start(&TOPICS);
    let gateway = setup(&kafka.bootstrap(), ", rate_limit: { per: address, limit: 4, every: 1m }").start();
    // The upgrade is the first request, its subscription the second.
    let mut session = super::open(&gateway);
    session.subscribe("orders.created");
    session.publish("orders.created", "k", &json!(1));
    gateway.call("POST", "/events/orders.created").body("2").send().assert_status(201);
    let id = session.send(json!({ "type": "publish", "channel": "orders.created", "data": 3 }));
    let refused = session.refused(id);
    assert_eq!((&refused["code"], &refused["temporary"]), (&json!("rate_limited"), &json!(true)));
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{refused}");
    gateway.call("POST", "/events/orders.created").body("4").send().assert_problem(429, "rate_limited");
}
