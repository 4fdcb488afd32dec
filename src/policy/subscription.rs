//! No subscription, no access.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portolan_exchange::identity::Subscriptions as _;
use portolan_exchange::{Api, Exchange, Fault, FaultKind, Phase, Policy, Step, Worker};

use crate::plan::Consumers;

/// Lets through consumers that are subscribed to an API. The subscriptions are those of the moment: a session that
/// outlives a reload is held to the new ones.
pub struct Subscribed {
    api: Api,
    consumers: Arc<ArcSwap<Consumers>>,
}

impl Subscribed {
    /// The policy of one API.
    pub fn new(api: Api, consumers: Arc<ArcSwap<Consumers>>) -> Self {
        Self { api, consumers }
    }
}

impl Policy for Subscribed {
    fn name(&self) -> &'static str {
        "subscription"
    }

    fn phase(&self) -> Phase {
        Phase::Authorize
    }

    fn request(&self, _: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        let Some(identity) = &exchange.identity else {
            if exchange.awaits_credentials() {
                // Judged with the first frame, which says who the client is.
                return Step::Next;
            }
            return Step::fault(Fault::new(FaultKind::CredentialsMissing, "credentials are needed"));
        };
        let Api { name, version, environment } = &self.api;
        match self.consumers.load().find(&identity.consumer, name, version, environment) {
            Some(subscription) => {
                exchange.subscription = Some(subscription);
                Step::Next
            }
            None => Step::fault(Fault::new(
                FaultKind::NotSubscribed,
                format!("consumer `{}` has no subscription to `{name}` {version}", identity.consumer),
            )),
        }
    }
}
