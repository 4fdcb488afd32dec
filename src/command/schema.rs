//! `portolan schema`: the JSON Schema of the configuration.

use std::process::ExitCode;

/// Prints the schema.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub fn schema() -> ExitCode {
    println!("{:#}", portolan_config::schema());
    ExitCode::SUCCESS
}
