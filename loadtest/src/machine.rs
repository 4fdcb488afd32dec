//! What the figures were taken on.

use std::fs;
use std::process::Command;

/// Facts for the head of the results, each a name and a value. What cannot be told is left out.
pub fn describe() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().ok().map(|cores| cores.to_string());
    let facts = [
        ("date", said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("tree", revision()),
        ("processor", line_value("/proc/cpuinfo", "model name", ':')),
        ("cores", cores),
        ("kernel", fs::read_to_string("/proc/sys/kernel/osrelease").ok()),
        ("system", line_value("/etc/os-release", "PRETTY_NAME", '=')),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?.trim().to_owned()))).collect()
}

/// The commit, and whether something is changed on top of it.
fn revision() -> Option<String> {
    said_by("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
}

fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn line_value(file: &str, name: &str, separator: char) -> Option<String> {
    value_of(&fs::read_to_string(file).ok()?, name, separator)
}

fn value_of(text: &str, name: &str, separator: char) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once(separator));
    let mut values = lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().trim_matches('"'));
    values.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_name_gives_its_value() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n";
        assert_eq!(value_of(text, "model name", ':').as_deref(), Some("AMD EPYC"));
        assert_eq!(value_of("NAME=x\nPRETTY_NAME=\"Debian 12\"", "PRETTY_NAME", '=').as_deref(), Some("Debian 12"));
        assert_eq!(value_of(text, "flags", ':'), None);
    }
}
