//! What holds for all documents.

use apollo_compiler::parser::Parser;
use proptest::prelude::*;

use super::{judge, map};
use crate::error::Stop;
use crate::{Limits, parser};

/// Selections from a product, spelled with placeholders for arguments, so that equal fields agree on them.
fn of_product(levels: u32) -> BoxedStrategy<String> {
    let leaf =
        prop::sample::select(vec!["id", "name", "tags(first: 3)", "__typename", "id @skip(if: $b)", "... { id }"]);
    let leaf = leaf.prop_map(str::to_owned);
    if levels == 0 {
        return set(leaf.boxed());
    }
    let orders = of_order(levels - 1).prop_map(|inner| format!("orders(SIZE) {{ {inner} }}"));
    let inline = of_product(levels - 1).prop_map(|inner| format!("... on Product @include(if: true) {{ {inner} }}"));
    set(prop_oneof![3 => leaf, 2 => orders, 1 => inline].boxed())
}

fn of_order(levels: u32) -> BoxedStrategy<String> {
    let leaf = prop::sample::select(vec!["id", "quantity", "customer { id }"]).prop_map(str::to_owned);
    if levels == 0 {
        return set(leaf.boxed());
    }
    let product = of_product(levels - 1).prop_map(|inner| format!("product {{ {inner} }}"));
    set(prop_oneof![2 => leaf, 2 => product].boxed())
}

fn set(one: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop::collection::vec(one, 1..4).prop_map(|many| many.join(" ")).boxed()
}

/// Documents that the shop takes: fragments, variables, conditions, pages, introspection.
fn sound() -> impl Strategy<Value = String> {
    let root = prop_oneof![
        of_product(4).prop_map(|inner| format!("products(first: 2) {{ {inner} }}")),
        of_product(2).prop_map(|inner| format!("product(id: 1) {{ ...F {inner} }}")),
        of_product(2)
            .prop_map(|inner| format!("catalogue(SIZE) {{ edges {{ node {{ {inner} }} }} total nodes {{ ...F }} }}")),
        of_product(1).prop_map(|inner| format!(
            "search(limit: $n) {{ ... on Product {{ {inner} }} ... on Customer {{ name }} }}"
        )),
        Just("__schema { types { name fields { type { name } } } }".to_owned()),
    ];
    let size = prop::sample::select(vec!["first: 2", "first: $n", "first: null", "first: -3"]);
    (set(root.boxed()), of_product(2), size).prop_map(|(roots, fragment, size)| {
        let text = format!(
            "query Q($n: Int = 3, $b: Boolean! = true) {{ z: products(first: $n) @skip(if: $b) {{ ...F }} {roots} }} \
             fragment F on Product {{ {fragment} }}"
        );
        text.replace("SIZE", size)
    })
}

/// Sound documents with a few characters taken out, or a token put in.
fn damaged() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "", "{", "}", "(", ")", "[", "]", ":", "$", "@", "...", "a", "on", "1", "\"s\"", "!", "=",
    ]);
    (sound(), any::<prop::sample::Index>(), 0..4_usize, token).prop_map(|(text, at, taken, put)| {
        let at = at.index(text.len()); // ASCII: every index is a character's
        let rest = text.get(at + taken..).unwrap_or_default();
        format!("{} {put} {rest}", &text[..at])
    })
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
    fn sound_documents_are_taken_in_steps_linear_in_their_bytes_and_priced_with_any_variables(
        text in sound(), n in prop::sample::select(vec!["1e300", "null", "[]", "-7", "\"9\"", "true"]),
    ) {
        let analyzed = match judge(&text) {
            Ok(analyzed) => analyzed,
            Err(errors) => {
                // They are small, but wide ones may expand to more than is allowed.
                prop_assert!(errors.iter().all(|error| error.excess.is_some()), "{text}: {errors:?}");
                return Ok(());
            }
        };
        prop_assert!(analyzed.steps() <= 2 * text.len() as u64);
        let operation = analyzed.operation(None).unwrap();
        let price = |n: &str| analyzed.price(operation, &map(&format!(r#"{{"n":{n},"b":false}}"#)));
        prop_assert!(price(n) > 0);
        prop_assert!(price("10") <= price("11"), "a larger page is never cheaper");
    }

    #[test]
    fn damaged_documents_never_panic(text in damaged()) {
        if let Ok(analyzed) = judge(&text) {
            prop_assert!(analyzed.steps() <= 2 * text.len() as u64);
        }
    }

    #[test]
    fn our_parser_and_the_library_take_the_same_documents(text in prop_oneof![sound(), damaged(), token_soup()]) {
        let ours = parser::parse(&text, &Limits::default());
        // The library lets an argument pass that has a name and no value, which the grammar does not (section 2.6).
        let lax = matches!(&ours, Err(Stop::Syntax { message, .. }) if message.starts_with("expected `:` and a value"));
        if !lax {
            prop_assert_eq!(ours.is_ok(), apollo_reads(&text), "{}: {:?}", text, ours.err());
        }
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
        vec!["id", "name", "tags", "orders { id }", "b: orders(first: 7) { customer { id } }", "a: orders(first: $n) { id }"], 1..6,
    )) {
        let inside = selections.join(" ");
        let uses = inside.contains("$n");
        let head = if uses { "query($n: Int)" } else { "query" };
        let plain = format!("{head} {{ products(first: 3) {{ {inside} }} }}");
        let spread = format!("{head} {{ products(first: 3) {{ ...F }} }} fragment F on Product {{ ...G }} fragment G on Product {{ {inside} }}");
        prop_assert_eq!(super::price(&plain, r#"{"n":9}"#), super::price(&spread, r#"{"n":9}"#));
    }
}
