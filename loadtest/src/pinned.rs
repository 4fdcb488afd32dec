//! Becomes another program on one core, ended with its parent.
//!
//! A process pins itself before it turns into the program to be measured, so every thread and child that the program
//! ever starts inherits the core. Nothing has to be installed for it, and no process outlives a killed harness.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::failure::{Failure, Result, While};

/// Files that a program may open, where the system allows that many: ten thousand connections need more than the usual soft
/// limit of 1,024. No more than that: some programs make room for as many as they may open.
const FILES: u64 = 65_536;

/// The core and the program.
#[derive(Args)]
pub struct Pinned {
    /// The core to run on, counted from 0.
    #[arg(long)]
    core: usize,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

impl Pinned {
    /// Replaces this process. Returns only when it could not.
    pub fn run(self) -> Result<()> {
        let mut cores = CpuSet::new();
        cores.set(self.core);
        sched_setaffinity(None, &cores).while_doing(&format!("cannot run on core {}", self.core))?;
        raise_limit_of_files()?;
        set_parent_process_death_signal(Some(Signal::TERM)).while_doing("cannot tie this process to its parent")?;
        let (name, arguments) = self.program.split_first().expect("the command line requires a program");
        let error = Command::new(name).args(arguments).exec();
        Err(Failure::new(format!("cannot start `{}`: {error}", name.display())))
    }
}

fn raise_limit_of_files() -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is without a limit.
    let wanted = maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .while_doing("cannot raise the limit of open files")
}
