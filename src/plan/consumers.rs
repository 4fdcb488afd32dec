//! Who may call what: a view over keys and subscriptions that answers at once. The configuration file is its only source
//! so far.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use portolan_config::Snapshot;
use portolan_exchange::identity::{Identity, Subscription, Subscriptions};

use crate::policy::jwt::KeySets;

/// Consumers, their keys and subscriptions.
#[derive(Debug, Default)]
pub struct Consumers {
    // By the first eight bytes of the hash: what is compared beyond them is compared in constant time.
    keys: HashMap<[u8; 8], Vec<Key>>,
    // Credentials that are known, by their name in logs.
    credentials: HashSet<(Arc<str>, Arc<str>)>,
    // By the name of the API: of what a consumer may call, one is found without writing down what is asked for.
    subscriptions: HashMap<Arc<str>, Vec<Subscribed>>,
    names: Arc<HashSet<Arc<str>>>,
    // The names of an issuer's keys, by the identity that trusts it.
    signers: HashMap<Arc<str>, HashSet<Arc<str>>>,
}

#[derive(Debug)]
struct Key {
    hash: [u8; 32],
    consumer: Arc<str>,
    credential: Arc<str>,
    expires: Option<SystemTime>,
}

/// Who subscribed to one version of an API in one environment.
#[derive(Debug)]
struct Subscribed {
    version: Arc<str>,
    environment: Arc<str>,
    by: HashMap<Arc<str>, Arc<Subscription>>,
}

impl Consumers {
    /// The consumers of a snapshot, and whose tokens are believed.
    pub fn of(snapshot: &Snapshot, key_sets: &KeySets) -> Self {
        let mut keys: HashMap<[u8; 8], Vec<Key>> = HashMap::new();
        for consumer in snapshot.consumers.values() {
            for key in &consumer.keys {
                let entry = Key {
                    hash: key.hash,
                    consumer: consumer.name.clone(),
                    credential: credential(&key.hash).into(),
                    expires: key.expires,
                };
                keys.entry(prefix(&key.hash)).or_default().push(entry);
            }
        }
        let mut subscriptions: HashMap<Arc<str>, Vec<Subscribed>> = HashMap::new();
        for one in &snapshot.subscriptions {
            let subscription = Subscription {
                id: format!("{}/{}/{}/{}", one.consumer, one.api, one.version, one.environment).into(),
                plan: one.plan.as_ref().map(|plan| plan.name.clone()),
                scopes: one.scopes.clone().into(),
            };
            let versions = subscriptions.entry(one.api.clone()).or_default();
            let known = versions.iter().position(|known| known.is(&one.version, &one.environment));
            let at = known.unwrap_or_else(|| {
                let (version, environment) = (one.version.clone(), one.environment.clone());
                versions.push(Subscribed { version, environment, by: HashMap::new() });
                versions.len() - 1
            });
            versions[at].by.insert(one.consumer.clone(), Arc::new(subscription));
        }
        let known = |key: &Key| (key.consumer.clone(), key.credential.clone());
        let credentials = keys.values().flatten().map(known).collect();
        let signers = key_sets.iter().map(|(name, keys)| (name.clone(), keys.names().cloned().collect()));
        Self {
            keys,
            credentials,
            subscriptions,
            names: Arc::new(snapshot.consumers.keys().cloned().collect()),
            signers: signers.collect(),
        }
    }

    /// The names of all consumers.
    pub fn names(&self) -> &Arc<HashSet<Arc<str>>> {
        &self.names
    }

    /// The identity of a key, by its hash. It may have expired: the caller looks.
    pub fn identity(&self, hash: &[u8; 32], source: &Arc<str>) -> Option<Identity> {
        let key = self.keys.get(&prefix(hash))?.iter().find(|key| same(&key.hash, hash))?;
        Some(Identity {
            consumer: key.consumer.clone(),
            source: source.clone(),
            credential: key.credential.clone(),
            expires: key.expires,
            scopes: Arc::default(),
        })
    }
}

impl Subscribed {
    fn is(&self, version: &str, environment: &str) -> bool {
        *self.version == *version && *self.environment == *environment
    }
}

impl Subscriptions for Consumers {
    fn find(&self, consumer: &str, api: &str, version: &str, environment: &str) -> Option<Arc<Subscription>> {
        let versions = self.subscriptions.get(api)?;
        versions.iter().find(|one| one.is(version, environment))?.by.get(consumer).cloned()
    }

    fn stands(&self, identity: &Identity) -> bool {
        let Some(signers) = self.signers.get(&identity.source) else {
            return self.credentials.contains(&(identity.consumer.clone(), identity.credential.clone()));
        };
        // A token is named after the key that signed it, and stands as long as that is believed.
        let signer = identity.credential.split_once('.').map(|(signer, _)| signer);
        self.names.contains(&identity.consumer) && signer.is_some_and(|signer| signers.contains(signer))
    }
}

fn prefix(hash: &[u8; 32]) -> [u8; 8] {
    hash[..8].try_into().expect("a hash has more than eight bytes")
}

fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

// The first bytes of the hash name the key in logs; without the pepper it says nothing about the key itself.
fn credential(hash: &[u8; 32]) -> String {
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
