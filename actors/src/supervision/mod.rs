//! Keeps actors alive: makes them by a factory, catches their panics, begins them again after a pause, and gives up
//! visibly when that does not help.
//!
//! actix drops an actor that panics, and its address is dead for good; its own `Supervisor` does not help (measured with
//! actix 0.13.5). So each actor runs inside a turn of ours: handlers, intervals and spawned futures of an actor are all
//! polled by one future, and a panic in any of them is caught around it. What the actor had in its mailbox is lost with
//! it; what must not be lost stands in its view.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use actix::dev::ContextFut;
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext as _, Context};
use portolan_exchange::Clock;
use portolan_exchange::clock::Sleep;
use serde_json::Value;
use tracing::{debug, error, info, warn};

mod control;
mod handle;
mod machine;
mod registry;
mod threads;

pub use control::Control;
pub use handle::{Ref, Supervised};
pub use machine::Restarts;
pub(crate) use machine::doubled;
pub(crate) use registry::lock;
pub use registry::{Kind, Registry, Status};
pub use threads::{Thread, Threads};

use machine::{Decision, End, Machine};
use registry::{Cell, Place};

/// What supervision must know of an actor before it starts.
pub struct Charge {
    kind: Kind,
    subject: String,
    terms: Terms,
    state: Box<dyn Fn() -> Value + Send + Sync>,
}

#[derive(Clone, Copy)]
struct Terms {
    mailbox: usize,
    restarts: Restarts,
}

impl Charge {
    /// An actor of this kind that cares for `subject`. `state` is what its view says of it on the admin port; it must not
    /// hold the actor's [`Supervised`], or the actor would never end.
    pub fn new(kind: Kind, subject: &str, state: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        // actix's own default is 16, which one burst of reports from two workers fills.
        let terms = Terms { mailbox: 256, restarts: Restarts::default() };
        Self { kind, subject: subject.to_owned(), terms, state: Box::new(state) }
    }

    /// With another rule for restarts.
    #[must_use]
    pub fn restarts(mut self, restarts: Restarts) -> Self {
        self.terms.restarts = restarts;
        self
    }

    /// With a mailbox of another size; 256 otherwise.
    #[must_use]
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.terms.mailbox = messages;
        self
    }

    fn split<A: Actor>(self, place: Place, reference: &Ref<A>) -> (Arc<Cell>, Terms) {
        (Cell::new(self.kind, &self.subject, place, reference.counter(), self.state), self.terms)
    }
}

/// Starts an actor on the thread that calls, within its runtime: for what is not `Send`, as a worker's shard. `given_up` is
/// called when the actor has ended too often and stays down.
pub fn spawn_here<A: Actor<Context = Context<A>>>(
    control: &Control,
    charge: Charge,
    reference: &Ref<A>,
    factory: impl FnMut() -> A + 'static,
    given_up: impl FnOnce() + 'static,
) -> Supervised {
    let (cell, terms) = charge.split(Place::Worker, reference);
    control.registry().enter(&cell);
    let (clock, reference) = (control.clock().clone(), reference.clone());
    let supervised = Supervised::new(cell.clone(), control.registry().clone());
    tokio::task::spawn_local(async move {
        supervise(&cell, terms, reference, clock, factory).await;
        if cell.status() == Status::Failed {
            given_up();
        }
    });
    supervised
}

/// Runs an actor, and again, until it was told to stop or has failed.
async fn supervise<A: Actor<Context = Context<A>>>(
    cell: &Cell,
    terms: Terms,
    reference: Ref<A>,
    clock: Clock,
    mut factory: impl FnMut() -> A,
) {
    let mut machine = Machine::new(terms.restarts);
    let actor = cell.name.as_str();
    loop {
        let end = run(cell, terms, &reference, &mut factory).await;
        reference.withdraw();
        let words = match &end {
            End::Asked => return debug!(actor, "actor stopped"),
            End::Unasked => "it stopped and nobody had told it to",
            End::Panicked(words) => words,
        };
        cell.note_panic(words);
        match machine.observe(&end, clock.now()) {
            Decision::Rest => return,
            Decision::Fail => {
                cell.set_status(Status::Failed);
                return error!(actor, panic = words, "actor failed: it ended too often and stays down");
            }
            Decision::Restart(pause) => {
                // The pause runs from when it is told, for a clock that stands still.
                let pausing = clock.sleep(pause);
                cell.set_status(Status::Restarting);
                let restarts = cell.count_restart();
                warn!(actor, panic = words, restarts, pause_ms = pause.as_millis() as u64, "actor panicked");
                if !waited(cell, pausing).await {
                    return debug!(actor, "actor stopped");
                }
                info!(actor, restarts, "actor restarted");
            }
        }
    }
}

/// One life of an actor.
async fn run<A: Actor<Context = Context<A>>>(
    cell: &Cell,
    terms: Terms,
    reference: &Ref<A>,
    factory: &mut impl FnMut() -> A,
) -> End {
    let made = catch_unwind(AssertUnwindSafe(|| {
        let actor = factory();
        let mut context = Context::new();
        context.set_mailbox_capacity(terms.mailbox);
        context.into_future(actor)
    }));
    let future = match made {
        Ok(future) => future,
        Err(payload) => return End::Panicked(words_of(&*payload)),
    };
    reference.publish(future.address());
    cell.set_status(Status::Running);
    Life { cell, future: Some(future) }.await
}

/// Waits, unless the actor is told to stop before. Whether it waited to the end.
async fn waited(cell: &Cell, pause: Sleep) -> bool {
    let mut pause = pin!(pause);
    std::future::poll_fn(|context| {
        cell.waker.register(context.waker());
        match cell.is_stopped() {
            true => Poll::Ready(false),
            false => pause.as_mut().poll(context).map(|()| true),
        }
    })
    .await
}

/// All that an actor does, with a panic in any of it caught.
struct Life<'a, A: Actor<Context = Context<A>>> {
    cell: &'a Cell,
    future: Option<ContextFut<A, Context<A>>>,
}

impl<A: Actor<Context = Context<A>>> Future for Life<'_, A> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        this.cell.waker.register(context.waker());
        let stop = this.cell.is_stopped();
        let future = this.future.as_mut().expect("a life is not polled after its end");
        let turn = catch_unwind(AssertUnwindSafe(|| {
            assert!(!this.cell.take_panic(), "told to panic");
            if stop {
                future.ctx().stop();
            }
            Pin::new(future).poll(context)
        }));
        let end = match turn {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) if stop => End::Asked,
            Ok(Poll::Ready(())) => End::Unasked,
            Err(payload) => End::Panicked(words_of(&*payload)),
        };
        // actix calls `stopping` and `stopped` of an actor that panicked only now, when it is dropped.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(this.future.take())));
        Poll::Ready(match dropped {
            Ok(()) => end,
            Err(payload) => End::Panicked(words_of(&*payload)),
        })
    }
}

/// What a panic said.
pub(crate) fn words_of(payload: &(dyn Any + Send)) -> String {
    let words = payload.downcast_ref::<&str>().copied();
    words.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words").to_owned()
}

/// Lets an actor take a turn in every period of the clock, the first after one period. Turns that were missed are left
/// out. To be spawned into the actor's context.
pub fn every<A, F>(clock: &Clock, period: Duration, turn: F) -> Every<F>
where
    A: Actor,
    F: FnMut(&mut A, &mut A::Context) + Unpin + 'static,
{
    Every { clock: clock.clone(), sleep: clock.sleep(period), period, turn }
}

/// An actor's turns in time; see [`every`].
pub struct Every<F> {
    clock: Clock,
    sleep: Sleep,
    period: Duration,
    turn: F,
}

impl<A, F> ActorFuture<A> for Every<F>
where
    A: Actor,
    F: FnMut(&mut A, &mut A::Context) + Unpin + 'static,
{
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        actor_context: &mut A::Context,
        context: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        loop {
            ready!(Pin::new(&mut self.sleep).poll(context));
            (self.turn)(actor, actor_context);
            self.sleep = self.clock.sleep(self.period);
        }
    }
}

#[cfg(test)]
mod tests;
