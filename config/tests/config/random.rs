//! Whatever bytes come, loading ends with an answer.

use std::path::Path;

use portolan_config::{load_from, tree};
use proptest::prelude::*;
use serde_json::Value;

fn load(bytes: &[u8]) -> String {
    let env = |name: &str| Some(format!("{name}!"));
    let disk = |path: &Path| match path == Path::new("gateway.yaml") {
        true => Ok(bytes.to_vec()),
        false => Err(std::io::ErrorKind::NotFound.into()),
    };
    match load_from("gateway.yaml", &env, &disk) {
        Ok(_) => String::new(),
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "a refusal says why");
            diagnostics.render()
        }
    }
}

/// What stands in configurations, keys and values.
const WORDS: &str = "listeners limits memory_budget trusted_proxies proxy_protocol max_header 10.0.0.0/8 admin workers access_log identity upstreams brokers apis routes consumers plans public a \
    address token to api_key pepper header endpoints health breaker kafka bootstrap version openapi graphql asyncapi path \
    upstream broker authenticate rate_limit headers operations limit per counts weight name keys hash subscriptions api plan \
    set remove request document strip_prefix methods expires * /a/** /{id} http://a:1 127.0.0.1:80 5s 1MiB 5% v1 off GET \
    ${env:A} ${ $${ -1 1e9 2027-01-31T12:00:00Z é \u{fdd0}";

const SIGNS: [&str; 17] =
    [": ", "\n", "\n  ", "\n    ", "- ", "[", "]", "{", "}", ", ", "&x ", "*x", "\"", "'", "|\n", "!!str ", "#"];

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(WORDS.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

/// Texts put together from what stands in configurations, so that the readers behind the parser are reached.
fn likely() -> impl Strategy<Value = String> {
    let piece = prop_oneof![3 => word(), 4 => prop::sample::select(SIGNS.to_vec()).prop_map(str::to_owned)];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Configurations that parse, with any shape under any key.
fn shaped() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..20u64).prop_map(Value::from),
        word().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            4 => prop::collection::vec((word(), inner), 0..6).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        load(&bytes);
    }

    #[test]
    fn any_text_gets_an_answer_and_its_tree_is_json(text in likely()) {
        load(text.as_bytes());
        if let Ok(tree) = tree::parse("any", &text) {
            tree.to_json();
            tree.place("/listeners/public/0");
        }
    }

    #[test]
    fn any_shape_gets_an_answer_that_stays_in_the_file(value in shaped()) {
        let text = value.to_string();
        for line in load(text.as_bytes()).lines() {
            prop_assert!(line.starts_with("gateway.yaml:"), "{line}");
        }
    }

    #[test]
    fn json_read_as_yaml_is_the_same(value in shaped()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(tree::parse("any", &text).unwrap().to_json(), value);
    }
}
