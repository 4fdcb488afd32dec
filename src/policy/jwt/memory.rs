//! What each worker remembers of verified tokens, and what is counted of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use portolan_exchange::{Identity, Worker};
use portolan_identity::Cache;

use super::TokenSource;

/// What a verified token means here.
#[derive(Clone)]
pub(super) enum Verdict {
    /// A consumer calls.
    Known(Arc<Identity>),
    /// The issuer vouches for somebody whom nobody here knows.
    Stranger,
}

/// What a worker holds for one source.
pub(super) struct Held {
    pub(super) cache: Cache<Verdict>,
    pub(super) cells: Arc<Cells>,
}

/// What happens to a token.
#[derive(Clone, Copy)]
pub(super) enum Event {
    /// It was remembered.
    Remembered,
    /// It was not remembered.
    Looked,
    /// It was verified and is good.
    Verified,
    /// It is not good.
    Refused,
    /// It was not looked at, because too many from its address were not good.
    Limited,
}

/// What is counted of one identity: its cells on each worker.
#[derive(Default)]
pub struct Counts(Mutex<BTreeMap<usize, Arc<Cells>>>);

/// The counts of one identity on one worker, which alone writes them.
#[derive(Default)]
pub struct Cells {
    events: [AtomicU64; 5],
    tokens: AtomicU64,
    bytes: AtomicU64,
}

/// The counts of one identity over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// Tokens that were remembered.
    pub remembered: u64,
    /// Tokens that were verified and good.
    pub verified: u64,
    /// Tokens that were not good.
    pub refused: u64,
    /// Tokens that were not looked at, because too many from their address were not good.
    pub limited: u64,
    /// Tokens that are remembered now.
    pub tokens: u64,
    /// The bytes that they count for.
    pub bytes: u64,
}

impl Held {
    /// Nothing remembered yet.
    pub(super) fn new(source: &TokenSource, worker: &Worker) -> Self {
        let cells = source.counts.cells(worker.index);
        cells.holds(0, 0);
        Self { cache: Cache::new(source.bounds), cells }
    }
}

impl Counts {
    fn cells(&self, worker: usize) -> Arc<Cells> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(worker).or_default().clone()
    }

    /// Over all workers.
    pub fn total(&self) -> Total {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum =
            |of: &dyn Fn(&Cells) -> &AtomicU64| workers.values().map(|cells| of(cells).load(Ordering::Relaxed)).sum();
        Total {
            remembered: sum(&|cells| &cells.events[Event::Remembered as usize]),
            verified: sum(&|cells| &cells.events[Event::Verified as usize]),
            refused: sum(&|cells| &cells.events[Event::Refused as usize]),
            limited: sum(&|cells| &cells.events[Event::Limited as usize]),
            tokens: sum(&|cells| &cells.tokens),
            bytes: sum(&|cells| &cells.bytes),
        }
    }
}

impl Cells {
    pub(super) fn add(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn holds(&self, tokens: usize, bytes: usize) {
        self.tokens.store(tokens as u64, Ordering::Relaxed);
        self.bytes.store(bytes as u64, Ordering::Relaxed);
    }
}
