//! Routes: no two may claim the same requests.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::Resolver;
use super::limit::Caller;
use crate::diagnostic::Place;
use crate::document::{self, Entries};
use crate::reader::Placed;
use crate::setting::place_of_parameters;
use crate::snapshot::{Api, Name, Route};

/// Who serves a pattern already, by which methods; none means all.
struct Claim<'d> {
    owner: String,
    methods: &'d [String],
}

impl Claim<'_> {
    fn shares(&self, methods: &[String]) -> bool {
        let all = self.methods.is_empty() || methods.is_empty();
        all || self.methods.iter().any(|method| methods.contains(method))
    }
}

impl Resolver<'_> {
    pub(super) fn routes(
        &mut self,
        entries: Entries<document::Route>,
        apis: &IndexMap<Name, Arc<Api>>,
    ) -> IndexMap<Name, Arc<Route>> {
        self.clashes(&entries, apis);
        let mut routes = IndexMap::with_capacity(entries.len());
        for (name, entry) in entries {
            if let Some(route) = self.route(&name, entry) {
                routes.insert(name, Arc::new(route));
            }
        }
        routes
    }

    /// Two routes clash when host and pattern are the same and a method is in both; with an API, when the route is
    /// everything below its path.
    fn clashes(&mut self, entries: &Entries<document::Route>, apis: &IndexMap<Name, Arc<Api>>) {
        let mut claims: HashMap<(Option<&str>, String), Vec<Claim<'_>>> = HashMap::new();
        for api in apis.values() {
            let pattern = format!("{}/**", api.path.trim_end_matches('/'));
            let claim = Claim { owner: format!("API `{}`", api.name), methods: &[] };
            claims.entry((api.host.as_deref(), pattern)).or_default().push(claim);
        }
        for (name, entry) in entries {
            let document::Route { host, path, methods, .. } = &entry.value;
            if path.value.is_empty() {
                continue;
            }
            let known = claims.entry((host.as_deref(), place_of_parameters(&path.value))).or_default();
            if let Some(Claim { owner, .. }) = known.iter().find(|claim| claim.shares(methods)) {
                let message = format!("`{}` is what {owner} serves already", path.value);
                self.error(&path.place, message, "tell them apart by path, `host` or `methods`");
            }
            known.push(Claim { owner: format!("route `{name}`"), methods });
        }
    }

    fn route(&mut self, name: &Name, entry: Placed<document::Route>) -> Option<Route> {
        let Placed { value: route, place } = entry;
        let rate_limits = self.limits(route.rate_limit, Caller::of_route(&route.authenticate));
        let authenticate = self.identities_named(&route.authenticate);
        let cors = self.cors(route.cors, Some(&route.headers));
        let sanitise = self.sanitise(route.sanitise);
        let strip_prefix = self.strip_prefix(route.strip_prefix, &route.path);
        Some(Route {
            name: name.clone(),
            host: route.host,
            path: route.path.value,
            methods: route.methods,
            upstream: self.upstream_named(&route.upstream)?,
            authenticate,
            rate_limits,
            headers: route.headers,
            cors,
            sanitise,
            deadline: route.deadline,
            strip_prefix,
            place,
        })
    }

    /// Every path that the route matches must begin with the prefix; `/` takes nothing off.
    fn strip_prefix(&mut self, prefix: Option<Placed<String>>, path: &Placed<String>) -> Option<String> {
        let Placed { value: prefix, place }: Placed<String> = prefix.filter(|prefix| prefix.value != "/")?;
        let literal = path.value.strip_suffix("/**").unwrap_or(&path.value);
        let rest = literal.strip_prefix(prefix.as_str());
        let told = prefix.is_empty() || path.value.is_empty();
        if !told && !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            self.wrong_prefix(&place, &prefix, &path.value);
        }
        Some(prefix)
    }

    fn wrong_prefix(&mut self, place: &Place, prefix: &str, path: &str) {
        let message = format!("`{path}` does not begin with `{prefix}`");
        self.error(place, message, "strip what every path of the route begins with");
    }
}
