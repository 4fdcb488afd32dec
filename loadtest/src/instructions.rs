//! The short gate of the test command: instructions per request against figures that are committed.
//!
//! In the profile `gate`, which is optimised but quick to build. A figure that grew by more than 3 % fails; one that fell
//! by as much asks to be written down, so that what was gained is kept. The figures are those of a compiler, a C library,
//! an emulator and a generation of processors: where another is at work, only growth that those do not explain fails.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

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
/// How much may come from other tools than those that the figures were counted with. Two releases of a compiler differ by a
/// few hundredths.
const TOLERANCE_ELSEWHERE: f64 = 0.10;

/// What to do with the figures.
#[derive(Args)]
pub struct Instructions {
    /// Write down the figures of this tree instead of comparing with them.
    #[arg(long)]
    write: bool,
    /// The gateway's binary. Without it this tree's is built, in the profile `gate`.
    #[arg(long, value_name = "PATH")]
    portolan: Option<PathBuf>,
    /// Keep what callgrind counted in this folder, by scenario, for `callgrind_annotate` to tell where the instructions go.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// A scenario's name and its instructions per request.
type Figure = (String, f64);

/// The committed file.
#[derive(Debug, Clone, Default, PartialEq)]
struct Figures {
    /// What they were counted with: the same source has other figures where this differs.
    tools: String,
    figures: Vec<Figure>,
}

impl Instructions {
    /// Counts, prints a line for each figure, and compares or writes.
    pub fn run(self) -> Result<()> {
        let committed = if self.write { Figures::default() } else { read(Path::new(FILE))? };
        let binary = match self.portolan {
            Some(binary) => binary,
            None => Build { tree: this_tree(), profile: PROFILE, target: None }.run()?,
        };
        let folder = tempfile::tempdir().while_doing("cannot make a temporary folder")?;
        let mut counted = Figures { tools: tools(), figures: Vec::new() };
        for (load, policies) in COUNTED {
            let name = Scenario::Load(load, Subject::Portolan(policies)).name();
            let folder = self.keep.as_deref().unwrap_or(folder.path()).join(name.replace('/', "-"));
            // The whole path: the gateway reads others from where its configuration lies.
            let folder = std::fs::create_dir_all(&folder)
                .and_then(|()| folder.canonicalize())
                .while_doing(&format!("cannot make the folder {}", folder.display()))?;
            let gateway = Gateway { name: "portolan", binary: binary.clone(), policies, routes: 1 };
            let instructions = cost::instructions(load, &Start::Portolan(&gateway), &folder)?;
            crate::report(&line(&name, instructions, committed.of(&name)));
            counted.figures.push((name, instructions));
        }
        if self.write {
            std::fs::write(FILE, text(&counted)).while_doing(&format!("cannot write {FILE}"))?;
            crate::say(&format!("written: {FILE}"));
            return Ok(());
        }
        judge(&counted, &committed)
    }
}

impl Figures {
    fn of(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(known, _)| known == name).map(|(_, figure)| *figure)
    }
}

/// What makes figures comparable: the processor as code sees it that chooses by its features, and the versions of what
/// compiles, counts and is linked against.
fn tools() -> String {
    // The emulator shows no feature beyond this one, so that it tells all processors of an architecture apart.
    #[cfg(target_arch = "x86_64")]
    let features = if std::is_x86_feature_detected!("avx2") { " with avx2" } else { " without avx2" };
    #[cfg(not(target_arch = "x86_64"))]
    let features = "";
    // `rustc 1.95.0 (59807616e 2026-04-14)`, `valgrind-3.19.0`, `glibc 2.36`
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let words: Vec<String> =
            String::from_utf8_lossy(&output.stdout).split_ascii_whitespace().take(2).map(str::to_owned).collect();
        (!words.is_empty()).then(|| words.join(" "))
    };
    let versions = [("rustc", "--version"), ("valgrind", "--version"), ("getconf", "GNU_LIBC_VERSION")];
    let versions = versions.map(|(program, argument)| said(program, argument).unwrap_or(format!("no {program}")));
    format!("{}{features}, {}", std::env::consts::ARCH, versions.join(", "))
}

fn line(name: &str, instructions: f64, was: Option<f64>) -> String {
    let was = was.map(|was| format!(" was={was:.0} growth={:+.1}%", (instructions / was - 1.0) * 100.0));
    format!("{name} instructions={instructions:.0}{}", was.unwrap_or_default())
}

fn judge(counted: &Figures, committed: &Figures) -> Result<()> {
    let mut tolerance = TOLERANCE;
    if counted.tools != committed.tools {
        tolerance = TOLERANCE_ELSEWHERE;
        crate::say(&format!(
            "the committed figures were counted with {}, these with {}; they may differ by {:.0} %",
            committed.tools,
            counted.tools,
            tolerance * 100.0
        ));
    }
    let mut dearer = Vec::new();
    for (name, instructions) in &counted.figures {
        let Some(was) = committed.of(name) else {
            dearer.push(format!("{name} has no committed figure"));
            continue;
        };
        let growth = instructions / was - 1.0;
        if growth > tolerance {
            dearer.push(format!(
                "{name} needs {:.1} % more instructions per request, {instructions:.0} instead of {was:.0}",
                growth * 100.0
            ));
        } else if growth < -tolerance {
            crate::say(&format!(
                "{name} needs {:.1} % fewer instructions than written down; keep what was gained: `{RENEW}`",
                -growth * 100.0
            ));
        }
    }
    if dearer.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}; if that is the price of something, say so in the change, run `{RENEW}` and commit {FILE_IN_TREE}",
        dearer.join("; ")
    )))
}

const RENEW: &str = "cargo run -p loadtest -- instructions --write";
const FILE_IN_TREE: &str = "loadtest/instructions.toml";
/// The key of what the figures were counted with.
const TOOLS: &str = "counted_with";

/// The file: comments, and a line for the tools and for each figure, which TOML understands as well.
fn text(counted: &Figures) -> String {
    let mut text = format!(
        "# Instructions per request of the gateway in user space, counted by callgrind in the profile `{PROFILE}`.\n\
         # The test command fails when one grows by more than 3 %. Written by `{RENEW}`.\n\n{TOOLS} = \"{}\"\n\n",
        counted.tools
    );
    for (name, instructions) in &counted.figures {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\"{name}\" = {instructions:.0}");
    }
    text
}

fn read(file: &Path) -> Result<Figures> {
    let deed = format!("cannot read {}", file.display());
    let text = std::fs::read_to_string(file).while_doing(&deed)?;
    parse(&text).map_err(|line| Failure::new(format!("{deed}: `{line}` is no figure")))
}

/// The figures, or the first line that is none.
fn parse(text: &str) -> std::result::Result<Figures, &str> {
    let mut committed = Figures::default();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once(" = ").ok_or(line)?;
        if name == TOOLS {
            committed.tools = value.trim_matches('"').to_owned();
        } else {
            committed.figures.push((name.trim_matches('"').to_owned(), value.parse().map_err(|_| line)?));
        }
    }
    Ok(committed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(tools: &str, figures: &[(&str, f64)]) -> Figures {
        let figures = figures.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
        Figures { tools: tools.to_owned(), figures }
    }

    #[test]
    fn figures_survive_their_file() {
        let counted = figures("x, rustc 1.95.0", &[("small-get/plain", 30_000.0), ("get-10k/plain", 31_000.0)]);
        assert_eq!(parse(&text(&counted)), Ok(counted.clone()));
        assert_eq!(parse("\"a\" = 1\nb\n"), Err("b"));
        assert_eq!(parse("\"a\" = one\n"), Err("\"a\" = one"));
    }

    #[test]
    fn growth_beyond_three_percent_fails_and_names_what_grew_and_what_to_do() {
        let committed = figures("x", &[("a", 1000.0), ("b", 1000.0)]);
        assert_eq!(judge(&figures("x", &[("a", 1029.0), ("b", 800.0)]), &committed), Ok(()));
        let failure = judge(&figures("x", &[("a", 1040.0), ("b", 1000.0)]), &committed).unwrap_err().to_string();
        assert_eq!(
            failure,
            "a needs 4.0 % more instructions per request, 1040 instead of 1000; if that is the price of something, say so in \
             the change, run `cargo run -p loadtest -- instructions --write` and commit loadtest/instructions.toml"
        );
    }

    #[test]
    fn what_other_tools_may_explain_does_not_fail_and_what_they_do_not_does() {
        let committed = figures("x, rustc 1.95.0", &[("a", 1000.0)]);
        assert_eq!(judge(&figures("x, rustc 1.96.0", &[("a", 1090.0)]), &committed), Ok(()));
        let failure = judge(&figures("x, rustc 1.96.0", &[("a", 1110.0)]), &committed).unwrap_err().to_string();
        assert!(failure.starts_with("a needs 11.0 % more instructions per request"), "{failure}");
    }

    #[test]
    fn a_figure_that_nobody_wrote_down_fails() {
        let failure = judge(&figures("x", &[("new", 1.0)]), &figures("x", &[])).unwrap_err().to_string();
        assert!(failure.starts_with("new has no committed figure; "), "{failure}");
    }

    #[test]
    fn every_figure_that_is_counted_is_committed() {
        let committed = read(Path::new(FILE)).unwrap();
        for (load, policies) in COUNTED {
            let name = Scenario::Load(load, Subject::Portolan(policies)).name();
            // No gateway passes on a request for less: below is a figure that somebody made up.
            assert!(committed.of(&name).is_some_and(|figure| figure > 1_000.0), "{name}");
        }
    }

    #[test]
    fn tools_tell_architecture_compiler_and_library() {
        let tools = tools();
        assert!(tools.starts_with(std::env::consts::ARCH) && tools.contains(", rustc 1."), "{tools}");
    }
}
