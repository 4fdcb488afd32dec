//! `portolan run`: the gateway until it is told to end.

use std::path::PathBuf;
use std::process::ExitCode;

use super::signals::{Signal, Signals};
use crate::{Gateway, Options};

/// Runs the gateway of a configuration.
#[expect(clippy::print_stderr, reason = "why it did not start is for the person who started it")]
pub fn run(config: PathBuf) -> ExitCode {
    let _log = super::log_to_stderr("info");
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("portolan: signals cannot be listened for: {error}");
            return ExitCode::FAILURE;
        }
    };
    let gateway = match Gateway::start(Options::new(config, super::environment())) {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    for (listener, address) in gateway.addresses() {
        tracing::info!(%listener, %address, "listening");
    }
    tracing::info!(address = %gateway.admin(), "admin port open");
    while let Signal::Reload = signals.next() {
        // The reload says itself how it went.
        let _ = gateway.reload();
    }
    tracing::info!("stopping");
    gateway.stop();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}
