//! Runs a subject and nginx in turns and weighs their CPU per request against each other.
//!
//! Kernel time drifts by a third between runs, so only figures of the same minutes are compared: A B A B, a ratio for
//! each pair, and the median of the ratios.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::child::{Child, LOAD_CORE, output_of, this_program};
use crate::failure::{Failure, Result, While};
use crate::load::Round;
use crate::outcome::{Outcome, Pair};
use crate::peers::{Proxy, nginx, portolan};
use crate::results::{Page, RESULTS};
use crate::scenario::{self, Scenario, Subject};
use crate::{machine, upstream};

/// Seconds of load before each round counts: connections are made, pools filled, caches warm.
const WARM_UP: f64 = 0.5;
/// Seconds of a round that is thrown away, before a scenario's first pair.
const FIRST_ROUND: f64 = 1.0;
/// Long enough for a process of ours to start while compilers share the machine.
const START: Duration = Duration::from_secs(10);

/// What to run, and for how long.
#[derive(Args)]
pub struct Compare {
    /// Pairs of rounds in each scenario, one round for each proxy.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: u16,
    /// Seconds that each round counts.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The gateway's binary. Without it this tree's is built in release mode.
    #[arg(long)]
    portolan: Option<PathBuf>,
    /// Run only this scenario, such as `small-get/plain`. May be given more than once.
    #[arg(long = "scenario")]
    scenarios: Vec<String>,
    /// Run nginx against itself alone, which shows the noise and needs no gateway.
    #[arg(long)]
    peer_only: bool,
    /// Where the results go. A run of all scenarios writes loadtest/RESULTS.md, a part of them only what is named here.
    #[arg(long)]
    results: Option<PathBuf>,
}

impl Compare {
    /// Runs the scenarios, prints a line for each, and writes the results.
    pub fn run(self) -> Result<()> {
        let scenarios = self.chosen()?;
        let nginx = nginx::version()?;
        let gateway = self.gateway(&scenarios)?;
        if cfg!(debug_assertions) {
            crate::say("this is a debug build: the load side will be the bottleneck; run with `cargo run --release`");
        }

        let folder = tempfile::tempdir().while_doing("cannot make a temporary folder")?;
        let upstream = TrivialUpstream::start(folder.path())?;
        let mut outcomes = Vec::new();
        for scenario in &scenarios {
            let outcome = self.measure(scenario, gateway.as_deref(), &upstream, folder.path())?;
            crate::report(&outcome.line());
            outcomes.push(outcome);
        }

        if let Some(file) = self.page() {
            let mut versions = vec![nginx];
            if let Some(gateway) = &gateway {
                versions.insert(0, portolan::version(gateway)?);
            }
            Page { machine: machine::describe(), versions, command: self.command(), outcomes: &outcomes }
                .write(&file)?;
            crate::say(&format!("written: {}", file.display()));
        }
        match outcomes.iter().find_map(Outcome::trouble) {
            Some(trouble) => Err(Failure::new(format!("the figures are void, since requests failed: {trouble}"))),
            None => Ok(()),
        }
    }

    /// What to type for the same figures, wherever the binary lies.
    fn command(&self) -> String {
        let scenarios: String = self.scenarios.iter().map(|name| format!(" --scenario {name}")).collect();
        let peer_only = if self.peer_only { " --peer-only" } else { "" };
        let (pairs, seconds) = (self.pairs, self.seconds);
        format!("cargo run --release -p loadtest -- compare --pairs {pairs} --seconds {seconds}{scenarios}{peer_only}")
    }

    fn chosen(&self) -> Result<Vec<Scenario>> {
        let unknown = self.scenarios.iter().find(|name| scenario::ALL.iter().all(|known| known.name != **name));
        if let Some(name) = unknown {
            let names = scenario::ALL.map(|scenario| scenario.name).join(", ");
            return Err(Failure::new(format!("no scenario `{name}`; there are {names}")));
        }
        let named =
            |scenario: &Scenario| self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name);
        let wanted = |scenario: &Scenario| !self.peer_only || matches!(scenario.subject, Subject::Nginx);
        let chosen: Vec<Scenario> =
            scenario::ALL.into_iter().filter(|scenario| named(scenario) && wanted(scenario)).collect();
        if chosen.is_empty() {
            return Err(Failure::new("no scenario is left to run: --peer-only leaves nginx against itself alone"));
        }
        Ok(chosen)
    }

    /// The gateway's binary, if a scenario needs one.
    fn gateway(&self, scenarios: &[Scenario]) -> Result<Option<PathBuf>> {
        let needed = scenarios.iter().any(|scenario| matches!(scenario.subject, Subject::Portolan(_)));
        match (&self.portolan, needed) {
            (_, false) => Ok(None),
            (Some(path), true) => {
                let deed = format!("cannot find the gateway at `{}`", path.display());
                path.canonicalize().while_doing(&deed).map(Some)
            }
            (None, true) => portolan::build().map(Some),
        }
    }

    /// A part of the scenarios must not replace a page that holds all of them.
    fn page(&self) -> Option<PathBuf> {
        let part = self.peer_only || !self.scenarios.is_empty();
        match &self.results {
            Some(file) => Some(file.clone()),
            None if part => None,
            None => Some(PathBuf::from(RESULTS)),
        }
    }

    fn measure(
        &self,
        scenario: &Scenario,
        gateway: Option<&Path>,
        upstream: &TrivialUpstream,
        folder: &Path,
    ) -> Result<Outcome> {
        let folder = folder.join(scenario.name.replace('/', "-"));
        std::fs::create_dir(&folder).while_doing("cannot make a folder for a scenario")?;
        let (path, headers) = (scenario.load.path, scenario.load.headers());
        let baseline = nginx::start("nginx", &folder, upstream.address, path, &headers)?;
        let subject = match scenario.subject {
            Subject::Portolan(policies) => {
                let gateway = gateway.expect("a gateway is at hand for every scenario that needs one");
                portolan::start(gateway, policies, &folder, upstream.address, path, &headers)?
            }
            Subject::Nginx => nginx::start(scenario.subject.name(), &folder, upstream.address, path, &headers)?,
        };

        for proxy in [&subject, &baseline] {
            round(scenario, proxy, upstream, FIRST_ROUND)?;
        }
        let mut pairs = Vec::new();
        for turn in 1..=self.pairs {
            let pair = Pair {
                subject: round(scenario, &subject, upstream, self.seconds)?,
                nginx: round(scenario, &baseline, upstream, self.seconds)?,
            };
            crate::say(&format!("{} {turn}/{}: {}", scenario.name, self.pairs, pair.told(subject.name)));
            pairs.push(pair);
        }
        Ok(Outcome { name: scenario.name, subject: subject.name, pairs })
    }
}

/// The upstream of all proxies.
struct TrivialUpstream {
    address: std::net::SocketAddr,
    child: Child,
}

impl TrivialUpstream {
    fn start(folder: &Path) -> Result<Self> {
        let (program, log) = (this_program()?, folder.join("upstream.log"));
        let arguments: [&OsStr; 4] = [&program, "upstream".as_ref(), "--listen".as_ref(), "127.0.0.1:0".as_ref()];
        let mut child = Child::start("the upstream", LOAD_CORE, &log, &arguments)?;
        let address = child.wait_until(START, || {
            let said = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
            let line = said.split_once('\n').ok_or("it has not said its address")?.0;
            let address = line.strip_prefix(upstream::LISTENING).ok_or("it said something else than its address")?;
            address.parse().map_err(|_| format!("`{address}` is no address"))
        })?;
        Ok(Self { address, child })
    }
}

/// Loads `proxy` for `seconds`, from a process of its own.
fn round(scenario: &Scenario, proxy: &Proxy, upstream: &TrivialUpstream, seconds: f64) -> Result<Round> {
    let mut arguments = vec!["load".to_owned()];
    let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    option("--target", proxy.address.to_string());
    option("--connections", scenario.load.connections.to_string());
    option("--path", scenario.load.path.to_owned());
    option("--warm-up", WARM_UP.to_string());
    option("--seconds", seconds.to_string());
    option("--proxy", proxy.pid().to_string());
    option("--upstream", upstream.child.pid().to_string());
    for header in scenario.load.headers() {
        option("--header", header);
    }

    let program = this_program()?;
    let command: Vec<&OsStr> = [program.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new)).collect();
    let mut round = Round::parse(&output_of("the load generator", LOAD_CORE, &command)?)?;
    if round.requests == 0 {
        let reason = round.first_error.as_deref().unwrap_or("the time was too short");
        return Err(Failure::new(format!("{} answered no request with 200: {reason}", proxy.name)));
    }
    round.logged = take_access_log(proxy)?;
    Ok(round)
}

/// Counts the lines that `proxy` wrote for a round, and makes room: a round writes some 25 MB a second, and figures must
/// not depend on how full the disk is.
fn take_access_log(proxy: &Proxy) -> Result<Option<u64>> {
    let Some(file) = &proxy.access_log else { return Ok(None) };
    let deed = format!("cannot read the access log of {}; it was to write {}", proxy.name, file.display());
    let mut log = File::options().read(true).write(true).open(file).while_doing(&deed)?;
    let (mut lines, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match log.read(&mut buffer).while_doing(&deed)? {
            0 => break,
            length => lines += memchr::memchr_iter(b'\n', &buffer[..length]).count() as u64,
        }
    }
    log.set_len(0).while_doing(&deed)?;
    Ok(Some(lines))
}
