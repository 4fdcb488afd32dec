//! A connection as a stream of bytes both ways, once another protocol has taken it over.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::Link;

/// What HTTP has left of a connection. Dropping it closes the connection.
pub struct Pipe(Rc<Link>);

impl Pipe {
    /// The stream of this connection; what was received beyond the last message is read first.
    pub fn new(link: Rc<Link>) -> Self {
        link.reading.clear();
        Self(link)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The head of the answer may still be on its way, and whoever only reads now is the one to see to it.
        if let Poll::Ready(error) = self.0.poll_trouble(context) {
            return Poll::Ready(Err(error));
        }
        if self.0.inflow().len() == 0 {
            return self.0.poll_read(context, room);
        }
        let mut inflow = self.0.inflow_mut();
        let count = inflow.len().min(room.remaining());
        room.put_slice(&inflow.bytes()[..count]);
        inflow.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // The head of the answer goes first.
        ready!(self.0.poll_drained(context))?;
        self.0.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_drained(context))?;
        self.0.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_drained(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_drained(context))?;
        self.0.shut_down();
        Poll::Ready(Ok(()))
    }
}
