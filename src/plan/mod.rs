//! The plan: what workers run. Made from a snapshot, shared by all, exchanged as a whole.

mod broker;
mod build;
mod consumers;
mod nowhere;
mod path;
mod router;
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use portolan_config::Snapshot;
use portolan_exchange::{Fault, Request, Route};

pub use broker::BrokerLink;
pub use build::check;
pub use consumers::Consumers;
pub use router::{Parameters, Router, Target};
pub use shared::Shared;

use crate::policy::cors;

/// What workers run.
pub struct Plan {
    pub(crate) router: Router,
    /// Consumers, their keys and subscriptions.
    pub consumers: Arc<Consumers>,
    /// What `/routes` shows.
    pub routes: Vec<serde_json::Value>,
    /// What pages of other origins are told by listeners, by their names.
    pub(crate) cors: Vec<(Arc<str>, Arc<cors::Rules>)>,
    /// What it was made from.
    pub snapshot: Arc<Snapshot>,
}

impl Plan {
    /// Finds the route of a request, and brings its path into normal form: what is routed by is what goes on. A preflight goes
    /// where the method leads that it asks about, if that route or the listener, by `rules`, has an answer to it.
    ///
    /// # Errors
    /// `unknown_route`, `method_not_allowed` or `bad_request`.
    pub fn find(&self, request: &mut Request, rules: Option<&cors::Rules>) -> Result<(&Target, Parameters), Fault> {
        if let Some(path) = path::normal(request.target.path())? {
            request.target = request.target.with_path(&path);
        }
        if let Some(method) = cors::preflight_for(request) {
            let own = std::mem::replace(&mut request.method, method);
            let found = self.router.find(request);
            request.method = own;
            if let Ok((target, parameters)) = found
                && (rules.is_some() || self.has_cors(&target.route))
            {
                return Ok((target, parameters));
            }
        }
        self.router.find(request)
    }

    /// What pages of other origins are told by a listener.
    pub fn cors_of(&self, listener: &str) -> Option<Arc<cors::Rules>> {
        self.cors.iter().find(|(name, _)| **name == *listener).map(|(_, rules)| rules.clone())
    }

    /// Whether a route has rules of its own.
    fn has_cors(&self, route: &Route) -> bool {
        match &route.api {
            Some(api) => self.snapshot.apis.get(&api.name).is_some_and(|api| api.cors.is_some()),
            None => self.snapshot.routes.get(&route.name).is_some_and(|route| route.cors.is_some()),
        }
    }
}

/// The plan in force. A request keeps the one it began with.
pub struct Plans {
    /// The cell that a reload writes.
    pub current: Arc<ArcSwap<Plan>>,
    stopping: AtomicBool,
}

impl Plans {
    /// Puts the first plan into force.
    pub fn new(plan: Plan) -> Arc<Self> {
        Arc::new(Self { current: Arc::new(ArcSwap::from_pointee(plan)), stopping: AtomicBool::new(false) })
    }

    /// Whether the gateway is ending.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The gateway is ending.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}
