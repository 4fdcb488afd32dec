//! What others hold of an actor: a reference that outlives its restarts, and the hold that keeps it alive.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use arc_swap::ArcSwapOption;

use super::registry::{Cell, Registry, Status};

/// A stable reference to an actor that may be restarted. Cheap to clone; only sends what may be lost.
pub struct Ref<A: Actor>(Arc<Shared<A>>);

struct Shared<A: Actor> {
    // One address shared by all: each clone of an address would add a slot to the mailbox's bound.
    address: ArcSwapOption<Addr<A>>,
    dropped: Arc<AtomicU64>,
}

impl<A: Actor> Ref<A> {
    /// A reference to an actor that is yet to be started.
    pub fn new() -> Self {
        Self(Arc::new(Shared { address: ArcSwapOption::empty(), dropped: Arc::default() }))
    }

    /// Tells the actor, unless its mailbox is full or it is down: then the message is dropped and counted. Whether it was
    /// taken. A message that was taken is still lost if the actor panics before its turn.
    pub fn try_send<M>(&self, message: M) -> bool
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let address = self.0.address.load();
        let taken = address.as_ref().is_some_and(|address| address.try_send(message).is_ok());
        if !taken {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// How many messages were dropped.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        self.0.dropped.clone()
    }

    pub(crate) fn publish(&self, address: Addr<A>) {
        self.0.address.store(Some(Arc::new(address)));
    }

    pub(crate) fn withdraw(&self) {
        self.0.address.store(None);
    }
}

impl<A: Actor> Clone for Ref<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Actor> Default for Ref<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Actor> fmt::Debug for Ref<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = self.0.address.load().is_some();
        f.debug_struct("Ref").field("up", &up).field("dropped", &self.dropped()).finish()
    }
}

/// Holds an actor: dropping it stops the actor and takes it out of the registry.
pub struct Supervised {
    cell: Arc<Cell>,
    registry: Arc<Registry>,
}

impl Supervised {
    pub(crate) fn new(cell: Arc<Cell>, registry: Arc<Registry>) -> Self {
        Self { cell, registry }
    }

    /// The actor's name in the registry: kind and subject, as in `breaker/orders`.
    pub fn name(&self) -> &str {
        &self.cell.name
    }

    /// How it fares.
    pub fn status(&self) -> Status {
        self.cell.status()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.registry.leave(&self.cell);
    }
}

impl fmt::Debug for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervised({}, {})", self.name(), self.status().as_str())
    }
}
