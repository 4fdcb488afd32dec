//! The JSON Schema and the reader say the same.

use std::path::Path;

use portolan_config::{Snapshot, load_from, schema, tree};
use serde_json::{Map, Value, json};

/// A configuration with every mapping of the schema in it, and no key that has a default.
const LEAST: &str = r#"
listeners: { public: { address: "0.0.0.0:8080", cors: { origins: "https://a.example" } } }
limits: {}
admin: {}
access_log: {}
identity: { partners: { api_key: { pepper: hush } } }
upstreams: { orders: { endpoints: [ "http://orders:9000" ], health: { path: /healthz }, breaker: {}, timeouts: {}, pool: {} } }
brokers: { main: { kafka: { bootstrap: [ "kafka:9092" ], ring: {} } } }
apis:
  orders:
    version: v1
    openapi: contract
    path: /orders
    upstream: orders
    authenticate: [ partners ]
    operations: { get: { headers: { request: {}, response: {} }, graphql: { upstream: orders, document: "{ a }" } } }
  shop: { version: v1, graphql: contract, path: /shop, upstream: orders, limits: {} }
  events: { version: v1, asyncapi: contract, path: /events, broker: main, sessions: {} }
routes: { all: { path: /all, upstream: orders, headers: {}, sanitise: {} } }
consumers: { acme: { keys: [ { hash: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" } ], subscriptions: [ { api: orders, plan: gold } ] } }
plans: { gold: { rate_limit: { limit: 1 } } }
"#;

fn load(text: &str) -> Result<Snapshot, String> {
    let text = text.to_owned();
    let disk = move |path: &Path| Ok(if path == Path::new("gateway.yaml") { text.clone() } else { "c".into() }.into());
    load_from("gateway.yaml", &|_| None, &disk).map_err(|diagnostics| diagnostics.render())
}

fn resolve<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    match schema["$ref"].as_str() {
        Some(pointer) => root.pointer(pointer.trim_start_matches('#')).expect("a reference leads somewhere"),
        None => schema,
    }
}

/// Writes out the default of every key that `value` does not have, wherever the schema knows a mapping.
fn write_defaults(value: &mut Value, schema: &Value, root: &Value, written: &mut usize) {
    let schema = resolve(schema, root);
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        let fits = resolve(alternative, root)["type"].as_str();
        if fits == Some(if value.is_object() { "object" } else { "array" }) {
            write_defaults(value, alternative, root, written);
        }
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| write_defaults(item, &schema["items"], root, written)),
        Value::Object(entries) => {
            for (key, property) in schema["properties"].as_object().unwrap_or(&Map::new()) {
                if let (None, Some(default)) = (entries.get(key), property.get("default")) {
                    entries.insert(key.clone(), default.clone());
                    *written += 1;
                }
            }
            for (key, entry) in entries {
                let property = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
                write_defaults(entry, property, root, written);
            }
        }
        _ => {}
    }
}

#[test]
fn the_schema_is_one_and_closes_every_mapping() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        let described = definition["description"].as_str().is_some_and(|text| !text.is_empty());
        assert!(described, "{name} has no description");
        for (key, property) in definition["properties"].as_object().unwrap_or(&Map::new()) {
            assert!(!property["description"].as_str().unwrap().is_empty(), "{name}.{key} has no description");
        }
        if definition["type"] == "object" {
            assert_eq!(definition["additionalProperties"], false, "{name} is open");
        }
    }
}

#[test]
fn a_default_of_the_schema_written_out_changes_nothing() {
    let schema = schema();
    let mut full = tree::parse("least", LEAST).unwrap().to_json();
    let mut written = 0;
    write_defaults(&mut full, &schema, &schema, &mut written);
    assert!(written > 60, "{written} defaults written");
    let told =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&full).map(|e| e.to_string()).collect::<Vec<_>>();
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(load(&full.to_string()).unwrap(), load(LEAST).unwrap());
}

#[test]
fn an_unknown_key_is_refused_by_both_wherever_it_stands() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let root = schema();
    let whole = tree::parse("least", LEAST).unwrap().to_json();
    let mut mappings = Vec::new();
    closed_mappings(&whole, &root, &root, String::new(), &mut mappings);
    assert!(mappings.len() > 20, "{mappings:?}");
    for pointer in mappings {
        let mut changed = whole.clone();
        changed.pointer_mut(&pointer).unwrap()["zzz"] = json!(1);
        assert!(!validator.is_valid(&changed), "the schema takes an unknown key at `{pointer}`");
        let told = load(&changed.to_string()).expect_err("an unknown key is an error");
        assert!(told.contains("zzz: unknown key") && told.lines().count() == 1, "{pointer}: {told}");
    }
}

/// Pointers to every mapping within `value` that takes known keys alone.
fn closed_mappings(value: &Value, schema: &Value, root: &Value, at: String, found: &mut Vec<String>) {
    let schema = resolve(schema, root);
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        closed_mappings(value, alternative, root, at.clone(), found);
    }
    match (value, schema["type"].as_str()) {
        (Value::Array(items), Some("array")) => {
            for (index, item) in items.iter().enumerate() {
                closed_mappings(item, &schema["items"], root, format!("{at}/{index}"), found);
            }
        }
        (Value::Object(entries), Some("object")) => {
            if schema["additionalProperties"] == false {
                found.push(at.clone());
            }
            for (key, entry) in entries {
                let property = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
                closed_mappings(entry, property, root, format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}
