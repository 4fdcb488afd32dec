//! Counts who did how much: buckets of limits, and clears away those nobody needs.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::ActorFutureExt as _;
use actix::{Actor, AsyncContext as _, Context, WrapFuture as _};
use portolan_exchange::Clock;
use tracing::{debug, warn};

use crate::supervision::{Charge, Control, Kind, Ref, every};

mod handle;
mod machine;

pub use handle::{Limiter, MemoryStore};

/// How much the limiter keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Buckets at most.
    pub keys: usize,
    /// How often full buckets are taken out. When there was no room it is done within a second.
    pub sweep: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        // A million buckets with keys of 40 bytes are some 150 MB: more callers at a time than one gateway serves.
        Self { keys: 1_000_000, sweep: Duration::from_secs(10) }
    }
}

impl Limiter {
    /// Starts the limits of this gateway; the actor is named `limiter/memory`.
    pub fn start(control: &Control, settings: Settings) -> Self {
        let reference = Ref::new();
        let store = MemoryStore::new(settings);
        let described = store.clone();
        let charge = Charge::new(Kind::Limiter, "memory", move || described.describe());
        let (clock, swept) = (control.clock().clone(), store.clone());
        let turns = u32::try_from(settings.sweep.as_millis() / TURN.as_millis()).unwrap_or(u32::MAX).max(1);
        let actor = control.spawn(charge, &reference, move || Sweeper {
            store: swept.clone(),
            clock: clock.clone(),
            turns,
            turn: 0,
            is_sweeping: false,
        });
        Self { store, _actor: actor }
    }
}

const TURN: Duration = Duration::from_secs(1);

/// The actor: takes out full buckets.
struct Sweeper {
    store: Arc<MemoryStore>,
    clock: Clock,
    // Every so many turns it sweeps even if there is room.
    turns: u32,
    turn: u32,
    is_sweeping: bool,
}

impl Actor for Sweeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.spawn(every(&self.clock, TURN, Self::turn));
    }
}

impl Sweeper {
    fn turn(&mut self, context: &mut Context<Self>) {
        if self.is_sweeping {
            return;
        }
        self.turn += 1;
        let was_tight = self.store.was_tight();
        if !was_tight && self.turn < self.turns {
            return;
        }
        self.turn = 0;
        self.is_sweeping = true;
        let (store, now) = (self.store.clone(), self.clock.now());
        // A million buckets take a tenth of a second, for which no other actor should wait.
        let sweep = tokio::task::spawn_blocking(move || store.sweep(now));
        context.spawn(sweep.into_actor(self).map(move |swept, sweeper, _| {
            sweeper.is_sweeping = false;
            let evicted = match swept {
                Ok(evicted) => evicted,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime ends.
                Err(_) => return,
            };
            let left = sweeper.store.len();
            if was_tight {
                warn!(evicted, left, "limiter had no room for new buckets");
            } else {
                debug!(evicted, left, "limiter swept");
            }
        }));
    }
}

#[cfg(test)]
mod tests;
