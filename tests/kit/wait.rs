//! Waiting for a condition, with an end and a sentence for when it does not come.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long anything may take. Far more than it needs, so that a busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(20);

const TURN: Duration = Duration::from_millis(5);

/// Waits until the condition holds.
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(PATIENCE, what, holds);
}

/// Waits until there is something.
pub fn until_some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    try_until_some(look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}

/// Waits until the condition holds, with a patience of its own: for foreign programs that are slow to start.
pub fn until_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    look_for(patience, || holds().then_some(())).unwrap_or_else(|| panic!("waited {patience:?} in vain: {what}"));
}

/// Waits until there is something; nothing when it did not come, for callers who have more to say about that.
pub fn try_until_some<T>(look: impl FnMut() -> Option<T>) -> Option<T> {
    look_for(PATIENCE, look)
}

fn look_for<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..patience.as_millis() / TURN.as_millis() {
        let found = look();
        if found.is_some() {
            return found;
        }
        thread::park_timeout(TURN);
    }
    None
}

/// A value that many look at and wait on.
#[derive(Default)]
pub struct Watched<T>(Arc<(Mutex<T>, Condvar)>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Watched<T> {
    /// Looks at it.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Changes it and wakes who waits.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.0.1.notify_all();
        result
    }

    /// Waits until there is something to see in it.
    pub fn wait<R>(&self, what: &str, mut look: impl FnMut(&T) -> Option<R>) -> R {
        let mut found = None;
        let waited = self.0.1.wait_timeout_while(self.lock(), PATIENCE, |value| {
            found = look(value);
            found.is_none()
        });
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        found.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
    }

    // A test that panicked while it looked has failed already; the others go on.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
