//! Connections as a worker holds them: received bytes and bytes to be sent, time-outs, and the end of the turn. What HTTP/2's
//! library needs of our messages stands in [`library`].

mod alarms;
pub mod buffers;
pub mod content;
mod hop;
mod inflow;
pub mod library;
mod link;
mod outflow;
mod pipe;
mod socket;
mod turn;

pub use alarms::{Alarm, remember};
pub use hop::{Named, Upgrades, strip_hop};
pub use link::{HIGH_WATER, Link, NotTaken};
pub use pipe::Pipe;
pub use turn::Turn;
