//! Who may call what: a view over keys and subscriptions that answers at once. The configuration file is its only source
//! so far.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use portolan_config::Snapshot;
use portolan_exchange::identity::{Identity, Subscription, Subscriptions};

/// Consumers, their keys and subscriptions.
#[derive(Debug, Default)]
pub struct Consumers {
    // By the first eight bytes of the hash: what is compared beyond them is compared in constant time.
    keys: HashMap<[u8; 8], Vec<Key>>,
    // Credentials that are known, by their name in logs.
    credentials: HashSet<(Arc<str>, Arc<str>)>,
    subscriptions: HashMap<Access, Arc<Subscription>>,
}

#[derive(Debug)]
struct Key {
    hash: [u8; 32],
    consumer: Arc<str>,
    credential: Arc<str>,
    expires: Option<SystemTime>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Access {
    consumer: Arc<str>,
    api: Arc<str>,
    version: Arc<str>,
    environment: Arc<str>,
}

impl Consumers {
    /// The consumers of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
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
        let subscriptions = snapshot.subscriptions.iter().map(|one| {
            let access = Access {
                consumer: one.consumer.clone(),
                api: one.api.clone(),
                version: one.version.clone(),
                environment: one.environment.clone(),
            };
            let subscription = Subscription {
                id: format!("{}/{}/{}/{}", one.consumer, one.api, one.version, one.environment).into(),
                plan: one.plan.as_ref().map(|plan| plan.name.clone()),
                scopes: one.scopes.clone().into(),
            };
            (access, Arc::new(subscription))
        });
        let known = |key: &Key| (key.consumer.clone(), key.credential.clone());
        let credentials = keys.values().flatten().map(known).collect();
        Self { keys, credentials, subscriptions: subscriptions.collect() }
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

impl Subscriptions for Consumers {
    fn find(&self, consumer: &str, api: &str, version: &str, environment: &str) -> Option<Arc<Subscription>> {
        let access = Access {
            consumer: consumer.into(),
            api: api.into(),
            version: version.into(),
            environment: environment.into(),
        };
        self.subscriptions.get(&access).cloned()
    }

    fn stands(&self, identity: &Identity) -> bool {
        self.credentials.contains(&(identity.consumer.clone(), identity.credential.clone()))
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
