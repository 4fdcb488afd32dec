//! What others hold of a shard: the listener that logs tell of every batch.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use futures_util::task::AtomicWaker;
use portolan_exchange::events::{EventLog, Listener};
use serde_json::{Value, json};

use super::machine::Machine;
use crate::supervision::{Supervised, lock};

/// Drives the sessions of one worker. Stays on its worker; dropping it stops the driving, not the sessions.
#[derive(Debug)]
pub struct Shard {
    pub(super) view: Arc<View>,
    pub(super) _actor: Supervised,
}

impl Shard {
    /// To be given to every log that a session of this worker follows. Logs hold it weakly: keep it, or the shard, as long
    /// as there are sessions.
    pub fn listener(&self) -> Arc<dyn Listener> {
        self.view.clone()
    }

    /// How many sessions were ended because their own code panicked.
    pub fn sessions_failed_total(&self) -> u64 {
        self.view.sessions_failed.load(Ordering::Relaxed)
    }
}

/// What is known of a shard, apart from its actor, which it outlives. Shared with the threads that read topics.
pub(super) struct View {
    worker: usize,
    pub(super) machine: Mutex<Machine>,
    pub(super) waker: AtomicWaker,
    pub(super) wakes: AtomicU64,
    pub(super) driven: AtomicU64,
    pub(super) sessions_failed: AtomicU64,
    // The sessions themselves stay on the worker; this is what it last said of them.
    pub(super) sessions: ArcSwap<Value>,
}

impl View {
    pub(super) fn new(worker: usize) -> Self {
        Self {
            worker,
            machine: Mutex::default(),
            waker: AtomicWaker::new(),
            wakes: AtomicU64::new(0),
            driven: AtomicU64::new(0),
            sessions_failed: AtomicU64::new(0),
            sessions: ArcSwap::from_pointee(json!({ "count": 0, "first": [] })),
        }
    }

    pub(super) fn describe(&self) -> Value {
        json!({
            "worker": self.worker,
            "pending": lock(&self.machine).len(),
            "wakes": self.wakes.load(Ordering::Relaxed),
            "driven": self.driven.load(Ordering::Relaxed),
            "sessions_failed": self.sessions_failed.load(Ordering::Relaxed),
            "sessions": &**self.sessions.load(),
        })
    }
}

impl Listener for View {
    fn advanced(&self, log: &Arc<EventLog>) {
        lock(&self.machine).advanced(log);
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.waker.wake();
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View(worker {}, {} pending)", self.worker, lock(&self.machine).len())
    }
}
