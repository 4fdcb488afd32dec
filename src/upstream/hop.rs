//! What belongs to one hop only is removed before a message goes on (RFC 9110, section 7.6.1).

use std::fmt::Write;
use std::net::IpAddr;

use portolan_exchange::{Fields, Request, Version};

/// Fields that speak of the connection they came on.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Removes the fields of one hop, and those that `Connection` names.
pub fn strip(fields: &mut Fields) {
    let named: Vec<Vec<u8>> = fields
        .get_all("connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|token| token.trim_ascii().to_vec())
        .filter(|token| !token.is_empty())
        .collect();
    fields.retain(|name, _| {
        let of_one_hop = HOP_BY_HOP.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        !of_one_hop && !named.iter().any(|token| name.eq_ignore_ascii_case(token))
    });
}

/// Tells the upstream whom it speaks with: `Host`, `Via`, `X-Forwarded-*`. What a client claims of these is overwritten.
pub fn forward(request: &mut Request, client: IpAddr, endpoint: &str) {
    let version = match request.version {
        Version::Http10 => "1.0 portolan",
        Version::Http11 => "1.1 portolan",
        Version::Http2 => "2 portolan",
    };
    let mut address = String::with_capacity(40);
    let _ = write!(address, "{client}");
    let asked = std::mem::take(&mut request.authority);
    let fields = &mut request.fields;
    let set = [
        ("host", endpoint),
        ("x-forwarded-for", address.as_str()),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", &asked),
    ];
    for (name, value) in set {
        // Only an HTTP/1.0 client can have asked for no host; then there is nothing to tell.
        if fields.set(name, value).is_err() || value.is_empty() {
            fields.remove(name);
        }
    }
    fields.push(b"via", version.as_bytes());
}

#[cfg(test)]
mod tests {
    use portolan_exchange::{Method, Target};

    use super::*;

    #[test]
    fn fields_of_one_hop_and_those_connection_names_do_not_go_on() {
        let mut fields = Fields::new();
        for (name, value) in [
            ("Connection", "close, X-Secret"),
            ("X-Secret", "1"),
            ("TE", "trailers"),
            ("Accept", "a"),
            ("Upgrade", "b"),
        ] {
            fields.add(name, value).unwrap();
        }
        strip(&mut fields);
        assert_eq!(fields.iter().collect::<Vec<_>>(), [(&b"Accept"[..], &b"a"[..])]);
    }

    #[test]
    fn what_a_client_claims_about_itself_is_overwritten() {
        let mut request = Request::new(Method::Get, Target::new("/"));
        request.authority = "shop.example".into();
        request.fields.add("X-Forwarded-For", "6.6.6.6").unwrap();
        request.fields.add("Host", "shop.example").unwrap();
        forward(&mut request, "127.0.0.9".parse().unwrap(), "orders:9000");
        let told = |name| request.fields.get_all(name).collect::<Vec<_>>();
        assert_eq!(told("x-forwarded-for"), [b"127.0.0.9"]);
        assert_eq!(told("host"), [b"orders:9000"]);
        assert_eq!(told("x-forwarded-host"), [b"shop.example"]);
        assert_eq!(told("via"), [b"1.1 portolan"]);
    }
}
