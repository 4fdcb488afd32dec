//! Reads the PROXY header by which a load balancer says, before the first byte of a connection, where it comes from.
//!
//! "The PROXY protocol, versions 1 & 2" of HAProxy (`doc/proxy-protocol.txt`). Whether its sender is believed is for the
//! caller to know: whoever reads it from anyone lets everyone claim any address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portolan_config::snapshot::{self, Listener};

/// The longest header that is read, in bytes. Addresses take 232 at most; the rest is for extensions, of which certificates'
/// names are the longest. The peers' usual bound.
pub const LONGEST: usize = 4_096;

/// The longest header of version 1, its CRLF included (section 2.1).
const LONGEST_LINE: usize = 107;

/// What version 2 begins with: no text protocol does (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a connection has to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Its first request: a PROXY header would not be believed.
    Request,
    /// A PROXY header, or its first request.
    Either,
    /// A PROXY header.
    Header,
    /// Nothing it could begin with: only trusted proxies may connect.
    Nobody,
}

impl Expected {
    /// What a connection of this peer has to begin with.
    pub fn of(listener: &Listener, peer: IpAddr) -> Self {
        match (listener.proxy_protocol, listener.trusts(peer)) {
            (snapshot::ProxyProtocol::Off, _) | (snapshot::ProxyProtocol::Accept, false) => Self::Request,
            (snapshot::ProxyProtocol::Accept, true) => Self::Either,
            (snapshot::ProxyProtocol::Require, true) => Self::Header,
            (snapshot::ProxyProtocol::Require, false) => Self::Nobody,
        }
    }

    /// Reads what the first bytes of a connection hold of it: the header, if there is one, and how many bytes it took.
    /// `None` as long as more bytes are needed.
    ///
    /// # Errors
    /// [`Broken`]: the connection is to be closed.
    pub fn read(self, bytes: &[u8]) -> Result<Option<(Option<ProxyHeader>, usize)>, Broken> {
        match (self, read(bytes)) {
            (Self::Request, _) | (Self::Either, Err(Broken::Absent)) => Ok(Some((None, 0))),
            (Self::Nobody, _) => Err(Broken::Untrusted),
            (Self::Either | Self::Header, read) => Ok(read?.map(|(header, taken)| (Some(header), taken))),
        }
    }
}

/// What a PROXY header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Where the connection comes from.
    pub origin: Origin,
    /// What the client spoke to the load balancer.
    pub transport: Transport,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the load balancer itself: its own checks, and clients it knows nothing of (`LOCAL`, `UNKNOWN`, `UNSPEC`).
    /// The connection's own address holds, and nothing that a head says of another.
    Balancer,
    /// From a client at this address.
    Client {
        /// The client's address.
        source: SocketAddr,
        /// Where the client had connected to.
        destination: SocketAddr,
    },
    /// From a socket of the load balancer's machine, which has no address. As with [`Origin::Balancer`].
    Unix,
}

/// What a client spoke to the load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Nothing is said.
    Unknown,
    /// TLS, which the load balancer took off (`PP2_CLIENT_SSL`, section 2.2.6).
    Tls,
    /// No TLS.
    Plain,
}

/// Why a PROXY header cannot be read. The connection is to be closed, unless [`Broken::Absent`] may mean that something else
/// begins here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The peer is no trusted proxy, and nobody else may connect.
    Untrusted,
    /// What is there begins no PROXY header.
    Absent,
    /// It is longer than it may be.
    TooLong,
    /// A line of version 1 that is none.
    Line,
    /// A version or command that nobody knows.
    Command,
    /// An address family or transport that nobody knows.
    Family,
    /// The length does not fit what it should hold.
    Length,
    /// The checksum differs.
    Checksum,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "only trusted proxies may connect here",
            Self::Absent => "the connection does not begin with a PROXY header",
            Self::TooLong => "the PROXY header is too long",
            Self::Line => "the PROXY line has no protocol, addresses and ports that can be read",
            Self::Command => "the PROXY header has an unknown version or command",
            Self::Family => "the PROXY header has an unknown address family",
            Self::Length => "a length in the PROXY header does not fit",
            Self::Checksum => "the PROXY header's checksum differs",
        })
    }
}

impl std::error::Error for Broken {}

/// Reads a header from the first bytes of a connection: what it says, and how many bytes it took. `None` as long as more
/// bytes are needed; however the bytes are split, the outcome is the same. Never needs more than [`LONGEST`] bytes.
///
/// # Errors
/// [`Broken`], at the latest when the header is complete.
pub fn read(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Broken> {
    if begins(bytes, SIGNATURE) {
        return read_binary(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return read_line(bytes);
    }
    Err(Broken::Absent)
}

/// Whether the bytes begin with a word, or with as much of it as there is.
fn begins(bytes: &[u8], word: &[u8]) -> bool {
    let both = bytes.len().min(word.len());
    bytes[..both] == word[..both]
}

/// Version 1 (section 2.1).
fn read_line(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Broken> {
    let window = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() < LONGEST_LINE { Ok(None) } else { Err(Broken::TooLong) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(Broken::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| Broken::Line)?;
    if line.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Broken::Line);
    }
    let mut words = line.split(' ').skip(1);
    let origin = match words.next() {
        // What follows is to be ignored, if anything does.
        Some("UNKNOWN") => return Ok(Some((ProxyHeader::of(Origin::Balancer), end + 1))),
        Some("TCP4") => addresses::<Ipv4Addr>(&mut words),
        Some("TCP6") => addresses::<Ipv6Addr>(&mut words),
        _ => None,
    };
    let origin = origin.filter(|_| words.next().is_none()).ok_or(Broken::Line)?;
    Ok(Some((ProxyHeader::of(origin), end + 1)))
}

/// Two addresses and two ports of one family.
fn addresses<'l, A>(words: &mut impl Iterator<Item = &'l str>) -> Option<Origin>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let (source, destination) = (words.next()?.parse::<A>().ok()?, words.next()?.parse::<A>().ok()?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    let (source, destination) = (SocketAddr::new(source.into(), from), SocketAddr::new(destination.into(), to));
    Some(Origin::Client { source, destination })
}

/// A port as decimal digits; no zero before others, which some would read as an octal number.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Version 2 (section 2.2): the signature, one byte for version and command, one for family and transport, two for the
/// length of what follows.
fn read_binary(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Broken> {
    const FIXED: usize = 16;
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Ok(None) };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED + length > LONGEST {
        return Err(Broken::TooLong);
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let whole = &bytes[..FIXED + length];
    let header = match command {
        // LOCAL: everything that follows is to be skipped, its family too.
        0x20 => ProxyHeader::of(Origin::Balancer),
        0x21 => proxied(family, payload, whole)?,
        _ => return Err(Broken::Command),
    };
    Ok(Some((header, whole.len())))
}

fn proxied(family: u8, payload: &[u8], whole: &[u8]) -> Result<ProxyHeader, Broken> {
    let (origin, extensions) = match family {
        // Nothing is said of what stands before the extensions, so they cannot be found.
        0x00 => return Ok(ProxyHeader::of(Origin::Balancer)),
        0x11 | 0x12 => {
            let (block, rest) = payload.split_first_chunk::<12>().ok_or(Broken::Length)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *block;
            let origin = client(Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h), ports);
            (origin, rest)
        }
        0x21 | 0x22 => {
            let (source, rest) = payload.split_first_chunk::<16>().ok_or(Broken::Length)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(Broken::Length)?;
            let (ports, rest) = rest.split_first_chunk::<4>().ok_or(Broken::Length)?;
            (client(Ipv6Addr::from(*source), Ipv6Addr::from(*destination), *ports), rest)
        }
        // Two paths of 108 bytes each.
        0x31 | 0x32 => (Origin::Unix, payload.get(216..).ok_or(Broken::Length)?),
        _ => return Err(Broken::Family),
    };
    let transport = read_extensions(extensions, whole)?;
    Ok(ProxyHeader { origin, transport })
}

fn client<A: Into<IpAddr>>(source: A, destination: A, ports: [u8; 4]) -> Origin {
    let [a, b, c, d] = ports;
    Origin::Client {
        source: SocketAddr::new(source.into(), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination.into(), u16::from_be_bytes([c, d])),
    }
}

/// Extensions: a byte for the type, two for the length, the value (section 2.2.1). Those that nobody here needs are skipped.
fn read_extensions(mut rest: &[u8], whole: &[u8]) -> Result<Transport, Broken> {
    const CRC32C: u8 = 0x03;
    const SSL: u8 = 0x20;
    let (mut transport, mut checked) = (Transport::Unknown, false);
    while !rest.is_empty() {
        let ([kind, high, low], after) = rest.split_first_chunk::<3>().ok_or(Broken::Length)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = after.split_at_checked(length).ok_or(Broken::Length)?;
        match *kind {
            CRC32C => {
                let sum = <[u8; 4]>::try_from(value).map_err(|_| Broken::Length)?;
                // The sum is made with itself as zeros; a second one could never be right as well.
                let at = whole.len() - after.len() - sum.len();
                if checked || checksum(whole, at) != u32::from_be_bytes(sum) {
                    return Err(Broken::Checksum);
                }
                checked = true;
            }
            SSL => {
                // A byte of flags, four for how the certificate was judged, then extensions of its own.
                const OVER_TLS: u8 = 0x01;
                let (head, _) = value.split_first_chunk::<5>().ok_or(Broken::Length)?;
                transport = if head[0] & OVER_TLS == 0 { Transport::Plain } else { Transport::Tls };
            }
            _ => {}
        }
        rest = after;
    }
    Ok(transport)
}

impl ProxyHeader {
    fn of(origin: Origin) -> Self {
        Self { origin, transport: Transport::Unknown }
    }

    /// The client's address, where the header tells one.
    pub fn source(&self) -> Option<SocketAddr> {
        match self.origin {
            Origin::Client { source, .. } => Some(source),
            Origin::Balancer | Origin::Unix => None,
        }
    }
}

/// CRC-32C (RFC 3720, appendix B.4) of a header, its four bytes from `at` taken as zeros. Without a table: headers with a sum are
/// rare, and short.
fn checksum(header: &[u8], at: usize) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut sum = u32::MAX;
    for (index, byte) in header.iter().enumerate() {
        let of_the_sum = (at..at + 4).contains(&index);
        sum ^= u32::from(if of_the_sum { 0 } else { *byte });
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
        }
    }
    !sum
}

#[cfg(test)]
mod tests;
