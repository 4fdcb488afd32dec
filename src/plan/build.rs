//! Makes a plan from a snapshot: contracts read, policies put in order, routes laid into the tree.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::snapshot::{self, IdentityKind, RateLimit, Snapshot};
use portolan_config::{Diagnostic, Diagnostics, Place};
use portolan_exchange::{Api, Inbound, Method, Operation, Outbound, Policy, Route};
use serde_json::json;

use super::router::{Conflict, Router};
use super::{Consumers, Plan, Shared, nowhere};
use crate::policy::jwt::{self, KeySets};
use crate::policy::{
    Authenticate, Cors, HeaderRules, KeySource, RateLimits, Sanitise, Scoped, Source, Subscribed, cors,
};
use crate::protocols::{self, Contracts, Mount};

/// The environment that a gateway serves, as long as its configuration cannot name one.
const ENVIRONMENT: &str = "production";

impl Plan {
    /// Makes a plan. Services and brokers that did not change are taken over; what is new is started.
    ///
    /// # Errors
    /// Every problem of the contracts, and routes that take the same requests.
    pub fn build(shared: &Arc<Shared>, snapshot: Arc<Snapshot>) -> Result<Self, Diagnostics> {
        let (contracts, key_sets) = read(&snapshot)?;
        // Before anything is started or taken over: a document that is refused must leave no trace.
        check_routes(&snapshot, &contracts)?;
        for warnings in [&snapshot.warnings, &contracts.warnings, &key_sets.warnings] {
            if !warnings.is_empty() {
                tracing::warn!(warnings = %warnings.render(), "configuration has warnings");
            }
        }
        let consumers = Arc::new(Consumers::of(&snapshot, &key_sets));
        let sources = sources(shared, &snapshot, &key_sets, &consumers);
        let mut build = Build {
            shared,
            snapshot: &snapshot,
            sources: &sources,
            router: Router::default(),
            shown: Vec::new(),
            problems: Diagnostics::new(),
        };
        for (api, contract) in snapshot.apis.values().zip(&contracts.of_apis) {
            build.api(api, contract);
        }
        for route in snapshot.routes.values() {
            build.route(route);
        }
        let Build { router, shown, problems, .. } = build;
        if problems.has_errors() {
            return Err(problems);
        }
        shared.consumers.store(consumers.clone());
        let cors = snapshot.listeners.values().filter_map(cors_of).collect();
        Ok(Self { router, consumers, routes: shown, cors, snapshot })
    }
}

/// Checks what building a plan would refuse, and starts nothing: the contracts, and routes that take the same requests.
///
/// # Errors
/// Every problem. Otherwise what is allowed but probably not meant.
pub fn check(snapshot: &Snapshot) -> Result<Diagnostics, Diagnostics> {
    let (contracts, key_sets) = read(snapshot)?;
    check_routes(snapshot, &contracts)?;
    let mut warnings = contracts.warnings;
    warnings.append(key_sets.warnings);
    Ok(warnings)
}

/// Reads all files that a snapshot names.
fn read(snapshot: &Snapshot) -> Result<(Contracts, KeySets), Diagnostics> {
    match (protocols::read(snapshot), jwt::read(snapshot)) {
        (Ok(contracts), Ok(key_sets)) => Ok((contracts, key_sets)),
        (contracts, key_sets) => {
            let mut problems = contracts.err().unwrap_or_default();
            problems.append(key_sets.err().unwrap_or_default());
            Err(problems)
        }
    }
}

/// The sources of all identities, by their names.
fn sources(
    shared: &Shared,
    snapshot: &Snapshot,
    key_sets: &KeySets,
    consumers: &Consumers,
) -> HashMap<Arc<str>, Source> {
    let source = |identity: &Arc<snapshot::Identity>| match &identity.kind {
        IdentityKind::Jwt(jwt) => {
            let keys = key_sets.of(&identity.name);
            Source::Tokens(shared.tokens(identity, jwt, keys, consumers.names()))
        }
        IdentityKind::ApiKey(key) => Source::Keys(KeySource::new(&identity.name, key, shared.consumers.clone())),
    };
    snapshot.identities.values().map(|identity| (identity.name.clone(), source(identity))).collect()
}

/// Lays all routes into a tree that leads nowhere.
fn check_routes(snapshot: &Snapshot, contracts: &Contracts) -> Result<(), Diagnostics> {
    let mut router = Router::default();
    let mut problems = Diagnostics::new();
    let mut lay = |host: &Option<String>, template: &str, methods: &[Method], name: &Arc<str>, place: &Place| {
        if let Err(conflict) = router.add(host.as_deref(), template, methods, nowhere::route(name), None) {
            problems.push(problem(place, template, conflict));
        }
    };
    for (api, contract) in snapshot.apis.values().zip(&contracts.of_apis) {
        for (template, methods) in protocols::places(api, contract) {
            lay(&api.host, &template, &methods, &api.name, &api.place);
        }
    }
    for route in snapshot.routes.values() {
        let methods: Vec<_> = route.methods.iter().map(|name| Method::of(name)).collect();
        lay(&route.host, &route.path, &methods, &route.name, &route.place);
    }
    if problems.has_errors() { Err(problems) } else { Ok(()) }
}

fn problem(place: &Place, template: &str, conflict: Conflict) -> Diagnostic {
    match conflict {
        Conflict::Taken { by } => Diagnostic::error(place, format!("`{template}` takes the same requests as `{by}`"))
            .hint("give one of them another path, host or method"),
        Conflict::Template(why) => Diagnostic::error(place, format!("`{template}` cannot be routed: {why}")),
    }
}

/// What pages of other origins are told by a listener, by its name.
fn cors_of(listener: &Arc<snapshot::Listener>) -> Option<(Arc<str>, Arc<cors::Rules>)> {
    let cors = listener.cors.as_ref()?;
    Some((listener.name.clone(), Arc::new(cors::Rules::of(cors))))
}

/// Limits, and what their buckets are named after.
fn scoped(scope: &str, limits: &[RateLimit]) -> Vec<Scoped> {
    let scope: Arc<str> = scope.into();
    limits.iter().map(|limit| Scoped { scope: scope.clone(), limit: limit.clone() }).collect()
}

struct Build<'a> {
    shared: &'a Arc<Shared>,
    snapshot: &'a Snapshot,
    sources: &'a HashMap<Arc<str>, Source>,
    router: Router,
    shown: Vec<serde_json::Value>,
    problems: Diagnostics,
}

/// What a route is made of, besides its protocols.
struct Rules<'a> {
    name: Arc<str>,
    api: Option<Api>,
    authenticate: &'a [Arc<snapshot::Identity>],
    rate_limits: Vec<Scoped>,
    headers: Vec<&'a snapshot::HeaderRules>,
    cors: Option<&'a snapshot::Cors>,
    sanitise: Option<&'a snapshot::Sanitise>,
    deadline: Duration,
    prefix: &'a str,
    host: Option<&'a str>,
    place: &'a Place,
}

impl<'a> Build<'a> {
    fn api(&mut self, settings: &'a snapshot::Api, contract: &protocols::Contract) {
        let api =
            Api { name: settings.name.clone(), version: settings.version.clone(), environment: ENVIRONMENT.into() };
        let mounts = protocols::mount(self.shared, settings, contract);
        for ((template, methods), mount) in protocols::places(settings, contract).into_iter().zip(mounts) {
            let Mount { operation, inbound, outbound, rules: own } = mount;
            let mut rules = Rules {
                name: settings.name.clone(),
                api: Some(api.clone()),
                authenticate: &settings.authenticate,
                rate_limits: scoped(&format!("api/{}", settings.name), &settings.rate_limits),
                headers: vec![&settings.headers],
                cors: settings.cors.as_ref(),
                sanitise: settings.sanitise.as_ref(),
                deadline: settings.deadline,
                prefix: settings.path.trim_end_matches('/'),
                host: settings.host.as_deref(),
                place: &settings.place,
            };
            if let Some((id, own)) = own.and_then(|id| Some((id.clone(), protocols::rules(settings, &id)?))) {
                rules.rate_limits.extend(scoped(&format!("api/{}/{id}", settings.name), &own.rate_limits));
                rules.headers.push(&own.headers);
            }
            self.lay(rules, &template, &methods, operation, inbound, outbound);
        }
    }

    fn route(&mut self, settings: &'a snapshot::Route) {
        let (inbound, outbound) = protocols::plain(self.shared, settings);
        let rules = Rules {
            name: settings.name.clone(),
            api: None,
            authenticate: &settings.authenticate,
            rate_limits: scoped(&format!("route/{}", settings.name), &settings.rate_limits),
            headers: vec![&settings.headers],
            cors: settings.cors.as_ref(),
            sanitise: settings.sanitise.as_ref(),
            deadline: settings.deadline,
            prefix: settings.strip_prefix.as_deref().unwrap_or_default().trim_end_matches('/'),
            host: settings.host.as_deref(),
            place: &settings.place,
        };
        let methods: Vec<_> = settings.methods.iter().map(|name| Method::of(name)).collect();
        self.lay(rules, &settings.path, &methods, None, inbound, outbound);
    }

    fn lay(
        &mut self,
        rules: Rules<'_>,
        template: &str,
        methods: &[Method],
        operation: Option<Arc<Operation>>,
        inbound: Arc<dyn Inbound>,
        outbound: Arc<dyn Outbound>,
    ) {
        let policies = self.policies(&rules);
        let mut shown = json!({
            "route": &*rules.name,
            "path": template,
            "methods": methods.iter().map(Method::as_str).collect::<Vec<_>>(),
            "inbound": inbound.protocol(),
            "outbound": outbound.protocol(),
            "policies": policies.iter().map(|policy| json!({ "name": policy.name(), "phase": policy.phase().as_str() })).collect::<Vec<_>>(),
            "deadline_ms": u64::try_from(rules.deadline.as_millis()).unwrap_or(u64::MAX),
        });
        let members = shown.as_object_mut().expect("an object was made");
        if let Some(host) = rules.host {
            members.insert("host".to_owned(), host.into());
        }
        if let Some(api) = &rules.api {
            members.insert("version".to_owned(), (&*api.version).into());
        }
        if let Some(operation) = &operation {
            members.insert("operation".to_owned(), (&*operation.id).into());
        }
        let route = Arc::new(Route {
            name: rules.name,
            api: rules.api,
            inbound,
            outbound,
            policies,
            deadline: rules.deadline,
            prefix: rules.prefix.into(),
        });
        match self.router.add(rules.host, template, methods, route, operation) {
            Ok(()) => self.shown.push(shown),
            Err(conflict) => self.problems.push(problem(rules.place, template, conflict)),
        }
    }

    /// The policies of a route, in the order of their phases.
    fn policies(&self, rules: &Rules<'_>) -> Box<[Arc<dyn Policy>]> {
        let mut policies = self.shared.policies.clone();
        // First of all that guards: a page must be able to read why it was refused.
        let by_listener = self.snapshot.listeners.values().any(|listener| listener.cors.is_some());
        if rules.cors.is_some() || by_listener {
            policies.push(Arc::new(Cors::new(rules.cors)));
        }
        if !rules.authenticate.is_empty() {
            policies.push(Arc::new(Authenticate::new(rules.authenticate, self.sources)));
            if let Some(api) = &rules.api {
                policies.push(Arc::new(Subscribed::new(api.clone(), self.shared.consumers.clone())));
            }
        }
        let plans: Vec<_> = self.snapshot.plans.values().filter(|plan| !plan.rate_limits.is_empty()).cloned().collect();
        let by_plan = !plans.is_empty() && rules.api.is_some() && !rules.authenticate.is_empty();
        if !rules.rate_limits.is_empty() || by_plan {
            let plans = if by_plan { plans } else { Vec::new() };
            let store = self.shared.store().clone();
            policies.push(Arc::new(RateLimits::new(store, rules.rate_limits.clone(), plans)));
        }
        if let Some(headers) = HeaderRules::new(&rules.headers) {
            policies.push(Arc::new(headers));
        }
        // Behind the header rules, so that on the way back it comes before them.
        if let Some(sanitise) = rules.sanitise {
            policies.push(Arc::new(Sanitise::new(sanitise)));
        }
        policies.sort_by_key(|policy| policy.phase());
        policies.into()
    }
}
