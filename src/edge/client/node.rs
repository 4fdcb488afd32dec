//! An entry of `X-Forwarded-For` or the `for` of a `Forwarded` element: an address, with or without a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::port;

/// Reads the addresses that proxies write.
pub(super) struct Node;

impl Node {
    /// An entry of `X-Forwarded-For`, which no standard defines: `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]`
    /// or `[2001:db8::7]:4711`. Whatever else stands there is no address.
    pub(super) fn x_forwarded(entry: &[u8]) -> Option<IpAddr> {
        let text = std::str::from_utf8(entry).ok()?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(address.to_canonical());
        }
        with_port(text, |port_text| port(port_text).is_some())
    }

    /// A node of RFC 7239, section 6: `192.0.2.7`, `[2001:db8::7]`, each with a port or an obfuscated one. `unknown`, an
    /// obfuscated name and an IPv6 address without brackets are no address.
    pub(super) fn forwarded(node: &[u8]) -> Option<IpAddr> {
        let text = std::str::from_utf8(node).ok()?;
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(address.into());
        }
        with_port(text, |text| port(text).is_some() || is_obfuscated(text))
    }
}

/// An address in brackets, or IPv4, and behind a colon what is a port by `is_port`; only brackets need none.
fn with_port(text: &str, is_port: impl Fn(&[u8]) -> bool) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let sound = rest.is_empty() || rest.strip_prefix(':').is_some_and(|text| is_port(text.as_bytes()));
        return address.parse::<Ipv6Addr>().ok().filter(|_| sound).map(|address| IpAddr::V6(address).to_canonical());
    }
    let (address, text) = text.split_once(':')?;
    address.parse::<Ipv4Addr>().ok().filter(|_| is_port(text.as_bytes())).map(Into::into)
}

/// `_` and letters, digits, `.`, `_`, `-` (RFC 7239, section 6.3).
fn is_obfuscated(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    text.len() > 1 && text[0] == b'_' && text.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (text, x_forwarded, forwarded) in [
            ("192.0.2.7", Some("192.0.2.7"), Some("192.0.2.7")),
            ("192.0.2.7:4711", Some("192.0.2.7"), Some("192.0.2.7")),
            ("192.0.2.7:_secret", None, Some("192.0.2.7")),
            ("[2001:db8::7]", Some("2001:db8::7"), Some("2001:db8::7")),
            ("[2001:db8::7]:4711", Some("2001:db8::7"), Some("2001:db8::7")),
            ("[2001:db8::7]:_x.y-z", None, Some("2001:db8::7")),
            ("2001:db8::7", Some("2001:db8::7"), None),
            ("::ffff:192.0.2.7", Some("192.0.2.7"), None),
            ("[::ffff:192.0.2.7]:1", Some("192.0.2.7"), Some("192.0.2.7")),
            ("unknown", None, None),
            ("_hidden", None, None),
            ("192.0.2.07", None, None),
            ("192.0.2", None, None),
            ("192.0.2.7:", None, None),
            ("192.0.2.7:0", None, None),
            ("192.0.2.7:65536", None, None),
            ("192.0.2.7:_", None, None),
            ("192.0.2.7:+1", None, None),
            ("[192.0.2.7]", None, None),
            ("[2001:db8::7", None, None),
            ("[2001:db8::7]4711", None, None),
            ("[fe80::1%eth0]", None, None),
            ("fe80::1%eth0", None, None),
            ("proxy.example", None, None),
            ("\"192.0.2.7\"", None, None),
            ("192.0.2.7 x", None, None),
            ("", None, None),
        ] {
            let address = |text: Option<&str>| text.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(Node::x_forwarded(text.as_bytes()), address(x_forwarded), "X-Forwarded-For: {text}");
            assert_eq!(Node::forwarded(text.as_bytes()), address(forwarded), "Forwarded: for={text}");
        }
        assert_eq!(Node::x_forwarded(b"\xff"), None);
    }
}
