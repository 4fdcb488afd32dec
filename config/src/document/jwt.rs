//! Tokens: which are taken, and whom they name.

use std::path::PathBuf;
use std::time::Duration;

use crate::reader::Placed;
use crate::setting::{
    Consumers, Flag, Free, HOUR, KeyFile, Keyed, List, MINUTE, OneOrMany, Reference, SECOND, Size, Span, Whole,
};
use crate::snapshot::Name;
use crate::table::{choices, settings};

use super::Entries;

settings! {
    /// JSON Web Tokens of one issuer, shown as `Authorization: Bearer …`.
    pub struct Jwt one_of(Required) ["audience", "dangerous_any_audience"] {
        /// The issuer's public keys: a file with a JSON Web Key Set, relative to this file. A change of it takes effect
        /// within a second; tokens of a key that is gone are refused from then on.
        jwks: Placed<PathBuf> as Placed<KeyFile>, required;
        /// Who issues the tokens: their claim `iss`, to the letter.
        issuer: Placed<Name> as Placed<Free>, required;
        /// For whom the tokens are, one or a list: their claim `aud` names one of these.
        audience: Option<Placed<Vec<Name>>> as Placed<OneOrMany<Free, 16>>, optional;
        /// `true` takes tokens that were issued for others, too: whoever receives one from a client of the issuer can use
        /// it here.
        dangerous_any_audience: Option<Placed<bool>> as Placed<Flag>, optional;
        /// The algorithms that are taken. Without it: both. A key is used for its own algorithm alone.
        algorithms: Option<Vec<Algorithm>> as List<Algorithm, 1, 2>, optional;
        /// The claim that names the consumer. `client_id` (RFC 9068) or `azp` name the application that calls, `sub` the
        /// person or the service in whose name it does.
        consumer_claim: Name as Free, default("sub");
        /// Consumers by what the issuer calls them. Without it the claim is the consumer's name itself, so that the issuer
        /// can name any. With it no other can be named.
        consumers: Option<Placed<Entries<Name>>> as Placed<Keyed<Reference<Consumers>>>, optional;
        /// How far the issuer's clock may be off: so much longer is a token taken, and so much earlier.
        leeway: Duration as Span<0, { 5 * MINUTE }>, default("30s");
        /// Whether the upstream sees the token. A service that sees it can use it wherever it is taken.
        forward: bool as Flag, default("false");
        /// What each worker remembers of verified tokens.
        cache: TokenCache as TokenCache, default("{}");
        /// How often a client address may show tokens that turn out not to be signed by the issuer. Past it, tokens from
        /// there that are not known already get 429.
        failures: TokenFailures as TokenFailures, default("{}");
    }

    /// What each worker remembers of verified tokens: the second time one costs a look-up. It is forgotten when it expires,
    /// when the keys change, and when others are used more.
    #[derive(Eq)]
    pub struct TokenCache {
        /// Tokens.
        tokens: usize as Whole<usize, 2, 1_000_000>, default("10000");
        /// Bytes, some 256 besides each token counted.
        bytes: usize as Size<4_096, { 1 << 30 }>, default("16MiB");
    }

    /// How often a client address may show tokens whose signature does not fit. An IPv6 client has its network of 64 bits.
    #[derive(Eq)]
    pub struct TokenFailures {
        /// Such tokens in every period, and at once.
        limit: u64 as Whole<u64, 1, 1_000_000>, default("30");
        /// The period.
        every: Duration as Span<SECOND, HOUR>, default("1m");
    }
}

choices! {
    /// An algorithm that signs tokens (RFC 7518, section 3.1).
    pub enum Algorithm {
        /// RSASSA-PKCS1-v1_5 with SHA-256; keys of 2048 bits at least.
        Rs256 = "RS256",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
    }
}
