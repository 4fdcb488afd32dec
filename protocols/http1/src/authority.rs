//! What a host may look like: `Host` and the authority of an absolute target (RFC 9110, section 7.2).

use std::net::Ipv6Addr;

use crate::scan;

/// Whether this is a name, an IPv4 address or an IPv6 address in brackets, with at most a port.
///
/// Stricter than RFC 3986, section 3.2.2: no percent-encoding, no `!$&'()*+,;=`, no `IPvFuture`, no zone, no empty name
/// and no colon without a port. No userinfo either, which a request never holds (RFC 9110, section 4.2.4).
pub fn is_authority(text: &[u8]) -> bool {
    let port = match text {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let address = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
            if address.is_none() {
                return false;
            }
            &rest[end + 1..]
        }
        _ => {
            let end = scan::host(text, 0);
            if end == 0 {
                return false;
            }
            &text[end..]
        }
    };
    match port {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    }
}

fn is_port(digits: &[u8]) -> bool {
    // Five digits cannot overflow.
    let read = |number: u32, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'));
    matches!(digits.len(), 1..=5) && digits.iter().try_fold(0, read).is_some_and(|number| number <= 65_535)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_at_most_a_port_are_hosts() {
        for text in ["a", "example.com", "my_service:80", "1.2.3.4:65535", "[::1]", "[2001:db8::1.2.3.4]:0", "a.", "~"]
        {
            assert!(is_authority(text.as_bytes()), "{text}");
        }
        let refused = [
            "",
            ":",
            ":80",
            "a:",
            "a:65536",
            "a:000080",
            "a:8x",
            "a:80:80",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "u:p@b",
            "a%41",
            "[",
            "[]",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[::1%25eth0]",
            "[v1.a]",
            "[1.2.3.4]",
            "::1",
            "a?b",
            "é",
            "a;b",
            "a\\b",
        ];
        for text in refused {
            assert!(!is_authority(text.as_bytes()), "{text}");
        }
    }
}
