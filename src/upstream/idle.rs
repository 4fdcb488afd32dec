//! Hears what happens on idle connections, the moment the system tells.
//!
//! While a connection is idle its socket holds a waker of the connection's own, its bell. A bell that rings puts its endpoint on
//! the worker's list and wakes the one task that looks at what is there. Nobody waits at a connection, and nothing is asked of the
//! system that it would not be asked anyway.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use portolan_http1::connection::{Calling, Surplus};
use tokio::task::coop::unconstrained;

use crate::wire::Link;

/// The bells of a worker's connections that have rung since somebody looked. Only the worker's own thread uses it; a waker must
/// be fit for any.
#[derive(Clone, Default)]
pub struct Bells(Arc<Mutex<Rung>>);

#[derive(Default)]
struct Rung {
    // An entry for each ring at most, and a bell rings once until somebody looks: bounded by the connections kept.
    endpoints: Vec<u64>,
    porter: Option<Waker>,
}

impl Bells {
    /// The endpoints at which a bell has rung since the last call. Whoever asks is woken by the next one.
    pub fn rung(&self, context: &Context<'_>) -> Vec<u64> {
        let mut rung = lock(&self.0);
        rung.porter = Some(context.waker().clone());
        let mut endpoints = std::mem::take(&mut rung.endpoints);
        endpoints.sort_unstable();
        endpoints.dedup();
        endpoints
    }
}

/// A connection to an endpoint, with its bell.
pub struct Connection {
    /// The connection.
    pub link: Rc<Link>,
    /// What was asked and answered on it.
    pub calling: Calling,
    bell: Arc<Bell>,
    // The bell once more, as a socket holds it.
    waker: Waker,
}

/// Rings when something may have happened on an idle connection.
struct Bell {
    endpoint: u64,
    has_rung: AtomicBool,
    bells: Bells,
}

/// What there is on a connection on which nothing has any business: bytes belong to no request, and its end is its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing; the bell rings when that changes.
    None,
    /// Bytes, or its end.
    Some,
}

impl Connection {
    /// This connection to this endpoint, of a worker with these bells.
    pub fn new(link: Rc<Link>, endpoint: u64, bells: &Bells) -> Self {
        let bell = Arc::new(Bell { endpoint, has_rung: AtomicBool::new(false), bells: bells.clone() });
        Self { link, calling: Calling::default(), waker: bell.clone().into(), bell }
    }

    /// The endpoint that it leads to.
    pub fn endpoint(&self) -> u64 {
        self.bell.endpoint
    }

    /// What is here behind the last answer.
    pub fn surplus(&self) -> Surplus {
        if self.link.inflow().len() > 0 { Surplus::Some } else { Surplus::None }
    }

    /// Looks whether anything comes, and lets the bell ring from now on.
    pub fn listen(&self) -> News {
        self.bell.has_rung.store(false, Ordering::Relaxed);
        // A task that has used up its share of the turn would be told that nothing is there, whatever is.
        let look = pin!(unconstrained(poll_fn(|context| self.link.poll_fill(context))));
        match look.poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => News::None,
            Poll::Ready(_) => News::Some,
        }
    }

    /// What was heard since the last look. Where the bell has rung it looks again: a runtime may wake whom nothing concerns.
    pub fn heard(&self) -> News {
        if self.bell.has_rung.load(Ordering::Relaxed) { self.listen() } else { News::None }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.has_rung.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut rung = lock(&self.bells.0);
        rung.endpoints.push(self.endpoint);
        if rung.endpoints.len() == 1
            && let Some(porter) = &rung.porter
        {
            porter.wake_by_ref();
        }
    }
}

fn lock(rung: &Mutex<Rung>) -> MutexGuard<'_, Rung> {
    rung.lock().unwrap_or_else(PoisonError::into_inner)
}
