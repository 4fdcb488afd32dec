//! What the tests of actors share: a control thread with a clock they move, and conditions to wait for.

use std::fmt;
use std::time::{Duration, SystemTime};

use portolan_exchange::Clock;

use crate::supervision::Control;

/// A control thread whose clock stands still until it is moved.
pub(crate) fn control() -> Control {
    Control::start(Clock::manual(SystemTime::UNIX_EPOCH)).unwrap()
}

/// Waits for a condition, with an end: ten seconds on a machine that does nothing else.
#[track_caller]
pub(crate) fn until(what: impl fmt::Display, mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("waited in vain for {what}");
}

/// Moves the clock on whenever something sleeps on it, until a condition holds.
#[track_caller]
pub(crate) fn advance_until(
    clock: &Clock,
    step: Duration,
    what: impl fmt::Display,
    mut condition: impl FnMut() -> bool,
) {
    until(what, || {
        if condition() {
            return true;
        }
        if clock.sleepers() > 0 {
            clock.advance(step);
        }
        false
    });
}
