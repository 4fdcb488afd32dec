//! How long requests took, in a histogram of fixed size: counting one allocates nothing.

/// Steps per power of two: a value is told to within 1/128 of itself.
const STEPS: u64 = 128;
/// Up to 2^40 ns, some eighteen minutes: longer than any round.
const POWERS: u64 = 34;

/// Counts durations in nanoseconds.
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        let length = usize::try_from(STEPS * POWERS).expect("some four thousand counters");
        Self { counts: vec![0; length], total: 0 }
    }
}

impl Latencies {
    /// Counts one duration. What is beyond eighteen minutes counts as that.
    pub fn record(&mut self, nanos: u64) {
        let place = place(nanos).min(self.counts.len() - 1);
        self.counts[place] += 1;
        self.total += 1;
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The duration that `share` of all did not exceed, rounded up within its step; 0 where nothing was counted.
    pub fn quantile(&self, share: f64) -> u64 {
        // The smallest rank is 1, so that a quantile is always one of those counted.
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return highest(place as u64);
            }
        }
        0
    }
}

/// Values below 128 have a place each; above, each power of two has 128 of them.
fn place(nanos: u64) -> usize {
    let place = if nanos < STEPS {
        nanos
    } else {
        let shift = u64::from(nanos.ilog2() - STEPS.ilog2());
        (shift << STEPS.ilog2()) + (nanos >> shift)
    };
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// The highest value that has this place.
fn highest(place: u64) -> u64 {
    let shift = (place / STEPS).saturating_sub(1);
    (((place - shift * STEPS) + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_one_another_without_a_gap() {
        let mut last = 0;
        for nanos in 0..100_000 {
            let place = place(nanos);
            assert!(place == last || place == last + 1, "{nanos} has place {place} behind {last}");
            assert!(highest(place as u64) >= nanos);
            last = place;
        }
    }

    #[test]
    fn a_value_is_told_to_within_a_hundredth() {
        for nanos in [1, 127, 128, 1_000, 82_345, 1_000_000, 3_999_999_999] {
            let told = highest(place(nanos) as u64);
            assert!(told >= nanos && (told - nanos) as f64 <= nanos as f64 / 100.0, "{nanos} is told as {told}");
        }
    }

    #[test]
    fn quantiles_are_ranks_among_what_was_counted() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.99), 0);
        for nanos in 1..=100 {
            latencies.record(nanos);
        }
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| latencies.quantile(share)), [1, 50, 99, 100]);
        latencies.clear();
        latencies.record(u64::MAX);
        assert!(latencies.quantile(0.5) > 1_000_000_000_000);
    }
}
