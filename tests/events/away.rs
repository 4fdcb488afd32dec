//! A broker or a topic that goes away and returns: what cannot be had meanwhile is said, and afterwards nothing is missing in
//! silence and nothing doubled.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{CREATED, Stage, offsets, place, post, session};
use crate::kit::kafka::{ForeignKafka, RealKafka};
use crate::kit::{TestGateway, wait};

const STEP: Duration = Duration::from_millis(100);
// The clock runs on while a test waits for the broker; no client is to be let go for it.
const PATIENT: &str = "sessions: { heartbeat: 1h }";

mod mock {
    use super::Stage;

    #[test]
    fn what_is_published_after_the_return_comes_once_and_goes_on_where_it_stopped() {
        super::what_is_published_after_the_return_comes_once_and_goes_on_where_it_stopped(Stage::mock(1));
    }

    #[test]
    fn of_what_is_published_throughout_nothing_is_missing_or_doubled() {
        super::of_what_is_published_throughout_nothing_is_missing_or_doubled(Stage::mock(3));
    }
}

/// Here the broker is killed (SIGKILL), and another process finds what it left.
mod real {
    use super::Stage;

    #[test]
    fn what_is_published_after_the_return_comes_once_and_goes_on_where_it_stopped() {
        super::what_is_published_after_the_return_comes_once_and_goes_on_where_it_stopped(Stage::real_alone(1));
    }

    #[test]
    fn of_what_is_published_throughout_nothing_is_missing_or_doubled() {
        super::of_what_is_published_throughout_nothing_is_missing_or_doubled(Stage::real_alone(3));
    }
}

fn what_is_published_after_the_return_comes_once_and_goes_on_where_it_stopped(mut stage: Stage) {
    let gateway = stage.setup(PATIENT).start();
    let (mut reader, mut sender) = (session(&gateway), session(&gateway));
    reader.subscribe(CREATED);
    for number in 0..3 {
        post(&gateway, CREATED, "k", &number.to_string()).assert_status(201);
    }
    assert_eq!(offsets(&reader.events(3)), [0, 1, 2]);

    stage.broker().down();
    // Both ways at once: each waits for the broker as long as a record may.
    let call =
        gateway.call("POST", "/order-events/v2/orders.created").header("x-api-key", "acme-key").body("lost").start();
    let id = sender.send(json!({ "type": "publish", "channel": CREATED, "data": "lost" }));
    const TOLD: &str = "the broker does not answer; retry in a moment";
    let refused = json!({
        "type": "error", "id": id, "code": "broker_unavailable", "message": TOLD, "temporary": true, "retry_after_ms": 1_000,
    });
    assert_eq!(sender.refused(id), refused);
    let answer = call.answer();
    assert_eq!(answer.assert_problem(503, "broker_unavailable"), json!({ "detail": TOLD }));
    assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
    gateway.advance_until("the reader notices", STEP, || state(&gateway, &stage)["state"] == "away");
    // Sessions stay, and commands that need no broker are answered.
    let id = reader.send(json!({ "type": "ping" }));
    reader.receive("pong", |frame| frame["id"] == id);

    stage.broker().up();
    for number in 3..6 {
        post(&gateway, CREATED, "k", &number.to_string()).assert_status(201);
    }
    ForeignKafka::connect(&stage.bootstrap()).produce(&stage.topic(CREATED), Some("k"), "6");
    assert_eq!(sender.publish(CREATED, "k", &json!(7))["offset"], 7);
    let reading = thread::spawn(move || (reader.events(5), reader));
    gateway.advance_until("what came after the return", STEP, || reading.is_finished());
    let (events, mut reader) = reading.join().expect("all of it comes");
    assert_eq!(offsets(&events), [3, 4, 5, 6, 7]);
    let data: Vec<_> = events.iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, [3, 4, 5, 6, 7].map(Value::from));
    // Nothing comes twice: the next one is the next one.
    sender.publish(CREATED, "k", &json!(8));
    assert_eq!(offsets(&reader.events(1)), [8]);
    assert_eq!(state(&gateway, &stage)["state"], "reading");
}

fn of_what_is_published_throughout_nothing_is_missing_or_doubled(mut stage: Stage) {
    let gateway = stage.setup(PATIENT).start();
    let mut reader = session(&gateway);
    reader.subscribe(CREATED);
    let client = gateway.client();
    let send = move |number: usize| {
        let call = client.call("POST", "/order-events/v2/orders.created").header("x-api-key", "acme-key");
        let answer = call.header("portolan-key", &number.to_string()).body(number.to_string()).send();
        if answer.status == 201 {
            let placed = answer.json();
            return Some((placed["partition"].as_i64().unwrap(), placed["offset"].as_i64().unwrap()));
        }
        answer.assert_problem(503, "broker_unavailable");
        None
    };
    // Before, while it goes, while it is away, while it returns: eight at a time.
    let over = AtomicBool::new(false);
    let placed: BTreeSet<_> = thread::scope(|scope| {
        let sender = |sender: usize| {
            let (send, over) = (send.clone(), &over);
            let numbers = (sender * 10_000..).take_while(|_| !over.load(Ordering::Relaxed));
            scope.spawn(move || numbers.filter_map(send).collect::<Vec<_>>())
        };
        let senders: Vec<_> = (0..8).map(sender).collect();
        let until_over = SetWhenDropped(&over);
        wait::until("some are published", || state(&gateway, &stage)["events"].as_u64() >= Some(50));
        stage.broker().down();
        // Time stands still, so that nobody's is over: each sender waits with a record that the broker cannot have.
        gateway.wait_for_actor("all senders wait", |actor| {
            actor["name"] == "publisher/main" && actor["state"]["in_flight"] == 8
        });
        stage.broker().up();
        // The mock cluster may leave a connection hanging; a record that was sent on it waits in vain for all its time.
        if post(&gateway, CREATED, "k", "\"returned\"").status != 201 {
            post(&gateway, CREATED, "k", "\"returned\"").assert_status(201);
        }
        drop(until_over);
        senders.into_iter().flat_map(|sender| sender.join().expect("every call is answered")).collect()
    });
    assert!(placed.len() >= 50, "{} were placed", placed.len());
    // One more in each partition marks the end.
    let mut foreign = ForeignKafka::connect(&stage.bootstrap());
    let topic = stage.topic(CREATED);
    let ends: BTreeSet<_> = (0..3)
        .map(|partition| foreign.produce_with(&topic, json!({ "value": "\"end\"", "partition": partition })))
        .map(|placed| (placed["partition"].as_i64().unwrap(), placed["offset"].as_i64().unwrap()))
        .collect();
    let count: i64 = ends.iter().map(|(_, offset)| offset + 1).sum();
    let reading = thread::spawn(move || reader.events(usize::try_from(count).unwrap()));
    gateway.advance_until("all events", STEP, || reading.is_finished());
    let mut next = [0; 3];
    for event in reading.join().expect("all of it comes") {
        let (partition, offset) = place(&event);
        let expected = &mut next[usize::try_from(partition).unwrap()];
        assert_eq!(offset, *expected, "partition {partition} comes without hole, double or disorder");
        *expected += 1;
    }
    for (partition, offset) in placed {
        assert!(offset < next[usize::try_from(partition).unwrap()], "an event that was confirmed did not come");
    }
}

#[test]
fn a_gateway_that_starts_before_its_broker_says_so_and_finds_it() {
    let mut stage = Stage::mock(1);
    stage.broker().down();
    let gateway = stage.setup(PATIENT).start();
    let mut session = session(&gateway);
    let id = session.send(json!({ "type": "subscribe", "channel": CREATED }));
    let refusing = thread::spawn(move || (session.refused(id), session));
    gateway.advance_until("the subscribe is refused", STEP, || refusing.is_finished());
    let (refused, mut session) = refusing.join().expect("the command is answered");
    let told = "the broker does not answer; retry in a moment";
    let expected = json!({
        "type": "error", "id": id, "code": "broker_unavailable", "message": told, "temporary": true, "retry_after_ms": 1_000,
    });
    assert_eq!(refused, expected);

    stage.broker().up();
    gateway.advance_until("the reader finds its broker", STEP, || state(&gateway, &stage)["state"] == "reading");
    session.subscribe(CREATED);
    post(&gateway, CREATED, "k", "1").assert_status(201);
    assert_eq!(session.event(|_| true)["pos"], "0:0");
}

#[test]
fn a_subscribe_while_the_broker_is_away_begins_with_what_comes_after_its_return() {
    let mut stage = Stage::mock(1);
    let gateway = stage.setup(PATIENT).start();
    let mut early = session(&gateway);
    early.subscribe(CREATED);
    post(&gateway, CREATED, "k", "0").assert_status(201);
    early.events(1);
    stage.broker().down();
    gateway.advance_until("the reader notices", STEP, || state(&gateway, &stage)["state"] == "away");
    let mut late = session(&gateway);
    late.subscribe(CREATED);
    stage.broker().up();
    post(&gateway, CREATED, "k", "1").assert_status(201);
    let reading = thread::spawn(move || (early.events(1), late.events(1)));
    gateway.advance_until("what came after the return", STEP, || reading.is_finished());
    let (early, late) = reading.join().expect("both are served");
    assert_eq!((offsets(&early), offsets(&late)), (vec![1], vec![1]));
}

#[test]
fn a_topic_that_is_made_anew_is_read_on_and_the_hole_is_announced() {
    let stage = Stage::real(1);
    let gateway = stage.setup(PATIENT).start();
    let mut session = session(&gateway);
    session.subscribe(CREATED);
    post(&gateway, CREATED, "old", "1").assert_status(201);
    session.events(1);

    let topic = stage.topic(CREATED);
    RealKafka::shared().delete_topic(&topic);
    let _time = gateway.let_time_pass();
    let name = format!("topic/main/{topic}");
    gateway.wait_for_actor("the topic is missed", |actor| actor["name"] == *name && actor["state"]["state"] == "away");
    RealKafka::shared().create_topic(&topic, 1);
    gateway.wait_for_actor("the topic is read again", |actor| {
        let state = &actor["state"];
        actor["name"] == *name && state["state"] == "reading" && state["positions_lost"] == 1
    });
    ForeignKafka::connect(&stage.bootstrap()).produce(&topic, Some("new"), "2");
    let gap = session.receive("gap", |_| true);
    assert_eq!(gap, json!({ "type": "gap", "ch": 1, "reason": "retention", "from": "0:0", "to": "0:0" }));
    assert_eq!(session.event(|_| true)["key"], "new");
}

/// Ends the senders, also when the test fails.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the topic's reader says of itself.
fn state(gateway: &TestGateway, stage: &Stage) -> Value {
    let name = format!("topic/main/{}", stage.topic(CREATED));
    let states = gateway.inner().registry().states();
    let found = states.iter().find(|state| state["name"] == name.as_str());
    found.unwrap_or_else(|| panic!("there is no actor `{name}`: {states:#?}"))["state"].clone()
}
