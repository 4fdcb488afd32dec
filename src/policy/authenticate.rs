//! Finds out who is calling: asks the identities that a route names, in the order in which it names them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use portolan_config::snapshot;
use portolan_exchange::exchange::Place;
use portolan_exchange::identity::Credential;
use portolan_exchange::{Exchange, Fault, FaultKind, Identity, Phase, Policy, Request, Step, Worker};

use super::api_key::KeySource;
use super::jwt::TokenSource;

/// Lets in callers whom one of these identities knows.
///
/// A request may show several credentials. The identities are asked in their order, and the first that finds a credential of
/// its own decides, for good or ill: a key that it stores, a token that names its issuer. What no identity takes for its own
/// (an unknown key, a token of somebody else's) is passed over while there is another to ask, and refused in the end. So a
/// bad credential never hides behind a good one that stands later in the list.
pub struct Authenticate {
    sources: Vec<Source>,
    name: &'static str,
}

/// One identity. All routes that take it share it, and with it what workers remember.
#[derive(Clone)]
pub enum Source {
    /// Keys.
    Keys(Arc<KeySource>),
    /// Tokens of an issuer.
    Tokens(Arc<TokenSource>),
}

/// What an identity finds in a request.
pub(super) enum Finding {
    /// Nothing is shown that it looks for.
    Nothing,
    /// What is shown twice is not taken: one of the two would be somebody else's.
    Several,
    /// What is shown is not its own.
    Foreign(Refused),
    /// The credential is its own, and not good.
    Refused(Refused),
    /// The credential is good.
    Known(Arc<Identity>),
}

/// Why a credential is not taken.
pub(super) struct Refused {
    /// What the caller is told, but for the challenge.
    pub(super) fault: Fault,
    /// What the challenge adds: an error of RFC 6750, section 3.1, and its description.
    pub(super) error: Option<(&'static str, String)>,
}

impl Authenticate {
    /// The policy of these identities; `sources` has each of them by its name.
    pub fn new(identities: &[Arc<snapshot::Identity>], sources: &HashMap<Arc<str>, Source>) -> Self {
        let source = |identity: &Arc<snapshot::Identity>| {
            sources.get(&identity.name).expect("every identity has its source").clone()
        };
        let sources: Vec<_> = identities.iter().map(source).collect();
        let takes_keys = sources.iter().any(|source| matches!(source, Source::Keys(_)));
        let takes_tokens = sources.iter().any(|source| matches!(source, Source::Tokens(_)));
        let name = match (takes_keys, takes_tokens) {
            (true, true) => "identity",
            (false, true) => "jwt",
            (_, false) => "api_key",
        };
        Self { sources, name }
    }

    /// Who is calling; `None` for a client that may still say so.
    fn identify(&self, worker: &Worker, exchange: &mut Exchange) -> Result<Option<Arc<Identity>>, Fault> {
        let (mut foreign, mut several) = (None, false);
        for (at, source) in self.sources.iter().enumerate() {
            match source.judge(worker, exchange) {
                Finding::Nothing => {}
                Finding::Several => several = true,
                Finding::Foreign(refused) => foreign = foreign.or(Some((at, refused))),
                Finding::Refused(refused) => return Err(self.challenged(at, refused)),
                Finding::Known(identity) => {
                    // Credentials of the others go as well: what this route takes for one is nothing for an upstream.
                    for source in &self.sources {
                        source.hide(&mut exchange.request);
                    }
                    exchange.tickets.take::<Credential>();
                    return Ok(Some(identity));
                }
            }
        }
        if let Some((at, refused)) = foreign {
            return Err(self.challenged(at, refused));
        }
        if !several && exchange.awaits_credentials() {
            return Ok(None);
        }
        Err(self.missing(exchange.place))
    }

    fn missing(&self, place: Place) -> Fault {
        let what = match self.name {
            "identity" => "a key or a token",
            "jwt" => "a token",
            _ => "a key",
        };
        let place = match place {
            Place::FirstFrame => "the first frame".to_owned(),
            Place::Request | Place::Child => {
                let mut places: Vec<_> = self.sources.iter().map(Source::place).collect();
                places.dedup();
                places.join(" or ")
            }
        };
        let detail = format!("{what} is needed; send it in {place}");
        self.challenged(usize::MAX, Refused::new(Fault::new(FaultKind::CredentialsMissing, detail)))
    }

    /// The fault with a challenge for each identity (RFC 9110, section 11.6.1), each in a field of its own, which clients read
    /// more reliably than a list of them. That of the identity at fault says what is wrong.
    fn challenged(&self, at: usize, refused: Refused) -> Fault {
        let Refused { mut fault, error } = refused;
        if fault.kind().status() != 401 {
            return fault;
        }
        for (index, source) in self.sources.iter().enumerate() {
            let error = error.as_ref().filter(|_| index == at);
            fault = fault.field("www-authenticate", &source.challenge(error));
        }
        fault
    }
}

impl Policy for Authenticate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn phase(&self) -> Phase {
        Phase::Authenticate
    }

    fn request(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        match self.identify(worker, exchange) {
            Ok(identity) => {
                exchange.identity = identity;
                Step::Next
            }
            Err(fault) => Step::fault(fault),
        }
    }
}

impl Source {
    fn judge(&self, worker: &Worker, exchange: &Exchange) -> Finding {
        match self {
            Self::Keys(keys) => keys.judge(worker, exchange),
            Self::Tokens(tokens) => tokens.judge(worker, exchange),
        }
    }

    /// Takes the credential out of the request.
    fn hide(&self, request: &mut Request) {
        match self {
            Self::Keys(keys) => keys.hide(request),
            Self::Tokens(tokens) => tokens.hide(request),
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Keys(keys) => keys.place(),
            Self::Tokens(_) => "the header `authorization` after `Bearer`".to_owned(),
        }
    }

    fn challenge(&self, error: Option<&(&'static str, String)>) -> String {
        match self {
            Self::Keys(keys) => keys.challenge(),
            Self::Tokens(tokens) => tokens.challenge(error),
        }
    }
}

impl Refused {
    /// A refusal whose challenge has nothing to add.
    pub(super) fn new(fault: Fault) -> Self {
        Self { fault, error: None }
    }

    /// A refusal of this kind with this sentence.
    pub(super) fn of(kind: FaultKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Fault::new(kind, detail))
    }
}
