//! Reads a topic into its log, whatever becomes of the broker or of the reader: no event lost, none twice.
//!
//! Positions stand in the log and move with what was appended. So whoever reads next begins exactly where the last one
//! ended: after an error, after a panic, after the broker was away for an hour.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::fut::ActorFutureExt as _;
use actix::{Actor, AsyncContext as _, Context, WrapFuture as _};
use portolan_exchange::Clock;
use portolan_exchange::events::{Broker, BrokerError, EventLog, Reader};
use tracing::{info, warn};

use crate::supervision::{Charge, Control, Kind, Ref, Threads};

mod handle;
mod machine;
mod reading;

pub use handle::{State, Topic};

use handle::View;
use machine::{Decision, Event, Machine};
use reading::{Ended, Reading};

impl Topic {
    /// Starts to read a topic of this broker into its log; the actor is named
    /// `topic/BROKER/TOPIC`. Reading begins at the live
    /// end, or where the log says that an earlier reader ended.
    pub fn start(control: &Control, broker: Arc<dyn Broker>, log: Arc<EventLog>) -> Self {
        let reference = Ref::new();
        let view = Arc::new(View::new(broker.name(), log));
        let described = view.clone();
        let subject = format!("{}/{}", broker.name(), view.log.topic());
        let charge = Charge::new(Kind::Topic, &subject, move || described.describe());
        let (clock, threads, filled) = (control.clock().clone(), control.threads().clone(), view.clone());
        let actor = control.spawn(charge, &reference, move || Librarian {
            broker: broker.clone(),
            view: filled.clone(),
            clock: clock.clone(),
            threads: threads.clone(),
            machine: Machine::default(),
            reading: None,
        });
        Self { view, _actor: actor }
    }
}

/// The actor: has a thread read, and decides how to go on when that ends.
struct Librarian {
    broker: Arc<dyn Broker>,
    view: Arc<View>,
    clock: Clock,
    threads: Threads,
    machine: Machine,
    // Dropping it, as a panic of the actor does, tells its thread to stop.
    reading: Option<Reading>,
}

impl Actor for Librarian {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.view.set_state(State::Connecting);
        self.read(None, context);
    }
}

impl Librarian {
    fn read(&mut self, reader: Option<Box<dyn Reader>>, context: &mut Context<Self>) {
        let started = Reading::start(&self.threads, self.broker.clone(), self.view.clone(), reader);
        let (reading, ended) = started.expect("the system has a thread for each topic");
        self.reading = Some(reading);
        context.spawn(ended.into_actor(self).map(|ended, librarian, context| {
            let ended = ended.expect("a thread tells how it ended before it does");
            librarian.ended(ended, context);
        }));
    }

    fn ended(&mut self, ended: Ended, context: &mut Context<Self>) {
        self.reading = None;
        let (decision, error, reader) = match ended {
            // Only a reading that was dropped is told to stop.
            Ended::Stopped => return,
            // The supervisor counts it, and gives up when it does not help.
            Ended::Panicked(words) => panic!("the reader panicked: {words}"),
            Ended::NotOpened(error) => (self.machine.observe(Event::NotOpened(&error)), error, None),
            Ended::PollFailed { error, reader, had_polled } => {
                if had_polled {
                    self.machine.observe(Event::Polled);
                }
                (self.machine.observe(Event::PollFailed(&error)), error, Some(reader))
            }
        };
        self.tell(&error, decision);
        match decision {
            Decision::Stay => unreachable!("an error is always followed by a pause"),
            Decision::Again(pause) => self.read_after(pause, reader, context),
            Decision::Reopen(pause) => {
                self.discard(reader);
                self.read_after(pause, None, context);
            }
            Decision::StartLive(pause) => {
                self.discard(reader);
                self.view.positions_lost.fetch_add(1, Ordering::Relaxed);
                self.view.log.forget_positions();
                self.read_after(pause, None, context);
            }
        }
    }

    fn read_after(&mut self, pause: Duration, reader: Option<Box<dyn Reader>>, context: &mut Context<Self>) {
        let pause = self.clock.sleep(pause).into_actor(self);
        context.spawn(pause.map(move |(), librarian, context| librarian.read(reader, context)));
    }

    /// Drops a reader on a thread of its own: a client says goodbye to its broker, and that may block for seconds.
    fn discard(&self, reader: Option<Box<dyn Reader>>) {
        let Some(reader) = reader else { return };
        let name = format!("topic-{}-close", self.view.log.topic());
        // Where no thread can be had the reader is dropped here and now.
        let _ = self.threads.spawn(name, move || drop(reader));
    }

    fn tell(&self, error: &BrokerError, decision: Decision) {
        self.view.note_error(error);
        let before = self.view.set_state(State::Away);
        let (topic, broker) = (&**self.view.log.topic(), self.view.broker.as_str());
        match decision {
            Decision::StartLive(_) => {
                warn!(topic, broker, %error, "topic lost its positions and goes on at the live end")
            }
            _ if before != State::Away => warn!(topic, broker, %error, "topic reader lost its broker"),
            _ => info!(topic, broker, %error, "topic reader still waits for its broker"),
        }
    }
}

#[cfg(test)]
mod tests;
