//! How long a session lives: heartbeats, reloads, the end of the gateway.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{CANCELLED, CLOSE, CREATED, OTHER_KEY, PING, PONG, RawSession, Stage, masked, post, session};
use crate::kit::session::Closed;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_silent_client_is_pinged_and_let_go_when_it_does_not_answer() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut silent = RawSession::open(&gateway);
    gateway.advance(25 * SECOND);
    assert_eq!(silent.json(), json!({ "type": "ping" }));
    let ping = silent.frame();
    assert_eq!((ping.opcode(), ping.payload.as_slice()), (PING, &b""[..]));
    gateway.advance(8 * SECOND);
    assert_eq!(silent.closed(), (4509, "no sign of life; reconnect".to_owned()));
    // Nor does it answer the close: two seconds later the connection ends all the same.
    gateway.advance(2 * SECOND);
    assert_eq!(silent.0.read_to_end(), "");
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = RawSession::open(&gateway);
    for (id, alive) in
        [(1, masked(0x80 | PONG, b"")), (2, masked(0x81, br#"{"type":"pong"}"#)), (3, masked(0x81, b"no JSON"))]
    {
        gateway.advance(25 * SECOND);
        assert_eq!((session.json(), session.frame().opcode()), (json!({ "type": "ping" }), PING));
        session.0.send(alive);
        if id == 3 {
            assert_eq!(session.json()["code"], "bad_frame");
        }
        // Answered after the sign of life was taken, and itself one.
        session.is_there(id);
        gateway.advance(24 * SECOND);
        session.is_there(10 + id);
    }
}

#[test]
fn a_heartbeat_is_as_the_configuration_says() {
    let stage = Stage::mock(1);
    let gateway = stage.setup("sessions: { heartbeat: 5s }").start();
    let mut session = RawSession::open(&gateway);
    gateway.advance(5 * SECOND);
    assert_eq!(session.json(), json!({ "type": "ping" }));
}

#[test]
fn a_client_that_closes_is_answered_with_its_own_code() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = RawSession::open(&gateway);
    session.subscribe(CREATED);
    session.send(CLOSE, &[&3001_u16.to_be_bytes()[..], b"done"].concat());
    assert_eq!(session.closed(), (3001, String::new()));
    assert_eq!(session.0.read_to_end(), "");
    let line = gateway.log(2).remove(1);
    assert_eq!((&line["kind"], &line["outcome"]), (&json!("session"), &json!("completed")), "{line}");
}

#[test]
fn a_client_that_vanishes_is_forgotten() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = RawSession::open(&gateway);
    session.subscribe(CREATED);
    drop(session);
    let line = gateway.log(2).remove(1);
    assert_eq!(line["kind"], "session", "{line}");
    let shards_are_empty = |states: &[Value]| {
        let of_shards: Vec<_> = states.iter().filter(|actor| actor["kind"] == "shard").collect();
        of_shards.iter().all(|shard| shard["state"]["sessions"]["count"] == 0)
    };
    gateway.advance_until("no session is left", SECOND, || shards_are_empty(&gateway.inner().registry().states()));
    post(&gateway, CREATED, "k", "1").assert_status(201);
}

#[test]
fn a_reload_leaves_sessions_open_and_flowing() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut before = session(&gateway);
    before.subscribe(CREATED);
    post(&gateway, CREATED, "k", "0").assert_status(201);
    before.events(1);

    let more = "consumers:\n  third: { keys: [ { hash: \"{}\" } ], subscriptions: [ { api: order-events } ] }\n";
    let more = gateway.configuration().replace("consumers:\n", &more.replace("{}", &"1".repeat(64)));
    gateway.reload(&more).expect("the configuration is sound");
    gateway.reload("nonsense: [").expect_err("this is none");
    let limited = more.replace("authenticate: [ keys ],", "authenticate: [ keys ], rate_limit: { limit: 1000 },");
    assert_ne!(limited, more);
    gateway.reload(&limited).expect("the configuration is sound");

    let mut after = session(&gateway);
    after.subscribe(CREATED);
    before.subscribe(CANCELLED);
    before.publish(CREATED, "k", &json!(1));
    for session in [&mut before, &mut after] {
        let event = session.event(|_| true);
        assert_eq!((&event["pos"], &event["data"]), (&json!("0:1"), &json!(1)));
    }
    // The reader is the one that was there.
    let name = format!("topic/main/{}", stage.topic(CREATED));
    let states = gateway.inner().registry().states();
    let readers: Vec<_> =
        states.iter().filter(|actor| actor["name"] == name.as_str()).map(|actor| &actor["state"]["events"]).collect();
    assert_eq!(readers, [&json!(2)]);
}

#[test]
fn a_gateway_that_stops_tells_its_sessions_when_to_come_back() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let (mut polite, mut mute) = (session(&gateway), RawSession::open(&gateway));
    polite.subscribe(CREATED);
    polite.publish(CREATED, "k", &json!(1));
    polite.event(|_| true);
    let stopping = thread::spawn(move || drop(gateway));
    let goaway = polite.receive("goaway", |_| true);
    let wait = goaway["reconnect_after_ms"].as_u64().expect("a time");
    assert!(wait < 5_000, "{goaway}");
    let reason = "the gateway is shutting down";
    assert_eq!(goaway, json!({ "type": "goaway", "reason": reason, "reconnect_after_ms": wait }));
    assert_eq!(polite.closed(), Closed { code: 1012, reason: reason.into() });
    polite.gone();
    // One who does not answer is waited for, and not for ever.
    assert_eq!(mute.json()["type"], "goaway");
    assert_eq!(mute.closed(), (1012, reason.to_owned()));
    stopping.join().expect("the gateway ends");
}

#[test]
fn a_consumer_without_a_subscription_gets_it_by_a_reload_without_a_restart() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let open = || {
        crate::kit::session::Session::try_open(
            gateway.address(),
            super::stage::PATH,
            None,
            &[("x-api-key", "other-key")],
        )
    };
    assert_eq!(open().err().map(|answer| answer.status), Some(403));
    let with = gateway.configuration();
    let key = format!("{{ hash: {OTHER_KEY} }} ]");
    let with = with.replace(&key, &format!("{key}, subscriptions: [ {{ api: order-events }} ]"));
    gateway.reload(&with).expect("the configuration is sound");
    assert!(open().is_ok());
}
