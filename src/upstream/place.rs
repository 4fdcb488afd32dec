//! A call's place: its seat at the service, and the pool that its connection comes from and goes back to.

use std::rc::Rc;
use std::time::Duration;

use portolan_config::snapshot::Upstream;
use portolan_exchange::{Moment, Worker};

use super::endpoint::Endpoint;
use super::idle::Connection;
use super::pool::Pools;
use super::seats::Seat;
use crate::wire::Link;

/// A call's place, from before it has a connection until its answer was read.
pub struct Place {
    seat: Seat,
    pools: Rc<Pools>,
    endpoint: u64,
    // How many idle connections of the endpoint a worker keeps, and for how long.
    kept: usize,
    idle: Duration,
}

impl Place {
    /// The place of a call that has this seat, at this endpoint of a service with these settings.
    pub fn new(seat: Seat, worker: &Worker, endpoint: &Endpoint, settings: &Upstream) -> Self {
        let (kept, idle) = (settings.pool.idle_per_worker, settings.timeouts.idle);
        Self { seat, pools: worker.local(Pools::default), endpoint: endpoint.id, kept, idle }
    }

    /// A connection that was kept, if there is one.
    pub fn kept(&self, now: Moment) -> Option<Connection> {
        self.pools.take(self.endpoint, now)
    }

    /// A connection that was just opened.
    pub fn fresh(&self, link: Rc<Link>) -> Connection {
        self.pools.fresh(self.endpoint, link)
    }

    /// The call is over and its connection fit for another, which may follow at once: first it is put back, then the seat is free.
    pub fn leave(self, connection: Connection) {
        let until = connection.link.reading.now().after(self.idle);
        self.pools.keep(connection, until, self.kept);
        drop(self.seat);
    }

    /// The connection will never come back; the seat is its own.
    pub fn into_seat(self) -> Seat {
        self.seat
    }
}
