//! `portolan check`: every problem of a configuration, and nothing started.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Checks a configuration: what is written in it, and what its contracts promise.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the command is for")]
pub fn check(file: &Path) -> ExitCode {
    let environment = super::environment();
    let checked = portolan_config::load(file, &*environment).map(Arc::new).and_then(|snapshot| {
        let warnings = crate::plan::check(&snapshot)?;
        Ok((snapshot, warnings))
    });
    match checked {
        Ok((snapshot, warnings)) => {
            eprint!("{}{}", snapshot.warnings.render(), warnings.render());
            println!("{}: no problem; {} APIs, {} routes", file.display(), snapshot.apis.len(), snapshot.routes.len());
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            eprint!("{}", diagnostics.render());
            ExitCode::FAILURE
        }
    }
}
