//! Starts what a gateway is made of, exchanges its plan, and ends it in good order.

mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use portolan_actors::supervision::{Control, Registry};
use portolan_actors::watch::Watch;
use portolan_config::{Diagnostics, Snapshot};
use portolan_exchange::{Clock, Policy};
use tokio_util::sync::CancellationToken;

use crate::access_log::{Counts, Writer};
use crate::admin::{self, Admin};
use crate::edge::admission::{Admission, Door};
use crate::edge::machine::Machine;
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::pipeline::Waiting;
use crate::plan::{Plan, Plans, Shared};
use worker::WorkerThread;

/// Reads a variable of the environment; passed in, so that only the command line touches the real one.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a gateway is started with.
#[derive(Clone)]
pub struct Options {
    /// Its configuration.
    pub file: PathBuf,
    /// What `${env:…}` reads.
    pub environment: Environment,
    /// The time.
    pub clock: Clock,
    /// Whether policies are made to wait: for tests.
    pub waiting: Waiting,
    /// Policies of the program that embeds the gateway, laid into every route, each in its phase before those of the
    /// configuration.
    pub policies: Vec<Arc<dyn Policy>>,
}

impl Options {
    /// The gateway of this file, on the system's clock.
    pub fn new(file: PathBuf, environment: Environment) -> Self {
        Self { file, environment, clock: Clock::system(), waiting: Waiting::WhereNeeded, policies: Vec::new() }
    }
}

/// A running gateway. Dropping it ends it like [`Gateway::stop`].
pub struct Gateway {
    parts: Arc<Parts>,
    listeners: BTreeMap<Arc<str>, SocketAddr>,
    admin: Option<Admin>,
    workers: Vec<WorkerThread>,
    watch: Option<Arc<Watch>>,
    reloader: Option<JoinHandle<()>>,
    writer: Writer,
    stop: CancellationToken,
}

/// What the admin port and reloads share with the gateway.
pub struct Parts {
    options: Options,
    /// The plan in force.
    pub plans: Arc<Plans>,
    /// What outlives plans.
    pub shared: Arc<Shared>,
    /// Metrics of all workers.
    pub metrics: Arc<Metrics>,
    /// Lines of the access log.
    pub log: Counts,
    /// What the process has and uses.
    pub admission: Arc<Admission>,
    /// Where connections enter, by the names of listeners.
    pub doors: BTreeMap<Arc<str>, Door>,
    machine: Machine,
    started: Arc<Snapshot>,
    reloads: Mutex<Reloads>,
    exchanging: Mutex<()>,
    watch: OnceLock<Weak<Watch>>,
}

/// How reloads went.
#[derive(Debug, Clone, Default)]
pub struct Reloads {
    /// Plans exchanged.
    pub succeeded: u64,
    /// Documents refused; the plan before stayed in force.
    pub failed: u64,
    /// What was wrong with the last document, while it is.
    pub problem: Option<String>,
    /// Settings that differ from those the gateway was started with, and wait for the next start.
    pub waiting: Vec<&'static str>,
}

/// Why a gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration has problems.
    Configuration(Diagnostics),
    /// The system refused something: an address in use, a file that cannot be written.
    System {
        /// What was being done.
        doing: String,
        /// What the system said.
        cause: std::io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(diagnostics) => diagnostics.fmt(f),
            Self::System { doing, cause } => write!(f, "{doing}: {cause}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Gateway {
    /// Starts a gateway and returns when it accepts connections. Blocks; not to be called on a runtime's thread.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let snapshot = Arc::new(load(&options).map_err(StartError::Configuration)?);
        let control = Control::start(options.clock.clone())
            .map_err(|cause| StartError::System { doing: "start the actors' thread".to_owned(), cause })?;
        let shared = Shared::new(control, options.policies.clone());
        let plan = Plan::build(&shared, snapshot.clone()).map_err(StartError::Configuration)?;
        let plans = Plans::new(plan);
        let machine = Machine::ask();
        let admission = Admission::new(machine.budget(&snapshot.limits), workers(&snapshot));
        let bound = bind(&snapshot, &admission)?;
        let doors = bound.iter().map(|(name, listener, _)| (name.clone(), listener.entrance().clone())).collect();
        let writer = Writer::start(&snapshot.access_log.to, snapshot.access_log.queue)
            .map_err(|cause| StartError::System { doing: "open the access log".to_owned(), cause })?;
        let parts = Arc::new(Parts {
            options,
            plans,
            shared,
            metrics: Arc::default(),
            log: writer.counts(),
            admission,
            doors,
            machine,
            started: snapshot.clone(),
            reloads: Mutex::default(),
            exchanging: Mutex::default(),
            watch: OnceLock::new(),
        });
        let listeners = bound.iter().map(|(name, _, address)| (name.clone(), *address)).collect();
        let stop = CancellationToken::new();
        let mut gateway =
            Self { parts, listeners, admin: None, workers: Vec::new(), watch: None, reloader: None, writer, stop };
        // From here on an error drops the gateway, which ends what was started.
        gateway.start_workers(
            &snapshot,
            bound.into_iter().map(|(name, listener, _)| (name, Arc::new(listener))).collect(),
        )?;
        gateway.admin = Some(admin::start(&snapshot.admin, gateway.parts.clone())?);
        gateway.watch_files(&snapshot)?;
        Ok(gateway)
    }

    fn start_workers(
        &mut self,
        snapshot: &Snapshot,
        listeners: Vec<(Arc<str>, Arc<Listener>)>,
    ) -> Result<(), StartError> {
        let workers = workers(snapshot);
        for index in 0..workers {
            let setup = worker::Setup {
                index,
                workers,
                clock: self.parts.options.clock.clone(),
                waiting: self.parts.options.waiting,
                plans: self.parts.plans.clone(),
                shared: self.parts.shared.clone(),
                metrics: self.parts.metrics.clone(),
                log: self.writer.opener(),
                listeners: listeners.clone(),
                admission: self.parts.admission.clone(),
                stop: self.stop.clone(),
            };
            let thread = WorkerThread::start(setup)
                .map_err(|cause| StartError::System { doing: format!("start worker {index}"), cause })?;
            self.workers.push(thread);
        }
        Ok(())
    }

    /// Reloads when a file changes: on a thread of its own, since reading and checking takes its time.
    fn watch_files(&mut self, snapshot: &Snapshot) -> Result<(), StartError> {
        let (tell, told) = sync_channel(1);
        let parts = self.parts.clone();
        let reloader = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            while told.recv().is_ok() {
                // It says itself how it went: in the log, on the admin port, in the metrics.
                let _ = parts.reload();
            }
        });
        let reloader =
            reloader.map_err(|cause| StartError::System { doing: "start the reloading thread".to_owned(), cause })?;
        self.reloader = Some(reloader);
        let watch = Watch::start(&self.parts.shared.control, "configuration", snapshot.files(), move |_| {
            // One reload that has not begun is as good as two.
            let _ = tell.try_send(());
        });
        let watch = Arc::new(watch);
        let first = self.parts.watch.set(Arc::downgrade(&watch)).is_ok();
        debug_assert!(first, "a gateway has one watch");
        self.watch = Some(watch);
        Ok(())
    }

    /// Where a listener accepts connections.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.listeners.get(listener).copied()
    }

    /// All listeners by name.
    pub fn addresses(&self) -> &BTreeMap<Arc<str>, SocketAddr> {
        &self.listeners
    }

    /// Where the admin port is.
    pub fn admin(&self) -> SocketAddr {
        self.admin.as_ref().expect("a started gateway has its admin port").address()
    }

    /// The actors.
    pub fn registry(&self) -> &Arc<Registry> {
        self.parts.shared.control.registry()
    }

    /// Reads the configuration anew and puts it into force; requests and sockets under way are not touched.
    ///
    /// # Errors
    /// What is wrong with the document; the plan before stays in force.
    pub fn reload(&self) -> Result<(), Diagnostics> {
        self.parts.reload()
    }

    /// What reloads and the admin port share.
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// Ends the gateway: no more connections, open exchanges get their time, sessions are told, everything is joined.
    /// Takes some four seconds at most.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.parts.plans.stop();
        self.watch = None;
        self.stop.cancel();
        for worker in self.workers.drain(..) {
            worker.join();
        }
        self.admin = None;
        self.parts.shared.end();
        // With the watch's actor the last who could ask for a reload is gone.
        if self.reloader.take().is_some_and(|reloader| reloader.join().is_err()) {
            tracing::error!("the reloading thread panicked");
        }
        self.writer.end();
    }
}

impl Parts {
    /// Reads the configuration anew and puts it into force.
    ///
    /// # Errors
    /// What is wrong with the document; the plan before stays in force.
    pub fn reload(&self) -> Result<(), Diagnostics> {
        // One at a time: the later document must win.
        let _one = self.exchanging.lock().unwrap_or_else(PoisonError::into_inner);
        let (loaded, files) = portolan_config::load_with_files(&self.options.file, &*self.options.environment);
        let built = loaded.and_then(|snapshot| Plan::build(&self.shared, Arc::new(snapshot)));
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        match built {
            Ok(plan) => {
                reloads.waiting = waits_for_restart(&self.started, &plan.snapshot);
                if !reloads.waiting.is_empty() {
                    tracing::warn!(changed = ?reloads.waiting, "these take effect when the gateway is restarted");
                }
                self.watch_only(&files);
                self.admission.set(self.machine.budget(&plan.snapshot.limits));
                self.plans.current.store(Arc::new(plan));
                reloads.succeeded += 1;
                reloads.problem = None;
                tracing::info!(file = %self.options.file.display(), "configuration reloaded");
                Ok(())
            }
            Err(diagnostics) => {
                // What mends it may be in a file that the plan in force does not know, or that is not there yet.
                self.watch_also(files);
                reloads.failed += 1;
                reloads.problem = Some(diagnostics.render());
                tracing::error!(problems = %diagnostics.render(), "configuration refused; the one before stays in force");
                Err(diagnostics)
            }
        }
    }

    fn watch_only(&self, files: &[PathBuf]) {
        if let Some(watch) = self.watch.get().and_then(Weak::upgrade) {
            watch.set_files(files.to_vec());
        }
    }

    fn watch_also(&self, more: Vec<PathBuf>) {
        let mut files = self.plans.current.load().snapshot.files();
        for file in more {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        self.watch_only(&files);
    }

    /// How reloads went.
    pub fn reloads(&self) -> Reloads {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How long the parts of a gateway may take to end.
pub const DRAIN: Duration = Duration::from_secs(3);

/// How many workers there are: one for each core, unless the configuration says otherwise.
fn workers(snapshot: &Snapshot) -> usize {
    snapshot.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

fn load(options: &Options) -> Result<Snapshot, Diagnostics> {
    portolan_config::load(&options.file, &*options.environment)
}

/// What cannot be changed while the gateway runs, and was.
fn waits_for_restart(started: &Snapshot, now: &Snapshot) -> Vec<&'static str> {
    let changed = [
        ("listeners", !listen_alike(started, now)),
        ("workers", started.workers != now.workers),
        ("admin", started.admin != now.admin),
        ("access_log", started.access_log != now.access_log),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// Whether two snapshots listen in the same way: what a plan holds of listeners aside.
fn listen_alike(a: &Snapshot, b: &Snapshot) -> bool {
    let (a, b) = (&a.listeners, &b.listeners);
    a.len() == b.len() && a.values().zip(b.values()).all(|(a, b)| a.runs_like(b))
}

type Bound = Vec<(Arc<str>, Listener, SocketAddr)>;

fn bind(snapshot: &Snapshot, admission: &Arc<Admission>) -> Result<Bound, StartError> {
    snapshot
        .listeners
        .iter()
        .map(|(name, settings)| {
            let bound = Listener::bind(settings.clone(), admission)
                .and_then(|listener| listener.address().map(|at| (listener, at)));
            let (listener, address) = bound.map_err(|cause| StartError::System {
                doing: format!("listen on {} for listener `{name}`", settings.address),
                cause,
            })?;
            Ok((name.clone(), listener, address))
        })
        .collect()
}
