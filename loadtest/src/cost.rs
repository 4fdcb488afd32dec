//! What does not drift: instructions per request by callgrind, system calls per request by strace.
//!
//! A proxy is run twice, with many requests and with few, one after another over one connection; the difference is what the
//! requests cost, without start and end. One connection, since how many requests share a wake-up depends on the moment and
//! so does what each of them costs. Both runs last equally long: what a proxy does by the clock (timers, heartbeats) costs
//! as much in the one as in the other, however slow the machine is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::child::{Core, this_program};
use crate::failure::{Failure, Result, While};
use crate::measure::Start;
use crate::peers::find;
use crate::rounds::LoadSide;
use crate::scenario::Load;

/// Requests of the run with few: whatever is done once (connections, pools, a token that is verified) is done.
const FEW: u64 = 100;
/// How many more the other has: enough that what differs between two starts weighs nothing.
const MORE: u64 = 2_000;

/// What one request costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Instructions in user space, all threads.
    pub instructions: f64,
    /// System calls; none where strace is missing.
    pub system_calls: Option<f64>,
}

/// A scenario's cost, ready to be printed.
#[derive(Debug, Clone)]
pub struct Costs {
    /// The scenario's name.
    pub name: String,
    /// Who.
    pub subject: &'static str,
    /// What a request of his costs.
    pub cost: Cost,
}

impl Costs {
    /// The one line on standard output.
    pub fn line(&self) -> String {
        let calls = self.cost.system_calls.map(|calls| format!(" system_calls={calls:.2}")).unwrap_or_default();
        format!("{} instructions={:.0}{calls}", self.name, self.cost.instructions)
    }
}

/// Counts both.
pub fn cost(load: Load, start: &Start<'_>, folder: &Path) -> Result<Cost> {
    let system_calls = find("strace").map(|_| system_calls(load, start, folder)).transpose()?;
    Ok(Cost { instructions: instructions(load, start, folder)?, system_calls })
}

/// Instructions per request.
pub fn instructions(load: Load, start: &Start<'_>, folder: &Path) -> Result<f64> {
    if find("valgrind").is_none() {
        return Err(Failure::new("cannot count instructions without `valgrind`; scripts/install loadtest brings it"));
    }
    let counted = folder.join("callgrind.out");
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(&counted);
    let under = ["valgrind".into(), "-q".into(), "--tool=callgrind".into(), out];
    difference(load, start, folder, &under, &counted, of_callgrind)
}

/// System calls per request.
fn system_calls(load: Load, start: &Start<'_>, folder: &Path) -> Result<f64> {
    let counted = folder.join("strace.out");
    let mut under: Vec<OsString> = ["strace", "-f", "-c", "-o"].map(OsString::from).to_vec();
    // strace, asked to end, waits for the program; killed, it leaves it. So the program is tied to strace as well.
    under.extend([counted.clone().into_os_string(), this_program()?, "pinned".into(), "--core".into()]);
    under.extend([Core::Proxy.number()?.to_string().into(), "--".into()]);
    difference(load, start, folder, &under, &counted, of_strace)
}

fn difference(
    load: Load,
    start: &Start<'_>,
    folder: &Path,
    under: &[OsString],
    counted: &PathBuf,
    total: fn(&str) -> Option<u64>,
) -> Result<f64> {
    let run = |requests: u64, lasting: Duration| -> Result<(u64, Duration)> {
        let mut side = LoadSide::start(load, folder)?;
        let proxy = side.place(start.policies(), folder, under, |site| start.start(site))?;
        let lasted = side.count_through(&proxy, start.policies(), requests, lasting)?;
        proxy.stop()?;
        let deed = format!("cannot read what was counted in {}", counted.display());
        let text = std::fs::read(counted).while_doing(&deed)?;
        let total = total(&String::from_utf8_lossy(&text));
        Ok((total.ok_or_else(|| Failure::new(format!("{} tells no total", counted.display())))?, lasted))
    };
    let (many, lasted) = run(FEW + MORE, Duration::ZERO)?;
    // What was counted of the longer run is the one worth a look.
    let kept = counted.with_extension("many");
    std::fs::rename(counted, &kept).while_doing(&format!("cannot keep {}", kept.display()))?;
    let (few, _) = run(FEW, lasted)?;
    let difference = many.checked_sub(few).filter(|difference| *difference > 0);
    let difference =
        difference.ok_or_else(|| Failure::new("more requests cost no more: what was counted is not the proxy"))?;
    Ok(difference as f64 / MORE as f64)
}

/// `summary: 12345` (Valgrind manual, "Callgrind Format Specification").
fn of_callgrind(text: &str) -> Option<u64> {
    let line =
        text.lines().rev().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The last line of the table of `strace -c`: `100.00    0.012345   1   4321   12 total`.
fn of_strace(text: &str) -> Option<u64> {
    let line = text.lines().rev().find(|line| line.ends_with(" total"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_total_is_found() {
        assert_eq!(of_callgrind("events: Ir\nsummary: 100\n\nfn=(1)\n1 50\n\ntotals: 123456\n"), Some(123_456));
        assert_eq!(of_callgrind("events: Ir\nsummary: 77\n"), Some(77));
        assert_eq!(of_callgrind("events: Ir\n"), None);
    }

    #[test]
    fn straces_total_is_the_column_of_calls_whether_or_not_there_were_errors() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     \x20100.00    0.012345           1      4321        12 total\n";
        assert_eq!(of_strace(table), Some(4321));
        assert_eq!(of_strace("100.00    0.012345           1      4321           total\n"), Some(4321));
        assert_eq!(of_strace("nothing\n"), None);
    }

    #[test]
    fn a_line_leaves_out_what_was_not_counted() {
        let costs = |system_calls| Costs {
            name: "cost-small-get/plain".to_owned(),
            subject: "portolan",
            cost: Cost { instructions: 6_300.4, system_calls },
        };
        assert_eq!(costs(Some(6.0)).line(), "cost-small-get/plain instructions=6300 system_calls=6.00");
        assert_eq!(costs(None).line(), "cost-small-get/plain instructions=6300");
    }
}
