//! What stands before a request and what proxies say in it: PROXY headers, `X-Forwarded-*`, `Forwarded`.

use std::net::{IpAddr, SocketAddr};

use portolan::edge::client::{self, Connection, PROXIES, Scheme};
use portolan::edge::proxy_protocol::{Broken, LONGEST, Origin, read};
use portolan_config::snapshot::{Believed, Cidr, Listener};
use portolan_exchange::{Fields, fields};

use crate::signature::Signature;
use crate::target::Target;

use super::linear;

/// The first bytes of a connection.
pub(super) const PROXY_HEADER: Target = Target {
    name: "edge-proxy-header",
    about: "a PROXY header is read the same way however it is split, within its bound, and what follows it changes nothing",
    run: proxy_header,
    words: &[
        "PROXY ",
        "TCP4",
        "TCP6",
        "UNKNOWN",
        "\r\n",
        " 0",
        "65535",
        "\r\n\r\n\0\r\nQUIT\n",
        "!",
        "\u{11}",
        "::ffff:1.2.3.4",
    ],
    seeds: &[],
    longest: 8 * 1024,
    memory: linear(64),
};

fn proxy_header(input: &[u8]) -> Signature {
    let outcome = read(input);
    // Every split of a short input; of a long one those where something may change, and some others.
    let step = (input.len() / 128).max(1);
    let mut is_open = true;
    for length in (0..input.len().min(240)).chain((240..input.len()).step_by(step)) {
        match read(&input[..length]) {
            Ok(None) => assert!(is_open, "what was settled is open again after {length} bytes"),
            early => {
                is_open = false;
                assert_eq!(early, outcome, "after {length} bytes the outcome is another");
            }
        }
    }
    match outcome {
        Ok(Some((header, taken))) => {
            assert!(taken <= input.len() && taken <= LONGEST, "{taken} bytes taken of {}", input.len());
            assert_eq!(read(&input[..taken - 1]), Ok(None), "it was complete before its last byte");
            assert_eq!(read(&input[..taken]), outcome, "what follows it changed it");
            let kind = match header.origin {
                Origin::Balancer => "balancer",
                Origin::Client { source, destination } => {
                    assert_eq!(source.is_ipv4(), destination.is_ipv4());
                    if source.is_ipv4() { "four" } else { "six" }
                }
                Origin::Unix => "path",
            };
            Signature::of("read").told(kind).told(&format!("{:?}", header.transport)).size("taken", taken)
        }
        Ok(None) => {
            assert!(input.len() < LONGEST, "{} bytes are not enough", input.len());
            Signature::of("open").size("bytes", input.len())
        }
        Err(Broken::Absent) => {
            assert!(!input.starts_with(b"PROXY ") && !input.starts_with(b"\r\n\r\n\0\r\nQUIT\n"), "it is there");
            Signature::of("absent")
        }
        Err(broken) => Signature::of("broken").told(&broken.to_string()),
    }
}

/// The first line chooses who is the peer and what is believed; each further line is a field, `name: value`.
pub(super) const CLIENT: Target = Target {
    name: "edge-client",
    about: "the client is the right-most address of a list that is not trusted, and nobody makes up another by what stands left of it",
    run: client,
    words: &[
        "x-forwarded-for: ",
        "forwarded: ",
        "x-forwarded-proto: https",
        "x-forwarded-host: ",
        "x-forwarded-port: ",
        "for=",
        "proto=",
        "host=",
        "by=",
        "10.0.0.2",
        "192.0.2.7",
        "[2001:db8::7]:80",
        "unknown",
        "_hidden",
        "\"",
        "\\",
        ";",
        ", ",
        "::ffff:10.0.0.1",
    ],
    seeds: &[],
    longest: 16 * 1024,
    memory: linear(256),
};

fn client(input: &[u8]) -> Signature {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mode = lines.next().and_then(|line| line.first()).copied().unwrap_or_default();
    let mut listener = Listener::at("public", ([127, 0, 0, 1], 0).into());
    let documentation = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]);
    listener.trusted_proxies = vec![Cidr::new([10, 0, 0, 0].into(), 8), Cidr::new(documentation, 32)];
    listener.forwarded = [Believed::XForwarded, Believed::Rfc7239, Believed::Off][usize::from(mode >> 1) % 3];
    let peer = IpAddr::from(if mode & 1 == 0 { [10, 0, 0, 1] } else { [192, 0, 2, 9] });
    let connection = client::connection(&listener, SocketAddr::new(peer, 1), 80, Scheme::Http, None);

    let list = received(lines);
    let Ok(found) = client::of(&connection, &listener, &list) else {
        assert_eq!(
            (listener.forwarded, mode & 1),
            (Believed::Rfc7239, 0),
            "refused, although nobody is believed in it"
        );
        return Signature::of("malformed");
    };
    let is_believed = mode & 1 == 0 && listener.forwarded != Believed::Off;
    assert!(is_believed || (found.address == peer && found.told == 0 && found.host.is_none()), "a client was believed");
    if is_believed && listener.forwarded == Believed::XForwarded {
        assert_eq!((found.address, found.told), by_the_rule(&listener, peer, &list));
    }
    if let Some(host) = &found.host {
        assert!(
            fields::is_field_value(host.as_bytes()) && !host.contains([' ', ',', '"', '/', '@']),
            "`{host}` is no host"
        );
    }
    behind_a_claim(&connection, &listener, &list);
    Signature::of("found")
        .told(if found.host.is_some() { "host" } else { "none" })
        .told(found.scheme.as_str())
        .size("told", found.told)
        .size("own", usize::from(found.address == peer))
}

/// The fields of these lines that can stand in a head.
fn received<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Fields {
    let mut list = Fields::new();
    // A head has a hundred fields at most.
    for line in lines.take(100) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        let _ = list.add(&name, line.get(colon + 1..).unwrap_or_default().trim_ascii());
    }
    list
}

/// `X-Forwarded-For` as plainly as can be, and how many of its entries are believed.
fn by_the_rule(listener: &Listener, peer: IpAddr, list: &Fields) -> (IpAddr, usize) {
    let lines: Vec<_> = list.get_all("x-forwarded-for").collect();
    let near = &lines[lines.len().saturating_sub(PROXIES)..];
    let entries = near.iter().flat_map(|line| line.split(|byte| *byte == b','));
    let entries: Vec<_> = entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()).collect();
    let (mut client, mut told) = (peer, 0);
    for entry in entries.iter().rev().take(PROXIES) {
        let Some(address) = address(entry).filter(|_| listener.trusts(client)) else { break };
        (client, told) = (address, told + 1);
    }
    (client, told)
}

/// By the standard library alone: a socket's address, an address, or one in brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let port = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| port.len() <= 5 && port.parse() != Ok(0_u16));
    let bare = text.parse::<IpAddr>().ok();
    let with_port = text.parse::<SocketAddr>().ok().filter(|_| port(text) && !text.contains('%'));
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).and_then(|text| text.parse().ok());
    let found = bare.or(with_port.map(|address| address.ip())).or(bracketed.map(IpAddr::V6));
    found.map(|address| address.to_canonical())
}

/// Whatever a client claims, the proxy appends who it is, and that is whom we find.
fn behind_a_claim(connection: &Connection, listener: &Listener, list: &Fields) {
    let own = IpAddr::from([198, 51, 100, 1]);
    for (name, value) in [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1")] {
        let mut with_own = list.clone();
        with_own.push(name.as_bytes(), value.as_bytes());
        let believed = listener.forwarded == if name == "forwarded" { Believed::Rfc7239 } else { Believed::XForwarded };
        if let Ok(found) = client::of(connection, listener, &with_own)
            && believed
            && listener.trusts(connection.peer.ip())
        {
            assert_eq!((found.address, found.told), (own, 1), "a claim stood before what the proxy wrote");
        }
    }
}
