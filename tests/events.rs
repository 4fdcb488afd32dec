//! Events over the wire: sessions over WebSocket, publishing over HTTP, Kafka behind them.

mod access;
mod away;
mod document;
mod first_frame;
mod framing;
mod lifetime;
mod path;
mod slow;
mod stage;
