//! Feeds every parser that a client can reach with what nobody would send on purpose, and holds each to what it
//! promises.
//!
//! ```sh
//! cargo run -p portolan-fuzz -- run --seconds 100          # all targets
//! cargo run -p portolan-fuzz -- run --seconds 600 websocket-frames
//! cargo run -p portolan-fuzz -- replay websocket-frames fuzz/findings/FILE
//! ```
//!
//! **What it is.** A mutational fuzzer of our own, on stable Rust and without anything but crates. It replays what is
//! kept under `regressions/`, then the seeds under `corpus/`, then changes them ([`mutation`]) for as long as it may.
//! A [`target`] turns bytes into calls and checks what must hold for every input: that two ways to the same answer
//! agree, that what was accepted can be written and read again, that steps and memory are bounded by the length of the
//! input. Each target runs in a process of its own, on a stack as small as a worker's and with 4 GiB of memory, so that an
//! exhausted stack, an exhausted memory and an endless loop are findings like a panic.
//!
//! **What guides it.** Not coverage of the code. A target says how an input was taken (its [`signature`]: accepted or
//! refused, with which words, how large the answer) and the number of allocations says roughly how much was done. An input
//! that shows something not seen before joins those that are changed further. That is coarser than counting edges: it
//! does not see a branch that changes neither the answer nor an allocation. What reaches deep must come from good seeds,
//! so the corpus is kept small and various.
//!
//! **What it is not.** No sanitizer watches: there is no `unsafe` of ours to watch, and that of our dependencies is theirs
//! to fuzz. It proves nothing: a run without findings says that these inputs held.
//!
//! `docs/decisions/0003-fuzzing-on-stable.md` tells what else could have been chosen.

pub mod campaign;
pub mod corpus;
pub mod crew;
pub mod execution;
pub mod finding;
pub mod mutation;
pub mod random;
pub mod signature;
pub mod target;
pub mod targets;
pub mod watch;
