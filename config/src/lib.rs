//! Configuration: what an operator wrote ([`Document`]), checked and resolved into what the gateway is made of
//! ([`Snapshot`]), with every problem told at once by place and hint ([`Diagnostics`]).
//!
//! [`load`] is the one door to the disk, and the environment is a function the caller passes in; nothing here reads a
//! clock, a variable or a socket.

pub mod diagnostic;
mod diff;
pub mod document;
mod load;
mod near;
mod reader;
mod reference;
mod resolve;
mod schema;
mod secret;
mod setting;
pub mod snapshot;
mod table;
pub mod tree;

pub use diagnostic::{Diagnostic, Diagnostics, Place, Severity};
pub use diff::{Changed, Changes, diff};
pub use document::Document;
pub use load::{Disk, load, load_from, load_with_files};
pub use reader::Placed;
pub use reference::Env;
pub use schema::schema;
pub use secret::Secret;
pub use snapshot::Snapshot;
pub use tree::Tree;
