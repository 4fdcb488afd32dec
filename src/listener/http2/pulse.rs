//! Whether a connection of HTTP/2 is alive: what it waits for, since when, and when that is too long.
//!
//! One timer for each connection looks at what the others note here, instead of a timer for every request.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use portolan_config::snapshot::Listener;
use portolan_exchange::{Clock, Moment};
use tokio::sync::Notify;

/// What a connection waits for.
pub struct Pulse {
    clock: Clock,
    settings: Arc<Listener>,
    // Exchanges under way on this connection, one for each stream.
    open: AtomicUsize,
    idle_since: Since,
    write_stalled: Since,
    no_room: Notify,
}

/// Since when, if at all. Only one thread touches it, but what carries it must be able to move between threads: the wire
/// library asks that of connections that may be upgraded.
struct Since(AtomicU64);

impl Since {
    const NEVER: u64 = u64::MAX;

    const fn never() -> Self {
        Self(AtomicU64::new(Self::NEVER))
    }

    fn get(&self) -> Option<Moment> {
        Some(self.0.load(Relaxed)).filter(|nanos| *nanos != Self::NEVER).map(Moment::from_nanos)
    }

    fn set(&self, moment: Moment) {
        self.0.store(moment.as_nanos(), Relaxed);
    }

    fn begin(&self, now: impl FnOnce() -> Moment) {
        if self.0.load(Relaxed) == Self::NEVER {
            self.set(now());
        }
    }

    fn end(&self) {
        self.0.store(Self::NEVER, Relaxed);
    }
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flat {
    /// No request came.
    Idle,
    /// The client takes nothing.
    Write,
}

impl Pulse {
    /// A connection that was just accepted.
    pub fn new(clock: Clock, settings: Arc<Listener>) -> Arc<Self> {
        let pulse = Self {
            settings,
            open: AtomicUsize::new(0),
            idle_since: Since::never(),
            write_stalled: Since::never(),
            no_room: Notify::new(),
            clock,
        };
        pulse.idle_since.set(pulse.clock.now());
        Arc::new(pulse)
    }

    /// The client took bytes, or there is nothing to take.
    pub fn wrote(&self) {
        self.write_stalled.end();
    }

    /// The client takes no bytes now.
    pub fn write_waits(&self) {
        self.write_stalled.begin(|| self.clock.now());
    }

    /// A request was turned away because there was no room for it.
    pub fn has_no_room(&self) {
        self.no_room.notify_one();
    }

    /// Waits until a request was turned away because there was no room for it.
    pub async fn no_room(&self) {
        self.no_room.notified().await;
    }

    /// A head is there: an exchange begins, and ends when the beat is dropped.
    pub fn begin(self: &Arc<Self>) -> Beat {
        self.open.fetch_add(1, Relaxed);
        Beat { pulse: self.clone() }
    }

    /// An exchange ended, its answer handed over.
    fn end(&self) {
        if self.open.fetch_sub(1, Relaxed) == 1 {
            self.idle_since.set(self.clock.now());
        }
    }

    /// What this connection waits for next, and until when it may.
    fn next(&self) -> Option<(Moment, Flat)> {
        let Listener { idle_timeout, write_timeout, .. } = &*self.settings;
        let write = self.write_stalled.get().map(|since| (since.after(*write_timeout), Flat::Write));
        let is_quiet = self.open.load(Relaxed) == 0;
        let idle = self.idle_since.get().map(|since| (since.after(*idle_timeout), Flat::Idle));
        let quiet = idle.filter(|_| is_quiet);
        [write, quiet].into_iter().flatten().min_by_key(|(moment, _)| *moment)
    }

    /// Waits until the connection has waited too long for something.
    pub async fn flat(&self) -> Flat {
        let shortest = self.settings.idle_timeout.min(self.settings.write_timeout);
        loop {
            let now = self.clock.now();
            let next = self.next();
            if let Some((until, why)) = next
                && until <= now
            {
                return why;
            }
            // While an exchange is under way that waits for nothing of the client, it has deadlines of its own. What begins
            // meanwhile is not shorter than the shortest.
            let look = now.after(shortest);
            self.clock.sleep_until(next.map_or(look, |(until, _)| until.min(look))).await;
        }
    }
}

/// An exchange under way on a connection.
pub struct Beat {
    pulse: Arc<Pulse>,
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.pulse.end();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::{Duration, SystemTime};

    use futures_util::FutureExt;

    use super::*;

    fn pulse(clock: &Clock) -> Arc<Pulse> {
        Pulse::new(clock.clone(), Arc::new(Listener::at("public", ([127, 0, 0, 1], 0).into())))
    }

    /// After how many whole seconds the pulse is flat, and why.
    fn flat_after(clock: &Clock, pulse: &Pulse) -> (u64, Flat) {
        let mut flat = pin!(pulse.flat());
        for second in 0..1_000 {
            if let Some(why) = flat.as_mut().now_or_never() {
                return (second, why);
            }
            clock.advance(Duration::from_secs(1));
        }
        panic!("it never went flat");
    }

    #[test]
    fn an_exchange_under_way_is_not_idle_and_one_that_ended_is_from_then_on() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let pulse = pulse(&clock);
        let beat = pulse.begin();
        let mut flat = pin!(pulse.flat());
        for _ in 0..40 {
            assert_eq!(flat.as_mut().now_or_never(), None);
            clock.advance(Duration::from_secs(10));
        }
        drop(beat);
        assert_eq!(flat_after(&clock, &pulse), (75, Flat::Idle));
    }

    #[test]
    fn a_client_that_takes_nothing_is_ended_after_a_minute() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let one = pulse(&clock);
        let _beat = one.begin();
        one.write_waits();
        clock.advance(Duration::from_secs(30));
        one.write_waits();
        assert_eq!(flat_after(&clock, &one), (30, Flat::Write));
    }
}
