//! APIs: the contract of each is read, and what belongs to another kind of contract is told.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use super::Resolver;
use super::limit::Caller;
use crate::diagnostic::Place;
use crate::document::{self, Entries};
use crate::load::{beside, text_of};
use crate::reader::{Placed, Setting};
use crate::snapshot::{
    Api, ApiKind, AsyncApi, Broker, FirstFrame, GraphQl, GraphQlLimits, GraphQlPair, Name, OpenApi, OperationRules,
    Sessions, Source, Upstream, UpstreamPath, Validate,
};

/// The kinds of contracts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contract {
    OpenApi,
    GraphQl,
    AsyncApi,
}

impl Contract {
    fn key(self) -> &'static str {
        match self {
            Contract::OpenApi => "openapi",
            Contract::GraphQl => "graphql",
            Contract::AsyncApi => "asyncapi",
        }
    }
}

impl Resolver<'_> {
    pub(super) fn apis(&mut self, entries: Entries<document::Api>) -> IndexMap<Name, Arc<Api>> {
        self.overlaps(&entries);
        let mut apis = IndexMap::with_capacity(entries.len());
        for (name, entry) in entries {
            if let Some(api) = self.api(&name, entry) {
                apis.insert(name, Arc::new(api));
            }
        }
        apis
    }

    /// No two APIs of one host share a prefix; where one prefix continues another, the longer wins.
    fn overlaps(&mut self, entries: &Entries<document::Api>) {
        let mut taken: HashMap<(Option<&str>, &str), &Name> = HashMap::new();
        for (name, entry) in entries {
            let document::Api { host, path, .. } = &entry.value;
            if path.value.is_empty() {
                continue;
            }
            if let Some(first) = taken.get(&(host.as_deref(), path.value.as_str())) {
                let message = format!("`{}` is the path of API `{first}` already", path.value);
                self.error(&path.place, message, "give each API a path or a `host` of its own");
                continue;
            }
            taken.insert((host.as_deref(), &path.value), name);
        }
    }

    fn api(&mut self, name: &Name, entry: Placed<document::Api>) -> Option<Api> {
        let Placed { value: mut api, place } = entry;
        let caller = Caller::of_api(&api.authenticate);
        let rate_limits = self.limits(std::mem::take(&mut api.rate_limit), caller);
        let authenticate = self.identities_named(&api.authenticate);
        let cors = self.cors(api.cors.take(), Some(&api.headers));
        let kind = self.kind(&mut api, &place, caller)?;
        let sanitise = match kind {
            ApiKind::AsyncApi(_) => None,
            ApiKind::OpenApi(_) | ApiKind::GraphQl(_) => self.sanitise(api.sanitise.take()),
        };
        Some(Api {
            name: name.clone(),
            version: api.version,
            path: api.path.value,
            host: api.host,
            kind,
            authenticate,
            rate_limits,
            headers: api.headers,
            cors,
            sanitise,
            max_body: api.max_body,
            deadline: api.deadline,
            place,
        })
    }

    fn kind(&mut self, api: &mut document::Api, place: &Place, caller: Caller) -> Option<ApiKind> {
        let contracts = [
            (Contract::OpenApi, api.openapi.take()),
            (Contract::GraphQl, api.graphql.take()),
            (Contract::AsyncApi, api.asyncapi.take()),
        ];
        let (contract, file) = contracts.into_iter().find_map(|(contract, file)| Some((contract, file?)))?;
        self.strangers(api, contract);
        let source = self.source(&file);
        match contract {
            Contract::OpenApi => {
                let upstream = self.upstream_of(api, place, contract);
                let upstream_path = self.upstream_path(api);
                let operations = api.operations.take().map(|operations| operations.value);
                let operations = self.operations(operations.unwrap_or_default(), caller);
                let validate = api.validate.take().map_or(Validate::Enforce, |validate| validate.value);
                let (source, upstream) = (source?, upstream?);
                Some(ApiKind::OpenApi(OpenApi { source, upstream, validate, upstream_path, operations }))
            }
            Contract::GraphQl => {
                let upstream = self.upstream_of(api, place, contract);
                let upstream_path = api.upstream_path.take().map_or_else(|| "/graphql".to_owned(), |path| path.value);
                let limits = api.limits.take().map_or_else(GraphQlLimits::blank, |limits| limits.value);
                Some(ApiKind::GraphQl(GraphQl { source: source?, upstream: upstream?, upstream_path, limits }))
            }
            Contract::AsyncApi => {
                let broker = self.broker_of(api, place);
                let sessions = self.sessions(api.sessions.take(), caller);
                Some(ApiKind::AsyncApi(AsyncApi { source: source?, broker: broker?, sessions }))
            }
        }
    }

    /// Tells the keys that belong to another kind of contract.
    fn strangers(&mut self, api: &document::Api, contract: Contract) {
        use Contract::{AsyncApi, GraphQl, OpenApi};
        fn place<T>(placed: &Option<Placed<T>>) -> Option<Place> {
            placed.as_ref().map(|placed| placed.place.clone())
        }
        let keys: [(&str, Option<Place>, &[Contract]); 9] = [
            ("upstream", place(&api.upstream), &[OpenApi, GraphQl]),
            ("broker", place(&api.broker), &[AsyncApi]),
            ("sanitise", place(&api.sanitise), &[OpenApi, GraphQl]),
            ("validate", place(&api.validate), &[OpenApi]),
            ("strip_path", place(&api.strip_path), &[OpenApi]),
            ("upstream_path", place(&api.upstream_path), &[OpenApi, GraphQl]),
            ("limits", place(&api.limits), &[GraphQl]),
            ("sessions", place(&api.sessions), &[AsyncApi]),
            ("operations", place(&api.operations), &[OpenApi]),
        ];
        for (key, place, owners) in keys {
            if let Some(place) = place
                && !owners.contains(&contract)
            {
                let owners = owners.iter().map(|owner| format!("`{}`", owner.key())).collect::<Vec<_>>().join(" or ");
                let message = format!("`{key}` belongs to {owners}, and this API is `{}`", contract.key());
                self.error(&place, message, "leave it out");
            }
        }
    }

    fn upstream_of(&mut self, api: &document::Api, place: &Place, contract: Contract) -> Option<Arc<Upstream>> {
        let Some(upstream) = &api.upstream else {
            self.missing(place, "upstream", &format!("name who serves the `{}`", contract.key()));
            return None;
        };
        self.upstream_named(&upstream.value)
    }

    fn broker_of(&mut self, api: &document::Api, place: &Place) -> Option<Arc<Broker>> {
        let Some(broker) = &api.broker else {
            self.missing(place, "broker", "name who carries the events");
            return None;
        };
        self.used.insert(("brokers", broker.value.clone()));
        self.brokers.get(&broker.value).cloned()
    }

    /// Who is not asked at all cannot answer later.
    fn sessions(&mut self, sessions: Option<Placed<Sessions>>, caller: Caller) -> Sessions {
        let Some(Placed { value: sessions, place }) = sessions else { return Sessions::blank() };
        if sessions.first_frame_credentials == FirstFrame::Allowed && caller == Caller::Unknown {
            let message = "`first_frame_credentials: allowed` where nobody is asked for credentials";
            self.error(&place, message, "add `authenticate`, or leave it out");
        }
        sessions
    }

    fn upstream_path(&mut self, api: &document::Api) -> UpstreamPath {
        match (&api.strip_path, &api.upstream_path) {
            (Some(strip), Some(_)) if !strip.value => {
                let message = "`upstream_path` replaces the prefix that `strip_path: false` keeps";
                self.error(&strip.place, message, "leave one of them out");
                UpstreamPath::Unchanged
            }
            (_, Some(prefix)) if prefix.value == "/" => UpstreamPath::Replaced(String::new()),
            (_, Some(prefix)) => UpstreamPath::Replaced(prefix.value.clone()),
            (Some(strip), None) if strip.value => UpstreamPath::Replaced(String::new()),
            (_, None) => UpstreamPath::Unchanged,
        }
    }

    fn operations(
        &mut self,
        operations: Entries<document::Operation>,
        caller: Caller,
    ) -> IndexMap<Name, OperationRules> {
        let mut resolved = IndexMap::with_capacity(operations.len());
        for (id, Placed { value: operation, place }) in operations {
            let rate_limits = self.limits(operation.rate_limit, caller);
            let graphql = operation.graphql.and_then(|pair| self.pair(pair));
            resolved.insert(id, OperationRules { rate_limits, headers: operation.headers, graphql, place });
        }
        resolved
    }

    fn pair(&mut self, pair: document::GraphQlPair) -> Option<GraphQlPair> {
        let document::GraphQlPair { upstream, path, document, result } = pair;
        Some(GraphQlPair {
            upstream: self.upstream_named(&upstream)?,
            path,
            document: document.value.to_string(),
            result: result.unwrap_or_default(),
            place: document.place,
        })
    }

    /// The contract document, read once however many APIs name it.
    pub(super) fn source(&mut self, file: &Placed<PathBuf>) -> Option<Arc<Source>> {
        if file.value.as_os_str().is_empty() {
            return None;
        }
        let path = beside(self.file, &file.value);
        if let Some(known) = self.sources.get(&path) {
            return known.clone();
        }
        let source = match text_of(&path, &file.place, self.disk) {
            Ok(text) => Some(Arc::new(Source { path: path.clone(), text })),
            Err(told) => {
                self.diagnostics.push(told);
                None
            }
        };
        self.sources.insert(path, source.clone());
        source
    }
}
