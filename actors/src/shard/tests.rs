//! A worker whose sessions panic, and whose shard does.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use portolan_exchange::events::{Bounds, Cursor, EventLog};
use portolan_exchange::sessions::{Seat, Session};
use serde_json::Value;

use super::*;
use crate::fake_broker::received;
use crate::supervision::Status;
use crate::testing::control;

/// A session that reads one log.
struct Reader {
    cursor: RefCell<Cursor>,
    seen: Cell<usize>,
    panics: Cell<bool>,
    failed: Cell<bool>,
    closed: Cell<Option<u16>>,
}

impl Session for Reader {
    fn advance(&self, log: &Arc<EventLog>) {
        assert!(!self.panics.get(), "a bug in a session");
        let batch = log.read(&mut self.cursor.borrow_mut(), usize::MAX, usize::MAX);
        self.seen.set(self.seen.get() + batch.events.len());
    }

    fn fail(&self) {
        self.failed.set(true);
        assert!(self.closed.get() != Some(0), "a bug in its end");
    }

    fn close(&self, code: u16, _: &str) {
        self.closed.set(Some(code));
    }

    fn state(&self) -> Value {
        assert!(!self.panics.get(), "a bug in its state");
        json!({ "seen": self.seen.get() })
    }
}

fn subscribe(worker: &Rc<Worker>, shard: &Shard, log: &Arc<EventLog>) -> (Rc<Reader>, Seat) {
    let reader = Rc::new(Reader {
        cursor: RefCell::new(log.live()),
        seen: Cell::new(0),
        panics: Cell::new(false),
        failed: Cell::new(false),
        closed: Cell::new(None),
    });
    let seat = worker.sessions.enter(reader.clone());
    seat.follow(log.topic());
    log.listen(&shard.listener());
    (reader, seat)
}

fn append(log: &Arc<EventLog>, offset: i64) {
    log.append(vec![received(0, offset, Bytes::new())]);
    log.announce();
}

/// Lets the worker turn until a condition holds, moving its clock if asked to.
async fn until(worker: &Rc<Worker>, step: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        worker.clock.advance(step);
        tokio::task::yield_now().await;
    }
    panic!("waited in vain for {what}");
}

/// Runs a test on a worker of its own.
fn on_a_worker<F: Future<Output = ()>>(test: impl FnOnce(Control, Rc<Worker>, Shard) -> F) {
    actix_rt::System::new().block_on(async {
        let control = control();
        let worker = Worker::new(3, control.clock().clone());
        let shard = Shard::start(&control, &worker);
        test(control, worker, shard).await;
    });
}

const STILL: Duration = Duration::ZERO;

#[test]
fn sessions_read_what_a_log_has_and_a_burst_wakes_once() {
    on_a_worker(async |control, worker, shard| {
        let (orders, other) = (EventLog::new("orders", Bounds::default()), EventLog::new("other", Bounds::default()));
        let readers: Vec<_> = (0..10).map(|_| subscribe(&worker, &shard, &orders)).collect();
        let (stranger, _seat) = subscribe(&worker, &shard, &other);
        for offset in 0..50 {
            append(&orders, offset);
        }
        until(&worker, STILL, "all events", || readers.iter().all(|(reader, _)| reader.seen.get() == 50)).await;
        assert_eq!(stranger.seen.get(), 0);
        // Nothing turned between the batches: the sessions were driven once.
        assert_eq!(shard.view.driven.load(Ordering::Relaxed), 1);
        until(&worker, PICTURE, "a picture", || control.registry().states()[0]["state"]["sessions"]["count"] == 11)
            .await;
        let state = &control.registry().states()[0]["state"];
        assert_eq!((&state["worker"], &state["sessions"]["first"][0]), (&json!(3), &json!({ "seen": 50 })));
    });
}

#[test]
fn a_log_with_many_sessions_leaves_the_worker_time_for_its_connections() {
    on_a_worker(async |_, worker, shard| {
        let (orders, other) = (EventLog::new("orders", Bounds::default()), EventLog::new("other", Bounds::default()));
        let readers: Vec<_> = (0..5 * PART).map(|_| subscribe(&worker, &shard, &orders)).collect();
        let (stranger, _seat) = subscribe(&worker, &shard, &other);
        let seen = || readers.iter().filter(|(reader, _)| reader.seen.get() > 0).count();
        append(&orders, 0);
        append(&other, 0);
        let mut counts = Vec::new();
        until(&worker, STILL, "the event", || {
            if counts.last() != Some(&seen()) {
                counts.push(seen());
            }
            // One topic's sessions do not wait for all of another's.
            assert!(seen() <= 2 * PART || stranger.seen.get() == 1, "{counts:?}");
            seen() == readers.len()
        })
        .await;
        // The stranger had its part of one turn.
        assert!(counts.windows(2).all(|two| two[1] - two[0] <= PART) && counts[1] == PART, "{counts:?}");
        // What comes between two parts is seen by all, too.
        append(&orders, 1);
        until(&worker, STILL, "the first part", || readers[0].0.seen.get() == 2).await;
        append(&orders, 2);
        until(&worker, STILL, "all", || readers.iter().all(|(reader, _)| reader.seen.get() == 3)).await;
    });
}

#[test]
fn a_session_that_panics_is_ended_alone_and_the_shard_goes_on() {
    on_a_worker(async |control, worker, shard| {
        let log = EventLog::new("orders", Bounds::default());
        let readers: Vec<_> = (0..20).map(|_| subscribe(&worker, &shard, &log)).collect();
        let (bad, good): (Vec<_>, Vec<_>) = readers.iter().enumerate().partition(|(index, _)| index % 2 == 0);
        for (index, (reader, _)) in &bad {
            reader.panics.set(true);
            // One of them panics even when it is ended.
            reader.closed.set((*index == 4).then_some(0));
        }
        append(&log, 0);
        until(&worker, STILL, "the good ones", || good.iter().all(|(_, (reader, _))| reader.seen.get() == 1)).await;
        assert!(bad.iter().all(|(_, (reader, _))| reader.failed.get()));
        assert_eq!((worker.sessions.len(), shard.sessions_failed_total()), (10, 10));
        assert_eq!(control.registry().restarts("shard/3"), Some(0));
    });
}

#[test]
fn a_shard_that_is_restarted_drives_what_was_pending() {
    on_a_worker(async |control, worker, shard| {
        let log = EventLog::new("orders", Bounds::default());
        let (reader, _seat) = subscribe(&worker, &shard, &log);
        let registry = control.registry().clone();
        for round in 1..4_u64 {
            // Both in one turn: the shard panics before it looks at the log.
            append(&log, round as i64);
            assert!(registry.make_panic("shard/3"));
            until(&worker, STILL, "the panic", || registry.status("shard/3") == Some(Status::Restarting)).await;
            assert_eq!(reader.seen.get() as u64, round - 1);
            until(&worker, Duration::from_millis(50), "the event", || reader.seen.get() as u64 == round).await;
            assert_eq!(registry.restarts("shard/3"), Some(round));
        }
    });
}

#[test]
fn a_shard_goes_on_when_control_has_stopped() {
    on_a_worker(async |control, worker, shard| {
        let log = EventLog::new("orders", Bounds::default());
        let (reader, _seat) = subscribe(&worker, &shard, &log);
        control.stop();
        append(&log, 0);
        until(&worker, STILL, "the event", || reader.seen.get() == 1).await;
    });
}

#[test]
fn a_shard_that_fails_for_good_closes_its_sessions() {
    on_a_worker(async |control, worker, shard| {
        let log = EventLog::new("orders", Bounds::default());
        let (reader, _seat) = subscribe(&worker, &shard, &log);
        let registry = control.registry().clone();
        until(&worker, Duration::from_millis(50), "failure", || {
            registry.make_panic("shard/3");
            reader.closed.get() == Some(1011)
        })
        .await;
        assert_eq!(registry.failed(), ["shard/3"]);
    });
}

#[test]
fn a_session_whose_state_cannot_be_read_does_no_harm() {
    on_a_worker(async |control, worker, shard| {
        let log = EventLog::new("orders", Bounds::default());
        let (reader, _seat) = subscribe(&worker, &shard, &log);
        reader.panics.set(true);
        let registry = control.registry().clone();
        let unreadable = json!([{ "unreadable": "a bug in its state" }]);
        until(&worker, PICTURE, "a picture", || registry.states()[0]["state"]["sessions"]["first"] == unreadable).await;
        assert_eq!(registry.restarts("shard/3"), Some(0));
    });
}
