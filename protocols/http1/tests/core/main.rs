//! The core from outside: the table of messages, however they are cut, written and read again, and read by others.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cases;
mod foreign;
mod generator;
mod splits;
mod table;
mod told;
mod written;
