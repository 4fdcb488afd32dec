//! Configuration: what an operator wrote ([`Document`]), checked and resolved into what the gateway is made of
//! ([`Snapshot`]), with every problem told at once by place and hint ([`Diagnostics`]).
//!
//! [`load`] is the one door to the disk, and the environment is a function the caller passes in; nothing here reads a
//! clock, a variable or a socket.

pub mod diagnostic;
mod reference;
pub mod secret;
pub mod snapshot;
pub mod tree;

pub use diagnostic::{Diagnostic, Diagnostics, Place, Severity};
pub use secret::Secret;
pub use snapshot::Snapshot;
pub use tree::Tree;
