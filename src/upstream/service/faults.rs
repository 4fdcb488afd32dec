//! What a caller is told where a service gave no answer.

use std::time::Duration;

use portolan_exchange::{BodyError, Fault, FaultKind};

use super::{Endpoint, Failed, Service};

impl Service {
    pub(super) fn circuit_open(&self, retry_after: Duration) -> Fault {
        Fault::new(FaultKind::CircuitOpen, format!("`{}` is failing and is left alone for a while", self.settings.name))
            .retry_after(retry_after)
    }

    pub(super) fn no_endpoint(&self) -> Fault {
        Fault::new(FaultKind::NoEndpoint, format!("no endpoint of `{}` is healthy", self.settings.name))
            .retry_after(self.settings.health.as_ref().map_or(Duration::from_secs(1), |health| health.interval))
    }

    pub(super) fn unreachable(&self, endpoint: &Endpoint, cause: impl std::fmt::Display) -> Fault {
        Fault::new(FaultKind::UpstreamUnreachable, format!("`{}` could not be reached", self.settings.name))
            .because(format!("{}: {cause}", endpoint.authority))
    }

    pub(super) fn closed(&self) -> Fault {
        let name = &self.settings.name;
        Fault::new(FaultKind::UpstreamBroken, format!("`{name}` closed the connection before it answered"))
    }

    /// What the caller is told of a call without an answer.
    pub(super) fn failed(&self, endpoint: &Endpoint, failed: Failed) -> Fault {
        let name = &self.settings.name;
        let cause = |what: &dyn std::fmt::Display| format!("{}: {what}", endpoint.authority);
        match failed {
            Failed::NoAnswer(how) => self.closed().because(cause(&how)),
            Failed::CutOff => self.closed().because(cause(&"closed within the head of its answer")),
            Failed::Faulty(how) => {
                Fault::new(FaultKind::Internal, "the gateway failed while it passed this request on").because(how)
            }
            Failed::NotHttp(what) => {
                Fault::new(FaultKind::UpstreamBroken, format!("`{name}` answered with what is not HTTP"))
                    .because(cause(&what))
            }
            // The body of the request broke off, which is its client's doing and not the upstream's.
            Failed::Body(error) => {
                let fault = match error {
                    BodyError::Broken(_) => Fault::new(FaultKind::MalformedBody, "the body's framing was wrong"),
                    BodyError::Late => Fault::new(FaultKind::RequestTimeout, "the body did not arrive in time"),
                    BodyError::Gone | BodyError::TooLarge { .. } => {
                        Fault::new(FaultKind::ClientGone, "the request broke off before its end")
                    }
                };
                fault.because(cause(&error))
            }
            Failed::DeadlineExceeded => Fault::new(
                FaultKind::DeadlineExceeded,
                "the time for this request was over before the service answered",
            ),
            Failed::Stalled => {
                Fault::new(FaultKind::UpstreamTimeout, format!("`{name}` did not take the request in time"))
                    .because(cause(&"nothing of the request was taken within its time"))
            }
            Failed::Late => Fault::new(FaultKind::UpstreamTimeout, format!("`{name}` did not answer in time"))
                .because(cause(&"no head of a response within its time")),
        }
    }
}
