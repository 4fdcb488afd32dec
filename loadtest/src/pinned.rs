//! Becomes another program on one core, ended with its parent.
//!
//! A process pins itself before it turns into the program to be measured, so every thread and child that the program
//! ever starts inherits the core. Nothing has to be installed for it, and no process outlives a killed harness.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::failure::{Failure, Result, While};

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
        set_parent_process_death_signal(Some(Signal::TERM)).while_doing("cannot tie this process to its parent")?;
        let (name, arguments) = self.program.split_first().expect("the command line requires a program");
        let error = Command::new(name).args(arguments).exec();
        Err(Failure::new(format!("cannot start `{}`: {error}", name.display())))
    }
}
