//! The command line of the fuzzer.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use portolan_fuzz::campaign::{self, Budget, Plan};
use portolan_fuzz::crew::{self, Orders};
use portolan_fuzz::execution::{Outcome, execute};
use portolan_fuzz::finding::story_beside;
use portolan_fuzz::target::Target;
use portolan_fuzz::{corpus, targets};
use rustix::process::{Resource, Rlimit, setrlimit};

/// The stack of a worker thread of the gateway, which Rust's standard library gives every thread by default.
const STACK: usize = 2 << 20;

/// Feeds the gateway's parsers with what nobody would send on purpose.
#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay the kept inputs and then try new ones; exit code 1 when something was found
    Run(Run),
    /// Show what a file does to a target, with the backtrace of its panic
    Replay {
        /// The target's name
        target: String,
        /// Findings, seeds or any other files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the targets and what each checks
    Targets,
    /// Fuzz one target in this process; `run` starts one such process for each
    #[command(hide = true)]
    Work(Work),
}

#[derive(Debug, Args)]
struct Run {
    /// The targets; all when none is named
    targets: Vec<String>,
    /// The time for all of them together, in seconds; else PORTOLAN_FUZZ_SECONDS, else 20
    #[arg(long)]
    seconds: Option<u64>,
    /// The most inputs for each of them: with the same seed and this, a run can be repeated
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    executions: u64,
    /// Where the choice of inputs begins; else PORTOLAN_FUZZ_SEED, else another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// The computing that one input may take, in seconds of a processor
    #[arg(long, default_value_t = 10)]
    stuck_after: u64,
    /// Where findings are written; the folder `findings` beside the corpus unless told otherwise
    #[arg(long)]
    findings: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Work {
    target: String,
    #[arg(long)]
    milliseconds: u64,
    #[arg(long)]
    executions: u64,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    stuck_after: u64,
    #[arg(long)]
    slot: PathBuf,
    #[arg(long)]
    findings: PathBuf,
}

fn main() -> ExitCode {
    let done = match Line::parse().command {
        Command::Run(run) => run_all(run),
        Command::Replay { target, files } => named(&target).and_then(|target| replay(target, &files)),
        Command::Targets => list(),
        Command::Work(work) => named(&work.target).and_then(|target| fuzz_one(target, work)),
    };
    done.unwrap_or_else(|error| {
        // Nothing helps where not even this can be said.
        let _ = writeln!(io::stderr(), "portolan-fuzz: {error}");
        ExitCode::from(2)
    })
}

fn named(name: &str) -> io::Result<&'static Target> {
    let unknown = || io::Error::other(format!("no target `{name}`; `portolan-fuzz targets` lists them"));
    targets::named(name).ok_or_else(unknown)
}

#[expect(clippy::disallowed_methods, reason = "this is the command line")]
fn of_environment(name: &str) -> io::Result<Option<u64>> {
    match std::env::var(name) {
        Err(_) => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|_| io::Error::other(format!("{name} is no whole number: {text}"))),
    }
}

fn run_all(run: Run) -> io::Result<ExitCode> {
    let chosen = match run.targets.as_slice() {
        [] => targets::ALL.iter().collect(),
        names => names.iter().map(|name| named(name)).collect::<io::Result<Vec<_>>>()?,
    };
    let seconds = run.seconds.or(of_environment("PORTOLAN_FUZZ_SECONDS")?).unwrap_or(20);
    let seed = run.seed.or(of_environment("PORTOLAN_FUZZ_SEED")?);
    let orders = Orders {
        program: std::env::current_exe()?,
        targets: chosen,
        time: Duration::from_secs(seconds),
        executions: run.executions,
        // The keys of a hasher are the randomness that needs no crate.
        seed: seed.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32),
        stuck_after: run.stuck_after,
        findings: run.findings.unwrap_or_else(corpus::findings),
    };
    let mut out = io::stdout();
    writeln!(out, "seed {}, {seconds} s for {} targets", orders.seed, orders.targets.len())?;
    let reports = crew::run(&orders, &|report| {
        let _ = writeln!(io::stdout(), "{:<20} {}", report.target, report.line);
    })?;
    for file in reports.iter().flat_map(|report| &report.findings) {
        writeln!(out, "\n{}", fs::read_to_string(story_beside(file))?.trim_end())?;
    }
    let held = reports.iter().all(|report| report.held);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list() -> io::Result<ExitCode> {
    for target in targets::ALL {
        writeln!(io::stdout(), "{:<20} {}", target.name, target.about)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn replay(target: &'static Target, files: &[PathBuf]) -> io::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let input = fs::read(file)?;
        // A panic here is printed with its backtrace, as `execute` would not.
        let bare = input.clone();
        let ended = on_small_stack(move || drop((target.run)(&bare)))?;
        let verdict = match ended {
            Err(_) => "broke".to_owned(),
            Ok(()) => on_small_stack(move || match execute(target, &input) {
                Outcome::Held { signature, allocations } => {
                    format!("held, {} features, {allocations} allocations", signature.features(allocations).count())
                }
                Outcome::Broke(breach) => format!("broke: {}: {}", breach.place, breach.message),
            })?
            .unwrap_or_else(|_| "broke".to_owned()),
        };
        if verdict.starts_with("broke") {
            code = ExitCode::FAILURE;
        }
        writeln!(io::stdout(), "{}: {verdict}", file.display())?;
    }
    Ok(code)
}

/// What a worker may take of the machine's memory. Whoever asks for more dies, and that is a finding.
const MEMORY: u64 = 4 << 30;

fn fuzz_one(target: &'static Target, work: Work) -> io::Result<ExitCode> {
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) })?;
    let budget = Budget { time: Duration::from_millis(work.milliseconds), executions: work.executions };
    let stuck_after = Duration::from_secs(work.stuck_after);
    let plan = Plan { seed: work.seed, budget, stuck_after, slot: work.slot, findings: work.findings };
    let ended = on_small_stack(move || campaign::run(target, &plan))?;
    let summary = ended.map_err(|_| io::Error::other("the fuzzer itself panicked"))??;
    writeln!(io::stdout(), "{summary}")?;
    for file in &summary.findings {
        writeln!(io::stdout(), "{}", file.display())?;
    }
    Ok(if summary.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs on a thread with a stack like a worker's: what exhausts that must exhaust it here.
fn on_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<thread::Result<T>> {
    thread::Builder::new().name("target".to_owned()).stack_size(STACK).spawn(work).map(thread::JoinHandle::join)
}
