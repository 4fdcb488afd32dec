//! Knows callers by the key they show.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use portolan_config::snapshot::{self, KeyLocation};
use portolan_exchange::exchange::Place;
use portolan_exchange::identity::Credential;
use portolan_exchange::{Exchange, FaultKind, Identity, Request, Target, Worker};
use portolan_identity::{Bounds, Cache};

use super::authenticate::{Finding, Refused};
use super::memory::{Mark, Memory};
use super::sole::Sole;
use crate::plan::Consumers;

/// Knows callers by a key that stands in one place of a request.
///
/// A key that is good is remembered on each worker, so that its hash is not computed for each request: for as long as the
/// consumers stay the very same, and up to its own end. Nothing is remembered of a key that is not good.
pub struct KeySource {
    mark: Mark,
    location: KeyLocation,
    pepper: hmac::Key,
    consumers: Arc<ArcSwap<Consumers>>,
}

/// The good keys of one source, as a worker remembers them.
struct Known {
    /// The consumers of the moment, looked up without touching what other threads share while they stay the same.
    current: arc_swap::Cache<Arc<ArcSwap<Consumers>>, Arc<Consumers>>,
    /// Whose keys they are. A source that nobody asks any more holds the consumers of its last request: one set for each worker and
    /// source that there are.
    consumers: Arc<Consumers>,
    keys: Cache<Arc<Identity>>,
}

/// How much each worker remembers of one source: some 6 MB, and more consumers than call one gateway at a time.
const REMEMBERED: Bounds = Bounds { tokens: 16_384, bytes: 8 * 1024 * 1024 };

impl KeySource {
    /// The source of this identity. Keys are looked up in the consumers as they stand at each request.
    pub fn new(name: &Arc<str>, settings: &snapshot::ApiKey, consumers: Arc<ArcSwap<Consumers>>) -> Arc<Self> {
        let pepper = hmac::Key::new(hmac::HMAC_SHA256, settings.pepper.expose().as_bytes());
        Arc::new(Self { mark: Mark::new(name), location: settings.location.clone(), pepper, consumers })
    }

    /// Whose key the request shows.
    pub(super) fn judge(&self, worker: &Worker, exchange: &Exchange) -> Finding {
        let key = match self.shown(exchange) {
            Sole::None => return Finding::Nothing,
            Sole::Several => return Finding::Several,
            Sole::One(key) => key,
        };
        if let Some(identity) = self.known(worker, |known| known.keys().get(&key, || worker.clock.wall())).flatten() {
            return Finding::Known(identity);
        }
        let consumers = self.consumers.load_full();
        let hash = hmac::sign(&self.pepper, &key);
        let hash: &[u8; 32] = hash.as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes");
        match consumers.identity(hash, self.mark.name()) {
            None => Finding::Foreign(Refused::of(FaultKind::CredentialsInvalid, "the key is not known")),
            Some(identity) if identity.is_expired(worker.clock.wall()) => {
                Finding::Refused(Refused::of(FaultKind::CredentialsExpired, "the key has expired"))
            }
            Some(identity) => {
                let identity = Arc::new(identity);
                self.known(worker, |known| known.remember(&consumers, &key, &identity));
                Finding::Known(identity)
            }
        }
    }

    /// Works with what this worker remembers; `None` where a later source has taken its place.
    fn known<R>(&self, worker: &Worker, work: impl FnOnce(&mut Known) -> R) -> Option<R> {
        Memory::of(worker).with(&self.mark, || Known::of(&self.consumers), work)
    }

    /// The key as shown: by a session's first frame in it, else in the head.
    fn shown<'e>(&'e self, exchange: &'e Exchange) -> Sole<Cow<'e, [u8]>> {
        let request = &exchange.request;
        if exchange.place == Place::FirstFrame {
            let credential = exchange.tickets.get::<Credential>();
            return credential.map_or(Sole::None, |credential| Sole::One(credential.expose().as_bytes().into()));
        }
        match &self.location {
            KeyLocation::Header(name) => Sole::of(request.fields.get_all(name)).map(|value| value.trim_ascii().into()),
            KeyLocation::Query(name) => Sole::of(query_values(&request.target, name)).map(percent_decoded),
            KeyLocation::Cookie(name) => {
                let values = cookies(request).filter_map(|pair| {
                    let equals = pair.iter().position(|byte| *byte == b'=')?;
                    (&pair[..equals] == name.as_bytes()).then_some(&pair[equals + 1..])
                });
                Sole::of(values).map(Cow::Borrowed)
            }
        }
    }

    /// Takes the key out of the request: the upstream has no use for it, and its logs even less.
    pub(super) fn hide(&self, request: &mut Request) {
        match &self.location {
            KeyLocation::Header(name) => {
                request.fields.remove(name);
            }
            KeyLocation::Query(name) => {
                let query = request.target.query().unwrap_or_default();
                let named = |pair: &&str| pair.split('=').next() != Some(name.as_str());
                let rest: Vec<_> = query.split('&').filter(named).collect();
                let path = request.target.path();
                let target = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
                request.target = Target::new(target);
            }
            KeyLocation::Cookie(name) => {
                // HTTP/2 clients send a field for each cookie (RFC 9113, section 8.2.3).
                let is_ours = |pair: &[u8]| pair.split(|byte| *byte == b'=').next() == Some(name.as_bytes());
                let pairs = cookies(request).filter(|pair| !is_ours(pair)).map(<[u8]>::to_vec).collect::<Vec<_>>();
                request.fields.remove("cookie");
                if !pairs.is_empty() {
                    request.fields.push(b"cookie", &pairs.join(&b"; "[..]));
                }
            }
        }
    }

    /// Where callers put it.
    pub(super) fn place(&self) -> String {
        match &self.location {
            KeyLocation::Header(name) => format!("the header `{name}`"),
            KeyLocation::Query(name) => format!("the query parameter `{name}`"),
            KeyLocation::Cookie(name) => format!("the cookie `{name}`"),
        }
    }

    /// What a refused caller is told (RFC 9110, section 11.6.1). The scheme is not a registered one: there is none for keys.
    pub(super) fn challenge(&self) -> String {
        let place = match &self.location {
            KeyLocation::Header(name) => format!("header=\"{name}\""),
            KeyLocation::Query(name) => format!("query=\"{name}\""),
            KeyLocation::Cookie(name) => format!("cookie=\"{name}\""),
        };
        format!("ApiKey realm=\"{}\", {place}", self.mark.name())
    }
}

impl Known {
    /// No key of these consumers yet.
    fn of(consumers: &Arc<ArcSwap<Consumers>>) -> Self {
        let current = arc_swap::Cache::new(consumers.clone());
        Self { current, consumers: consumers.load_full(), keys: Cache::new(REMEMBERED) }
    }

    /// The keys of the consumers of the moment: with others everything is forgotten.
    fn keys(&mut self) -> &mut Cache<Arc<Identity>> {
        let current = self.current.load();
        if !Arc::ptr_eq(current, &self.consumers) {
            self.consumers = current.clone();
            self.keys = Cache::new(REMEMBERED);
        }
        &mut self.keys
    }

    /// Remembers whose a key is, if these consumers are still those of the moment.
    fn remember(&mut self, consumers: &Arc<Consumers>, key: &[u8], identity: &Arc<Identity>) {
        self.keys();
        if Arc::ptr_eq(&self.consumers, consumers) {
            self.keys.insert(key, identity.expires, identity.clone());
        }
    }
}

/// The pairs of all cookie fields.
fn cookies(request: &Request) -> impl Iterator<Item = &[u8]> {
    let pairs = request.fields.get_all("cookie").flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn query_values<'a>(target: &'a Target, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = target.query().unwrap_or_default().split('&');
    pairs.filter_map(move |pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

/// Undoes percent-encoding (RFC 3986, section 2.1); what is not an escape stays as it is.
fn percent_decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let decoded =
            escape.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match decoded {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}
