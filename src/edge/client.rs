//! Finds out who asks: the client's address, scheme and host, as far as trusted proxies tell them.
//!
//! A proxy appends the address of its own peer to what it received, so the right-most entries are those that trusted proxies
//! wrote, and whatever stands left of the first untrusted one may be made up. Only one kind of header is believed, because a
//! proxy that writes the one passes the other on as the client sent it.

mod forwarded;
mod node;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use portolan_config::snapshot::{Believed, Listener};
use portolan_exchange::Fields;

use super::proxy_protocol::{ProxyHeader, Transport};
pub use forwarded::Malformed;
use node::Node;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The client's address, as far as trusted proxies tell it; IPv4 as such, mapped into IPv6 or not.
    pub address: IpAddr,
    /// The address of whoever sent the request here: the last proxy, or the client itself.
    pub peer: IpAddr,
    /// Whether the peer is believed: what it received of others is passed on, ahead of its own address.
    pub peer_is: Peer,
    /// What the client spoke to the first proxy that was believed.
    pub scheme: Scheme,
    /// Which host the client asked that proxy for; absent where it asked for the request's own.
    pub host: Option<Box<str>>,
    /// Which port the client connected to, where a proxy says so.
    pub port: Option<u16>,
}

/// Whether what a peer says of others is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It belongs to `trusted_proxies`, and this is what it is believed in.
    Trusted(Believed),
    /// It is a client like any other.
    Untrusted,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of URLs that name none.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The scheme of this name, whatever its case; others than these two are none.
    fn of(name: &[u8]) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a connection before its first request: found out once, asked for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Whoever sends its requests: the other end of the socket, or the client that a believed PROXY header names.
    pub peer: SocketAddr,
    /// Whether that peer is believed.
    pub peer_is: Peer,
    /// What the peer speaks.
    pub scheme: Scheme,
}

impl Connection {
    /// A connection from `peer`, which speaks `scheme` with us; `header` is the PROXY header, from a trusted peer only.
    pub fn new(listener: &Listener, peer: SocketAddr, scheme: Scheme, header: Option<&ProxyHeader>) -> Self {
        let source = header.and_then(ProxyHeader::source).unwrap_or(peer);
        let peer = SocketAddr::new(source.ip().to_canonical(), source.port());
        let scheme = match header.map(|header| header.transport) {
            Some(Transport::Tls) => Scheme::Https,
            Some(Transport::Plain) => Scheme::Http,
            Some(Transport::Unknown) | None => scheme,
        };
        let believed = listener.trusts(peer.ip());
        Self { peer, peer_is: if believed { Peer::Trusted(listener.forwarded) } else { Peer::Untrusted }, scheme }
    }

    /// Who asks, by the head of a request. Allocates only where a trusted proxy tells of another host.
    ///
    /// # Errors
    /// A trusted proxy passed on a `Forwarded` field that can be read in more than one way, or in none. Where only its sender is
    /// to blame, as with an address that is none, the last one that could be read is the client.
    pub fn client(&self, listener: &Listener, fields: &Fields) -> Result<Client, Malformed> {
        match self.peer_is {
            Peer::Trusted(Believed::XForwarded) => Ok(self.by_x_forwarded(listener, fields)),
            Peer::Trusted(Believed::Rfc7239) => self.by_forwarded(listener, fields),
            Peer::Trusted(Believed::Off) | Peer::Untrusted => Ok(self.alone()),
        }
    }

    /// The peer is the client, as far as anyone knows.
    pub fn alone(&self) -> Client {
        let address = self.peer.ip();
        Client { address, peer: address, peer_is: self.peer_is, scheme: self.scheme, host: None, port: None }
    }

    fn by_x_forwarded(&self, listener: &Listener, fields: &Fields) -> Client {
        let mut client = self.alone();
        for entry in from_the_right(fields, "x-forwarded-for") {
            let Some(address) = Node::x_forwarded(entry) else { break };
            client.address = address;
            if !listener.trusts(address) {
                break;
            }
        }
        // The last of each: what the peer itself wrote, where it wrote any.
        let last = |name| from_the_right(fields, name).next();
        client.scheme = last("x-forwarded-proto").and_then(Scheme::of).unwrap_or(self.scheme);
        client.host = last("x-forwarded-host").and_then(host).map(Into::into);
        client.port = last("x-forwarded-port").and_then(port);
        client
    }

    fn by_forwarded(&self, listener: &Listener, fields: &Fields) -> Result<Client, Malformed> {
        let mut client = self.alone();
        // The last element whose address is untrusted, or stands behind one that cannot be read; all being trusted, the first.
        let mut found = None;
        for element in forwarded::elements(fields) {
            let element = element?;
            match element.node.and_then(Node::forwarded) {
                None => found = None,
                Some(address) if found.is_none() || !listener.trusts(address) => found = Some((address, element)),
                Some(_) => {}
            }
        }
        if let Some((address, element)) = found {
            client.address = address;
            client.scheme = element.scheme.and_then(Scheme::of).unwrap_or(self.scheme);
            client.host = element.host.and_then(host).map(Into::into);
        }
        Ok(client)
    }
}

/// The entries of a list field (RFC 9110, section 5.6.1), the last first, empty ones left out.
fn from_the_right<'f>(fields: &'f Fields, name: &'static str) -> impl Iterator<Item = &'f [u8]> {
    let mut values: [&[u8]; LINES] = [b""; LINES];
    let mut count = 0;
    for value in fields.get_all(name) {
        // Of more lines the last ones are kept: the others are left of them.
        if count == LINES {
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

/// How many lines of one list field are looked at, from the last: more proxies than any request passes.
const LINES: usize = 16;

/// A host that can stand in a head as it is: a name or an address, and a port (RFC 3986, section 3.2.2, without escapes).
fn host(text: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    let fits = (1..=261).contains(&text.len()) && text.iter().all(plain);
    if fits { std::str::from_utf8(text).ok() } else { None }
}

fn port(text: &[u8]) -> Option<u16> {
    let digits = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok().filter(|port| *port != 0) } else { None }
}
