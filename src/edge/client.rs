//! Finds out who asks: the client's address, scheme and host, as far as trusted proxies tell them.
//!
//! A proxy appends the address of its own peer to what it received, so the right-most entries are those that trusted proxies
//! wrote, and whatever stands left of the first untrusted one may be made up. Only one kind of header is believed, because a
//! proxy that writes the one passes the other on as the client sent it.

mod forwarded;
mod node;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use portolan_config::snapshot::{Believed, Listener};
use portolan_exchange::Fields;
pub use portolan_exchange::client::{Client, Connection, Scheme, Trust};

use super::proxy_protocol::{Origin, ProxyHeader, Transport};
pub use forwarded::Malformed;
pub(crate) use forwarded::elements;
use node::Node;

/// A connection from `peer` to this port of ours, on which `scheme` is spoken; `header` is its PROXY header, where
/// [`Expected`](super::proxy_protocol::Expected) let it be read.
pub fn connection(
    listener: &Listener,
    peer: SocketAddr,
    port: u16,
    scheme: Scheme,
    header: Option<&ProxyHeader>,
) -> Connection {
    let (mut peer, mut port, mut scheme) = (peer, port, scheme);
    // Behind a header that names nobody the balancer speaks for itself, or passes on whomever it does not know: either way
    // the heads are not its own, and what they say of a client was written by nobody who is trusted.
    let mut is_known = true;
    if let Some(header) = header {
        match header.origin {
            Origin::Client { source, destination } => (peer, port) = (source, destination.port()),
            Origin::Balancer | Origin::Unix => is_known = false,
        }
        match header.transport {
            Transport::Tls => scheme = Scheme::Https,
            Transport::Plain => scheme = Scheme::Http,
            Transport::Unknown => {}
        }
    }
    peer.set_ip(peer.ip().to_canonical());
    let trust = match listener.forwarded {
        Believed::XForwarded if is_known && listener.trusts(peer.ip()) => Trust::XForwarded,
        Believed::Rfc7239 if is_known && listener.trusts(peer.ip()) => Trust::Rfc7239,
        Believed::XForwarded | Believed::Rfc7239 | Believed::Off => Trust::Nothing,
    };
    Connection { peer, trust, scheme, port }
}

/// Who asks, by the connection and the head of a request. Allocates only where a trusted proxy tells of another host.
///
/// # Errors
/// A trusted proxy passed on a `Forwarded` field that can be read in more than one way, or in none. Where a list of addresses
/// holds what is none, the last one that could be read is the client.
pub fn of(connection: &Connection, listener: &Listener, fields: &Fields) -> Result<Client, Malformed> {
    match connection.trust {
        Trust::Nothing => Ok(connection.alone()),
        Trust::XForwarded => Ok(by_x_forwarded(connection, listener, fields)),
        Trust::Rfc7239 => by_forwarded(connection, listener, fields),
    }
}

fn by_x_forwarded(connection: &Connection, listener: &Listener, fields: &Fields) -> Client {
    let mut client = connection.alone();
    for entry in from_the_right(fields, "x-forwarded-for").take(PROXIES) {
        let Some(address) = Node::x_forwarded(entry) else { break };
        client.address = address;
        client.told += 1;
        if !listener.trusts(address) {
            break;
        }
    }
    // The last of each: what the peer itself wrote, where it wrote any.
    let last = |name| from_the_right(fields, name).next();
    asked(&mut client, last("x-forwarded-proto"), last("x-forwarded-host"), last("x-forwarded-port"));
    client
}

fn by_forwarded(connection: &Connection, listener: &Listener, fields: &Fields) -> Result<Client, Malformed> {
    let mut client = connection.alone();
    // The last element whose address is untrusted, or stands behind one that cannot be read; all being trusted, the first.
    let mut found = None;
    for element in elements(fields) {
        let element = element?;
        client.told += 1;
        match element.node.and_then(Node::forwarded) {
            None => (found, client.told) = (None, 0),
            Some(address) if found.is_none() || !listener.trusts(address) => {
                (found, client.told) = (Some((address, element)), 1);
            }
            Some(_) => {}
        }
    }
    if let Some((address, element)) = found {
        client.address = address;
        asked(&mut client, element.scheme, element.host, None);
    }
    Ok(client)
}

/// What the client asked for, as a trusted proxy tells it. Where it tells something, and no port, that of the host it tells
/// holds, or the scheme's.
fn asked(client: &mut Client, told_scheme: Option<&[u8]>, told_host: Option<&[u8]>, told_port: Option<&[u8]>) {
    let told_scheme = told_scheme.and_then(Scheme::of);
    let told_host = told_host.and_then(host);
    client.scheme = told_scheme.unwrap_or(client.scheme);
    let port_of_host = told_host.and_then(port_of);
    if told_scheme.is_some() || told_host.is_some() {
        client.port = port_of_host.unwrap_or(client.scheme.port());
    }
    client.port = told_port.and_then(port).unwrap_or(client.port);
    client.host = told_host.map(Into::into);
}

/// The entries of a list field (RFC 9110, section 5.6.1), the last first, empty ones left out.
pub(crate) fn from_the_right<'f>(fields: &'f Fields, name: &'static str) -> impl Iterator<Item = &'f [u8]> {
    let mut values: [&[u8]; PROXIES] = [b""; PROXIES];
    let mut count = 0;
    for value in fields.get_all(name) {
        // Of more lines the last ones are kept: the others are left of them.
        if count == PROXIES {
            values.rotate_left(1);
            count -= 1;
        }
        values[count] = value;
        count += 1;
    }
    (0..count)
        .rev()
        .flat_map(move |line| values[line].rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// How many entries of `X-Forwarded-For` are looked at, and how many lines of it, from the last: more proxies than any
/// request passes.
pub const PROXIES: usize = 16;

/// A host that can stand in a head as it is: a name or an address, and a port (RFC 3986, section 3.2.2, without escapes).
fn host(text: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    let fits = (1..=261).contains(&text.len()) && text.iter().all(plain);
    if fits { std::str::from_utf8(text).ok() } else { None }
}

/// The port behind a host.
fn port_of(host: &str) -> Option<u16> {
    let (_, text) = host.rsplit_once(':').filter(|(_, text)| !text.ends_with(']'))?;
    port(text.as_bytes())
}

fn port(text: &[u8]) -> Option<u16> {
    let digits = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok().filter(|port| *port != 0) } else { None }
}
