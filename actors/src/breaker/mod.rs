//! Stops calling an upstream that keeps failing, and tries again after a pause.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context, Handler, Message};
use portolan_exchange::Clock;
use tracing::info;

use crate::supervision::{Charge, Control, Kind, Ref, every};

mod handle;
mod machine;

pub use handle::{Breaker, Open, Permit};
pub use machine::{Counts, Settings, State, Verdict};

use handle::View;
use machine::Event;

impl Breaker {
    /// Starts a closed breaker for this upstream; its actor is named `breaker/UPSTREAM`.
    pub fn start(control: &Control, upstream: &str, settings: Settings) -> Self {
        let reference = Ref::new();
        let clock = control.clock().clone();
        let view = View::new(upstream.into(), clock.clone(), settings, reference.clone());
        let described = view.clone();
        let charge = Charge::new(Kind::Breaker, upstream, move || described.describe());
        let watched = view.clone();
        let actor = control.spawn(charge, &reference, move || Warden { view: watched.clone(), clock: clock.clone() });
        Self { view, _actor: actor }
    }
}

// How soon a change that only time brings is seen by those who look: the console, a metric. A call sees it at once.
const TURN: Duration = Duration::from_secs(1);

/// The actor: moves its breaker on with time, and tells of its changes.
pub(crate) struct Warden {
    view: Arc<View>,
    clock: Clock,
}

impl Actor for Warden {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.spawn(every(&self.clock, TURN, |warden: &mut Self, _| warden.turn()));
    }
}

impl Warden {
    fn turn(&self) {
        let now = self.clock.now();
        self.view.change(Event::Asked, now);
        self.view.tidy(now);
    }
}

/// The breaker changed to this state.
pub(crate) struct Changed(State);

impl Message for Changed {
    type Result = ();
}

impl Handler<Changed> for Warden {
    type Result = ();

    fn handle(&mut self, Changed(state): Changed, _: &mut Self::Context) {
        let upstream: &str = self.view.upstream();
        match state {
            State::Open { .. } => info!(upstream, "breaker opened"),
            State::HalfOpen => info!(upstream, "breaker half open"),
            State::Closed => info!(upstream, "breaker closed"),
        }
    }
}

#[cfg(test)]
mod tests;
