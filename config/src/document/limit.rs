//! Rate limits and header rules, which APIs, operations, routes and plans share.

use std::time::Duration;

use crate::reader::Placed;
use crate::setting::{DAY, HeaderName, HeaderPairs, Identifier, List, MILLISECOND, Span, Whole};
use crate::snapshot::Name;
use crate::table::{choices, settings};

settings! {
    /// A bucket of tokens: `limit` flow into it in every `every`, it holds `burst`, and an operation takes `weight` for
    /// each unit that `counts` names. An operation that finds too few gets 429 and is told when to come again.
    pub struct RateLimit {
        /// Its name in the answer's `RateLimit` headers; no two of one list share it.
        name: Placed<Name> as Placed<Identifier>, default("default");
        /// Who shares a bucket. Without it: `subscription` in a plan, else `consumer`, and `address` where nobody is
        /// authenticated.
        per: Option<Placed<Per>> as Placed<Per>, optional;
        /// Tokens that flow in every period.
        limit: u64 as Whole<u64, 1, 1_000_000_000>, required;
        /// The period.
        every: Duration as Span<{ MILLISECOND }, { 31 * DAY }>, default("1m");
        /// Tokens the bucket holds: what may come at once. Without it: `limit`.
        burst: Option<u64> as Whole<u64, 1, 1_000_000_000>, optional;
        /// What is counted.
        counts: Counts as Counts, default("requests");
        /// Tokens that each counted unit takes; at most `burst`, or none would ever pass.
        weight: Placed<u64> as Placed<Whole<u64, 1, 1_000_000_000>>, default("1");
    }

    /// Changes to the heads of requests and answers on their way.
    #[derive(Eq, Default)]
    pub struct HeaderRules {
        /// To the request, before the upstream sees it.
        request: HeaderEdits as HeaderEdits, default("{}");
        /// To the answer, before the client sees it.
        response: HeaderEdits as HeaderEdits, default("{}");
    }

    /// Changes to one head, made in this order: remove, set, add. Upper and lower case of names are the same.
    #[derive(Eq, Default)]
    pub struct HeaderEdits {
        /// Headers with one new value in place of all they had.
        set: Vec<(String, String)> as HeaderPairs, default("{}");
        /// Headers with one value more.
        add: Vec<(String, String)> as HeaderPairs, default("{}");
        /// Headers taken out.
        remove: Vec<String> as List<HeaderName, 0, 256>, default("[]");
    }
}

impl HeaderEdits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

choices! {
    /// What a rate limit counts.
    pub enum Counts {
        /// An operation is 1, a batch the number of its requests.
        Requests = "requests",
        /// A GraphQL operation is its cost, a batch the sum of its requests' costs; anything else is 1.
        Cost = "cost",
    }

    /// Who shares a bucket.
    pub enum Per {
        /// All requests of the API, operation or route.
        Route = "route",
        /// All requests from one client address.
        Address = "address",
        /// All requests of one consumer.
        Consumer = "consumer",
        /// All requests of one subscription.
        Subscription = "subscription",
    }
}
