//! Headers of both versions, whole, split, broken and random.

use proptest::prelude::*;

use super::*;

fn from(source: &str, destination: &str) -> Origin {
    Origin::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2.
fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family][..], &length, payload].concat()
}

const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

/// IPv4 addresses and these extensions.
fn with_extensions(extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut payload = V4.to_vec();
    for (kind, value) in extensions {
        payload.push(*kind);
        payload.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        payload.extend(*value);
    }
    binary(0x21, 0x11, &payload)
}

/// A header whose last extension is its checksum.
fn summed(extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut header = with_extensions(&[extensions, &[(0x03, &[0; 4])]].concat());
    let at = header.len() - 4;
    let sum = checksum(&header, at).to_be_bytes();
    header[at..].copy_from_slice(&sum);
    header
}

#[test]
fn only_trusted_proxies_are_asked_for_a_header() {
    use snapshot::ProxyProtocol::{Accept, Off, Require};
    let mut listener = Listener::at("public", ([127, 0, 0, 1], 0).into());
    listener.trusted_proxies = vec![snapshot::Cidr::new([10, 0, 0, 0].into(), 8)];
    let (proxy, other) = (IpAddr::from([10, 1, 2, 3]), IpAddr::from([192, 0, 2, 7]));
    for (setting, of_proxy, of_other) in [
        (Off, Expected::Request, Expected::Request),
        (Accept, Expected::Either, Expected::Request),
        (Require, Expected::Header, Expected::Nobody),
    ] {
        listener.proxy_protocol = setting;
        assert_eq!((Expected::of(&listener, proxy), Expected::of(&listener, other)), (of_proxy, of_other));
    }
    let (header, request, begun) = (&b"PROXY UNKNOWN\r\n"[..], &b"GET / "[..], &b"PRO"[..]);
    let told = Some((Some(ProxyHeader::of(Origin::Balancer)), header.len()));
    for (expected, of_header, of_request, of_begun) in [
        (Expected::Request, Ok(Some((None, 0))), Ok(Some((None, 0))), Ok(Some((None, 0)))),
        (Expected::Either, Ok(told), Ok(Some((None, 0))), Ok(None)),
        (Expected::Header, Ok(told), Err(Broken::Absent), Ok(None)),
        (Expected::Nobody, Err(Broken::Untrusted), Err(Broken::Untrusted), Err(Broken::Untrusted)),
    ] {
        let outcomes = [header, request, begun].map(|bytes| expected.read(bytes));
        assert_eq!(outcomes, [of_header, of_request, of_begun], "{expected:?}");
    }
}

#[test]
fn lines_of_version_one_are_read_or_refused() {
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", Ok(from("192.0.2.7:56324", "198.51.100.1:443"))),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", Ok(from("[2001:db8::7]:1", "[2001:db8::1]:65535"))),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 0 0\r\n", Ok(from("192.0.2.7:0", "198.51.100.1:0"))),
        ("PROXY UNKNOWN\r\n", Ok(Origin::Balancer)),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", Ok(Origin::Balancer)),
        ("PROXY UNKNOWN \u{7}\r\n", Err(Broken::Line)),
        ("PROXY UNKNOWN a\nGET / HTTP/1.1\r\n", Err(Broken::Line)),
        ("PROXY UNKNOWN a\rb\r\n", Err(Broken::Line)),
        ("PROXY UNKNOWNS\r\n", Err(Broken::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n", Err(Broken::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n", Err(Broken::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n", Err(Broken::Line)),
        ("PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n", Err(Broken::Line)),
        ("PROXY TCP4 192.0.2.7 2001:db8::1 56324 443\r\n", Err(Broken::Line)),
        ("PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n", Err(Broken::Line)),
        ("PROXY TCP4 192.0.2.07 198.51.100.1 56324 443\r\n", Err(Broken::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 0443\r\n", Err(Broken::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n", Err(Broken::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n", Err(Broken::Line)),
        ("PROXY TCP5 192.0.2.7 198.51.100.1 56324 443\r\n", Err(Broken::Line)),
        ("PROXY tcp4 192.0.2.7 198.51.100.1 56324 443\r\n", Err(Broken::Line)),
        ("PROXY \r\n", Err(Broken::Line)),
        ("PROXY\r\n", Err(Broken::Absent)),
        ("proxy TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", Err(Broken::Absent)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(Broken::Absent)),
        ("GET / HTTP/1.1\r\n", Err(Broken::Absent)),
    ] {
        let read = read(line.as_bytes());
        let expected = expected.map(|origin| Some((ProxyHeader::of(origin), line.len())));
        assert_eq!(read, expected, "{line:?}");
    }
}

#[test]
fn a_line_has_107_bytes_at_most() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(read(longest.as_bytes()), Ok(Some((ProxyHeader::of(Origin::Balancer), 107))));
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
    assert_eq!(read(longer.as_bytes()), Err(Broken::TooLong));
}

#[test]
fn headers_of_version_two_are_read_or_refused() {
    let v4 = from("192.0.2.7:56324", "198.51.100.1:443");
    let v6: Vec<u8> = [[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 7]].concat();
    let v6 = [&v6[..], &v6[..15], &[1], &[0, 1, 0, 2]].concat();
    let seen_over = |flags: u8| with_extensions(&[(0x20, &[flags, 0, 0, 0, 0])]);
    for (what, bytes, expected) in [
        ("IPv4", binary(0x21, 0x11, V4), Ok((v4, Transport::Unknown))),
        ("datagrams over IPv4", binary(0x21, 0x12, V4), Ok((v4, Transport::Unknown))),
        ("IPv6", binary(0x21, 0x21, &v6), Ok((from("[2001:db8::7]:1", "[2001:db8::1]:2"), Transport::Unknown))),
        ("a path", binary(0x21, 0x31, &[0; 216]), Ok((Origin::Unix, Transport::Unknown))),
        ("the balancer's own", binary(0x20, 0x00, &[]), Ok((Origin::Balancer, Transport::Unknown))),
        (
            "the balancer's own with anything",
            binary(0x20, 0xff, &[1, 2, 3]),
            Ok((Origin::Balancer, Transport::Unknown)),
        ),
        ("no family", binary(0x21, 0x00, &[9; 30]), Ok((Origin::Balancer, Transport::Unknown))),
        ("extensions", with_extensions(&[(0x04, &[0; 9]), (0xee, b"")]), Ok((v4, Transport::Unknown))),
        ("TLS", seen_over(0x07), Ok((v4, Transport::Tls))),
        ("no TLS", seen_over(0x00), Ok((v4, Transport::Plain))),
        ("a sum", summed(&[(0x02, b"shop.example")]), Ok((v4, Transport::Unknown))),
        ("a wrong sum", with_extensions(&[(0x03, &[1, 2, 3, 4])]), Err(Broken::Checksum)),
        ("a short sum", with_extensions(&[(0x03, &[1, 2, 3])]), Err(Broken::Length)),
        ("a short account of TLS", with_extensions(&[(0x20, &[1, 0, 0])]), Err(Broken::Length)),
        ("another version", binary(0x11, 0x11, V4), Err(Broken::Command)),
        ("another command", binary(0x22, 0x11, V4), Err(Broken::Command)),
        ("another family", binary(0x21, 0x41, V4), Err(Broken::Family)),
        ("another transport", binary(0x21, 0x13, V4), Err(Broken::Family)),
        ("IPv4 without transport", binary(0x21, 0x10, V4), Err(Broken::Family)),
        ("a short IPv4", binary(0x21, 0x11, &V4[1..]), Err(Broken::Length)),
        ("a short IPv6", binary(0x21, 0x21, &v6[1..]), Err(Broken::Length)),
        ("a short path", binary(0x21, 0x31, &[0; 215]), Err(Broken::Length)),
        ("half an extension", binary(0x21, 0x11, &[V4, &[4, 0]].concat()), Err(Broken::Length)),
        ("an extension beyond the end", binary(0x21, 0x11, &[V4, &[4, 0, 2, 0]].concat()), Err(Broken::Length)),
        ("longer than is read", binary(0x20, 0x00, &[0; LONGEST - 15]), Err(Broken::TooLong)),
        ("as long as is read", binary(0x20, 0x00, &[0; LONGEST - 16]), Ok((Origin::Balancer, Transport::Unknown))),
    ] {
        let expected = expected.map(|(origin, transport)| Some((ProxyHeader { origin, transport }, bytes.len())));
        assert_eq!(read(&bytes), expected, "{what}");
    }
}

#[test]
fn the_checksum_is_castagnolis() {
    // RFC 3720, appendix B.4: the sum is sent with its low byte first there, and with its high byte first here.
    let zeros = [0_u8; 32];
    assert_eq!(checksum(&zeros, 0), 0x8a91_36aa);
    let ascending: Vec<u8> = (0..32).collect();
    assert_eq!(checksum(&ascending, 100), 0x46dd_794e);
}

#[test]
fn a_flipped_bit_anywhere_in_a_summed_header_does_not_pass() {
    let sound = summed(&[(0x02, b"shop.example")]);
    for bit in 0..sound.len() * 8 {
        let mut header = sound.clone();
        header[bit / 8] ^= 1 << (bit % 8);
        // A flipped command can make it the balancer's own, of which nothing is looked at; and a sum that calls itself something
        // else is none.
        let hides_the_sum = [12, sound.len() - 7].contains(&(bit / 8));
        let taken = read(&header);
        assert!(hides_the_sum || !matches!(taken, Ok(Some(_))), "bit {bit} flipped: {taken:?}");
    }
}

fn headers() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        (any::<[u8; 4]>(), any::<[u8; 4]>(), any::<u16>(), any::<u16>()).prop_map(|(a, b, from, to)| {
            format!("PROXY TCP4 {} {} {from} {to}\r\n", Ipv4Addr::from(a), Ipv4Addr::from(b)).into_bytes()
        }),
        (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u16>(), any::<u16>()).prop_map(|(a, b, from, to)| {
            format!("PROXY TCP6 {} {} {from} {to}\r\n", Ipv6Addr::from(a), Ipv6Addr::from(b)).into_bytes()
        }),
        "PROXY UNKNOWN[ a-z]{0,90}(\r\n)?".prop_map(String::into_bytes),
    ];
    let some = prop::collection::vec(any::<u8>(), 0..300);
    let any_binary = (0x1f..0x23_u8, prop::sample::select(vec![0x00, 0x11, 0x12, 0x21, 0x31, 0x41]), some)
        .prop_map(|(command, family, payload)| binary(command, family, &payload));
    let extensions = prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)), 0..4);
    let extended = extensions.prop_map(|extensions| {
        let extensions: Vec<(u8, &[u8])> = extensions.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        summed(&extensions)
    });
    prop_oneof![line, any_binary, extended, prop::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_a_header_is_split_the_outcome_is_the_same(header in headers(), after in prop::collection::vec(any::<u8>(), 0..20)) {
        let whole = [header.clone(), after].concat();
        let outcome = read(&whole);
        let mut settled = false;
        for length in 0..=whole.len() {
            match read(&whole[..length]) {
                Ok(None) => prop_assert!(!settled, "what was settled is open again after {} bytes", length),
                early => {
                    settled = true;
                    prop_assert_eq!(early, outcome, "after {} bytes", length);
                }
            }
        }
        if let Ok(Some((_, taken))) = outcome {
            prop_assert!(taken <= whole.len() && taken <= LONGEST);
            prop_assert_eq!(read(&whole[..taken - 1]), Ok(None));
        }
    }
}
