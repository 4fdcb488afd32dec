//! The `portolan` program.

use std::process::ExitCode;

/// The system's allocator keeps seven blocks of a size at hand: with more requests than that in flight each block takes its slow path, a
/// fifth of all instructions of a proxied request (`loadtest/RESULTS.md`). Its features: no huge pages, and the line that gives memory back
/// soon (decision 8).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portolan::command::main()
}
