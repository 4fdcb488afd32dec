//! Events over the wire: sessions over WebSocket, publishing over HTTP, Kafka behind them.

mod access;
mod away;
mod document;
mod framing;
mod lifetime;
mod path;
mod slow;
mod stage;
