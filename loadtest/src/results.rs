//! The page of results: written anew by each full run, but for what people wrote on it.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;

use crate::failure::{Result, While};
use crate::measure::Finding;

/// Where a full run writes its page.
pub const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md");

/// Everything from this line on is kept.
const REMARKS: &str = "<!-- Everything below this line is written by hand and survives the next run. -->\n";

/// What stands below on a page that nobody has written on.
const NO_REMARKS: &str = "\n## Remarks\n\nNone yet.\n";

/// A run, ready to be written.
pub struct Page<'a> {
    /// Names and values that say where it ran.
    pub machine: Vec<(&'static str, String)>,
    /// What the programs call themselves.
    pub versions: Vec<String>,
    /// What to type for the same figures.
    pub command: String,
    /// In the order they ran.
    pub findings: &'a [Finding],
}

impl Page<'_> {
    /// Writes the page to `file`, keeping the remarks of the one that is there.
    pub fn write(&self, file: &Path) -> Result<()> {
        let old = match std::fs::read_to_string(file) {
            Ok(old) => old,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).while_doing(&format!("cannot read {}", file.display())),
        };
        // Put in place whole: a full disk must not cost the remarks.
        let new = file.with_extension("md.new");
        std::fs::write(&new, self.text(remarks(&old)))
            .and_then(|()| std::fs::rename(&new, file))
            .while_doing(&format!("cannot write {}", file.display()))
    }

    fn text(&self, remarks: &str) -> String {
        let mut text = String::from("# What a request costs, beside nginx\n\n");
        // Writing to a string cannot fail.
        let _ = write!(text, "Written by\n\n```\n{}\n```\n\n| | |\n|---|---|\n", self.command);
        for (name, value) in &self.machine {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        let _ = writeln!(text, "| measured | {} |", self.versions.join(", "));
        for (head, row) in TABLES {
            let rows: Vec<String> = self.findings.iter().filter_map(row).collect();
            if !rows.is_empty() {
                let _ = write!(text, "\n{head}\n{}\n", rows.join("\n"));
            }
        }
        text.push_str(HOW_TO_READ);
        text.push_str(REMARKS);
        text.push_str(remarks);
        text
    }
}

/// A table's heading and head, and what makes a finding a row of it.
type Table = (&'static str, fn(&Finding) -> Option<String>);

const TABLES: [Table; 6] = [
    (
        "## CPU per request\n\n\
         | scenario | CPU ratio | spread | CPU µs | beside, CPU µs | ratio of each pair | requests | errors | marks |\n\
         |---|---|---|---|---|---|---|---|---|",
        cpu,
    ),
    (
        "## Latency at a fixed rate\n\n\
         | scenario | p99 ratio | spread | p50, p99, p99.9 in µs | beside |\n|---|---|---|---|---|",
        latency,
    ),
    (
        "## Memory per idle connection\n\n\
         | scenario | ratio | spread | bytes | nginx, bytes |\n|---|---|---|---|---|",
        memory,
    ),
    (
        "## WebSocket fan-out\n\n\
         | scenario | share of a bare loop's speed | spread | CPU µs per message | bare loop, CPU µs |\n|---|---|---|---|---|",
        fan_out,
    ),
    (
        "## Instructions and system calls per request\n\n| scenario | who | instructions | system calls |\n|---|---|---|---|",
        cost,
    ),
    ("## Not measured\n\n| scenario | why |\n|---|---|", absent),
];

fn cpu(finding: &Finding) -> Option<String> {
    let Finding::Load(outcome) = finding else { return None };
    let ratios: Vec<String> = outcome.pairs.iter().map(|pair| format!("{:.2}", pair.ratio())).collect();
    Some(format!(
        "| `{}` | **{:.2}** | {:.2} | {:.2} | {} {:.2} | {} | {} | {} | {} |",
        outcome.name,
        outcome.ratio(),
        outcome.spread(),
        outcome.subject_micros(),
        outcome.baseline,
        outcome.baseline_micros(),
        ratios.join(" "),
        outcome.requests(),
        outcome.failed(),
        outcome.marks().join(" "),
    ))
}

fn latency(finding: &Finding) -> Option<String> {
    let Finding::Load(outcome) = finding else { return None };
    let latency = outcome.latency()?;
    let told = |[p50, p99, p999]: [f64; 3]| format!("{p50:.0}, {p99:.0}, {p999:.0}");
    Some(format!(
        "| `{}` | **{:.2}** | {:.2} | {} | {} |",
        outcome.name,
        latency.p99_ratio,
        latency.p99_spread,
        told(latency.subject),
        told(latency.baseline)
    ))
}

fn memory(finding: &Finding) -> Option<String> {
    let Finding::Memory(memory) = finding else { return None };
    let (subject, nginx) = memory.bytes();
    Some(format!(
        "| `{}` | **{:.2}** | {:.2} | {subject:.0} | {nginx:.0} |",
        memory.name,
        memory.ratio(),
        memory.spread()
    ))
}

fn fan_out(finding: &Finding) -> Option<String> {
    let Finding::FanOut(fan_out) = finding else { return None };
    let (gateway, bare) = fan_out.micros();
    Some(format!(
        "| `{}` | **{:.2}** | {:.2} | {gateway:.2} | {bare:.2} |",
        fan_out.name,
        fan_out.ratio(),
        fan_out.spread()
    ))
}

fn cost(finding: &Finding) -> Option<String> {
    let Finding::Cost(costs) = finding else { return None };
    let calls = costs.cost.system_calls.map_or("not counted".to_owned(), |calls| format!("{calls:.2}"));
    Some(format!("| `{}` | {} | {:.0} | {calls} |", costs.name, costs.subject, costs.cost.instructions))
}

fn absent(finding: &Finding) -> Option<String> {
    match finding {
        Finding::Absent { name, missing } => Some(format!("| `{name}` | {missing} is not installed |")),
        Finding::Failed { name, failure } => Some(format!("| `{name}` | {} |", failure.headline())),
        _ => None,
    }
}

/// What was written by hand on an earlier page.
fn remarks(page: &str) -> &str {
    page.split_once(REMARKS).map_or(NO_REMARKS, |(_, remarks)| remarks)
}

const HOW_TO_READ: &str = "
## How to read it

- *CPU ratio* is the figure that matters: CPU time per request of the proxy over that of nginx in the round right
  behind it; the median of the pairs. Below 1 the proxy needs less than nginx. nginx does bare proxying in every
  scenario, with no access log, also where Portolan runs its policies: API key (`policies`) or token (`policies-token`), rate
  limit, CORS with an `Origin` in each request, header rules, breaker, metrics, access log to a file. `routes/plain` compares the gateway with 10,000
  routes to the same with 10.
- *CPU µs* are medians too. They are the kernel's own count (`schedstat`, all threads of all processes of the proxy,
  user and system) and drift by a third between runs: never compare them across runs.
- *Spread* is how far the middle half of the pairs' ratios lies apart. `nginx-itself` compares nginx with a second nginx:
  what it shows beside 1 is noise, and a difference smaller than its spread means nothing. So with latencies: `small-get-20k`
  is held against what nginx shows beside itself.
- The proxy has a core for itself; the load side, generator and upstream in one thread, has another. All of it is loopback.
  A load without a rate in its name is saturated: each connection sends its next request on the answer to the last. One with a
  rate (`-20k`: 20,000 a second) sends each request at its time, whatever the proxy does.
- *Latency* counts from the time at which a request was to be sent to the last byte of its answer, so that a stall counts for
  all requests that it kept waiting. Ratios are of the 99th percentile, pair by pair.
- *Memory* is the growth of `RssAnon` over 10,000 connections that each asked once and then stay idle, in fresh processes. nginx
  sets its slots for connections aside at its start, before the growth begins.
- *Fan-out* publishes 200 bytes to 2,000 WebSockets, one message per wake; the bare loop writes frames of the same length.
- *Instructions* (user space, callgrind) and *system calls* (strace) are the difference between two runs of one length, of
  which one has 2,000 requests more, over one connection; they do not drift. Their scenarios begin with `cost-`.
- `load-bound=N/M`: in N of M rounds the load side had nothing to spare while the proxy's core had, so it was the bottleneck. CPU per
  request still holds, but of a proxy that was not saturated.
- `rate-missed=N/M`: in N of M rounds fewer requests were answered than the rate asked for.
- `disturbed=N/M`: in N of M rounds other processes took more than a twentieth of the proxy's core. Run it again on a quiet
  machine.
- `log-dropped=N/M`: in N of M rounds the access log got fewer lines than there were requests, so a part of the work was
  not done.
- *Errors* are answers with another status than 200 or another length than the upstream's, and failed connections. Any at
  all make the run void.

";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::idle::Memory;

    fn page(findings: &[Finding]) -> Page<'_> {
        Page {
            machine: vec![("cores", "2".to_owned())],
            versions: vec!["portolan 0.1.0".to_owned(), "nginx/1.22.1".to_owned()],
            command: "cargo run --release -p loadtest -- compare".to_owned(),
            findings,
        }
    }

    fn cpu_alone() -> [Finding; 1] {
        [Finding::Load(crate::outcome::tests::outcome())]
    }

    #[test]
    fn a_page_holds_a_row_for_each_finding_and_no_table_without_rows() {
        let memory = Memory { name: "idle/plain".to_owned(), pairs: vec![(500.0, 1000.0)] };
        let absent = Finding::Absent { name: "small-get/envoy".to_owned(), missing: "envoy" };
        let failure = Failure::new("envoy ended before it was ready; it said:\n  no");
        let failed = Finding::Failed { name: "get-10k/envoy".to_owned(), failure };
        let findings = [cpu_alone().to_vec(), vec![Finding::Memory(memory), absent, failed]].concat();
        let text = page(&findings).text(NO_REMARKS);
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
        let expected = [
            "| `small-get/plain` | **0.90** | 0.20 | 9.00 | nginx 10.00 | 0.80 1.20 0.90 | 60000 | 0 |  |",
            "| `idle/plain` | **0.50** | 0.00 | 500 | 1000 |",
            "| `small-get/envoy` | envoy is not installed |",
            "| `get-10k/envoy` | envoy ended before it was ready; it said: |",
        ];
        assert_eq!(rows, expected);
        assert!(!text.contains("## Latency"), "{text}");
        assert!(text.contains("| cores | 2 |\n| measured | portolan 0.1.0, nginx/1.22.1 |\n"), "{text}");
    }

    #[test]
    fn remarks_survive_a_new_run_word_for_word() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("RESULTS.md");
        page(&[]).write(&file).unwrap();
        let first = std::fs::read_to_string(&file).unwrap();
        assert!(first.ends_with(NO_REMARKS), "{first}");

        let by_hand = "\n## Remarks\n\nThe keep-alive pool brought 0.1.\n\n| a | table |\n";
        std::fs::write(&file, first.replace(NO_REMARKS, by_hand)).unwrap();
        let findings = cpu_alone();
        page(&findings).write(&file).unwrap();
        let second = std::fs::read_to_string(&file).unwrap();
        assert_eq!(second, page(&findings).text(by_hand));

        page(&findings).write(&file).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), second);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_page_of_another_shape_has_no_remarks() {
        assert_eq!(remarks("# Something else\n"), NO_REMARKS);
    }
}
