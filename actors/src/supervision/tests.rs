//! Actors that panic in every place where an actor can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{AsyncContext, Handler, Message, WrapFuture};
use serde_json::json;

use super::*;
use crate::testing::{advance_until, control, until};

/// Where the actor under test panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Nowhere,
    Factory,
    Started,
    Interval,
    Future,
    Stop,
}

struct Frail {
    place: Place,
    clock: Clock,
    turns: Arc<AtomicUsize>,
}

impl Actor for Frail {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let place = self.place;
        assert!(place != Place::Started, "panicked in `started`");
        let turn = move |actor: &mut Self, _: &mut Context<Self>| {
            assert!(place != Place::Interval, "panicked in an interval");
            actor.turns.fetch_add(1, Ordering::SeqCst);
        };
        context.spawn(every(&self.clock, Duration::from_secs(1), turn));
        let clock = self.clock.clone();
        let future = async move {
            clock.sleep(Duration::from_secs(1)).await;
            assert!(place != Place::Future, "panicked in a future");
        };
        context.spawn(future.into_actor(self));
        if place == Place::Stop {
            actix::ActorContext::stop(context);
        }
    }
}

struct Panic;

impl Message for Panic {
    type Result = ();
}

impl Handler<Panic> for Frail {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("panicked in a handler");
    }
}

struct Turn;

impl Message for Turn {
    type Result = ();
}

impl Handler<Turn> for Frail {
    type Result = ();

    fn handle(&mut self, _: Turn, _: &mut Self::Context) {
        self.turns.fetch_add(1, Ordering::SeqCst);
    }
}

/// An actor that panics in one place in its first lives, and works after them.
fn frail(control: &Control, place: Place, bad_lives: usize) -> (Supervised, Ref<Frail>, Arc<AtomicUsize>) {
    let reference = Ref::new();
    let turns = Arc::new(AtomicUsize::new(0));
    let (clock, counted, mut lives) = (control.clock().clone(), turns.clone(), 0);
    let charge = Charge::new(Kind::Watch, "frail", || json!({ "known": true }));
    let supervised = control.spawn(charge, &reference, move || {
        lives += 1;
        let place = if lives > bad_lives { Place::Nowhere } else { place };
        assert!(place != Place::Factory, "panicked in the factory");
        Frail { place, clock: clock.clone(), turns: counted.clone() }
    });
    (supervised, reference, turns)
}

#[test]
fn a_panic_in_any_place_is_caught_and_the_actor_begins_again_behind_the_same_reference() {
    let places = [
        (Place::Factory, "panicked in the factory"),
        (Place::Started, "panicked in `started`"),
        (Place::Interval, "panicked in an interval"),
        (Place::Future, "panicked in a future"),
        (Place::Stop, "it stopped and nobody had told it to"),
    ];
    for (place, words) in places {
        let control = control();
        let (supervised, reference, turns) = frail(&control, place, 1);
        let registry = control.registry();
        let again = || registry.restarts("watch/frail") == Some(1) && supervised.status() == Status::Running;
        advance_until(control.clock(), Duration::from_secs(1), words, again);
        until("a message to be taken", || reference.try_send(Turn) && turns.load(Ordering::SeqCst) > 0);
        assert_eq!(registry.states()[0]["last_panic"], words);
        assert_eq!(registry.failed(), Vec::<String>::new());
    }
}

#[test]
fn a_panic_in_a_handler_loses_its_mailbox_and_no_more() {
    let control = control();
    let (_supervised, reference, turns) = frail(&control, Place::Nowhere, 0);
    until("the actor to be up", || reference.try_send(Panic));
    until("its restart to be due", || control.registry().status("watch/frail") == Some(Status::Restarting));
    let before = reference.dropped();
    assert!(!reference.try_send(Turn));
    assert_eq!(reference.dropped(), before + 1);
    advance_until(control.clock(), Duration::from_millis(50), "the restart", || {
        reference.try_send(Turn) && turns.load(Ordering::SeqCst) > 0
    });
    assert_eq!(control.registry().restarts("watch/frail"), Some(1));
}

#[test]
fn an_actor_that_ends_too_often_stays_down_and_is_seen_to_have_failed() {
    let control = control();
    let (supervised, reference, _) = frail(&control, Place::Started, usize::MAX);
    advance_until(control.clock(), Duration::from_secs(1), "failure", || supervised.status() == Status::Failed);
    assert_eq!(control.registry().failed(), ["watch/frail"]);
    assert!(!reference.try_send(Turn));
    assert!(!control.registry().make_panic("watch/frail"));
    let expected = json!({
        "name": "watch/frail", "kind": "watch", "status": "failed", "restarts": 5, "dropped": 1,
        "last_panic": "panicked in `started`", "state": { "known": true },
    });
    assert_eq!(control.registry().states(), [expected]);
}

#[test]
fn an_actor_can_be_told_to_panic() {
    let control = control();
    let (supervised, _, _) = frail(&control, Place::Nowhere, 0);
    assert!(control.registry().make_panic("watch/frail"));
    let again = || control.registry().restarts("watch/frail") == Some(1) && supervised.status() == Status::Running;
    advance_until(control.clock(), Duration::from_millis(50), "the restart", again);
    assert_eq!(control.registry().states()[0]["last_panic"], "told to panic");
    assert!(!control.registry().make_panic("watch/nobody"));
}

#[test]
fn an_actor_that_is_dropped_is_stopped_and_leaves_the_registry() {
    let control = control();
    let (supervised, reference, _) = frail(&control, Place::Nowhere, 0);
    until("the actor to be up", || reference.try_send(Turn));
    drop(supervised);
    until("the actor to be gone", || !reference.try_send(Turn));
    assert_eq!(control.registry().states(), Vec::<Value>::new());
    assert!(!control.registry().remove("watch/frail"));
}

#[test]
fn a_full_mailbox_drops_and_counts() {
    let control = control();
    let (_supervised, reference, _) = frail(&control, Place::Nowhere, 0);
    until("the actor to be up", || reference.try_send(Turn));
    let before = reference.dropped();
    // A burst that the control thread cannot take in between: it is held up by a turn of its own.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let charge = Charge::new(Kind::Watch, "blocker", || Value::Null);
    let mut held = Some(held);
    let clock = control.clock().clone();
    let _blocker = control.spawn(charge, &Ref::new(), move || {
        if let Some(held) = held.take() {
            tell.send(()).unwrap();
            held.recv().unwrap();
        }
        Frail { place: Place::Nowhere, clock: clock.clone(), turns: Arc::default() }
    });
    told.recv().unwrap();
    let taken = (0..1_000).filter(|_| reference.try_send(Turn)).count();
    hold.send(()).unwrap();
    assert_eq!((taken, reference.dropped() - before), (256, 744));
}

#[test]
fn control_stops_its_actors_and_threads_and_may_be_told_twice() {
    let control = control();
    let (supervised, reference, _) = frail(&control, Place::Nowhere, 0);
    until("the actor to be up", || reference.try_send(Turn));
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = control.threads().spawn("test".into(), move || assert!(ended.recv().is_err())).unwrap();
    assert_eq!(control.threads().running(), 1);
    drop(end);
    control.stop();
    control.stop();
    assert!(thread.has_ended());
    assert!(!reference.try_send(Turn));
    drop(supervised);
    assert_eq!(control.registry().states(), Vec::<Value>::new());
}

#[test]
fn control_stops_an_actor_that_waits_for_its_restart() {
    let control = control();
    let (supervised, _, _) = frail(&control, Place::Started, usize::MAX);
    until("a restart to be due", || supervised.status() == Status::Restarting);
    control.stop();
}
