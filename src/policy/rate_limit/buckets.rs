//! The buckets that a worker draws on again and again.

use std::cell::RefCell;
use std::rc::Rc;

use portolan_exchange::Worker;
use portolan_exchange::limits::Found;

/// A bucket's name, and where the store found it.
pub(super) struct Bucket {
    /// What it is named after, and whom it counts: `api/orders/default/consumer/acme`.
    pub(super) name: Box<str>,
    /// Of the one store that all limits of a gateway draw on.
    pub(super) found: Found,
}

/// What the names of buckets begin with: `api/orders/default/consumer/`.
pub(super) struct Beginning {
    text: Box<str>,
    /// Its part in the choice of a place.
    mark: u64,
}

/// The buckets that a worker drew on lately, each in a place that its name chooses. What comes to a place that is taken puts
/// out who is there: it costs the one that comes next a name and a search, as everybody's first request does.
#[derive(Default)]
pub(super) struct Buckets(RefCell<Vec<Option<Rc<Bucket>>>>);

/// A power of two: as many as there are keys that a worker remembers of one source. Some 2 MB where all are taken.
const PLACES: usize = 16_384;

impl Buckets {
    /// The worker's own.
    pub(super) fn of(worker: &Worker) -> Rc<Self> {
        worker.local(Self::default)
    }

    /// The bucket that counts this one of all that the beginning stands for.
    pub(super) fn get(&self, beginning: &Beginning, whom: &str) -> Rc<Bucket> {
        let mut places = self.0.borrow_mut();
        if places.is_empty() {
            places.resize(PLACES, None);
        }
        // The upper bits of a product depend on all that was multiplied.
        let place = &mut places[(mixed(beginning.mark, whom) >> 32) as usize % PLACES];
        match place {
            Some(bucket) if bucket.is(beginning, whom) => bucket.clone(),
            _ => place.insert(Bucket::new(beginning, whom)).clone(),
        }
    }
}

impl Bucket {
    fn new(beginning: &Beginning, whom: &str) -> Rc<Self> {
        let name = [&beginning.text, whom].concat().into();
        Rc::new(Self { name, found: Found::default() })
    }

    fn is(&self, beginning: &Beginning, whom: &str) -> bool {
        self.name.strip_prefix(&*beginning.text) == Some(whom)
    }
}

impl Beginning {
    pub(super) fn new(text: String) -> Self {
        Self { mark: mixed(0, &text), text: text.into() }
    }
}

/// A number for a text behind another one: good enough to choose places by, where nobody gains anything by two in one.
fn mixed(before: u64, text: &str) -> u64 {
    // The fractional part of the golden ratio, as a multiplier that spreads.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (eights, rest) = text.as_bytes().as_chunks::<8>();
    let mix = |mixed: u64, word: u64| (mixed.rotate_left(23) ^ word).wrapping_mul(SPREAD);
    let mixed = eights.iter().fold(before, |mixed, eight| mix(mixed, u64::from_le_bytes(*eight)));
    mix(mixed, rest.iter().fold(text.len() as u64, |word, byte| word << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_bucket_is_kept_by_its_whole_name() {
        let buckets = Buckets::default();
        let (a, b) = (Beginning::new("a/consumer/".into()), Beginning::new("b/consumer/".into()));
        let name = |beginning: &Beginning, whom: &str| buckets.get(beginning, whom).name.clone();
        let first = buckets.get(&a, "acme");
        assert_eq!(&*first.name, "a/consumer/acme");
        assert!(Rc::ptr_eq(&first, &buckets.get(&a, "acme")));
        assert_eq!(
            (&*name(&b, "acme"), &*name(&a, "acm"), &*name(&a, "")),
            ("b/consumer/acme", "a/consumer/acm", "a/consumer/")
        );
        // More than there are places.
        for number in 0..2 * PLACES {
            let whom = number.to_string();
            assert_eq!(*name(&a, &whom), format!("a/consumer/{whom}"));
        }
        assert_eq!(buckets.0.borrow().len(), PLACES);
    }

    #[test]
    fn names_that_differ_in_a_digit_choose_places_of_their_own() {
        let place = |whom: String| (mixed(7, &whom) >> 32) as usize % PLACES;
        for name in ["consumer-", "a-name-that-is-longer-than-sixteen-bytes-", "10.0.7."] {
            let places: HashSet<_> = (0..1_000).map(|number| place(format!("{name}{number}"))).collect();
            // By chance it would be 970.
            assert!(places.len() > 900, "{name}: {}", places.len());
        }
    }
}
