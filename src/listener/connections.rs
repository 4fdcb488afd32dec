//! All connections of a worker to clients, on whatever listener they came: those that have tasks, and those that are parked.

use std::io;
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::parking::{Parked, Parking};
use super::{Start, visit};
use crate::edge::admission::Entered;
use crate::metrics::{OpenConnection, WorkerMetrics};
use crate::wire::Turn;

/// All connections of a worker to clients.
pub struct Connections {
    tasks: TaskTracker,
    pub(super) parking: Rc<Parking>,
    /// Cancelled when the worker ends: no connection is accepted any more.
    pub stop: CancellationToken,
}

/// A connection's place among all others; dropping it makes room for the next.
pub struct Admitted {
    /// Among those of its listener and its address.
    pub(super) entered: Entered,
    // Among those that are open, for the metrics; and in the listener's queue.
    pub(super) _open: OpenConnection,
    pub(super) _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Connections {
    /// None yet. To be called on the worker's runtime.
    ///
    /// # Errors
    /// What the system says when it has no epoll for the parked ones.
    pub fn new(turn: &Turn, metrics: Rc<WorkerMetrics>, stop: CancellationToken) -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self { tasks: TaskTracker::new(), parking: Parking::open(turn, metrics)?, stop }))
    }

    /// Serves a connection in a task of its own.
    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + 'static) {
        self.tasks.spawn_local(connection);
    }

    fn take_up(&self, parked: Parked) {
        let Parked { door, stream, connection, idle, admitted } = parked;
        match TcpStream::from_std(stream) {
            Ok(stream) => self.spawn(visit(door, stream, admitted, Start::Parked(connection, idle))),
            // Its client finds it closed, and the request that it sent unanswered, as on any connection that ends while idle.
            Err(error) => self.parking.unwatched(&error),
        }
    }

    /// Takes up those that are parked when something arrives, for as long as the worker lives.
    pub async fn watch(self: Rc<Self>) {
        let parking = self.parking.clone();
        parking.drive(|parked| self.take_up(parked)).await;
    }

    /// No more come: closes those that are parked, and waits until the others have ended.
    pub async fn ended(&self) {
        self.parking.close();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many have tasks.
    pub fn under_way(&self) -> usize {
        self.tasks.len()
    }
}
