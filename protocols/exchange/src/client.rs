//! Who asks: the client's address, scheme and host, as far as whoever stands between tells them.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The client's address, as far as trusted proxies tell it; IPv4 as such, mapped into IPv6 or not.
    pub address: IpAddr,
    /// What the client spoke to the first proxy that is believed, or to us.
    pub scheme: Scheme,
    /// The port it connected to there.
    pub port: u16,
    /// Which host it asked for there; absent where that is the request's own.
    pub host: Option<Box<str>>,
    /// How many entries of the list that was believed, from the right, tell of the way from the client to the peer. What
    /// stands left of them is made up, as far as anyone knows.
    pub told: usize,
    /// The connection that the request came on.
    pub connection: Connection,
}

/// What is known of a connection before its first request: found out once, asked for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Whoever sends its requests: the other end of the socket, or the client that a believed PROXY header names. IPv4 as such.
    pub peer: SocketAddr,
    /// What the peer is believed in.
    pub trust: Trust,
    /// What the peer speaks.
    pub scheme: Scheme,
    /// The port the peer connected to.
    pub port: u16,
}

/// What a peer is believed in when it speaks of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nothing: it is a client like any other, as far as anyone knows.
    Nothing,
    /// `X-Forwarded-For` and its like.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Connection {
    /// The peer is the client, as far as anyone knows.
    pub fn alone(&self) -> Client {
        let Self { peer, scheme, port, .. } = *self;
        Client { address: peer.ip(), scheme, port, host: None, told: 0, connection: *self }
    }
}

/// A client of whom nothing is known: of a request that the gateway makes itself.
impl Default for Client {
    fn default() -> Self {
        let peer = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        Connection { peer, trust: Trust::Nothing, scheme: Scheme::Http, port: 0 }.alone()
    }
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
    pub fn of(name: &[u8]) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An address as text: in heads and logs of every request, and so without the formatting machinery where it is IPv4.
pub struct AddressText {
    bytes: [u8; Self::LONGEST],
    len: usize,
}

impl AddressText {
    // `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
    const LONGEST: usize = 45;

    /// The text of this address (RFC 5952 for IPv6).
    pub fn of(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; Self::LONGEST], len: 0 };
        match address {
            IpAddr::V4(v4) => {
                for (at, octet) in v4.octets().into_iter().enumerate() {
                    if at > 0 {
                        text.push(b".");
                    }
                    text.octet(octet);
                }
            }
            IpAddr::V6(v6) => {
                let _ = write!(text, "{v6}");
            }
        }
        text
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("an address is written in ASCII")
    }

    fn octet(&mut self, octet: u8) {
        let [digits @ .., count] = &OCTETS[usize::from(octet)];
        // What stands behind the digits is written over.
        self.bytes[self.len..self.len + digits.len()].copy_from_slice(digits);
        self.len += usize::from(*count);
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }
}

/// The digits of each octet, and how many they are.
const OCTETS: [[u8; 4]; 256] = {
    let mut octets = [[0; 4]; 256];
    let mut octet = 0;
    while octet < octets.len() {
        let [hundreds, tens, ones] = [octet / 100, octet / 10 % 10, octet % 10];
        let [hundreds, tens, ones] = [b'0' + hundreds as u8, b'0' + tens as u8, b'0' + ones as u8];
        octets[octet] = match octet {
            100.. => [hundreds, tens, ones, 3],
            10.. => [tens, ones, 0, 2],
            _ => [ones, 0, 0, 1],
        };
        octet += 1;
    }
    octets
};

impl Write for AddressText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_address_is_what_the_library_shows() {
        let all = ["0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "2001:db8::1", "::ffff:255.255.255.255"];
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
        for text in all.into_iter().chain([longest]) {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(AddressText::of(address).as_str(), address.to_string());
        }
        for octet in 0..=255 {
            let address = IpAddr::from([octet, 0, 255 - octet, octet]);
            assert_eq!(AddressText::of(address).as_str(), address.to_string());
        }
    }
}
