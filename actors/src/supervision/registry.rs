//! Every actor of the gateway, as the admin port shows them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;
use serde_json::{Value, json};

/// What an actor owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A circuit breaker.
    Breaker,
    /// The health of an upstream's endpoints.
    Health,
    /// Buckets of limits.
    Limiter,
    /// Publishing to a broker.
    Publisher,
    /// The sessions of a worker.
    Shard,
    /// The reader of a topic.
    Topic,
    /// The watch over configuration files.
    Watch,
}

impl Kind {
    /// Its word in `/actors`, in names, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Health => "health",
            Self::Limiter => "limiter",
            Self::Publisher => "publisher",
            Self::Shard => "shard",
            Self::Topic => "topic",
            Self::Watch => "watch",
        }
    }
}

/// How an actor fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It works.
    Running,
    /// It ended and waits to begin again.
    Restarting,
    /// It ended too often and stays down; its view still answers.
    Failed,
}

impl Status {
    /// Its word in `/actors`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
        }
    }
}

/// All actors. Shared by whoever starts them and by the admin port.
#[derive(Default)]
pub struct Registry {
    cells: Mutex<Vec<Arc<Cell>>>,
}

impl Registry {
    /// A registry of no actor.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The state of every actor, in order of name: `name`, `kind`, `status`, `restarts`, `dropped` (messages that its
    /// mailbox had no room for), `last_panic` where there was one, and `state`, as its view says.
    pub fn states(&self) -> Vec<Value> {
        self.all().iter().map(|cell| cell.describe()).collect()
    }

    /// The names of the actors that ended too often and stay down. Not empty means not ready.
    pub fn failed(&self) -> Vec<String> {
        let all = self.all();
        all.iter().filter(|cell| cell.status() == Status::Failed).map(|cell| cell.name.clone()).collect()
    }

    /// How an actor fares; `None` when there is none of this name.
    pub fn status(&self, name: &str) -> Option<Status> {
        self.find(name).map(|cell| cell.status())
    }

    /// How often an actor was restarted.
    pub fn restarts(&self, name: &str) -> Option<u64> {
        self.find(name).map(|cell| cell.restarts.load(Ordering::Relaxed))
    }

    /// How often actors were restarted since the start, by kind and name, for metrics.
    pub fn counts(&self) -> Vec<(Kind, String, Status, u64)> {
        let all = self.all();
        all.iter()
            .map(|cell| (cell.kind, cell.name.clone(), cell.status(), cell.restarts.load(Ordering::Relaxed)))
            .collect()
    }

    /// Lets an actor panic at its next turn, which comes at once: for tests of supervision. Whether there is an actor of
    /// this name that has not failed.
    pub fn make_panic(&self, name: &str) -> bool {
        let Some(cell) = self.find(name) else { return false };
        if cell.status() == Status::Failed {
            return false;
        }
        cell.panic.store(true, Ordering::Release);
        cell.waker.wake();
        true
    }

    /// Stops an actor and takes it out. Whether there was one. Dropping its [`Supervised`](super::Supervised) does the same.
    pub fn remove(&self, name: &str) -> bool {
        let Some(cell) = self.find(name) else { return false };
        self.leave(&cell);
        true
    }

    pub(crate) fn enter(&self, cell: &Arc<Cell>) {
        let mut cells = lock(&self.cells);
        // Where two bear a name, as for a moment in a reload, the older stands first and the newer is found.
        let place = cells.partition_point(|known| known.name <= cell.name);
        cells.insert(place, cell.clone());
    }

    pub(crate) fn leave(&self, cell: &Arc<Cell>) {
        cell.stop();
        lock(&self.cells).retain(|known| !Arc::ptr_eq(known, cell));
    }

    /// Stops the actors of the control thread. Those of workers go on until their workers end.
    pub(crate) fn stop_control(&self) {
        for cell in self.all().iter().filter(|cell| cell.place == Place::Control) {
            cell.stop();
        }
    }

    fn all(&self) -> Vec<Arc<Cell>> {
        lock(&self.cells).clone()
    }

    fn find(&self, name: &str) -> Option<Arc<Cell>> {
        lock(&self.cells).iter().rev().find(|cell| cell.name == name).cloned()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().iter().map(|cell| (&cell.name, cell.status().as_str()))).finish()
    }
}

/// Where an actor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the control thread.
    Control,
    /// On the thread of a worker.
    Worker,
}

/// What is known of one actor, whether it lives or not.
pub(crate) struct Cell {
    pub(crate) name: String,
    place: Place,
    kind: Kind,
    status: AtomicU8,
    restarts: AtomicU64,
    dropped: Arc<AtomicU64>,
    last_panic: Mutex<Option<String>>,
    state: Box<dyn Fn() -> Value + Send + Sync>,
    panic: AtomicBool,
    stop: AtomicBool,
    // Wakes the actor's turn for the two flags.
    pub(crate) waker: AtomicWaker,
}

impl Cell {
    pub(crate) fn new(
        kind: Kind,
        subject: &str,
        place: Place,
        dropped: Arc<AtomicU64>,
        state: impl Fn() -> Value + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: format!("{}/{subject}", kind.as_str()),
            place,
            kind,
            status: AtomicU8::new(Status::Running as u8),
            restarts: AtomicU64::new(0),
            dropped,
            last_panic: Mutex::new(None),
            state: Box::new(state),
            panic: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    pub(crate) fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            0 => Status::Running,
            1 => Status::Restarting,
            _ => Status::Failed,
        }
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.status.store(status as u8, Ordering::Release);
    }

    /// Counts a restart and returns how many there were.
    pub(crate) fn count_restart(&self) -> u64 {
        self.restarts.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn note_panic(&self, words: &str) {
        *lock(&self.last_panic) = Some(words.to_owned());
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn take_panic(&self) -> bool {
        self.panic.swap(false, Ordering::AcqRel)
    }

    fn describe(&self) -> Value {
        let mut described = json!({
            "name": self.name,
            "kind": self.kind.as_str(),
            "status": self.status().as_str(),
            "restarts": self.restarts.load(Ordering::Relaxed),
            "dropped": self.dropped.load(Ordering::Relaxed),
        });
        if let Some(words) = &*lock(&self.last_panic) {
            described["last_panic"] = json!(words);
        }
        described["state"] = (self.state)();
        described
    }
}

// Nothing under these locks can panic half way through a change, so poisoning carries no news.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
