//! What holds for all documents.

use apollo_compiler::parser::Parser;
use proptest::prelude::*;

use super::{judge, map, shop};
use crate::{Limits, documents, parser};

/// Documents from a small grammar over the shop's names: most are sound, many are not.
fn shop_documents() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "products",
        "newest",
        "product",
        "orders",
        "customers",
        "catalogue",
        "edges",
        "node",
        "nodes",
        "id",
        "name",
        "tags",
        "quantity",
        "customer",
        "search",
        "a: id",
        "__typename",
        "__schema",
        "types",
        "fields",
    ]);
    let arguments = prop::sample::select(vec![
        "",
        "",
        "",
        "(first: 2)",
        "(first: $n)",
        "(first: -3, last: 4)",
        "(id: 1)",
        "(limit: null)",
        "(tags: [\"a\" \"b\"])",
        "(x: { a: [1.5e3 ENUM $n] })",
        "(first: \"2\")",
        "(",
        "()",
    ]);
    let directive = prop::sample::select(vec!["", "", "", "", "@skip(if: true)", "@include(if: $b)", "@x", "@"]);
    let leaf = (field, arguments, directive)
        .prop_map(|(field, arguments, directive)| format!("{field}{arguments} {directive}"));
    let selection = leaf.prop_recursive(4, 40, 5, |inner| {
        let set = prop::collection::vec(inner.clone(), 1..5).prop_map(|set| format!("{{ {} }}", set.join(" ")));
        let around = prop::sample::select(vec![
            "products",
            "orders(first: 3)",
            "product(id: 1)",
            "customer",
            "...",
            "... on Product",
            "... on Order",
            "...F {} ",
        ]);
        prop_oneof![
            3 => (around, set).prop_map(|(around, set)| format!("{around} {set}")),
            1 => Just("...F".to_owned()),
            1 => inner,
        ]
    });
    let head = prop::sample::select(vec![
        "",
        "query Q",
        "query($n: Int = 3, $b: Boolean)",
        "mutation M",
        "subscription",
        "query(",
    ]);
    let tail = prop::sample::select(vec![
        "",
        " fragment F on Product { id orders(first: $n) { id } }",
        " fragment F on Q",
        " }",
    ]);
    (head, prop::collection::vec(selection, 1..4), tail)
        .prop_map(|(head, set, tail)| format!("{head} {{ {} }}{tail}", set.join(" ")))
}

/// Tokens in any order: for the two parsers to agree about.
fn token_soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ":",
        "=",
        "!",
        "$",
        "@",
        "|",
        "&",
        "...",
        "a",
        "b",
        "on",
        "query",
        "mutation",
        "fragment",
        "true",
        "null",
        "1",
        "-0",
        "2.5",
        "1e9",
        "\"s\"",
        "\"\"",
        "\"\"\"b\\\"\"\"\"\"\"",
        ",",
        "# c\n",
        "\n",
        "..",
        "01",
        "\"\\u00e9\"",
        "\"\\uD83D\\uDE00\"",
        "\"\\q\"",
        "é",
        "\"",
    ]);
    prop_oneof![
        prop::collection::vec(token.clone(), 0..12).prop_map(|tokens| tokens.join(" ")),
        prop::collection::vec(token, 0..8).prop_map(|tokens| format!("{{ a {} }}", tokens.join(" "))),
    ]
}

fn apollo_reads(text: &str) -> bool {
    Parser::new().parse_ast(text, "request.graphql").is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_text_makes_the_analysis_panic(text in ".{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = judge(&text);
        let _ = judge(&String::from_utf8_lossy(&bytes));
        let _ = crate::request::read(&bytes, &Limits::default());
    }

    #[test]
    fn documents_never_panic_and_take_steps_linear_in_their_bytes(text in shop_documents()) {
        if let Ok(analyzed) = judge(&text) {
            prop_assert!(analyzed.steps() <= 2 * text.len() as u64);
            let operation = analyzed.operation(None);
            prop_assert!(operation.is_ok());
            analyzed.price(operation.unwrap(), &map(r#"{"n":1e300,"b":null}"#));
        }
    }

    #[test]
    fn our_parser_and_the_library_take_the_same_documents(text in prop_oneof![shop_documents(), token_soup()]) {
        let ours = parser::parse(&text, &Limits::default());
        prop_assert_eq!(ours.is_ok(), apollo_reads(&text), "{}: {:?}", text, ours.err());
    }

    #[test]
    fn a_variable_costs_what_its_literal_costs(n in any::<i32>(), m in 0..1_000_i32, flag in any::<bool>()) {
        let with = |head: &str, n: &str, m: &str, flag: &str| format!(
            "query{head} {{ products(first: {n}) {{ ...F orders(first: {m}) @skip(if: {flag}) {{ id }} }} \
             catalogue(first: {m}) {{ nodes {{ tags(first: {n}) }} }} }} \
             fragment F on Product {{ id orders(first: {m}) {{ customer @include(if: {flag}) {{ id }} }} }}"
        );
        let literal = with("", &n.to_string(), &m.to_string(), &flag.to_string());
        let variable = with("($n: Int, $m: Int, $flag: Boolean!)", "$n", "$m", "$flag");
        let variables = format!(r#"{{"n":{n},"m":{m},"flag":{flag}}}"#);
        let defaults = with(&format!("($n: Int = {n}, $m: Int = {m}, $flag: Boolean! = {flag})"), "$n", "$m", "$flag");
        let expected = super::price(&literal, "{}");
        prop_assert_eq!(super::price(&variable, &variables), expected);
        prop_assert_eq!(super::price(&defaults, "{}"), expected);
    }

    #[test]
    fn a_fragment_costs_what_stands_in_it(selections in prop::sample::subsequence(
        vec!["id", "name", "tags", "orders { id }", "orders(first: 7) { customer { id } }", "a: orders(first: $n) { id }"], 1..6,
    )) {
        let inside = selections.join(" ");
        let uses = inside.contains("$n");
        let head = if uses { "query($n: Int)" } else { "query" };
        let plain = format!("{head} {{ products(first: 3) {{ {inside} }} }}");
        let spread = format!("{head} {{ products(first: 3) {{ ...F }} }} fragment F on Product {{ ...G }} fragment G on Product {{ {inside} }}");
        prop_assume!(documents::judge(&plain, &shop(), &Limits::default()).is_ok());
        prop_assert_eq!(super::price(&plain, r#"{"n":9}"#), super::price(&spread, r#"{"n":9}"#));
    }
}
