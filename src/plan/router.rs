//! Finds the route of a request: host, then a radix tree of paths, then the method. Never a scan over routes.

mod below;

use std::collections::HashMap;
use std::sync::Arc;

use below::Below;
use portolan_exchange::{Fault, FaultKind, Method, Operation, Request, Route};

/// Where a request goes, and which operation that is where the head tells it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The route.
    pub route: Arc<Route>,
    /// The operation, where path and method name it.
    pub operation: Option<Arc<Operation>>,
    // Names of the template's parameters, in order. The tree knows them by position, so that two templates may name the
    // same place differently.
    names: Names,
}

/// Names of a template's parameters, in order.
type Names = Box<[Arc<str>]>;

/// What the parameters of a template matched, percent-encoded.
pub type Parameters = Vec<(Arc<str>, Box<str>)>;

/// A target and what its template's parameters matched.
type Found<'r> = (&'r Target, Parameters);

/// The routes of a plan.
#[derive(Default)]
pub struct Router {
    exact: HashMap<Box<str>, Tree>,
    // By the part behind `*`, as `.example.com`.
    wildcard: HashMap<Box<str>, Tree>,
    any: Tree,
}

/// The routes of one host.
#[derive(Default)]
struct Tree {
    // Templates that name a whole path.
    exact: matchit::Router<Leaf>,
    // Templates that end with `/**`: matchit knows no tree in which `/a/{b}` and `/a/**` stand beside one another.
    below: Below,
}

/// The methods of one path.
#[derive(Default)]
struct Leaf {
    methods: Vec<(Method, Arc<Target>)>,
    every: Option<Arc<Target>>,
}

/// Why a route cannot be added.
#[derive(Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Another route takes the same requests.
    Taken {
        /// That route.
        by: Arc<str>,
    },
    /// The template cannot be read, or two templates contradict one another.
    Template(String),
}

impl Router {
    /// Adds a target. The template has literal segments, `{name}` for one segment, and `/**` at its end for the path itself and all
    /// below. No methods means all of them.
    ///
    /// # Errors
    /// A conflict, and the router is as before.
    pub fn add(
        &mut self,
        host: Option<&str>,
        template: &str,
        methods: &[Method],
        route: Arc<Route>,
        operation: Option<Arc<Operation>>,
    ) -> Result<(), Conflict> {
        let tree = match host {
            None => &mut self.any,
            Some(host) => match host.strip_prefix('*') {
                Some(domain) => self.wildcard.entry(domain.into()).or_default(),
                None => self.exact.entry(host.into()).or_default(),
            },
        };
        match template.strip_suffix("/**") {
            Some(base) => {
                let names = base.split('/').filter_map(below::parameter).map(Arc::from).collect();
                let leaf = tree.below.leaf_mut(base);
                leaf.add(methods, &Arc::new(Target { route, operation, names }))
            }
            None => {
                let (pattern, names) = by_position(template)?;
                tree.add(pattern, methods, &Arc::new(Target { route, operation, names }))
            }
        }
    }

    /// Finds the route of a request.
    ///
    /// # Errors
    /// `unknown_route`, or `method_not_allowed` with `Allow`.
    pub fn find(&self, request: &Request) -> Result<Found<'_>, Fault> {
        let path = request.target.path();
        let mut not_allowed = None;
        if !(self.exact.is_empty() && self.wildcard.is_empty()) {
            for tree in self.trees_of(&host(&request.authority)) {
                match tree.find(path, &request.method) {
                    Some(Ok(found)) => return Ok(found),
                    Some(Err(allowed)) => not_allowed = not_allowed.or(Some(allowed)),
                    None => {}
                }
            }
        }
        let not_allowed = match self.any.find(path, &request.method) {
            Some(Ok(found)) => return Ok(found),
            Some(Err(allowed)) => not_allowed.or(Some(allowed)),
            None => not_allowed,
        };
        Err(match not_allowed {
            Some(allowed) => {
                let detail = format!("{} is not a method of this path", request.method);
                Fault::new(FaultKind::MethodNotAllowed, detail).field("allow", &allowed)
            }
            None => Fault::new(FaultKind::UnknownRoute, "no route takes this request"),
        })
    }

    /// The trees of a host, the most specific first.
    fn trees_of(&self, host: &str) -> impl Iterator<Item = &Tree> {
        let domain = || host.find('.').and_then(|dot| self.wildcard.get(&host[dot..]));
        self.exact.get(host).into_iter().chain(domain())
    }
}

impl Tree {
    fn add(&mut self, pattern: String, methods: &[Method], target: &Arc<Target>) -> Result<(), Conflict> {
        if let Some(leaf) = self.leaf_mut(&pattern) {
            return leaf.add(methods, target);
        }
        let mut leaf = Leaf::default();
        leaf.add(methods, target)?;
        self.exact.insert(pattern, leaf).map_err(|error| Conflict::Template(error.to_string()))
    }

    // A pattern matches itself: braces are ordinary bytes of a path.
    fn leaf_mut(&mut self, pattern: &str) -> Option<&mut Leaf> {
        let found = self.exact.at_mut(pattern).ok()?;
        is_own(&found.params, pattern).then_some(found.value)
    }

    /// The target of a path and a method; the methods that there are, when this is none of them.
    fn find(&self, path: &str, method: &Method) -> Option<Result<Found<'_>, String>> {
        let exact = self.exact.at(path).ok().map(|found| {
            let values = found.params.iter().map(|(_, value)| value);
            found.value.found(method, values)
        });
        match exact {
            Some(Ok(found)) => Some(Ok(found)),
            // A path that is known but not for this method may still stand below a route for all of them.
            Some(Err(allowed)) => Some(self.below.find(path, method).and_then(Result::ok).ok_or(allowed)),
            None => self.below.find(path, method),
        }
    }
}

impl Leaf {
    fn add(&mut self, methods: &[Method], target: &Arc<Target>) -> Result<(), Conflict> {
        let taken = match methods {
            [] => self.every.as_ref(),
            named => {
                named.iter().find_map(|method| self.methods.iter().find(|(known, _)| known == method).map(|(_, by)| by))
            }
        };
        if let Some(by) = taken {
            return Err(Conflict::Taken { by: by.route.name.clone() });
        }
        if methods.is_empty() {
            self.every = Some(target.clone());
        }
        self.methods.extend(methods.iter().map(|method| (method.clone(), target.clone())));
        Ok(())
    }

    /// What is found here for a method; the methods that there are, when this is none of them.
    fn found<'v>(&self, method: &Method, values: impl Iterator<Item = &'v str>) -> Result<Found<'_>, String> {
        let target = self.of(method).ok_or_else(|| self.allowed())?;
        let parameters = target.names.iter().zip(values).map(|(name, value)| (name.clone(), value.into())).collect();
        Ok((target, parameters))
    }

    fn of(&self, method: &Method) -> Option<&Arc<Target>> {
        let exact = self.methods.iter().find(|(known, _)| known == method).map(|(_, target)| target);
        let head_as_get = || match method {
            // A resource that answers GET answers HEAD (RFC 9110, section 9.1).
            Method::Head => self.methods.iter().find(|(known, _)| *known == Method::Get).map(|(_, target)| target),
            _ => None,
        };
        exact.or_else(head_as_get).or(self.every.as_ref())
    }

    fn allowed(&self) -> String {
        let mut names: Vec<_> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }
}

/// A template with its parameters named by position, and their names: two templates may name the same place differently.
fn by_position(template: &str) -> Result<(String, Names), Conflict> {
    let mut names = Vec::new();
    let mut pattern = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let unclosed = || Conflict::Template(format!("`{template}` opens a brace and does not close it"));
        let close = rest[open..].find('}').ok_or_else(unclosed)?;
        pattern.push_str(&rest[..open]);
        pattern.push_str(&format!("{{p{}}}", names.len()));
        names.push(Arc::from(&rest[open + 1..open + close]));
        rest = &rest[open + close + 1..];
    }
    pattern.push_str(rest);
    Ok((pattern, names.into()))
}

/// Whether a pattern that was looked up as a path was found as itself, not as a value of another's parameter.
fn is_own(params: &matchit::Params<'_, '_>, pattern: &str) -> bool {
    let own = |(name, value): (&str, &str)| value == format!("{{{name}}}");
    let parameters = pattern.matches('{').count();
    params.iter().all(own) && params.len() == parameters
}

/// The host without its port, in lowercase.
fn host(authority: &str) -> std::borrow::Cow<'_, str> {
    let host = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => &authority[..colon],
        _ => authority,
    };
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) { host.to_ascii_lowercase().into() } else { host.into() }
}

#[cfg(test)]
mod tests {
    use portolan_exchange::Target as Asked;

    use super::*;
    use crate::plan::nowhere::route;

    fn router(templates: &[(&str, &[Method], &str)]) -> Router {
        let mut router = Router::default();
        for (template, methods, name) in templates {
            router.add(None, template, methods, route(name), None).unwrap();
        }
        router
    }

    fn asked(method: Method, target: &str) -> Request {
        Request::new(method, Asked::new(target))
    }

    fn found(router: &Router, method: Method, target: &str) -> Result<(String, Vec<String>), String> {
        router
            .find(&asked(method, target))
            .map(|(target, parameters)| {
                let parameters = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
                (target.route.name.to_string(), parameters)
            })
            .map_err(|fault| fault.kind().code().to_owned())
    }

    #[test]
    fn a_literal_goes_before_a_parameter_and_a_parameter_before_the_rest() {
        let router = router(&[("/orders/{id}", &[], "one"), ("/orders/new", &[], "new"), ("/orders/**", &[], "below")]);
        assert_eq!(found(&router, Method::Get, "/orders/new"), Ok(("new".into(), vec![])));
        assert_eq!(found(&router, Method::Get, "/orders/7?x=1"), Ok(("one".into(), vec!["id=7".into()])));
        assert_eq!(found(&router, Method::Get, "/orders"), Ok(("below".into(), vec![])));
        assert_eq!(found(&router, Method::Get, "/orders/7/items").unwrap().0, "below");
        assert_eq!(found(&router, Method::Get, "/orders/").unwrap().0, "below");
        assert_eq!(found(&router, Method::Get, "/elsewhere"), Err("unknown_route".into()));
    }

    #[test]
    fn the_whole_tree_can_be_taken_by_one_route() {
        let router = router(&[("/**", &[], "all")]);
        for path in ["/", "/a", "/a/b/"] {
            assert_eq!(found(&router, Method::Get, path).unwrap().0, "all", "{path}");
        }
    }

    #[test]
    fn the_longest_of_two_routes_for_all_below_goes_first() {
        let router = router(&[("/a/**", &[], "a"), ("/a/{b}/c/**", &[], "abc"), ("/a/x/**", &[], "ax")]);
        assert_eq!(found(&router, Method::Get, "/a/1/c/2"), Ok(("abc".into(), vec!["b=1".into()])));
        assert_eq!(found(&router, Method::Get, "/a/x/c/2").unwrap().0, "ax");
        assert_eq!(found(&router, Method::Get, "/a/1/d").unwrap().0, "a");
    }

    #[test]
    fn a_method_that_a_path_does_not_have_may_be_served_by_a_route_for_all_below() {
        let router = router(&[("/o/{id}", &[Method::Get], "get"), ("/o/**", &[], "rest")]);
        assert_eq!(found(&router, Method::Post, "/o/1").unwrap().0, "rest");
        assert_eq!(found(&router, Method::Get, "/o/1").unwrap().0, "get");
    }

    #[test]
    fn two_operations_may_name_the_same_place_differently() {
        let router = router(&[("/o/{id}", &[Method::Get], "get"), ("/o/{order}", &[Method::Put], "put")]);
        assert_eq!(found(&router, Method::Get, "/o/1"), Ok(("get".into(), vec!["id=1".into()])));
        assert_eq!(found(&router, Method::Put, "/o/1"), Ok(("put".into(), vec!["order=1".into()])));
        assert_eq!(found(&router, Method::Head, "/o/1").unwrap().0, "get");
        let refused = router.find(&asked(Method::Delete, "/o/1")).unwrap_err();
        assert_eq!((refused.kind().status(), refused.fields().get_str("allow")), (405, Some("GET, HEAD, PUT")));
    }

    #[test]
    fn the_more_specific_host_goes_first_and_falls_back() {
        let mut router = Router::default();
        router.add(Some("a.example.com"), "/x", &[], route("exact"), None).unwrap();
        router.add(Some("*.example.com"), "/**", &[], route("wild"), None).unwrap();
        router.add(None, "/**", &[], route("any"), None).unwrap();
        let at = |host: &str, path: &str| {
            let mut request = asked(Method::Get, path);
            request.authority = host.into();
            router.find(&request).unwrap().0.route.name.to_string()
        };
        assert_eq!(at("A.example.com:8080", "/x"), "exact");
        assert_eq!(at("a.example.com", "/y"), "wild");
        assert_eq!(at("b.example.com", "/y"), "wild");
        assert_eq!(at("example.com", "/y"), "any");
    }

    #[test]
    fn a_route_that_takes_the_same_requests_is_refused() {
        let mut router = router(&[("/o/{id}", &[Method::Get], "first")]);
        let taken = Err(Conflict::Taken { by: "first".into() });
        assert_eq!(router.add(None, "/o/{other}", &[Method::Get], route("second"), None), taken);
        assert_eq!(router.add(None, "/o/{other}", &[Method::Put], route("second"), None), Ok(()));
    }
}
