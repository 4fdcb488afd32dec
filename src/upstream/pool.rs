//! A worker's idle connections, last in first out: the connection used last is the one most likely to be warm and alive.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portolan_exchange::Moment;
use tokio::sync::OwnedSemaphorePermit;

use crate::wire::Link;

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

/// The idle connections of one worker, by endpoint.
#[derive(Default)]
pub struct Pools {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
}

struct Idle {
    link: Rc<Link>,
    until: Moment,
}

impl Idle {
    /// Nothing has any business on an idle connection: bytes on it belong to no request, and its end is its end.
    fn is_usable(&self, now: Moment) -> bool {
        self.until > now && !self.link.has_news()
    }
}

impl Pools {
    /// The connection used last that is still open and was not idle for too long.
    pub fn take(&self, endpoint: u64, now: Moment) -> Option<Rc<Link>> {
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = idle.get_mut(&endpoint)?;
        while let Some(last) = of_endpoint.pop() {
            if last.is_usable(now) {
                return Some(last.link);
            }
        }
        None
    }

    /// Keeps a connection until that moment, unless `bound` of its endpoint are kept already; then the oldest goes.
    pub fn keep(&self, endpoint: u64, link: Rc<Link>, until: Moment, bound: usize) {
        if bound == 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = idle.entry(endpoint).or_default();
        if of_endpoint.len() >= bound {
            of_endpoint.remove(0);
        }
        of_endpoint.push(Idle { link, until });
    }

    /// Closes what was idle for too long, and forgets endpoints to which nothing is kept: also those that left the plan.
    pub fn sweep(&self, now: Moment) {
        self.idle.borrow_mut().retain(|_, of_endpoint| {
            of_endpoint.retain(|kept| kept.is_usable(now));
            !of_endpoint.is_empty()
        });
    }
}
