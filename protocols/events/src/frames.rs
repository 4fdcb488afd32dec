//! The frames of the native sub-protocol `portolan.events.v1`: each WebSocket text message is one JSON object with a
//! `type`, or from a client an array of such objects.
//!
//! [`command`] reads what clients say, [`answer`] writes what they are told, [`event`] writes events. `docs/events.md`
//! tells clients the same.

pub mod answer;
pub mod command;
pub mod event;

/// The name of the sub-protocol, as a client offers it in `Sec-WebSocket-Protocol`.
pub const NATIVE: &str = "portolan.events.v1";

pub use answer::Code;
pub use command::{Command, Deed, Publication, Refused};
