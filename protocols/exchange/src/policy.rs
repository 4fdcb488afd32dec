//! One concern applied to an exchange, in a phase.

use crate::fault::FaultKind;
use crate::protocol::Answer;
use crate::{Exchange, LocalBoxFuture, Worker};
use std::rc::Rc;

/// When a policy runs. The order protects each phase from work that an earlier one makes needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// What costs nothing and needs no identity.
    Guard,
    /// Who is calling.
    Authenticate,
    /// What is asked for: no policy runs here, the inbound protocol does.
    Describe,
    /// Whether they may.
    Authorize,
    /// How often they may.
    Limit,
    /// What may pass.
    Filter,
    /// What it is changed into.
    Transform,
    /// Whether the answer is known already.
    Cache,
    /// Last before the upstream.
    Call,
}

impl Phase {
    /// Its word in `/routes`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Authenticate => "authenticate",
            Self::Describe => "describe",
            Self::Authorize => "authorize",
            Self::Limit => "limit",
            Self::Filter => "filter",
            Self::Transform => "transform",
            Self::Cache => "cache",
            Self::Call => "call",
        }
    }

    /// Whether a policy of this phase sees faults on the way out. The cache, and what changes content, does not.
    pub const fn sees_faults(self) -> bool {
        !matches!(self, Self::Filter | Self::Transform | Self::Cache)
    }
}

/// What a policy decided.
#[derive(Debug)]
pub enum Step {
    /// Nothing stands against it.
    Next,
    /// The exchange ends here, with this answer. On the way out: this answer instead.
    Answer(Box<Answer>),
    /// It must wait: [`Policy::wait`] is to be asked, in a future that owns the exchange.
    Wait,
}

impl Step {
    /// The exchange ends here, with this fault.
    pub fn fault(fault: crate::Fault) -> Self {
        Self::Answer(Box::new(Err(fault)))
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With a reply that was sent to its last byte.
    Completed,
    /// With a fault of this kind.
    Faulted(FaultKind),
    /// Its client went away before the last byte.
    Cancelled,
    /// Its own code panicked.
    Panicked,
}

/// One concern applied to an exchange. What it must remember it leaves in the exchange as a typed ticket.
///
/// A policy that can decide at once does so in [`Policy::request`] without allocating; one that must wait returns
/// [`Step::Wait`] and is asked again in [`Policy::wait`].
pub trait Policy: Send + Sync {
    /// Its name in `/routes`, logs and metrics.
    fn name(&self) -> &'static str;

    /// When it runs.
    fn phase(&self) -> Phase;

    /// Up to how many bytes of the body it needs gathered before it runs; `None` leaves the body streaming.
    fn gathers(&self) -> Option<usize> {
        None
    }

    /// On the way in.
    fn request(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Step;

    /// After [`Step::Wait`], from inside the future that now owns the exchange. Dropping it is the cancellation.
    fn wait<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Step> {
        let step = self.request(worker, exchange);
        debug_assert!(!matches!(step, Step::Wait), "a policy that waits has a `wait` of its own");
        Box::pin(std::future::ready(step))
    }

    /// On the way out, in reverse, only for policies that the request reached. The answer stands in the exchange.
    fn response(&self, worker: &Rc<Worker>, exchange: &mut Exchange, answer: &mut Answer) {
        let _ = (worker, exchange, answer);
    }

    /// Exactly once, for every policy that the request reached: completion, fault, cancellation or panic. Permits settle
    /// here, reservations are refunded.
    fn end(&self, worker: &Rc<Worker>, exchange: &mut Exchange, outcome: Outcome) {
        let _ = (worker, exchange, outcome);
    }
}
