//! One worker: a thread with a runtime of its own, on which everything of a request happens.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use portolan_actors::shard::Shard;
use portolan_exchange::{Clock, Worker, clock};
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio_util::sync::CancellationToken;

use super::DRAIN;
use crate::access_log::Opener;
use crate::edge::admission::Admission;
use crate::listener::{Connections, Listener};
use crate::metrics::Metrics;
use crate::pipeline::{ChildRunner, Engine, Waiting};
use crate::plan::{Plans, Shared};
use crate::upstream::Pools;
use crate::wire::{Turn, buffers};

/// What a worker is started with.
pub struct Setup {
    pub index: usize,
    /// Of how many workers.
    pub workers: usize,
    pub clock: Clock,
    pub waiting: Waiting,
    pub plans: Arc<Plans>,
    pub shared: Arc<Shared>,
    pub metrics: Arc<Metrics>,
    pub log: Opener,
    /// Listeners by their names.
    pub listeners: Vec<(Arc<str>, Arc<Listener>)>,
    pub admission: Arc<Admission>,
    pub stop: CancellationToken,
}

/// A worker that runs.
pub struct WorkerThread(JoinHandle<()>);

impl WorkerThread {
    /// Starts a worker and returns when it accepts connections.
    pub fn start(setup: Setup) -> io::Result<Self> {
        let (ready, started) = sync_channel(1);
        let thread =
            std::thread::Builder::new().name(format!("worker-{}", setup.index)).spawn(move || match runtime() {
                Ok(runtime) => runtime.block_on(run(setup, ready)),
                Err(error) => drop(ready.send(Err(error))),
            })?;
        started.recv().map_err(|_| io::Error::other("the worker ended while it started"))??;
        Ok(Self(thread))
    }

    /// Waits for its end.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
}

/// The worker's loop. Its tasks are its own, so that waking one from within the loop is a push on a list and no system call.
fn runtime() -> io::Result<LocalRuntime> {
    // How many tasks are run before sockets are asked again: a burst of many connections is one turn.
    const TASKS: u32 = 512;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(TASKS)
        .on_thread_unpark(clock::turn_begins)
        .build_local(LocalOptions::default())
}

async fn run(setup: Setup, ready: SyncSender<io::Result<()>>) {
    let Setup { index, workers, clock, waiting, plans, shared, metrics, log, listeners, admission, stop } = setup;
    let worker = Worker::new(index, clock.clone());
    // Before the first buffer and the first listener: both ask for it.
    worker.local(|| admission.account());
    buffers::of_worker(&admission, workers);
    let metrics = metrics.worker();
    let engine = Engine::new(&plans, waiting, metrics.clone(), log.open(), seed(index));
    worker.set_runner(Rc::new(ChildRunner(engine.clone())));
    let shard = Shard::start(&shared.control, &worker);
    shared.join_shard(shard.listener());
    let turn = Turn::of(&worker);
    let connections = match Connections::new(&turn, metrics, stop.clone()) {
        Ok(connections) => connections,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let driving = [
        tokio::task::spawn_local(turn.clone().drive()),
        tokio::task::spawn_local(turn.alarms().clone().drive()),
        tokio::task::spawn_local(worker.local(Pools::default).watch()),
        tokio::task::spawn_local(connections.clone().watch()),
    ];
    let housekeeping = tokio::task::spawn_local(keep_house(worker.clone(), engine.clone()));
    let mut accepting = Vec::new();
    for (name, listener) in listeners {
        let socket = match listener.on_this_worker() {
            Ok(socket) => socket,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let (worker, engine) = (worker.clone(), engine.of_listener(name));
        let connections = connections.clone();
        accepting.push(tokio::task::spawn_local(async move {
            listener.accept(socket, worker, engine, connections).await;
        }));
    }
    let _ = ready.send(Ok(()));
    stop.cancelled().await;
    housekeeping.abort();
    turn.stop();
    for task in accepting {
        let _ = task.await;
    }
    // 1012: the service restarts, come back (RFC 6455's registry of close codes).
    worker.sessions.close_all(1012, "the gateway is shutting down");
    #[expect(clippy::disallowed_methods, reason = "the end must come though a test's clock stands still")]
    let ended = tokio::time::timeout(DRAIN, connections.ended()).await;
    for task in driving {
        task.abort();
    }
    if ended.is_err() {
        tracing::warn!(
            worker = index,
            open = connections.under_way(),
            "connections were cut when the time to drain was over"
        );
    }
}

// How soon an idle worker lets go of a plan that is no longer in force, and of connections that were idle for too long.
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// Lets go of what only time makes needless.
async fn keep_house(worker: Rc<Worker>, engine: Rc<Engine>) {
    loop {
        worker.clock.sleep(HOUSEKEEPING).await;
        drop(engine.plan());
        worker.local(Pools::default).sweep(worker.clock.now());
    }
}

/// Where a worker's request ids begin: anywhere, and somewhere else at every start.
fn seed(index: usize) -> u128 {
    uuid::Uuid::now_v7().as_u128().wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).wrapping_add(index as u128)
}
