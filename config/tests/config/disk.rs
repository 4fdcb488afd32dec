//! Loading from a real folder.

use std::fs;

use portolan_config::{Snapshot, load};

const CONFIG: &str = "
listeners: { public: { address: 127.0.0.1:0 } }
upstreams: { orders: { endpoints: [ http://orders:9000 ] } }
access_log: { to: logs/access.log }
apis:
  orders: { version: v1, openapi: ./contracts/orders.yaml, path: /orders, upstream: orders }
  again: { version: v1, openapi: contracts/orders.yaml, path: /again, upstream: orders }
";

fn told(result: Result<Snapshot, portolan_config::Diagnostics>, folder: &std::path::Path) -> String {
    result.expect_err("it does not load").render().replace(folder.to_str().unwrap(), "DIR")
}

#[test]
fn contracts_and_logs_are_found_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, CONFIG).unwrap();
    fs::create_dir(folder.path().join("contracts")).unwrap();
    let contract = folder.path().join("contracts/orders.yaml");
    fs::write(&contract, "openapi: 3.1.0\n").unwrap();
    let snapshot = load(&file, &|_| None).unwrap();
    assert_eq!(snapshot.files(), [file, contract.clone()]);
    assert_eq!(snapshot.apis["orders"].kind.source().text, "openapi: 3.1.0\n");
    let log = portolan_config::snapshot::LogTarget::File(folder.path().join("logs/access.log"));
    assert_eq!(snapshot.access_log.to, log);
    let place = snapshot.apis["orders"].kind.source().place(3, 1, "paths");
    assert_eq!(place.file.as_ref(), contract);
}

#[test]
fn a_file_that_is_not_there_or_not_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let gone = load(folder.path().join("gone.yaml"), &|_| None);
    assert_eq!(told(gone, folder.path()), "DIR/gone.yaml: there is no file `DIR/gone.yaml`\n");
    let directory = load(folder.path(), &|_| None);
    assert_eq!(told(directory, folder.path()), "DIR: `DIR` cannot be read: it is not a file\n");
}

#[test]
fn a_byte_that_is_not_utf_8_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, b"listeners:\n  \xc3\xa9 \xff: {}\n").unwrap();
    let expected = "DIR/gateway.yaml:2:5: this is not UTF-8; save the file as UTF-8\n";
    assert_eq!(told(load(&file, &|_| None), folder.path()), expected);
}

#[test]
fn a_tower_of_braces_is_told_and_not_climbed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, "{a: ".repeat(500_000)).unwrap();
    let told = told(load(&file, &|_| None), folder.path());
    assert!(told.ends_with(": nested more than 100 levels deep\n") && told.len() < 2_000, "{told}");
}
