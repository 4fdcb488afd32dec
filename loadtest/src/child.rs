//! Processes of the harness: each pinned to a core, each ended with the value that owns it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::clock;
use crate::cpu::family;
use crate::failure::{Failure, Result, While};

/// Which core a process runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    /// That of the proxy under test, which shares it with nobody.
    Proxy,
    /// That of the load generator and of the upstream.
    Load,
}

/// How long a process may take to end when asked, before it is killed.
const ENDING: Duration = Duration::from_secs(5);
/// How long under an emulator.
const LONG_ENDING: Duration = Duration::from_secs(60);
/// Between two looks at a process or a port.
const GLANCE: Duration = Duration::from_millis(10);

/// The first two cores that this process may use: the proxy's and the load side's. Where it may use one alone they are the
/// same, which does for what is counted and not for what is timed.
pub fn cores() -> Result<(usize, usize)> {
    let allowed = sched_getaffinity(None).while_doing("cannot tell which cores there are")?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let proxy = cores.next().ok_or_else(|| Failure::new("there is no core to run on"))?;
    Ok((proxy, cores.next().unwrap_or(proxy)))
}

impl Core {
    /// Its number. Only for a process that is not pinned itself.
    pub fn number(self) -> Result<usize> {
        let (proxy, load) = cores()?;
        Ok(match self {
            Self::Proxy => proxy,
            Self::Load => load,
        })
    }
}

/// A running process. Dropping it asks the process to end, and kills it when it does not.
pub struct Child {
    name: String,
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `program` on `core`. What it says goes to `log`, and a failure to start is seen there too.
    pub fn start(name: &str, core: Core, log: &Path, program: &[&OsStr]) -> Result<Self> {
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

    /// Asks the process and its descendants to end, and waits until it has, so that whoever follows it (an emulator, a
    /// tracer) writes down what it counted.
    pub fn stop(mut self) -> Result<()> {
        for pid in family(self.pid())? {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the kernel's ids are positive");
            // One that ended by itself meanwhile needs no asking.
            let _ = kill_process(pid, Signal::TERM);
        }
        let start = clock::now();
        while self.process.try_wait().while_doing(&format!("cannot look at {}", self.name))?.is_none() {
            if clock::now() - start > LONG_ENDING {
                return Err(Failure::new(format!("{} did not end after {} s", self.name, LONG_ENDING.as_secs())));
            }
            clock::pause(GLANCE);
        }
        Ok(())
    }

    /// The last lines of the log, to be put behind a failure.
    fn said(&self) -> String {
        // Logs are text of ours and of peers; a byte that is not UTF-8 must not hide the rest.
        let output = std::fs::read(&self.log).unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
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

/// A process that is told what to do, and answers, a line at a time. Dropping it ends it.
pub struct Spoken {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Spoken {
    /// Starts this program in one of its other roles on `core`. Its complaints go to `log`.
    pub fn start(name: &str, core: Core, log: &Path, arguments: &[String]) -> Result<Self> {
        let this = this_program()?;
        let program: Vec<&OsStr> = [this.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new)).collect();
        let errors = File::create(log).while_doing(&format!("cannot write the log of {name}"))?;
        let mut process = pinned(core, &program)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .while_doing(&format!("cannot start {name}"))?;
        let input = process.stdin.take().expect("standard input is a pipe");
        let output = BufReader::new(process.stdout.take().expect("standard output is a pipe"));
        Ok(Self { child: Child { name: name.to_owned(), process, log: log.to_owned() }, input, output })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Waits for its next line.
    pub fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.output.read_line(&mut line).while_doing(&format!("cannot hear {}", self.child.name))?;
        if length == 0 {
            return Err(Failure::new(format!("{} ended unasked{}", self.child.name, self.child.said())));
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// Tells it `line`, and waits for the answer.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        let told = self.input.write_all(line.as_bytes()).and_then(|()| self.input.write_all(b"\n"));
        if told.is_err() {
            return Err(Failure::new(format!("{} ended unasked{}", self.child.name, self.child.said())));
        }
        self.hear()
    }
}

/// This program itself, for the roles it plays in other processes.
pub fn this_program() -> Result<OsString> {
    Ok(std::env::current_exe().while_doing("cannot find this program")?.into_os_string())
}

fn pinned(core: Core, program: &[&OsStr]) -> Result<Command> {
    let mut command = Command::new(this_program()?);
    command.args(["pinned", "--core"]).arg(core.number()?.to_string()).arg("--").args(program);
    Ok(command)
}
