//! The roles of the harness as the processes they are: pinned, ended with their owner, talking over loopback.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

const LOADTEST: &str = env!("CARGO_BIN_EXE_loadtest");

/// A process that does not outlive its test, and is spoken to in lines.
struct Role {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Role {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(LOADTEST);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the harness starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        Self { child, input, output }
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line of text");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, order: &Value) -> Value {
        let input = self.input.as_mut().expect("standard input is a pipe");
        writeln!(input, "{order}").expect("it listens");
        serde_json::from_str(&self.hear()).expect("a round in JSON")
    }

    fn end_of_input(&mut self) -> Option<i32> {
        self.input = None;
        self.child.wait().expect("it ends").code()
    }
}

/// An order of a tenth of a second to `target`, with the time of process `proxy` read.
fn order(target: &str, proxy: u32) -> Value {
    json!({
        "target": target, "connections": 4, "request": { "path": "/", "headers": [], "body": 0 }, "answer": 69,
        "pace": "Saturated", "warm_up": 0.02, "until": { "Seconds": 0.1 }, "proxy": proxy,
        "cores": [0, 0],
    })
}

#[test]
fn the_load_side_does_round_after_round_and_serves_meanwhile() {
    let mut role = Role::start(&["load"]);
    let line = role.hear();
    let address = line.strip_prefix("listening ").expect("its address").to_owned();
    let pid = role.child.id();
    for _ in 0..2 {
        let round = role.ask(&order(&address, pid));
        assert_eq!((&round["errors"], &round["wrong"], &round["first_error"]), (&0.into(), &0.into(), &Value::Null));
        assert!(round["requests"].as_u64().unwrap() > 0, "{round}");
        assert!(round["proxy_ns"].as_u64().unwrap() > 0, "{round}");
        assert!(round["elapsed_ns"].as_u64().unwrap() >= 100_000_000, "{round}");
    }
    assert_eq!(role.end_of_input(), Some(0));
}

#[test]
fn a_round_against_nobody_counts_errors_and_ends() {
    let mut role = Role::start(&["load"]);
    role.hear();
    // The system gives this port to none of the other tests, and nobody listens there.
    let round = role.ask(&order("127.0.0.1:1", role.child.id()));
    assert_eq!(round["requests"], 0);
    assert!(round["errors"].as_u64().unwrap() > 0, "{round}");
    let reason = round["first_error"].as_str().unwrap();
    assert!(reason.contains("refused"), "{reason}");
}

#[test]
fn idle_connections_are_held_until_standard_input_ends() {
    let mut upstream = Role::start(&["load"]);
    let address = upstream.hear().strip_prefix("listening ").expect("its address").to_owned();
    let mut holder = Role::start(&["idle", "--target", &address, "--path", "/", "--connections", "20"]);
    assert_eq!(holder.hear(), "holding 20");
    assert_eq!(holder.end_of_input(), Some(0));
}

#[test]
fn the_bare_loop_reaches_its_whole_audience() {
    let mut bare = Role::start(&["bare", "--frame", "204"]);
    let (address, pid) = (bare.hear(), bare.child.id().to_string());
    let arguments = ["audience", "--bare", &address, "--server", &pid, "--seconds", "0.1", "--sockets", "20"];
    let round: Value = serde_json::from_str(&Role::start(&arguments).hear()).unwrap();
    let messages = round["messages"].as_u64().unwrap();
    assert!(messages > 0, "{round}");
    assert_eq!((&round["deliveries"], &round["frame"]), (&(messages * 20).into(), &204.into()));
    assert_eq!(bare.end_of_input(), Some(0));
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
    let mut command = Command::new(LOADTEST);
    let output = command.args(["compare", "--only", "small-get/nginx-itself"]).env("PATH", "").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let sentence = "loadtest: cannot run `nginx`, which everything is compared with: No such file or directory (os error 2); \
                    install it (`apt-get install nginx-light`, `dnf install nginx`) and make sure that it is in PATH\n";
    assert!(said.ends_with(sentence), "{said}");
}

#[test]
fn an_unknown_scenario_is_answered_with_those_there_are() {
    let output = Command::new(LOADTEST).args(["compare", "--only", "small-git"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let sentence =
        "loadtest: no scenario `small-git`; there are small-get/plain, small-get/policies, small-get/policies-token, ";
    assert!(said.lines().last().is_some_and(|line| line.starts_with(sentence)), "{said}");
}
