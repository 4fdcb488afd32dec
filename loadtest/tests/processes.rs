//! The roles of the harness as the processes they are: pinned, ended with their owner, talking over loopback.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const LOADTEST: &str = env!("CARGO_BIN_EXE_loadtest");

/// A process that does not outlive its test.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an upstream and gives its address.
fn upstream() -> (Role, String) {
    let command = ["pinned", "--core", "0", "--", LOADTEST, "upstream"];
    let mut child = Command::new(LOADTEST).args(command).stdout(Stdio::piped()).spawn().expect("the harness starts");
    let output = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    let role = Role(child);
    let line = output.lines().next().expect("the upstream speaks").expect("a line of text");
    (role, line.strip_prefix("listening ").expect("its address").to_owned())
}

#[test]
fn a_round_counts_requests_and_the_time_of_the_process_it_watches() {
    let (role, address) = upstream();
    let pid = role.0.id().to_string();
    let output = Command::new(LOADTEST)
        .args(["load", "--target", &address, "--connections", "4", "--warm-up", "0.05", "--seconds", "0.2"])
        .args(["--proxy", &pid, "--upstream", &pid])
        .output()
        .unwrap();
    let round: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&round["errors"], &round["not_200"], &round["first_error"]), (&0.into(), &0.into(), &Value::Null));
    assert!(round["requests"].as_u64().unwrap() > 0, "{round}");
    assert!(round["proxy_ns"].as_u64().unwrap() > 0, "{round}");
    assert!(round["elapsed_ns"].as_u64().unwrap() >= 200_000_000, "{round}");
}

#[test]
fn a_round_against_nobody_counts_errors_and_ends() {
    let (role, _) = upstream();
    let pid = role.0.id().to_string();
    // Taken and given back: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = Command::new(LOADTEST)
        .args(["load", "--target", &nobody, "--connections", "1", "--warm-up", "0", "--seconds", "0.1"])
        .args(["--proxy", &pid, "--upstream", &pid])
        .output()
        .unwrap();
    let round: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(round["requests"], 0);
    assert!(round["errors"].as_u64().unwrap() > 0, "{round}");
    let reason = round["first_error"].as_str().unwrap();
    assert!(reason.contains("refused"), "{reason}");
}

#[test]
fn a_pinned_program_runs_on_its_core_alone() {
    let command = ["pinned", "--core", "1", "--", "cat", "/proc/self/status"];
    let output = Command::new(LOADTEST).args(command).output().unwrap();
    let status = String::from_utf8(output.stdout).unwrap();
    let cores = status.lines().find(|line| line.starts_with("Cpus_allowed_list:"));
    assert_eq!(cores, Some("Cpus_allowed_list:\t1"));
}

#[test]
fn without_nginx_a_comparison_says_what_to_install() {
    let output = Command::new(LOADTEST).args(["compare", "--peer-only"]).env("PATH", "").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "loadtest: cannot run `nginx`, which everything is compared with: No such file or directory (os error 2); \
         install it (`apt-get install nginx-light`, `dnf install nginx`) and make sure that it is in PATH\n"
    );
}

#[test]
fn an_unknown_scenario_is_answered_with_those_there_are() {
    let output = Command::new(LOADTEST).args(["compare", "--scenario", "small-get"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "loadtest: no scenario `small-get`; there are small-get/plain, small-get/policies, small-get/nginx-itself\n"
    );
}
