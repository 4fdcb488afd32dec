//! REST: requests against a contract, and the OpenAPI documents that operators bring.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use matchit::Router;
use portolan_config::tree;
use portolan_exchange::FaultKind;
use portolan_rest::check::{self, BodyCheck, Head, MOST_VIOLATIONS, Refusal};
use portolan_rest::{Contract, DEEPEST_BODY, RestOperation};

use crate::signature::Signature;
use crate::target::{Memory, Target};

use super::config;

/// Text like a request of HTTP/1.1: a line with method and target, fields, an empty line, a body.
pub(super) const REQUEST: Target = Target {
    name: "rest-request",
    about: "requests against a contract: bounded violations at their places, head and body judged as both together",
    run: request,
    words: &[
        "%2F",
        "%zz",
        "%c3%a9",
        "%00",
        "+",
        "&",
        "=",
        "[]",
        "[min]",
        "?limit=10",
        "/orders",
        "/orders/7",
        "x-tenant: acme\n",
        "application/json",
        "application/merge-patch+json",
        "content-encoding: gzip\n",
        "cookie: session=abcdefgh\n",
        "productId",
        "quantity",
        "2026-01-31T12:00:00Z",
    ],
    seeds: &[],
    longest: 64 * 1024,
    // Checking a deep body against a schema that refers to itself keeps a path for each level.
    memory: Memory { total_per_byte: 30_000, peak_per_byte: 6_000, free: 4 << 20 },
};

struct Shop {
    router: Router<Vec<Arc<RestOperation>>>,
}

fn shop() -> &'static Shop {
    static SHOP: OnceLock<Shop> = OnceLock::new();
    SHOP.get_or_init(|| {
        let text = include_str!("../../schemas/shop.openapi.yaml");
        let tree = tree::parse("shop.openapi.yaml", text).expect("the fuzzer's own document is YAML");
        let contract = Contract::read(&tree).expect("the fuzzer's own document is sound");
        Shop { router: router(&contract) }
    })
}

/// As the gateway makes one; the contract promises that all its paths fit into it.
fn router(contract: &Contract) -> Router<Vec<Arc<RestOperation>>> {
    let mut router = Router::new();
    for (path, operations) in contract.paths() {
        router.insert(path.pattern(), operations).expect("a router takes all paths of a contract together");
    }
    router
}

fn request(input: &[u8]) -> Signature {
    let (head, body) = match input.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&input[..at], Some(&input[at + 2..])),
        None => (input, None),
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split('\n');
    let (method, target) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Ok(matched) = shop().router.at(path) else { return Signature::of("no path") };
    let Some(operation) = matched.value.iter().find(|operation| operation.method == method) else {
        return Signature::of("no method");
    };
    let fields: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let header = |name: &str| {
        let values: Vec<&str> = fields.iter().filter(|(known, _)| known == name).map(|(_, value)| *value).collect();
        let joint = if name == "cookie" { "; " } else { ", " };
        (!values.is_empty()).then(|| Cow::Owned(values.join(joint)))
    };
    let path = |name: &str| matched.params.get(name);
    let head = Head { path: &path, query, header: &header };
    check_request(operation, &head, body)
}

fn check_request(operation: &RestOperation, head: &Head<'_>, body: Option<&[u8]>) -> Signature {
    let whole = check::request(operation, head, body);
    assert_eq!(check::request(operation, head, body), whole, "the second look sees something else");
    let parts = match check::head(operation, head, body.is_some()) {
        Ok(BodyCheck::Pass) => Ok(()),
        Ok(BodyCheck::Gather(entry)) => {
            let bytes = body.unwrap_or_default();
            let judged = check::body(entry, bytes);
            if judged.is_ok() && entry.schema.is_some() {
                check_body(bytes);
            }
            judged
        }
        Err(refusal) => Err(refusal),
    };
    assert_eq!(whole.is_ok(), parts.is_ok(), "in parts it is judged otherwise: {whole:?}, {parts:?}");
    match whole {
        Ok(()) => Signature::of("fits").told(&operation.id),
        Err(refusal) => {
            check_refusal(&refusal);
            let told =
                Signature::of(refusal.kind.code()).told(&operation.id).size("violations", refusal.violations.len());
            refusal.violations.iter().fold(told, |told, violation| {
                let place = violation.location.split(['.', '/', '[']).take(2).collect::<Vec<_>>().join(" ");
                told.told(&format!("{place} {}", violation.message))
            })
        }
    }
}

/// A body that was accepted is JSON to others too, and no deeper than is promised.
fn check_body(bytes: &[u8]) {
    let value: serde_json::Value = serde_json::from_slice(bytes).expect("an accepted body is JSON");
    assert!(levels(&value) <= DEEPEST_BODY);
}

fn levels(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        serde_json::Value::Object(members) => 1 + members.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

fn check_refusal(refusal: &Refusal) {
    use FaultKind::{InvalidBody, InvalidParameters, MalformedBody, UnsupportedMediaType};
    assert!(matches!(refusal.kind, InvalidParameters | UnsupportedMediaType | MalformedBody | InvalidBody));
    assert!((1..=MOST_VIOLATIONS).contains(&refusal.violations.len()), "{} violations", refusal.violations.len());
    for violation in &refusal.violations {
        let places = ["path.", "query.", "header.", "cookie.", "body"];
        let known = places.iter().any(|place| violation.location.starts_with(place)) || violation.location == "query";
        assert!(known, "a place that is none: {violation:?}");
        assert!(!violation.message.is_empty() && violation.message.len() <= 4_000, "{} bytes", violation.message.len());
    }
}

pub(super) const CONTRACT: Target = Target {
    name: "rest-contract",
    about: "OpenAPI documents: what is accepted has distinct operations that a router takes, and checks any request",
    run: |input| contract(&String::from_utf8_lossy(input)),
    words: &[
        "openapi",
        "3.0.3",
        "3.1.0",
        "paths",
        "parameters",
        "requestBody",
        "schema",
        "$ref",
        "#/components/schemas/A",
        "allOf",
        "oneOf",
        "not",
        "type",
        "integer",
        "array",
        "object",
        "items",
        "pattern",
        "enum",
        "nullable",
        "style",
        "explode",
        "deepObject",
        "{id}",
        "/a/{id}.csv",
        "additionalProperties",
        "discriminator",
        "required",
        "in: query",
        "content",
    ],
    seeds: &["examples/demo/orders.openapi.yaml", "protocols/rest/cases"],
    longest: 32 * 1024,
    // Each schema becomes a compiled validator.
    memory: Memory { total_per_byte: 100_000, peak_per_byte: 20_000, free: 128 << 20 },
};

fn contract(text: &str) -> Signature {
    let tree = match tree::parse("api.yaml", text) {
        Ok(tree) => tree,
        Err(problems) => return config::check_problems("no tree", &problems, text),
    };
    let contract = match Contract::read(&tree) {
        Ok(contract) => contract,
        Err(problems) => return config::check_problems("refused", &problems, text),
    };
    let mut ids: Vec<_> = contract.operations.iter().map(|operation| &operation.id).collect();
    ids.sort();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "two operations have one id");
    router(&contract);
    let mut signature = Signature::of("accepted").size("operations", contract.operations.len());
    for operation in contract.operations.iter().take(20) {
        let path = |_: &str| Some("7");
        let header = |name: &str| (name == "content-type").then_some(Cow::Borrowed("application/json"));
        let head = Head { path: &path, query: "limit=10&a=b&c[d]=e&f=%20", header: &header };
        for body in [None, Some(&br#"{"id":"1","quantity":2,"a":[1,{"b":null}]}"#[..])] {
            signature = match check::request(operation, &head, body) {
                Ok(()) => signature.told("fits"),
                Err(refusal) => {
                    check_refusal(&refusal);
                    refusal.violations.iter().fold(signature, |signature, one| signature.told(&one.message))
                }
            };
        }
    }
    signature
}
