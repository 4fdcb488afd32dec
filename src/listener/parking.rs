//! Where connections wait that have been idle for a while: each holds a short record, and no task.
//!
//! A task with its place in the runtime takes some two kilobytes, which is much for a client that may never ask again. So a
//! connection on which nothing was asked for [`AFTER`] leaves its task, and one epoll for all of them tells when something arrives. Then
//! it gets a task again, and goes on as if it had waited in one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use portolan_exchange::Moment;
use portolan_exchange::client::Connection;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use slab::Slab;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::connections::Admitted;
use super::door::Door;
use super::http1::Idle;
use crate::metrics::WorkerMetrics;
use crate::wire::{Alarm, Turn, remember};

/// How long a connection waits in its task. To park it and to take it up costs a tenth of a request, at most four times a second; and
/// of a crowd that comes at once to stay, no more has tasks than came within this time.
const AFTER: Duration = Duration::from_millis(250);
// Connections that fell idle within so many nanoseconds (34 ms) are parked in one go, not each by a timer of its own.
const TOGETHER: u64 = 1 << 25;

// So many are taken up, or ended, before the worker looks at its other connections.
const TOGETHER_AT_MOST: usize = 256;

/// When a connection that falls idle now is parked.
pub fn due(now: Moment) -> Moment {
    Moment::from_nanos(now.after(AFTER).as_nanos() | (TOGETHER - 1))
}

/// The parked connections of a worker.
pub struct Parking {
    // What stands in it says which of the sockets has something to read, or was ended.
    epoll: AsyncFd<OwnedFd>,
    parked: RefCell<Slab<Box<Parked>>>,
    // When their time is over, by their places.
    ends: RefCell<BTreeSet<(Moment, usize)>>,
    next_end: Alarm,
    driver: RefCell<Option<Waker>>,
    is_closed: Cell<bool>,
    // The last one could not be parked or taken up.
    is_unwatched: Cell<bool>,
    metrics: Rc<WorkerMetrics>,
}

/// A connection that waits for its next request, of which nothing is here. Dropping it closes it.
pub struct Parked {
    /// The door it came through.
    pub door: Rc<Door>,
    /// Its socket, of which the runtime knows nothing.
    pub stream: TcpStream,
    /// Whose it is.
    pub connection: Connection,
    /// How it fell idle.
    pub idle: Idle,
    /// Its place among all connections.
    pub admitted: Admitted,
}

impl Parking {
    /// Nobody is parked yet. To be called on the worker's runtime.
    ///
    /// # Errors
    /// What the system says when it has no epoll for us.
    pub fn open(turn: &Turn, metrics: Rc<WorkerMetrics>) -> io::Result<Rc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe for handles that lie about themselves; this one is the system's own"
        )]
        let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
        Ok(Rc::new(Self {
            epoll,
            parked: RefCell::default(),
            ends: RefCell::default(),
            next_end: turn.alarms().alarm(),
            driver: RefCell::default(),
            is_closed: Cell::new(false),
            is_unwatched: Cell::new(false),
            metrics,
        }))
    }

    /// Parks a connection. Whatever has arrived meanwhile is seen: the epoll tells what is there, not what is new. Where the system
    /// watches no more sockets it is closed, as any idle connection may be.
    pub fn park(&self, parked: Parked) {
        if self.is_closed.get() {
            return;
        }
        let mut all = self.parked.borrow_mut();
        let place = all.vacant_entry();
        let key = place.key();
        let what = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        if let Err(error) = epoll::add(&self.epoll, &parked.stream, epoll::EventData::new_u64(key as u64), what) {
            self.unwatched(&error.into());
            return;
        }
        self.is_unwatched.set(false);
        let until = parked.idle.until;
        place.insert(Box::new(parked));
        self.metrics.parked(all.len());
        drop(all);
        let is_first = {
            let mut ends = self.ends.borrow_mut();
            ends.insert((until, key));
            ends.first() == Some(&(until, key))
        };
        if is_first && let Some(driver) = self.driver.borrow().as_ref() {
            driver.wake_by_ref();
        }
    }

    /// The system watches no more sockets: says so, once until it does again.
    pub fn unwatched(&self, error: &io::Error) {
        if !self.is_unwatched.replace(true) {
            tracing::warn!(%error, "the system watches no more sockets; idle connections are closed");
        }
    }

    /// Closes all of them, and whoever would be parked from now on: the worker is ending.
    pub fn close(&self) {
        self.is_closed.set(true);
        let all = std::mem::take(&mut *self.parked.borrow_mut());
        self.ends.take();
        self.metrics.parked(0);
        drop(all);
    }

    /// Hands those on which something arrived to `take_up`, and closes those whose time is over, for as long as the worker lives.
    pub async fn drive(self: Rc<Self>, mut take_up: impl FnMut(Parked)) {
        let mut events = Vec::with_capacity(TOGETHER_AT_MOST);
        std::future::poll_fn(|context| {
            remember(&self.driver, context);
            self.poll_arrivals(context, &mut events, &mut take_up);
            while self.poll_next_end(context).is_ready() {}
            Poll::<()>::Pending
        })
        .await;
    }

    fn poll_arrivals(
        &self,
        context: &mut Context<'_>,
        events: &mut Vec<epoll::Event>,
        take_up: &mut impl FnMut(Parked),
    ) {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        while let Poll::Ready(Ok(mut ready)) = self.epoll.poll_read_ready(context) {
            let count = match epoll::wait(&self.epoll, spare_capacity(events), Some(&now)) {
                Ok(count) => count,
                // Broken off by a signal: asked once more.
                Err(Errno::INTR) => {
                    context.waker().wake_by_ref();
                    return;
                }
                Err(error) => {
                    // Asked again when the next one is parked or something arrives.
                    tracing::error!(%error, "idle connections cannot be watched");
                    ready.clear_ready();
                    return;
                }
            };
            // Only an epoll that has told everything tells the runtime of more.
            let has_told_all = count < events.capacity();
            if has_told_all {
                ready.clear_ready();
            }
            for event in events.drain(..) {
                let key = usize::try_from(event.data.u64()).expect("a key is a place in memory");
                if let Some(parked) = self.leave(key) {
                    take_up(*parked);
                }
            }
            if !has_told_all {
                // The others after the tasks of these: a crowd that leaves at once has no tasks at once.
                context.waker().wake_by_ref();
                return;
            }
        }
    }

    /// Closes those whose time is over; ready when the next one's is as well.
    fn poll_next_end(&self, context: &mut Context<'_>) -> Poll<()> {
        let now = self.next_end.now();
        let mut left = TOGETHER_AT_MOST;
        loop {
            let first = self.ends.borrow().first().copied();
            match first {
                Some((until, _)) if until <= now && left == 0 => {
                    // The others after whoever is served meanwhile: a crowd that came at once ends at once.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some((until, key)) if until <= now => {
                    left -= 1;
                    drop(self.leave(key));
                }
                Some((until, _)) => {
                    self.next_end.set(until);
                    return self.next_end.poll(context);
                }
                None => {
                    self.next_end.clear();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Takes a connection out; the epoll forgets its socket.
    fn leave(&self, key: usize) -> Option<Box<Parked>> {
        let mut all = self.parked.borrow_mut();
        let parked = all.try_remove(key)?;
        self.metrics.parked(all.len());
        self.ends.borrow_mut().remove(&(parked.idle.until, key));
        epoll::delete(&self.epoll, &parked.stream).expect("whoever is parked is in the epoll");
        Some(parked)
    }
}
