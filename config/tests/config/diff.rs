//! What a new configuration changes of an old one.

use std::path::Path;

use portolan_config::{Changed, Changes, Snapshot, diff, load_from};

const OLD: &str = "
listeners: { public: { address: 127.0.0.1:8080 }, private: { address: 127.0.0.1:8081 } }
upstreams:
  orders: { endpoints: [ http://orders:9000 ] }
  shop: { endpoints: [ http://shop:9000 ] }
apis: { orders: { version: v1, openapi: orders.yaml, path: /orders, upstream: orders } }
routes: { all: { path: /**, upstream: shop } }
";

fn load(text: &str, contract: &str) -> Snapshot {
    let disk = |path: &Path| Ok(if path == Path::new("gateway.yaml") { text } else { contract }.into());
    load_from("gateway.yaml", &|_| None, &disk).unwrap()
}

fn names(names: &[&str]) -> Vec<portolan_config::snapshot::Name> {
    names.iter().map(|name| (*name).into()).collect()
}

#[test]
fn comments_and_order_of_keys_change_nothing() {
    let commented = format!(
        "# moved down\n\n{}",
        OLD.replace("version: v1, openapi: orders.yaml", "openapi: orders.yaml, version: v1")
    );
    assert!(diff(&load(OLD, "a"), &load(&commented, "a")).is_empty());
}

#[test]
fn an_upstream_changes_with_what_leads_to_it_and_nothing_else() {
    let changes = diff(&load(OLD, "a"), &load(&OLD.replace("http://orders:9000", "http://orders:9001"), "a"));
    let changed = |list: &[&str]| Changed { changed: names(list), ..Changed::default() };
    let expected = Changes { upstreams: changed(&["orders"]), apis: changed(&["orders"]), ..Changes::default() };
    assert_eq!(changes, expected);
}

#[test]
fn a_contract_changes_its_api_alone() {
    let changes = diff(&load(OLD, "a"), &load(OLD, "b"));
    let apis = Changed { changed: names(&["orders"]), ..Changed::default() };
    assert_eq!(changes, Changes { apis, ..Changes::default() });
}

#[test]
fn what_comes_and_goes_is_named() {
    let new = OLD.replace("private: { address: 127.0.0.1:8081 }", "partners: { address: 127.0.0.1:8082 }");
    let changes = diff(&load(OLD, "a"), &load(&format!("{new}workers: 2\n"), "a"));
    let listeners = Changed { added: names(&["partners"]), changed: Vec::new(), removed: names(&["private"]) };
    assert_eq!(changes, Changes { listeners, workers: true, ..Changes::default() });
}
