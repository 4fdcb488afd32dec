//! Worked examples: the tables of `docs/graphql.md` are these.

use super::{judge, price, refusal, shop};
use crate::{Documents, Limits, Location};

#[test]
fn prices_are_those_of_the_worked_examples() {
    let cases = [
        // A leaf costs 1, an object 5, a list 10.
        ("{ __typename }", "{}", 1),
        ("{ product(id: 1) { id } }", "{}", 5 + 1),
        ("{ products { id name } }", "{}", 10 + 2),
        ("{ product(id: 1) { tags } }", "{}", 5 + 10),
        // What is in a list counts as often as the list is long, if that is said.
        ("{ products(first: 20) { id name } }", "{}", 10 + 20 * 2),
        ("{ products(first: 20, last: 30) { id name } }", "{}", 10 + 30 * 2),
        ("{ products(first: 5) { orders(first: 5) { id } } }", "{}", 10 + 5 * (10 + 5)),
        ("{ products(first: 2) { orders { customer { id } } } }", "{}", 10 + 2 * (10 + 5 + 1)),
        ("{ products(first: 0) { id } }", "{}", 10),
        ("{ products(first: -1) { id } }", "{}", 10),
        ("{ products(first: null) { id } }", "{}", 10 + 1),
        ("{ product(id: 1) { tags(first: 30) } }", "{}", 5 + 10 + 30),
        // The schema's default counts when the argument is left out.
        ("{ newest { id } }", "{}", 10 + 20),
        ("{ newest(first: 3) { id } }", "{}", 10 + 3),
        // A variable counts with its value, then with its default, then with the schema's.
        ("query($n: Int) { products(first: $n) { id } }", r#"{"n":40}"#, 10 + 40),
        ("query($n: Int) { products(first: $n) { id } }", r#"{"n":40.0}"#, 10 + 40),
        ("query($n: Int) { products(first: $n) { id } }", r#"{"n":-4}"#, 10),
        ("query($n: Int) { products(first: $n) { id } }", r#"{"n":null}"#, 10 + 1),
        ("query($n: Int) { products(first: $n) { id } }", "{}", 10 + 1),
        ("query($n: Int = 7) { products(first: $n) { id } }", "{}", 10 + 7),
        ("query($n: Int = 7) { products(first: $n) { id } }", r#"{"n":8}"#, 10 + 8),
        ("query($n: Int = 7) { products(first: $n) { id } }", r#"{"n":null}"#, 10 + 1),
        ("query($n: Int) { newest(first: $n) { id } }", "{}", 10 + 20),
        ("query($n: Int) { newest(first: $n) { id } }", r#"{"n":2}"#, 10 + 2),
        ("query($n: Int) { products(first: $n, last: 9) { id } }", r#"{"n":2}"#, 10 + 9),
        // A page passes its size to the lists in it.
        ("{ catalogue(first: 20) { total nodes { id } } }", "{}", 5 + 1 + 10 + 20),
        ("{ catalogue(first: 20) { edges { cursor node { id } } } }", "{}", 5 + 10 + 20 * (1 + 5 + 1)),
        ("{ catalogue { edges { cursor node { id } } } }", "{}", 5 + 10 + (1 + 5 + 1)),
        ("query($n: Int) { catalogue(first: $n) { nodes { id } } }", r#"{"n":50}"#, 5 + 10 + 50),
        // All branches of a union or interface count.
        ("{ search(limit: 3) { ... on Product { id name } ... on Customer { name } } }", "{}", 10 + 3 * 3),
        ("{ node(id: 1) { id ... on Product { orders { id } } } }", "{}", 5 + 1 + 10 + 1),
        // Fragments cost what is in them, wherever they are spread.
        ("{ products(first: 4) { ...F } } fragment F on Product { id name }", "{}", 10 + 4 * 2),
        ("{ products(first: 4) { ...F } product(id: 1) { ...F } } fragment F on Product { id }", "{}", 10 + 4 + 5 + 1),
        ("query($n: Int) { ...F } fragment F on Query { products(first: $n) { id } }", r#"{"n":6}"#, 10 + 6),
        ("query($n: Int = 6) { ...F } fragment F on Query { products(first: $n) { id } }", "{}", 10 + 6),
        // What is known to be left out costs nothing; an item of a list costs 1 even then.
        ("{ product(id: 1) { id name @skip(if: true) } }", "{}", 5 + 1),
        ("{ product(id: 1) { id name @include(if: false) } }", "{}", 5 + 1),
        ("{ product(id: 1) { id name @skip(if: false) } }", "{}", 5 + 2),
        ("query($b: Boolean!) { product(id: 1) { id name @skip(if: $b) } }", r#"{"b":true}"#, 5 + 1),
        ("query($b: Boolean!) { product(id: 1) { id name @skip(if: $b) } }", r#"{"b":false}"#, 5 + 2),
        (
            "query($b: Boolean = true) { product(id: 1) { id ...F @skip(if: $b) } } fragment F on Product { name }",
            "{}",
            6,
        ),
        ("query($b: Boolean!) { product(id: 1) @include(if: $b) { id } orders { id } }", r#"{"b":false}"#, 10 + 1),
        ("{ products(first: 100) { id @skip(if: true) } }", "{}", 10 + 100),
        ("query($b: Boolean!) { products(first: 100) { id @skip(if: $b) } }", r#"{"b":true}"#, 10 + 100),
        // Mutations and subscriptions are priced alike; introspection costs nothing.
        ("mutation { createOrder(productId: 1, customerId: 1, quantity: 3) { id quantity } }", "{}", 5 + 2),
        ("subscription { orderCreated { id quantity } }", "{}", 5 + 2),
        (
            "{ __schema { types { name fields { name } } } __type(name: \"Order\") { name } orders { id } }",
            "{}",
            10 + 1,
        ),
        // Numbers that do not fit saturate.
        ("query($n: Int) { products(first: $n) { orders(first: $n) { id } } }", r#"{"n":1e300}"#, u64::MAX),
        (
            "{ products(first: 2147483647) { orders(first: 2147483647) { id } } }",
            "{}",
            10 + 2_147_483_647 * (10 + 2_147_483_647),
        ),
    ];
    for (text, variables, expected) in cases {
        assert_eq!(price(text, variables), expected, "{text} {variables}");
    }
}

#[test]
fn the_table_of_the_documentation_is_true() {
    let page = include_str!("../../../../docs/graphql.md");
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| `{") || line.starts_with("| `query")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
        let [text, variables, cost, depth] = cells.as_slice() else { panic!("{line}") };
        let analyzed = judge(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
        let operation = analyzed.operation(None).unwrap();
        let found = (analyzed.price(operation, &super::map(variables)), operation.depth);
        assert_eq!(found, (cost.parse().unwrap(), depth.parse().unwrap()), "{text} {variables}");
        rows += 1;
    }
    assert_eq!(rows, 20);
}

#[test]
fn ten_levels_with_a_mutual_path_pass_and_eleven_do_not() {
    // products, then orders and customer in turn, a leaf last.
    let nested = |levels: usize| {
        let fields = (0..levels - 2).map(|at| if at % 2 == 0 { "orders(first: 1)" } else { "customer" });
        let open: String = fields.map(|field| format!("{{ {field} ")).collect();
        format!("{{ products(first: 1) {open} {{ id }} {} }}", "}".repeat(levels - 2))
    };
    assert!(judge(&nested(10)).is_ok());
    assert_eq!(refusal(&nested(11)), ["query depth 11 exceeds the limit of 10"]);
}

#[test]
fn depth_counts_fields_and_their_leaf_and_no_fragments() {
    let cases = [
        ("{ __typename }", 1),
        ("{ products { id } }", 2),
        ("{ products { id orders { id } } node(id: 1) { id } }", 3),
        ("{ ... { ... on Query { products { ... on Product { id } } } } }", 2),
        ("{ products { ...A } } fragment A on Product { orders { ...B } } fragment B on Order { product { id } }", 4),
        ("{ __schema { types { fields { type { ofType { ofType { ofType { name } } } } } } } }", 1),
    ];
    for (text, depth) in cases {
        assert_eq!(judge(text).unwrap().operation(None).unwrap().depth, depth, "{text}");
    }
}

#[test]
fn the_depth_limit_counts_through_fragments_and_names_the_deepest_place() {
    let levels = |n: usize| format!("{{ products {{ {} id {} }} }}", "orders { product { ".repeat(n), "} }".repeat(n));
    assert!(judge(&levels(4)).is_ok()); // 2 + 8 = 10
    let one_more = levels(4).replace(" id ", " tags customer: orders { id } ");
    let errors = judge(&one_more).unwrap_err();
    assert_eq!(errors[0].message, "query depth 11 exceeds the limit of 10");
    let column = one_more.find(" id ").unwrap() as u32 + 2;
    assert_eq!(errors[0].locations, [Location { line: 1, column }]);
    let spread =
        format!("{} fragment F on Order {{ product {{ id }} }}", levels(4).replace(" id ", " orders { ...F } "));
    assert_eq!(refusal(&spread), ["query depth 12 exceeds the limit of 10"]);
}

#[test]
fn every_limit_names_itself_its_value_and_its_maximum() {
    let many = |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<Vec<_>>().join(" ");
    let aliases = format!("{{ products {{ {} }} }}", many(31, &|n| format!("a{n}: id")));
    assert_eq!(refusal(&aliases), ["number of aliases 31 exceeds the limit of 30"]);
    let roots = format!("{{ {} }}", many(21, &|_| "__typename".to_owned()));
    assert_eq!(refusal(&roots), ["number of root fields 21 exceeds the limit of 20"]);
    let spread_roots = "{ ...F ...F ...F } fragment F on Query { ".to_owned() + &"__typename ".repeat(7) + "}";
    assert_eq!(refusal(&spread_roots), ["number of root fields 21 exceeds the limit of 20"]);
    let directives = format!("{{ product(id: 1) {{ id {} }} }}", "@include(if: true)".repeat(51));
    assert_eq!(refusal(&directives), ["number of directives 51 exceeds the limit of 50"]);
    let tokens = format!("{{ products {{ {} }} }}", "id ".repeat(15_000));
    assert_eq!(refusal(&tokens), ["number of tokens 15001 exceeds the limit of 15000"]);
    let selections = format!("{{ products {{ {} }} }}", "id ".repeat(5_000));
    assert_eq!(refusal(&selections), ["number of selections 5001 exceeds the limit of 5000"]);
    let list = format!("{{ products(tags: [{}]) {{ id }} }}", "\"a\"".repeat(251));
    assert_eq!(refusal(&list), ["list length 251 exceeds the limit of 250"]);
    let nesting = format!("{{ {} id {} }}", "... {".repeat(64), "}".repeat(64));
    assert_eq!(refusal(&nesting), ["nesting 65 exceeds the limit of 64"]);
    let introspection = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }";
    assert_eq!(refusal(introspection), ["introspection depth 3 exceeds the limit of 2"]);
}

#[test]
fn several_limits_are_told_at_once() {
    let text = format!("{{ {} }}", (0..31).map(|n| format!("a{n}: __typename ")).collect::<String>());
    let expected = ["number of aliases 31 exceeds the limit of 30", "number of root fields 31 exceeds the limit of 20"];
    assert_eq!(refusal(&text), expected);
}

#[test]
fn mistakes_against_the_schema_are_told_with_their_places_and_without_guesses() {
    let errors = judge("{\n  product(id: 1) { nam }\n  nothing\n}").unwrap_err();
    let told: Vec<_> = errors.iter().map(|error| (error.message.as_str(), error.locations[0])).collect();
    assert_eq!(
        told,
        [
            ("Cannot query field \"nam\" on type \"Product\".", Location { line: 2, column: 20 }),
            ("Cannot query field \"nothing\" on type \"Query\".", Location { line: 3, column: 3 }),
        ]
    );
    let errors = judge("query($n: Int!) { products(first: $m) { id } }").unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    let many = format!("{{ {} }}", "nothing ".repeat(15));
    assert_eq!(refusal(&many).last().unwrap(), "and 5 more mistakes");
}

#[test]
fn a_syntax_error_has_a_line_and_a_column() {
    let errors = judge("{ products { id ").unwrap_err();
    assert_eq!(errors[0].message, "syntax error: expected a field or `}`, found the end of the document");
    assert_eq!(errors[0].locations, [Location { line: 1, column: 17 }]);
    assert_eq!(errors[0].kind.code(), "graphql_syntax");
}

#[test]
fn the_operation_is_the_only_one_or_the_one_named() {
    let two = judge("query A { orders { id } } query B { product(id: 1) { id } }").unwrap();
    assert_eq!(two.price(two.operation(Some("A")).unwrap(), &super::map("{}")), 11);
    assert_eq!(two.price(two.operation(Some("B")).unwrap(), &super::map("{}")), 6);
    let message = |name| two.operation(name).unwrap_err().message;
    assert_eq!(message(Some("C")), "the document has no operation `C`");
    assert_eq!(message(None), "the document has 2 operations; say which in `operationName`");
    let one = judge("query A { orders { id } }").unwrap();
    assert!(one.operation(None).is_ok() && one.operation(Some("")).is_err());
    let none = judge("fragment F on Query { orders { id } }");
    assert!(none.is_err(), "an unused fragment is a mistake");
}

#[test]
fn variables_of_one_operation_do_not_price_another() {
    let text =
        "query A($n: Int = 3) { products(first: $n) { id } } query B($n: Int = 50) { products(first: $n) { id } }";
    let two = judge(text).unwrap();
    let price = |name, variables| two.price(two.operation(Some(name)).unwrap(), &super::map(variables));
    assert_eq!([price("A", "{}"), price("B", "{}"), price("A", r#"{"n":1}"#)], [13, 60, 11]);
}

#[test]
fn a_document_is_analysed_once_and_kept_with_its_refusal() {
    let documents = Documents::new(shop(), Limits::default(), 1 << 20);
    for text in ["{ orders { id } }", "{ orders { nothing } }"] {
        let first = documents.verdict(text);
        assert!(std::sync::Arc::ptr_eq(&first, &documents.verdict(text)), "{text}");
    }
    assert!(!std::sync::Arc::ptr_eq(&documents.verdict("{ orders { id } }"), &documents.verdict("{ orders { id  } }")));
    assert_eq!(documents.held().0, 3);
}

#[test]
fn the_cache_keeps_within_its_bytes() {
    let documents = Documents::new(shop(), Limits::default(), 64 << 10);
    for n in 0..2_000 {
        documents.verdict(&format!("query Q{n} {{ orders(first: {n}) {{ id }} }}")).as_ref().as_ref().unwrap();
    }
    let (entries, bytes) = documents.held();
    assert!(entries > 10 && bytes <= 64 << 10, "{entries} entries, {bytes} bytes");
}
