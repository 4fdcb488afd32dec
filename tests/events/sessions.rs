//! What a session answers: commands, refusals, broken frames, keys, the end.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Message;

use super::{TOPICS, open, setup};
use crate::kit::TestGateway;
use crate::kit::kafka::{ForeignKafka, Kafka, MockKafka};
use crate::kit::session::{Closed, NATIVE, Session};

fn start(more: &str) -> (MockKafka, TestGateway) {
    let kafka = MockKafka::start(&TOPICS);
    let gateway = setup(&kafka.bootstrap(), more).start();
    (kafka, gateway)
}

#[test]
fn what_a_session_may_not_do_is_refused_with_a_reason_and_the_session_goes_on() {
    let (_kafka, gateway) = start("");
    let mut session = open(&gateway);
    session.subscribe("orders.created");
    for (frame, code) in [
        (json!({ "type": "subscribe", "channel": "no.such.channel" }), "unknown_channel"),
        (json!({ "type": "subscribe", "channel": "orders.asked" }), "forbidden"),
        (json!({ "type": "publish", "channel": "orders.told", "data": 1 }), "forbidden"),
        (json!({ "type": "subscribe", "channel": "orders.created" }), "already_subscribed"),
        (json!({ "type": "unsubscribe", "ch": 99 }), "unknown_subscription"),
        (json!({ "type": "subscribe" }), "bad_frame"),
        (json!({ "type": "dance" }), "bad_frame"),
        (json!({ "type": "ack", "ch": 1, "pos": [] }), "unsupported"),
    ] {
        let id = session.send(frame.clone());
        let refused = session.refused(id);
        assert_eq!(refused["code"], code, "{frame}: {refused}");
        assert!(refused["message"].as_str().is_some_and(|message| !message.is_empty()), "{refused}");
    }
    session.publish("orders.created", "k", &json!({ "still": "there" }));
    session.event(|event| event["data"]["still"] == "there");
}

#[test]
fn several_commands_in_one_message_are_answered_in_their_order() {
    let (_kafka, gateway) = start("");
    let mut session = open(&gateway);
    session.send_text(
        r#"[{"type":"subscribe","id":1,"channel":"orders.created"},{"type":"publish","id":2,"channel":"orders.created","data":1.50},{"type":"ping","id":3}]"#,
    );
    assert_eq!(session.receive("subscribed", |_| true)["id"], 1);
    assert_eq!(session.receive("published", |_| true)["id"], 2);
    session.receive("pong", |frame| frame["id"] == 3);
    assert_eq!(session.event(|_| true)["data"].to_string(), "1.50".parse::<Value>().unwrap().to_string());
}

#[test]
fn what_is_unsubscribed_comes_no_more() {
    let (kafka, gateway) = start("");
    let mut foreign = ForeignKafka::connect(&kafka.bootstrap());
    let mut session = open(&gateway);
    let ch = session.subscribe("orders.created")["ch"].clone();
    session.subscribe("orders.told");
    let id = session.send(json!({ "type": "unsubscribe", "ch": ch }));
    session.receive("unsubscribed", |frame| frame["id"] == id);
    foreign.produce("orders.created.v2", Some("unwanted"), "1");
    foreign.produce("orders.told", Some("wanted"), "2");
    assert_eq!(session.event(|_| true)["key"], "wanted");
}

#[test]
fn a_frame_that_is_no_json_is_answered_and_one_that_is_no_text_ends_the_session() {
    let (_kafka, gateway) = start(", sessions: { max_frame: 1KiB }");
    let mut session = open(&gateway);
    session.send_text("{broken");
    assert_eq!(session.receive("error", |_| true)["code"], "bad_frame");
    session.subscribe("orders.created");

    let code = |send: fn(&mut Session)| {
        let mut session = open(&gateway);
        send(&mut session);
        let Closed { code, reason } = session.closed();
        assert!(!reason.is_empty(), "{code} without a reason");
        code
    };
    assert_eq!(code(|session| session.send_message(Message::binary(vec![1, 2, 3]))), 1003);
    assert_eq!(code(|session| session.send_text(&format!("{{\"type\":\"{}\"}}", "x".repeat(2_000)))), 1009);
    // Masked with zeros, so that the bytes stand as they are: two that are not UTF-8, then a frame that is not masked.
    assert_eq!(code(|session| session.send_raw(b"\x81\x82\0\0\0\0\xc3\x28")), 1007);
    assert_eq!(code(|session| session.send_raw(b"\x81\x02{}")), 1002);
    assert_eq!(code(|session| session.send_raw(b"\x85\x80\0\0\0\0")), 1002);
    session.publish("orders.created", "k", &json!("the others go on"));
}

#[test]
fn without_a_key_no_socket_and_without_a_subscription_none_either() {
    let kafka = MockKafka::start(&TOPICS);
    let gateway = TestGateway::with_config(
        r#"
        identity: { keys: { api_key: { header: x-api-key, pepper: pepper } } }
        brokers: { main: { kafka: { bootstrap: [ "{bootstrap}" ] } } }
        apis:
          events: { version: v2, asyncapi: ./events.asyncapi.yaml, path: /events, broker: main, authenticate: [ keys ] }
        consumers:
          acme: { keys: [ { hash: a376e52b3014fe48601dc1dfb66ff2b55fe15daeae5a530ada7936ad677381cf } ], subscriptions: [ { api: events } ] }
          other: { keys: [ { hash: c1dca251c00a1e1fcf035a3d5b816aa644561c450e9c6af4da3371f7aa8536b0 } ] }
        "#,
    )
    .with("bootstrap", kafka.bootstrap())
    .file("events.asyncapi.yaml", super::ASYNCAPI)
    .start();
    let refused =
        |headers: &[(&str, &str)]| Session::try_open(gateway.address(), "/events", Some(NATIVE), headers).err();
    let missing = refused(&[]).expect("no key was shown");
    missing.assert_problem(401, "credentials_missing");
    assert!(missing.header("www-authenticate").is_some(), "{missing:?}");
    refused(&[("x-api-key", "acme-kez")]).expect("the key is wrong").assert_problem(401, "credentials_invalid");
    refused(&[("x-api-key", "other-key")]).expect("it has no subscription").assert_problem(403, "not_subscribed");

    let mut session = Session::open(gateway.address(), "/events", &[("x-api-key", "acme-key")]);
    session.subscribe("orders.created");
    let published = session.publish("orders.created", "k", &json!(1));
    let (partition, offset) = (published["partition"].as_i64().unwrap(), published["offset"].as_i64().unwrap());
    let record = ForeignKafka::connect(&kafka.bootstrap()).read("orders.created.v2", partition, offset, 1).remove(0);
    assert!(record["headers"].as_array().unwrap().contains(&json!(["portolan.consumer", "acme"])), "{record}");
}

#[test]
fn a_gateway_that_ends_tells_its_sessions_to_come_back() {
    let (_kafka, gateway) = start("");
    let mut session = open(&gateway);
    session.subscribe("orders.created");
    let ending = std::thread::spawn(move || drop(gateway));
    assert!(session.receive("goaway", |_| true)["reconnect_after_ms"].as_u64().is_some());
    assert_eq!(session.closed().code, 1012);
    session.gone();
    ending.join().unwrap();
}

#[test]
fn a_client_that_leaves_in_good_order_gets_its_close_back() {
    let (_kafka, gateway) = start("");
    let mut session = open(&gateway);
    session.subscribe("orders.created");
    session.close();
    // Its line is written when the session has ended.
    let lines = gateway.log(1);
    assert!(lines.iter().any(|line| line["outcome"] == "completed"), "{lines:#?}");
}
