//! Fuzzes one target for as long as it may, in this process.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use portolan_exchange::Clock;

use crate::corpus::{self, Kept};
use crate::execution::{Breach, Outcome, execute};
use crate::finding::{Finding, Kind};
use crate::mutation::Mutator;
use crate::signature::{hash, name_of};
use crate::target::Target;
use crate::watch::{Slot, Watch};

/// When a run of one target ends: at whatever comes first, and not before the kept inputs were tried.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// The time it may take.
    pub time: Duration,
    /// The inputs it may try.
    pub executions: u64,
}

/// How one target is to be fuzzed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed: with the same, and as many executions, the same inputs are tried.
    pub seed: u64,
    /// When to end.
    pub budget: Budget,
    /// The computing one input may take before it counts as stuck.
    pub stuck_after: Duration,
    /// Where the input under way is noted.
    pub slot: PathBuf,
    /// Where findings are written.
    pub findings: PathBuf,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Inputs tried.
    pub executions: u64,
    /// Inputs that showed something new, the seeds among them.
    pub kept: usize,
    /// Things that were shown.
    pub features: usize,
    /// The files of the defects found.
    pub findings: Vec<PathBuf>,
    /// The slowest input, in microseconds: to look at, not to judge by.
    pub slowest: u128,
    /// A hash of all inputs tried: equal where a run was repeated.
    pub digest: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, kept, features, findings, slowest, digest } = self;
        write!(
            f,
            "{executions} inputs, {kept} kept, {features} features, slowest {slowest} us, digest {digest:016x}, "
        )?;
        write!(f, "{} findings", findings.len())
    }
}

/// A run ends when it has found this many defects; more would be the same ones in other clothes.
const MOST_FINDINGS: usize = 8;
/// Inputs beyond this length are tried and not kept: changing them again is slow, and a short one mostly shows the same.
const LONGEST_KEPT: usize = 8 * 1024;
/// Bytes of inputs kept during a run.
const POOL_MAX: usize = 16 << 20;

/// Fuzzes a target.
///
/// # Errors
/// Where a kept input cannot be read, or a finding not be written. Findings are no errors: the summary counts them.
pub fn run(target: &Target, plan: &Plan) -> io::Result<Summary> {
    let seeds = corpus::seeds(target)?;
    let words = seeds.iter().map(|seed| seed.bytes.as_slice());
    let mut mutator = Mutator::new(plan.seed ^ name_of(target.name.as_bytes()), target.words, words, target.longest);
    let mut campaign = Campaign::begin(target, plan)?;
    for Kept { bytes, .. } in corpus::regressions(target)? {
        campaign.try_one(bytes)?;
    }
    for Kept { bytes, .. } in seeds {
        // A seed is kept whether it shows something new or not: somebody chose it.
        campaign.keep(bytes.clone());
        campaign.try_one(bytes)?;
    }
    while !campaign.is_over() {
        let input = mutator.next(&campaign.pool);
        campaign.try_one(input)?;
    }
    Ok(campaign.summary())
}

struct Campaign<'a> {
    target: &'a Target,
    plan: &'a Plan,
    clock: Clock,
    watch: Watch,
    slot: Slot,
    buffer: Vec<u8>,
    pool: Vec<Vec<u8>>,
    pool_bytes: usize,
    features: HashSet<u64>,
    /// Places that broke already.
    broken: HashSet<String>,
    findings: Vec<PathBuf>,
    executions: u64,
    slowest: Duration,
    digest: u64,
    over: bool,
}

impl<'a> Campaign<'a> {
    fn begin(target: &'a Target, plan: &'a Plan) -> io::Result<Self> {
        Ok(Self {
            target,
            plan,
            clock: Clock::system(),
            watch: Watch::over_this_thread(plan.stuck_after),
            slot: Slot::create(&plan.slot)?,
            buffer: Vec::new(),
            pool: Vec::new(),
            pool_bytes: 0,
            features: HashSet::new(),
            broken: HashSet::new(),
            findings: Vec::new(),
            executions: 0,
            slowest: Duration::ZERO,
            digest: name_of(b""),
            over: false,
        })
    }

    fn is_over(&self) -> bool {
        self.over || self.executions >= self.plan.budget.executions || self.broken.len() >= MOST_FINDINGS
    }

    fn summary(&self) -> Summary {
        Summary {
            executions: self.executions,
            kept: self.pool.len(),
            features: self.features.len(),
            findings: self.findings.clone(),
            slowest: self.slowest.as_micros(),
            digest: self.digest,
        }
    }

    fn try_one(&mut self, input: Vec<u8>) -> io::Result<()> {
        self.digest = hash(self.digest, input.iter().copied());
        let began = self.clock.now();
        let outcome = self.execute(&input)?;
        let ended = self.clock.now();
        self.slowest = self.slowest.max(ended.since(began));
        // The clock begins with the campaign.
        self.over = u128::from(ended.as_nanos()) >= self.plan.budget.time.as_nanos();
        match outcome {
            Outcome::Held { signature, allocations } => {
                let mut new = false;
                for feature in signature.features(allocations) {
                    new |= self.features.insert(feature);
                }
                if new {
                    self.keep(input);
                }
                Ok(())
            }
            Outcome::Broke(breach) => self.found(input, breach),
        }
    }

    fn execute(&mut self, input: &[u8]) -> io::Result<Outcome> {
        self.executions += 1;
        self.slot.note(input, &mut self.buffer)?;
        self.watch.next();
        Ok(execute(self.target, input))
    }

    fn keep(&mut self, input: Vec<u8>) {
        if input.len() <= LONGEST_KEPT && self.pool_bytes + input.len() <= POOL_MAX {
            self.pool_bytes += input.len();
            self.pool.push(input);
        }
    }

    fn found(&mut self, input: Vec<u8>, breach: Breach) -> io::Result<()> {
        if !self.broken.insert(breach.place.clone()) {
            return Ok(());
        }
        let (input, breach) = self.shortened(input, breach)?;
        let message = format!("{}: {}", breach.place, breach.message);
        let (target, seed) = (self.target.name, self.plan.seed);
        let finding = Finding { target, kind: Kind::Panic, message: &message, seed, input: &input };
        self.findings.push(finding.write(&self.plan.findings)?);
        Ok(())
    }

    /// Leaves out pieces, ever smaller ones, as long as what is left breaks in the same place.
    fn shortened(&mut self, mut input: Vec<u8>, mut breach: Breach) -> io::Result<(Vec<u8>, Breach)> {
        // Tries of short inputs are cheap, and some long ones cannot be shortened at all.
        const MOST_TRIES: usize = 3_000;
        const MOST_BYTES: usize = 2 << 20;
        let (mut tries, mut bytes) = (0, 0);
        let mut piece = input.len().div_ceil(2);
        while piece > 0 && tries < MOST_TRIES && bytes < MOST_BYTES {
            let mut at = 0;
            while at < input.len() && tries < MOST_TRIES && bytes < MOST_BYTES {
                tries += 1;
                bytes += input.len();
                let mut shorter = input.clone();
                shorter.drain(at..(at + piece).min(input.len()));
                match self.execute(&shorter)? {
                    Outcome::Broke(same) if same.place == breach.place => (input, breach) = (shorter, same),
                    _ => at += piece,
                }
            }
            piece /= 2;
        }
        Ok((input, breach))
    }
}
