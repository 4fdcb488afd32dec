//! Tells an upstream whom it speaks with.
//!
//! What a client says of itself never gets through. What a trusted proxy said does, from the client on, and the proxy's own
//! address behind it: the list that the upstream sees holds only what somebody vouches for.

mod line;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::net::IpAddr;

use portolan_config::snapshot::{HostSent, Told};
use portolan_exchange::client::{AddressText, Client, Scheme, Trust};
use portolan_exchange::fields::{Name, Names};
use portolan_exchange::{Fields, Request, Version};

use crate::edge::client::{PROXIES, elements, from_the_right};
use crate::wire::Named;
use line::Line;

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// Host and port of the endpoint.
    pub endpoint: &'a str,
    /// Which `Host` it sees.
    pub host: HostSent,
    /// Which fields tell it of the client.
    pub forwarded: Told,
}

/// What of a request's own fields does not go on as it came, besides what belongs to one hop.
const RETOLD: Names = CLAIMS.and(VIA).and(Names::of(&[Name::Host]));

const VIA: Names = Names::of(&[Name::Via]);

/// What a client may claim about itself, in whatever spelling.
const CLAIMS: Names = Names::of(&[Name::Forwarded, Name::XForwarded, Name::XRealIp, Name::Underscored]);

/// Tells the upstream whom it speaks with: `Host`, `Via`, `X-Forwarded-*`, `Forwarded`. What a client claims of these is removed, and
/// so is what belongs to one hop only, and every field with an underscore in its name. Allocates once for all fields, and for lists
/// that are longer than usual.
pub fn tell(request: &mut Request, client: &Client, to: &To<'_>) {
    let asked = std::mem::take(&mut request.authority);
    let fields = &mut request.fields;
    let is_told_by = |words| to.forwarded == words || to.forwarded == Told::Both;
    // The lists are read before what was received goes.
    let vouched = (is_told_by(Told::XForwarded) && client.told > 0).then(|| x_forwarded_for(fields, client));
    let forwarded = is_told_by(Told::Rfc7239).then(|| forwarded(fields, client, &asked));
    let named = Named::of(fields);
    let passed = (fields.may_hold(VIA) && !named.holds(b"via")).then(|| via(fields));
    fields.remove_those(RETOLD.and(Names::OF_ONE_HOP));
    named.remove_from(fields, Names::NONE);
    // Names and short values, that of the request's id among them; lists make room for themselves.
    fields.reserve(8, 256 + to.endpoint.len() + asked.len());
    let host = if to.host == HostSent::Client && !asked.is_empty() { &*asked } else { to.endpoint };
    fields.push_line(Name::Host, b"host: ", host.as_bytes());
    if is_told_by(Told::XForwarded) {
        tell_x_forwarded(fields, client, &asked, vouched);
    }
    if let Some(list) = forwarded {
        fields.push_line(Name::Forwarded, b"forwarded: ", list.as_bytes());
    }
    let own = protocol(request.version);
    match passed {
        Some(mut list) => {
            list.separate(b", ");
            list.push(own);
            fields.push_line(Name::Via, b"via: ", list.as_bytes());
        }
        None => fields.push_line(Name::Via, b"via: ", own),
    }
}

/// Takes out of trailers what the head must not claim.
pub(super) fn strip_claims(trailers: &mut Fields) {
    trailers.remove_those(CLAIMS);
}

/// The way of the request up to here.
fn via(fields: &Fields) -> Line {
    let mut list = Line::new();
    for value in fields.get_all("via") {
        list.separate(b", ");
        list.push(value);
    }
    list
}

/// Ourselves, and what was spoken to us.
fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"1.0 portolan",
        Version::Http11 => b"1.1 portolan",
        Version::Http2 => b"2 portolan",
    }
}

/// The way from the client to the peer, as the peer vouches for it.
fn x_forwarded_for(fields: &Fields, client: &Client) -> Line {
    let mut list = Line::new();
    if client.connection.trust == Trust::XForwarded {
        let mut entries = [&b""[..]; PROXIES];
        let told = client.told.min(PROXIES);
        for (place, entry) in entries[..told].iter_mut().rev().zip(from_the_right(fields, "x-forwarded-for")) {
            *place = entry;
        }
        for entry in entries[..told].iter().filter(|entry| !entry.is_empty()) {
            list.separate(b", ");
            list.push(entry);
        }
    }
    // Told otherwise, or the list has not come this far: of a batch's element, or of one whose policies took it away.
    if list.as_bytes().is_empty() {
        list.push(AddressText::of(client.address).as_bytes());
    }
    list
}

fn tell_x_forwarded(fields: &mut Fields, client: &Client, asked: &str, vouched: Option<Line>) {
    let peer = AddressText::of(client.connection.peer.ip());
    match vouched {
        Some(mut list) => {
            list.separate(b", ");
            list.push(peer.as_bytes());
            fields.push_line(Name::XForwarded, b"x-forwarded-for: ", list.as_bytes());
        }
        None => fields.push_line(Name::XForwarded, b"x-forwarded-for: ", peer.as_bytes()),
    }
    fields.push_line(Name::XForwarded, b"x-forwarded-proto: ", client.scheme.as_str().as_bytes());
    // Only an HTTP/1.0 client can have asked for no host; then there is nothing to tell.
    let host = client.host.as_deref().unwrap_or(asked);
    if !host.is_empty() {
        fields.push_line(Name::XForwarded, b"x-forwarded-host: ", host.as_bytes());
    }
    if client.port != 0 {
        let mut digits = itoa::Buffer::new();
        fields.push_line(Name::XForwarded, b"x-forwarded-port: ", digits.format(client.port).as_bytes());
    }
}

/// The same way as elements of RFC 7239, each with what its own receiver was asked for.
fn forwarded(fields: &Fields, client: &Client, asked: &str) -> Line {
    let mut list = Line::new();
    let connection = &client.connection;
    if client.told > 0 && connection.trust == Trust::Rfc7239 {
        let all = || elements(fields).filter_map(Result::ok);
        for element in all().skip(all().count().saturating_sub(client.told)) {
            list.separate(b", ");
            list.push(element.text);
        }
    }
    if client.told > 0 && list.as_bytes().is_empty() {
        element(&mut list, client.address, client.scheme, client.host.as_deref().unwrap_or_default());
    }
    // A peer that tells what was asked for, and by nobody, tells it of its own.
    let (scheme, host) = match client.told {
        0 => (client.scheme, client.host.as_deref().unwrap_or(asked)),
        _ => (connection.scheme, asked),
    };
    element(&mut list, connection.peer.ip(), scheme, host);
    list
}

/// An element: `for=192.0.2.7;host=shop.example;proto=https`. What is no token is quoted (RFC 7239, section 4), as an IPv6
/// address is and a host with a port.
fn element(list: &mut Line, node: IpAddr, scheme: Scheme, host: &str) {
    list.separate(b", ");
    let _ = match node {
        IpAddr::V4(v4) => write!(list, "for={v4}"),
        IpAddr::V6(v6) => write!(list, "for=\"[{v6}]\""),
    };
    if !host.is_empty() {
        list.push(b";host=");
        if portolan_exchange::fields::is_token(host.as_bytes()) {
            list.push(host.as_bytes());
        } else {
            list.push_quoted(host.as_bytes());
        }
    }
    list.push(b";proto=");
    list.push(scheme.as_str().as_bytes());
}
