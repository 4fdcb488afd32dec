//! Passes bytes both ways between a client and an upstream, once both speak another protocol.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use portolan_exchange::Moment;
use portolan_exchange::exchange::Bytes;
use portolan_exchange::upgrade::{ByteStream, Tunnel};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::seats::Seat;
use crate::wire::{Link, Pipe};

/// Passes on what either side sends until one of them has ended, or neither has sent anything for `idle`.
pub fn tunnel(link: Rc<Link>, seat: Seat, idle: Duration, counters: Rc<Bytes>) -> Tunnel {
    Tunnel::new(move |client| {
        Box::pin(async move {
            relay(client, link, idle, counters).await;
            drop(seat);
        })
    })
}

async fn relay(client: ByteStream, link: Rc<Link>, idle: Duration, counters: Rc<Bytes>) {
    let moved = Rc::new(Cell::new(link.reading.now()));
    let mut upstream = Noting { pipe: Pipe::new(link.clone()), moved: moved.clone(), link: link.clone(), counters };
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(&mut upstream);
    // Neither protocol that is passed through has a use for half a connection: when one side has ended, so has the other.
    let both = async {
        tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_upstream) => {}
            _ = tokio::io::copy(&mut from_upstream, &mut to_client) => {}
        }
        let _ = to_client.shutdown().await;
        let _ = to_upstream.shutdown().await;
    };
    let quiet = std::future::poll_fn(|context| poll_quiet(&link, &moved, idle, context));
    tokio::select! {
        biased;
        // Whoever broke off, the other one is told by the end of its connection.
        () = both => {}
        () = quiet => tracing::debug!("tunnel was quiet for too long"),
    }
}

fn poll_quiet(link: &Link, moved: &Cell<Moment>, idle: Duration, context: &mut Context<'_>) -> Poll<()> {
    loop {
        // Moved on only when it is met: bytes that pass write a cell and no more.
        link.reading.set(moved.get().after(idle));
        std::task::ready!(link.reading.poll(context));
        if link.reading.now() >= moved.get().after(idle) {
            return Poll::Ready(());
        }
    }
}

/// The upstream's side of a tunnel, noting when something passed.
struct Noting {
    pipe: Pipe,
    moved: Rc<Cell<Moment>>,
    link: Rc<Link>,
    counters: Rc<Bytes>,
}

impl Noting {
    fn note<T>(&self, passed: Poll<T>) -> Poll<T> {
        if passed.is_ready() {
            self.moved.set(self.link.reading.now());
        }
        passed
    }
}

impl AsyncRead for Noting {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        let read = Pin::new(&mut self.pipe).poll_read(context, room);
        let sent = &self.counters.sent;
        sent.set(sent.get() + (room.filled().len() - before) as u64);
        self.note(read)
    }
}

impl AsyncWrite for Noting {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.pipe).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            let received = &self.counters.received;
            received.set(received.get() + *count as u64);
        }
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}
