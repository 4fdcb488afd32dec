//! Which pages of other origins may call from a browser.

use std::time::Duration;

/// Which pages of other origins may call, and what they may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages are let in; every page of the web when absent, and then never with credentials.
    pub origins: Option<Vec<Origin>>,
    /// The methods they may use, in upper case; whichever they ask for when absent.
    pub methods: Option<Vec<String>>,
    /// The headers they may send, in lowercase; whichever they ask for when absent.
    pub headers: Option<Vec<String>>,
    /// The headers of an answer they may read, in lowercase; all when absent, and then never with credentials.
    pub exposed_headers: Option<Vec<String>>,
    /// Whether they may call with their visitor's credentials.
    pub credentials: bool,
    /// How long a browser may go by the answer to a preflight, in whole seconds.
    pub max_age: Duration,
}

/// An origin, or all that differ in their first label, as browsers write them (HTML standard, "serialization
/// of an origin"): scheme and host in lowercase, the scheme's own port left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// This one.
    Exact(String),
    /// Any with one label between the two.
    AnyLabel {
        /// The scheme with its `://`.
        before: String,
        /// What follows the label, its dot first.
        behind: String,
    },
}

impl Origin {
    /// Whether a browser that sends this is meant. Bytes are compared, since browsers write an origin in one way (Fetch
    /// standard, "CORS check").
    pub fn is(&self, sent: &[u8]) -> bool {
        match self {
            Self::Exact(origin) => sent == origin.as_bytes(),
            Self::AnyLabel { before, behind } => {
                let label = sent.strip_prefix(before.as_bytes()).and_then(|rest| rest.strip_suffix(behind.as_bytes()));
                label.is_some_and(is_label)
            }
        }
    }
}

fn is_label(label: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    !label.is_empty() && label.iter().all(inner)
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(origin) => f.write_str(origin),
            Self::AnyLabel { before, behind } => write!(f, "{before}*{behind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label_and_for_nothing_else() {
        let origin = Origin::AnyLabel { before: "https://".into(), behind: ".example.com:8443".into() };
        for sent in ["https://app.example.com:8443", "https://x-1_a.example.com:8443"] {
            assert!(origin.is(sent.as_bytes()), "{sent}");
        }
        for sent in [
            "https://example.com:8443",
            "https://.example.com:8443",
            "https://a.b.example.com:8443",
            "https://app.example.com",
            "https://app.example.com:84430",
            "http://app.example.com:8443",
            "https://APP.example.com:8443",
            "https://evil.com/.example.com:8443",
            "https://evil.com@a.example.com:8443",
            "https://evil.com\0.example.com:8443",
            "https://appxexample.com:8443",
            "https://.example.com:8443.example.com:8443",
            "null",
            "",
        ] {
            assert!(!origin.is(sent.as_bytes()), "{sent}");
        }
    }
}
