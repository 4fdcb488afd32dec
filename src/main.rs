//! The `portolan` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    portolan::command::main()
}
