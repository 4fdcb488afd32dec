//! `portolan run`: start, signals, end.

use std::net::{SocketAddr, TcpListener};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Folder, said};
use crate::kit::binary::Binary;
use crate::kit::{Client, FakeUpstream, wait};

const GATEWAY: &str = "
    listeners: { public: { address: 127.0.0.1:0 } }
    admin: { address: 127.0.0.1:0 }
    upstreams: { service: { endpoints: [ ${env:SERVICE} ] } }
    routes: { all: { path: /**, upstream: service } }
";

/// A running gateway of [`GATEWAY`].
struct Running {
    binary: Binary,
    client: Client,
    admin: Client,
    folder: Folder,
}

/// Starts it before this upstream.
fn run(upstream: &FakeUpstream) -> Running {
    let folder = Folder::with(GATEWAY);
    let binary = Binary::start_with(&["run", "-c", &folder.file()], &[("SERVICE", &upstream.url())]);
    let client = Client::new(address(&binary, "\"listening\""));
    let admin = Client::new(address(&binary, "admin port open"));
    Running { binary, client, admin, folder }
}

/// Waits for the line that says where this listens.
fn address(binary: &Binary, message: &str) -> SocketAddr {
    let line: Value = serde_json::from_str(&binary.wait_for_line(message)).expect("a line of the log is JSON");
    line["address"].as_str().expect("the line names the address").parse().expect("an address")
}

#[test]
fn sighup_reloads_and_a_refused_file_is_told_in_the_log() {
    let upstream = FakeUpstream::answering(200, json!("hello"));
    let mut running = run(&upstream);
    running.client.get("/a").assert_status(200);
    // Nothing has changed, so that it is the signal alone that reloads.
    running.binary.signal(Signal::HUP);
    wait::until("the reload", || running.admin.get("/readyz").json()["configuration"]["reloads"] == 1);

    running.folder.write("gateway.yaml", &GATEWAY.replace("/**", "/only/**"));
    running.binary.signal(Signal::HUP);
    wait::until("the new plan", || running.client.get("/a").status == 404);
    running.client.get("/only/a").assert_status(200);

    let mistaken = GATEWAY.replace("upstream: service", "upstream: servise, colour: red");
    running.folder.write("gateway.yaml", &mistaken);
    running.binary.signal(Signal::HUP);
    let line: Value = serde_json::from_str(&running.binary.wait_for_line("configuration refused")).expect("JSON");
    let file = running.folder.file();
    let problems = format!(
        "{file}:4:39: routes.all.upstream: no upstream `servise`; did you mean `service`?\n\
         {file}:4:48: routes.all.colour: unknown key; known here: host, path, methods, upstream, authenticate, rate_limit, headers, cors, sanitise, deadline, strip_prefix\n"
    );
    assert_eq!((&line["level"], &line["problems"]), (&json!("ERROR"), &json!(problems)));
    running.client.get("/only/a").assert_status(200);
    running.admin.get("/readyz").assert_status(200);

    running.binary.signal(Signal::TERM);
    assert_eq!(running.binary.wait().code(), Some(0), "{:#?}", running.binary.lines());
}

#[test]
fn a_change_of_the_file_is_noticed_without_a_signal() {
    let upstream = FakeUpstream::answering(200, json!("hello"));
    let running = run(&upstream);
    running.client.get("/a").assert_status(200);
    running.folder.write("gateway.yaml", &GATEWAY.replace("/**", "/only/**"));
    wait::until("the new plan", || running.client.get("/a").status == 404);
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    for signal in [Signal::INT, Signal::TERM] {
        let (upstream, feed) = FakeUpstream::fed();
        let mut running = run(&upstream);
        let pending = running.client.call("GET", "/").start();
        upstream.wait_for(1);
        running.binary.signal(signal);
        running.binary.wait_for_line("stopping");
        feed.send("answered");
        feed.end();
        assert_eq!(pending.answer().assert_status(200).text(), "answered");
        assert_eq!(running.binary.wait().code(), Some(0), "{:#?}", running.binary.lines());
        assert_eq!(upstream.cancelled(), 0);
        running.binary.wait_for_line("\"stopped\"");
    }
}

#[test]
fn who_asks_twice_does_not_wait() {
    let upstream = FakeUpstream::hanging();
    let mut running = run(&upstream);
    let _pending = std::thread::spawn({
        let client = running.client.clone();
        move || drop(client.call("GET", "/").try_send())
    });
    upstream.wait_until("the request", |_| true);
    running.binary.signal(Signal::INT);
    running.binary.wait_for_line("stopping");
    running.binary.signal(Signal::INT);
    assert_eq!(running.binary.wait().code(), Some(130), "{:#?}", running.binary.lines());
}

#[test]
fn the_access_log_goes_to_standard_output_and_nothing_else_does() {
    let upstream = FakeUpstream::answering(200, json!("hello"));
    let mut running = run(&upstream);
    let answers = [running.client.get("/a?secret=1"), running.client.get("/b")];
    running.binary.wait_for_stdout(2);
    running.binary.signal(Signal::TERM);
    running.binary.wait();
    let lines: Vec<Value> =
        running.binary.wait_for_stdout(2).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<_> =
        lines.iter().map(|line| (line["request_id"].clone(), line["path"].clone(), line["status"].clone())).collect();
    let id = |at: usize| json!(answers[at].header("x-request-id"));
    assert_eq!(told, [(id(0), json!("/a"), json!(200)), (id(1), json!("/b"), json!(200))]);
}

#[test]
fn a_port_in_use_is_said_in_a_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let whole = GATEWAY.replace("${env:SERVICE}", "http://127.0.0.1:9");
    let public =
        Folder::with(&whole.replace("public: { address: 127.0.0.1:0", &format!("public: {{ address: {address}")));
    let told = format!("listen on {address} for listener `public`: Address already in use (os error 98)\n");
    assert_eq!(public.portolan(&["run", "-c"]), said(1, "", &told));
    let admin = Folder::with(&whole.replace("admin: { address: 127.0.0.1:0", &format!("admin: {{ address: {address}")));
    let told = format!("serve the admin port on {address}: Address already in use (os error 98)\n");
    assert_eq!(admin.portolan(&["run", "-c"]), said(1, "", &told));
}

#[test]
fn a_configuration_with_problems_starts_nothing_and_all_are_told() {
    let folder = Folder::with(&GATEWAY.replace("upstream: service", "upstream: servise").replace("/**", "all"));
    let expected = "\
gateway.yaml:3:38: upstreams.service.endpoints[0]: the environment has no variable `SERVICE`; set it, or give a default: `${env:SERVICE:-…}`
gateway.yaml:4:24: routes.all.path: `all` is not a path; a path begins with `/`
gateway.yaml:4:39: routes.all.upstream: no upstream `servise`; did you mean `service`?
";
    assert_eq!(folder.portolan(&["run", "-c"]), said(1, "", expected));
    let nowhere = Folder::with("");
    std::fs::remove_file(nowhere.path("gateway.yaml")).unwrap();
    assert_eq!(nowhere.portolan(&["run", "-c"]), said(1, "", "gateway.yaml: there is no file `gateway.yaml`\n"));
}
