//! Whether a body comes fast enough: how long it was waited for, what came, and when that is too slow.
//!
//! Only the time counts in which somebody waits for the client: while the upstream takes nothing, nobody reads, and a client that is
//! held back by us is not slow.

use std::task::{Context, Poll};
use std::time::Duration;

use portolan_config::snapshot::Listener;
use portolan_exchange::Moment;

use crate::wire::Alarm;

/// The pace of one body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    bytes: u64,
    waited: Duration,
    since: Option<Moment>,
}

impl Pace {
    /// A body of which nothing has come yet, and nobody waits for it.
    pub const fn new() -> Self {
        Self { bytes: 0, waited: Duration::ZERO, since: None }
    }

    /// From now on somebody waits for more; twice is the same as once.
    pub fn waits(&mut self, now: Moment) {
        self.since.get_or_insert(now);
    }

    /// So many bytes came: the waiting is over.
    pub fn came(&mut self, bytes: usize, now: Moment) {
        self.rests(now);
        self.was_here(bytes);
    }

    /// So many bytes were here before anybody waited.
    pub fn was_here(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether somebody waits for more.
    pub fn is_waited_for(&self) -> bool {
        self.since.is_some()
    }

    /// Nobody waits any more, though nothing came.
    pub fn rests(&mut self, now: Moment) {
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(now.since(since));
        }
    }

    /// So many bytes are read, or nobody waits for any: what was waited for is over, and `late` with it.
    pub fn arrives(&mut self, bytes: usize, late: &Alarm) {
        if self.is_waited_for() {
            self.came(bytes, late.now());
            late.clear();
        } else {
            self.was_here(bytes);
        }
    }

    /// Waits for more. Ready when the body is too slow, which `late` tells.
    pub fn poll_late(&mut self, listener: &Listener, late: &Alarm, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_waited_for() {
            self.waits(late.now());
            if let Some(until) = self.until(listener) {
                late.set(until);
            }
        }
        late.poll(context)
    }

    /// Until when something has to come: past it the body is too slow, by `body_timeout` or by `min_body_rate`. `None` while
    /// nobody waits. A timer that is set to it need not be moved as long as nothing comes.
    pub fn until(&self, listener: &Listener) -> Option<Moment> {
        let since = self.since?;
        let stalled = since.after(listener.body_timeout);
        let Some(rate) = listener.min_body_rate else { return Some(stalled) };
        // What came is enough for so long.
        let seconds = self.bytes as f64 / rate as f64;
        let enough = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let slow = since.after(enough.max(Listener::BODY_GRACE).saturating_sub(self.waited));
        Some(stalled.min(slow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 60 s without a byte, 240 bytes a second after 10 s.
    fn listener() -> Listener {
        Listener::at("public", ([127, 0, 0, 1], 0).into())
    }

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_body_of_a_byte_a_second_is_too_slow_once_it_was_waited_for_ten_seconds() {
        let mut pace = Pace::new();
        for second in 0..10 {
            pace.waits(at(second));
            assert_eq!(pace.until(&listener()), Some(at(10)));
            pace.came(1, at(second + 1));
        }
        pace.waits(at(10));
        assert_eq!(pace.until(&listener()), Some(at(10)));
    }

    #[test]
    fn what_came_is_enough_for_a_while_and_a_stall_has_its_own_time() {
        let mut pace = Pace::new();
        pace.waits(at(0));
        pace.came(240 * 30, at(5));
        assert_eq!(pace.until(&listener()), None);
        pace.waits(at(5));
        assert_eq!(pace.until(&listener()), Some(at(30)));
        pace.came(240 * 500, at(10));
        pace.was_here(240 * 500);
        assert!(!pace.is_waited_for());
        pace.waits(at(10));
        assert_eq!(pace.until(&listener()), Some(at(70)));
        let patient = Listener { min_body_rate: None, ..listener() };
        assert_eq!(Pace { bytes: 0, ..pace }.until(&patient), Some(at(70)));
    }

    #[test]
    fn time_in_which_nobody_waits_does_not_count() {
        let mut pace = Pace::new();
        pace.waits(at(0));
        pace.waits(at(1));
        pace.rests(at(4));
        pace.rests(at(50));
        assert_eq!(pace.until(&listener()), None);
        pace.waits(at(1_000));
        assert_eq!(pace.until(&listener()), Some(at(1_006)));
    }

    #[test]
    fn no_number_is_too_large() {
        let mut pace = Pace { bytes: u64::MAX, waited: Duration::MAX, since: None };
        pace.waits(at(1));
        pace.came(usize::MAX, at(2));
        pace.waits(at(2));
        let slowest = Listener { min_body_rate: Some(1), ..listener() };
        assert!(pace.until(&slowest).is_some());
    }
}
