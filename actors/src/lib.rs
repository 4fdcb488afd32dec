//! Supervised actors: owners of state that changes over time.
//!
//! The request path reads a view and never waits for a mailbox; the actor behind it decides, evicts, probes and publishes.
//! Views outlive the restarts of their actors. Each actor is three files: `machine.rs` decides and is pure, `mod.rs` is the
//! actor around it, `handle.rs` is what others hold. Begin with [`supervision`].

pub mod breaker;
pub mod health;
pub mod limiter;
pub mod publisher;
pub mod shard;
pub mod supervision;
pub mod topic;
pub mod watch;

#[cfg(test)]
mod fake_broker;
#[cfg(test)]
mod testing;

pub use supervision::{Control, Kind, Ref, Registry, Restarts, Status, Supervised};
