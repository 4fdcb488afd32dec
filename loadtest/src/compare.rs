//! Runs the gateway and its peers in turns and weighs their cost against each other.
//!
//! Kernel time drifts by a third between runs, so only figures of the same minutes are compared: A B A B, a ratio for
//! each pair, and the median of the ratios.

use std::path::PathBuf;

use clap::Args;

use crate::against::Against;
use crate::child::cores;
use crate::failure::{Failure, Result, While};
use crate::machine;
use crate::measure::{Bench, Extent, Finding};
use crate::peers::portolan::{self, Build, this_tree};
use crate::peers::{envoy, haproxy, nginx};
use crate::results::{Page, RESULTS};
use crate::scenario::{self, Scenario};

/// Pairs of rounds of the full form; a median of fewer says little on a machine that drifts.
const PAIRS: u16 = 8;
/// Seconds of its rounds.
const SECONDS: f64 = 2.0;
/// The same of the quick form.
const QUICK: (u16, f64) = (3, 1.0);
/// Pairs with the further peers, and of what drifts little.
const FEW: u16 = 3;

/// What to run, and for how long.
#[derive(Args)]
pub struct Compare {
    /// A few short rounds of the figures to reach, to see where a change goes.
    #[arg(long)]
    quick: bool,
    /// Pairs of rounds in each scenario, one round for each proxy; 8, or 3 with `--quick`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: Option<u16>,
    /// Seconds that each round counts; 2, or 1 with `--quick`.
    #[arg(long)]
    seconds: Option<f64>,
    /// Run only this scenario, such as `small-get/plain`, or `small-get` for all of that load. May be given more than once.
    #[arg(long = "only", value_name = "SCENARIO")]
    only: Vec<String>,
    /// Compare this tree's gateway with that of a revision instead, and fail when it has become dearer: by more than 3 %
    /// in instructions or system calls, or in CPU by more than 3 % and more than twice the noise.
    #[arg(long, value_name = "REV", conflicts_with_all = ["only", "results"])]
    against: Option<String>,
    /// The gateway's binary. Without it this tree's is built.
    #[arg(long, value_name = "PATH")]
    portolan: Option<PathBuf>,
    /// Cargo's profile for what is built.
    #[arg(long, default_value = "release")]
    profile: String,
    /// Where the results go. A full run writes loadtest/RESULTS.md, a part of it only what is named here.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

impl Compare {
    /// Runs the scenarios, prints a line for each, and writes the results.
    pub fn run(self) -> Result<()> {
        if cfg!(debug_assertions) {
            crate::say("this is a debug build: the load side will be the bottleneck; run with `cargo run --release`");
        }
        let (proxy, load) = cores()?;
        if proxy == load {
            return Err(Failure::new(
                "two cores are needed, one for the proxies and one for the load; this process may use one",
            ));
        }
        let folder = tempfile::tempdir().while_doing("cannot make a temporary folder")?;
        if let Some(revision) = &self.against {
            let binary = self.binary()?;
            let against = Against { revision, binary: &binary, profile: &self.profile, extent: self.extent() };
            return against.run(folder.path());
        }
        let scenarios = self.chosen()?;
        let nginx = nginx::version()?;
        let binary = scenarios.iter().any(Scenario::needs_portolan).then(|| self.binary()).transpose()?;

        let bench = Bench { binary: binary.as_deref(), extent: self.extent(), folder: folder.path() };
        let mut findings = Vec::new();
        for scenario in &scenarios {
            let finding = bench.measure(scenario);
            crate::report(&finding.line());
            findings.push(finding);
        }

        if let Some(file) = self.page() {
            let portolan = binary.as_deref().map(portolan::version).transpose()?;
            let peers = [portolan, Some(nginx), haproxy::version(), envoy::version()];
            let versions = peers.into_iter().flatten().collect();
            let page = Page { machine: machine::describe(), versions, command: self.command(), findings: &findings };
            page.write(&file)?;
            crate::say(&format!("written: {}", file.display()));
        }
        match findings.iter().find_map(Finding::trouble) {
            Some(trouble) => Err(Failure::new(format!("not all figures count: {trouble}"))),
            None => Ok(()),
        }
    }

    fn extent(&self) -> Extent {
        let (pairs, seconds) = if self.quick { QUICK } else { (PAIRS, SECONDS) };
        let pairs = self.pairs.unwrap_or(pairs);
        let few = if self.quick { 1 } else { FEW.min(pairs) };
        Extent { pairs, few, seconds: self.seconds.unwrap_or(seconds) }
    }

    /// What to type for the same figures, wherever the binary lies.
    fn command(&self) -> String {
        let only: String = self.only.iter().map(|name| format!(" --only {name}")).collect();
        let quick = if self.quick { " --quick" } else { "" };
        let Extent { pairs, seconds, .. } = self.extent();
        let profile = if self.profile == "release" { String::new() } else { format!(" --profile {}", self.profile) };
        format!("cargo run --release -p loadtest -- compare{quick} --pairs {pairs} --seconds {seconds}{only}{profile}")
    }

    fn chosen(&self) -> Result<Vec<Scenario>> {
        let all = scenario::all();
        let unknown = self.only.iter().find(|name| !all.iter().any(|scenario| scenario.is_named(name)));
        if let Some(name) = unknown {
            let names: Vec<String> = all.iter().map(Scenario::name).collect();
            return Err(Failure::new(format!("no scenario `{name}`; there are {}", names.join(", "))));
        }
        let from = if self.quick && self.only.is_empty() { scenario::quick() } else { all };
        let wanted = |scenario: &Scenario| self.only.is_empty() || self.only.iter().any(|name| scenario.is_named(name));
        Ok(from.into_iter().filter(wanted).collect())
    }

    fn binary(&self) -> Result<PathBuf> {
        match &self.portolan {
            Some(path) => path.canonicalize().while_doing(&format!("cannot find the gateway at `{}`", path.display())),
            None => Build { tree: this_tree(), profile: &self.profile, target: None }.run(),
        }
    }

    /// A part of the scenarios must not replace a page that holds all of them.
    fn page(&self) -> Option<PathBuf> {
        let part = self.quick || !self.only.is_empty();
        match &self.results {
            Some(file) => Some(file.clone()),
            None if part => None,
            None => Some(PathBuf::from(RESULTS)),
        }
    }
}
