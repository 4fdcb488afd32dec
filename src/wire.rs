//! What both seams to the wire library share: fields, frames and errors, translated one way or the other, and what
//! belongs to one hop only removed (RFC 9110, section 7.6.1).

use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use portolan_exchange::{BodyError, Fields, Frame};

/// The fields of a received head, or of trailers.
pub fn fields_in(map: &HeaderMap) -> Fields {
    let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut fields = Fields::with_capacity(map.len(), bytes);
    for (name, value) in map {
        fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    fields
}

/// Our fields as the wire library wants them. A field that cannot stand in a head is left out.
pub fn fields_out(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// A received piece of a body.
///
/// # Errors
/// A piece of a kind that HTTP does not have.
pub fn frame_in(frame: http_body::Frame<bytes::Bytes>) -> Result<Frame, BodyError> {
    match frame.into_data() {
        Ok(data) => Ok(Frame::Data(data)),
        Err(frame) => match frame.into_trailers() {
            Ok(trailers) => Ok(Frame::Trailers(fields_in(&trailers))),
            Err(_) => Err(BodyError::Broken("a frame of an unknown kind".to_owned())),
        },
    }
}

/// A piece of a body to be sent.
pub fn frame_out(frame: Frame) -> http_body::Frame<bytes::Bytes> {
    match frame {
        Frame::Data(data) => http_body::Frame::data(data),
        Frame::Trailers(fields) => http_body::Frame::trailers(fields_out(&fields)),
    }
}

/// What a body broke off with.
pub fn broken(error: &hyper::Error) -> BodyError {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let cut = |cause: &std::io::Error| {
        matches!(cause.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
    };
    if cause.is_some_and(cut) || error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        BodyError::Gone
    } else if error.is_timeout() {
        BodyError::Late
    } else {
        BodyError::Broken(error.to_string())
    }
}

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

/// What becomes of the fields by which an upgrade is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrades {
    /// They go: nobody here upgrades.
    Strip,
    /// `Connection` and `Upgrade` stay, for whoever judges the upgrade.
    Keep,
}

/// Removes the fields of one hop, and those that `Connection` names.
pub fn strip_hop(fields: &mut Fields, upgrades: Upgrades) {
    let named: Vec<Vec<u8>> = fields
        .get_all("connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|token| token.trim_ascii().to_vec())
        .filter(|token| !token.is_empty())
        .collect();
    let stays = |name: &[u8]| {
        upgrades == Upgrades::Keep
            && (name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"upgrade"))
    };
    fields.retain(|name, _| {
        let of_one_hop = HOP_BY_HOP.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        stays(name) || (!of_one_hop && !named.iter().any(|token| name.eq_ignore_ascii_case(token)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade_request() -> Fields {
        let mut fields = Fields::new();
        let all = [
            ("Connection", "upgrade, X-Secret"),
            ("X-Secret", "1"),
            ("TE", "trailers"),
            ("Accept", "a"),
            ("Upgrade", "b"),
        ];
        for (name, value) in all {
            fields.add(name, value).unwrap();
        }
        fields
    }

    fn names(fields: &Fields) -> Vec<&[u8]> {
        fields.iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn fields_of_one_hop_and_those_connection_names_do_not_go_on() {
        let mut fields = upgrade_request();
        strip_hop(&mut fields, Upgrades::Strip);
        assert_eq!(names(&fields), [b"Accept"]);
    }

    #[test]
    fn an_upgrade_keeps_the_fields_that_ask_for_it() {
        let mut fields = upgrade_request();
        strip_hop(&mut fields, Upgrades::Keep);
        assert_eq!(names(&fields), [&b"Connection"[..], b"Accept", b"Upgrade"]);
    }
}
