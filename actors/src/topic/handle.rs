//! What others hold of a topic: its log, and how its reader fares.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use portolan_exchange::events::EventLog;
use serde_json::{Value, json};

use crate::supervision::{Supervised, Thread, lock};

/// A topic that is read into its log. Dropping it stops the reader; the log stays with whoever holds it.
#[derive(Debug)]
pub struct Topic {
    pub(super) view: Arc<View>,
    pub(super) _actor: Supervised,
}

impl Topic {
    /// The log that the reader fills.
    pub fn log(&self) -> &Arc<EventLog> {
        &self.view.log
    }

    /// How the reader fares.
    pub fn state(&self) -> State {
        self.view.state()
    }

    /// Events read since the start.
    pub fn events_total(&self) -> u64 {
        self.view.events.load(Ordering::Relaxed)
    }

    /// How often a reader was opened after the first one.
    pub fn reopened_total(&self) -> u64 {
        self.view.opened.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// How often the broker no longer kept the positions, so that reading began at the live end.
    pub fn positions_lost_total(&self) -> u64 {
        self.view.positions_lost.load(Ordering::Relaxed)
    }

    /// What the broker said last that was not good.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.view.last_error).clone()
    }
}

/// How a reader fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It is being opened for the first time, or after its actor was restarted.
    Connecting,
    /// It polls.
    Reading,
    /// The broker does not answer, or not well; it is tried again.
    Away,
}

impl State {
    /// Its word in `/actors` and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Reading => "reading",
            Self::Away => "away",
        }
    }
}

/// What is known of a topic, apart from its actor, which it outlives.
pub(super) struct View {
    pub(super) broker: String,
    pub(super) log: Arc<EventLog>,
    state: AtomicU8,
    pub(super) events: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) positions_lost: AtomicU64,
    last_error: Mutex<Option<String>>,
    // The thread that was started last: the next one waits for its end, so that never two write to the log.
    pub(super) thread: Mutex<Option<Thread>>,
}

impl View {
    pub(super) fn new(broker: &str, log: Arc<EventLog>) -> Self {
        Self {
            broker: broker.to_owned(),
            log,
            state: AtomicU8::new(State::Connecting as u8),
            events: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            positions_lost: AtomicU64::new(0),
            last_error: Mutex::new(None),
            thread: Mutex::new(None),
        }
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Connecting,
            1 => State::Reading,
            _ => State::Away,
        }
    }

    /// Sets the state and returns the one before.
    pub(super) fn set_state(&self, state: State) -> State {
        let before = self.state();
        self.state.store(state as u8, Ordering::Release);
        before
    }

    pub(super) fn note_error(&self, error: &dyn fmt::Display) {
        *lock(&self.last_error) = Some(error.to_string());
    }

    pub(super) fn describe(&self) -> Value {
        let (events, bytes, _) = self.log.fill();
        let positions: Vec<_> =
            self.log.positions().into_iter().map(|(partition, next)| json!([partition, next])).collect();
        let mut described = json!({
            "topic": &**self.log.topic(),
            "broker": self.broker,
            "state": self.state().as_str(),
            "events": self.events.load(Ordering::Relaxed),
            "batches": self.batches.load(Ordering::Relaxed),
            "kept": events,
            "kept_bytes": bytes,
            "positions": positions,
            "reopened": self.opened.load(Ordering::Relaxed).saturating_sub(1),
            "positions_lost": self.positions_lost.load(Ordering::Relaxed),
        });
        if let Some(error) = &*lock(&self.last_error) {
            described["last_error"] = json!(error);
        }
        described
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({}, {})", self.log.topic(), self.state().as_str())
    }
}
