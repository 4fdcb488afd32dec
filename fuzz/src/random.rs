//! Numbers that look random and can be repeated from a seed.

/// A generator (SplitMix64): quick, with a state of one number, and good enough to choose mutations. Not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that gives the same numbers for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        match end {
            0 => 0,
            // The bias of the remainder does not matter here.
            end => usize::try_from(self.number() % end as u64).expect("it is below a usize"),
        }
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these; `None` where there is none.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// A range that is not empty within `len`, short ones more often; `0..0` where `len` is 0.
    pub fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        if len == 0 {
            return 0..0;
        }
        let start = self.below(len);
        let longest = len - start;
        let bound = match self.below(4) {
            0 => longest,
            1 => longest.min(64),
            _ => longest.min(8),
        };
        start..start + 1 + self.below(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_another_gives_others() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            [random.number(), random.number(), random.number()]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn a_range_is_never_empty_and_never_beyond_the_end() {
        let mut random = Random::new(1);
        for len in [1, 2, 100] {
            for _ in 0..1_000 {
                let range = random.range(len);
                assert!(range.start < range.end && range.end <= len, "{range:?} of {len}");
            }
        }
        assert_eq!(random.range(0), 0..0);
    }
}
