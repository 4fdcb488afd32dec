//! What the CORS protocol says to browsers by one configuration (Fetch standard, "HTTP CORS protocol").

use std::borrow::Cow;

use portolan_config::snapshot::{Cors, Origin};
use portolan_exchange::{Fields, Method, Request};

use crate::policy::sole::Sole;

/// What pages of other origins are told.
pub struct Rules {
    /// Whose pages are let in; every page of the web when absent.
    origins: Option<Origins>,
    credentials: bool,
    /// Values as they are sent. What is absent is whatever was asked for, or is not sent.
    methods: Option<Box<str>>,
    headers: Option<Box<str>>,
    exposed: Option<Box<str>>,
    max_age: Box<str>,
    /// What answers carry, ready to be laid behind other fields: those to pages of each exact origin, in their order; where every
    /// page is let in, the one that all get.
    ready: Box<[Fields]>,
}

struct Origins {
    /// In order, so that one is found without looking at all.
    exact: Box<[Box<str>]>,
    patterns: Box<[Origin]>,
}

/// What a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Whether another request may follow.
    Preflight,
    /// Something else.
    Request,
}

/// Whose pages are let in where all are.
const EVERYBODY: &[u8] = b"*";

/// The fields of an answer that only these rules write.
const OURS: &[u8] = b"access-control-";

/// What an answer to a preflight depends on, besides the origin.
const ASKED: &[u8] = b"Access-Control-Request-Method, Access-Control-Request-Headers";
const ORIGIN_AND_ASKED: &[u8] = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

impl Rules {
    /// The rules of a configuration.
    pub fn of(settings: &Cors) -> Self {
        let joined = |names: &[String]| names.join(", ").into_boxed_str();
        let exposed = match &settings.exposed_headers {
            Some(names) => Some(joined(names)).filter(|names| !names.is_empty()),
            None => Some("*".into()),
        };
        let mut rules = Self {
            origins: settings.origins.as_deref().map(Origins::of),
            credentials: settings.credentials,
            methods: settings.methods.as_deref().map(joined),
            headers: settings.headers.as_deref().map(joined),
            exposed,
            max_age: settings.max_age.as_secs().to_string().into(),
            ready: Box::default(),
        };
        let ready = |origin: &[u8]| {
            let mut fields = Fields::new();
            rules.answer_to(Some(origin), &mut fields);
            fields
        };
        rules.ready = match &rules.origins {
            None => [ready(EVERYBODY)].into(),
            Some(origins) => origins.exact.iter().map(|origin| ready(origin.as_bytes())).collect(),
        };
        rules
    }

    /// Adds what the answer to a request carries, whether or not its origin is let in, and says what was asked: a preflight
    /// ends with it.
    pub fn tell(&self, request: &Request, fields: &mut Fields) -> Asked {
        // Up to four fields, and those of limits behind them: allocated for once.
        fields.reserve(9, 448);
        if preflight_for(request).is_some() {
            self.preflight(request, fields);
            return Asked::Preflight;
        }
        self.answer(request, fields);
        Asked::Request
    }

    fn answer(&self, request: &Request, fields: &mut Fields) {
        let Some(origins) = &self.origins else { return fields.append(&self.ready[0]) };
        let origin = origin(request);
        match origin.and_then(|origin| origins.exact(origin)) {
            Some(at) => fields.append(&self.ready[at]),
            None => self.answer_to(origin.filter(|origin| origins.fits(origin)), fields),
        }
    }

    /// Adds what an answer carries to the page that is let in, or to one that is not.
    fn answer_to(&self, allowed: Option<&[u8]>, fields: &mut Fields) {
        // Where all get the same answer it is the same without an origin, too, and no cache need tell them apart
        // (Fetch standard, "CORS protocol and HTTP caches").
        if self.origins.is_some() {
            fields.push(b"vary", b"Origin");
        }
        let Some(allowed) = allowed else { return };
        self.let_in(allowed, fields);
        if let Some(exposed) = &self.exposed {
            fields.push(b"access-control-expose-headers", exposed.as_bytes());
        }
    }

    /// The browser judges by it whether the request itself may follow.
    fn preflight(&self, request: &Request, fields: &mut Fields) {
        fields.push(b"vary", if self.origins.is_some() { ORIGIN_AND_ASKED } else { ASKED });
        let allowed = match &self.origins {
            None => Some(EVERYBODY),
            Some(origins) => origin(request).filter(|origin| origins.exact(origin).is_some() || origins.fits(origin)),
        };
        let Some(allowed) = allowed else { return };
        self.let_in(allowed, fields);
        let method = request.fields.get("access-control-request-method").unwrap_or_default();
        let methods = self.methods.as_deref().map_or(method, str::as_bytes);
        if !methods.is_empty() {
            fields.push(b"access-control-allow-methods", methods);
        }
        let headers = match &self.headers {
            Some(headers) => Some(Cow::Borrowed(headers.as_bytes())),
            None => asked_headers(request),
        };
        if let Some(headers) = headers.filter(|headers| !headers.is_empty()) {
            fields.push(b"access-control-allow-headers", &headers);
        }
        fields.push(b"access-control-max-age", self.max_age.as_bytes());
    }

    /// Adds what lets the page in.
    fn let_in(&self, allowed: &[u8], fields: &mut Fields) {
        fields.push(b"access-control-allow-origin", allowed);
        if self.credentials {
            fields.push(b"access-control-allow-credentials", b"true");
        }
    }
}

impl Origins {
    fn of(origins: &[Origin]) -> Self {
        let exact = |origin: &Origin| match origin {
            Origin::Exact(origin) => Some(origin.as_str().into()),
            Origin::AnyLabel { .. } => None,
        };
        let mut known: Vec<Box<str>> = origins.iter().filter_map(exact).collect();
        known.sort_unstable();
        let patterns = origins.iter().filter(|origin| matches!(origin, Origin::AnyLabel { .. })).cloned().collect();
        Self { exact: known.into(), patterns }
    }

    /// Where it stands among the exact ones.
    fn exact(&self, sent: &[u8]) -> Option<usize> {
        self.exact.binary_search_by(|known| known.as_bytes().cmp(sent)).ok()
    }

    /// Whether it is of one of the patterns.
    fn fits(&self, sent: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| pattern.is(sent))
    }
}

/// The method that a preflight asks about (Fetch standard, "CORS-preflight fetch"); nothing where the request
/// is none: any `OPTIONS` that does not tell one origin and one method is a request like others.
pub fn preflight_for(request: &Request) -> Option<Method> {
    if request.method != Method::Options || request.upgrade.is_some() {
        return None;
    }
    origin(request)?;
    let method = Sole::of(request.fields.get_all("access-control-request-method")).one()?;
    let method = std::str::from_utf8(method).ok().filter(|method| is_token(method.as_bytes()))?;
    Some(Method::of(method))
}

/// Takes what only the gateway says out of the fields of an upstream: two answers would be none to a browser.
pub fn replace(fields: &mut Fields) {
    // Hardly any upstream says it.
    if fields.iter().any(|(name, _)| is_ours(name)) {
        fields.retain(|name, _| !is_ours(name));
    }
}

fn is_ours(name: &[u8]) -> bool {
    name.get(..OURS.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(OURS))
}

/// The origin that a browser tells of the page. Who tells two tells none.
fn origin(request: &Request) -> Option<&[u8]> {
    Sole::of(request.fields.get_all("origin")).one()
}

/// The headers that a preflight asks about, as it wrote them; nothing where they are no list of names.
fn asked_headers(request: &Request) -> Option<Cow<'_, [u8]>> {
    let mut values = request.fields.get_all("access-control-request-headers");
    let first = values.next()?;
    let asked = match values.next() {
        None => Cow::Borrowed(first),
        Some(second) => {
            let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
            Cow::Owned(all.join(&b", "[..]))
        }
    };
    let names = asked.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.into_iter().all(is_token).then_some(asked)
}

/// `token` of RFC 9110, section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(of_token)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_exchange::Target;

    use super::*;

    fn open() -> Cors {
        Cors {
            origins: None,
            methods: None,
            headers: None,
            exposed_headers: Some(Vec::new()),
            credentials: false,
            max_age: Duration::from_secs(600),
        }
    }

    fn asked(method: Method, fields: &[(&str, &str)]) -> Request {
        let mut request = Request::new(method, Target::new("/"));
        for (name, value) in fields {
            request.fields.add(name, value).unwrap();
        }
        request
    }

    fn lines(fields: &Fields) -> Vec<String> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
    }

    fn answered(rules: &Rules, fields: &[(&str, &str)]) -> Vec<String> {
        let mut answer = Fields::new();
        rules.answer(&asked(Method::Get, fields), &mut answer);
        lines(&answer)
    }

    #[test]
    fn where_everybody_is_let_in_the_answer_is_the_same_without_an_origin() {
        let rules = Rules::of(&Cors { exposed_headers: None, ..open() });
        let all = ["access-control-allow-origin: *", "access-control-expose-headers: *"];
        for fields in [&[][..], &[("origin", "null")], &[("origin", "https://a.example"), ("origin", "x")]] {
            assert_eq!(answered(&rules, fields), all);
        }
    }

    #[test]
    fn an_origin_that_is_not_told_once_and_exactly_is_not_let_in() {
        let origins = vec![
            Origin::Exact("https://b.example".into()),
            Origin::Exact("https://a.example".into()),
            Origin::AnyLabel { before: "https://".into(), behind: ".c.example".into() },
        ];
        let rules = Rules::of(&Cors { origins: Some(origins), credentials: true, ..open() });
        for origin in ["https://a.example", "https://b.example", "https://x.c.example"] {
            let let_in = [
                "vary: Origin".to_owned(),
                format!("access-control-allow-origin: {origin}"),
                "access-control-allow-credentials: true".to_owned(),
            ];
            assert_eq!(answered(&rules, &[("origin", origin)]), let_in);
        }
        let a = "https://a.example";
        for fields in [
            &[][..],
            &[("origin", "")],
            &[("origin", "null")],
            &[("origin", "*")],
            &[("origin", "https://A.example")],
            &[("origin", "https://a.example/")],
            &[("origin", "https://a.example:443")],
            &[("origin", "http://a.example")],
            &[("origin", "https://a.example https://b.example")],
            &[("origin", a), ("origin", a)],
            &[("origin", "https://c.example")],
        ] {
            assert_eq!(answered(&rules, fields), ["vary: Origin"], "{fields:?}");
        }
    }

    #[test]
    fn a_preflight_tells_an_origin_and_the_one_method_it_asks_about() {
        let (origin, method) = (("origin", "null"), ("access-control-request-method", "PUT"));
        assert_eq!(preflight_for(&asked(Method::Options, &[origin, method])), Some(Method::Put));
        for (fields, asked_by) in [
            (&[origin, method][..], Method::Get),
            (&[method], Method::Options),
            (&[origin], Method::Options),
            (&[origin, method, method], Method::Options),
            (&[origin, origin, method], Method::Options),
            (&[origin, ("access-control-request-method", "")], Method::Options),
            (&[origin, ("access-control-request-method", "P T")], Method::Options),
        ] {
            assert_eq!(preflight_for(&asked(asked_by, fields)), None, "{fields:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_repeated_only_where_it_is_a_list_of_names() {
        let rules = Rules::of(&open());
        let method = ("access-control-request-method", "PATCH");
        let allowed = |headers: &[&str]| {
            let headers = headers.iter().map(|value| ("access-control-request-headers", *value));
            let fields: Vec<_> = [("origin", "https://a.example"), method].into_iter().chain(headers).collect();
            let mut answer = Fields::new();
            rules.preflight(&asked(Method::Options, &fields), &mut answer);
            answer.get_str("access-control-allow-headers").map(str::to_owned)
        };
        assert_eq!(allowed(&["x-a,x-b"]), Some("x-a,x-b".into()));
        assert_eq!(allowed(&["x-a", "x-b, authorization"]), Some("x-a, x-b, authorization".into()));
        for headers in [&[][..], &[""], &["x a"], &["x-a,,x-b"], &["x-a", "<b>"]] {
            assert_eq!(allowed(headers), None, "{headers:?}");
        }
    }
}
