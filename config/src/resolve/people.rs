//! Consumers: no key belongs to two, and subscriptions are spread over the APIs they are to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;

use super::Resolver;
use crate::document::{self, Entries};
use crate::reader::Placed;
use crate::snapshot::{Api, ApiKey, Consumer, Key, KeyLocation, Name, Plan, Subscription};

type Apis = IndexMap<Name, Arc<Api>>;

pub(super) fn api_key(key: document::ApiKey) -> ApiKey {
    let document::ApiKey { header, query, cookie, pepper } = key;
    let location = match (header, query, cookie) {
        (Some(header), ..) => KeyLocation::Header(header),
        (_, Some(query), _) => KeyLocation::Query(query.to_string()),
        (_, _, Some(cookie)) => KeyLocation::Cookie(cookie.to_string()),
        (None, None, None) => KeyLocation::Header("x-api-key".to_owned()),
    };
    ApiKey { location, pepper }
}

impl Resolver<'_> {
    pub(super) fn consumers(
        &mut self,
        entries: Entries<document::Consumer>,
        apis: &Apis,
    ) -> (IndexMap<Name, Arc<Consumer>>, Vec<Subscription>) {
        let (mut consumers, mut all) = (IndexMap::with_capacity(entries.len()), Vec::new());
        let mut owners: HashMap<[u8; 32], Name> = HashMap::new();
        for (name, entry) in entries {
            let keys = entry.value.keys.into_iter().map(|key| self.key(key, &name, &mut owners)).collect();
            let subscriptions = self.subscriptions(&name, entry.value.subscriptions, apis);
            all.extend(subscriptions.iter().cloned());
            consumers.insert(name.clone(), Arc::new(Consumer { name, keys, subscriptions }));
        }
        (consumers, all)
    }

    fn key(&mut self, key: Placed<document::Key>, consumer: &Name, owners: &mut HashMap<[u8; 32], Name>) -> Key {
        let Placed { value: document::Key { hash, expires }, place } = key;
        // All zeros stand for a hash that was told to be wrong.
        let told = hash == [0; 32];
        if !told && let Some(owner) = owners.insert(hash, consumer.clone()) {
            let message = format!("the key belongs to consumer `{owner}` already");
            self.error(&place, message, "one key tells one consumer");
        }
        Key { hash, expires }
    }

    fn subscriptions(
        &mut self,
        consumer: &Name,
        written: Vec<Placed<document::Subscription>>,
        apis: &Apis,
    ) -> Vec<Subscription> {
        let written = self.without_repeats(written);
        let by_name: HashSet<(&Name, &Name)> =
            written.iter().map(|entry| (&entry.value.api, &entry.value.environment)).collect();
        let mut resolved = Vec::new();
        for entry in &written {
            let document::Subscription { api: wanted, version, environment, .. } = &entry.value;
            let plan = self.plan_of(&entry.value);
            let spread = &**wanted == "*";
            let named = apis.get(wanted).filter(|_| !spread);
            let others = apis.values().filter(|api| spread && !by_name.contains(&(&api.name, environment)));
            for api in named.into_iter().chain(others) {
                match version {
                    Some(version) if version.value.is_empty() => continue,
                    Some(version) if version.value != api.version => {
                        if !spread {
                            let message = format!("no version `{}` of API `{wanted}`", version.value);
                            self.error(&version.place, message, &format!("it is `{}`", api.version));
                        }
                        continue;
                    }
                    _ => {}
                }
                resolved.push(Subscription {
                    consumer: consumer.clone(),
                    api: api.name.clone(),
                    version: api.version.clone(),
                    environment: environment.clone(),
                    plan: plan.clone(),
                    scopes: entry.value.scopes.clone(),
                });
            }
        }
        resolved
    }

    /// Tells an API that stands twice for one environment.
    fn without_repeats(&mut self, written: Vec<Placed<document::Subscription>>) -> Vec<Placed<document::Subscription>> {
        let mut kept: Vec<Placed<document::Subscription>> = Vec::new();
        let mut seen = HashSet::new();
        for entry in written {
            let (api, environment) = (entry.value.api.clone(), entry.value.environment.clone());
            // An empty name stands for one that was told to be wrong.
            if api.is_empty() {
                continue;
            }
            if !seen.insert((api.clone(), environment.clone())) {
                let message = format!("there is a subscription to `{api}` in `{environment}` already");
                self.error(&entry.place, message, "one for each API and environment");
                continue;
            }
            kept.push(entry);
        }
        kept
    }

    fn plan_of(&mut self, subscription: &document::Subscription) -> Option<Arc<Plan>> {
        let name = subscription.plan.as_ref()?;
        self.used.insert(("plans", name.clone()));
        self.plans.get(name).cloned()
    }
}
