//! What each worker remembers of credentials that were good: one memory for each source of them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use portolan_exchange::Worker;

/// What a source of credentials is known by to the memories of workers. One that is made later takes the place of an earlier one
/// of its name.
pub(super) struct Mark {
    /// Later ones have greater numbers.
    number: u64,
    name: Arc<str>,
    /// Watched by what workers hold, to know when nobody needs it any more.
    life: Arc<()>,
}

/// A worker's memory: what it holds for each source, found by the source's mark.
pub(super) struct Memory<H>(RefCell<Vec<Held<H>>>);

struct Held<H> {
    number: u64,
    name: Arc<str>,
    life: Weak<()>,
    what: H,
}

static MADE: AtomicU64 = AtomicU64::new(0);

impl Mark {
    /// The mark of a new source of this name.
    pub(super) fn new(name: &Arc<str>) -> Self {
        Self { number: MADE.fetch_add(1, Ordering::Relaxed), name: name.clone(), life: Arc::new(()) }
    }

    /// The source's name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl<H: 'static> Memory<H> {
    /// The worker's own.
    pub(super) fn of(worker: &Worker) -> Rc<Self> {
        worker.local(|| Self(RefCell::default()))
    }

    /// Works with what is held for a source, made where nothing is; `None` where a later source has taken its place, which
    /// happens to requests that began under a plan before. What was held for the earlier one is let go of.
    pub(super) fn with<R>(&self, mark: &Mark, make: impl FnOnce() -> H, work: impl FnOnce(&mut H) -> R) -> Option<R> {
        let mut all = self.0.borrow_mut();
        if let Some(held) = all.iter_mut().find(|held| held.number == mark.number) {
            return Some(work(&mut held.what));
        }
        if all.iter().any(|held| held.name == mark.name && held.number > mark.number) {
            return None;
        }
        all.retain(|held| held.name != mark.name && held.life.strong_count() > 0);
        let (number, name, life) = (mark.number, mark.name.clone(), Arc::downgrade(&mark.life));
        all.push(Held { number, name, life, what: make() });
        all.last_mut().map(|held| work(&mut held.what))
    }
}

#[cfg(test)]
mod tests {
    use portolan_exchange::Clock;

    use super::*;

    /// How often something was asked of a source.
    fn asked(worker: &Worker, mark: &Mark) -> Option<u32> {
        Memory::of(worker).with(
            mark,
            || 0,
            |count| {
                *count += 1;
                *count
            },
        )
    }

    #[test]
    fn a_later_source_of_a_name_takes_the_place_of_the_earlier_and_others_keep_theirs() {
        let worker = Worker::new(0, Clock::system());
        let (keys, others) = (Arc::from("keys"), Arc::from("others"));
        let (first, other) = (Mark::new(&keys), Mark::new(&others));
        assert_eq!((asked(&worker, &first), asked(&worker, &other)), (Some(1), Some(1)));
        assert_eq!((asked(&worker, &first), asked(&worker, &other)), (Some(2), Some(2)));
        let second = Mark::new(&keys);
        assert_eq!((asked(&worker, &first), asked(&worker, &second)), (Some(3), Some(1)));
        assert_eq!((asked(&worker, &first), asked(&worker, &second)), (None, Some(2)));
        assert_eq!(asked(&worker, &other), Some(3));
    }

    #[test]
    fn what_is_held_for_a_source_that_is_gone_is_let_go_of_with_the_next_new_one() {
        let worker = Worker::new(0, Clock::system());
        let gone = Mark::new(&Arc::from("gone"));
        asked(&worker, &gone);
        drop(gone);
        asked(&worker, &Mark::new(&Arc::from("new")));
        assert_eq!(Memory::<u32>::of(&worker).0.borrow().len(), 1);
    }
}
