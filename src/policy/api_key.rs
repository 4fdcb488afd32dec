//! Finds out who is calling by the key they show.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use portolan_config::snapshot::{self, IdentityKind, KeyLocation};
use portolan_exchange::exchange::Place;
use portolan_exchange::identity::Credential;
use portolan_exchange::{Exchange, Fault, FaultKind, Identity, Phase, Policy, Request, Step, Target, Worker};

use crate::plan::Consumers;

/// Lets in callers whose key one of these sources knows.
pub struct ApiKeys {
    sources: Vec<Source>,
    consumers: Arc<ArcSwap<Consumers>>,
    challenge: String,
}

struct Source {
    name: Arc<str>,
    location: KeyLocation,
    pepper: hmac::Key,
}

impl ApiKeys {
    /// The policy of these sources, asked in their order. Keys are looked up in the consumers as they stand at each request.
    pub fn new(identities: &[Arc<snapshot::Identity>], consumers: Arc<ArcSwap<Consumers>>) -> Self {
        let sources: Vec<_> = identities
            .iter()
            .filter_map(|identity| {
                let IdentityKind::ApiKey(key) = &identity.kind else { return None };
                let pepper = hmac::Key::new(hmac::HMAC_SHA256, key.pepper.expose().as_bytes());
                Some(Source { name: identity.name.clone(), location: key.location.clone(), pepper })
            })
            .collect();
        let challenges: Vec<_> = sources.iter().map(Source::challenge).collect();
        Self { sources, consumers, challenge: challenges.join(", ") }
    }

    /// Who is calling; `None` for a client that may still say so.
    fn identify(&self, worker: &Worker, exchange: &mut Exchange) -> Result<Option<Identity>, Fault> {
        let (mut shown, mut several) = (false, false);
        for source in &self.sources {
            let key = match source.shown(exchange) {
                Shown::Nothing => continue,
                Shown::Several => {
                    several = true;
                    continue;
                }
                Shown::Key(key) => key,
            };
            shown = true;
            let hash = hmac::sign(&source.pepper, &key);
            let hash: &[u8; 32] = hash.as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes");
            let Some(identity) = self.consumers.load().identity(hash, &source.name) else { continue };
            if identity.is_expired(worker.clock.wall()) {
                return Err(self.refuse(FaultKind::CredentialsExpired, "the key has expired"));
            }
            // Keys of the other sources go as well: what this gateway takes for a key is nothing for an upstream.
            for source in &self.sources {
                source.hide(&mut exchange.request);
            }
            exchange.tickets.take::<Credential>();
            return Ok(Some(identity));
        }
        if shown {
            return Err(self.refuse(FaultKind::CredentialsInvalid, "the key is not known"));
        }
        if !several && exchange.awaits_credentials() {
            return Ok(None);
        }
        let place = match exchange.place {
            Place::FirstFrame => "the first frame".to_owned(),
            Place::Request | Place::Child => self.sources.iter().map(Source::place).collect::<Vec<_>>().join(" or "),
        };
        let detail = format!("a key is needed; send it in {place}");
        Err(self.refuse(FaultKind::CredentialsMissing, detail))
    }

    fn refuse(&self, kind: FaultKind, detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
        Fault::new(kind, detail).field("www-authenticate", &self.challenge)
    }
}

impl Policy for ApiKeys {
    fn name(&self) -> &'static str {
        "api_key"
    }

    fn phase(&self) -> Phase {
        Phase::Authenticate
    }

    fn request(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        match self.identify(worker, exchange) {
            Ok(identity) => {
                exchange.identity = identity.map(Arc::new);
                Step::Next
            }
            Err(fault) => Step::fault(fault),
        }
    }
}

/// What stands where a source looks for its key.
enum Shown {
    Nothing,
    Key(Vec<u8>),
    /// What is shown twice is not taken: one of the two would be somebody else's.
    Several,
}

impl Source {
    /// The key as shown: by a session's first frame in it, else in the head.
    fn shown(&self, exchange: &Exchange) -> Shown {
        let request = &exchange.request;
        if exchange.place == Place::FirstFrame {
            let credential = exchange.tickets.get::<Credential>();
            return credential.map_or(Shown::Nothing, |credential| Shown::Key(credential.expose().into()));
        }
        match &self.location {
            KeyLocation::Header(name) => only(request.fields.get_all(name), |value| value.trim_ascii().to_vec()),
            KeyLocation::Query(name) => only(query_values(&request.target, name), percent_decoded),
            KeyLocation::Cookie(name) => {
                let values = cookies(request).filter_map(|pair| {
                    let equals = pair.iter().position(|byte| *byte == b'=')?;
                    (&pair[..equals] == name.as_bytes()).then_some(&pair[equals + 1..])
                });
                only(values, <[u8]>::to_vec)
            }
        }
    }

    /// Takes the key out of the request: the upstream has no use for it, and its logs even less.
    fn hide(&self, request: &mut Request) {
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

    fn place(&self) -> String {
        match &self.location {
            KeyLocation::Header(name) => format!("the header `{name}`"),
            KeyLocation::Query(name) => format!("the query parameter `{name}`"),
            KeyLocation::Cookie(name) => format!("the cookie `{name}`"),
        }
    }

    /// What a refused caller is told (RFC 9110, section 11.6.1). The scheme is not a registered one: there is none for keys.
    fn challenge(&self) -> String {
        let place = match &self.location {
            KeyLocation::Header(name) => format!("header=\"{name}\""),
            KeyLocation::Query(name) => format!("query=\"{name}\""),
            KeyLocation::Cookie(name) => format!("cookie=\"{name}\""),
        };
        format!("ApiKey realm=\"{}\", {place}", self.name)
    }
}

/// The one there is, as a key.
fn only<T>(mut values: impl Iterator<Item = T>, key: impl FnOnce(T) -> Vec<u8>) -> Shown {
    match (values.next(), values.next()) {
        (None, _) => Shown::Nothing,
        (Some(value), None) => Shown::Key(key(value)),
        (Some(_), Some(_)) => Shown::Several,
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
fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
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
    out
}
