//! One TCP connection of a worker: what was received and not taken, what waits to be sent, and until when.
//!
//! Short sends are put off to the end of the turn, so that a burst of messages is read, handled and sent as three runs of the same
//! work instead of one long zigzag; what does not fit into the system's buffer then is sent when there is room.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::alarms::{Alarm, remember};
use super::inflow::Inflow;
use super::outflow::{Outflow, State};
use super::socket;
use super::turn::Turn;
use crate::edge::admission::File;

/// What may wait to be sent before whoever makes more of it waits, too.
pub const HIGH_WATER: usize = 128 * 1024;

// What is this long or longer is sent at once: at the end of the turn it would have left the processor's nearest caches, behind
// all that was read meanwhile.
const MUCH: usize = 4 * 1024;

/// One TCP connection of a worker.
pub struct Link {
    stream: TcpStream,
    inflow: RefCell<Inflow>,
    outflow: RefCell<Outflow>,
    // Whoever wants to know that nothing waits any more, or that it cannot be sent.
    watcher: RefCell<Option<Waker>>,
    watched: Cell<Watched>,
    turn: Rc<Turn>,
    // What it takes of the process's files, where nobody else has it.
    file: Cell<Option<File>>,
    /// Until when something must have arrived.
    pub reading: Alarm,
    /// Until when something must have been taken.
    pub writing: Alarm,
}

/// Why the other end did not take what was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// The connection takes nothing any more.
    Broken,
    /// Nothing was taken for too long.
    Stalled,
}

/// What the watcher of the outflow waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watched {
    Trouble,
    Drained,
}

impl Link {
    /// A connection that was accepted or opened.
    pub fn new(stream: TcpStream, turn: &Rc<Turn>) -> Rc<Self> {
        Rc::new(Self {
            stream,
            inflow: RefCell::default(),
            outflow: RefCell::default(),
            watcher: RefCell::default(),
            watched: Cell::new(Watched::Trouble),
            reading: turn.alarms().alarm(),
            writing: turn.alarms().alarm(),
            turn: turn.clone(),
            file: Cell::new(None),
        })
    }

    /// Keeps its place among the open files for as long as it lives.
    pub fn keep(&self, file: File) {
        self.file.set(Some(file));
    }

    /// What was received and not taken.
    pub fn inflow(&self) -> Ref<'_, Inflow> {
        self.inflow.borrow()
    }

    /// What was received and not taken, to take of it. Never held across a wait.
    pub fn inflow_mut(&self) -> RefMut<'_, Inflow> {
        self.inflow.borrow_mut()
    }

    /// Waits for more bytes and reads them once: their number, 0 at the end. No buffer is taken before they are there.
    pub fn poll_fill(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_receive(context, || self.inflow.borrow_mut().fill(|room| socket::read(&self.stream, room)))
    }

    /// Reads once what is there already, whatever the runtime knows of it: its number, 0 at the end.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::WouldBlock`] when nothing is there.
    pub fn fill_at_once(&self) -> io::Result<usize> {
        self.inflow.borrow_mut().fill(|room| socket::read_at_once(&self.stream, room))
    }

    /// Queues a head; its buffer comes from [`buffers::head`](super::buffers::head) and goes back there.
    pub fn queue_head(&self, head: Vec<u8>) {
        self.outflow.borrow_mut().queue_head(head);
    }

    /// Queues bytes behind what waits already.
    pub fn queue_bytes(&self, bytes: Bytes) {
        self.outflow.borrow_mut().queue_bytes(bytes);
    }

    /// Queues a chunk of a chunked body. Small ones are gathered, however many there are: what waits takes hardly more memory than
    /// it has bytes.
    pub fn queue_chunk(&self, data: Bytes) {
        self.outflow.borrow_mut().queue_chunk(data);
    }

    /// How many bytes wait to be sent.
    pub fn waiting(&self) -> usize {
        self.outflow.borrow().len()
    }

    /// Lets what is queued be sent at the end of the turn; at once where it is much.
    pub fn defer(self: &Rc<Self>) {
        {
            let mut outflow = self.outflow.borrow_mut();
            if outflow.state != State::Open || outflow.is_empty() {
                return;
            }
            if outflow.len() >= MUCH {
                outflow.write(&self.stream);
                return;
            }
            outflow.state = State::Deferred;
        }
        self.turn.defer(self);
    }

    /// Sends what was put off, at the end of the turn.
    pub(super) fn send_deferred(&self) {
        let state = {
            let mut outflow = self.outflow.borrow_mut();
            if outflow.state == State::Deferred {
                outflow.state = State::Open;
                outflow.write(&self.stream);
            }
            outflow.state
        };
        if state != State::Open || self.watched.get() == Watched::Drained {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(watcher) = self.watcher.borrow_mut().take() {
            watcher.wake();
        }
    }

    /// Waits until everything queued is sent, and sends it now if it was not.
    pub fn poll_drained(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outflow = self.outflow.borrow_mut();
        if outflow.state == State::Deferred {
            outflow.state = State::Open;
        }
        loop {
            match outflow.state {
                State::Failed(kind) => return Poll::Ready(Err(kind.into())),
                State::Open if outflow.is_empty() => return Poll::Ready(Ok(())),
                State::Open | State::Deferred => outflow.write(&self.stream),
                State::Blocked => {
                    if self.stream.poll_write_ready(context)?.is_pending() {
                        self.watched.set(Watched::Drained);
                        remember(&self.watcher, context);
                        return Poll::Pending;
                    }
                    outflow.state = State::Open;
                }
            }
        }
    }

    /// As [`Link::poll_drained`], as long as the other end takes something at all within `stall`.
    pub fn poll_taken(&self, context: &mut Context<'_>, stall: Duration) -> Poll<Result<(), NotTaken>> {
        let before = self.waiting();
        if let Poll::Ready(drained) = self.poll_drained(context) {
            self.writing.clear();
            return Poll::Ready(drained.map_err(|_| NotTaken::Broken));
        }
        if self.waiting() < before || !self.writing.is_set() {
            self.writing.set(self.writing.now().after(stall));
        }
        self.writing.poll(context).map(|()| Err(NotTaken::Stalled))
    }

    /// Ready with an error as soon as what is queued cannot be sent; what can be is sent meanwhile.
    pub fn poll_trouble(&self, context: &mut Context<'_>) -> Poll<io::Error> {
        let state = self.outflow.borrow().state;
        match state {
            State::Open => Poll::Pending,
            State::Deferred => {
                self.watched.set(Watched::Trouble);
                remember(&self.watcher, context);
                Poll::Pending
            }
            State::Blocked | State::Failed(_) => match ready!(self.poll_drained(context)) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(error),
            },
        }
    }

    /// Reads past what was received, straight into the reader's room.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = ready!(self.poll_receive(context, || socket::read(&self.stream, room.initialize_unfilled())))?;
        room.advance(count);
        Poll::Ready(Ok(()))
    }

    /// Reads once something is there.
    #[inline]
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        mut read: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match read() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Writes as much as the system takes, past the queue, which is empty.
    pub(super) fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, || socket::write(&self.stream, bytes))
    }

    /// Writes as much as the system takes, past the queue, which is empty.
    pub(super) fn poll_write_vectored(
        &self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, || socket::write_vectored(&self.stream, parts))
    }

    /// Writes once; waits for room only where there is none.
    fn poll_send(&self, context: &mut Context<'_>, write: impl Fn() -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(context))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Tells the other end that nothing more will be sent.
    pub fn shut_down(&self) {
        // An error means that there is nobody to tell any more.
        let _ = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
    }

    /// Whether nothing of it is here or waits to be sent, and nobody else holds it.
    pub fn is_at_rest(self: &Rc<Self>) -> bool {
        let outflow = self.outflow.borrow();
        let sent = outflow.is_empty() && outflow.state == State::Open;
        sent && self.inflow().len() == 0 && Rc::strong_count(self) == 1
    }

    /// Lets go of the connection: the stream and what was received of it. Only its last holder can.
    pub fn into_stream(self: Rc<Self>) -> Option<(TcpStream, Vec<u8>)> {
        let link = Rc::into_inner(self)?;
        Some((link.stream, link.inflow.into_inner().bytes().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::SystemTime;

    use portolan_exchange::{Clock, Worker};

    use super::*;

    /// A connection, and its other end.
    async fn pair() -> (Rc<Link>, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let other = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let turn = Turn::of(&Worker::new(0, Clock::manual(SystemTime::UNIX_EPOCH)));
        (Link::new(TcpStream::from_std(stream).unwrap(), &turn), other)
    }

    #[actix_rt::test]
    async fn a_connection_is_not_at_rest_while_its_client_has_not_taken_what_was_sent() {
        let (link, mut other) = pair().await;
        assert!(link.is_at_rest());
        let size = 64 * 1024 * 1024;
        link.queue_bytes(vec![b'x'; size].into());
        assert!(!link.is_at_rest());
        let reading = std::thread::spawn(move || {
            let mut received = vec![0; size];
            other.read_exact(&mut received).map(|()| other)
        });
        std::future::poll_fn(|context| {
            assert!(!link.is_at_rest());
            link.poll_drained(context)
        })
        .await
        .unwrap();
        assert!(link.is_at_rest());
        let _other = reading.join().unwrap().unwrap();
        let held = link.clone();
        assert!(!link.is_at_rest());
        drop(held);
        assert!(link.is_at_rest());
    }

    #[actix_rt::test]
    async fn a_connection_is_not_at_rest_while_something_of_it_is_unread() {
        use std::io::Write;
        let (link, mut other) = pair().await;
        assert_eq!(link.fill_at_once().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(link.is_at_rest());
        other.write_all(b"abc").unwrap();
        std::future::poll_fn(|context| link.stream.poll_read_ready(context)).await.unwrap();
        assert_eq!(link.fill_at_once().unwrap(), 3);
        assert!(!link.is_at_rest());
        link.inflow_mut().consume(3);
        assert!(link.is_at_rest());
        drop(other);
        std::future::poll_fn(|context| link.stream.poll_read_ready(context)).await.unwrap();
        assert_eq!(link.fill_at_once().unwrap(), 0);
    }
}
