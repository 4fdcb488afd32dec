//! The names of fields that whoever passes heads on must tell from others, told apart once.

/// What a field's name says to whoever passes its head on.
///
/// A list of fields knows this of each from when it was noted or added, and asks nobody's letters again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Name {
    /// Nothing: any name that is none of the others.
    Other,
    /// There is a `_` in it: a server that hands fields to programs as variables takes that for `-`.
    Underscored,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Expect`
    Expect,
    /// `Forwarded`
    Forwarded,
    /// `Host`
    Host,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `Via`
    Via,
    /// `X-Forwarded-For` and whatever else begins so.
    XForwarded,
    /// `X-Real-IP`
    XRealIp,
    /// `X-Request-ID`
    XRequestId,
}

impl Name {
    /// What this name says, whatever its case. It is a token (RFC 9110, section 5.1); of other bytes nothing is promised.
    pub fn of(name: &[u8]) -> Self {
        match Self::of_plain(name) {
            Self::Other if name.contains(&b'_') => Self::Underscored,
            known => known,
        }
    }

    /// As [`Name::of`], for whoever knows that there is no `_` in it, or asks whether it is one of the names that have a word of
    /// their own here.
    #[inline]
    pub fn of_plain(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        match (name.len(), first | CASE as u8) {
            (2, b't') if is(name, b"te") => Self::Te,
            (3, b'v') if is(name, b"via") => Self::Via,
            (4, b'h') if is(name, b"host") => Self::Host,
            (6, b'e') if is(name, b"expect") => Self::Expect,
            (7, b't') if is(name, b"trailer") => Self::Trailer,
            (7, b'u') if is(name, b"upgrade") => Self::Upgrade,
            (9, b'f') if is(name, b"forwarded") => Self::Forwarded,
            (9, b'x') if is(name, b"x-real-ip") => Self::XRealIp,
            (10, b'c') if is(name, b"connection") => Self::Connection,
            (10, b'k') if is(name, b"keep-alive") => Self::KeepAlive,
            (12, b'x') if is(name, b"x-request-id") => Self::XRequestId,
            (13.., b'x') if is(&name[..12], b"x-forwarded-") => Self::XForwarded,
            (14, b'c') if is(name, b"content-length") => Self::ContentLength,
            (16, b'p') if is(name, b"proxy-connection") => Self::ProxyConnection,
            (17, b't') if is(name, b"transfer-encoding") => Self::TransferEncoding,
            (18, b'p') if is(name, b"proxy-authenticate") => Self::ProxyAuthenticate,
            (19, b'p') if is(name, b"proxy-authorization") => Self::ProxyAuthorization,
            _ => Self::Other,
        }
    }
}

/// Sets the bit by which the cases of a letter differ. A hyphen has it, and no other byte of a token becomes one by it.
const CASE: u128 = u128::MAX / 255 * 0x20;

/// Whether a token is this name of letters and hyphens, two to 32 of them, whatever its case: two comparisons.
#[inline]
fn is<const LENGTH: usize>(name: &[u8], known: &[u8; LENGTH]) -> bool {
    let ends = (ends(name), ends(known));
    name.len() == LENGTH && matches!(ends, (Some((a, b)), Some((c, d))) if a == c && b == d)
}

/// How a name begins and ends, in so many bytes each that they meet.
#[inline]
fn ends(name: &[u8]) -> Option<(u128, u128)> {
    chunks::<16>(name).or_else(|| chunks::<8>(name)).or_else(|| chunks::<4>(name)).or_else(|| chunks::<2>(name))
}

#[inline]
fn chunks<const LENGTH: usize>(name: &[u8]) -> Option<(u128, u128)> {
    let number = |chunk: &[u8; LENGTH]| {
        let mut bytes = [0; 16];
        bytes[..LENGTH].copy_from_slice(chunk);
        u128::from_le_bytes(bytes) | CASE
    };
    Some((number(name.first_chunk()?), number(name.last_chunk()?)))
}

/// A set of what names say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names(u32);

impl Names {
    /// None.
    pub const NONE: Self = Self(0);

    /// All there are.
    pub const ALL: Self = Self(u32::MAX);

    /// Fields that always speak of the connection they came on (RFC 9110, section 7.6.1). Those that `Connection` names do besides.
    pub const OF_ONE_HOP: Self = Self::of(&[
        Name::Connection,
        Name::KeepAlive,
        Name::ProxyAuthenticate,
        Name::ProxyAuthorization,
        Name::ProxyConnection,
        Name::Te,
        Name::Trailer,
        Name::TransferEncoding,
        Name::Upgrade,
    ]);

    /// These.
    pub const fn of(names: &[Name]) -> Self {
        let (mut all, mut at) = (0, 0);
        while at < names.len() {
            all |= 1 << names[at] as u8;
            at += 1;
        }
        Self(all)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, those: Self) -> Self {
        Self(self.0 | those.0)
    }

    /// Adds this one.
    #[inline]
    pub const fn insert(&mut self, name: Name) {
        self.0 |= 1 << name as u8;
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, those: Self) -> Self {
        Self(self.0 & !those.0)
    }

    /// Whether this one is among them.
    #[inline]
    pub const fn has(self, name: Name) -> bool {
        self.0 & 1 << name as u8 != 0
    }

    /// Whether one of those is among them.
    #[inline]
    pub const fn has_any(self, those: Self) -> bool {
        self.0 & those.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::is_token;

    const KNOWN: [(&str, Name); 18] = [
        ("connection", Name::Connection),
        ("content-length", Name::ContentLength),
        ("expect", Name::Expect),
        ("forwarded", Name::Forwarded),
        ("host", Name::Host),
        ("keep-alive", Name::KeepAlive),
        ("proxy-authenticate", Name::ProxyAuthenticate),
        ("proxy-authorization", Name::ProxyAuthorization),
        ("proxy-connection", Name::ProxyConnection),
        ("te", Name::Te),
        ("trailer", Name::Trailer),
        ("transfer-encoding", Name::TransferEncoding),
        ("upgrade", Name::Upgrade),
        ("via", Name::Via),
        ("x-forwarded-for", Name::XForwarded),
        ("x-forwarded-a_b", Name::XForwarded),
        ("x-real-ip", Name::XRealIp),
        ("x-request-id", Name::XRequestId),
    ];

    #[test]
    fn names_are_told_whatever_their_case() {
        for (text, name) in KNOWN {
            assert_eq!(Name::of(text.as_bytes()), name, "{text}");
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), name, "{text}");
        }
        for text in ["", "a", "x-forwarded-", "x-forwarded", "user-agent", "content-type", "sec-websocket-extensions"] {
            assert_eq!(Name::of(text.as_bytes()), Name::Other, "{text}");
        }
        for text in ["_", "content_length", "X_Forwarded_For", "a-header-of-some-length-with-one-at-its-end_"] {
            assert_eq!(Name::of(text.as_bytes()), Name::Underscored, "{text}");
        }
    }

    #[test]
    fn a_name_that_differs_in_one_byte_is_another() {
        for (text, name) in KNOWN {
            for at in 0..text.len() {
                for byte in (0..=255_u8).filter(|byte| is_token(&[*byte])) {
                    let mut other = text.as_bytes().to_vec();
                    other[at] = byte;
                    let same = other.eq_ignore_ascii_case(text.as_bytes());
                    let still = name == Name::XForwarded && at >= 12;
                    assert_eq!(Name::of(&other) == name, same || still, "{}", other.escape_ascii());
                }
            }
        }
    }
}
