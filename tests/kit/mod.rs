//! The parts that tests are made of. Whatever is started here ends when it is dropped, also when its test fails.

pub mod binary;
pub mod browser;
pub mod client;
pub mod fault_proxy;
pub mod foreign;
pub mod gateway;
pub mod kafka;
pub mod message;
pub mod nginx;
pub mod raw;
pub mod session;
pub mod upstream;
pub mod wait;

mod own_tests;
mod own_wire_tests;

pub use client::{Answer, Client};
pub use fault_proxy::{FaultProxy, Way};
pub use gateway::TestGateway;
pub use message::Message;
pub use raw::{RawClient, RawUpstream};
pub use upstream::{FakeUpstream, Reply};

/// A part that the test command installed and names by a variable of the environment. Tests are never skipped for want of one.
#[expect(clippy::disallowed_methods, reason = "the test command says here where it put the foreign parts")]
pub fn foreign_part(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set; `scripts/test` installs what the tests need and sets it"))
}

/// Whether every policy is made to wait.
#[expect(clippy::disallowed_methods, reason = "one switch for the whole suite")]
pub fn waiting() -> portolan::Waiting {
    match std::env::var("PORTOLAN_TEST_WAITING") {
        Ok(_) => portolan::Waiting::Forced,
        Err(_) => portolan::Waiting::WhereNeeded,
    }
}
