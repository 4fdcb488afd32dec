//! What outlives plans: actors, services, brokers, buckets. A reload takes over whatever did not change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use portolan_actors::breaker::{self, Breaker};
use portolan_actors::health::Health;
use portolan_actors::limiter::{Limiter, MemoryStore};
use portolan_actors::supervision::Control;
use portolan_config::snapshot;
use portolan_exchange::events::Listener;
use portolan_exchange::{Clock, Policy};
use portolan_identity::KeySet;

use super::{BrokerLink, Consumers};
use crate::policy::jwt::{self, TokenSource};
use crate::upstream::{Endpoint, HttpProbe, Service};

/// What outlives plans.
pub struct Shared {
    /// The actors' own thread.
    pub control: Control,
    limiter: Limiter,
    /// Policies of the program that embeds the gateway.
    pub policies: Vec<Arc<dyn Policy>>,
    /// Consumers as they stand.
    pub consumers: Arc<ArcSwap<Consumers>>,
    known: Mutex<Known>,
    shards: Arc<Shards>,
    endpoints: AtomicU64,
}

/// What the plan in force uses; gone with the last plan that does.
#[derive(Default)]
struct Known {
    services: HashMap<Arc<str>, Weak<Service>>,
    brokers: HashMap<Arc<str>, Weak<BrokerLink>>,
    tokens: HashMap<Arc<str>, Weak<TokenSource>>,
    // Counters outlive what they count, as those of routes do.
    token_counts: BTreeMap<Arc<str>, Arc<jwt::Counts>>,
}

/// The shards of all workers: each is told when a topic's log has grown.
#[derive(Default)]
pub struct Shards(Mutex<Vec<Arc<dyn Listener>>>);

impl Shards {
    /// All that have joined.
    pub fn all(&self) -> Vec<Arc<dyn Listener>> {
        lock(&self.0).clone()
    }
}

impl Shared {
    /// Nothing yet but the actors' thread and empty buckets.
    pub fn new(control: Control, policies: Vec<Arc<dyn Policy>>) -> Arc<Self> {
        let limiter = Limiter::start(&control, portolan_actors::limiter::Settings::default());
        Arc::new(Self {
            control,
            limiter,
            policies,
            consumers: Arc::default(),
            known: Mutex::default(),
            shards: Arc::default(),
            endpoints: AtomicU64::new(0),
        })
    }

    /// The buckets of all limits.
    pub fn store(&self) -> &Arc<MemoryStore> {
        self.limiter.store()
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        self.control.clock()
    }

    /// The running service of these settings: the one there is, if they did not change.
    pub fn service(&self, settings: &Arc<snapshot::Upstream>) -> Arc<Service> {
        let mut known = lock(&self.known);
        let there = known.services.get(&settings.name).and_then(Weak::upgrade);
        if let Some(service) = there.filter(|service| **service.settings() == **settings) {
            return service;
        }
        let service = Arc::new(self.start_service(settings));
        known.services.insert(settings.name.clone(), Arc::downgrade(&service));
        service
    }

    fn start_service(&self, settings: &Arc<snapshot::Upstream>) -> Service {
        let number = |endpoint| Endpoint::new(self.endpoints.fetch_add(1, Ordering::Relaxed), endpoint);
        let endpoints: Vec<_> = settings.endpoints.iter().map(number).collect();
        let breaker = settings.breaker.as_ref().map(|settings_of| {
            let rules = breaker::Settings {
                error_ratio: settings_of.error_ratio,
                minimum: settings_of.minimum,
                window: settings_of.window,
                open_for: settings_of.open_for,
                probes: settings_of.probes,
                // A call that was let through for a probe ends within its own time; one that did not was lost.
                probe_timeout: settings.timeouts.request,
            };
            Breaker::start(&self.control, &settings.name, rules)
        });
        let health = settings.health.as_ref().map(|health| {
            let names: Vec<_> = endpoints.iter().map(|endpoint| endpoint.authority.clone()).collect();
            let rules = portolan_actors::health::Settings {
                interval: health.interval,
                timeout: health.timeout,
                unhealthy_after: health.unhealthy_after,
                healthy_after: health.healthy_after,
            };
            let probe = HttpProbe::new(&endpoints, health.path.clone());
            Health::start(&self.control, &settings.name, &names, rules, probe)
        });
        Service::new(settings.clone(), endpoints, health, breaker)
    }

    /// The link to a broker: the one there is, if its settings did not change.
    pub fn broker(&self, settings: &Arc<snapshot::Broker>) -> Arc<BrokerLink> {
        let mut known = lock(&self.known);
        let there = known.brokers.get(&settings.name).and_then(Weak::upgrade);
        if let Some(link) = there.filter(|link| **link.settings() == **settings) {
            return link;
        }
        let link = BrokerLink::start(&self.control, settings.clone(), self.shards.clone());
        known.brokers.insert(settings.name.clone(), Arc::downgrade(&link));
        link
    }

    /// The source of an issuer's tokens: the one there is, with all that is remembered of it, if neither its settings nor its
    /// keys nor the names of consumers changed.
    pub fn tokens(
        &self,
        settings: &Arc<snapshot::Identity>,
        of_tokens: &snapshot::Jwt,
        keys: Arc<KeySet>,
        consumers: &Arc<HashSet<Arc<str>>>,
    ) -> Arc<TokenSource> {
        let mut known = lock(&self.known);
        let there = known.tokens.get(&settings.name).and_then(Weak::upgrade);
        if let Some(source) = there.filter(|source| source.is_of(settings, consumers)) {
            return source;
        }
        let counts = known.token_counts.entry(settings.name.clone()).or_default().clone();
        let around = jwt::Surroundings { consumers: consumers.clone(), store: self.store().clone(), counts };
        let source = TokenSource::new(settings, of_tokens, keys, around);
        known.tokens.insert(settings.name.clone(), Arc::downgrade(&source));
        source
    }

    /// What was counted of tokens, by the identity.
    pub fn token_counts(&self) -> Vec<(Arc<str>, jwt::Total)> {
        lock(&self.known).token_counts.iter().map(|(name, counts)| (name.clone(), counts.total())).collect()
    }

    /// A worker's shard wants to be told of every topic, those to come included.
    pub fn join_shard(&self, shard: Arc<dyn Listener>) {
        lock(&self.shards.0).push(shard.clone());
        let links: Vec<_> = lock(&self.known).brokers.values().filter_map(Weak::upgrade).collect();
        for link in links {
            link.tell(&shard);
        }
    }

    /// Ends the actors.
    pub fn end(&self) {
        self.control.stop();
    }
}

// What these locks keep is changed by single statements, so poisoning carries no news.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
