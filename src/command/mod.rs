//! The command line: `run`, `check`, `schema`, `demo`. One table from which parser and help derive.

mod check;
mod demo;
mod run;
mod schema;
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::gateway::Environment;

/// An API gateway that speaks REST, GraphQL, WebSocket and Kafka over one request path.
///
/// New here? `portolan demo` starts everything on embedded parts and prints what to try.
#[derive(Parser)]
#[command(name = "portolan", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway.
    ///
    /// Reads the configuration, checks all of it, and serves until Ctrl-C or SIGTERM. A change of the file or of a contract it names, and
    /// SIGHUP, reload it: a document with problems is refused with all of them in the log, and the one before stays in force.
    /// Logs go to standard error, the access log where the configuration says.
    #[command(
        after_help = "Example:\n  portolan run -c gateway.yaml\n\nExit codes: 0 ended in good order, 1 did not start, 2 wrong usage."
    )]
    Run {
        /// The configuration.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Checks a configuration and starts nothing.
    ///
    /// Prints every problem with file, line, column and a hint, all at once: unknown keys, wrong values, names that lead
    /// nowhere, and what contracts promise that cannot be kept.
    #[command(
        after_help = "Example:\n  portolan check gateway.yaml\n\nExit codes: 0 no problem, 1 problems, 2 wrong usage."
    )]
    Check {
        /// The configuration.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Prints the JSON Schema of the configuration, for editors.
    #[command(
        after_help = "Example:\n  portolan schema > portolan.schema.json\n\n  # then, first line of gateway.yaml:\n  # yaml-language-server: $schema=./portolan.schema.json"
    )]
    Schema,
    /// Runs a gateway with everything behind it, in this one process.
    ///
    /// A REST service, a GraphQL service, a broker that speaks Kafka's protocol (librdkafka's mock cluster) and the gateway in front of them. Prints what to try as
    /// commands that can be pasted, the addresses, and `ready`. Its configuration is examples/demo: copy it.
    #[command(after_help = "Example:\n  portolan demo --listen 127.0.0.1:0 --admin 127.0.0.1:0")]
    Demo {
        /// Where clients connect; port 0 lets the system choose.
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Where the admin port is; port 0 lets the system choose.
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901")]
        admin: SocketAddr,
    },
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run::run(config),
        Command::Check { file } => check::check(&file),
        Command::Schema => schema::schema(),
        Command::Demo { listen, admin } => demo::demo(listen, admin),
    }
}

/// The environment of the process: read here and nowhere else.
fn environment() -> Environment {
    #[expect(clippy::disallowed_methods, reason = "the command line is where the environment enters")]
    Arc::new(|name: &str| std::env::var(name).ok())
}

/// Our own log, to standard error: one JSON object a line. `PORTOLAN_LOG` sets what is said, as `debug` or `portolan=debug`.
///
/// Lines wait in a bounded queue for a thread of their own, and are dropped when it is full: nobody waits for a terminal. What is
/// queued is written when the guard is dropped.
fn log_to_stderr(default: &str) -> tracing_appender::non_blocking::WorkerGuard {
    let filter = environment()("PORTOLAN_LOG").unwrap_or_else(|| default.to_owned());
    let filter =
        tracing_subscriber::EnvFilter::try_new(&filter).unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        .buffered_lines_limit(8_192)
        .finish(std::io::stderr());
    // A second start within one process keeps the first subscriber.
    let _ = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(writer).try_init();
    guard
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_table_is_sound() {
        Arguments::command().debug_assert();
    }
}
