//! Who may call: identities, consumers, plans.

use std::time::SystemTime;

use crate::reader::Placed;
use crate::secret::Secret;
use crate::setting::{
    Chosen, Date, Free, Hash, HeaderName, Identifier, List, OneOrMany, Plans, Reference, SecretText, Version,
};
use crate::snapshot::Name;
use crate::table::settings;

use super::{Jwt, RateLimit};

settings! {
    /// A way to find out who is calling: `api_key` or `jwt`, exactly one.
    pub struct Identity one_of(Required) ["api_key", "jwt"] {
        /// By a key that the caller shows.
        api_key: Option<ApiKey> as ApiKey, optional;
        /// By a token that an issuer signed.
        jwt: Option<Jwt> as Jwt, optional;
    }

    /// Keys that callers show. Of each only a hash is known here: HMAC-SHA-256 of the key under the pepper.
    pub struct ApiKey one_of(Optional) ["header", "query", "cookie"] {
        /// The header that carries the key. Without `header`, `query` and `cookie` it is `x-api-key`.
        header: Option<String> as HeaderName, optional;
        /// The parameter of the query that carries the key. It ends up in the logs of everything on the way.
        query: Option<Name> as Identifier, optional;
        /// The cookie that carries the key.
        cookie: Option<Name> as Identifier, optional;
        /// The secret under which keys are hashed, by reference: `${env:NAME}`. Who changes it makes every key void.
        pepper: Secret as SecretText, required;
    }

    /// Somebody who may call.
    pub struct Consumer {
        /// Its keys: two of them while one replaces the other.
        keys: Vec<Placed<Key>> as List<Placed<Key>, 0, 100>, default("[]");
        /// The APIs it may call. To any other it gets 403.
        subscriptions: Vec<Placed<Subscription>> as List<Placed<Subscription>, 0, 10_000>, default("[]");
    }

    /// A key of a consumer.
    #[derive(Eq)]
    pub struct Key {
        /// HMAC-SHA-256 of the key under the identity's pepper, as 64 hexadecimal digits.
        hash: [u8; 32] as Hash, required;
        /// From when on it is refused, as in RFC 3339: `2027-01-31T12:00:00Z`. Without it: never.
        expires: Option<SystemTime> as Date, optional;
    }

    /// A consumer's right to call one version of one API in one environment.
    pub struct Subscription {
        /// The API, or `*` for all of them, those without an entry of their own.
        api: Name as Chosen, required;
        /// The version of the API. Without it: whichever the API has.
        version: Option<Placed<Name>> as Placed<Version>, optional;
        /// The environment that it holds in.
        environment: Name as Identifier, default("production");
        /// The plan that says what it is entitled to. Without it only the API's limits hold.
        plan: Option<Name> as Reference<Plans>, optional;
        /// What the consumer may do, as the contracts name it.
        scopes: Vec<Name> as List<Free, 0, 256>, default("[]");
    }

    /// What a subscription is entitled to.
    pub struct Plan {
        /// Limits of each subscription with this plan, one or a list; besides the API's.
        rate_limit: Vec<RateLimit> as OneOrMany<RateLimit, 16>, default("[]");
    }
}
