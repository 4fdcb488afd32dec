//! A worker's idle connections, last in first out: the connection used last is the one most likely to be warm and alive.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::task::Poll;

use portolan_exchange::Moment;

use super::idle::{Bells, Connection, News};
use crate::wire::Link;

/// The idle connections of one worker, by endpoint.
#[derive(Default)]
pub struct Pools {
    idle: RefCell<HashMap<u64, Vec<Idle>, BuildHasherDefault<Spread>>>,
    bells: Bells,
}

/// Spreads numbers of our own making, which nobody else chooses.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

struct Idle {
    connection: Connection,
    until: Moment,
}

impl Idle {
    fn is_usable(&self, now: Moment) -> bool {
        self.until > now && self.connection.heard() == News::None
    }
}

impl Pools {
    /// A connection of this worker that was just opened.
    pub fn fresh(&self, endpoint: u64, link: Rc<Link>) -> Connection {
        Connection::new(link, endpoint, &self.bells)
    }

    /// The connection used last that is still open and was not idle for too long.
    pub fn take(&self, endpoint: u64, now: Moment) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = idle.get_mut(&endpoint)?;
        while let Some(last) = of_endpoint.pop() {
            if last.is_usable(now) {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection until that moment, unless `bound` of its endpoint are kept already; then the oldest goes. One on which
    /// something is there is closed.
    pub fn keep(&self, connection: Connection, until: Moment, bound: usize) {
        if bound == 0 || connection.listen() == News::Some {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = idle.entry(connection.endpoint()).or_default();
        if of_endpoint.len() >= bound {
            of_endpoint.remove(0);
        }
        of_endpoint.push(Idle { connection, until });
    }

    /// Closes connections the moment something arrives on them, for as long as the worker lives.
    pub async fn watch(self: Rc<Self>) {
        poll_fn(|context| {
            for endpoint in self.bells.rung(context) {
                if let Some(of_endpoint) = self.idle.borrow_mut().get_mut(&endpoint) {
                    of_endpoint.retain(|kept| kept.connection.heard() == News::None);
                }
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Closes what was idle for too long, and forgets endpoints to which nothing is kept: also those that left the plan.
    pub fn sweep(&self, now: Moment) {
        self.idle.borrow_mut().retain(|_, of_endpoint| {
            of_endpoint.retain(|kept| kept.is_usable(now));
            !of_endpoint.is_empty()
        });
    }
}
