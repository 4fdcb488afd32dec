//! Foreign parts in processes of their own: curl, Python's HTTP client, a WebSocket server, a crowd of idle clients, counters of
//! segments.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use super::foreign_part;
use super::wait::PATIENCE;

/// What a foreign command that ends by itself said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

/// Runs curl to its end, over HTTP/1.1 unless the arguments say otherwise. It reads no settings of the machine's user.
pub fn curl(arguments: &[&str]) -> Said {
    let patience = PATIENCE.as_secs().to_string();
    let output = Command::new("curl")
        .args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--http1.1", "--max-time", &patience])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the test command installs curl");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Said { code: output.status.code(), stdout: output.stdout, stderr }
}

impl Said {
    /// Standard output as text, of a command that succeeded.
    #[track_caller]
    pub fn text(&self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A script of the kit in Python: it reads commands as lines of JSON and answers each with one. It ends when this is dropped.
pub struct Script {
    process: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Script {
    /// Starts a script of `tests/kit`.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kit").join(name);
        let mut process = Command::new(foreign_part("PORTOLAN_TEST_PYTHON"))
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test command installs python");
        let stdout = process.stdout.take().expect("piped");
        let (tell, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { commands: process.stdin.take(), process, answers }
    }

    /// Gives a command and waits for its answer.
    #[track_caller]
    pub fn ask(&mut self, command: &Value) -> Value {
        let commands = self.commands.as_mut().expect("open until it is dropped");
        writeln!(commands, "{command}").unwrap_or_else(|error| panic!("the script takes no {command}: {error}"));
        self.answer()
    }

    /// Waits for the next answer.
    #[track_caller]
    pub fn answer(&mut self) -> Value {
        let answer = self.answers.recv_timeout(2 * PATIENCE);
        let answer = answer.unwrap_or_else(|error| panic!("the script does not answer: {error}"));
        let mut answer: Value = serde_json::from_str(&answer).expect("an answer is JSON");
        if let Some(error) = answer.get("error") {
            panic!("the script failed: {error}");
        }
        answer["ok"].take()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It ends with its input; killing makes sure of it.
        drop(self.commands.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Python's own HTTP client (`http.client`) on one connection.
pub struct PythonClient(Script);

impl PythonClient {
    /// A client that connects to this address.
    pub fn connect(address: SocketAddr) -> Self {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        Self(Script::start("foreign_http.py", &[&host, &port]))
    }

    /// A request: `method`, `target`, and if wanted `headers`, `body` or `chunks`. Gives `status`, `headers`, `body` and whether it
    /// took a `new_connection`.
    #[track_caller]
    pub fn ask(&mut self, request: Value) -> Value {
        self.0.ask(&request)
    }
}

/// A WebSocket service (`websockets` for Python) that gives back every message. At `/refused` it refuses the upgrade with 403.
pub struct WebSocketEcho {
    _script: Script,
    address: SocketAddr,
}

impl WebSocketEcho {
    /// Starts it on a free port. `asked` as a message is answered with the fields of the upgrade, as pairs.
    pub fn start() -> Self {
        let mut script = Script::start("foreign_websocket.py", &[]);
        let port = script.answer().as_u64().expect("the script tells its port");
        let port = u16::try_from(port).expect("a port");
        Self { _script: script, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Its URL, as a configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Many connections of one client process that mostly say nothing.
pub struct Crowd(Script);

impl Crowd {
    /// Opens so many connections, and sends one request on each whose answer must be 200.
    pub fn connect(address: SocketAddr, count: usize) -> Self {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut script = Script::start("idle_crowd.py", &[&host, &port, &count.to_string()]);
        assert_eq!(script.answer(), json!(count), "connections that were answered");
        Self(script)
    }

    /// How many are still open.
    pub fn open(&mut self) -> usize {
        self.0.ask(&json!("open")).as_u64().expect("a number") as usize
    }

    /// Sends one more request on each; gives how many were answered with 200.
    pub fn again(&mut self) -> usize {
        self.0.ask(&json!("again")).as_u64().expect("a number") as usize
    }
}

/// A client on one connection that counts in how many segments each answer comes: as many as there were writes of less than 64 KiB.
pub struct SegmentClient(Script);

impl SegmentClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        Self(Script::start("segments.py", &["client", &host, &port]))
    }

    /// Sends a request as it stands here, in one write; gives the status of its answer and how many segments that took.
    #[track_caller]
    pub fn ask(&mut self, request: &str) -> (u16, u64) {
        let told = self.0.ask(&json!(request));
        serde_json::from_value(told).expect("a status and a number")
    }
}

/// A service that answers with 204, and counts in how many segments each request comes.
pub struct SegmentService {
    script: Script,
    address: SocketAddr,
}

impl SegmentService {
    /// Starts it on a free port.
    pub fn start() -> Self {
        let mut script = Script::start("segments.py", &["service"]);
        let port = script.answer().as_u64().expect("the script tells its port");
        let port = u16::try_from(port).expect("a port");
        Self { script, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, as a configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first lines of the requests so far, and how many segments each took.
    #[track_caller]
    pub fn seen(&mut self) -> Vec<(String, u64)> {
        let told = self.script.ask(&json!("seen"));
        serde_json::from_value(told).expect("lines and numbers")
    }
}
