//! `portolan demo`: everything in one process.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::signals::{Signal, Signals};
use crate::demo::{Demo, DemoOptions};

/// Runs the demo until it is told to end.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the demo speaks to the person who started it")]
pub fn demo(listen: SocketAddr, admin: SocketAddr) -> ExitCode {
    let _log = super::log_to_stderr("warn");
    let started = Signals::listen()
        .map_err(|error| format!("signals cannot be listened for: {error}"))
        .and_then(|signals| Ok((signals, Demo::start(DemoOptions { listen, admin })?)));
    let (signals, demo) = match started {
        Ok(started) => started,
        Err(error) => {
            eprintln!("portolan: the demo did not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    print!("{demo}");
    while let Signal::Reload = signals.next() {
        demo.reload();
    }
    println!("stopping");
    demo.stop();
    ExitCode::SUCCESS
}
