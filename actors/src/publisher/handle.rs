//! What the request path holds of a publisher: a bound, and futures that need no actor to complete.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use portolan_exchange::Fault;
use portolan_exchange::events::{Broker, BrokerError, Placed, Record};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::machine::{Decision, Event, Machine};
use super::{Clerk, News, Orphan};
use crate::supervision::{Ref, Supervised, lock};

/// Publishes to one broker on behalf of exchanges. So many records are on their way at a time and no more: beyond the bound
/// a record is refused at once.
#[derive(Debug)]
pub struct Publisher {
    pub(super) view: Arc<View>,
    pub(super) _actor: Supervised,
}

impl Publisher {
    /// Records the broker took since the start.
    pub fn placed_total(&self) -> u64 {
        self.view.placed.load(Ordering::Relaxed)
    }

    /// Records the broker did not take since the start.
    pub fn failed_total(&self) -> u64 {
        self.view.failed.load(Ordering::Relaxed)
    }

    /// Records refused since the start because too many were on their way.
    pub fn refused_total(&self) -> u64 {
        self.view.refused.load(Ordering::Relaxed)
    }

    /// Records on their way now.
    pub fn in_flight(&self) -> usize {
        self.view.in_flight()
    }
}

impl portolan_exchange::events::Publisher for Publisher {
    fn publish(&self, topic: &str, record: Record) -> BoxFuture<'static, Result<Placed, Fault>> {
        let view = &self.view;
        let Ok(permit) = view.room.clone().try_acquire_owned() else {
            view.refused.fetch_add(1, Ordering::Relaxed);
            return std::future::ready(Err(BrokerError::Full.fault())).boxed();
        };
        let placing = view.broker.publish(topic, record);
        Box::pin(Waiting { view: view.clone(), on_its_way: Some(OnItsWay { placing, _permit: permit }) })
    }
}

/// A record on its way to the broker, and its place within the bound.
pub(super) struct OnItsWay {
    placing: BoxFuture<'static, Result<Placed, BrokerError>>,
    _permit: OwnedSemaphorePermit,
}

impl Future for OnItsWay {
    type Output = Result<Placed, BrokerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.placing.as_mut().poll(context)
    }
}

/// Waits for a record. Dropped before the end it leaves the record to the actor: the broker gets it all the same, and its
/// place within the bound is taken until then.
struct Waiting {
    view: Arc<View>,
    on_its_way: Option<OnItsWay>,
}

impl Future for Waiting {
    type Output = Result<Placed, Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let on_its_way = self.on_its_way.as_mut().expect("what waits is not polled after its end");
        let outcome = ready!(Pin::new(on_its_way).poll(context));
        self.on_its_way = None;
        self.view.count(&outcome);
        Poll::Ready(outcome.map_err(|error| error.fault()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(on_its_way) = self.on_its_way.take() {
            // Without an actor nobody goes on to wait; what the broker's client has taken it sends by itself.
            self.view.actor.try_send(Orphan(on_its_way));
        }
    }
}

/// What is known of a publisher, apart from its actor, which it outlives.
pub(super) struct View {
    pub(super) broker: Arc<dyn Broker>,
    bound: usize,
    room: Arc<Semaphore>,
    machine: Mutex<Machine>,
    placed: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    actor: Ref<Clerk>,
}

impl View {
    pub(super) fn new(broker: Arc<dyn Broker>, bound: usize, actor: Ref<Clerk>) -> Arc<Self> {
        Arc::new(Self {
            broker,
            bound,
            room: Arc::new(Semaphore::new(bound)),
            machine: Mutex::default(),
            placed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            actor,
        })
    }

    fn in_flight(&self) -> usize {
        self.bound - self.room.available_permits()
    }

    pub(super) fn count(&self, outcome: &Result<Placed, BrokerError>) {
        let (counter, event) = match outcome {
            Ok(_) => (&self.placed, Event::Placed),
            Err(error) if error.is_temporary() => (&self.failed, Event::NotTaken),
            Err(_) => (&self.failed, Event::Refused),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        // Held for a comparison and an increment, once per record that crossed the network.
        let decision = lock(&self.machine).observe(event);
        match (decision, outcome) {
            (Decision::Lost, Err(error)) => self.actor.try_send(News::Lost(error.clone())),
            (Decision::Returned, _) => self.actor.try_send(News::Returned),
            _ => true,
        };
    }

    pub(super) fn describe(&self) -> Value {
        json!({
            "broker": self.broker.name(),
            "state": if lock(&self.machine).is_lost() { "away" } else { "publishing" },
            "in_flight": self.in_flight(),
            "bound": self.bound,
            "placed": self.placed.load(Ordering::Relaxed),
            "failed": self.failed.load(Ordering::Relaxed),
            "refused": self.refused.load(Ordering::Relaxed),
        })
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({}, {} of {})", self.broker.name(), self.in_flight(), self.bound)
    }
}
