//! Identities: keys and tokens.

use std::sync::Arc;

use indexmap::IndexMap;

use super::{Resolver, people};
use crate::document::{self, Algorithm, Entries};
use crate::reader::Placed;
use crate::snapshot::{Identity, IdentityKind, Jwt, Name};

impl Resolver<'_> {
    /// The identities; one of which something was told to be wrong is left out.
    pub(super) fn identities(&mut self, entries: Entries<document::Identity>) -> IndexMap<Name, Arc<Identity>> {
        let mut identities = IndexMap::with_capacity(entries.len());
        for (name, Placed { value: document::Identity { api_key, jwt }, .. }) in entries {
            let kind = match (api_key, jwt) {
                (Some(key), _) => Some(IdentityKind::ApiKey(people::api_key(key))),
                (None, Some(jwt)) => self.jwt(jwt).map(IdentityKind::Jwt),
                // That neither is there was told.
                (None, None) => None,
            };
            if let Some(kind) = kind {
                identities.insert(name.clone(), Arc::new(Identity { name, kind }));
            }
        }
        identities
    }

    fn jwt(&mut self, written: document::Jwt) -> Option<Jwt> {
        let audiences = match (written.audience, written.dangerous_any_audience) {
            (Some(audience), _) if audience.value.is_empty() => {
                self.error(&audience.place, "no audience is named, so no token would be taken", "name one");
                None
            }
            (Some(audience), _) => Some(audience.value),
            (None, Some(Placed { value: false, place })) => {
                self.error(
                    &place,
                    "no audience is named, so no token would be taken",
                    "write `audience: NAME` instead",
                );
                None
            }
            (None, _) => None,
        };
        let consumers = written.consumers.map(|consumers| {
            if consumers.value.is_empty() {
                let hint = "leave it out to take the claim for the consumer's name";
                self.error(&consumers.place, "no consumer is named, so no token would be taken", hint);
            }
            consumers.value.into_iter().map(|(value, consumer)| (value, consumer.value)).collect()
        });
        let jwks = self.source(&written.jwks)?;
        Some(Jwt {
            jwks,
            issuer: written.issuer.value,
            audiences,
            algorithms: written.algorithms.unwrap_or_else(|| vec![Algorithm::Rs256, Algorithm::Es256]),
            consumer_claim: written.consumer_claim,
            consumers,
            leeway: written.leeway,
            forward: written.forward,
            cache: written.cache,
            failures: written.failures,
        })
    }
}
