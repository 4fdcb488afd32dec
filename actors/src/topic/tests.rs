//! A topic whose broker goes away and returns, loses positions, and whose reader panics while sessions listen.

use std::sync::atomic::AtomicUsize;

use portolan_exchange::events::{Bounds, Cursor, Listener, Start};
use serde_json::json;

use super::*;
use crate::fake_broker::FakeBroker;
use crate::supervision::Status;
use crate::testing::{advance_until, control, until};

const STEP: Duration = Duration::from_millis(100);

/// A session that is subscribed: woken by the log, reading with its cursor.
struct Session {
    log: Arc<EventLog>,
    cursor: Cursor,
    waker: Arc<Waker>,
    seen: Vec<String>,
    holes: usize,
    // The wakes up to which it has read.
    read: usize,
}

#[derive(Default)]
struct Waker(AtomicUsize);

impl Listener for Waker {
    fn advanced(&self, _: &Arc<EventLog>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Session {
    fn subscribe(log: &Arc<EventLog>) -> Self {
        let waker = Arc::new(Waker::default());
        let listener: Arc<dyn Listener> = waker.clone();
        log.listen(&listener);
        Self { log: log.clone(), cursor: log.live(), waker, seen: Vec::new(), holes: 0, read: 0 }
    }

    /// Reads only when it was woken, as a session does. How many events it has seen.
    fn turn(&mut self) -> usize {
        let wakes = self.waker.0.load(Ordering::SeqCst);
        if wakes > self.read {
            self.read = wakes;
            let batch = self.log.read(&mut self.cursor, usize::MAX, usize::MAX);
            self.holes += usize::from(batch.gap.is_some());
            self.seen.extend(batch.events.iter().map(|event| {
                let record = &event.record;
                let value = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
                format!("{}:{value}", record.partition)
            }));
        }
        self.seen.len()
    }

    /// What it has seen of a partition, in order.
    fn of(&self, partition: usize) -> Vec<usize> {
        let prefix = format!("{partition}:");
        self.seen.iter().filter_map(|event| event.strip_prefix(&prefix)).map(|value| value.parse().unwrap()).collect()
    }
}

fn started(control: &Control, broker: &Arc<FakeBroker>) -> (Topic, Session) {
    let log = EventLog::new("orders", Bounds::default());
    let session = Session::subscribe(&log);
    let topic = Topic::start(control, broker.clone(), log);
    until("the reader to read", || topic.state() == State::Reading);
    (topic, session)
}

#[test]
fn events_are_read_from_the_live_end_and_announced_once_per_batch() {
    let control = control();
    let broker = FakeBroker::new(2);
    broker.put(0, "before");
    let (topic, mut session) = started(&control, &broker);
    for event in 0..250 {
        broker.put(event % 2, event.to_string());
    }
    until("all events", || session.turn() == 250);
    assert_eq!(session.of(0), (0..250).step_by(2).collect::<Vec<_>>());
    // What is kept can be read before it is counted and announced: once for each batch, and once when the thread began.
    let batches = || topic.view.batches.load(Ordering::Relaxed);
    until("the last announcement", || {
        let wakes = session.waker.0.load(Ordering::SeqCst) as u64;
        topic.events_total() == 250 && wakes == batches() + 1
    });
    let batches = batches();
    let expected = json!({
        "topic": "orders", "broker": "fake", "state": "reading", "events": 250, "batches": batches, "kept": 250,
        "kept_bytes": topic.log().fill().1, "positions": [[0, 126], [1, 125]], "reopened": 0, "positions_lost": 0,
    });
    assert_eq!(control.registry().states()[0]["state"], expected);
}

#[test]
fn a_broker_that_goes_away_and_returns_loses_no_event_and_brings_none_twice() {
    let control = control();
    let clock = control.clock();
    let broker = FakeBroker::new(2);
    let (topic, mut session) = started(&control, &broker);
    for round in 0..5_usize {
        for event in 0..20 {
            broker.put(event as i32 % 2, (round * 20 + event).to_string());
        }
        broker.set_away(true);
        advance_until(clock, STEP, "the reader to notice", || topic.state() == State::Away);
        for event in 0..20 {
            broker.put(1, (1_000 + round * 20 + event).to_string());
        }
        if round % 2 == 1 {
            // Long enough for the reader to be given up and another one to be tried in vain.
            let before = broker.opened().len();
            for _ in 0..100 {
                advance_until(clock, STEP, "a pause", || clock.sleepers() > 0);
                clock.advance(Duration::from_secs(5));
            }
            assert_eq!(broker.opened().len(), before);
        }
        broker.set_away(false);
        advance_until(clock, STEP, "all events", || session.turn() == (round + 1) * 40);
    }
    let evens: Vec<usize> = (0..100).step_by(2).collect();
    assert_eq!(session.of(0), evens);
    let (ours, while_away): (Vec<usize>, Vec<usize>) = session.of(1).into_iter().partition(|event| *event < 1_000);
    assert_eq!(ours, (1..100).step_by(2).collect::<Vec<_>>());
    assert_eq!(while_away, (1_000..1_100).collect::<Vec<_>>());
    assert_eq!(topic.last_error(), Some("unavailable: it is away".into()));
    // Whoever was opened later began where the log ended, not live.
    assert!(broker.opened()[1..].iter().all(|start| matches!(start, Start::At(_))));
}

#[test]
fn a_panic_of_the_actor_or_of_its_reader_loses_nothing_while_sessions_are_subscribed() {
    let control = control();
    let clock = control.clock();
    let registry = control.registry();
    let broker = FakeBroker::new(1);
    let (topic, mut session) = started(&control, &broker);
    for round in 0..4_usize {
        for event in 0..50 {
            broker.put(0, (round * 50 + event).to_string());
            if event == 20 && round % 2 == 0 {
                assert!(registry.make_panic("topic/fake/orders"));
            }
            if event == 20 && round % 2 == 1 {
                broker.panic_at_next_polls(1);
            }
        }
        let all = (round + 1) * 50;
        let restarts = Some(round as u64 + 1);
        advance_until(clock, STEP, "all events", || {
            session.turn() == all && registry.restarts("topic/fake/orders") == restarts
        });
        advance_until(clock, STEP, "another reader", || broker.opened().len() == round + 2);
        until("it to read", || topic.state() == State::Reading);
    }
    assert_eq!(session.of(0), (0..200).collect::<Vec<_>>());
    assert_eq!(registry.states()[0]["last_panic"], "the reader panicked: a bug in the reader");
    assert_eq!(control.threads().running(), 1);
}

#[test]
fn events_that_come_before_the_first_one_was_read_are_not_lost_by_a_restart() {
    let control = control();
    let broker = FakeBroker::new(1);
    let (_topic, mut session) = started(&control, &broker);
    broker.panic_at_next_polls(1);
    until("the panic", || control.registry().status("topic/fake/orders") == Some(Status::Restarting));
    broker.put(0, "7");
    advance_until(control.clock(), STEP, "the event", || session.turn() == 1);
    assert_eq!(session.of(0), [7]);
    assert_eq!(broker.opened(), [Start::Live, Start::At(vec![(0, 0)])]);
}

/// Panics the first time it is told, as a listener of somebody else might.
struct Faulty(AtomicUsize);

impl Listener for Faulty {
    fn advanced(&self, log: &Arc<EventLog>) {
        let is_first = log.fill().0 > 0 && self.0.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!is_first, "a bug in a listener");
    }
}

#[test]
fn a_panic_between_appending_and_announcing_leaves_no_session_waiting() {
    let control = control();
    let broker = FakeBroker::new(1);
    let log = EventLog::new("orders", Bounds::default());
    let faulty: Arc<dyn Listener> = Arc::new(Faulty(AtomicUsize::new(0)));
    log.listen(&faulty);
    let mut session = Session::subscribe(&log);
    let topic = Topic::start(&control, broker.clone(), log);
    until("the reader to read", || topic.state() == State::Reading);
    assert_eq!(session.turn(), 0);
    broker.put(0, "7");
    until("the panic", || control.registry().restarts("topic/fake/orders") == Some(1));
    // The event is in the log, and nobody has told the session.
    assert_eq!((topic.log().fill().0, session.turn()), (1, 0));
    advance_until(control.clock(), STEP, "the event", || session.turn() == 1);
    assert_eq!(session.of(0), [7]);
}

#[test]
fn a_reader_that_always_panics_is_seen_to_have_failed() {
    let control = control();
    let broker = FakeBroker::new(1);
    broker.panic_at_next_polls(usize::MAX);
    let topic = Topic::start(&control, broker, EventLog::new("orders", Bounds::default()));
    advance_until(control.clock(), STEP, "failure", || control.registry().failed() == ["topic/fake/orders"]);
    // Its failure may be told while the thread of its last reader is still on its way out.
    until("its threads to end", || control.threads().running() == 0);
    assert_eq!(topic.log().fill().0, 0);
}

#[test]
fn lost_positions_are_counted_and_announced_and_reading_goes_on_at_the_live_end() {
    let control = control();
    let clock = control.clock();
    let broker = FakeBroker::new(1);
    let (topic, mut session) = started(&control, &broker);
    broker.put(0, "1");
    until("the first event", || session.turn() == 1);
    broker.lose_positions();
    advance_until(clock, STEP, "the loss", || topic.positions_lost_total() == 1);
    advance_until(clock, STEP, "the reader to read", || broker.opened().len() == 2 && topic.state() == State::Reading);
    broker.put(0, "2");
    until("the second event", || session.turn() == 2);
    // Made anew, the topic begins again at offset zero.
    broker.recreate();
    advance_until(clock, STEP, "the loss", || topic.positions_lost_total() == 2);
    advance_until(clock, STEP, "the reader to read", || broker.opened().len() == 3 && topic.state() == State::Reading);
    broker.put(0, "3");
    until("the third event", || session.turn() == 3);
    assert_eq!(session.of(0), [1, 2, 3]);
    assert_eq!(session.holes, 2, "each loss is a hole that was announced");
    assert_eq!(broker.opened(), [Start::Live, Start::Live, Start::Live]);
}

#[test]
fn a_topic_that_is_dropped_ends_its_thread() {
    let control = control();
    let broker = FakeBroker::new(1);
    let (topic, _session) = started(&control, &broker);
    drop(topic);
    until("the thread to end", || control.threads().running() == 0);
    let polls = broker.polls();
    control.stop();
    assert_eq!(broker.polls(), polls);
}

#[test]
fn control_joins_the_threads_of_its_topics() {
    let control = control();
    let broker = FakeBroker::new(1);
    let (_topic, _session) = started(&control, &broker);
    control.stop();
    assert_eq!(control.threads().running(), 0);
}
