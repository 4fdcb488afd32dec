//! The page of results: written anew by each full run, but for what people wrote on it.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;

use crate::failure::{Result, While};
use crate::outcome::{Outcome, Pair};

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
    pub outcomes: &'a [Outcome],
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
        let mut text = String::from("# CPU per request, beside nginx\n\n");
        // Writing to a string cannot fail.
        let _ = write!(text, "Written by\n\n```\n{}\n```\n\n| | |\n|---|---|\n", self.command);
        for (name, value) in &self.machine {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        let _ = writeln!(text, "| measured | {} |", self.versions.join(", "));
        text.push_str(
            "\n| scenario | CPU ratio | spread | CPU µs | nginx, CPU µs | ratio of each pair | requests | errors | marks |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for outcome in self.outcomes {
            let _ = writeln!(text, "{}", row(outcome));
        }
        text.push_str(HOW_TO_READ);
        text.push_str(REMARKS);
        text.push_str(remarks);
        text
    }
}

fn row(outcome: &Outcome) -> String {
    let ratios: Vec<String> = outcome.pairs.iter().map(|pair: &Pair| format!("{:.2}", pair.ratio())).collect();
    format!(
        "| `{}` | **{:.2}** | {:.2} | {:.2} | {:.2} | {} | {} | {} | {} |",
        outcome.name,
        outcome.ratio(),
        outcome.spread(),
        outcome.subject_micros(),
        outcome.nginx_micros(),
        ratios.join(" "),
        outcome.requests(),
        outcome.failed(),
        outcome.marks().join(" "),
    )
}

/// What was written by hand on an earlier page.
fn remarks(page: &str) -> &str {
    page.split_once(REMARKS).map_or(NO_REMARKS, |(_, remarks)| remarks)
}

const HOW_TO_READ: &str = "
## How to read it

- *CPU ratio* is the figure that matters: CPU time per request of the proxy over that of nginx in the round right
  behind it; the median of the pairs. Below 1 the proxy needs less than nginx. nginx does bare proxying in every
  scenario, with no access log, also where Portolan runs its policies.
- *CPU µs* are medians too. They are the kernel's own count (`schedstat`, all threads of all processes of the proxy,
  user and system) and drift by a third between runs: never compare them across runs.
- *Spread* is the highest ratio of a pair less the lowest. `small-get/nginx-itself` compares nginx with a second nginx:
  what it shows beside 1 is noise, and a difference smaller than its spread means nothing.
- The proxy has core 0 for itself; the load generator (64 keep-alive connections, each sending its next request on the
  answer to the last) and an upstream that does next to nothing share core 1. All of it is loopback.
- `load_bound=N/M`: in N of M rounds core 1 was full while core 0 was not, so the load side was the bottleneck. CPU per
  request still holds, but of a proxy that was not saturated.
- `disturbed=N/M`: in N of M rounds other processes took more than a twentieth of core 0. Run it again on a quiet
  machine.
- `log_dropped=N/M`: in N of M rounds the access log got fewer lines than there were requests, so a part of the work was
  not done.
- *Errors* are answers other than 200 and failed connections. Any at all make the run void.

";

#[cfg(test)]
mod tests {
    use super::*;

    fn page(outcomes: &[Outcome]) -> Page<'_> {
        Page {
            machine: vec![("cores", "2".to_owned())],
            versions: vec!["portolan 0.1.0".to_owned(), "nginx/1.22.1".to_owned()],
            command: "cargo run --release -p loadtest -- compare".to_owned(),
            outcomes,
        }
    }

    #[test]
    fn a_page_holds_a_row_for_each_scenario() {
        let outcomes = [crate::outcome::tests::outcome()];
        let text = page(&outcomes).text(NO_REMARKS);
        let row = "| `small-get/plain` | **0.90** | 0.40 | 9.00 | 10.00 | 0.80 1.20 0.90 | 60000 | 0 |  |";
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows, [row]);
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
        let outcomes = [crate::outcome::tests::outcome()];
        page(&outcomes).write(&file).unwrap();
        let second = std::fs::read_to_string(&file).unwrap();
        assert_eq!(second, page(&outcomes).text(by_hand));

        page(&outcomes).write(&file).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), second);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_page_of_another_shape_has_no_remarks() {
        assert_eq!(remarks("# Something else\n"), NO_REMARKS);
    }
}
