//! Tells an upstream whom it speaks with.

use std::fmt::Write;
use std::net::IpAddr;

use portolan_exchange::{Request, Version};

/// What a client may claim about itself, in whatever spelling: a server that hands fields to programs as variables takes `_` for `-`.
fn is_claim(name: &[u8]) -> bool {
    let claims = name.len() > 12 && name[..12].eq_ignore_ascii_case(b"x-forwarded-");
    claims || name.eq_ignore_ascii_case(b"forwarded") || name.eq_ignore_ascii_case(b"x-real-ip") || name.contains(&b'_')
}

/// Tells the upstream whom it speaks with: `Host`, `Via`, `X-Forwarded-*`. What a client claims of these is removed, and so is
/// every field with an underscore in its name.
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
    fields.retain(|name, _| !is_claim(name));
    fields.remove("host");
    fields.push(b"host", endpoint.as_bytes());
    fields.push(b"x-forwarded-for", address.as_bytes());
    fields.push(b"x-forwarded-proto", b"http");
    // Only an HTTP/1.0 client can have asked for no host; then there is nothing to tell.
    if !asked.is_empty() {
        fields.push(b"x-forwarded-host", asked.as_bytes());
    }
    fields.push(b"via", version.as_bytes());
}

#[cfg(test)]
mod tests {
    use portolan_exchange::{Method, Target};

    use super::*;

    #[test]
    fn what_a_client_claims_about_itself_is_overwritten() {
        let mut request = Request::new(Method::Get, Target::new("/"));
        request.authority = "shop.example".into();
        request.fields.add("X-Forwarded-For", "6.6.6.6").unwrap();
        request.fields.add("Host", "shop.example").unwrap();
        for claim in ["Forwarded", "X-Real-IP", "x-forwarded-port", "X_Forwarded_For"] {
            request.fields.add(claim, "6.6.6.6").unwrap();
        }
        forward(&mut request, "127.0.0.9".parse().unwrap(), "orders:9000");
        let told = |name| request.fields.get_all(name).collect::<Vec<_>>();
        assert_eq!(told("x-forwarded-for"), [b"127.0.0.9"]);
        assert_eq!(told("host"), [b"orders:9000"]);
        assert_eq!(told("x-forwarded-host"), [b"shop.example"]);
        assert_eq!(told("via"), [b"1.1 portolan"]);
        assert_eq!(request.fields.len(), 5);
    }
}
