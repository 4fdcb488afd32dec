//! Processes of the harness: each pinned to a core, each ended with the value that owns it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::failure::{Failure, Result, While};

/// The core of the proxy under test, which shares it with nobody.
pub const PROXY_CORE: usize = 0;
/// The core of the load generator and of the upstream.
pub const LOAD_CORE: usize = 1;

/// How long a process may take to end when asked, before it is killed.
const ENDING: Duration = Duration::from_secs(5);
/// Between two looks at a process or a port.
const GLANCE: Duration = Duration::from_millis(10);

/// A running process. Dropping it asks the process to end, and kills it when it does not.
pub struct Child {
    name: String,
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `program` on `core`. What it says goes to `log`, and a failure to start is seen there too.
    pub fn start(name: &str, core: usize, log: &Path, program: &[&OsStr]) -> Result<Self> {
        let output = File::create(log).while_doing(&format!("cannot write the log of {name}"))?;
        let errors = output.try_clone().while_doing(&format!("cannot write the log of {name}"))?;
        let process = pinned(core, program)?
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .while_doing(&format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), process, log: log.to_owned() })
    }

    /// The process id, which is that of the program itself.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Calls `ready` until it gives a value, the process ends or `limit` has passed. The failure carries the last
    /// reason that `ready` gave and the end of the log.
    pub fn wait_until<T>(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut() -> std::result::Result<T, String>,
    ) -> Result<T> {
        let start = clock::now();
        loop {
            let reason = match ready() {
                Ok(value) => return Ok(value),
                Err(reason) => reason,
            };
            let ended = self.process.try_wait().while_doing(&format!("cannot look at {}", self.name))?;
            if let Some(status) = ended {
                return Err(Failure::new(format!(
                    "{} ended with {status} before it was ready{}",
                    self.name,
                    self.said()
                )));
            }
            if clock::now() - start > limit {
                let seconds = limit.as_secs();
                return Err(Failure::new(format!(
                    "{} was not ready after {seconds} s: {reason}{}",
                    self.name,
                    self.said()
                )));
            }
            clock::pause(GLANCE);
        }
    }

    /// What the process has written so far.
    pub fn output(&self) -> String {
        // Logs are text of ours and of peers; a byte that is not UTF-8 must not hide the rest.
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of the log, to be put behind a failure.
    fn said(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        // Twenty lines hold any diagnostic and leave the sentence before them on the screen.
        let last = &lines[lines.len().saturating_sub(20)..];
        if last.is_empty() { String::new() } else { format!("; it said:\n  {}", last.join("\n  ")) }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SIGTERM first: nginx's master, killed outright, would leave its worker behind.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let start = clock::now();
        while matches!(self.process.try_wait(), Ok(None)) && clock::now() - start < ENDING {
            clock::pause(GLANCE);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `program` on `core` to its end and gives what it wrote to standard output.
pub fn output_of(name: &str, core: usize, program: &[&OsStr]) -> Result<String> {
    let output = pinned(core, program)?
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .while_doing(&format!("cannot start {name}"))?;
    if !output.status.success() {
        return Err(Failure::new(format!("{name} ended with {}", output.status)));
    }
    String::from_utf8(output.stdout).while_doing(&format!("cannot read what {name} said"))
}

/// This program itself, for the roles it plays in other processes.
pub fn this_program() -> Result<OsString> {
    Ok(std::env::current_exe().while_doing("cannot find this program")?.into_os_string())
}

fn pinned(core: usize, program: &[&OsStr]) -> Result<Command> {
    let mut command = Command::new(this_program()?);
    command.args(["pinned", "--core"]).arg(core.to_string()).arg("--").args(program);
    Ok(command)
}
