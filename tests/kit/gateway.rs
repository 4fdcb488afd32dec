//! The gateway in this process, on free ports, with a clock that the test moves.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use portolan::{Gateway, Options, StartError, Waiting};
use portolan_exchange::{Clock, Policy};
use serde_json::Value;
use tempfile::TempDir;

use super::client::{Answer, Call, Client};
use super::wait;

/// A gateway about to be started.
pub struct Setup {
    folder: TempDir,
    configuration: String,
    environment: HashMap<String, String>,
    policies: Vec<Arc<dyn Policy>>,
    waiting: Waiting,
    clock: Clock,
}

/// A running gateway. It ends when it is dropped.
pub struct TestGateway {
    // Dropped first: it still writes into the folder.
    gateway: Gateway,
    clock: Clock,
    client: Client,
    file: PathBuf,
    folder: TempDir,
}

impl TestGateway {
    /// A gateway of this configuration. `{name}` in it stands for what [`Setup::with`] says; `listeners`, `admin`, `workers` and
    /// `access_log` are added where it has none: one listener `public`, free ports, two workers, a log that [`TestGateway::log`]
    /// reads.
    pub fn with_config(configuration: &str) -> Setup {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let mut whole = String::new();
        for (key, line) in [
            ("listeners:", "listeners: { public: { address: 127.0.0.1:0 } }"),
            ("admin:", "admin: { address: 127.0.0.1:0 }"),
            ("workers:", "workers: 2"),
            ("access_log:", "access_log: { to: ./access.log }"),
        ] {
            if !unindented(configuration).lines().any(|found| found.starts_with(key)) {
                whole.push_str(line);
                whole.push('\n');
            }
        }
        whole.push_str(&unindented(configuration));
        // A fixed day, so that dates in answers can be compared: 2026-01-02 03:04:05 UTC.
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045));
        Setup {
            folder,
            configuration: whole,
            environment: HashMap::new(),
            policies: Vec::new(),
            waiting: super::waiting(),
            clock,
        }
    }

    /// Its address for clients.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address("public").expect("a test's listener is called `public`")
    }

    /// A client of its own.
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// A client of the admin port.
    pub fn admin(&self) -> Client {
        Client::new(self.gateway.admin())
    }

    /// A sample of the metrics, by its name with labels; zero while it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.admin().get("/metrics").assert_status(200).text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a sample is a number"))
    }

    /// A request.
    pub fn call(&self, method: &str, target: &str) -> Call {
        self.client.call(method, target)
    }

    /// A `GET` and its answer.
    pub fn get(&self, target: &str) -> Answer {
        self.client.get(target)
    }

    /// A `POST` of JSON and its answer.
    pub fn post(&self, target: &str, body: &Value) -> Answer {
        self.client.post(target, body)
    }

    /// The gateway itself.
    pub fn inner(&self) -> &Gateway {
        &self.gateway
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Moves its clock.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Moves its clock step by step until the condition holds. For timers of which a test cannot see when they begin.
    pub fn advance_until(&self, what: &str, step: Duration, mut holds: impl FnMut() -> bool) {
        wait::until(what, || {
            holds() || {
                self.clock.advance(step);
                false
            }
        });
    }

    /// Lets time pass, some five times as fast as outside, until the guard is dropped. For what waits on a foreign part and on
    /// a timer in turn.
    pub fn let_time_pass(&self) -> TimePasses {
        let running = Arc::new(AtomicBool::new(true));
        let (clock, goes_on) = (self.clock.clone(), running.clone());
        let thread = thread::spawn(move || {
            while goes_on.load(Ordering::Relaxed) {
                clock.advance(Duration::from_millis(50));
                thread::park_timeout(Duration::from_millis(10));
            }
        });
        TimePasses { running, thread: Some(thread) }
    }

    /// Writes the configuration anew, with the placeholders filled in by the caller, and reloads it.
    pub fn reload(&self, configuration: &str) -> Result<(), String> {
        fs::write(&self.file, configuration).expect("the folder can be written");
        self.gateway.reload().map_err(|problems| problems.render())
    }

    /// The configuration as it was written.
    pub fn configuration(&self) -> String {
        fs::read_to_string(&self.file).expect("the configuration can be read")
    }

    /// The folder of the configuration and the contracts.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until the access log has this many lines, and gives them.
    pub fn log(&self, lines: usize) -> Vec<Value> {
        let path = self.folder.path().join("access.log");
        wait::until_some(&format!("{lines} lines in the access log"), || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let read: Vec<Value> =
                whole.lines().map(|line| serde_json::from_str(line).expect("a log line is JSON")).collect();
            (read.len() >= lines).then_some(read)
        })
    }

    /// Waits until an actor's state, as the registry gives it, is as described.
    pub fn wait_for_actor(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let states = || self.gateway.registry().states();
        let found = wait::try_until_some(|| states().iter().any(&is_so).then_some(()));
        found.unwrap_or_else(|| panic!("waited in vain: {what}; the actors: {:#}", Value::from(states())));
    }
}

/// Time passes while this is held.
pub struct TimePasses {
    running: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for TimePasses {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Setup {
    /// Puts a value in the place of `{name}`.
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        let place = format!("{{{name}}}");
        assert!(self.configuration.contains(&place), "the configuration has no place `{place}`");
        self.configuration = self.configuration.replace(&place, &value.to_string());
        self
    }

    /// Writes a file beside the configuration, a contract for example.
    pub fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(name), unindented(text)).expect("the folder can be written");
        self
    }

    /// Sets what `${env:NAME}` reads. The process's own environment is not read.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Lays a policy of the test's own into every route.
    pub fn policy(mut self, policy: impl Policy + 'static) -> Self {
        self.policies.push(Arc::new(policy));
        self
    }

    /// Makes every policy wait, or only those that must, whatever the switch of the suite says.
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = waiting;
        self
    }

    /// Starts it.
    pub fn start(self) -> TestGateway {
        let configuration = self.configuration.clone();
        self.try_start().unwrap_or_else(|error| panic!("the gateway did not start:\n{error}\n{configuration}"))
    }

    /// Starts it, if its configuration is sound.
    pub fn try_start(self) -> Result<TestGateway, StartError> {
        let file = self.folder.path().join("gateway.yaml");
        fs::write(&file, &self.configuration).expect("the folder can be written");
        let environment = self.environment;
        let options = Options {
            file: file.clone(),
            environment: Arc::new(move |name: &str| environment.get(name).cloned()),
            clock: self.clock.clone(),
            waiting: self.waiting,
            policies: self.policies.clone(),
        };
        let gateway = Gateway::start(options)?;
        let client = Client::new(gateway.address("public").expect("a test's listener is called `public`"));
        Ok(TestGateway { gateway, clock: self.clock, client, file, folder: self.folder })
    }
}

/// The text without the indentation that it has in a test's source.
pub fn unindented(text: &str) -> String {
    let depth = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let common = text.lines().filter(|line| !line.trim().is_empty()).map(depth).min().unwrap_or(0);
    text.lines()
        .map(|line| line.get(common..).unwrap_or_default())
        .fold(String::new(), |whole, line| whole + line + "\n")
}
