//! Events: AsyncAPI channels over WebSocket sessions and HTTP publishing.
//!
//! [`contract`] reads an AsyncAPI document into channels, [`frames`] are the words of the native sub-protocol, [`session`]
//! is one client's connection as a pure machine. [`inbound`] brings them to clients, [`outbound`] to the broker's side.

#![deny(missing_docs)]

pub mod contract;
pub mod frames;
pub mod inbound;
pub mod outbound;
pub mod session;

pub use contract::{Channel, Contract};
pub use inbound::Events;
pub use outbound::{Channels, Topics};
pub use session::Settings;
