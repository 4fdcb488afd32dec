//! The gateway's own answer when there is no other.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::Fields;

/// Who is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The caller; the same request will fail again.
    Caller,
    /// The service behind the gateway.
    Upstream,
    /// The gateway itself.
    Gateway,
}

macro_rules! fault_kinds {
    ($($kind:ident $code:literal $class:ident $status:literal $close:literal $temporary:literal $title:literal;)*) => {
        /// What went wrong: one row of the table that maps every fault to every protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FaultKind { $(#[doc = $title] $kind,)* }

        impl FaultKind {
            /// All kinds, for the tests and pages that walk the table.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its stable code for machines.
            pub const fn code(self) -> &'static str { match self { $(Self::$kind => $code,)* } }

            /// Who is at fault.
            pub const fn class(self) -> Class { match self { $(Self::$kind => Class::$class,)* } }

            /// Its HTTP status.
            pub const fn status(self) -> u16 { match self { $(Self::$kind => $status,)* } }

            /// The close code of a WebSocket session that ends with it.
            pub const fn close_code(self) -> u16 { match self { $(Self::$kind => $close,)* } }

            /// Whether the same request may succeed later.
            pub const fn temporary(self) -> bool { match self { $(Self::$kind => $temporary,)* } }

            /// What it is in a few words, the same for every occurrence (RFC 9457, section 3.1.3).
            pub const fn title(self) -> &'static str { match self { $(Self::$kind => $title,)* } }
        }
    };
}

// One table for all protocols. kind, code, class, HTTP status, WebSocket close code, temporary, title
fault_kinds! {
    BadRequest "bad_request" Caller 400 4400 false "The request could not be understood";
    InvalidParameters "invalid_parameters" Caller 400 4400 false "Parameters do not fit the operation";
    MalformedBody "malformed_body" Caller 400 4400 false "The body could not be read";
    InvalidBody "invalid_body" Caller 422 4400 false "The body does not fit the operation";
    UnsupportedMediaType "unsupported_media_type" Caller 415 4400 false "The media type is not one the operation takes";
    BodyTooLarge "body_too_large" Caller 413 1009 false "The body is too large";
    HeadTooLarge "head_too_large" Caller 431 1009 false "The header fields are too large";
    TargetTooLong "target_too_long" Caller 414 4400 false "The request line is too long";
    ExpectationFailed "expectation_failed" Caller 417 4400 false "What the request expects cannot be met";
    VersionUnsupported "version_unsupported" Caller 505 4400 false "This version of HTTP is not spoken here";
    RequestTimeout "request_timeout" Caller 408 4408 true "The request did not arrive in time";
    CredentialsMissing "credentials_missing" Caller 401 4401 false "Credentials are needed";
    CredentialsInvalid "credentials_invalid" Caller 401 4401 false "The credentials are not known";
    CredentialsExpired "credentials_expired" Caller 401 4401 false "The credentials have expired";
    NotSubscribed "not_subscribed" Caller 403 4403 false "The consumer has no subscription to this";
    Forbidden "forbidden" Caller 403 4403 false "This is not permitted";
    UnknownRoute "unknown_route" Caller 404 4404 false "There is nothing here";
    UnknownChannel "unknown_channel" Caller 404 4404 false "There is no such channel";
    MethodNotAllowed "method_not_allowed" Caller 405 4400 false "The method is not one of this resource";
    NotAcceptable "not_acceptable" Caller 406 4400 false "No media type asked for can be given";
    UpgradeRequired "upgrade_required" Caller 426 4400 false "This is spoken over WebSocket";
    RateLimited "rate_limited" Caller 429 4529 true "A limit is reached";
    QuerySyntax "graphql_syntax" Caller 400 4400 false "The GraphQL document could not be parsed";
    QueryInvalid "graphql_invalid" Caller 400 4400 false "The GraphQL document does not fit the schema";
    QueryLimit "graphql_limit" Caller 400 4400 false "The GraphQL document asks for too much";
    ClientGone "client_gone" Caller 499 1001 false "The client closed the connection";
    UpstreamUnreachable "upstream_unreachable" Upstream 502 1013 true "The service could not be reached";
    UpstreamBroken "upstream_broken" Upstream 502 1013 true "The service's answer broke off or was not understood";
    UpstreamRefused "upstream_refused" Upstream 502 1013 false "The service refused the request of the gateway";
    UpstreamError "upstream_error" Upstream 502 1013 true "The service answered with an error";
    UpstreamTimeout "upstream_timeout" Upstream 504 1013 true "The service did not answer in time";
    BrokerUnavailable "broker_unavailable" Upstream 503 1013 true "The broker could not be reached";
    RecordRefused "record_refused" Upstream 422 4400 false "The broker refused the record";
    CircuitOpen "circuit_open" Gateway 503 1013 true "The service is failing and is left alone for a while";
    NoEndpoint "no_endpoint" Gateway 503 1013 true "No endpoint of the service is healthy";
    Overloaded "overloaded" Gateway 503 1013 true "The gateway has no room for this now";
    DeadlineExceeded "deadline_exceeded" Gateway 504 1013 true "The time for this request is over";
    NotImplemented "not_implemented" Gateway 501 4400 false "The gateway cannot do this yet";
    Internal "internal" Gateway 500 1011 true "The gateway failed";
}

/// The gateway's own answer: a kind for machines, a sentence for the caller, a cause for the log.
pub struct Fault(Box<Parts>);

struct Parts {
    kind: FaultKind,
    status: Option<u16>,
    detail: Cow<'static, str>,
    cause: Option<String>,
    violations: Vec<Violation>,
    extensions: Vec<(&'static str, serde_json::Value)>,
    retry_after: Option<Duration>,
    fields: Fields,
}

/// One place of a request that does not fit, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where: `path.id`, `query.limit`, `header.x-a`, `body/quantity`, `line 1, column 12`.
    pub location: String,
    /// Why, in a sentence that does not quote the value.
    pub message: String,
}

impl Fault {
    /// A fault of this kind. The detail is a sentence for the caller: what happened, to what, what helps; lowercase, no
    /// full stop, and no value that could be a secret.
    pub fn new(kind: FaultKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind,
            status: None,
            detail: detail.into(),
            cause: None,
            violations: Vec::new(),
            extensions: Vec::new(),
            retry_after: None,
            fields: Fields::new(),
        }))
    }

    /// With its cause, which is logged and never shown.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// With the places that do not fit.
    #[must_use]
    pub fn at(mut self, violations: Vec<Violation>) -> Self {
        self.0.violations = violations;
        self
    }

    /// With a member that machines can read: an extension of the problem document or of the GraphQL error.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.0.extensions.push((name, value.into()));
        self
    }

    /// With the time after which trying again may help.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// With a header field, where the protocol has them: `WWW-Authenticate`, `Allow`.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: &str) -> Self {
        // A value made from configuration was checked when it was loaded; one that cannot stand in a head is left out.
        if self.0.fields.add(name, value).is_err() {
            debug_assert!(false, "the field {name} of a fault is well-formed");
        }
        self
    }

    /// With this HTTP status in place of its kind's: that of an upstream's answer which it stands for. 400 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        debug_assert!((400..600).contains(&status), "{status} is no status of a fault");
        self.0.status = Some(status);
        self
    }

    /// Its HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status.unwrap_or(self.0.kind.status())
    }

    /// What went wrong.
    pub fn kind(&self) -> FaultKind {
        self.0.kind
    }

    /// The sentence for the caller.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The cause, for the log alone.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The places that do not fit.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// Members for machines.
    pub fn extensions(&self) -> &[(&'static str, serde_json::Value)] {
        &self.0.extensions
    }

    /// The time after which trying again may help.
    pub fn wait(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Header fields of the answer.
    pub fn fields(&self) -> &Fields {
        &self.0.fields
    }

    /// The fault as a problem document (RFC 9457), with `code` and `request_id`.
    pub fn problem(&self, request_id: &str) -> serde_json::Value {
        let mut document = serde_json::json!({
            "type": format!("urn:portolan:fault:{}", self.0.kind.code()),
            "title": self.0.kind.title(),
            "status": self.status(),
            "detail": self.detail(),
            "code": self.0.kind.code(),
            "request_id": request_id,
        });
        let members = document.as_object_mut().expect("a problem document is an object");
        for (name, value) in &self.0.extensions {
            members.insert((*name).to_owned(), value.clone());
        }
        if !self.0.violations.is_empty() {
            let errors =
                self.0.violations.iter().map(|v| serde_json::json!({ "location": v.location, "message": v.message }));
            members.insert("errors".to_owned(), errors.collect());
        }
        document
    }

    /// The fault as an HTTP response that holds a problem document, with `Retry-After` in whole seconds where a wait helps.
    pub fn response(&self, request_id: &str) -> crate::Response {
        let mut response = crate::Response::new(self.status());
        response.fields.push(b"content-type", b"application/problem+json");
        self.head_fields(&mut response.fields);
        response.body = crate::Body::whole(self.problem(request_id).to_string());
        response
    }

    /// Adds the header fields that any HTTP rendering of the fault carries.
    pub fn head_fields(&self, fields: &mut Fields) {
        fields.append(&self.0.fields);
        if let Some(wait) = self.0.retry_after {
            // Rounded up: who comes back at the second named must not be refused again (RFC 9110, section 10.2.3).
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            fields.push(b"retry-after", itoa::Buffer::new().format(seconds.max(1)).as_bytes());
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("kind", &self.0.kind)
            .field("detail", &self.0.detail)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.code(), self.0.detail)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_place_in_every_protocol() {
        let mut codes = HashSet::new();
        for kind in FaultKind::ALL {
            assert!(codes.insert(kind.code()), "{} twice", kind.code());
            assert!((400..600).contains(&kind.status()), "{}", kind.code());
            let close = kind.close_code();
            assert!((1001..=1013).contains(&close) || (4000..5000).contains(&close), "{}", kind.code());
            // That a version is not spoken is told with a status of servers (RFC 9110, section 15.6.6); the caller chose it.
            let asked_wrongly = kind.status() < 500 || *kind == FaultKind::VersionUnsupported;
            let at_fault_by_status = if asked_wrongly { Class::Caller } else { Class::Gateway };
            let agrees = kind.class() == at_fault_by_status || kind.class() == Class::Upstream;
            assert!(agrees, "{}: {:?} with status {}", kind.code(), kind.class(), kind.status());
        }
    }

    #[test]
    fn a_fault_becomes_a_problem_document_without_its_cause() {
        let fault =
            Fault::new(FaultKind::RateLimited, "100 requests per minute reached for consumer `acme`; retry in 12s")
                .because("bucket consumer/acme")
                .with("limit", 100)
                .retry_after(Duration::from_millis(11_200));
        let response = fault.response("r1");
        assert_eq!(response.status, 429);
        assert_eq!(response.fields.get_str("retry-after"), Some("12"));
        assert_eq!(
            fault.problem("r1"),
            serde_json::json!({
                "type": "urn:portolan:fault:rate_limited", "title": "A limit is reached", "status": 429,
                "detail": "100 requests per minute reached for consumer `acme`; retry in 12s",
                "code": "rate_limited", "request_id": "r1", "limit": 100,
            })
        );
    }
}
