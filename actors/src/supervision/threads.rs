//! Threads for what blocks, and a clean end for them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;

use super::registry::lock;

/// The threads that actors started. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Threads(Arc<Mutex<Vec<Started>>>);

#[derive(Debug)]
struct Started {
    thread: Thread,
    join: JoinHandle<()>,
}

/// One of them.
#[derive(Debug, Clone, Default)]
pub struct Thread(Arc<(Mutex<bool>, Condvar)>);

impl Threads {
    /// Runs work that blocks on a thread of its own. A panic in it ends the thread alone.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn spawn(&self, name: String, work: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        let thread = Thread::default();
        let ended = Ended(thread.clone());
        let join = std::thread::Builder::new().name(name).spawn(move || {
            // Whoever started the work learns of a panic by the channel that the work dropped.
            let _ = catch_unwind(AssertUnwindSafe(work));
            drop(ended);
        })?;
        let mut threads = lock(&self.0);
        threads.retain(|started| !started.thread.has_ended());
        threads.push(Started { thread: thread.clone(), join });
        Ok(thread)
    }

    /// Waits for all of them, at most so long for each; one that still blocks then is left behind.
    pub fn join(&self, limit: Duration) {
        for Started { thread, join } in std::mem::take(&mut *lock(&self.0)) {
            if thread.wait(limit) {
                // Its work was caught already; there is nothing left to panic.
                let _ = join.join();
            } else {
                warn!(thread = join.thread().name(), "a thread did not end in time and is left behind");
            }
        }
    }

    /// How many still run.
    pub fn running(&self) -> usize {
        lock(&self.0).iter().filter(|started| !started.thread.has_ended()).count()
    }
}

impl Thread {
    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        *lock(&self.0.0)
    }

    /// Blocks until it has ended, at most so long. Whether it has.
    pub fn wait(&self, limit: Duration) -> bool {
        let (ended, signal) = &*self.0;
        let waited = signal.wait_timeout_while(lock(ended), limit, |ended| !*ended);
        let (ended, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *ended
    }
}

struct Ended(Thread);

impl Drop for Ended {
    fn drop(&mut self) {
        let (ended, signal) = &*self.0.0;
        *lock(ended) = true;
        signal.notify_all();
    }
}
