//! `portolan check`: every problem of a configuration and of what it names, and nothing started.

use std::fs;
use std::path::Path;

use super::{Folder, said};
use crate::kit::binary::portolan;

const SOUND: &str = "
    listeners: { public: { address: 127.0.0.1:0 } }
    upstreams: { service: { endpoints: [ http://127.0.0.1:9 ] } }
    apis: { orders: { version: v1, openapi: ./orders.yaml, path: /orders, upstream: service } }
    routes: { all: { path: /files/**, upstream: service } }
";

const OPENAPI: &str = "
    openapi: 3.1.0
    info: { title: Orders, version: 1.0.0 }
    paths: { /all: { get: { operationId: listOrders, responses: { '200': { description: all } } } } }
";

#[test]
fn a_sound_configuration_has_no_problem() {
    let folder = Folder::with(SOUND);
    folder.write("orders.yaml", OPENAPI);
    assert_eq!(folder.portolan(&["check"]), said(0, "gateway.yaml: no problem; 1 APIs, 1 routes\n", ""));
}

#[test]
fn the_example_of_the_demo_has_no_problem() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo/portolan.yaml");
    assert_eq!(portolan(&["check", file]), said(0, &format!("{file}: no problem; 3 APIs, 0 routes\n"), ""));
}

/// The sections of a case of the configuration's own tests: a file, or what is told.
fn section<'c>(case: &'c str, name: &str) -> &'c str {
    let (_, rest) = case.split_once(&format!("=== {name}\n")).unwrap_or_else(|| panic!("the case has no `{name}`"));
    rest.split_once("\n=== ").map_or(rest, |(section, _)| section)
}

#[test]
fn twenty_mistakes_get_twenty_lines() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/cases/twenty-mistakes.case");
    let case = fs::read_to_string(case).unwrap();
    let folder = Folder::with(section(&case, "gateway.yaml"));
    folder.write("orders.yaml", section(&case, "orders.yaml"));
    let told = section(&case, "diagnostics");
    assert_eq!(told.lines().count(), 20);
    assert_eq!(folder.portolan(&["check"]), said(1, "", &format!("{}\n", told.trim_end())));
}

#[test]
fn mistakes_in_contracts_are_told_where_they_stand_in_those_files() {
    let folder = Folder::with(
        "
        listeners: { public: { address: 127.0.0.1:0 } }
        upstreams: { service: { endpoints: [ http://127.0.0.1:9 ] } }
        brokers: { main: { kafka: { bootstrap: [ 127.0.0.1:9 ] } } }
        apis:
          broken: { version: v1, openapi: ./broken.yaml, path: /broken, upstream: service }
          shop: { version: v1, graphql: ./shop.graphql, path: /shop, upstream: service }
          events: { version: v1, asyncapi: ./events.yaml, path: /events, broker: main }
          orders:
            version: v1
            openapi: ./orders.yaml
            path: /orders
            upstream: service
            operations:
              listOrder: { rate_limit: { per: address, limit: 1 } }
              listOrders: { graphql: { upstream: service, document: 'query { orders { id }', result: /orders } }
        ",
    );
    folder.write("broken.yaml", "openapi: 3.1.0\ninfo: { title: O, version: '1' }\npaths:\n  /all:\n    get:\n      parameters: [ { $ref: '#/components/parameters/Limit' } ]\n      responses: {}\n");
    folder.write("shop.graphql", "type Query {\n  a: Number\n  b: String\n  b: Int\n}\n");
    folder.write(
        "events.yaml",
        "asyncapi: 3.0.0\ninfo: { title: E, version: '1' }\nchannels:\n  made: { address: 'made.{shop}' }\n",
    );
    folder.write("orders.yaml", OPENAPI);
    let expected = "\
broken.yaml:6:29: paths./all.get.parameters.0.$ref: `#/components/parameters/Limit` is not in this document
shop.graphql:4:3: duplicate definitions for the `b` field of object type `Query`
events.yaml:4:20: channels.made.address: parameters in an address are not served; write one channel for each address
gateway.yaml:14:7: apis.orders.operations.listOrder: the document has no operation `listOrder`; it has `listOrders`
gateway.yaml:15:61: apis.orders.operations.listOrders.graphql.document: the document: syntax error: expected a field or `}`, found the end of the document (line 1, column 22 of it)
";
    assert_eq!(folder.portolan(&["check"]), said(1, "", expected));
}

#[test]
fn routes_that_take_the_same_requests_are_told_with_both_names() {
    let folder = Folder::with(&SOUND.replace("path: /files/**", "path: /orders/all, methods: [ GET ]"));
    folder.write("orders.yaml", OPENAPI);
    let expected = "gateway.yaml:4:11: routes.all: `/orders/all` takes the same requests as `orders`; give one of them another path, host or method\n";
    assert_eq!(folder.portolan(&["check"]), said(1, "", expected));
}

#[test]
fn what_is_allowed_but_probably_not_meant_is_a_warning() {
    let folder =
        Folder::with(&SOUND.replace("upstreams: {", "upstreams: { spare: { endpoints: [ http://127.0.0.1:9 ] },"));
    folder.write("orders.yaml", OPENAPI);
    let expected = "gateway.yaml:2:14: upstreams.spare: warning: nothing uses it\n";
    assert_eq!(folder.portolan(&["check"]), said(0, "gateway.yaml: no problem; 1 APIs, 1 routes\n", expected));
}

#[test]
fn variables_of_the_environment_are_read() {
    let folder = Folder::with(&SOUND.replace("http://127.0.0.1:9", "${env:PORTOLAN_TEST_NOBODY_SETS_THIS}"));
    folder.write("orders.yaml", OPENAPI);
    let told = folder.portolan(&["check"]);
    let expected = "gateway.yaml:2:38: upstreams.service.endpoints[0]: the environment has no variable `PORTOLAN_TEST_NOBODY_SETS_THIS`; set it, or give a default: `${env:PORTOLAN_TEST_NOBODY_SETS_THIS:-…}`\n";
    assert_eq!(told, said(1, "", expected));
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let told = portolan(&["check", "/no/such/gateway.yaml"]);
    assert_eq!(told, said(1, "", "/no/such/gateway.yaml: there is no file `/no/such/gateway.yaml`\n"));
}
