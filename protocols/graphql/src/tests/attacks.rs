//! Documents made to hurt: each is refused, in a number of steps linear in its length.

use super::{judge, refusal, shop};
use crate::analysis::analyze;
use crate::{Limits, parser};

/// Each of `n` fragments spreads the next one twice: 2^n spreads.
fn spreads(n: usize) -> String {
    let mut text = String::from("query { products(first: 1) { ...f0 } }");
    for at in 0..n {
        let next = at + 1;
        text += &format!(" fragment f{at} on Product {{ ...f{next} ...f{next} }}");
    }
    text + &format!(" fragment f{n} on Product {{ id }}")
}

/// Lets only the analysis speak: limits that nothing passes.
fn steps(text: &str) -> u64 {
    let all = u64::MAX;
    let limits = Limits {
        cost: all,
        depth: all,
        aliases: all,
        root_fields: all,
        directives: all,
        tokens: all,
        selections: all,
        values: all,
        nesting: all,
        list_length: all,
        batch: all,
    };
    let document = parser::parse(text, &limits).unwrap();
    analyze(text, &document, &shop(), &limits).unwrap().steps()
}

#[test]
fn two_to_the_thirtieth_spreads_are_refused_with_their_number() {
    // The field, 2^30 leaves, and every spread on the way: 1 + 2 + 4 + … + 2^30.
    assert_eq!(refusal(&spreads(30)), [format!("number of selections {} exceeds the limit of 5000", 3_u64 << 30)]);
}

#[test]
fn sums_saturate_where_spreads_pass_every_number() {
    let mut text = String::from("query { products { ...f0 } }");
    for at in 0..20 {
        text += &format!(" fragment f{at} on Product {{ {} }}", format!("...f{} ", at + 1).repeat(100));
    }
    text += " fragment f20 on Product { id }";
    assert_eq!(refusal(&text), [format!("number of selections {} exceeds the limit of 5000", u64::MAX)]);
}

#[test]
fn ten_thousand_aliases_are_refused() {
    let text = format!(
        "{{ {} }}",
        (0..10_000).map(|n| format!("a{n}: products(first: 1) {{ id }}")).collect::<Vec<_>>().join(" ")
    );
    assert_eq!(refusal(&text), ["number of tokens 15001 exceeds the limit of 15000"]);
    let fewer = format!(
        "{{ {} }}",
        (0..1_000).map(|n| format!("a{n}: products(first: 1) {{ id }}")).collect::<Vec<_>>().join(" ")
    );
    assert_eq!(
        refusal(&fewer),
        ["number of aliases 1000 exceeds the limit of 30", "number of root fields 1000 exceeds the limit of 20"]
    );
}

#[test]
fn aliases_and_directives_behind_spreads_are_counted_at_each_spread() {
    let text = "{ products { ...A ...A ...A ...A } } fragment A on Product { a: id b: id ...B ...B } \
                fragment B on Product { c: id d: id e: id }";
    assert_eq!(refusal(text), ["number of aliases 32 exceeds the limit of 30"]);
    let text = format!(
        "{{ products {{ {} }} }} fragment A on Product {{ id @skip(if: false) @include(if: true) }}",
        "...A @skip(if: false) ".repeat(17)
    );
    assert_eq!(refusal(&text), ["number of directives 51 exceeds the limit of 50"]);
}

#[test]
fn a_small_document_that_expands_to_more_than_five_thousand_selections_is_refused() {
    let text = format!("{{ products {{ {} }} }} fragment A on Product {{ {} }}", "...A ".repeat(70), "id ".repeat(71));
    assert_eq!(refusal(&text), [format!("number of selections {} exceeds the limit of 5000", 1 + 70 + 70 * 71)]);
}

#[test]
fn many_operations_over_one_large_fragment_are_counted_together() {
    let operations: String = (0..20).map(|n| format!("query Q{n} {{ products {{ ...A }} }} ")).collect();
    let text = format!("{operations} fragment A on Product {{ {} }}", "id ".repeat(300));
    assert_eq!(refusal(&text), [format!("number of selections {} exceeds the limit of 5000", 20 * 302)]);
}

#[test]
fn fragments_that_nobody_spreads_are_counted_too() {
    let text = spreads(30).replace("...f0 ", "id ");
    assert!(refusal(&text)[0].starts_with("number of selections "), "{:?}", refusal(&text));
}

#[test]
fn fragments_in_a_circle_are_refused_at_their_place() {
    let cases = [
        ("{ products { ...A } } fragment A on Product { ...A }", "fragment `A` spreads itself"),
        (
            "{ products { id } } fragment A on Product { ...B } fragment B on Product { orders { product { ...A } } }",
            "fragment `A` spreads itself",
        ),
        ("{ orders { id } } fragment B on Product { ...B }", "fragment `B` spreads itself"),
    ];
    for (text, message) in cases {
        let errors = judge(text).unwrap_err();
        assert_eq!(errors.len(), 1, "{text}");
        assert_eq!(errors[0].message, message);
        let place = text.rfind("...").unwrap() as u32;
        assert_eq!(errors[0].locations, [crate::Location { line: 1, column: place + 1 }], "{text}");
    }
    let ring: String = (0..1_000).map(|n| format!("fragment f{n} on Product {{ ...f{} }} ", (n + 1) % 1_000)).collect();
    assert_eq!(refusal(&format!("{{ products {{ ...f0 }} }} {ring}")), ["fragment `f0` spreads itself"]);
}

#[test]
fn a_chain_of_fragments_is_as_deep_as_its_spreads() {
    let chain: String = (0..1_000).map(|n| format!("fragment f{n} on Product {{ ...f{} }} ", n + 1)).collect();
    let text = format!("{{ products {{ ...f0 }} }} {chain} fragment f1000 on Product {{ id }}");
    assert_eq!(refusal(&text), ["nesting 1003 exceeds the limit of 64"]);
}

#[test]
fn large_values_behind_spreads_are_counted_at_each_spread() {
    let object = format!("{{ {} }}", "a: 1 ".repeat(1_000));
    let text = format!(
        "{{ products {{ {} }} }} fragment A on Product {{ orders(first: {object}) {{ id }} }}",
        "...A ".repeat(20)
    );
    assert_eq!(refusal(&text), ["number of argument values 20020 exceeds the limit of 15000"]);
}

#[test]
fn overlapping_fields_are_validated_within_the_bounds() {
    let text = format!("{{ products {{ {} }} }}", "orders { id product { id } } ".repeat(1_000));
    assert!(judge(&text).is_ok());
    let text = format!("{{ products {{ {} }} }}", "orders(first: 1) { id } orders(first: 2) { id } ".repeat(500));
    assert!(judge(&text).is_err());
}

#[test]
fn steps_grow_with_the_length_of_the_document_and_no_faster() {
    type Family = fn(usize) -> String;
    let families: [(&str, Family); 7] = [
        ("spreads", |n| spreads(n / 2)),
        ("fields", |n| format!("{{ products {{ {} }} }}", "id ".repeat(n))),
        ("nesting", |n| format!("{{ products {{ {} id {} }} }}", "orders { product {".repeat(n), "} }".repeat(n))),
        ("arguments", |n| format!("{{ products({}) {{ id }} }}", "x: 1 ".repeat(n))),
        ("directives", |n| format!("{{ products {} {{ id }} }}", "@skip(if: $n)".repeat(n))),
        ("operations", |n| {
            (0..n).map(|at| format!("query Q{at}($n: Int = 3) {{ products(first: $n) {{ id }} }} ")).collect()
        }),
        ("chain", |n| {
            let links = (0..n).map(|at| format!("fragment f{at} on Product {{ ...f{} }} ", at + 1)).collect::<String>();
            format!("{{ products {{ ...f0 }} }} {links} fragment f{n} on Product {{ id }}")
        }),
    ];
    for (name, family) in families {
        for n in [10, 100, 1_000, 10_000] {
            let text = family(n);
            let (steps, bytes) = (steps(&text), text.len() as u64);
            assert!(steps <= 2 * bytes, "{name} {n}: {steps} steps for {bytes} bytes");
        }
    }
}
