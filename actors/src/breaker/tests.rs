//! A breaker under calls, under threads, and under an actor that panics while permits are out.

use serde_json::json;

use super::*;
use crate::supervision::Status;
use crate::testing::{advance_until, control, until};

fn settings() -> Settings {
    Settings { minimum: 4, ..Settings::default() }
}

fn call(breaker: &Breaker, clock: &Clock, verdict: Verdict) {
    breaker.admit(clock.now()).unwrap().settle(verdict);
}

fn open(breaker: &Breaker, clock: &Clock) {
    for _ in 0..4 {
        call(breaker, clock, Verdict::Failure);
    }
    assert_eq!(breaker.state().as_str(), "open");
}

fn refused(breaker: &Breaker, clock: &Clock) -> Duration {
    breaker.admit(clock.now()).unwrap_err().retry_after
}

#[test]
fn it_is_open_as_soon_as_the_failing_call_has_ended_and_closes_after_a_probe() {
    let control = control();
    let clock = control.clock();
    let breaker = Breaker::start(&control, "orders", settings());
    call(&breaker, clock, Verdict::Success);
    call(&breaker, clock, Verdict::Success);
    call(&breaker, clock, Verdict::Failure);
    assert_eq!(breaker.state(), State::Closed);
    call(&breaker, clock, Verdict::Failure);
    assert_eq!(refused(&breaker, clock), Duration::from_secs(5));
    clock.advance(Duration::from_secs(4));
    assert_eq!(refused(&breaker, clock), Duration::from_secs(1));
    clock.advance(Duration::from_secs(1));
    let probe = breaker.admit(clock.now()).unwrap();
    assert_eq!(refused(&breaker, clock), Duration::from_secs(1));
    probe.settle(Verdict::Success);
    call(&breaker, clock, Verdict::Failure);
    assert_eq!((breaker.state(), breaker.opened_total(), breaker.refused_total()), (State::Closed, 1, 3));
}

#[test]
fn failures_that_left_the_window_are_forgotten() {
    let control = control();
    let clock = control.clock();
    let breaker = Breaker::start(&control, "orders", settings());
    for _ in 0..20 {
        call(&breaker, clock, Verdict::Failure);
        clock.advance(Duration::from_secs(4));
    }
    assert_eq!((breaker.state(), breaker.opened_total()), (State::Closed, 0));
}

#[test]
fn a_success_that_reaches_the_minimum_opens_it_too() {
    let control = control();
    let clock = control.clock();
    let breaker = Breaker::start(&control, "orders", settings());
    for _ in 0..3 {
        call(&breaker, clock, Verdict::Failure);
    }
    call(&breaker, clock, Verdict::Success);
    assert_eq!(breaker.state().as_str(), "open");
}

#[test]
fn a_success_that_reaches_the_minimum_opens_it_as_long_as_failures_are_within_the_window() {
    let control = control();
    let clock = control.clock();
    for (later, state) in [(9, "open"), (10, "closed")] {
        let breaker = Breaker::start(&control, "orders", settings());
        call(&breaker, clock, Verdict::Failure);
        call(&breaker, clock, Verdict::Failure);
        clock.advance(Duration::from_secs(later));
        call(&breaker, clock, Verdict::Success);
        call(&breaker, clock, Verdict::Success);
        assert_eq!(breaker.state().as_str(), state, "after {later} s");
    }
}

#[test]
fn a_permit_that_is_dropped_counts_as_neither_and_a_late_one_not_at_all() {
    let control = control();
    let clock = control.clock();
    let breaker = Breaker::start(&control, "orders", settings());
    for _ in 0..100 {
        drop(breaker.admit(clock.now()).unwrap());
    }
    assert_eq!(breaker.counts(), Counts::default());
    let late: Vec<_> = (0..10).map(|_| breaker.admit(clock.now()).unwrap()).collect();
    open(&breaker, clock);
    clock.advance(Duration::from_secs(5));
    // A probe that is dropped frees its slot for the next.
    drop(breaker.admit(clock.now()).unwrap());
    call(&breaker, clock, Verdict::Success);
    for permit in late {
        permit.settle(Verdict::Failure);
    }
    assert_eq!((breaker.state(), breaker.counts()), (State::Closed, Counts::default()));
}

#[test]
fn an_open_breaker_stays_open_when_its_actor_panics_with_permits_out() {
    let control = control();
    let clock = control.clock();
    let breaker = Breaker::start(&control, "orders", settings());
    let out = breaker.admit(clock.now()).unwrap();
    open(&breaker, clock);
    let registry = control.registry();
    assert!(registry.make_panic("breaker/orders"));
    until("the panic", || registry.status("breaker/orders") == Some(Status::Restarting));
    assert_eq!(refused(&breaker, clock), Duration::from_secs(5));
    out.settle(Verdict::Success);
    clock.advance(Duration::from_millis(50));
    until("the restart", || registry.status("breaker/orders") == Some(Status::Running));
    assert_eq!(refused(&breaker, clock), Duration::from_millis(4_950));
    // A probe is out when the actor panics again: it settles all the same.
    clock.advance(Duration::from_millis(4_950));
    let probe = breaker.admit(clock.now()).unwrap();
    assert!(registry.make_panic("breaker/orders"));
    until("the second panic", || registry.restarts("breaker/orders") == Some(2));
    probe.settle(Verdict::Success);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn it_opens_and_closes_even_when_its_actor_has_failed_for_good() {
    let control = control();
    let clock = control.clock();
    let breaker = Breaker::start(&control, "orders", settings());
    advance_until(clock, Duration::from_secs(1), "failure", || {
        control.registry().make_panic("breaker/orders");
        control.registry().failed() == ["breaker/orders"]
    });
    open(&breaker, clock);
    clock.advance(Duration::from_secs(5));
    call(&breaker, clock, Verdict::Success);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn its_actor_publishes_that_it_is_half_open_when_the_time_has_come() {
    let control = control();
    let clock = control.clock();
    let breaker = Breaker::start(&control, "orders", settings());
    open(&breaker, clock);
    let expected = json!({
        "upstream": "orders", "state": "open", "calls": 4, "failures": 4, "opened": 1, "refused": 0, "half_open_in_ms": 5_000,
    });
    assert_eq!(control.registry().states()[0]["state"], expected);
    advance_until(clock, Duration::from_secs(1), "half open", || breaker.state() == State::HalfOpen);
    assert_eq!(control.registry().states()[0]["state"]["probes"], 0);
}

#[test]
fn new_settings_hold_at_once_and_an_open_breaker_stays_open() {
    let control = control();
    let clock = control.clock();
    let breaker = Breaker::start(&control, "orders", settings());
    open(&breaker, clock);
    breaker.reshape(Settings {
        minimum: 2,
        window: Duration::from_secs(1),
        open_for: Duration::from_secs(60),
        ..settings()
    });
    assert_eq!(refused(&breaker, clock), Duration::from_secs(5));
    clock.advance(Duration::from_secs(5));
    call(&breaker, clock, Verdict::Success);
    call(&breaker, clock, Verdict::Failure);
    call(&breaker, clock, Verdict::Failure);
    assert_eq!(refused(&breaker, clock), Duration::from_secs(60));
}

#[test]
fn threads_that_fail_together_open_it_once() {
    let control = control();
    let breaker = Breaker::start(&control, "orders", Settings { minimum: 1_000, ..settings() });
    let (breaker, clock) = (&breaker, control.clock());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    match breaker.admit(clock.now()) {
                        Ok(permit) => permit.settle(Verdict::Failure),
                        Err(open) => assert_eq!(open.retry_after, Duration::from_secs(5)),
                    }
                }
            });
        }
    });
    assert_eq!(breaker.opened_total(), 1);
    // No outcome was lost: at most the three that were between admission and settling when it opened.
    assert!(breaker.refused_total() >= 4_000 - 1_000 - 3, "{}", breaker.refused_total());
}
