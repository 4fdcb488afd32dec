//! The thread on which the gateway's own actors run, apart from the workers.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use actix::{Actor, Context};
use actix_rt::{ArbiterHandle, System};
use futures_util::task::AtomicWaker;
use portolan_exchange::Clock;
use tokio::sync::oneshot;

use super::handle::{Ref, Supervised};
use super::registry::{Place, Registry, lock};
use super::threads::Threads;
use super::{Charge, supervise};

// A thread that polls a broker looks at its stop flag every 100 ms; what takes longer hangs in the broker's library.
const THREADS_END_WITHIN: Duration = Duration::from_secs(1);

/// The control arbiter: one thread, one runtime, all actors but the shards. Cheap to clone; when the last clone is
/// dropped it stops.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    clock: Clock,
    registry: Arc<Registry>,
    threads: Threads,
    arbiter: ArbiterHandle,
    live: Arc<Live>,
    id: ThreadId,
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// How many actors there are on the thread.
#[derive(Default)]
struct Live {
    closed: AtomicBool,
    count: AtomicUsize,
    none_left: AtomicWaker,
}

impl Control {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread or no runtime to give.
    pub fn start(clock: Clock) -> io::Result<Self> {
        let live = Arc::new(Live::default());
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let counted = live.clone();
        let thread = std::thread::Builder::new().name("portolan-control".into()).spawn(move || {
            let system = System::new();
            let known = tell.send((System::current().arbiter().clone(), std::thread::current().id()));
            debug_assert!(known.is_ok(), "whoever starts the thread waits for it");
            system.block_on(async move {
                // The sender is never dropped without having sent: both ways mean the end.
                let _ = stopped.await;
                counted.all_ended().await;
            });
        })?;
        let (arbiter, id) = told.recv().map_err(|_| io::Error::other("the control thread did not start"))?;
        Ok(Self(Arc::new(Inner {
            clock,
            registry: Registry::new(),
            threads: Threads::default(),
            arbiter,
            live,
            id,
            running: Mutex::new(Some((stop, thread))),
        })))
    }

    /// The clock of its actors.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// All actors, those on workers included.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    /// The threads its actors started.
    pub fn threads(&self) -> &Threads {
        &self.0.threads
    }

    /// Starts an actor here. The factory makes it anew for each restart, on the control thread.
    pub fn spawn<A: Actor<Context = Context<A>>>(
        &self,
        charge: Charge,
        reference: &Ref<A>,
        factory: impl FnMut() -> A + Send + 'static,
    ) -> Supervised {
        let (cell, terms) = charge.split(Place::Control, reference);
        self.0.registry.enter(&cell);
        let (clock, live, reference) = (self.0.clock.clone(), self.0.live.clone(), reference.clone());
        let supervised = Supervised::new(cell.clone(), self.0.registry.clone());
        self.0.arbiter.spawn_fn(move || {
            // One that comes after the stop would never be told to end.
            if live.closed.load(Ordering::Acquire) {
                return;
            }
            let counted = Counted::enter(live);
            tokio::task::spawn_local(async move {
                supervise(&cell, terms, reference, clock, factory).await;
                drop(counted);
            });
        });
        supervised
    }

    /// Stops every actor of the thread, ends it and joins it, then the threads that actors started. Shards go on until they
    /// are dropped. Returns at once when that was
    /// done before.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Inner {
    fn stop(&self) {
        let Some((stop, thread)) = lock(&self.running).take() else { return };
        self.live.closed.store(true, Ordering::Release);
        self.registry.stop_control();
        // Nobody listens if the thread has ended on its own.
        let _ = stop.send(());
        // The last clone may have lived in something that an actor owned; a thread cannot join itself.
        if std::thread::current().id() != self.id {
            let _ = thread.join();
            self.threads.join(THREADS_END_WITHIN);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Live {
    async fn all_ended(&self) {
        std::future::poll_fn(|context| {
            self.none_left.register(context.waker());
            match self.count.load(Ordering::Acquire) {
                0 => std::task::Poll::Ready(()),
                _ => std::task::Poll::Pending,
            }
        })
        .await;
    }
}

struct Counted(Arc<Live>);

impl Counted {
    fn enter(live: Arc<Live>) -> Self {
        live.count.fetch_add(1, Ordering::AcqRel);
        Self(live)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.wake();
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("actors", &self.0.live.count.load(Ordering::Relaxed)).finish()
    }
}
