//! The gate: this tree's gateway beside that of another revision, and a failure when it has become dearer.
//!
//! Instructions and system calls do not drift, so 3 % more of them is too much. CPU time does: it must have grown by more
//! than 3 % and by more than twice what a binary shows against itself in the same minutes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cost::{self, Cost};
use crate::failure::{Failure, Result, While};
use crate::load::Round;
use crate::measure::{Extent, Start};
use crate::outcome::Pair;
use crate::peers::portolan::{Build, Gateway, Policies};
use crate::peers::{cache, find};
use crate::rounds::LoadSide;
use crate::scenario::{COUNTED, GET_10K, Load, POST_64K, SMALL_GET, SMALL_GET_20K, Scenario, Subject};
use crate::statistics::{median, spread};

/// How much dearer is too dear.
pub const TOLERANCE: f64 = 0.03;
/// Seconds of a round that is thrown away, before the first that counts.
const FIRST_ROUND: f64 = 0.5;

/// What is timed.
const TIMED: [(Load, Policies); 5] = [
    (SMALL_GET, Policies::Off),
    (SMALL_GET, Policies::Key),
    (SMALL_GET_20K, Policies::Off),
    (GET_10K, Policies::Off),
    (POST_64K, Policies::Off),
];

/// This tree's gateway, and the revision that it is compared with.
pub struct Against<'a> {
    /// As git understands it.
    pub revision: &'a str,
    /// This tree's gateway.
    pub binary: &'a Path,
    /// The profile in which it was built, and the other is to be.
    pub profile: &'a str,
    /// How much is measured.
    pub extent: Extent,
}

/// CPU per request: new beside old, and old beside old.
struct Growth {
    /// The median ratio of new to old, less one.
    cpu: f64,
    /// How far the ratios of old to old lie apart.
    noise: f64,
    /// Rounds in which somebody else was at work on the proxy's core, of all of them.
    disturbed: (usize, usize),
}

/// What the comparisons came to.
#[derive(Default)]
struct Verdict {
    /// How many there were.
    compared: usize,
    /// What has become dearer, in words.
    dearer: Vec<String>,
}

impl Against<'_> {
    /// Builds the other gateway, compares, and prints a line for each load.
    pub fn run(&self, folder: &Path) -> Result<()> {
        for tool in ["valgrind", "strace"] {
            if find(tool).is_none() {
                return Err(Failure::new(format!(
                    "cannot compare two revisions without `{tool}`; scripts/install loadtest brings it"
                )));
            }
        }
        let other = self.other()?;
        let mut verdict = Verdict::default();
        let gateway = |name, binary: &Path, policies| Gateway { name, binary: binary.to_owned(), policies, routes: 1 };
        let both = |policies| [gateway("new", self.binary, policies), gateway("old", &other, policies)];
        // An older gateway may not know all that is configured today; what it cannot do has no cost to compare with.
        let known = |load: &Load, policies: Policies| -> Result<bool> {
            let [new, old] = both(policies);
            if let Some(reason) = new.misunderstands(folder)? {
                return Err(Failure::new(format!("this tree's gateway does not know its configuration: {reason}")));
            }
            let reason = old.misunderstands(folder)?;
            if let Some(reason) = &reason {
                crate::report(&format!("against/{} skipped={}: {reason}", name(load, policies), self.revision));
            }
            Ok(reason.is_none())
        };
        for (load, policies) in COUNTED {
            if !known(&load, policies)? {
                continue;
            }
            let count = |gateway: &Gateway| cost::cost(load, &Start::Portolan(gateway), folder);
            let [new, old] = both(policies);
            let (new, old) = (count(&new)?, count(&old)?);
            let name = name(&load, policies);
            crate::report(&cost_line(&name, new, old));
            verdict.compared += 1;
            verdict.dearer.extend(cost_trouble(&name, new, old));
        }
        for (load, policies) in TIMED {
            if !known(&load, policies)? {
                continue;
            }
            let growth = self.cpu(load, both(policies), folder)?;
            let name = name(&load, policies);
            crate::report(&format!("against/{name} {}", growth.told()));
            verdict.compared += 1;
            verdict.dearer.extend(growth.trouble(&name));
        }
        verdict.told(self.revision)
    }

    /// The gateway of the revision, built in a worktree of its own, which later runs find again.
    fn other(&self) -> Result<PathBuf> {
        let commit = git(&["rev-parse", "--verify", &format!("{}^{{commit}}", self.revision)])?;
        let place = cache().ok_or_else(|| Failure::new("no place for a worktree; set PORTOLAN_CACHE"))?.join("against");
        let tree = place.join("tree");
        let path = tree.to_str().ok_or_else(|| Failure::new("the cache's path is not UTF-8"))?;
        if tree.join(".git").exists()
            && git(&["-C", path, "checkout", "--quiet", "--detach", "--force", &commit]).is_ok()
        {
            // It was there and is of this repository.
        } else {
            git(&["worktree", "prune"])?;
            git(&["worktree", "add", "--quiet", "--force", "--detach", path, &commit])?;
        }
        // Not the target folder of this tree: packages of the same name and version would take each other's place.
        let target = place.join("target");
        Build { tree: &tree, profile: self.profile, target: Some(&target) }.run()
    }

    /// Rounds in turns: new, old, and a second process of the old.
    fn cpu(&self, load: Load, [new, old]: [Gateway; 2], folder: &Path) -> Result<Growth> {
        let twin = Gateway { name: "twin", ..old.clone() };
        let policies = new.policies;
        let mut side = LoadSide::start(load, folder)?;
        let proxies = [&new, &old, &twin]
            .map(|gateway| side.place(policies, folder, &[], |site| gateway.start(site)))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        for proxy in &proxies {
            side.round(proxy, policies, FIRST_ROUND)?;
        }
        let (mut grown, mut itself) = (Vec::new(), Vec::new());
        let mut disturbed = (0, 0);
        for turn in 1..=self.extent.pairs {
            let mut rounds = Vec::new();
            for proxy in &proxies {
                let round = sound(side.round(proxy, policies, self.extent.seconds)?, proxy.name)?;
                disturbed = (disturbed.0 + usize::from(round.disturbed()), disturbed.1 + 1);
                rounds.push(round);
            }
            let [new, old, twin] = <[Round; 3]>::try_from(rounds).expect("a round for each of three");
            let pair = Pair { subject: new, baseline: old };
            crate::say(&format!("{} {turn}/{}: {}", name(&load, policies), self.extent.pairs, pair.told("new", "old")));
            grown.push(pair.ratio());
            itself.push(twin.micros() / pair.baseline.micros());
        }
        Ok(Growth { cpu: median(grown) - 1.0, noise: spread(itself), disturbed })
    }
}

impl Verdict {
    fn told(self, revision: &str) -> Result<()> {
        if self.compared == 0 {
            return Err(Failure::new(format!("nothing could be compared with {revision}")));
        }
        if self.dearer.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!("dearer than {revision}: {}", self.dearer.join("; "))))
    }
}

impl Growth {
    fn told(&self) -> String {
        let mark = match self.disturbed {
            (0, _) => String::new(),
            (rounds, all) => format!(" disturbed={rounds}/{all}"),
        };
        format!("cpu_growth={:+.1}% noise={:.1}%{mark}", self.cpu * 100.0, self.noise * 100.0)
    }

    fn trouble(&self, name: &str) -> Option<String> {
        let is_dearer = self.cpu > TOLERANCE && self.cpu > 2.0 * self.noise;
        is_dearer.then(|| format!("{name} needs {:.1} % more CPU", self.cpu * 100.0))
    }
}

fn name(load: &Load, policies: Policies) -> String {
    Scenario::Load(*load, Subject::Portolan(policies)).name()
}

/// A round whose requests were all answered rightly.
fn sound(round: Round, proxy: &str) -> Result<Round> {
    match &round.first_error {
        None => Ok(round),
        Some(reason) => Err(Failure::new(format!("the figures are void, since requests to {proxy} failed: {reason}"))),
    }
}

fn growth(new: f64, old: f64) -> f64 {
    new / old - 1.0
}

fn cost_line(name: &str, new: Cost, old: Cost) -> String {
    let told = |new: f64, old: f64| format!("{new:.2} was={old:.2} growth={:+.1}%", growth(new, old) * 100.0);
    let calls = new.system_calls.zip(old.system_calls);
    let calls = calls.map(|(new, old)| format!(" system_calls={}", told(new, old))).unwrap_or_default();
    format!("against/{name} instructions={}{calls}", told(new.instructions, old.instructions))
}

fn cost_trouble(name: &str, new: Cost, old: Cost) -> Vec<String> {
    let dearer = |what: &str, new: f64, old: f64| {
        let growth = growth(new, old);
        (growth > TOLERANCE).then(|| format!("{name} needs {:.1} % more {what}", growth * 100.0))
    };
    let calls = new.system_calls.zip(old.system_calls);
    [
        dearer("instructions", new.instructions, old.instructions),
        calls.and_then(|(new, old)| dearer("system calls", new, old)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs git on this tree and gives what it says.
fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR")])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .while_doing("cannot run `git`")?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("`git {}` failed: {}", arguments.join(" "), reason.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: f64, calls: f64) -> Cost {
        Cost { instructions, system_calls: Some(calls) }
    }

    #[test]
    fn three_percent_more_instructions_or_calls_are_too_many_and_less_is_well() {
        let old = cost(10_000.0, 6.0);
        assert!(cost_trouble("a", cost(10_299.0, 6.17), old).is_empty());
        assert!(cost_trouble("a", cost(5_000.0, 3.0), old).is_empty());
        assert_eq!(cost_trouble("a", cost(10_400.0, 6.0), old), ["a needs 4.0 % more instructions"]);
        assert_eq!(cost_trouble("a", cost(10_000.0, 7.0), old), ["a needs 16.7 % more system calls"]);
        let untraced = Cost { system_calls: None, ..old };
        assert!(cost_trouble("a", untraced, old).is_empty());
    }

    #[test]
    fn more_cpu_counts_beyond_three_percent_and_twice_the_noise() {
        let trouble = |cpu, noise| Growth { cpu, noise, disturbed: (0, 9) }.trouble("a");
        assert_eq!(trouble(0.05, 0.01).as_deref(), Some("a needs 5.0 % more CPU"));
        assert_eq!(trouble(0.029, 0.0), None);
        assert_eq!(trouble(0.05, 0.03), None);
        assert_eq!(trouble(-0.5, 0.0), None);
        assert_eq!(Growth { cpu: 0.05, noise: 0.01, disturbed: (0, 9) }.told(), "cpu_growth=+5.0% noise=1.0%");
        assert_eq!(
            Growth { cpu: -0.05, noise: 0.01, disturbed: (2, 9) }.told(),
            "cpu_growth=-5.0% noise=1.0% disturbed=2/9"
        );
    }

    #[test]
    fn a_comparison_in_which_nothing_was_compared_fails() {
        let told = |compared, dearer: &[&str]| {
            let dearer = dearer.iter().map(|word| (*word).to_owned()).collect();
            Verdict { compared, dearer }.told("main").map_err(|failure| failure.to_string())
        };
        assert_eq!(told(3, &[]), Ok(()));
        assert_eq!(told(3, &["a is dear", "b too"]), Err("dearer than main: a is dear; b too".to_owned()));
        assert_eq!(told(0, &[]), Err("nothing could be compared with main".to_owned()));
    }

    #[test]
    fn a_line_tells_both_and_the_growth() {
        assert_eq!(
            cost_line("small-get/plain", cost(10_200.0, 6.0), cost(10_000.0, 6.0)),
            "against/small-get/plain instructions=10200.00 was=10000.00 growth=+2.0% system_calls=6.00 was=6.00 growth=+0.0%"
        );
    }
}
