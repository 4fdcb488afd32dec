//! A call as the breaker counts it.

use portolan_actors::breaker::{Permit, Verdict};
use portolan_exchange::{Class, Fault, FaultKind, Moment, Response, Worker};

/// A call under way, for which the breaker gave its permit.
pub struct Attempt<'a> {
    /// The breaker's permit, where there is a breaker.
    pub permit: Option<Permit>,
    /// The worker that calls.
    pub worker: &'a Worker,
    /// Until when the answer must begin.
    pub deadline: Moment,
}

impl Attempt<'_> {
    /// Tells the breaker how the call ended. What the service itself calls an error of its own counts like not answering; what
    /// was nobody's fault but the caller's or ours says nothing about the service.
    pub fn settle(mut self, outcome: &Result<Response, Fault>) {
        let Some(permit) = self.permit.take() else { return };
        match outcome {
            Ok(response) if response.status < 500 => permit.settle(Verdict::Success),
            Ok(_) => permit.settle(Verdict::Failure),
            // Time that was over while the service had it says the same.
            Err(fault) if fault.kind().class() == Class::Upstream || fault.kind() == FaultKind::DeadlineExceeded => {
                permit.settle(Verdict::Failure);
            }
            Err(_) => drop(permit),
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // Dropped on its way: the client went away, which says nothing, or the time was over, which does.
        if let Some(permit) = self.permit.take()
            && self.worker.clock.now() >= self.deadline
        {
            permit.settle(Verdict::Failure);
        }
    }
}
