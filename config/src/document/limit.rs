//! Rate limits and header rules, which APIs, operations, routes and plans share.

use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::reader::{Placed, Reader, Setting};
use crate::schema::Schemas;
use crate::setting::{DAY, HeaderName, HeaderPairs, Identifier, List, MILLISECOND, Span, Whole};
use crate::snapshot::Name;
use crate::table::{choices, settings};
use crate::tree::{Kind, Node};

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
        request: HeaderEdits as OfRequests, default("{}");
        /// To the answer, before the client sees it.
        response: HeaderEdits as OfAnswers, default("{}");
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

/// Changes to a request, of which none may be lost on its way to the upstream.
struct OfRequests;

impl Setting for OfRequests {
    type Value = HeaderEdits;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<HeaderEdits> {
        tell_written(node, reader, lost_on_the_way_in);
        HeaderEdits::read(node, reader)
    }

    fn blank() -> HeaderEdits {
        HeaderEdits::blank()
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        HeaderEdits::schema(schemas)
    }
}

/// Changes to an answer, of which none may be lost on its way to the client.
struct OfAnswers;

impl Setting for OfAnswers {
    type Value = HeaderEdits;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<HeaderEdits> {
        tell_written(node, reader, lost_both_ways);
        HeaderEdits::read(node, reader)
    }

    fn blank() -> HeaderEdits {
        HeaderEdits::blank()
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        HeaderEdits::schema(schemas)
    }
}

/// Tells of each header that is written here why nobody would ever see it, and what helps.
fn tell_written(node: &Node, reader: &mut Reader<'_>, lost: fn(&str) -> Option<(&'static str, String)>) {
    let Kind::Mapping(edits) = &node.kind else { return };
    for (key, edit) in edits.iter().filter(|(key, _)| matches!(key.as_str(), "set" | "add")) {
        let Kind::Mapping(headers) = &edit.value.kind else { continue };
        reader.under(key, edit, |reader| {
            for (name, header) in headers {
                let Some((sentence, hint)) = lost(&name.to_ascii_lowercase()) else { continue };
                reader.under(name, header, |reader| {
                    let told = Diagnostic::error(&reader.key_place(), sentence).hint(hint);
                    reader.tell(told);
                });
            }
        });
    }
}

/// Why a rule for this header of requests would do nothing: what speaks of the client, of the way and of the host is written
/// behind all rules.
fn lost_on_the_way_in(name: &str) -> Option<(&'static str, String)> {
    if name == "host" {
        return Some((
            "the upstream's own `host` says which one it sees",
            "choose there, and leave it out here".into(),
        ));
    }
    if matches!(name, "forwarded" | "x-real-ip") || name.starts_with("x-forwarded-") {
        let sentence = "what tells an upstream of the client is written by the gateway alone, behind all rules";
        return Some((sentence, "`forwarded` of the upstream chooses how; or take another name".into()));
    }
    if name.contains('_') {
        let hint = format!("`{}`", name.replace('_', "-"));
        return Some(("no header with an underscore in its name goes on: some servers take it for a dash", hint));
    }
    lost_both_ways(name)
}

/// Why a rule for this header would do nothing, either way.
fn lost_both_ways(name: &str) -> Option<(&'static str, String)> {
    let sentence = "it always holds the id by which the access log knows the request";
    (name == "x-request-id").then(|| (sentence, "take another name".into()))
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
