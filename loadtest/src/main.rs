//! Portolan and its peers side by side: CPU per request, interleaved.
//!
//! `compare` is what people run. The rest are the processes it starts, each on a core of its own, and `steps`, a
//! micro-benchmark behind a decision.

mod child;
mod clock;
mod compare;
mod cpu;
mod failure;
mod load;
mod machine;
mod outcome;
mod peers;
mod pinned;
mod results;
mod scenario;
mod steps;
mod upstream;
mod wire;

use clap::{Parser, Subcommand};

/// CPU per request of Portolan and nginx, measured in turns on the same machine in the same minutes.
#[derive(Parser)]
#[command(name = "loadtest", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run Portolan and nginx in turns and report CPU per request as a ratio; writes RESULTS.md.
    ///
    /// Each proxy runs on core 0, the load generator and a trivial upstream on core 1. Exits with 1 when a request
    /// failed, since a proxy that answers errors looks fast.
    Compare(compare::Compare),
    /// Time three shapes of a policy chain: steps, boxed futures, and steps of which one waits.
    Steps(steps::Steps),
    /// The trivial upstream: one small answer to every request.
    Upstream(upstream::Upstream),
    /// One round of load from one thread, reported as a line of JSON.
    Load(load::Load),
    /// Become another program on one core, ended with its parent.
    #[command(hide = true)]
    Pinned(pinned::Pinned),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compare(compare) => compare.run(),
        Command::Steps(steps) => steps.run(),
        Command::Upstream(upstream) => upstream.run(),
        Command::Load(load) => load.run(),
        Command::Pinned(pinned) => pinned.run(),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("loadtest: {failure}"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Writes one line for the program or the person that reads figures.
#[expect(clippy::print_stdout, reason = "standard output is what this program is asked for")]
fn report(line: &str) {
    println!("{line}");
}

/// Writes one line for the person who waits.
#[expect(clippy::print_stderr, reason = "a command line tool tells on standard error how it goes")]
fn say(line: &str) {
    eprintln!("{line}");
}
