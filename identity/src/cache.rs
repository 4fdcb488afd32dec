//! Remembers what was verified, so that a token or a key costs a look-up the second time.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// How much a cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Tokens; at least 2.
    pub tokens: usize,
    /// Bytes that they take, by [`footprint`].
    pub bytes: usize,
}

/// Verified tokens and what they mean. It belongs to one worker and one set of keys and rules: whoever changes those begins a
/// new one.
///
/// A token is found by all of it: a slot is chosen by a hash under a key that is drawn anew for each cache, of the whole of a
/// short one, as keys of callers are, and of the end of a long one, which is the signature's and so as good as random; then the
/// whole token is compared, in a time that does not tell how much of it was right. Only what was verified is put in, so nobody
/// fills a slot but with a good credential.
///
/// The bound is kept by two halves: a token that is put in or found goes to the young half, and when that is full the old one
/// is forgotten and they change places. So what is used stays, without a list to keep in order.
pub struct Cache<V> {
    young: Half<V>,
    old: Half<V>,
    bounds: Bounds,
    chance: Chance,
}

struct Half<V> {
    entries: HashMap<u64, Entry<V>, BuildHasherDefault<Hashed>>,
    bytes: usize,
}

struct Entry<V> {
    token: Box<[u8]>,
    // Nothing where it has no end of its own.
    expires: Option<SystemTime>,
    value: V,
}

impl<V> Entry<V> {
    fn has_expired(&self, now: impl FnOnce() -> SystemTime) -> bool {
        self.expires.is_some_and(|end| end <= now())
    }
}

/// What an entry takes besides its token: itself, its place in the table, and what its value holds, which is small.
const OVERHEAD: usize = 256;

/// A token up to this long chooses its slot with all of it, as keys do, whose ends may be alike.
const SHORT: usize = 64;

/// The bytes of the end of a longer one that choose its slot: 96 bits of a signature.
const END: usize = 16;

/// The bytes that a token of this length counts for.
pub const fn footprint(length: usize) -> usize {
    length + OVERHEAD
}

impl<V: Clone> Cache<V> {
    /// An empty cache. It takes no memory before something is put in.
    pub fn new(bounds: Bounds) -> Self {
        Self { young: Half::default(), old: Half::default(), bounds, chance: Chance::new() }
    }

    /// What a token means, if it was verified before and has not expired: with its time it is forgotten. The time is asked for
    /// where there is an end. Does not allocate, save now and then when a token comes over from the old half.
    pub fn get(&mut self, token: &[u8], now: impl FnOnce() -> SystemTime) -> Option<V> {
        let slot = self.slot(token);
        if let Some(entry) = self.young.entries.get(&slot) {
            if !same(&entry.token, token) {
                return None;
            }
            if !entry.has_expired(now) {
                return Some(entry.value.clone());
            }
            self.young.take(slot);
            return None;
        }
        let entry = self.old.entries.get(&slot)?;
        if !same(&entry.token, token) {
            return None;
        }
        let entry = self.old.take(slot)?;
        if entry.has_expired(now) {
            return None;
        }
        let value = entry.value.clone();
        self.put(slot, entry);
        Some(value)
    }

    /// Remembers what a token means, up to its end where it has one. One that is larger than half of the bound is not kept.
    pub fn insert(&mut self, token: &[u8], expires: impl Into<Option<SystemTime>>, value: V) {
        let slot = self.slot(token);
        self.old.take(slot);
        self.put(slot, Entry { token: token.into(), expires: expires.into(), value });
    }

    /// How many tokens it holds.
    pub fn len(&self) -> usize {
        self.young.entries.len() + self.old.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that they count for.
    pub fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }

    fn put(&mut self, slot: u64, entry: Entry<V>) {
        let bytes = footprint(entry.token.len());
        let (most_tokens, most_bytes) = (self.bounds.tokens / 2, self.bounds.bytes / 2);
        if bytes > most_bytes || most_tokens == 0 {
            return;
        }
        self.young.take(slot);
        if self.young.entries.len() + 1 > most_tokens || self.young.bytes + bytes > most_bytes {
            std::mem::swap(&mut self.young, &mut self.old);
            // Its table is kept: it will be as large again.
            self.young.entries.clear();
            self.young.bytes = 0;
        }
        self.young.bytes += bytes;
        self.young.entries.insert(slot, entry);
    }

    fn slot(&self, token: &[u8]) -> u64 {
        let from = if token.len() <= SHORT { 0 } else { token.len() - END };
        self.chance.hash(&token[from..])
    }
}

/// Hashes short texts under a key: the sum of their words, each by a factor of its own. Whatever two texts somebody chooses who does
/// not know the key, they get the same 64 bits by a chance of 2^-64 (D. Lemire and O. Kaser, "Strongly universal string hashing is
/// fast", 2014), at a fraction of what a hash costs that may be shown to others: nobody is shown this one.
struct Chance([u128; WORDS]);

/// Those of a short token, what is left of it, its length, and one for the sum to begin with.
const WORDS: usize = SHORT / 8 + 3;

impl Chance {
    fn new() -> Self {
        let chance = RandomState::new();
        let half = |at: usize| u128::from(chance.hash_one(at));
        Self(std::array::from_fn(|at| half(2 * at) << 64 | half(2 * at + 1)))
    }

    /// The hash of a text that is no longer than a short token.
    fn hash(&self, text: &[u8]) -> u64 {
        let [begin, of_length, of_rest, of_words @ ..] = &self.0;
        let (eights, rest) = text.as_chunks::<8>();
        let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let by = |factor: &u128, word: u64| factor.wrapping_mul(word.into());
        let ends = begin.wrapping_add(by(of_length, text.len() as u64)).wrapping_add(by(of_rest, rest));
        let words = eights.iter().map(|eight| u64::from_le_bytes(*eight));
        let sum = of_words.iter().zip(words).fold(ends, |sum, (factor, word)| sum.wrapping_add(by(factor, word)));
        (sum >> 64) as u64
    }
}

impl<V> Half<V> {
    fn take(&mut self, slot: u64) -> Option<Entry<V>> {
        let entry = self.entries.remove(&slot)?;
        self.bytes -= footprint(entry.token.len());
        Some(entry)
    }
}

impl<V> Default for Half<V> {
    fn default() -> Self {
        Self { entries: HashMap::default(), bytes: 0 }
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({} + {} tokens)", self.young.entries.len(), self.old.entries.len())
    }
}

fn same(known: &[u8], shown: &[u8]) -> bool {
    verify_slices_are_equal(known, shown).is_ok()
}

/// Takes a hash for what it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("slots are numbers")
    }

    fn write_u64(&mut self, slot: u64) {
        self.0 = slot;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Tokens of one length whose ends differ.
    fn token(number: usize) -> Vec<u8> {
        format!("header.claims.{number:032}").into_bytes()
    }

    fn cache(tokens: usize, bytes: usize) -> Cache<usize> {
        Cache::new(Bounds { tokens, bytes })
    }

    #[test]
    fn a_token_is_found_until_its_end_and_not_a_moment_longer() {
        let mut cache = cache(10, 1 << 20);
        cache.insert(&token(1), at(100), 1);
        assert_eq!(cache.get(&token(1), || at(99)), Some(1));
        assert_eq!(cache.get(&token(1), || at(100)), None);
        assert!(cache.is_empty());
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn what_has_no_end_is_found_at_any_time() {
        let mut cache = cache(10, 1 << 20);
        cache.insert(b"key", None, 1);
        assert_eq!(cache.get(b"key", || at(u32::MAX.into())), Some(1));
    }

    #[test]
    fn the_whole_token_counts_and_not_its_end_alone() {
        let mut cache = cache(10, 1 << 20);
        cache.insert(&token(1), at(100), 1);
        for place in 0..token(1).len() {
            let mut other = token(1);
            other[place] ^= 1;
            assert_eq!(cache.get(&other, || at(0)), None, "byte {place}");
        }
        let mut longer = b"x".to_vec();
        longer.extend(token(1));
        assert_eq!(cache.get(&longer, || at(0)), None);
        assert_eq!(cache.get(b"", || at(0)), None);
        assert_eq!(cache.get(&token(1), || at(0)), Some(1));
    }

    #[test]
    fn two_tokens_with_one_end_take_turns_in_their_slot_and_two_keys_do_not() {
        for (length, left) in [(SHORT, (Some(1), Some(2), 2)), (SHORT + 1, (None, Some(2), 1))] {
            let mut cache = cache(10, 1 << 20);
            let (mut one, mut other) = (vec![b'x'; length], vec![b'x'; length]);
            (one[0], other[0]) = (b'a', b'b');
            cache.insert(&one, at(100), 1);
            cache.insert(&other, at(100), 2);
            let found = (cache.get(&one, || at(0)), cache.get(&other, || at(0)), cache.len());
            assert_eq!(found, left, "{length} bytes");
        }
    }

    #[test]
    fn texts_that_differ_by_little_have_hashes_that_differ_by_much() {
        let (chance, mut hashes) = (Chance::new(), std::collections::HashSet::new());
        for length in 0..=SHORT {
            let mut text = vec![0; length];
            assert!(hashes.insert(chance.hash(&text)), "{length} zeros");
            for at in 0..length {
                text[at] = 1;
                assert!(hashes.insert(chance.hash(&text)), "byte {at} of {length}");
                text[at] = 0;
            }
        }
        let low: std::collections::HashSet<_> = hashes.iter().map(|hash| hash % 4_096).collect();
        // By chance it would be 1,666 of the 2,145.
        assert!(low.len() > 1_500, "{}", low.len());
    }

    #[test]
    fn what_is_used_stays_while_others_come_and_go() {
        let mut cache = cache(10, 1 << 20);
        cache.insert(&token(0), at(100), 0);
        for number in 1..1_000 {
            cache.insert(&token(number), at(100), number);
            assert_eq!(cache.get(&token(0), || at(0)), Some(0), "after {number}");
            assert!(cache.len() <= 10);
        }
    }

    #[test]
    fn a_token_larger_than_half_of_the_bound_is_not_kept() {
        let mut cache = cache(10, 2 * footprint(20));
        cache.insert(&[b'a'; 21], at(100), 1);
        assert!(cache.is_empty());
        cache.insert(&[b'a'; 20], at(100), 1);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_token_that_is_known_costs_no_allocation() {
        let mut cache = Cache::new(Bounds { tokens: 100, bytes: 1 << 20 });
        let value = std::sync::Arc::new(1);
        cache.insert(&token(1), at(100), value);
        let token = token(1);
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                assert!(cache.get(&token, || at(0)).is_some());
            }
        });
        assert_eq!(counted.count_total, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_happens_it_keeps_its_bounds_and_never_tells_what_was_not_put_in(
            tokens in 2_usize..12,
            bytes in 0_usize..8_000,
            deeds in prop::collection::vec((0_usize..30, 0_u64..20, any::<bool>()), 0..200),
        ) {
            let mut cache = cache(tokens, bytes);
            let mut last = HashMap::new();
            for (step, (number, moment, puts)) in deeds.into_iter().enumerate() {
                if puts {
                    cache.insert(&token(number), at(moment + 5), step);
                    last.insert(number, (step, moment + 5));
                } else if let Some(found) = cache.get(&token(number), || at(moment)) {
                    let (value, end) = last[&number];
                    prop_assert_eq!(found, value);
                    prop_assert!(moment < end);
                }
                prop_assert!(cache.len() <= tokens && cache.bytes() <= bytes);
                let held = cache.len() * footprint(token(0).len());
                prop_assert_eq!(held, cache.bytes());
            }
        }
    }
}
