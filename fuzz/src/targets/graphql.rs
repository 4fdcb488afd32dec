//! GraphQL: bodies, documents with their prices, variables, and the schemas that operators write.

use std::collections::HashMap;
use std::sync::OnceLock;

use apollo_compiler::ast::{Definition, Selection};
use apollo_compiler::parser::Parser;
use portolan_exchange::FaultKind;
use portolan_exchange::value::json::{DecodeLimits, decode, encode};
use portolan_exchange::value::{Map, Type, Value};
use portolan_graphql::request::{self, Call, Requests, Unreadable};
use portolan_graphql::{Analyzed, Error, Limit, Limits, Schema, documents};

use crate::signature::Signature;
use crate::target::{Memory, Target};

use super::linear;

/// What a document may ask for, as the analysis sees it.
const SHOP: &str = include_str!("../../schemas/shop.graphql");

fn shop() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| Schema::parse(SHOP).expect("the schema of the fuzzer is sound"))
}

/// The words of the language, for all targets of it.
const WORDS: &[&str] = &[
    "query",
    "mutation",
    "subscription",
    "fragment",
    "on",
    "...",
    "...F",
    "@skip(if: true)",
    "@include(if: $b)",
    "($n: Int = 3)",
    "(first: $n)",
    "(first: 2147483647)",
    "\"\"\"",
    "\\u{1F600}",
    "__typename",
    "__schema",
    "__type",
    "#",
    "null",
    "[Int!]!",
];

/// apollo-compiler builds its own tree of a document, some hundred bytes for each token, and validates it.
const DOCUMENT_MEMORY: Memory = Memory { total_per_byte: 20_000, peak_per_byte: 4_000, free: 4 << 20 };

pub(super) const DOCUMENT: Target = Target {
    name: "graphql-document",
    about: "documents: steps linear in bytes, the syntax of apollo-compiler, a depth as counted by hand, bounded answers",
    run: |input| document(&String::from_utf8_lossy(input)),
    words: WORDS,
    seeds: &[],
    longest: 64 * 1024,
    memory: DOCUMENT_MEMORY,
};

fn document(text: &str) -> Signature {
    let limits = Limits::default();
    let library = Parser::new().parse_ast(text, "request.graphql");
    match documents::judge(text, shop(), &limits) {
        Ok(analyzed) => {
            let steps = analyzed.steps();
            assert!(steps <= 2 * text.len() as u64, "{steps} steps for {} bytes", text.len());
            let parsed = library.expect("an accepted document is one to the library, too");
            check_operations(&analyzed, &parsed.definitions, text, &limits)
        }
        Err(errors) => {
            check_errors(&errors, text);
            let executable = library.is_ok_and(|parsed| parsed.definitions.iter().all(is_executable));
            match errors[0].kind {
                FaultKind::QuerySyntax if is_lenient(&errors[0]) => {}
                FaultKind::QuerySyntax => assert!(!executable, "the library reads it: {errors:?}"),
                // These two end the reading, so that nothing is known of the rest.
                _ if errors.iter().any(ends_reading) => {}
                _ if errors.iter().any(is_strict) => {}
                _ => assert!(executable, "the library does not read it: {errors:?}"),
            }
            errors.iter().take(4).fold(Signature::of("refused"), |signature, error| signature.told(&error.message))
        }
    }
}

/// Where apollo-compiler takes what the specification does not: a name without a value as an argument (2.6), a line break
/// within the quotes of a string (2.9.4).
fn is_lenient(error: &Error) -> bool {
    ["expected `:` and a value", "a string must not contain a line break"]
        .iter()
        .any(|told| error.message.contains(told))
}

/// Where apollo-compiler refuses what the specification takes: a comma, which means nothing (2.1.7), behind `...`.
fn is_strict(error: &Error) -> bool {
    error.message.contains("expected an Inline Fragment or a Fragment Spread")
}

fn is_executable(definition: &Definition) -> bool {
    matches!(definition, Definition::OperationDefinition(_) | Definition::FragmentDefinition(_))
}

fn ends_reading(error: &Error) -> bool {
    error.excess.is_some_and(|excess| matches!(excess.limit, Limit::Tokens | Limit::Nesting))
}

fn check_operations(analyzed: &Analyzed, definitions: &[Definition], text: &str, limits: &Limits) -> Signature {
    let mut fragments = HashMap::new();
    for definition in definitions {
        if let Definition::FragmentDefinition(fragment) = definition {
            fragments.insert(fragment.name.as_str(), fragment.selection_set.as_slice());
        }
    }
    let mut signature =
        Signature::of("accepted").size("steps", usize::try_from(analyzed.steps()).unwrap_or(usize::MAX));
    for definition in definitions {
        let Definition::OperationDefinition(asked) = definition else { continue };
        let operation = analyzed.operation(asked.name.as_deref()).expect("an operation of the document is found");
        assert!(operation.depth <= limits.depth);
        assert!(operation.location(text).line >= 1);
        let counted = depth(&asked.selection_set, &fragments);
        if let Some(counted) = counted {
            assert_eq!(operation.depth, counted, "the depth counted by hand is another");
        }
        for variables in variable_sets() {
            let price = analyzed.price(operation, variables);
            assert_eq!(analyzed.price(operation, variables), price);
            signature = signature.size("price", usize::try_from(price).unwrap_or(usize::MAX));
        }
        signature = signature.size("depth", 1 << operation.depth.min(60));
    }
    signature
}

/// Levels of fields, counted plainly; `None` below the introspection, which has a rule of its own.
fn depth(selections: &[Selection], fragments: &HashMap<&str, &[Selection]>) -> Option<u64> {
    let mut deepest = 0;
    for selection in selections {
        let below = match selection {
            Selection::Field(field) if field.name.starts_with("__") && field.name != "__typename" => return None,
            Selection::Field(field) => 1 + depth(&field.selection_set, fragments)?,
            Selection::InlineFragment(inline) => depth(&inline.selection_set, fragments)?,
            Selection::FragmentSpread(spread) => depth(fragments[spread.fragment_name.as_str()], fragments)?,
        };
        deepest = deepest.max(below);
    }
    Some(deepest)
}

fn variable_sets() -> &'static [Map] {
    static SETS: OnceLock<Vec<Map>> = OnceLock::new();
    SETS.get_or_init(|| {
        let texts = ["{}", r#"{"n":3,"b":true}"#, r#"{"n":1e300,"b":null}"#, r#"{"n":"7","b":"yes"}"#];
        texts.iter().map(|text| map(text.as_bytes()).expect("the fuzzer's own variables are JSON")).collect()
    })
}

fn map(text: &[u8]) -> Option<Map> {
    match decode(text, &Type::Any, DecodeLimits::default()) {
        Ok(Value::Map(map)) => Some(map),
        _ => None,
    }
}

fn check_errors(errors: &[Error], text: &str) {
    assert!((1..=20).contains(&errors.len()), "{} errors", errors.len());
    // By the specification (section "Line Terminators") the first two end a line; apollo-compiler, which places mistakes against the schema, counts all.
    let lines = text.split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for error in errors {
        // Messages repeat names, of which the library cuts none: they are cut at 500 characters.
        assert!(error.message.len() <= 2_100, "a message of {} bytes", error.message.len());
        assert!(!error.message.is_empty());
        for place in &error.locations {
            let within = (1..=lines).contains(&(place.line as usize)) && place.column >= 1;
            assert!(within, "{place:?} is not in a text of {lines} lines");
        }
        let json = error.to_json(&serde_json::Map::new());
        assert_eq!(json["extensions"]["code"], error.kind.code());
    }
}

pub(super) const REQUEST: Target = Target {
    name: "graphql-request",
    about: "bodies: what is read says the same as serde_json, then its document is judged and priced",
    run: body,
    words: &["query", "operationName", "variables", "extensions", "{ a }", "\\u006e", "[[", "{\"query\":"],
    seeds: &[],
    longest: 64 * 1024,
    memory: DOCUMENT_MEMORY,
};

fn body(input: &[u8]) -> Signature {
    let limits = Limits::default();
    let library = serde_json::from_slice::<serde_json::Value>(input);
    match request::read(input, &limits) {
        Ok(Requests::One(call)) => {
            check_call(&call, library.ok().as_ref());
            priced(&call, &limits)
        }
        Ok(Requests::Batch(elements)) => {
            assert!((1..=limits.batch as usize).contains(&elements.len()));
            let mut signature = Signature::of("batch").size("elements", elements.len());
            for element in elements {
                signature = match Call::of(element, &limits) {
                    Ok(call) => signature.size("query", call.query.len()),
                    Err(error) => signature.told(&error.message),
                };
            }
            signature
        }
        Err(Unreadable::Malformed(fault)) => {
            let ours_alone = ["stands twice in the same map", "more than", "whose exponent is beyond"]
                .iter()
                .any(|why| fault.detail().contains(why));
            assert!(ours_alone || library.is_err(), "serde_json takes what is malformed: {fault:?}");
            // The pointer before the sentence is made of the input's names.
            Signature::of("malformed").told(fault.detail().rsplit(": ").next().unwrap_or_default())
        }
        Err(Unreadable::Refused(error)) => {
            check_errors(std::slice::from_ref(&error), "");
            Signature::of("refused").told(&error.message)
        }
    }
}

fn check_call(call: &Call, library: Option<&serde_json::Value>) {
    // Numbers that serde_json cannot hold leave nothing to compare with.
    let Some(library) = library else { return };
    assert_eq!(library["query"], call.query);
    assert_eq!(library["operationName"].as_str(), call.operation_name.as_deref());
    let names: Vec<&str> = call.variables.iter().map(|(name, _)| name).collect();
    let theirs: Vec<&str> =
        library["variables"].as_object().map_or(Vec::new(), |map| map.keys().map(String::as_str).collect());
    assert_eq!(names, theirs);
}

fn priced(call: &Call, limits: &Limits) -> Signature {
    match documents::judge(&call.query, shop(), limits) {
        Ok(analyzed) => match analyzed.operation(call.operation_name.as_deref()) {
            Ok(operation) => {
                let price = analyzed.price(operation, &call.variables);
                Signature::of("priced").size("price", usize::try_from(price).unwrap_or(usize::MAX))
            }
            Err(error) => Signature::of("no operation").told(&error.message),
        },
        Err(errors) => {
            check_errors(&errors, &call.query);
            errors.iter().take(4).fold(Signature::of("judged"), |signature, error| signature.told(&error.message))
        }
    }
}

pub(super) const VARIABLES: Target = Target {
    name: "graphql-variables",
    about: "variables: a price does not change when they are written and read again, and is that of the same literal",
    run: variables,
    words: &["\"n\"", "\"b\"", "\"m\"", "true", "null", "1e300", "-3", "\"5\"", "[1]", "0.5"],
    seeds: &[],
    longest: 16 * 1024,
    memory: linear(3_000),
};

/// A document in which sizes and conditions are variables.
const ASKED: &str = "query($n: Int, $m: Int = 4, $b: Boolean = false) {
  products(first: $n) { id ...F orders(first: $m) @skip(if: $b) { id } }
  catalogue(first: $m) { nodes { tags(first: $n) } }
} fragment F on Product { name more: orders(first: $n) @include(if: $b) { customer { id } } }";

fn variables(input: &[u8]) -> Signature {
    let Some(variables) = map(input) else { return Signature::of("no map") };
    let price = price_of(ASKED, &variables);
    let text = encode(&Value::Map(variables.clone()));
    let again = map(&text).expect("a map is written as one");
    assert_eq!(price_of(ASKED, &again), price, "written and read again it costs something else");
    // GraphQL's Int has 32 bits (specification, section 3.5.1); other values are the upstream's to refuse.
    let whole = |name: &str| variables.get(name).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
    let flag = variables.get("b").and_then(Value::as_bool);
    if let (Some(n), Some(m), Some(b)) = (whole("n"), whole("m"), flag) {
        let body = ASKED.split_once(") {").expect("the document has a head").1;
        let literal = format!("query {{{body}")
            .replace("$n", &n.to_string())
            .replace("$m", &m.to_string())
            .replace("$b", &b.to_string());
        assert_eq!(price_of(&literal, &Map::new()), price, "the literals {n}, {m} and {b} cost something else");
    }
    let magnitude = usize::try_from(price).unwrap_or(usize::MAX);
    let kinds = ["n", "m", "b"].map(|name| variables.get(name).map_or("absent", Value::described));
    kinds.iter().fold(Signature::of("priced").size("price", magnitude), |signature, kind| signature.told(kind))
}

fn price_of(text: &str, variables: &Map) -> u64 {
    let analyzed = documents::judge(text, shop(), &Limits::default()).expect("the fuzzer's own document is sound");
    analyzed.price(analyzed.operation(None).expect("it has one operation"), variables)
}

pub(super) const SCHEMA: Target = Target {
    name: "graphql-schema",
    about: "schemas: what is accepted can be asked for the name of its root type",
    run: |input| schema(&String::from_utf8_lossy(input)),
    words: &[
        "type",
        "interface",
        "union",
        "enum",
        "input",
        "scalar",
        "extend",
        "implements",
        "schema",
        "directive",
        "@deprecated",
        "repeatable",
    ],
    seeds: &["examples/demo/shop.graphql"],
    longest: 32 * 1024,
    memory: Memory { total_per_byte: 40_000, peak_per_byte: 8_000, free: 8 << 20 },
};

fn schema(sdl: &str) -> Signature {
    match Schema::parse(sdl) {
        Ok(schema) => {
            let asked = documents::judge("{ __typename }", &schema, &Limits::default());
            assert!(asked.is_ok(), "the root type has no name: {asked:?}");
            Signature::of("accepted").size("bytes", sdl.len())
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            let told = errors.iter().take(4);
            told.fold(Signature::of("refused"), |signature, error| signature.told(&error.message))
        }
    }
}
