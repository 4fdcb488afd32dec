//! Says what differs between two snapshots, so that a reload touches nothing else.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::snapshot::{Name, Snapshot};

/// What a new snapshot changes. An API or route has changed, too, when its contract, upstream, broker or identity has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sockets to open and close.
    pub listeners: Changed,
    /// Ways to find out who is calling.
    pub identities: Changed,
    /// Pools, breakers and health checks to open, close and replace.
    pub upstreams: Changed,
    /// Connections and readers to open, close and replace.
    pub brokers: Changed,
    /// Contracts to read anew.
    pub apis: Changed,
    /// Routes.
    pub routes: Changed,
    /// Consumers, their keys and subscriptions.
    pub consumers: Changed,
    /// Plans.
    pub plans: Changed,
    /// The admin port or its token.
    pub admin: bool,
    /// Where the access log goes.
    pub access_log: bool,
    /// The number of workers, which only a restart changes.
    pub workers: bool,
    /// Bounds of the whole process.
    pub limits: bool,
}

/// The names within one section that differ, each list in the order of its snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// In the new snapshot alone.
    pub added: Vec<Name>,
    /// In both, and different.
    pub changed: Vec<Name>,
    /// In the old snapshot alone.
    pub removed: Vec<Name>,
}

/// What `new` changes of `old`.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Changes {
    Changes {
        listeners: section(&old.listeners, &new.listeners),
        identities: section(&old.identities, &new.identities),
        upstreams: section(&old.upstreams, &new.upstreams),
        brokers: section(&old.brokers, &new.brokers),
        apis: section(&old.apis, &new.apis),
        routes: section(&old.routes, &new.routes),
        consumers: section(&old.consumers, &new.consumers),
        plans: section(&old.plans, &new.plans),
        admin: old.admin != new.admin,
        access_log: old.access_log != new.access_log,
        workers: old.workers != new.workers,
        limits: old.limits != new.limits,
    }
}

impl Changes {
    /// Whether the two snapshots are the same.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

impl Changed {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

fn section<T: PartialEq>(old: &IndexMap<Name, Arc<T>>, new: &IndexMap<Name, Arc<T>>) -> Changed {
    let mut changed = Changed::default();
    for (name, value) in new {
        match old.get(name) {
            None => changed.added.push(name.clone()),
            Some(before) if before != value => changed.changed.push(name.clone()),
            Some(_) => {}
        }
    }
    changed.removed = old.keys().filter(|name| !new.contains_key(*name)).cloned().collect();
    changed
}
