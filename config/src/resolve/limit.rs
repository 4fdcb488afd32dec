//! Rate limits: who shares their buckets where the operator did not say, and whether that can be known.

use super::Resolver;
use crate::document;
use crate::snapshot::{Name, Per, RateLimit};

/// What is known of callers where a limit stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Nothing but their address.
    Unknown,
    /// The consumer, but no subscription: a route is no API.
    Consumer,
    /// The consumer and its subscription.
    ConsumerOfApi,
    /// A limit of a plan: every caller has a subscription.
    Subscribed,
}

impl Caller {
    pub(super) fn of_api(authenticate: &[Name]) -> Caller {
        if authenticate.is_empty() { Caller::Unknown } else { Caller::ConsumerOfApi }
    }

    pub(super) fn of_route(authenticate: &[Name]) -> Caller {
        if authenticate.is_empty() { Caller::Unknown } else { Caller::Consumer }
    }

    fn default(self) -> Per {
        match self {
            Caller::Unknown => Per::Address,
            Caller::Consumer | Caller::ConsumerOfApi => Per::Consumer,
            Caller::Subscribed => Per::Subscription,
        }
    }

    /// Why a bucket cannot be found here.
    fn problem(self, per: Per) -> Option<(&'static str, &'static str)> {
        match (self, per) {
            (Caller::Unknown, Per::Consumer | Per::Subscription) => {
                Some(("nobody is known here, because nobody is authenticated", "`per: address`, or add `authenticate`"))
            }
            (Caller::Consumer, Per::Subscription) => {
                Some(("a route has no subscriptions", "`per: consumer`, or publish it as an API"))
            }
            _ => None,
        }
    }
}

impl Resolver<'_> {
    pub(super) fn limits(&mut self, limits: Vec<document::RateLimit>, caller: Caller) -> Vec<RateLimit> {
        let mut names: Vec<Name> = Vec::new();
        let mut resolved = Vec::new();
        for limit in limits {
            let document::RateLimit { name, per, limit, every, burst, counts, weight } = limit;
            if names.contains(&name.value) && !name.value.is_empty() {
                let message = format!("another limit of the list is named `{}`", name.value);
                self.error(&name.place, message, "give each limit of a list a `name` of its own");
            }
            names.push(name.value.clone());
            if let Some(per) = &per
                && let Some((sentence, hint)) = caller.problem(per.value)
            {
                self.error(&per.place, sentence, hint);
            }
            let per = per.map_or(caller.default(), |per| per.value);
            let burst = burst.unwrap_or(limit);
            if weight.value > burst {
                let message = format!("a bucket of {burst} never holds the {} that an operation takes", weight.value);
                self.error(&weight.place, message, "raise `burst` or lower `weight`");
            }
            resolved.push(RateLimit { name: name.value, per, limit, every, burst, counts, weight: weight.value });
        }
        resolved
    }
}
