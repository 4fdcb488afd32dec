//! A client that does not read: it slows nobody, costs a bounded memory, and is told what it missed.

use std::time::Duration;

use serde_json::{Value, json};

use super::framing::sessions;
use super::stage::{CREATED, RawSession, Stage, post, session};
use crate::kit::TestGateway;
use crate::kit::session::Session;
use crate::kit::wait;

/// Events that are kept for who falls behind: more than come at a time, or who reads would miss some too.
const RING: u64 = 64;
const AT_A_TIME: u64 = 20;

#[test]
fn a_client_that_stops_reading_is_told_exactly_what_it_missed_and_goes_on() {
    let stage = Stage::mock(1);
    let gateway = stage.setup_with(1, &format!("events: {RING}"), "sessions: { heartbeat: 1h }").start();
    let (mut quick, mut slow) = (session(&gateway), RawSession::open_narrow(&gateway));
    quick.subscribe(CREATED);
    slow.subscribe(CREATED);
    let published = publish_until_it_falls_behind(&gateway, &mut quick);
    let topic = topic(&gateway, &stage);
    assert_eq!(topic["kept"], RING, "{topic}");

    let (mut next, mut missed) = (0, 0);
    let mut announced = None;
    while next < published {
        let frame = slow.json();
        if frame["type"] == "gap" {
            let count = frame["count"].as_u64().expect("a gap has its count");
            let expected = json!({
                "type": "gap", "ch": 1, "reason": "slow", "from": format!("0:{}", next - 1), "to": format!("0:{}", next + count),
                "count": count,
            });
            assert_eq!(frame, expected);
            missed += count;
            next += count;
            announced = Some(next);
        } else {
            assert_eq!(frame["events"][0]["pos"], format!("0:{next}"), "what is missing is announced");
            next += 1;
        }
    }
    assert_eq!(next, published);
    assert!(missed > 0 && announced.is_some_and(|to| to < published), "{missed} missed, {announced:?}");
    // It is a client like any other again.
    post(&gateway, CREATED, "k", "1").assert_status(201);
    assert_eq!(slow.json()["events"][0]["pos"], format!("0:{published}"));
    assert_eq!(quick.event(|_| true)["pos"], format!("0:{published}"));
}

#[test]
fn a_client_that_takes_nothing_for_thirty_seconds_is_let_go() {
    let stage = Stage::mock(1);
    let gateway = stage.setup_with(1, &format!("events: {RING}"), "sessions: { heartbeat: 1h }").start();
    let (mut quick, mut slow) = (session(&gateway), RawSession::open_narrow(&gateway));
    quick.subscribe(CREATED);
    slow.subscribe(CREATED);
    let published = publish_until_it_falls_behind(&gateway, &mut quick);
    gateway.advance(Duration::from_secs(30));
    wait::until("one session alone is left", || {
        gateway.advance(Duration::from_millis(100));
        all_sessions(&gateway).len() == 1
    });
    // What was on its way is what it gets, then the end.
    assert!(!slow.0.read_to_end().is_empty());
    post(&gateway, CREATED, "k", "1").assert_status(201);
    assert_eq!(quick.event(|_| true)["pos"], format!("0:{published}"));
    assert_eq!(gateway.log(1).last().map(|line| line["protocol"].clone()), Some(json!("events")));
}

/// Publishes large events, which `quick` receives each, until another session has missed more than is kept. Gives how many
/// there were.
fn publish_until_it_falls_behind(gateway: &TestGateway, quick: &mut Session) -> u64 {
    let mut published = 0;
    // Sockets hold some megabytes before their reader's silence is noticed.
    for _ in 0..60 {
        for number in published..published + AT_A_TIME {
            let body = format!(r#"{{"n":{number},"fill":"{}"}}"#, "x".repeat(60_000));
            post(gateway, CREATED, "k", &body).assert_status(201);
        }
        for event in quick.events(20) {
            assert_eq!((&event["pos"], &event["data"]["n"]), (&json!(format!("0:{published}")), &json!(published)));
            published += 1;
        }
        // Time stands still but for this, or the client would be let go.
        gateway.advance(Duration::from_secs(1));
        wait::until("a new picture of the sessions", || {
            let delivered = |session: &Value| session["subscriptions"][0]["delivered"] == published;
            all_sessions(gateway).iter().any(delivered)
        });
        let all = all_sessions(gateway);
        for session in &all {
            let waiting = session["outgoing_bytes"].as_u64().expect("a number");
            assert!(waiting <= 256 * 1024, "{session}");
        }
        if all.iter().any(|session| session["subscriptions"][0]["lag"].as_u64() > Some(2 * RING)) {
            return published;
        }
    }
    panic!("the sockets took {published} events of 60 kB");
}

fn all_sessions(gateway: &TestGateway) -> Vec<Value> {
    let states = gateway.inner().registry().states();
    states.iter().flat_map(|actor| sessions(actor).cloned().collect::<Vec<_>>()).collect()
}

fn topic(gateway: &TestGateway, stage: &Stage) -> Value {
    let name = format!("topic/main/{}", stage.topic(CREATED));
    let states = gateway.inner().registry().states();
    states.into_iter().find(|actor| actor["name"] == name.as_str()).expect("the topic has its reader")["state"].take()
}
