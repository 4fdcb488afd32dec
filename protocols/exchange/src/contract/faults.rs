//! Every fault renders: each kind as its protocol tells it, with what helps and without what is for the log.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;

use crate::fault::Violation;
use crate::{Exchange, Fault, FaultKind};

const CAUSE: &str = "cause-for-the-log-alone";
/// With what a careless writer would forget to escape.
const DETAIL: &str = "no room for `a\"b\\c` – come back\tin 2s";
const CHALLENGE: &str = "ApiKey realm=\"contract\"";

/// What a client reads out of a fault that is made by [`fault`].
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The stable code.
    pub code: String,
    /// The request's id.
    pub request_id: String,
    /// The sentence for the caller.
    pub detail: String,
    /// The member `limit`, which the fault was given for machines.
    pub limit: Option<u64>,
    /// The places that do not fit.
    pub places: Vec<Violation>,
}

impl Told {
    /// What [`fault`] of this kind is to tell in the exchange of this id.
    pub fn of(kind: FaultKind, request_id: &str) -> Self {
        Self {
            code: kind.code().to_owned(),
            request_id: request_id.to_owned(),
            detail: DETAIL.to_owned(),
            limit: Some(5),
            places: vec![place()],
        }
    }

    /// What a problem document tells (RFC 9457), or any other object of the same members; what is not there is empty.
    pub fn by(object: &Value) -> Self {
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let place = |place: &Value| Violation {
            location: place["location"].as_str().unwrap_or_default().to_owned(),
            message: place["message"].as_str().unwrap_or_default().to_owned(),
        };
        Self {
            code: text("code"),
            request_id: text("request_id"),
            detail: text("detail"),
            limit: object["limit"].as_u64(),
            places: object["errors"].as_array().into_iter().flatten().map(place).collect(),
        }
    }
}

/// A fault of this kind with all that a fault can have: a cause, a wait of 1.5 s, a header field, a member and a place.
pub fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, DETAIL)
        .because(CAUSE)
        .retry_after(Duration::from_millis(1_500))
        .field("www-authenticate", CHALLENGE)
        .with("limit", 5)
        .at(vec![place()])
}

fn place() -> Violation {
    Violation { location: "body/a".to_owned(), message: "is required".to_owned() }
}

/// Every kind renders with the status of the table, its code, the request's id, sentence, member and places; `Retry-After`
/// and the fault's own header fields once each, and none that it does not have; never with its cause. `read` is
/// a client of the protocol: it reads the content.
pub fn every_fault_renders(exchange: &Exchange, read: impl Fn(&[u8]) -> Told) {
    for kind in FaultKind::ALL {
        let code = kind.code();
        let (status, fields, content) = rendered(exchange, fault(*kind));
        assert_eq!(status, kind.status(), "the status of `{code}`");
        assert_eq!(read(&content), Told::of(*kind, &exchange.id.to_string()), "what `{code}` tells");
        assert_eq!(fields.get("retry-after"), Some(&vec!["2".to_owned()]), "`{code}`: when to try again");
        assert_eq!(fields.get("www-authenticate"), Some(&vec![CHALLENGE.to_owned()]), "`{code}`: its own field");
        assert_eq!(fields.get("content-type").map(Vec::len), Some(1), "`{code}` says once what its content is");
        let shown = format!("{fields:?}{}", String::from_utf8_lossy(&content));
        assert!(!shown.contains(CAUSE), "the cause of `{code}` is shown: {shown}");

        let (_, fields, content) = rendered(exchange, Fault::new(*kind, "a sentence"));
        for name in ["retry-after", "www-authenticate"] {
            assert_eq!(fields.get(name), None, "`{code}` has no {name}");
        }
        let told = read(&content);
        assert_eq!((told.limit, told.places), (None, Vec::new()), "what `{code}` tells beside its sentence");
    }
}

/// Status, header fields by their names in small letters, and content.
fn rendered(exchange: &Exchange, fault: Fault) -> (u16, BTreeMap<String, Vec<String>>, Vec<u8>) {
    let response = exchange.route.inbound.render(exchange, Err(fault));
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in response.fields.iter() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.entry(text(name).to_ascii_lowercase()).or_default().push(text(value));
    }
    let content = response.body.collect(1 << 20).now_or_never().expect("a fault is rendered whole");
    (response.status, fields, content.expect("a fault is short").bytes.to_vec())
}
