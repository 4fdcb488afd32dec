//! Speaks the framing of WebSocket (RFC 6455) and knows nothing of sockets: bytes in, messages out, and the reverse.
//!
//! [`Decoder`] is fed bytes as they arrive and yields whole messages and control frames; it keeps every rule of
//! RFC 6455, section 5, and answers a breach with the close code that section 7.4.1 names. [`frame`] builds frames to
//! send. [`handshake`] checks the opening request and computes the answer.
//!
//! There is no permessage-deflate: no extension is offered, so a reserved bit is a breach.

#![deny(missing_docs)]

mod close;
mod decoder;
pub mod frame;
pub mod handshake;

pub use close::{Close, Code};
pub use decoder::{Breach, Decoder, Limits, Message, Role};
