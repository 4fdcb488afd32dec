//! How an input was taken, as far as it can be seen from outside: the fuzzer's sense of what is new.

use std::collections::BTreeSet;

/// A set of features, each a number. An input that shows a feature no input showed before is kept and changed further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    outcome: u64,
    features: Vec<u64>,
}

impl Signature {
    /// The signature of an outcome, such as `accepted`.
    pub fn of(outcome: &str) -> Self {
        let outcome = hash(START, outcome.bytes());
        Self { outcome, features: vec![outcome] }
    }

    /// With a word or sentence of the answer. Digits and what stands in quotes are the input's own and do not count:
    /// `line 3: no field "x"` is the same as `line 7: no field "y"`.
    #[must_use]
    pub fn told(mut self, sentence: &str) -> Self {
        self.features.push(hash(self.outcome, shape(sentence)));
        self
    }

    /// With the size of something, counted by its order of magnitude.
    #[must_use]
    pub fn size(mut self, what: &str, size: usize) -> Self {
        let magnitude = u8::try_from(size.checked_ilog2().map_or(0, |log| log + 1)).expect("a usize has few bits");
        self.features.push(hash(hash(self.outcome, what.bytes()), [magnitude]));
        self
    }

    /// Its features, and one for all of them together with how many allocations were made.
    pub fn features(&self, allocations: u64) -> impl Iterator<Item = u64> {
        let magnitude = allocations.checked_ilog2().unwrap_or(0).to_le_bytes();
        // As a set: a hundred frames of one kind are not another story than ninety.
        let set: BTreeSet<u64> = self.features.iter().copied().collect();
        let together = set.iter().fold(START, |sum, feature| hash(sum, feature.to_le_bytes()));
        self.features.iter().copied().chain([hash(together, magnitude)])
    }
}

/// The letters of a sentence that are its own: those before the first quote and behind the last. What lies between may be
/// the input's, quotes included; so may be what lies behind when it is long, as a quote may have been cut off.
fn shape(sentence: &str) -> impl Iterator<Item = u8> {
    const LONGEST_BEFORE: usize = 200;
    const LONGEST_BEHIND: usize = 40;
    let before = sentence.split(['`', '"']).next().unwrap_or_default();
    let behind = sentence[before.len()..].rsplit(['`', '"']).next().unwrap_or_default();
    let behind = if behind.len() <= LONGEST_BEHIND { behind } else { "" };
    let own = before.bytes().take(LONGEST_BEFORE).chain(behind.bytes());
    own.filter(|byte| byte.is_ascii_alphabetic() || *byte == b' ')
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, which unlike the standard library's is the same in every process.
pub fn hash(start: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(start, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The hash of some bytes, to name them by.
pub fn name_of(bytes: &[u8]) -> u64 {
    hash(START, bytes.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_told_apart_by_their_own_words_and_not_by_what_they_quote() {
        let told = |sentence| Signature::of("refused").told(sentence);
        assert_eq!(told("line 3: no field \"x\""), told("line 17: no field \"yy\""));
        assert_eq!(told("no field `x`` `y` here"), told("no field `z` here"));
        assert_ne!(told("no field `x`"), told("no type `x`"));
        assert_ne!(told("no field"), Signature::of("accepted").told("no field"));
    }

    #[test]
    fn sizes_count_by_their_order_of_magnitude() {
        let sized = |size| Signature::of("accepted").size("bytes", size);
        assert_eq!(sized(9), sized(15));
        assert_ne!(sized(15), sized(16));
        assert_ne!(sized(0), sized(1));
    }
}
