//! The real binary in a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::wait::{self, Watched};

/// A running `portolan`. It is killed when it is dropped.
pub struct Binary {
    child: Child,
    lines: Watched<Vec<String>>,
    stdout: Watched<Vec<String>>,
}

/// What a command that ends by itself said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command of `portolan` to its end.
pub fn portolan<S: AsRef<OsStr>>(arguments: &[S]) -> Said {
    let output = command(arguments).stdin(Stdio::null()).output().expect("the binary was built for this test");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary speaks UTF-8");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Binary {
    /// Starts a command of `portolan`.
    pub fn start<S: AsRef<OsStr>>(arguments: &[S]) -> Self {
        Self::spawn(command(arguments))
    }

    /// Starts a command with variables of the environment.
    pub fn start_with<S: AsRef<OsStr>>(arguments: &[S], environment: &[(&str, &str)]) -> Self {
        let mut command = command(arguments);
        command.envs(environment.iter().copied());
        Self::spawn(command)
    }

    /// Starts a command that may have so many files open at a time.
    pub fn start_with_files<S: AsRef<OsStr>>(files: usize, arguments: &[S]) -> Self {
        let mut limited = Command::new("sh");
        limited.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\""));
        limited.arg(env!("CARGO_BIN_EXE_portolan")).args(arguments);
        Self::spawn(limited)
    }

    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary was built for this test");
        let (lines, of_stdout) = (Watched::default(), Watched::default());
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        collect(stdout, vec![lines.clone(), of_stdout.clone()]);
        collect(stderr, vec![lines.clone()]);
        Self { child, lines, stdout: of_stdout }
    }

    /// All lines it has said, on both streams.
    pub fn lines(&self) -> Vec<String> {
        self.lines.read(Clone::clone)
    }

    /// Waits for this many lines on standard output, and gives all that are there.
    pub fn wait_for_stdout(&self, count: usize) -> Vec<String> {
        self.stdout
            .wait(&format!("{count} lines on standard output"), |lines| (lines.len() >= count).then(|| lines.clone()))
    }

    /// Waits for a line that has this text, and gives it.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for(text, |line| line.contains(text))
    }

    /// Waits for a line that begins with this text, and gives it.
    pub fn wait_for_start(&self, text: &str) -> String {
        self.wait_for(text, |line| line.starts_with(text))
    }

    fn wait_for(&self, text: &str, is_so: impl Fn(&str) -> bool) -> String {
        let look = || self.lines.read(|lines| lines.iter().find(|line| is_so(line)).cloned());
        wait::try_until_some(look).unwrap_or_else(|| panic!("no line with `{text}` in {:#?}", self.lines()))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid =
            Pid::from_raw(self.child.id().try_into().expect("a process id fits")).expect("a process id is not zero");
        kill_process(pid, signal).expect("the process is there and ours");
    }

    /// The most memory it ever held at once, in bytes, as the kernel counted it.
    pub fn most_memory(&self) -> u64 {
        self.counted("VmHWM:")
    }

    /// The memory of its own that it holds now, in bytes, as the kernel counts it.
    pub fn memory(&self) -> u64 {
        self.counted("RssAnon:")
    }

    fn counted(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel counts memory");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes");
        kilobytes * 1024
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let ended = wait::try_until_some(|| self.child.try_wait().expect("the process is ours"));
        ended.unwrap_or_else(|| panic!("it does not end; it said {:#?}", self.lines()))
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(arguments);
    command
}

/// Reads lines on a thread that ends with the process.
fn collect(stream: impl Read + Send + 'static, into: Vec<Watched<Vec<String>>>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            for lines in &into {
                lines.change(|lines| lines.push(line.clone()));
            }
        }
    });
}
