//! Portolan and its peers side by side: CPU per request, interleaved.
//!
//! `compare` is what people run, `instructions` what the test command does. The rest are the processes they start, each on a
//! core of its own, and `steps`, a micro-benchmark behind a decision.

mod against;
mod child;
mod clock;
mod compare;
mod cost;
mod cpu;
mod failure;
mod fanout;
mod idle;
mod instructions;
mod load;
mod machine;
mod measure;
mod outcome;
mod peers;
mod pinned;
mod results;
mod rounds;
mod scenario;
mod statistics;
mod steps;
mod wire;

use clap::{Parser, Subcommand};

/// What a request costs Portolan and its peers, measured in turns on the same machine in the same minutes.
#[derive(Parser)]
#[command(name = "loadtest", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run Portolan and its peers in turns and report what a request costs as a ratio to nginx; writes RESULTS.md.
    ///
    /// Each proxy has a core for itself, load generator and upstream share another. Exits with 1 when a request failed, since a proxy
    /// that answers errors looks fast.
    Compare(compare::Compare),
    /// Count the instructions of a request and compare them with those in instructions.toml.
    Instructions(instructions::Instructions),
    /// Time three shapes of a policy chain: steps, boxed futures, and steps of which one waits.
    Steps(steps::Steps),
    /// The load side: an upstream, and rounds of load as standard input orders them.
    #[command(hide = true)]
    Load(load::Load),
    /// Hold idle connections to a proxy.
    #[command(hide = true)]
    Idle(idle::Idle),
    /// Listen on many WebSockets.
    #[command(hide = true)]
    Audience(fanout::Audience),
    /// Write ready-made frames to many sockets.
    #[command(hide = true)]
    Bare(fanout::Bare),
    /// Be a Kafka cluster for a gateway.
    #[command(hide = true)]
    Broker(fanout::Broker),
    /// Become another program on one core, ended with its parent.
    #[command(hide = true)]
    Pinned(pinned::Pinned),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compare(compare) => compare.run(),
        Command::Instructions(instructions) => instructions.run(),
        Command::Steps(steps) => steps.run(),
        Command::Load(load) => load.run(),
        Command::Idle(idle) => idle.run(),
        Command::Audience(audience) => audience.run(),
        Command::Bare(bare) => bare.run(),
        Command::Broker(broker) => broker.run(),
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
