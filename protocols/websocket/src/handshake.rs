//! Checks the request that opens a WebSocket and computes its answer (RFC 6455, sections 4.2.1 and 4.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The only version there is (RFC 6455, section 4.1).
pub const VERSION: &str = "13";

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that may be answered with `101 Switching Protocols`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The sub-protocols the client offers, in its order of preference.
    pub offered: Vec<String>,
}

/// Why a request cannot open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another method than `GET`.
    Method,
    /// `Connection` does not name `upgrade`, or `Upgrade` does not name `websocket`. Answer 426 with `Upgrade: websocket`.
    NotAnUpgrade,
    /// Another version than 13. Answer 426 with `Sec-WebSocket-Version: 13` (RFC 6455, section 4.4).
    Version,
    /// `Sec-WebSocket-Key` is missing, doubled, or not sixteen bytes in base64.
    Key,
    /// A sub-protocol that is not a token, or one offered twice (RFC 6455, section 4.1, point 10).
    Protocol,
}

impl Refusal {
    /// The HTTP status that answers it.
    pub fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::NotAnUpgrade | Self::Version => 426,
            Self::Key | Self::Protocol => 400,
        }
    }

    /// A sentence for the caller.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Method => "a WebSocket is opened with GET",
            Self::NotAnUpgrade => "this address speaks WebSocket; send `connection: upgrade` and `upgrade: websocket`",
            Self::Version => "the WebSocket version is not supported; send `sec-websocket-version: 13`",
            Self::Key => "`sec-websocket-key` must stand once and hold sixteen bytes in base64",
            Self::Protocol => "`sec-websocket-protocol` must be a list of distinct tokens",
        }
    }
}

impl Opening {
    /// The first sub-protocol of the client's list that is also in ours; the client's order decides.
    pub fn choose<'a>(&self, ours: &[&'a str]) -> Option<&'a str> {
        self.offered.iter().find_map(|offered| ours.iter().copied().find(|ours| ours == offered))
    }
}

/// Checks the opening request. `values` gives all values of a header by its lower-case name, in order.
pub fn check<'a, V>(method: &str, values: impl Fn(&'static str) -> V) -> Result<Opening, Refusal>
where
    V: Iterator<Item = &'a [u8]>,
{
    if method != "GET" {
        return Err(Refusal::Method);
    }
    if !names(values("connection"), "upgrade") || !names(values("upgrade"), "websocket") {
        return Err(Refusal::NotAnUpgrade);
    }
    if only(values("sec-websocket-version")) != Some(VERSION.as_bytes()) {
        return Err(Refusal::Version);
    }
    let key = only(values("sec-websocket-key")).ok_or(Refusal::Key)?;
    // Sixteen bytes are 24 characters of base64 (RFC 6455, section 4.1, point 7). A key whose unused last bits are
    // not zero is tolerated, as browsers' libraries do.
    let canonical = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    if key.len() != 24 || canonical.decode(key).map(|bytes| bytes.len()) != Ok(16) {
        return Err(Refusal::Key);
    }
    Ok(Opening { accept: accept_key(key), offered: offered(values("sec-websocket-protocol"))? })
}

/// Whether the headers ask for a WebSocket at all; the rest is for [`check`] to say.
pub fn is_upgrade<'a, V>(values: impl Fn(&'static str) -> V) -> bool
where
    V: Iterator<Item = &'a [u8]>,
{
    names(values("upgrade"), "websocket")
}

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455, section 4.2.2, point 5.4).
pub fn accept_key(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(digest.as_slice())
}

fn names<'a>(values: impl Iterator<Item = &'a [u8]>, word: &str) -> bool {
    values.flat_map(elements).any(|element| element.eq_ignore_ascii_case(word.as_bytes()))
}

fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let first = values.next()?;
    values.next().is_none().then(|| first.trim_ascii())
}

fn offered<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Vec<String>, Refusal> {
    let mut all: Vec<String> = Vec::new();
    for element in values.flat_map(elements) {
        let name = std::str::from_utf8(element).ok().filter(|name| is_token(name)).ok_or(Refusal::Protocol)?;
        if all.iter().any(|seen| seen == name) {
            return Err(Refusal::Protocol);
        }
        all.push(name.to_owned());
    }
    Ok(all)
}

fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const GOOD: &[(&str, &str)] = &[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-protocol", "chat, portolan.events.v1"),
    ];

    fn judge(headers: &[(&'static str, &'static str)]) -> Result<Opening, Refusal> {
        check("GET", |name| headers.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value.as_bytes()))
    }

    fn with(name: &'static str, value: Option<&'static str>) -> Result<Opening, Refusal> {
        let mut headers: Vec<_> = GOOD.iter().copied().filter(|(key, _)| *key != name).collect();
        headers.extend(value.map(|value| (name, value)));
        judge(&headers)
    }

    #[test]
    fn the_example_of_rfc_6455_section_1_3_gets_its_accept_value() {
        assert_eq!(accept_key(KEY.as_bytes()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_good_request_is_accepted_with_the_sub_protocols_in_order() {
        let opening = judge(GOOD).expect("every header is as it should be");
        let offered = vec!["chat".to_owned(), "portolan.events.v1".to_owned()];
        assert_eq!(opening, Opening { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(), offered });
        assert_eq!(opening.choose(&["portolan.events.v1"]), Some("portolan.events.v1"));
        assert_eq!(opening.choose(&["portolan.events.v1", "chat"]), Some("chat"));
        assert_eq!(opening.choose(&["graphql-transport-ws"]), None);
    }

    #[test]
    fn each_missing_or_wrong_header_is_refused_with_its_reason() {
        assert_eq!(with("connection", None), Err(Refusal::NotAnUpgrade));
        assert_eq!(with("connection", Some("upgraded")), Err(Refusal::NotAnUpgrade));
        assert_eq!(with("upgrade", Some("h2c")), Err(Refusal::NotAnUpgrade));
        assert_eq!(with("sec-websocket-version", None), Err(Refusal::Version));
        assert_eq!(with("sec-websocket-version", Some("8")), Err(Refusal::Version));
        assert_eq!(with("sec-websocket-key", None), Err(Refusal::Key));
        assert_eq!(with("sec-websocket-key", Some("c2hvcnQ=")), Err(Refusal::Key));
        assert_eq!(with("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ=!")), Err(Refusal::Key));
        assert_eq!(with("sec-websocket-protocol", Some("a, b c")), Err(Refusal::Protocol));
        assert_eq!(with("sec-websocket-protocol", Some("a, a")), Err(Refusal::Protocol));
        assert!(with("sec-websocket-protocol", None).is_ok());
    }

    #[test]
    fn a_doubled_key_and_another_method_are_refused() {
        let doubled: Vec<_> = GOOD.iter().copied().chain([("sec-websocket-key", KEY)]).collect();
        assert_eq!(judge(&doubled), Err(Refusal::Key));
        assert_eq!(check("POST", |_| std::iter::empty::<&[u8]>()), Err(Refusal::Method));
    }
}
