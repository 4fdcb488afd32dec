//! A publisher at its bound, with senders that go away, and under an actor that panics with records on their way.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use portolan_exchange::Fault;
use portolan_exchange::FaultKind;
use portolan_exchange::events::{Placed, Publisher as _, Record};
use serde_json::json;

use super::*;
use crate::fake_broker::FakeBroker;
use crate::supervision::Status;
use crate::testing::{advance_until, control, until};

fn record(value: &'static str) -> Record {
    Record { value: Bytes::from_static(value.as_bytes()), ..Record::default() }
}

fn values(broker: &FakeBroker) -> Vec<Bytes> {
    broker.published().into_iter().map(|record| record.value).collect()
}

fn answer(waiting: &mut BoxFuture<'static, Result<Placed, Fault>>) -> Option<Result<i64, FaultKind>> {
    waiting.now_or_never().map(|outcome| outcome.map(|placed| placed.offset).map_err(|fault| fault.kind()))
}

#[test]
fn beyond_the_bound_a_record_is_refused_at_once_and_a_place_that_is_free_is_used_again() {
    let control = control();
    let broker = FakeBroker::new(1);
    let publisher = Publisher::start(&control, broker.clone(), 2);
    broker.set_stuck(true);
    let mut first = publisher.publish("orders", record("1"));
    let mut second = publisher.publish("orders", record("2"));
    assert_eq!((answer(&mut first), answer(&mut second)), (None, None));
    let mut third = publisher.publish("orders", record("3"));
    assert_eq!(answer(&mut third), Some(Err(FaultKind::BrokerUnavailable)));
    broker.set_stuck(false);
    assert_eq!((answer(&mut first), answer(&mut second)), (Some(Ok(0)), Some(Ok(1))));
    let mut fourth = publisher.publish("orders", record("4"));
    assert_eq!(answer(&mut fourth), Some(Ok(2)));
    assert_eq!(values(&broker), ["1", "2", "4"]);
    let expected = json!({
        "broker": "fake", "state": "publishing", "in_flight": 0, "bound": 2, "placed": 3, "failed": 0, "refused": 1,
    });
    assert_eq!(control.registry().states()[0]["state"], expected);
}

#[test]
fn a_sender_that_goes_away_leaves_its_record_to_the_actor() {
    let control = control();
    let broker = FakeBroker::new(1);
    let publisher = Publisher::start(&control, broker.clone(), 2);
    broker.set_stuck(true);
    let mut left = publisher.publish("orders", record("1"));
    assert_eq!(answer(&mut left), None);
    until("the actor to take it over", || {
        let waiting = publisher.publish("orders", record("2"));
        drop(waiting);
        publisher.in_flight() == 2
    });
    drop(left);
    assert_eq!(publisher.in_flight(), 2);
    broker.set_stuck(false);
    until("the orphans to be seen through", || (publisher.in_flight(), publisher.placed_total()) == (0, 2));
}

#[test]
fn an_orphan_that_is_never_answered_frees_its_place() {
    let control = control();
    let broker = FakeBroker::new(1);
    let publisher = Publisher::start(&control, broker.clone(), 1);
    broker.set_stuck(true);
    until("an orphan", || {
        drop(publisher.publish("orders", record("1")));
        publisher.in_flight() == 1
    });
    advance_until(control.clock(), Duration::from_secs(1), "its end", || {
        (publisher.in_flight(), publisher.failed_total()) == (0, 1)
    });
    assert_eq!(publisher.placed_total(), 0);
}

#[test]
fn nobody_waits_for_ever_when_the_actor_panics_with_records_on_their_way() {
    let control = control();
    let broker = FakeBroker::new(1);
    let publisher = Publisher::start(&control, broker.clone(), 10);
    broker.set_stuck(true);
    let mut waiting = publisher.publish("orders", record("1"));
    assert_eq!(answer(&mut waiting), None);
    until("an orphan", || {
        drop(publisher.publish("orders", record("2")));
        publisher.in_flight() == 2
    });
    let registry = control.registry();
    assert!(registry.make_panic("publisher/fake"));
    until("the panic", || registry.status("publisher/fake") == Some(Status::Restarting));
    // The place of the orphan is free again, that of the one who waits is not.
    assert_eq!(publisher.in_flight(), 1);
    broker.set_stuck(false);
    assert_eq!(answer(&mut waiting), Some(Ok(0)));
    let mut next = publisher.publish("orders", record("3"));
    assert_eq!(answer(&mut next), Some(Ok(1)));
    assert_eq!(publisher.in_flight(), 0);
}

#[test]
fn a_broker_that_is_away_is_a_fault_for_each_who_publishes_and_is_seen() {
    let control = control();
    let broker = FakeBroker::new(1);
    let publisher = Publisher::start(&control, broker.clone(), 10);
    broker.set_away(true);
    for _ in 0..3 {
        assert_eq!(answer(&mut publisher.publish("orders", record("1"))), Some(Err(FaultKind::BrokerUnavailable)));
    }
    assert_eq!(control.registry().states()[0]["state"]["state"], "away");
    broker.set_away(false);
    assert_eq!(answer(&mut publisher.publish("orders", record("1"))), Some(Ok(0)));
    assert_eq!(control.registry().states()[0]["state"]["state"], "publishing");
    assert_eq!((publisher.placed_total(), publisher.failed_total()), (1, 3));
}
