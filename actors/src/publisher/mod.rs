//! Publishes to a broker within a bound, and sees records through whose senders have gone.
//!
//! Whoever publishes polls its own future, on its own worker: no hop to another thread, and nobody who waits depends on
//! the actor. The actor takes over what is left when a sender goes away, so that the bound counts what is truly on its way.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::ActorFutureExt as _;
use actix::{Actor, AsyncContext as _, Context, Handler, Message, WrapFuture as _};
use portolan_exchange::Clock;
use portolan_exchange::events::{Broker, BrokerError};
use tracing::{info, warn};

use crate::supervision::{Charge, Control, Kind, Ref};

mod handle;
mod machine;

pub use handle::Publisher;

use handle::{OnItsWay, View};

/// Records that may be on their way at a time, unless told otherwise: some ten megabytes of usual events.
pub const IN_FLIGHT: usize = 10_000;

// An orphan that the broker never answers frees its place after this; brokers give up on a record within 30 s themselves.
const ORPHANED: Duration = Duration::from_secs(60);

impl Publisher {
    /// Starts to publish to this broker, at most `bound` records at a time; the actor is named `publisher/BROKER`.
    pub fn start(control: &Control, broker: Arc<dyn Broker>, bound: usize) -> Self {
        let reference = Ref::new();
        let name = broker.name().to_owned();
        let view = View::new(broker, bound, reference.clone());
        let described = view.clone();
        // As many as can be on their way can be orphaned in one burst, when a listener closes its connections.
        let charge = Charge::new(Kind::Publisher, &name, move || described.describe()).mailbox(bound.max(1));
        let (clock, served) = (control.clock().clone(), view.clone());
        let actor = control.spawn(charge, &reference, move || Clerk { view: served.clone(), clock: clock.clone() });
        Self { view, _actor: actor }
    }
}

/// The actor: sees orphans through, and tells when the broker goes and comes.
pub(crate) struct Clerk {
    view: Arc<View>,
    clock: Clock,
}

impl Actor for Clerk {
    type Context = Context<Self>;
}

/// A record whose sender does not wait for it any more.
pub(crate) struct Orphan(OnItsWay);

impl Message for Orphan {
    type Result = ();
}

impl Handler<Orphan> for Clerk {
    type Result = ();

    fn handle(&mut self, Orphan(on_its_way): Orphan, context: &mut Self::Context) {
        let clock = self.clock.clone();
        let seen_through = async move { clock.timeout(ORPHANED, on_its_way).await };
        context.spawn(seen_through.into_actor(self).map(|outcome, clerk, _| match outcome {
            Ok(outcome) => clerk.view.count(&outcome),
            Err(_) => clerk.view.count(&Err(BrokerError::Unavailable("no answer within its time".into()))),
        }));
    }
}

/// The broker changed.
pub(crate) enum News {
    /// It takes nothing any more.
    Lost(BrokerError),
    /// It takes records again.
    Returned,
}

impl Message for News {
    type Result = ();
}

impl Handler<News> for Clerk {
    type Result = ();

    fn handle(&mut self, news: News, _: &mut Self::Context) {
        let broker = self.view.broker.name();
        match news {
            News::Lost(error) => warn!(broker, %error, "publisher lost its broker"),
            News::Returned => info!(broker, "publisher has its broker again"),
        }
    }
}

#[cfg(test)]
mod tests;
