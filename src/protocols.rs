//! The protocols this gateway speaks: which contract each API has, and what of it is served where.

use std::sync::Arc;

use portolan_config::snapshot::{Api, ApiKind, OpenApi, OperationRules, Route, Snapshot, UpstreamPath, Validate};
use portolan_config::{Diagnostics, Tree, tree};
use portolan_exchange::{Inbound, Method, Operation, Outbound, Upstream};
use portolan_rest::{Checks, HttpOutbound, RestInbound};

use crate::plan::Shared;

/// A contract that was read.
pub enum Contract {
    /// OpenAPI.
    Rest(Arc<portolan_rest::Contract>),
    /// GraphQL.
    GraphQl(Arc<portolan_graphql::Schema>),
    /// AsyncAPI.
    Events(Arc<portolan_events::Contract>),
}

/// What is served at one place of an API.
pub struct Mount {
    /// The operation, where path and method name it.
    pub operation: Option<Arc<Operation>>,
    /// What is spoken to clients.
    pub inbound: Arc<dyn Inbound>,
    /// What is spoken to the upstream.
    pub outbound: Arc<dyn Outbound>,
    /// The operation whose own rules count here.
    pub rules: Option<Arc<str>>,
}

/// The contracts of a snapshot.
pub struct Contracts {
    /// One for each API, in their order.
    pub of_apis: Vec<Contract>,
    /// What is allowed but probably not meant.
    pub warnings: Diagnostics,
}

/// Reads the contracts of all APIs.
///
/// # Errors
/// Every problem of all of them, with its place in the contract's file.
pub fn read(snapshot: &Snapshot) -> Result<Contracts, Diagnostics> {
    let mut problems = Diagnostics::new();
    let mut warnings = Diagnostics::new();
    let mut of_apis = Vec::new();
    for api in snapshot.apis.values() {
        match read_one(api) {
            Ok(contract) => {
                if let Contract::Events(contract) = &contract {
                    warnings.append(contract.warnings.clone());
                }
                of_apis.push(contract);
            }
            Err(found) => problems.append(found),
        }
    }
    if problems.has_errors() { Err(problems) } else { Ok(Contracts { of_apis, warnings }) }
}

fn read_one(api: &Api) -> Result<Contract, Diagnostics> {
    let source = api.kind.source();
    match &api.kind {
        ApiKind::OpenApi(settings) => {
            let contract = portolan_rest::Contract::read(&parse(source)?)?;
            known_operations(settings, &contract)?;
            Ok(Contract::Rest(Arc::new(contract)))
        }
        ApiKind::GraphQl(_) => {
            portolan_graphql::contract::read(source).map(|schema| Contract::GraphQl(Arc::new(schema)))
        }
        ApiKind::AsyncApi(_) => {
            portolan_events::Contract::read(&parse(source)?).map(|contract| Contract::Events(Arc::new(contract)))
        }
    }
}

fn parse(source: &portolan_config::snapshot::Source) -> Result<Tree, Diagnostics> {
    tree::parse(&source.path, &source.text)
}

/// Rules for an operation that the document does not have would silently do nothing, and a stored document that cannot be
/// read would be refused by the service at every call.
fn known_operations(settings: &OpenApi, contract: &portolan_rest::Contract) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::new();
    for (id, rules) in &settings.operations {
        if let Some(Err(found)) =
            rules.graphql.as_ref().map(|pair| portolan_graphql::contract::check_stored(&pair.document, &pair.place))
        {
            problems.append(found);
        }
        if !contract.operations.iter().any(|operation| operation.id == *id) {
            let known: Vec<_> = contract.operations.iter().map(|operation| format!("`{}`", operation.id)).collect();
            problems.error(&rules.place, format!("the document has no operation `{id}`; it has {}", known.join(", ")));
        }
    }
    if problems.has_errors() { Err(problems) } else { Ok(()) }
}

/// Where an API serves: path templates with its prefix, and their methods; all when empty. For a contract of operations one
/// place for each, in their order.
pub fn places(api: &Api, contract: &Contract) -> Vec<(String, Vec<Method>)> {
    let prefix = api.path.trim_end_matches('/');
    match contract {
        Contract::Rest(contract) => {
            let place = |operation: &Arc<portolan_rest::RestOperation>| {
                (format!("{prefix}{}", operation.path.pattern()), vec![Method::of(operation.method)])
            };
            contract.operations.iter().map(place).collect()
        }
        Contract::GraphQl(_) => vec![(api.path.clone(), vec![Method::Post])],
        Contract::Events(_) => vec![(format!("{prefix}/**"), Vec::new())],
    }
}

/// What an API serves at each of its [`places`].
pub fn mount(shared: &Shared, api: &Api, contract: &Contract) -> Vec<Mount> {
    match (&api.kind, contract) {
        (ApiKind::OpenApi(settings), Contract::Rest(contract)) => rest(shared, api, settings, contract),
        (ApiKind::GraphQl(settings), Contract::GraphQl(schema)) => {
            let upstream: Arc<dyn Upstream> = shared.service(&settings.upstream);
            let limits = &settings.limits;
            let inbound = Arc::new(portolan_graphql::GraphQlInbound::new(schema.clone(), limits, api.max_body));
            let outbound = Arc::new(portolan_graphql::GraphQlOutbound::new(upstream, &settings.upstream_path));
            vec![Mount { operation: None, inbound, outbound, rules: None }]
        }
        (ApiKind::AsyncApi(settings), Contract::Events(contract)) => {
            let link = shared.broker(&settings.broker);
            for channel in &contract.channels {
                // The reader begins now, so that the first session finds it at the live end.
                link.topic(&channel.topic);
            }
            let bounds = portolan_events::Settings::from(&settings.sessions);
            let inbound = Arc::new(portolan_events::Events::new(contract.clone(), bounds, api.max_body));
            let outbound = Arc::new(portolan_events::Channels::new(contract.clone(), link.clone(), link));
            vec![Mount { operation: None, inbound, outbound, rules: None }]
        }
        _ => unreachable!("a contract is of the kind that its API names"),
    }
}

fn rest(shared: &Shared, api: &Api, settings: &OpenApi, contract: &Arc<portolan_rest::Contract>) -> Vec<Mount> {
    let checks = match settings.validate {
        Validate::Enforce => Checks::Enforce,
        Validate::Report => Checks::Report,
        Validate::Off => Checks::Off,
    };
    let path = match &settings.upstream_path {
        UpstreamPath::Unchanged => portolan_rest::UpstreamPath::Unchanged,
        UpstreamPath::Replaced(prefix) => portolan_rest::UpstreamPath::Replaced(prefix.as_str().into()),
    };
    let through: Arc<dyn Inbound> = Arc::new(RestInbound::new(contract, checks, api.max_body));
    let reading: Arc<dyn Inbound> = Arc::new(RestInbound::new(contract, checks, api.max_body).reading_input());
    let upstream: Arc<dyn Outbound> = Arc::new(HttpOutbound::new(shared.service(&settings.upstream), path));
    contract
        .operations
        .iter()
        .map(|operation| {
            let own = settings.operations.get(&operation.id);
            let (inbound, outbound) = match own.and_then(|rules| rules.graphql.as_ref()) {
                Some(pair) => {
                    let service: Arc<dyn Upstream> = shared.service(&pair.upstream);
                    let stored =
                        portolan_graphql::StoredOutbound::new(service, &pair.path, &pair.document, &pair.result);
                    (reading.clone(), Arc::new(stored) as Arc<dyn Outbound>)
                }
                None => (through.clone(), upstream.clone()),
            };
            Mount {
                operation: Some(operation.operation()),
                inbound,
                outbound,
                rules: own.map(|_| operation.id.clone()),
            }
        })
        .collect()
}

/// What is said of one operation of an API.
pub fn rules<'a>(api: &'a Api, operation: &str) -> Option<&'a OperationRules> {
    match &api.kind {
        ApiKind::OpenApi(settings) => settings.operations.get(operation),
        ApiKind::GraphQl(_) | ApiKind::AsyncApi(_) => None,
    }
}

/// The protocols of a route without a contract.
pub fn plain(shared: &Shared, route: &Route) -> (Arc<dyn Inbound>, Arc<dyn Outbound>) {
    let path = match &route.strip_prefix {
        None => portolan_rest::UpstreamPath::Unchanged,
        Some(_) => portolan_rest::UpstreamPath::Replaced("".into()),
    };
    (Arc::new(RestInbound::plain()), Arc::new(HttpOutbound::new(shared.service(&route.upstream), path)))
}
