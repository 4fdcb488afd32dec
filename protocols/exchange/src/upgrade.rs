//! Upgrades give a byte stream, of the same kind whatever carried it.

use std::fmt;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::LocalBoxFuture;

/// A connection after its upgrade: bytes both ways.
pub type ByteStream = Pin<Box<dyn Duplex>>;

/// What can be read and written.
pub trait Duplex: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite + ?Sized> Duplex for T {}

/// A client's wish to speak another protocol on its connection, as the listener's driver keeps it.
pub trait Upgrading: fmt::Debug {
    /// The protocol asked for, lowercase: `websocket`.
    fn protocol(&self) -> &str;
}

/// What is to run on the connection once the head of the response is sent. Dropping it closes the connection.
pub struct Tunnel(Box<dyn FnOnce(ByteStream) -> LocalBoxFuture<'static, ()>>);

impl Tunnel {
    /// A tunnel that runs this future on the worker of its connection.
    pub fn new<F>(run: F) -> Self
    where
        F: FnOnce(ByteStream) -> LocalBoxFuture<'static, ()> + 'static,
    {
        Self(Box::new(run))
    }

    /// Hands over the connection. The future ends when the session does; dropping it closes the connection.
    pub fn run(self, stream: ByteStream) -> LocalBoxFuture<'static, ()> {
        (self.0)(stream)
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}
