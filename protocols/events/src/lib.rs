//! Events: AsyncAPI channels over WebSocket sessions and HTTP publishing.
//!
//! [`contract`] reads an AsyncAPI document into channels, [`frames`] are the words of the native sub-protocol, and
//! [`session`] is one client's connection as a pure machine.

#![deny(missing_docs)]

pub mod contract;
pub mod frames;
pub mod session;
