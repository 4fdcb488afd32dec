//! Who is calling, as which consumer, under which subscription.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Who is calling: what authentication found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The consumer the credential belongs to.
    pub consumer: Arc<str>,
    /// The name of the identity source that vouched: `keys` of `identity.keys`.
    pub source: Arc<str>,
    /// A name for the credential that is safe to log; never the credential.
    pub credential: Arc<str>,
    /// When the credential ends; sessions and child exchanges check it again.
    pub expires: Option<SystemTime>,
    /// What the credential grants by itself, such as the scopes of a token; a subscription has its own.
    pub scopes: Arc<[Arc<str>]>,
}

impl Identity {
    /// Whether the credential has ended.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// A credential that came in a session's first frame: whatever kind the route's policies take. It lies in the exchange as a
/// ticket, where a policy of Authenticate looks in place of the request's head.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Box<str>);

impl Credential {
    /// Takes what the client showed.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// What the client showed: for the policy that judges it, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// A consumer's right to one API version in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Names it in logs and limits: `acme/orders/v3/production`.
    pub id: Arc<str>,
    /// The plan it was taken under.
    pub plan: Option<Arc<str>>,
    /// What it permits within the API.
    pub scopes: Arc<[Arc<str>]>,
}

/// Finds subscriptions: a view that answers at once. The configuration file is only its first source.
pub trait Subscriptions: Send + Sync {
    /// The subscription of this consumer to this API, in this version and environment.
    fn find(&self, consumer: &str, api: &str, version: &str, environment: &str) -> Option<Arc<Subscription>>;

    /// Whether this identity is still good: its consumer known, its credential not revoked.
    fn stands(&self, identity: &Identity) -> bool;
}
