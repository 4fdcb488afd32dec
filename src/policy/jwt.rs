//! Knows callers by a token that an issuer signed.

mod keys;
mod memory;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use portolan_actors::limiter::MemoryStore;
use portolan_config::snapshot::{self, Algorithm, Jwt};
use portolan_exchange::exchange::Place;
use portolan_exchange::identity::Credential;
use portolan_exchange::limits::{Draw, Quota, Refused as Exceeded, Reserve, Store};
use portolan_exchange::{Exchange, Fault, FaultKind, Identity, Request, Worker};
use portolan_identity::{Bounds, KeySet, Refusal, Rules, Token, Verified, Verifier};

pub use keys::{KeySets, read};
pub use memory::{Counts, Total};

use super::authenticate::{Finding, Refused};
use super::memory::{Mark, Memory};
use super::rate_limit::{Period, network, whole_seconds};
use super::sole::Sole;
use memory::{Event, Held, Verdict};

/// Knows callers by the tokens of one issuer.
///
/// A token is verified once on each worker, and then remembered there until its end. A source is made anew when its settings,
/// its keys or the names of consumers change; then nothing of what was remembered counts any more.
pub struct TokenSource {
    mark: Mark,
    settings: Arc<snapshot::Identity>,
    forward: bool,
    verifier: Verifier,
    /// Consumers by what the issuer calls them; without it by their own names.
    mapped: Option<HashMap<Arc<str>, Arc<str>>>,
    consumers: Arc<HashSet<Arc<str>>>,
    bounds: Bounds,
    failures: snapshot::TokenFailures,
    store: Arc<MemoryStore>,
    counts: Arc<Counts>,
}

/// What a token source needs of what outlives it.
pub struct Surroundings {
    /// The names of all consumers.
    pub consumers: Arc<HashSet<Arc<str>>>,
    /// Where failures are counted.
    pub store: Arc<MemoryStore>,
    /// What is counted of the identity of this name.
    pub counts: Arc<Counts>,
}

impl TokenSource {
    /// The source of this identity, which is of kind `jwt`, with its keys.
    pub fn new(settings: &Arc<snapshot::Identity>, jwt: &Jwt, keys: Arc<KeySet>, around: Surroundings) -> Arc<Self> {
        let algorithm = |algorithm: &Algorithm| match algorithm {
            Algorithm::Rs256 => portolan_identity::Algorithm::Rs256,
            Algorithm::Es256 => portolan_identity::Algorithm::Es256,
        };
        let rules = Rules {
            issuer: jwt.issuer.clone(),
            audiences: jwt.audiences.clone(),
            algorithms: jwt.algorithms.iter().map(algorithm).collect(),
            leeway: jwt.leeway,
            consumer_claim: jwt.consumer_claim.clone(),
        };
        Arc::new(Self {
            mark: Mark::new(&settings.name),
            settings: settings.clone(),
            forward: jwt.forward,
            verifier: Verifier::new(rules, keys),
            mapped: jwt.consumers.clone().map(|mapped| mapped.into_iter().collect()),
            consumers: around.consumers,
            bounds: Bounds { tokens: jwt.cache.tokens, bytes: jwt.cache.bytes },
            failures: jwt.failures.clone(),
            store: around.store,
            counts: around.counts,
        })
    }

    /// Whether it would be the same if it were made of these. The settings hold the key set.
    pub fn is_of(&self, settings: &snapshot::Identity, consumers: &HashSet<Arc<str>>) -> bool {
        *self.settings == *settings && *self.consumers == *consumers
    }

    /// Whose token the request shows.
    pub(super) fn judge(&self, worker: &Worker, exchange: &Exchange) -> Finding {
        let token = match shown(exchange) {
            Sole::None => return Finding::Nothing,
            Sole::Several => return Finding::Several,
            Sole::One(token) => token,
        };
        let now = worker.clock.wall();
        match self.remembered(worker, token, now) {
            Some(verdict) => self.finding(verdict),
            None => self.verify(worker, exchange, token, now),
        }
    }

    /// Takes the token out of the request, unless the upstream may see it: what it sees it could use elsewhere.
    pub(super) fn hide(&self, request: &mut Request) {
        if !self.forward && request.fields.contains("authorization") {
            request
                .fields
                .retain(|name, value| !(name.eq_ignore_ascii_case(b"authorization") && bearer(value).is_some()));
        }
    }

    /// What a refused caller is told (RFC 6750, section 3).
    pub(super) fn challenge(&self, error: Option<&(&'static str, String)>) -> String {
        let name = &self.settings.name;
        match error {
            None => format!("Bearer realm=\"{name}\""),
            Some((error, description)) => {
                // The signs that a description may hold are all but these (RFC 6750, section 3).
                let description: String = description
                    .chars()
                    .map(|c| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\') { c } else { '\'' })
                    .collect();
                format!("Bearer realm=\"{name}\", error=\"{error}\", error_description=\"{description}\"")
            }
        }
    }

    fn verify(&self, worker: &Worker, exchange: &Exchange, token: &[u8], now: SystemTime) -> Finding {
        let judged = Token::parse(token);
        let examined = match judged.as_ref().map_err(Clone::clone).and_then(|token| self.verifier.examine(token, now)) {
            Ok(examined) => examined,
            // Of a first frame nobody says whether it holds a key or a token.
            Err(refusal @ Refusal::Malformed(_)) if exchange.place == Place::FirstFrame => {
                return Finding::Foreign(self.refused(&refusal));
            }
            Err(refusal @ Refusal::Issuer) => return Finding::Foreign(self.refused(&refusal)),
            Err(refusal) => {
                self.count(worker, Event::Refused);
                return Finding::Refused(self.refused(&refusal));
            }
        };
        // From here on it costs: who makes us verify in vain too often is not served, but for tokens that are known already.
        let key = format!("jwt/{}/{}", self.settings.name, network(exchange.client.address));
        let failures = &self.failures;
        let quota = Quota { limit: failures.limit, every: failures.every, burst: failures.limit };
        let draw = Draw { key: &key, quota, cost: 1, found: None };
        let reservation = match self.store.reserve(&[draw], worker.clock.now()) {
            Reserve::Reserved(reservation) => Some(reservation),
            Reserve::Refused(exceeded) => {
                self.count(worker, Event::Limited);
                return Finding::Refused(self.limited(&exceeded));
            }
            // Memory answers at once; another store would have to be asked in a future.
            Reserve::Wait(_) => None,
        };
        match examined.verify() {
            Ok(verified) => {
                if let Some(reservation) = reservation {
                    reservation.settle(0);
                }
                let expires = verified.expires;
                let verdict = self.verdict(verified);
                self.remember(worker, token, expires, verdict.clone());
                self.finding(verdict)
            }
            Err(refusal) => {
                self.count(worker, Event::Refused);
                Finding::Refused(self.refused(&refusal))
            }
        }
    }

    fn verdict(&self, verified: Verified) -> Verdict {
        let consumer = match &self.mapped {
            Some(mapped) => mapped.get(&verified.consumer),
            None => Some(&verified.consumer),
        };
        let consumer = consumer.and_then(|name| self.consumers.get(name));
        let Some(consumer) = consumer.cloned() else { return Verdict::Stranger };
        Verdict::Known(Arc::new(Identity {
            consumer,
            source: self.settings.name.clone(),
            credential: format!("{}.{}", verified.key, verified.fingerprint).into(),
            expires: Some(verified.expires),
            scopes: verified.scopes,
        }))
    }

    fn finding(&self, verdict: Verdict) -> Finding {
        match verdict {
            Verdict::Known(identity) => Finding::Known(identity),
            Verdict::Stranger => {
                let claim = &self.verifier.rules().consumer_claim;
                let detail = format!("the token is good, and its claim `{claim}` names no consumer of this gateway");
                Finding::Refused(Refused::of(FaultKind::Forbidden, detail))
            }
        }
    }

    fn refused(&self, refusal: &Refusal) -> Refused {
        let kind = match refusal {
            Refusal::Expired => FaultKind::CredentialsExpired,
            _ => FaultKind::CredentialsInvalid,
        };
        let (reason, sentence) = (refusal.code(), refusal.to_string());
        let cause = format!("{reason}, by identity `{}`", self.settings.name);
        let fault = Fault::new(kind, sentence.clone()).with("reason", reason).because(cause);
        Refused { fault, error: Some(("invalid_token", sentence)) }
    }

    fn limited(&self, exceeded: &Exceeded) -> Refused {
        let snapshot::TokenFailures { limit, every } = self.failures;
        let wait = exceeded.retry_after.unwrap_or(every);
        let seconds = whole_seconds(wait).max(1);
        let detail = format!(
            "{limit} tokens per {} from this address were not signed by their issuer; retry in {seconds}s",
            Period(every)
        );
        Refused::new(Fault::new(FaultKind::RateLimited, detail).with("limit", limit).retry_after(wait))
    }

    fn remembered(&self, worker: &Worker, token: &[u8], now: SystemTime) -> Option<Verdict> {
        self.held(worker, |held| {
            let verdict = held.cache.get(token, || now);
            held.cells.add(if verdict.is_some() { Event::Remembered } else { Event::Looked });
            verdict
        })?
    }

    fn remember(&self, worker: &Worker, token: &[u8], expires: SystemTime, verdict: Verdict) {
        self.held(worker, |held| {
            held.cells.add(Event::Verified);
            held.cache.insert(token, expires, verdict);
            held.cells.holds(held.cache.len(), held.cache.bytes());
        });
    }

    fn count(&self, worker: &Worker, event: Event) {
        self.held(worker, |held| held.cells.add(event));
    }

    /// Works with what this worker holds for it; `None` where a later source has taken its place.
    fn held<R>(&self, worker: &Worker, work: impl FnOnce(&mut Held) -> R) -> Option<R> {
        Memory::of(worker).with(&self.mark, || Held::new(self, worker), work)
    }
}

/// The token as shown: by a session's first frame in it, else in the head.
fn shown(exchange: &Exchange) -> Sole<&[u8]> {
    if exchange.place == Place::FirstFrame {
        let credential = exchange.tickets.get::<Credential>();
        return credential.map_or(Sole::None, |credential| Sole::One(credential.expose().as_bytes()));
    }
    // With a field of another scheme beside it two readers could see two callers.
    let mut fields = exchange.request.fields.get_all("authorization");
    let first = fields.next().map(bearer);
    let others = fields.map(bearer).fold((0, false), |(count, any), token| (count + 1, any | token.is_some()));
    match (first, others) {
        (Some(Some(token)), (0, _)) => Sole::One(token),
        (Some(Some(_)), _) | (_, (_, true)) => Sole::Several,
        _ => Sole::None,
    }
}

/// What follows the scheme `Bearer`, which is told without case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, rest) = value.trim_ascii().split_at_checked(SCHEME.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(SCHEME) && rest.first().is_none_or(|byte| *byte == b' ');
    is_bearer.then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_told_without_case_and_ends_with_a_space() {
        for (value, token) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("bEARER   a.b.c ", Some("a.b.c")),
            ("Bearer", Some("")),
            ("Bearera.b.c", None),
            ("Basic a.b.c", None),
            ("Bear", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), token.map(str::as_bytes), "{value}");
        }
    }
}
