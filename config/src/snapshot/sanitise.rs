//! What of an upstream's answers is kept from callers.

use super::ReplaceErrors;

/// What of an upstream's answers is kept from callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanitise {
    /// Headers taken out besides those of [`Sanitise::LIST`].
    pub remove: Vec<HeaderPattern>,
    /// Headers that pass although the list or `remove` has them.
    pub keep: Vec<HeaderPattern>,
    /// Which errors are replaced by a fault of ours.
    pub replace_errors: ReplaceErrors,
}

impl Sanitise {
    /// Headers that tell what a service is made of and where it runs, and are of no use to its callers; a `*` at the end
    /// stands for any rest. Chosen from the list of the OWASP Secure Headers Project (`headers_remove.json`), from what
    /// frameworks send in development, and from what proxies on the way say of themselves. Not in it: `Server-Timing`
    /// and trace context, which browsers and callers read.
    pub const LIST: [&'static str; 44] = [
        // Who answers.
        "server",
        "powered-by",
        "liferay-portal",
        "oraclecommercecloud-version",
        "x-powered-by*",
        "x-powered-cms",
        "x-server",
        "x-server-name",
        "x-server-powered-by",
        "x-framework",
        "x-generator",
        "x-generated-by",
        "x-cms",
        "x-content-encoded-by",
        "x-turbo-charged-by",
        "x-php-*",
        "x-aspnet*",
        "x-owa-version",
        "x-drupal-*",
        "x-joomla-version",
        "x-umbraco-version",
        "x-mod-pagespeed",
        "x-page-speed",
        "x-application-context",
        "x-nextjs-*",
        "x-jenkins*",
        "x-cf-powered-by",
        // What helps to look for mistakes in it.
        "x-debug*",
        "x-runtime",
        "x-sourcefiles",
        "x-sourcemap",
        "sourcemap",
        "x-diaginfo",
        "x-clockwork-*",
        "x-exception*",
        "x-stacktrace*",
        // Where it runs, and what stands before it.
        "via",
        "x-served-by",
        "x-backend*",
        "x-beserver",
        "x-feserver",
        "x-varnish*",
        "x-envoy-*",
        "x-kubernetes-*",
    ];
}

/// The name of a header in lowercase, or all that begin alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HeaderPattern {
    /// This one.
    Name(String),
    /// All that begin so.
    Beginning(String),
}

impl HeaderPattern {
    /// The pattern of a text in lowercase; a `*` at its end stands for any rest.
    pub fn of(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::Beginning(beginning.to_owned()),
            None => Self::Name(text.to_owned()),
        }
    }

    /// Whether there can be a name that both mean.
    pub fn meets(&self, other: &HeaderPattern) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a == b,
            (Self::Name(name), Self::Beginning(beginning)) | (Self::Beginning(beginning), Self::Name(name)) => {
                name.starts_with(beginning)
            }
            (Self::Beginning(a), Self::Beginning(b)) => a.starts_with(b) || b.starts_with(a),
        }
    }
}

impl std::fmt::Display for HeaderPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Beginning(beginning) => write!(f, "{beginning}*"),
        }
    }
}
