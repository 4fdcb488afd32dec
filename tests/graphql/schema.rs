//! The SDL of an API: read when the configuration is, judged with it, exchanged with it.

use std::fs;

use serde_json::json;

use super::{SDL, ask, errors, quiet, shop};
use crate::kit::TestGateway;

#[test]
fn every_mistake_in_a_schema_is_told_at_its_place_and_nothing_is_started() {
    let setup = TestGateway::with_config(
        r#"
        upstreams: { shop: { endpoints: [ "http://127.0.0.1:1" ] } }
        apis: { shop: { version: v1, graphql: ./shop.graphql, path: /shop/graphql, upstream: shop } }
        "#,
    );
    let setup = setup.file("shop.graphql", "type Query {\n  a: Missing\n  b(first: Nothing): Int\n}\n");
    let told = setup.try_start().err().expect("the schema is not sound").to_string();
    let places: Vec<_> =
        told.lines().filter_map(|line| line.split_once("shop.graphql:")).map(|(_, rest)| rest).collect();
    assert_eq!(
        places,
        ["2:6: cannot find type `Missing` in this document", "3:12: cannot find type `Nothing` in this document"]
    );
}

#[test]
fn a_changed_schema_takes_effect_with_a_reload_and_an_unsound_one_leaves_the_last_good_one_in_force() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let write = |sdl: &str| fs::write(gateway.folder().join("shop.graphql"), sdl).unwrap();
    // Seen before the change, so that its verdict is kept: it belongs to the old schema.
    ask(&gateway, "{ orders { quantity } }").assert_status(200);
    write(&SDL.replace("quantity: Int! product", "amount: Int! product"));
    gateway.reload(&gateway.configuration()).unwrap();
    let told = errors(&ask(&gateway, "{ orders { quantity } }"), 200);
    assert_eq!(told[0]["message"], "Cannot query field \"quantity\" on type \"Order\".");
    ask(&gateway, "{ orders { amount } }").assert_status(200);
    assert_eq!(upstream.count(), 2);

    write("type Query { a: Missing }");
    let problems = gateway.reload(&gateway.configuration()).unwrap_err();
    assert!(problems.contains("shop.graphql:1:17: cannot find type `Missing`"), "{problems}");
    assert_eq!(ask(&gateway, "{ orders { amount } }").json(), json!({ "data": null }));
}
