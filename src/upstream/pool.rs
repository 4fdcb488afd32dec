//! A worker's idle connections, last in first out: the connection used last is the one most likely to be warm and alive.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::client::conn::http1::SendRequest;
use portolan_exchange::Moment;

use super::wire::Sent;

/// A connection on which requests can be sent, counted among its upstream's open ones.
pub struct Pooled {
    sender: SendRequest<Sent>,
    _open: Open,
}

impl Pooled {
    /// A connection that was just made.
    pub fn new(sender: SendRequest<Sent>, open: Open) -> Self {
        Self { sender, _open: open }
    }

    /// Its sending end.
    pub fn sender(&mut self) -> &mut SendRequest<Sent> {
        &mut self.sender
    }
}

/// A place among the open connections of an upstream, over all workers; dropping it frees the place.
pub struct Open(Arc<AtomicUsize>);

impl Open {
    /// Takes a place.
    pub fn counted(open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }

    /// How many places are taken, this one included.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Open {
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
    connection: Pooled,
    since: Moment,
}

impl Pools {
    /// The connection used last that is still open and was not idle before `oldest`.
    pub fn take(&self, endpoint: u64, oldest: Moment) -> Option<Pooled> {
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = idle.get_mut(&endpoint)?;
        while let Some(last) = of_endpoint.pop() {
            if !last.connection.sender.is_closed() && last.since >= oldest {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection, unless `bound` of its endpoint are kept already; then the oldest goes.
    pub fn keep(&self, endpoint: u64, connection: Pooled, now: Moment, bound: usize) {
        if connection.sender.is_closed() || bound == 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = idle.entry(endpoint).or_default();
        of_endpoint.retain(|kept| !kept.connection.sender.is_closed());
        if of_endpoint.len() >= bound {
            of_endpoint.remove(0);
        }
        of_endpoint.push(Idle { connection, since: now });
    }

    /// Closes the idle connections of endpoints that are no longer in the plan.
    pub fn retain(&self, known: impl Fn(u64) -> bool) {
        self.idle.borrow_mut().retain(|endpoint, _| known(*endpoint));
    }
}
