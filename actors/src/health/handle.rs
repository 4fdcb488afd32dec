//! What the request path holds of an upstream's health: one atomic per endpoint.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use portolan_exchange::LocalBoxFuture;
use serde_json::{Value, json};

use super::machine::{Decision, Event, Machine, Settings};
use super::{Prober, Reloaded};
use crate::supervision::{Ref, Supervised, lock};

/// The health of an upstream's endpoints. Dropping it stops the probes.
#[derive(Debug)]
pub struct Health {
    pub(super) shared: Arc<Shared>,
    pub(super) reference: Ref<Prober>,
    pub(super) _actor: Supervised,
}

impl Health {
    /// The endpoints as they stand, in the order they were given.
    pub fn view(&self) -> Arc<HealthView> {
        self.shared.plan.load().view.clone()
    }

    /// Takes other endpoints, settings or another probe. An endpoint that was known keeps its health, a new one starts
    /// healthy, one that is gone is probed no more. Views that were given out before keep their order and still change with
    /// the endpoints that stayed.
    pub fn reload(&self, endpoints: &[Arc<str>], settings: Settings, probe: Arc<dyn Probe>) -> Arc<HealthView> {
        let view = HealthView::new(endpoints, &self.view());
        self.shared.plan.store(Arc::new(Plan { view: view.clone(), settings, probe }));
        // Lost means that the new plan is seen at the next interval of the old one.
        self.reference.try_send(Reloaded);
        view
    }
}

/// Asks an endpoint whether it works.
pub trait Probe: Send + Sync {
    /// Asks once; an error says what was wrong. Runs on the control thread, and is dropped when it takes too long.
    fn probe(&self, endpoint: &Arc<str>) -> LocalBoxFuture<'static, Result<(), String>>;
}

impl<F> Probe for F
where
    F: Fn(&Arc<str>) -> LocalBoxFuture<'static, Result<(), String>> + Send + Sync,
{
    fn probe(&self, endpoint: &Arc<str>) -> LocalBoxFuture<'static, Result<(), String>> {
        self(endpoint)
    }
}

/// Endpoints in a fixed order, each healthy or not.
#[derive(Debug, Default)]
pub struct HealthView {
    endpoints: Vec<Arc<Endpoint>>,
}

impl HealthView {
    fn new(addresses: &[Arc<str>], before: &Self) -> Arc<Self> {
        let endpoint = |address: &Arc<str>| {
            let known = before.endpoints.iter().find(|endpoint| endpoint.address == *address);
            known.cloned().unwrap_or_else(|| Arc::new(Endpoint::new(address.clone())))
        };
        Arc::new(Self { endpoints: addresses.iter().map(endpoint).collect() })
    }

    /// Whether the endpoint at this place may be called. One atomic read; a place that does not exist is not healthy.
    pub fn is_healthy(&self, at: usize) -> bool {
        self.endpoints.get(at).is_some_and(|endpoint| endpoint.is_healthy())
    }

    /// How many endpoints are healthy.
    pub fn healthy(&self) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.is_healthy()).count()
    }

    /// The endpoints, in order.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

/// The health of one endpoint, shared by all views that show it.
pub struct Endpoint {
    address: Arc<str>,
    healthy: AtomicBool,
    machine: Mutex<Machine>,
    probes: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Endpoint {
    fn new(address: Arc<str>) -> Self {
        Self {
            address,
            healthy: AtomicBool::new(true),
            machine: Mutex::default(),
            probes: AtomicU64::new(0),
            last_error: Mutex::new(None),
        }
    }

    /// Its address, as it was given.
    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Whether it may be called.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Takes in what a probe found. What changed, if anything did.
    pub(super) fn observe(&self, found: Result<(), String>, settings: &Settings) -> Decision {
        self.probes.fetch_add(1, Ordering::Relaxed);
        let event = if found.is_ok() { Event::Answered } else { Event::Failed };
        *lock(&self.last_error) = found.err();
        let decision = lock(&self.machine).observe(event, settings);
        match decision {
            Decision::Stay => {}
            Decision::Healthy => self.healthy.store(true, Ordering::Release),
            Decision::Unhealthy => self.healthy.store(false, Ordering::Release),
        }
        decision
    }

    fn describe(&self) -> Value {
        let mut described = json!({
            "endpoint": &*self.address,
            "healthy": self.is_healthy(),
            "probes": self.probes.load(Ordering::Relaxed),
            "against": lock(&self.machine).against(),
        });
        if let Some(error) = &*lock(&self.last_error) {
            described["last_error"] = json!(error);
        }
        described
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address, if self.is_healthy() { "healthy" } else { "unhealthy" })
    }
}

/// What is to be probed, and how.
pub(super) struct Plan {
    pub(super) view: Arc<HealthView>,
    pub(super) settings: Settings,
    pub(super) probe: Arc<dyn Probe>,
}

/// What is known of an upstream's health, apart from its actor, which it outlives.
pub(super) struct Shared {
    pub(super) upstream: String,
    pub(super) plan: ArcSwap<Plan>,
}

impl Shared {
    pub(super) fn new(upstream: &str, endpoints: &[Arc<str>], settings: Settings, probe: Arc<dyn Probe>) -> Self {
        let view = HealthView::new(endpoints, &HealthView::default());
        Self { upstream: upstream.to_owned(), plan: ArcSwap::from_pointee(Plan { view, settings, probe }) }
    }

    pub(super) fn describe(&self) -> Value {
        let view = &self.plan.load().view;
        let endpoints: Vec<_> = view.endpoints.iter().map(|endpoint| endpoint.describe()).collect();
        json!({ "upstream": self.upstream, "healthy": view.healthy(), "endpoints": endpoints })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({}, {:?})", self.upstream, self.plan.load().view.endpoints)
    }
}
