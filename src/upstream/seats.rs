//! How many calls a service is given at a time, and how many wait for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OwnedSemaphorePermit;

/// A place among the calls that an upstream is given at a time, over all workers.
pub struct Seat {
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    /// The seat of this permit.
    pub fn of(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}

/// A call that waits for a seat, counted as long as it does.
pub struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// One more waits.
    pub fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }

    /// How many wait, this one included.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
