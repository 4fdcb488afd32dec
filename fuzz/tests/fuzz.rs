//! Runs the fuzzer as its users do: over all targets for a short time, and over defects that were planted.

use std::path::Path;
use std::process::{Command, Output};

fn fuzzer(arguments: &[&str], findings: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan-fuzz"));
    command.arg("run").args(arguments).arg("--findings").arg(findings);
    command.output().expect("the fuzzer starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What stands beside the only finding: its story.
fn story(folder: &Path) -> String {
    let files =
        std::fs::read_dir(folder).expect("there are findings").map(|entry| entry.expect("it can be listed").path());
    let mut stories: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "txt")).collect();
    assert_eq!(stories.len(), 1, "{stories:?}");
    std::fs::read_to_string(stories.remove(0)).expect("a story is text")
}

/// The input of the only finding.
fn input(folder: &Path) -> Vec<u8> {
    let files =
        std::fs::read_dir(folder).expect("there are findings").map(|entry| entry.expect("it can be listed").path());
    let mut inputs: Vec<_> = files.filter(|file| file.extension().is_none()).collect();
    assert_eq!(inputs.len(), 1, "{inputs:?}");
    std::fs::read(inputs.remove(0)).expect("an input can be read")
}

#[test]
fn what_is_kept_holds_and_so_does_what_a_short_run_comes_upon() {
    let findings = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    let output = fuzzer(&[], &findings);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_panic_behind_five_steps_is_found_shortened_and_told_with_the_command_that_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = fuzzer(&["--seed", "1", "--seconds", "60", "--executions", "400000", "planted-panic"], folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(input(folder.path()), b"north");
    let story = story(folder.path());
    assert!(story.starts_with("planted-panic: panic after 5 bytes, in a run with seed 1\n"), "{story}");
    assert!(story.contains("cargo run -p portolan-fuzz -- replay planted-panic "), "{story}");
}

#[test]
fn an_exhausted_stack_is_a_finding_although_it_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let output = fuzzer(&["--seed", "1", "--seconds", "60", "planted-tower"], folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let story = story(folder.path());
    assert!(story.starts_with("planted-tower: death after "), "{story}");
    assert!(input(folder.path()).len() > 500);
}

#[test]
fn an_input_that_never_ends_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let output = fuzzer(&["--seed", "1", "--seconds", "60", "--stuck-after", "1", "planted-loop"], folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(story(folder.path()).contains("planted-loop: stuck after "));
    assert!(input(folder.path()).windows(4).any(|word| word == b"spin"));
}

#[test]
fn memory_that_grows_faster_than_the_input_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let output = fuzzer(&["--seed", "1", "--seconds", "60", "--executions", "20000", "planted-hoard"], folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(story(folder.path()).contains("allocated"));
}

#[test]
fn the_same_seed_tries_the_same_inputs_again() {
    let run = |seed| {
        let folder = tempfile::tempdir().unwrap();
        // Targets whose allocations do not depend on the order of a hash table.
        let targets = ["websocket-frames", "exchange-json", "events-commands"];
        let arguments = ["--seconds", "60", "--executions", "400", "--seed", seed];
        let output = fuzzer(&[&arguments[..], &targets[..]].concat(), folder.path());
        let said = said(&output);
        let mut lines: Vec<String> = said.lines().filter_map(digest).collect();
        lines.sort();
        assert_eq!(lines.len(), targets.len(), "{said}");
        lines
    };
    let first = run("1");
    assert_eq!(run("1"), first);
    assert_ne!(run("2"), first);
}

/// The target and the digest of its inputs, out of a line about it.
fn digest(line: &str) -> Option<String> {
    let (target, rest) = line.split_once(' ')?;
    let (_, digest) = rest.split_once("digest ")?;
    Some(format!("{target} {}", digest.split(',').next()?))
}
