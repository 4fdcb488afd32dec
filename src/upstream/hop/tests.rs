//! What upstreams are told, of clients that come alone, behind proxies, and with claims.

use std::net::SocketAddr;

use portolan_config::snapshot::{Believed, Cidr, Listener};
use portolan_exchange::client::Connection;
use portolan_exchange::fields::is_field_value;
use portolan_exchange::{Method, Target};
use proptest::prelude::*;

use super::*;
use crate::edge::client;

/// A request for `shop.example` with these fields.
fn request(fields: &[(&str, &str)]) -> Request {
    let mut request = Request::new(Method::Get, Target::new("/"));
    request.authority = "shop.example".into();
    for (name, value) in fields {
        request.fields.push(name.as_bytes(), value.as_bytes());
    }
    request
}

/// The endpoint of all of them, told of in the usual way.
const TO: To<'_> = To { endpoint: "orders:9000", host: HostSent::Endpoint, forwarded: Told::XForwarded };

/// A client that connects itself.
fn alone() -> Connection {
    Connection { peer: ([192, 0, 2, 7], 1).into(), trust: Trust::Nothing, scheme: Scheme::Http, port: 80 }
}

fn lines(request: &Request) -> Vec<String> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    request.fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}

/// What an upstream is told of a request with these fields, that came from `peer` where 10.0.0.0/8 is trusted.
fn told(peer: &str, believed: Believed, forwarded: Told, fields: &[(&str, &str)]) -> Vec<String> {
    let listener = listener(believed);
    let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
    let connection = client::connection(&listener, peer, 8080, Scheme::Http, None);
    let mut request = request(fields);
    let client = client::of(&connection, &listener, &request.fields).unwrap();
    tell(&mut request, &client, &To { endpoint: "orders:9000", host: HostSent::Endpoint, forwarded });
    lines(&request)
}

const CLAIMS: [(&str, &str); 7] = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("Forwarded", "for=6.6.6.6"),
    ("X-Real-IP", "6.6.6.6"),
    ("x-forwarded-port", "1"),
    ("X-Forwarded-Prefix", "/admin"),
    ("X_Forwarded_For", "6.6.6.6"),
    ("Host", "shop.example"),
];

#[test]
fn what_a_client_claims_about_itself_is_replaced_by_what_is_known() {
    for (forwarded, expected) in [
        (
            Told::XForwarded,
            &[
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-proto: http",
                "x-forwarded-host: shop.example",
                "x-forwarded-port: 8080",
            ][..],
        ),
        (Told::Rfc7239, &["forwarded: for=192.0.2.7;host=shop.example;proto=http"]),
        (
            Told::Both,
            &[
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-proto: http",
                "x-forwarded-host: shop.example",
                "x-forwarded-port: 8080",
                "forwarded: for=192.0.2.7;host=shop.example;proto=http",
            ],
        ),
        (Told::Off, &[]),
    ] {
        let expected: Vec<_> = [&["host: orders:9000"], expected, &["via: 1.1 portolan"]].concat();
        assert_eq!(told("192.0.2.7", Believed::XForwarded, forwarded, &CLAIMS), expected);
        // A proxy that is believed in nothing is told of like a client.
        let of_proxy: Vec<_> = expected.iter().map(|line| line.replace("192.0.2.7", "10.0.0.1")).collect();
        assert_eq!(told("10.0.0.1", Believed::Off, forwarded, &CLAIMS), of_proxy);
    }
}

#[test]
fn what_a_trusted_proxy_vouches_for_is_passed_on_ahead_of_its_own_address() {
    let fields = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("x-forwarded-for", "192.0.2.7:4711, 10.0.0.2"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "www.example:8443"),
        ("Forwarded", "for=6.6.6.6"),
    ];
    let x_forwarded = [
        "x-forwarded-for: 192.0.2.7:4711, 10.0.0.2, 10.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: www.example:8443",
        "x-forwarded-port: 8443",
    ];
    let forwarded =
        ["forwarded: for=192.0.2.7;host=\"www.example:8443\";proto=https, for=10.0.0.1;host=shop.example;proto=http"];
    for (told_by, expected) in [
        (Told::XForwarded, &x_forwarded[..]),
        (Told::Rfc7239, &forwarded),
        (Told::Both, &[&x_forwarded[..], &forwarded].concat()),
    ] {
        let expected = [&["host: orders:9000"], expected, &["via: 1.1 portolan"]].concat();
        assert_eq!(told("10.0.0.1", Believed::XForwarded, told_by, &fields), expected);
    }
}

#[test]
fn elements_of_forwarded_are_passed_on_as_they_stand() {
    let fields = [
        ("Forwarded", "for=6.6.6.6;proto=http"),
        ("Forwarded", "for=\"[2001:db8::7]:_port\";proto=https;by=_hidden ,, for=10.0.0.2"),
        ("X-Forwarded-For", "6.6.6.6"),
    ];
    let of = |told_by| told("10.0.0.1", Believed::Rfc7239, told_by, &fields)[1].clone();
    assert_eq!(
        of(Told::Rfc7239),
        "forwarded: for=\"[2001:db8::7]:_port\";proto=https;by=_hidden, for=10.0.0.2, for=10.0.0.1;host=shop.example;proto=http"
    );
    assert_eq!(of(Told::XForwarded), "x-forwarded-for: 2001:db8::7, 10.0.0.1");
}

#[test]
fn a_proxy_that_tells_of_nobody_is_the_client() {
    let of = |told_by, fields: &[(&str, &str)]| told("10.0.0.1", Believed::XForwarded, told_by, fields)[1].clone();
    assert_eq!(of(Told::XForwarded, &[]), "x-forwarded-for: 10.0.0.1");
    assert_eq!(of(Told::XForwarded, &[("x-forwarded-for", "unknown")]), "x-forwarded-for: 10.0.0.1");
    assert_eq!(of(Told::Rfc7239, &[]), "forwarded: for=10.0.0.1;host=shop.example;proto=http");
}

#[test]
fn an_ipv6_address_is_quoted_where_the_standard_wants_it() {
    let of = |told_by| told("2001:db8::9", Believed::XForwarded, told_by, &[])[1].clone();
    assert_eq!(of(Told::XForwarded), "x-forwarded-for: 2001:db8::9");
    assert_eq!(of(Told::Rfc7239), "forwarded: for=\"[2001:db8::9]\";host=shop.example;proto=http");
}

#[test]
fn via_goes_on_where_it_stopped_in_the_version_that_was_spoken() {
    let via = |fields: &[(&str, &str)]| told("192.0.2.7", Believed::Off, Told::Off, fields).pop();
    assert_eq!(via(&[]).as_deref(), Some("via: 1.1 portolan"));
    let received = [("Via", "1.0 edge"), ("x", "1"), ("via", "1.1 a (b, c)")];
    assert_eq!(via(&received).as_deref(), Some("via: 1.0 edge, 1.1 a (b, c), 1.1 portolan"));
    for (version, expected) in [(Version::Http10, &b"1.0 portolan"[..]), (Version::Http2, b"2 portolan")] {
        let mut request = request(&[]);
        request.version = version;
        tell(&mut request, &alone().alone(), &TO);
        assert_eq!(request.fields.get("via"), Some(expected));
    }
}

#[test]
fn an_upstream_may_see_the_host_that_the_client_asked_for() {
    for (authority, expected) in [("shop.example", "shop.example"), ("", "orders:9000")] {
        let mut request = request(&[("host", "shop.example")]);
        request.authority = authority.into();
        let to = To { endpoint: "orders:9000", host: HostSent::Client, forwarded: Told::Off };
        tell(&mut request, &alone().alone(), &to);
        assert_eq!(request.fields.get_all("host").collect::<Vec<_>>(), [expected.as_bytes()]);
        assert_eq!(&*request.authority, "");
    }
}

#[test]
fn a_client_whose_list_did_not_come_this_far_is_told_all_the_same() {
    let fields = [("x-forwarded-for", "192.0.2.7, 10.0.0.2"), ("x-forwarded-proto", "https")];
    let listener = listener(Believed::XForwarded);
    let connection = client::connection(&listener, ([10, 0, 0, 1], 4711).into(), 8080, Scheme::Http, None);
    let client = client::of(&connection, &listener, &request(&fields).fields).unwrap();
    // An element of a batch has no head of its own.
    let mut element = request(&[]);
    tell(&mut element, &client, &To { forwarded: Told::Both, ..TO });
    let expected = [
        "host: orders:9000",
        "x-forwarded-for: 192.0.2.7, 10.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: shop.example",
        "x-forwarded-port: 443",
        "forwarded: for=192.0.2.7;proto=https, for=10.0.0.1;host=shop.example;proto=http",
        "via: 1.1 portolan",
    ];
    assert_eq!(lines(&element), expected);
}

#[test]
fn a_list_of_any_length_is_told_whole() {
    let entries: Vec<_> = (1..=15).map(|at| format!("10.0.100.{at}")).collect();
    let list = entries.join(", ");
    assert!(list.len() > 128);
    let told = told("10.0.0.1", Believed::XForwarded, Told::XForwarded, &[("x-forwarded-for", &list)]);
    assert_eq!(told[1], format!("x-forwarded-for: {list}, 10.0.0.1"));
    let host = "a".repeat(200);
    let mut line = Line::new();
    line.push_quoted(format!("\"{host}\\").as_bytes());
    line.separate(b", ");
    assert_eq!(String::from_utf8_lossy(line.as_bytes()), format!("\"\\\"{host}\\\\\", "));
}

/// A listener that trusts 10.0.0.0/8 and believes this.
fn listener(believed: Believed) -> Listener {
    let mut listener = Listener::at("public", ([127, 0, 0, 1], 0).into());
    listener.trusted_proxies = vec![Cidr::new([10, 0, 0, 0].into(), 8)];
    listener.forwarded = believed;
    listener
}

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "10.0.0.2",
        "10.0.0.3:80",
        "192.0.2.7",
        "2001:db8::7",
        "[2001:db8::7]:1",
        "unknown",
        "_x",
        "for=",
        "For=",
        "proto=",
        "host=",
        "by=",
        "https",
        "http",
        "shop.example:8443",
        "\"",
        "\\",
        ",",
        ", ",
        ";",
        "=",
        " ",
        "\"[2001:db8::7]\"",
        "x",
    ])
}

fn list() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 0..20).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_next_gateway_finds_the_client_that_this_one_found(
        from_proxy in any::<bool>(),
        believed in prop::sample::select(vec![Believed::XForwarded, Believed::Rfc7239, Believed::Off]),
        lists in prop::collection::vec((prop::sample::select(vec!["x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-host"]), list()), 0..6),
    ) {
        let peer = if from_proxy { [10, 0, 0, 1] } else { [192, 0, 2, 9] };
        let here = listener(believed);
        let connection = client::connection(&here, SocketAddr::from((peer, 4711)), 8080, Scheme::Http, None);
        let fields: Vec<_> = lists.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut passed = request(&fields);
        let Ok(client) = client::of(&connection, &here, &passed.fields) else { return Ok(()) };
        tell(&mut passed, &client, &To { endpoint: "next", host: HostSent::Endpoint, forwarded: Told::Both });
        for (name, value) in passed.fields.iter() {
            prop_assert!(is_field_value(value), "{:?}", name);
        }
        for next in [Believed::XForwarded, Believed::Rfc7239] {
            let there = listener(next);
            let connection = client::connection(&there, SocketAddr::from(([10, 0, 0, 99], 1)), 80, Scheme::Http, None);
            let found = client::of(&connection, &there, &passed.fields).expect("what was told can be read");
            prop_assert_eq!((found.address, found.scheme), (client.address, client.scheme), "{:?}", lines(&passed));
        }
    }
}
