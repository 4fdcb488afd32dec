//! Probes the endpoints of an upstream, and takes those out that do not answer.

use std::collections::HashSet;
use std::sync::Arc;

use actix::fut::ActorFutureExt as _;
use actix::{Actor, AsyncContext as _, Context, Handler, Message, SpawnHandle, WrapFuture as _};
use portolan_exchange::Clock;
use tracing::info;

use crate::supervision::{Charge, Control, Kind, Ref};

mod handle;
mod machine;

pub use handle::{Endpoint, Health, HealthView, Probe};
pub use machine::Settings;

use handle::Shared;
use machine::Decision;

impl Health {
    /// Starts to probe an upstream's endpoints, at once and then in every interval; the actor is named `health/UPSTREAM`.
    pub fn start(
        control: &Control,
        upstream: &str,
        endpoints: &[Arc<str>],
        settings: Settings,
        probe: Arc<dyn Probe>,
    ) -> Self {
        let reference = Ref::new();
        let shared = Arc::new(Shared::new(upstream, endpoints, settings, probe));
        let described = shared.clone();
        let charge = Charge::new(Kind::Health, upstream, move || described.describe());
        let (clock, probed) = (control.clock().clone(), shared.clone());
        let actor = control.spawn(charge, &reference, move || Prober {
            shared: probed.clone(),
            clock: clock.clone(),
            probing: HashSet::new(),
            next: None,
        });
        Self { shared, reference, _actor: actor }
    }
}

/// The actor: asks each endpoint in turn of time.
pub(crate) struct Prober {
    shared: Arc<Shared>,
    clock: Clock,
    // Whoever has not answered yet is not asked again: a probe may be allowed to take longer than the interval.
    probing: HashSet<Arc<str>>,
    next: Option<SpawnHandle>,
}

impl Actor for Prober {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.turn(context);
    }
}

impl Prober {
    fn turn(&mut self, context: &mut Context<Self>) {
        let plan = self.shared.plan.load_full();
        for endpoint in plan.view.endpoints() {
            if self.probing.insert(endpoint.address().clone()) {
                self.probe(endpoint.clone(), context);
            }
        }
        let pause = self.clock.sleep(plan.settings.interval).into_actor(self);
        self.next = Some(context.spawn(pause.map(|(), prober, context| prober.turn(context))));
    }

    fn probe(&self, endpoint: Arc<Endpoint>, context: &mut Context<Self>) {
        let plan = self.shared.plan.load_full();
        let clock = self.clock.clone();
        let answer = plan.probe.probe(endpoint.address());
        let asked = async move {
            let answered = clock.timeout(plan.settings.timeout, answer).await;
            answered.unwrap_or_else(|_| Err(format!("no answer within {} ms", plan.settings.timeout.as_millis())))
        };
        context.spawn(asked.into_actor(self).map(move |found, prober, _| prober.found(&endpoint, found)));
    }

    fn found(&mut self, endpoint: &Arc<Endpoint>, found: Result<(), String>) {
        self.probing.remove(endpoint.address());
        let error = found.as_ref().err().cloned().unwrap_or_default();
        let decision = endpoint.observe(found, &self.shared.plan.load().settings);
        let (upstream, endpoint) = (self.shared.upstream.as_str(), &**endpoint.address());
        match decision {
            Decision::Stay => {}
            Decision::Healthy => info!(upstream, endpoint, "endpoint became healthy"),
            Decision::Unhealthy => info!(upstream, endpoint, error, "endpoint became unhealthy"),
        }
    }
}

/// There is a new plan.
pub(crate) struct Reloaded;

impl Message for Reloaded {
    type Result = ();
}

impl Handler<Reloaded> for Prober {
    type Result = ();

    fn handle(&mut self, _: Reloaded, context: &mut Self::Context) {
        if let Some(next) = self.next.take() {
            context.cancel_future(next);
        }
        self.turn(context);
    }
}

#[cfg(test)]
mod tests;
