//! How many calls a service is given at a time, and how many wait for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portolan_config::snapshot::Upstream;
use portolan_exchange::clock::Elapsed;
use portolan_exchange::{Fault, FaultKind, Moment, Worker};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The seats of a service, over all workers: so many calls may use a connection at a time.
pub struct Seats {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A place among the calls that a service is given at a time. Dropping it makes room for another.
pub struct Seat {
    _permit: OwnedSemaphorePermit,
}

/// A call that waits for a seat, counted as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl Seats {
    /// So many seats, all free.
    pub fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))), waiting: AtomicUsize::new(0) }
    }

    /// A seat; waited for where none is free, by as many as may wait and no longer than connecting may take.
    ///
    /// # Errors
    /// `overloaded`, where too many wait already or none became free in time.
    pub async fn take(&self, worker: &Worker, settings: &Upstream, deadline: Moment) -> Result<Seat, Fault> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Ok(Seat { _permit: permit });
        }
        let Upstream { name, pool, timeouts, .. } = settings;
        let full = || {
            let detail = format!("all {} connections to `{name}` are in use", pool.max_connections);
            Fault::new(FaultKind::Overloaded, detail).retry_after(Duration::from_secs(1))
        };
        let waiting = Waiting::enter(&self.waiting);
        if waiting.count() > pool.pending {
            return Err(full().because(format!("{} calls wait for one already", pool.pending)));
        }
        let limit = worker.clock.now().after(timeouts.connect).min(deadline);
        let waited = Box::pin(worker.clock.until(limit, self.free.clone().acquire_owned())).await;
        let permit = waited.map_err(|Elapsed| full())?;
        Ok(Seat { _permit: permit.expect("the seats of a service are never closed") })
    }
}

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }

    /// How many wait, this one included.
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
