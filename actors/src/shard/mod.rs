//! Drives the sessions of one worker when logs grow: woken once per batch, whatever the number of sessions.
//!
//! Driving a session writes to its socket, so a log with thousands of them is driven in parts, between which the worker looks
//! at its other connections.
//!
//! A session whose own code panics is ended alone, at once, and the others go on in the same turn: a client that found a way
//! to make its session panic must not take the worker's other sessions down with it, restart by restart. A panic that is
//! nobody's but the shard's own restarts it; which logs were pending is known to the view, so no session waits for ever.

use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use actix::fut::ActorFuture;
use actix::{Actor, AsyncContext as _, Context};
use portolan_exchange::Worker;
use portolan_exchange::sessions::Advanced;
use serde_json::json;
use tracing::error;

use crate::supervision::{Charge, Control, Kind, Ref, every, lock, spawn_here, words_of};

mod handle;
mod machine;

pub use handle::Shard;

use handle::View;
use machine::Due;

// How often the admin page's picture of the sessions is made anew, and how many of them it shows.
const PICTURE: Duration = Duration::from_secs(1);
const SHOWN: usize = 100;

// Sessions that are driven before the worker looks at its other connections. Each costs a write to the kernel, some microseconds;
// the look costs one system call.
const PART: usize = 64;

impl Shard {
    /// Starts to drive the sessions of this worker, on the worker's own thread, from which this is to be called; the actor
    /// is named `shard/WORKER`. When it has failed for good its sessions are closed with 1011.
    pub fn start(control: &Control, worker: &Rc<Worker>) -> Self {
        let reference = Ref::new();
        let view = Arc::new(View::new(worker.index));
        let described = view.clone();
        let charge = Charge::new(Kind::Shard, &worker.index.to_string(), move || described.describe());
        let (driven, driver, sessions) = (worker.clone(), view.clone(), worker.sessions.clone());
        let actor = spawn_here(
            control,
            charge,
            &reference,
            move || Driver { worker: driven.clone(), view: driver.clone() },
            move || sessions.close_all(1011, "the gateway failed"),
        );
        Self { view, _actor: actor }
    }
}

/// The actor.
struct Driver {
    worker: Rc<Worker>,
    view: Arc<View>,
}

impl Actor for Driver {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // After a panic: first the session at fault, if one is, then all logs that were pending.
        self.mend("its shard was restarted");
        context.spawn(Driving);
        context.spawn(every(&self.worker.clock, PICTURE, |driver: &mut Self, _| driver.picture()));
    }
}

impl Driver {
    /// Lets up to `most` sessions that follow this log read on.
    fn drive(&self, due: &Due, most: usize) -> Advanced {
        // Each turn of the loop takes one session out of the table, so it ends. Whoever was driven already has nothing to read.
        loop {
            let driving = || self.worker.sessions.advance_from(due.first, most, &due.log);
            match catch_unwind(AssertUnwindSafe(driving)) {
                Ok(advanced) => return advanced,
                Err(payload) if self.mend(&words_of(&*payload)) => {}
                Err(payload) => resume_unwind(payload),
            }
        }
    }

    /// Ends the session whose code panicked. Whether there was one.
    fn mend(&self, words: &str) -> bool {
        let sessions = &self.worker.sessions;
        // A session that cannot even be ended has left the table all the same.
        let ended = catch_unwind(AssertUnwindSafe(|| sessions.mend())).unwrap_or(true);
        if ended {
            self.view.sessions_failed.fetch_add(1, Ordering::Relaxed);
            error!(worker = self.worker.index, panic = words, "session panicked and was ended");
        }
        ended
    }

    fn picture(&self) {
        let sessions = &self.worker.sessions;
        let first = catch_unwind(AssertUnwindSafe(|| sessions.states(SHOWN)));
        let first = first.unwrap_or_else(|payload| vec![json!({ "unreadable": words_of(&*payload) })]);
        self.view.sessions.store(Arc::new(json!({ "count": sessions.len(), "first": first })));
    }
}

/// The driver's work: to wait until a log has grown.
struct Driving;

impl ActorFuture<Driver> for Driving {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        driver: &mut Driver,
        _: &mut Context<Driver>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        driver.view.waker.register(context.waker());
        // Not more than there is now: a log that grows all the time must not keep the worker from its connections.
        let now = lock(&driver.view.machine).len();
        let mut room = PART;
        for _ in 0..now {
            let due = lock(&driver.view.machine).due();
            let Some(due) = due else { break };
            let Advanced { count, next } = driver.drive(&due, room);
            lock(&driver.view.machine).driven(&due, next);
            if next.is_none() {
                driver.view.driven.fetch_add(1, Ordering::Relaxed);
            }
            room = room.saturating_sub(count);
            if room == 0 {
                break;
            }
        }
        if lock(&driver.view.machine).len() > 0 {
            // Woken behind the next look at the sockets, unlike by the waker itself.
            let _ = pin!(tokio::task::yield_now()).poll(context);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
