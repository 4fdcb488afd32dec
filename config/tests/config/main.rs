//! The configuration from outside: golden cases, the schema, the page, and whatever bytes come.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cases;
mod diff;
mod disk;
mod page;
mod random;
mod schema;
