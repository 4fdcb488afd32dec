//! Tokens of an issuer.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::{Name, Source};
pub use crate::document::{Algorithm, TokenCache, TokenFailures};

/// Tokens of one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The issuer's key set, as read from disk; what it says is read by whoever uses it.
    pub jwks: Arc<Source>,
    /// The claim `iss` of its tokens.
    pub issuer: Name,
    /// What the claim `aud` may name; `None` lets it name anybody.
    pub audiences: Option<Vec<Name>>,
    /// The algorithms that are taken.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the consumer.
    pub consumer_claim: Name,
    /// Consumers by what that claim says; `None` where it says the consumer's name.
    pub consumers: Option<IndexMap<Name, Name>>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// Whether the upstream sees the token.
    pub forward: bool,
    /// What each worker remembers of verified tokens.
    pub cache: TokenCache,
    /// How often an address may show tokens whose signature does not fit.
    pub failures: TokenFailures,
}
