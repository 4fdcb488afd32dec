//! Makes a snapshot of a document: names become what they name, contracts are read, and what only the whole can show
//! is checked.

mod api;
mod cors;
mod jwt;
mod limit;
mod listener;
mod people;
mod route;
mod sanitise;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::document::{self, Document, Entries};
use crate::load::{Disk, beside};
use crate::reader::Placed;
use crate::snapshot::{
    AccessLog, Admin, Broker, BrokerKind, Endpoint, Identity, LogTarget, Name, Plan, Snapshot, Source, Upstream,
};

/// Resolves a document. `diagnostics` is what was told while it was read.
pub(crate) fn resolve(
    file: &Path,
    document: Document,
    diagnostics: Diagnostics,
    disk: &Disk<'_>,
) -> Result<Snapshot, Diagnostics> {
    let mut resolver = Resolver::new(file, diagnostics, disk);
    let snapshot = resolver.snapshot(document);
    let (mut warnings, mut errors): (Diagnostics, Diagnostics) = (Diagnostics::new(), Diagnostics::new());
    for diagnostic in resolver.diagnostics {
        match diagnostic.severity {
            crate::Severity::Error => errors.push(diagnostic),
            crate::Severity::Warning => warnings.push(diagnostic),
        }
    }
    // Beside an error a warning may be its mere consequence: nothing uses an upstream whose one user is misspelt.
    if !errors.is_empty() {
        errors.sort();
        return Err(errors);
    }
    warnings.sort();
    Ok(Snapshot { warnings, ..snapshot })
}

struct Resolver<'a> {
    file: &'a Path,
    disk: &'a Disk<'a>,
    diagnostics: Diagnostics,
    /// Contracts read so far; `None` where that was told to fail.
    sources: HashMap<PathBuf, Option<Arc<Source>>>,
    identities: IndexMap<Name, Arc<Identity>>,
    upstreams: IndexMap<Name, Arc<Upstream>>,
    brokers: IndexMap<Name, Arc<Broker>>,
    plans: IndexMap<Name, Arc<Plan>>,
    /// What something refers to: section and name.
    used: HashSet<(&'static str, Name)>,
}

impl<'a> Resolver<'a> {
    fn new(file: &'a Path, diagnostics: Diagnostics, disk: &'a Disk<'a>) -> Resolver<'a> {
        Resolver {
            file,
            disk,
            diagnostics,
            sources: HashMap::new(),
            identities: IndexMap::new(),
            upstreams: IndexMap::new(),
            brokers: IndexMap::new(),
            plans: IndexMap::new(),
            used: HashSet::new(),
        }
    }

    /// The snapshot; where something was told, what is wrong is left out of it.
    fn snapshot(&mut self, document: Document) -> Snapshot {
        let places = Places::of(&document);
        self.addresses(&document);
        self.contradictions(&document);
        let listeners = self.listeners(document.listeners);
        let admin = self.admin(document.admin);
        let to = match document.access_log.to {
            LogTarget::File(path) => LogTarget::File(beside(self.file, &path)),
            to => to,
        };
        let access_log = AccessLog { to, queue: document.access_log.queue };
        self.identities = self.identities(document.identity);
        self.upstreams = document.upstreams.into_iter().map(|(name, entry)| self.upstream(name, entry)).collect();
        self.brokers = each(document.brokers, broker);
        self.plans = document.plans.into_iter().map(|(name, entry)| self.plan(name, entry)).collect();
        let apis = self.apis(document.apis);
        let routes = self.routes(document.routes, &apis);
        let (consumers, subscriptions) = self.consumers(document.consumers, &apis);
        if apis.is_empty() && routes.is_empty() {
            self.warn(&Place::file(self.file), "no API and no route: every request gets 404", "");
        }
        self.warn_of_unused(&places);
        Snapshot {
            file: self.file.to_path_buf(),
            listeners,
            workers: document.workers,
            limits: document.limits,
            admin,
            access_log,
            identities: std::mem::take(&mut self.identities),
            upstreams: std::mem::take(&mut self.upstreams),
            brokers: std::mem::take(&mut self.brokers),
            apis,
            routes,
            consumers,
            plans: std::mem::take(&mut self.plans),
            subscriptions,
            warnings: Diagnostics::new(),
        }
    }

    fn error(&mut self, place: &Place, message: impl Into<String>, hint: &str) {
        let told = Diagnostic::error(place, message);
        self.diagnostics.push(if hint.is_empty() { told } else { told.hint(hint) });
    }

    fn warn(&mut self, place: &Place, message: &str, hint: &str) {
        let told = Diagnostic::warning(place, message);
        self.diagnostics.push(if hint.is_empty() { told } else { told.hint(hint) });
    }

    /// Tells that a mapping lacks a key, unless an unknown key in it was told to look like this one.
    fn missing(&mut self, place: &Place, key: &str, hint: &str) {
        let (within, guess) = (format!("{}.", place.path), format!("did you mean `{key}`?"));
        let misspelt = |told: &Diagnostic| {
            told.path.starts_with(&within) && told.message == "unknown key" && told.hint.as_ref() == Some(&guess)
        };
        if !self.diagnostics.iter().any(misspelt) {
            self.error(place, format!("`{key}` is missing"), hint);
        }
    }

    fn admin(&mut self, admin: document::Admin) -> Admin {
        let document::Admin { address, token } = admin;
        if token.is_none() && !address.value.ip().is_loopback() {
            let message = format!("`{}` can be reached from outside, and there is no `token`", address.value);
            self.error(&address.place, message, "add `token: ${env:NAME}`, or listen on 127.0.0.1");
        }
        Admin { address: address.value, token }
    }

    fn upstream(&mut self, name: Name, entry: Placed<document::Upstream>) -> (Name, Arc<Upstream>) {
        let document::Upstream { endpoints, balance, health, breaker, timeouts, pool, host, forwarded } = entry.value;
        let mut known: Vec<Endpoint> = Vec::new();
        for Placed { value: endpoint, place } in endpoints {
            let told = endpoint.host.is_empty();
            if !told && known.contains(&endpoint) {
                self.error(&place, format!("`{endpoint}` stands twice"), "name each endpoint once");
            }
            known.push(endpoint);
        }
        let name_of = name.clone();
        let upstream =
            Upstream { name: name_of, endpoints: known, balance, health, breaker, timeouts, pool, host, forwarded };
        (name, Arc::new(upstream))
    }

    fn plan(&mut self, name: Name, entry: Placed<document::Plan>) -> (Name, Arc<Plan>) {
        let rate_limits = self.limits(entry.value.rate_limit, limit::Caller::Subscribed);
        (name.clone(), Arc::new(Plan { name, rate_limits }))
    }

    /// The upstream of that name; `None` where it was told that there is none.
    fn upstream_named(&mut self, name: &Name) -> Option<Arc<Upstream>> {
        self.used.insert(("upstreams", name.clone()));
        self.upstreams.get(name).cloned()
    }

    fn identities_named(&mut self, names: &[Name]) -> Vec<Arc<Identity>> {
        self.used.extend(names.iter().map(|name| ("identity", name.clone())));
        names.iter().filter_map(|name| self.identities.get(name).cloned()).collect()
    }

    fn warn_of_unused(&mut self, places: &Places) {
        for (section, name, place) in &places.0 {
            if !self.used.contains(&(*section, name.clone())) {
                self.warn(place, "nothing uses it", "");
            }
        }
    }
}

/// Where everything that can be referred to is declared.
struct Places(Vec<(&'static str, Name, Place)>);

impl Places {
    fn of(document: &Document) -> Places {
        fn section<'d, T>(
            key: &'static str,
            entries: &'d Entries<T>,
        ) -> impl Iterator<Item = (&'static str, Name, Place)> + use<'d, T> {
            entries.iter().map(move |(name, entry)| (key, name.clone(), entry.place.clone()))
        }
        let upstreams = section("upstreams", &document.upstreams);
        let brokers = section("brokers", &document.brokers);
        let identities = section("identity", &document.identity);
        let plans = section("plans", &document.plans);
        Places(upstreams.chain(brokers).chain(identities).chain(plans).collect())
    }
}

/// Every entry of a section, resolved by itself.
fn each<D, T>(entries: Entries<D>, resolve: impl Fn(&Name, D) -> T) -> IndexMap<Name, Arc<T>> {
    let resolve = |(name, entry): (Name, Placed<D>)| {
        let value = resolve(&name, entry.value);
        (name, Arc::new(value))
    };
    entries.into_iter().map(resolve).collect()
}

fn broker(name: &Name, broker: document::Broker) -> Broker {
    Broker { name: name.clone(), kind: BrokerKind::Kafka(broker.kafka) }
}
