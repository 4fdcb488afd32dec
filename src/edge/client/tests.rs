//! Chains of proxies, told truly, falsely and brokenly.

use std::net::IpAddr;

use portolan_config::snapshot::Cidr;
use proptest::prelude::*;

use super::*;

/// Trusts 10.0.0.0/8 and 2001:db8::/32.
fn listener(forwarded: Believed) -> Listener {
    let mut listener = Listener::at("public", ([127, 0, 0, 1], 0).into());
    listener.trusted_proxies = vec![Cidr::new([10, 0, 0, 0].into(), 8), Cidr::new("2001:db8::".parse().unwrap(), 32)];
    listener.forwarded = forwarded;
    listener
}

fn fields(list: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in list {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

/// Who asks on a connection of this peer.
fn asks(peer: &str, believed: Believed, list: &[(&str, &str)]) -> Result<Client, Malformed> {
    let listener = listener(believed);
    let connection = connection(&listener, SocketAddr::new(peer.parse().unwrap(), 4711), 8080, Scheme::Http, None);
    of(&connection, &listener, &fields(list))
}

fn address(peer: &str, believed: Believed, list: &[(&str, &str)]) -> Option<String> {
    asks(peer, believed, list).ok().map(|client| client.address.to_string())
}

#[test]
fn the_client_is_the_right_most_address_that_is_not_trusted() {
    for (peer, lines, expected) in [
        ("10.0.0.1", &["192.0.2.7"][..], "192.0.2.7"),
        ("10.0.0.1", &["192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", &["6.6.6.6, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", &["6.6.6.6", "192.0.2.7", "10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", &["6.6.6.6", "192.0.2.7 ,, 10.0.0.2 ,"], "192.0.2.7"),
        ("10.0.0.1", &["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        ("10.0.0.1", &["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["192.0.2.7, 192.0.2.300"], "10.0.0.1"),
        ("10.0.0.1", &["unknown"], "10.0.0.1"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7"),
        ("10.0.0.1", &["[2001:db9::7]:4711"], "2001:db9::7"),
        ("10.0.0.1", &["2001:db9::7, 2001:db8::1"], "2001:db9::7"),
        ("10.0.0.1", &["::ffff:192.0.2.7, ::ffff:10.0.0.3"], "192.0.2.7"),
        ("::ffff:10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
        ("2001:db8::1", &["192.0.2.7"], "192.0.2.7"),
        ("192.0.2.9", &["6.6.6.6"], "192.0.2.9"),
        ("::ffff:192.0.2.9", &["6.6.6.6"], "192.0.2.9"),
        ("2001:db9::1", &["6.6.6.6"], "2001:db9::1"),
    ] {
        let list: Vec<_> = lines.iter().map(|line| ("X-Forwarded-For", *line)).collect();
        let told = address(peer, Believed::XForwarded, &list);
        assert_eq!(told.as_deref(), Some(expected), "{peer} says {lines:?}");
    }
}

#[test]
fn so_it_is_with_the_elements_of_forwarded() {
    for (peer, lines, expected) in [
        ("10.0.0.1", &["for=192.0.2.7"][..], Some("192.0.2.7")),
        ("10.0.0.1", &["for=6.6.6.6, for=192.0.2.7;proto=https , FOR=10.0.0.2"], Some("192.0.2.7")),
        ("10.0.0.1", &["for=6.6.6.6", "for=192.0.2.7,,", "for=10.0.0.2"], Some("192.0.2.7")),
        ("10.0.0.1", &["for=10.0.0.9, for=10.0.0.8"], Some("10.0.0.9")),
        ("10.0.0.1", &["for=192.0.2.7, for=unknown, for=10.0.0.2"], Some("10.0.0.2")),
        ("10.0.0.1", &["for=192.0.2.7, for=_hidden"], Some("10.0.0.1")),
        ("10.0.0.1", &["for=192.0.2.7, proto=https"], Some("10.0.0.1")),
        ("10.0.0.1", &["for=\"[2001:db9::7]:4711\""], Some("2001:db9::7")),
        ("10.0.0.1", &["for=\"192.0.2.7:_port\""], Some("192.0.2.7")),
        ("10.0.0.1", &["for=192.0.2.7:4711"], Some("192.0.2.7")),
        ("10.0.0.1", &["for=\"192.0.2.\\7\""], Some("10.0.0.1")),
        ("10.0.0.1", &["; ; for=192.0.2.7 ; secret=\"a,b;c\\\"\" ;"], Some("192.0.2.7")),
        ("10.0.0.1", &["", " , "], Some("10.0.0.1")),
        ("192.0.2.9", &["for=\"broken"], Some("192.0.2.9")),
        ("10.0.0.1", &["for=\"6.6.6.6, for=192.0.2.7"], None),
        ("10.0.0.1", &["for=\"6.6.6.6\\\", for=192.0.2.7"], None),
        ("10.0.0.1", &["for=\"6.6.6.6", "for=192.0.2.7"], None),
        ("10.0.0.1", &["for=192.0.2.7 for=6.6.6.6"], None),
        ("10.0.0.1", &["for=192.0.2.7;for=6.6.6.6"], None),
        ("10.0.0.1", &["by=a;By=b"], None),
        ("10.0.0.1", &["for = 192.0.2.7"], None),
        ("10.0.0.1", &["for="], None),
        ("10.0.0.1", &["192.0.2.7"], None),
        ("10.0.0.1", &["for=192.0.2.7\"x\""], None),
        ("10.0.0.1", &["for=\"192.0.2.7\"x"], None),
    ] {
        let list: Vec<_> = lines.iter().map(|line| ("Forwarded", *line)).collect();
        let told = address(peer, Believed::Rfc7239, &list);
        assert_eq!(told.as_deref(), expected, "{peer} says {lines:?}");
    }
}

#[test]
fn only_one_kind_of_header_is_believed() {
    let both = [("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.8")];
    for (believed, expected) in
        [(Believed::XForwarded, "192.0.2.7"), (Believed::Rfc7239, "192.0.2.8"), (Believed::Off, "10.0.0.1")]
    {
        assert_eq!(address("10.0.0.1", believed, &both).as_deref(), Some(expected));
    }
}

#[test]
fn a_trusted_proxy_tells_scheme_and_host_and_nobody_else_does() {
    let list = [
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "http, HTTPS"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Host", "shop.example:8443"),
        ("X-Forwarded-Port", "9443"),
    ];
    let asked = |peer, believed, list: &[(&str, &str)]| {
        let client = asks(peer, believed, list).unwrap();
        (client.address.to_string(), client.scheme, client.host.map(String::from), client.port)
    };
    let shop = || Some("shop.example:8443".to_owned());
    let told = |port| ("192.0.2.7".to_owned(), Scheme::Https, shop(), port);
    assert_eq!(asked("10.0.0.1", Believed::XForwarded, &list), told(9443));
    assert_eq!(asked("10.0.0.1", Believed::XForwarded, &list[..4]), told(8443));
    let (_, scheme, host, port) = asked("10.0.0.1", Believed::XForwarded, &list[..2]);
    assert_eq!((scheme, host, port), (Scheme::Https, None, 443));
    let nothing = |address: &str| (address.to_owned(), Scheme::Http, None, 8080);
    assert_eq!(asked("10.0.0.1", Believed::XForwarded, &list[..1]), nothing("192.0.2.7"));
    assert_eq!(asked("192.0.2.9", Believed::XForwarded, &list), nothing("192.0.2.9"));

    let list = [("Forwarded", "for=6.6.6.6;host=evil.example, for=192.0.2.7;proto=https;host=\"shop.example:8443\"")];
    assert_eq!(asked("10.0.0.1", Believed::Rfc7239, &list), told(8443));
    assert_eq!(asked("192.0.2.9", Believed::Rfc7239, &list), nothing("192.0.2.9"));
}

#[test]
fn what_is_believed_of_a_list_is_counted_from_its_end() {
    let told = |believed, name: &str, value: &str| asks("10.0.0.1", believed, &[(name, value)]).unwrap().told;
    for (list, expected) in [
        ("6.6.6.6, 192.0.2.7, 10.0.0.2", 2),
        ("10.0.0.9, 10.0.0.2", 2),
        ("192.0.2.7, unknown, 10.0.0.2", 1),
        ("192.0.2.7, unknown", 0),
        ("", 0),
    ] {
        assert_eq!(told(Believed::XForwarded, "x-forwarded-for", list), expected, "{list}");
        let nodes: Vec<_> =
            list.split(", ").filter(|node| !node.is_empty()).map(|node| format!("for={node}")).collect();
        assert_eq!(told(Believed::Rfc7239, "forwarded", &nodes.join(", ")), expected, "{list}");
        assert_eq!(told(Believed::Off, "x-forwarded-for", list), 0);
    }
}

#[test]
fn what_cannot_be_a_scheme_a_host_or_a_port_is_passed_over() {
    for (name, value) in [
        ("X-Forwarded-Proto", "javascript"),
        ("X-Forwarded-Host", "a b"),
        ("X-Forwarded-Host", "evil.example/path"),
        ("X-Forwarded-Host", "user@evil.example"),
        ("X-Forwarded-Host", "\u{e9}.example"),
        ("X-Forwarded-Port", "0"),
        ("X-Forwarded-Port", "65536"),
        ("X-Forwarded-Port", "+80"),
        ("X-Forwarded-Port", ""),
    ] {
        let told = asks("10.0.0.1", Believed::XForwarded, &[(name, value)]).unwrap();
        assert_eq!((told.scheme, told.host, told.port), (Scheme::Http, None, 8080), "{name}: {value}");
    }
    let long = "a".repeat(262);
    assert_eq!(asks("10.0.0.1", Believed::XForwarded, &[("X-Forwarded-Host", &long)]).unwrap().host, None);
}

#[test]
fn a_proxy_header_names_the_peer_and_what_it_spoke() {
    use crate::edge::proxy_protocol::Origin;
    let listener = listener(Believed::XForwarded);
    let balancer: SocketAddr = "[::ffff:10.0.0.1]:5000".parse().unwrap();
    let told = |origin, transport| {
        let header = ProxyHeader { origin, transport };
        connection(&listener, balancer, 8080, Scheme::Http, Some(&header))
    };
    let from = |source: &str| Origin::Client {
        source: source.parse().unwrap(),
        destination: "198.51.100.1:443".parse().unwrap(),
    };
    let known = |peer: &str, trust, scheme, port| Connection { peer: peer.parse().unwrap(), trust, scheme, port };
    assert_eq!(told(from("192.0.2.7:1"), Transport::Tls), known("192.0.2.7:1", Trust::Nothing, Scheme::Https, 443));
    // Behind the balancer another proxy that is trusted: what it says in a head is believed as well.
    assert_eq!(told(from("10.9.9.9:1"), Transport::Unknown), known("10.9.9.9:1", Trust::XForwarded, Scheme::Http, 443));
    // A header that names nobody: the balancer is the client, and no head is believed that says otherwise.
    for origin in [Origin::Balancer, Origin::Unix] {
        let own = known("10.0.0.1:5000", Trust::Nothing, Scheme::Http, 8080);
        assert_eq!(told(origin, Transport::Plain), own);
    }
    let own = known("10.0.0.1:5000", Trust::XForwarded, Scheme::Http, 8080);
    assert_eq!(connection(&listener, balancer, 8080, Scheme::Http, None), own);
}

#[test]
fn of_many_lines_the_last_ones_are_read() {
    let mut list = vec![("X-Forwarded-For", "6.6.6.6"); 50];
    list.push(("X-Forwarded-For", "192.0.2.7"));
    list.extend(vec![("X-Forwarded-For", "10.0.0.2"); PROXIES - 1]);
    assert_eq!(address("10.0.0.1", Believed::XForwarded, &list).as_deref(), Some("192.0.2.7"));
    // So many that the client is not among them: a proxy is nobody's way out.
    list.push(("X-Forwarded-For", "10.0.0.3"));
    assert_eq!(address("10.0.0.1", Believed::XForwarded, &list).as_deref(), Some("10.0.0.2"));
    let line = format!("192.0.2.7{}", ", 10.0.0.2".repeat(PROXIES));
    let client = asks("10.0.0.1", Believed::XForwarded, &[("X-Forwarded-For", &line)]).unwrap();
    assert_eq!((client.address.to_string(), client.told), ("10.0.0.2".to_owned(), PROXIES));
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ]
}

/// The rule, as plainly as can be: from the right, over all that is trusted.
fn by_the_rule(listener: &Listener, peer: IpAddr, chain: &[IpAddr]) -> IpAddr {
    let mut client = peer;
    for address in chain.iter().rev() {
        if !listener.trusts(client) {
            break;
        }
        client = *address;
    }
    client
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_headers_tell_the_same_chain_the_same_way(
        chain in prop::collection::vec(any_address(), 0..8),
        claim in "[ -~]{0,40}",
        lines in any::<bool>(),
    ) {
        let believed = listener(Believed::XForwarded);
        let peer = IpAddr::from([10, 0, 0, 1]);
        let chain: Vec<IpAddr> = chain.iter().map(IpAddr::to_canonical).collect();
        let expected = by_the_rule(&believed, peer, &chain).to_string();
        // Whatever a client claims stands left of what the proxies wrote.
        let has_client = chain.iter().any(|address| !believed.trusts(*address));
        let mut list = if has_client { vec![claim] } else { Vec::new() };
        list.extend(chain.iter().map(IpAddr::to_string));
        let list = if lines { list } else { vec![list.join(", ")] };
        let list: Vec<_> = list.iter().map(|value| ("x-forwarded-for", value.as_str())).collect();
        prop_assert_eq!(address("10.0.0.1", Believed::XForwarded, &list), Some(expected.clone()));

        let nodes: Vec<String> = chain.iter().map(|address| match address {
            IpAddr::V4(v4) => format!("for={v4}"),
            IpAddr::V6(v6) => format!("proto=http;for=\"[{v6}]:1\""),
        }).collect();
        prop_assert_eq!(address("10.0.0.1", Believed::Rfc7239, &[("forwarded", &nodes.join(","))]), Some(expected));
    }

    #[test]
    fn whatever_stands_there_the_client_is_the_peer_or_was_named(text in "[ -~\t]{0,80}", from_words in prop::collection::vec(
        prop::sample::select(vec!["for", "=", "\"", "\\", ",", ";", " ", "10.0.0.2", "192.0.2.7", "[2001:db8::1]", "proto", "host", "by", "unknown", ":80"]), 0..24,
    )) {
        for text in [text, from_words.concat()] {
            for (name, believed) in [("x-forwarded-for", Believed::XForwarded), ("forwarded", Believed::Rfc7239)] {
                if let Ok(client) = asks("10.0.0.1", believed, &[(name, &text)]) {
                    let named = text.contains(&client.address.to_string()) || client.address.is_ipv6();
                    prop_assert!(client.address == client.connection.peer.ip() || named, "{} of {}", client.address, text);
                }
            }
        }
    }
}
