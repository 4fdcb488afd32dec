//! A bucket in one number: the moment at which it is full again (the generic cell rate algorithm).
//!
//! A bucket that holds `burst` units and gets one every `unit` nanoseconds is as full as the time that is left until that
//! moment says. A draw moves the moment away, a refund moves it back, and time that goes by fills the bucket without
//! anybody doing anything.

use std::time::Duration;

use portolan_exchange::Moment;
use portolan_exchange::limits::{Level, Quota};

/// A quota in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    // Nanoseconds in which one unit flows in, rounded up: a quota is never exceeded, and any number of draws adds up to
    // exactly what one draw of their sum is. Above ten million units a second the rounding makes it up to a tenth too strict.
    unit: u64,
    burst: u64,
}

/// What became of a draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drawn {
    /// It was made; the bucket is full again at this moment.
    Made(Moment),
    /// There is not enough for so long.
    Short(Duration),
    /// It is more than the bucket can ever hold.
    Never,
}

impl Rate {
    pub(super) fn of(quota: Quota) -> Self {
        Self { unit: nanos(quota.every).div_ceil(quota.limit.max(1)).max(1), burst: quota.burst }
    }

    /// Draws units from a bucket that would be full at `full_at`.
    pub(super) fn draw(self, full_at: Moment, units: u64, now: Moment) -> Drawn {
        if units > self.burst {
            return Drawn::Never;
        }
        let full_then = full_at.max(now).as_nanos().saturating_add(self.nanos(units));
        let needed = full_then - now.as_nanos();
        match needed.saturating_sub(self.nanos(self.burst)) {
            0 => Drawn::Made(Moment::from_nanos(full_then)),
            missing => Drawn::Short(Duration::from_nanos(missing)),
        }
    }

    /// When the bucket is full after units were put back.
    pub(super) fn refund(self, full_at: Moment, units: u64) -> Moment {
        Moment::from_nanos(full_at.as_nanos().saturating_sub(self.nanos(units)))
    }

    /// When the bucket is full after units were drawn that were owed since the reservation, even below empty.
    pub(super) fn charge(self, full_at: Moment, units: u64) -> Moment {
        Moment::from_nanos(full_at.as_nanos().saturating_add(self.nanos(units)))
    }

    /// The bucket as it stands.
    pub(super) fn level(self, full_at: Moment, now: Moment) -> Level {
        let reset = full_at.as_nanos().saturating_sub(now.as_nanos());
        let free = self.nanos(self.burst).saturating_sub(reset);
        Level { remaining: free / self.unit, reset: Duration::from_nanos(reset) }
    }

    fn nanos(self, units: u64) -> u64 {
        self.unit.saturating_mul(units)
    }
}

/// Saturating at the end of time, and without the 128 bits of [`Duration::as_nanos`].
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(limit: u64, every: Duration, burst: u64) -> Rate {
        Rate::of(Quota { limit, every, burst })
    }

    fn at(millis: u64) -> Moment {
        Moment::default().after(Duration::from_millis(millis))
    }

    #[test]
    fn single_draws_at_one_instant_empty_a_bucket_exactly_whatever_the_quota() {
        for (limit, burst) in [(7, 7), (3, 10), (1_000_000, 13), (1, 1)] {
            let rate = rate(limit, Duration::from_secs(60), burst);
            let mut full_at = at(0);
            for drawn in 1..=burst {
                let Drawn::Made(then) = rate.draw(full_at, 1, at(1_000)) else { panic!("{drawn} of {burst}") };
                full_at = then;
                assert_eq!(rate.level(full_at, at(1_000)).remaining, burst - drawn);
            }
            assert!(matches!(rate.draw(full_at, 1, at(1_000)), Drawn::Short(_)));
        }
    }

    #[test]
    fn the_time_to_wait_is_exact_to_the_nanosecond() {
        let rate = rate(2, Duration::from_secs(1), 4);
        let Drawn::Made(full_at) = rate.draw(at(0), 4, at(0)) else { panic!() };
        assert_eq!(rate.draw(full_at, 3, at(0)), Drawn::Short(Duration::from_millis(1_500)));
        assert_eq!(rate.draw(full_at, 3, Moment::from_nanos(1_499_999_999)), Drawn::Short(Duration::from_nanos(1)));
        assert_eq!(rate.draw(full_at, 3, at(1_500)), Drawn::Made(at(3_500)));
    }

    #[test]
    fn what_a_bucket_cannot_hold_never_fits() {
        assert_eq!(rate(100, Duration::from_secs(1), 10).draw(at(0), 11, at(0)), Drawn::Never);
    }

    #[test]
    fn numbers_at_the_end_of_their_range_do_not_wrap() {
        let slow = rate(1, Duration::MAX, u64::MAX);
        assert!(matches!(slow.draw(at(0), u64::MAX, at(1)), Drawn::Made(_)));
        assert_eq!(slow.refund(at(0), u64::MAX), at(0));
        assert_eq!(slow.charge(at(1), u64::MAX), Moment::from_nanos(u64::MAX));
    }
}
