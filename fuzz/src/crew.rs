//! Fuzzes many targets, each in a process of its own, as many at a time as there are processors.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::finding::{Finding, Kind};
use crate::target::Target;
use crate::watch::{STUCK, Slot};

/// What a crew is to do.
#[derive(Debug, Clone)]
pub struct Orders {
    /// The program that fuzzes one target: this one, with the command `work`.
    pub program: PathBuf,
    /// The targets.
    pub targets: Vec<&'static Target>,
    /// The time for all of them together.
    pub time: Duration,
    /// The most inputs for each of them.
    pub executions: u64,
    /// The seed.
    pub seed: u64,
    /// The computing one input may take, in seconds.
    pub stuck_after: u64,
    /// Where findings are written.
    pub findings: PathBuf,
}

/// What became of a target.
#[derive(Debug)]
pub struct Report {
    /// The target's name.
    pub target: &'static str,
    /// Whether everything held.
    pub held: bool,
    /// What the worker said, or what ended it, in a line.
    pub line: String,
    /// The files of what was found.
    pub findings: Vec<PathBuf>,
}

/// Fuzzes all targets; `tell` hears of each as it ends.
///
/// # Errors
/// Where a worker cannot be started or a finding not be written.
pub fn run(orders: &Orders, tell: &(dyn Fn(&Report) + Sync)) -> io::Result<Vec<Report>> {
    let hands = thread::available_parallelism().map_or(1, usize::from).min(orders.targets.len()).max(1);
    let slice = orders.time.mul_f64(hands as f64 / orders.targets.len().max(1) as f64);
    let waiting = Mutex::new(VecDeque::from(orders.targets.clone()));
    let next = || waiting.lock().expect("no worker panics while it takes a target").pop_front();
    let work = || -> io::Result<Vec<Report>> {
        let mut reports = Vec::new();
        while let Some(target) = next() {
            let report = fuzz(orders, target, slice)?;
            tell(&report);
            reports.push(report);
        }
        Ok(reports)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..hands).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().expect("a worker reports what goes wrong")?);
        }
        Ok(all)
    })
}

fn fuzz(orders: &Orders, target: &'static Target, slice: Duration) -> io::Result<Report> {
    let slot = slot_of(target);
    let output = Command::new(&orders.program)
        .arg("work")
        .arg(target.name)
        .args(["--milliseconds", &slice.as_millis().to_string()])
        .args(["--executions", &orders.executions.to_string()])
        .args(["--seed", &orders.seed.to_string()])
        .args(["--stuck-after", &orders.stuck_after.to_string()])
        .arg("--slot")
        .arg(&slot)
        .arg("--findings")
        .arg(&orders.findings)
        .stdin(Stdio::null())
        .output();
    let report = output.and_then(|output| judge(orders, target, &slot, &output));
    // Gone already where the worker never began.
    let _ = std::fs::remove_file(&slot);
    report
}

/// Among temporary files, since each input is written to it; named by this process, since two may run at a time.
fn slot_of(target: &Target) -> PathBuf {
    std::env::temp_dir().join(format!("portolan-fuzz-{}-{}", std::process::id(), target.name))
}

fn judge(orders: &Orders, target: &'static Target, slot: &Path, output: &Output) -> io::Result<Report> {
    let said = String::from_utf8_lossy(&output.stdout);
    let mut said = said.lines();
    let line = said.next().unwrap_or_default().to_owned();
    let report = |held, line, findings| Ok(Report { target: target.name, held, line, findings });
    let complaint = String::from_utf8_lossy(&output.stderr);
    let kind = match (output.status.code(), output.status.signal()) {
        (Some(0), _) => return report(true, line, Vec::new()),
        (Some(1), _) => return report(false, line, said.map(PathBuf::from).collect()),
        (Some(STUCK), _) => Kind::Stuck,
        (None, Some(_)) => Kind::Death,
        _ => {
            let line = format!("the worker failed, {}: {}", output.status, complaint.trim_end());
            return report(false, line, Vec::new());
        }
    };
    let message = match kind {
        Kind::Stuck => format!("one input took more than {} s of computing", orders.stuck_after),
        _ => format!("the process ended, {}: {}", output.status, complaint.trim_end()),
    };
    let input = Slot::read(slot)?;
    let finding = Finding { target: target.name, kind, message: &message, seed: orders.seed, input: &input };
    let file = finding.write(&orders.findings)?;
    report(false, message.clone(), vec![file])
}
