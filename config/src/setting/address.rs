//! Where something listens or is found: addresses, hosts, URLs of endpoints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

use crate::reader::{Reader, Setting};
use crate::schema::Schemas;
use crate::snapshot::Endpoint;
use crate::tree::Node;

/// An address to listen on: an IP address or `localhost`, and a port.
pub(crate) struct Listen;

impl Setting for Listen {
    type Value = SocketAddr;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<SocketAddr> {
        let word = reader.word(node, "an address such as `127.0.0.1:8080`")?;
        let text = match word.text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => word.text,
        };
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let hint = match text.strip_prefix(':') {
            Some(port) => format!("write `0.0.0.0:{port}` for every address of the machine"),
            None if text.parse::<IpAddr>().is_ok() || !text.contains(':') => "add a port: `127.0.0.1:8080`".to_owned(),
            None => "an IP address and a port: `0.0.0.0:8080`, `[::]:8080`".to_owned(),
        };
        reader.wrong(node, format!("`{}` is not an address to listen on", word.shown), &hint)
    }

    fn blank() -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = "^(\\[[0-9A-Fa-f:.]+\\]|[0-9.]+|localhost):[0-9]{1,5}$";
        schemas.scalar(json!({ "type": "string", "pattern": pattern, "$comment": "IP address and port" }))
    }
}

/// `host:port` of something to connect to.
pub(crate) struct HostPort;

impl Setting for HostPort {
    type Value = String;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
        let word = reader.word(node, "an address such as `kafka:9092`")?;
        match split(&word.text) {
            Some((_, Some(_))) => Some(word.text),
            Some((_, None)) => {
                reader.wrong(node, format!("`{}` has no port", word.shown), "host and port: `kafka:9092`")
            }
            None => reader.wrong(node, format!("`{}` is not an address", word.shown), "host and port: `kafka:9092`"),
        }
    }

    fn blank() -> String {
        String::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "pattern": "^.+:[0-9]{1,5}$", "$comment": "host and port" }))
    }
}

/// The URL of one endpoint: `http`, host and port, and nothing after.
pub(crate) struct EndpointUrl;

impl Setting for EndpointUrl {
    type Value = Endpoint;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Endpoint> {
        let word = reader.text(node)?;
        let Some((scheme, rest)) = word.text.split_once("://") else {
            return reader.wrong(node, format!("`{}` is not a URL", word.shown), "write `http://host:port`");
        };
        if scheme.eq_ignore_ascii_case("https") {
            return reader.wrong(node, "an upstream cannot be called over `https` yet", "use `http://host:port`");
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return reader.wrong(node, "an upstream is called over `http`", "write `http://host:port`");
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        if authority.contains('@') {
            return reader.wrong(node, "an endpoint carries no user and no password", "set a header instead");
        }
        if !matches!(after, "" | "/") {
            let hint = "end it after the port; `upstream_path` of an API changes the path";
            return reader.wrong(node, format!("`{}`: an endpoint has no path", word.shown), hint);
        }
        match split(authority) {
            Some((host, port)) => Some(Endpoint { host: host.to_ascii_lowercase(), port: port.unwrap_or(80) }),
            None => reader.wrong(node, format!("`{}` has no valid host and port", word.shown), "`http://orders:9000`"),
        }
    }

    fn blank() -> Endpoint {
        Endpoint { host: String::new(), port: 80 }
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = "^[hH][tT][tT][pP]://[^/?#@]+/?$";
        schemas.scalar(json!({ "type": "string", "pattern": pattern, "$comment": "URL" }))
    }
}

/// Host and port, the host without brackets; port 0 is none to connect to.
pub(super) fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            (is_host(host).then_some(host)?, port)
        }
    };
    let port = match port {
        Some(port) => Some(port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok()).flatten()?),
        None => None,
    };
    (port != Some(0)).then_some((host, port))
}

/// A DNS name or IPv4 address (RFC 1123, section 2.1), `_` allowed as service names in clusters have it.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

/// A host that requests are made for, in lowercase: a name, or `*.` and a name for any one label before it.
pub(crate) struct Host;

impl Setting for Host {
    type Value = String;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
        let word = reader.text(node)?;
        let host = word.text.to_ascii_lowercase();
        let name = host.strip_prefix("*.").unwrap_or(&host);
        if is_host(name) {
            return Some(host);
        }
        let hint = match host.contains([':', '/']) {
            true => "a name alone, without scheme, port and path",
            false => "such as `api.example.com` or `*.example.com`",
        };
        reader.wrong(node, format!("`{}` is not a host", word.shown), hint)
    }

    fn blank() -> String {
        String::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = "^(\\*\\.)?[A-Za-z0-9_.-]+$";
        schemas.scalar(json!({ "type": "string", "pattern": pattern, "$comment": "host" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_told_apart() {
        for (text, expected) in [
            ("orders-1:9000", Some(("orders-1", Some(9000)))),
            ("orders", Some(("orders", None))),
            ("[::1]:80", Some(("::1", Some(80)))),
            ("[::1]", Some(("::1", None))),
            ("127.0.0.1:1", Some(("127.0.0.1", Some(1)))),
            ("::1", None),
            ("orders:0", None),
            ("orders:", None),
            ("orders:+1", None),
            ("orders:65536", None),
            ("[::1]x", None),
            ("or ders", None),
            ("-orders", None),
            ("", None),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }
}
