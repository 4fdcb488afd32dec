//! The short gate of the test command: instructions per request against figures that are committed.
//!
//! In the profile `gate`, which is optimised but quick to build. A figure that grew by more than 3 % fails; one that fell
//! by as much asks to be written down, so that what was gained is kept.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::against::TOLERANCE;
use crate::cost;
use crate::failure::{Failure, Result, While};
use crate::measure::Start;
use crate::peers::portolan::{Build, Gateway, this_tree};
use crate::scenario::{COUNTED, Scenario, Subject};

/// The committed figures.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");
/// Cargo's profile that they are counted in.
const PROFILE: &str = "gate";

/// What to do with the figures.
#[derive(Args)]
pub struct Instructions {
    /// Write down the figures of this tree instead of comparing with them.
    #[arg(long)]
    write: bool,
    /// The gateway's binary. Without it this tree's is built, in the profile `gate`.
    #[arg(long, value_name = "PATH")]
    portolan: Option<PathBuf>,
}

/// A scenario's name and its instructions per request.
type Figure = (String, f64);

impl Instructions {
    /// Counts, prints a line for each figure, and compares or writes.
    pub fn run(self) -> Result<()> {
        let committed = if self.write { Vec::new() } else { read(Path::new(FILE))? };
        let binary = match self.portolan {
            Some(binary) => binary,
            None => Build { tree: this_tree(), profile: PROFILE, target: None }.run()?,
        };
        let folder = tempfile::tempdir().while_doing("cannot make a temporary folder")?;
        let mut counted = Vec::new();
        for (load, policies) in COUNTED {
            let gateway = Gateway { name: "portolan", binary: binary.clone(), policies, routes: 1 };
            let instructions = cost::instructions(load, &Start::Portolan(&gateway), folder.path())?;
            let name = Scenario::Load(load, Subject::Portolan(policies)).name();
            let was = committed.iter().find(|(known, _)| *known == name).map(|(_, was)| *was);
            crate::report(&line(&name, instructions, was));
            counted.push((name, instructions));
        }
        if self.write {
            std::fs::write(FILE, text(&counted)).while_doing(&format!("cannot write {FILE}"))?;
            crate::say(&format!("written: {FILE}"));
            return Ok(());
        }
        judge(&counted, &committed)
    }
}

fn line(name: &str, instructions: f64, was: Option<f64>) -> String {
    let was = was.map(|was| format!(" was={was:.0} growth={:+.1}%", (instructions / was - 1.0) * 100.0));
    format!("{name} instructions={instructions:.0}{}", was.unwrap_or_default())
}

fn judge(counted: &[Figure], committed: &[Figure]) -> Result<()> {
    let mut dearer = Vec::new();
    for (name, instructions) in counted {
        let Some((_, was)) = committed.iter().find(|(known, _)| known == name) else {
            dearer.push(format!("{name} has no committed figure"));
            continue;
        };
        let growth = instructions / was - 1.0;
        if growth > TOLERANCE {
            dearer.push(format!("{name} needs {:.1} % more instructions", growth * 100.0));
        } else if growth < -TOLERANCE {
            crate::say(&format!(
                "{name} needs {:.1} % fewer instructions than written down; keep what was gained by `{RENEW}`",
                -growth * 100.0
            ));
        }
    }
    if dearer.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}; if that is the price of something, say so in the change and run `{RENEW}`",
        dearer.join("; ")
    )))
}

const RENEW: &str = "scripts/loadtest instructions --write";

/// The file: a comment, and a line `\"NAME\" = NUMBER` for each figure, which TOML understands as well.
fn text(figures: &[Figure]) -> String {
    let mut text = format!(
        "# Instructions per request of the gateway in user space, counted by callgrind in the profile `{PROFILE}`.\n\
         # The test command fails when one grows by more than 3 %. Written by `{RENEW}`.\n\n"
    );
    for (name, instructions) in figures {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\"{name}\" = {instructions:.0}");
    }
    text
}

fn read(file: &Path) -> Result<Vec<Figure>> {
    let deed = format!("cannot read {}", file.display());
    let text = std::fs::read_to_string(file).while_doing(&deed)?;
    parse(&text).map_err(|line| Failure::new(format!("{deed}: `{line}` is no figure")))
}

/// The figures, or the first line that is none.
fn parse(text: &str) -> std::result::Result<Vec<Figure>, &str> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let figure = |line: &str| {
        let (name, number) = line.split_once(" = ")?;
        Some((name.trim_matches('"').to_owned(), number.parse().ok()?))
    };
    lines.map(|line| figure(line).ok_or(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, instructions: f64) -> Figure {
        (name.to_owned(), instructions)
    }

    #[test]
    fn figures_survive_their_file() {
        let figures = [figure("small-get/plain", 30_000.0), figure("get-10k/plain", 31_000.0)];
        assert_eq!(parse(&text(&figures)), Ok(figures.to_vec()));
        assert_eq!(parse("\"a\" = 1\nb\n"), Err("b"));
    }

    #[test]
    fn growth_beyond_three_percent_fails_and_names_what_grew() {
        let committed = [figure("a", 1000.0), figure("b", 1000.0)];
        assert_eq!(judge(&[figure("a", 1029.0), figure("b", 800.0)], &committed), Ok(()));
        let failure = judge(&[figure("a", 1040.0), figure("b", 1000.0)], &committed).unwrap_err().to_string();
        assert!(failure.starts_with("a needs 4.0 % more instructions; "), "{failure}");
    }

    #[test]
    fn a_figure_that_nobody_wrote_down_fails() {
        let failure = judge(&[figure("new", 1.0)], &[]).unwrap_err().to_string();
        assert!(failure.starts_with("new has no committed figure; "), "{failure}");
    }

    #[test]
    fn every_figure_that_is_counted_is_committed() {
        let committed = read(Path::new(FILE)).unwrap();
        for (load, policies) in COUNTED {
            let name = Scenario::Load(load, Subject::Portolan(policies)).name();
            assert!(committed.iter().any(|(known, _)| *known == name), "{name}");
        }
    }
}
