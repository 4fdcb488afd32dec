//! What operators write: YAML and JSON as trees, and whole configurations.

use std::io;
use std::path::Path;

use portolan_config::{Diagnostics, diff, load_from, tree};

use crate::signature::Signature;
use crate::target::{Memory, Target};

/// Aliases may copy some megabytes whatever the length; apart from that a value costs some hundred bytes, and its text is
/// copied several times by the checks.
pub(super) const DOCUMENT_MEMORY: Memory = Memory { total_per_byte: 20_000, peak_per_byte: 5_000, free: 96 << 20 };

const WORDS: &[&str] = &[
    ": ",
    "- ",
    "&a ",
    "*a",
    "<<",
    "!!str ",
    "!!map",
    "|",
    ">",
    "|-\n",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "{a: 1}",
    "[*a, *a]",
    "~",
    "null",
    "true",
    "0x1F",
    "0o17",
    ".inf",
    "\"\\u00e9\"",
    "'it''s'",
    "# x\n",
];

pub(super) const TREE: Target = Target {
    name: "config-tree",
    about: "YAML and JSON: bounded memory whatever aliases do, the same tree from its own JSON, the values of serde_json",
    run: |input| tree_of(&String::from_utf8_lossy(input)),
    words: WORDS,
    seeds: &[],
    longest: 64 * 1024,
    memory: DOCUMENT_MEMORY,
};

fn tree_of(text: &str) -> Signature {
    let library = serde_json::from_str::<serde_json::Value>(text).ok();
    match tree::parse("text", text) {
        Ok(tree) => {
            let json = tree.to_json();
            if let Some(library) = library {
                assert!(equal(&json, &library), "as YAML it is {json}, as JSON {library}");
            }
            // What YAML cannot say of a number is text from here on, so the second reading settles it.
            let written = serde_json::to_string_pretty(&json).expect("a JSON value is written");
            match tree::parse("again", &written) {
                Ok(again) => assert!(equal(&again.to_json(), &json), "read again, it is another tree"),
                Err(problems) => {
                    let said = bounded(&problems) || unprintable(&problems) || has_long_key(&json);
                    assert!(said, "{problems}\n{written}");
                }
            }
            let (line, column) = tree.place("/a/0/b");
            assert!(line >= 1 && column >= 1 && line as usize <= 1 + text.len());
            let kind = tree.root().describe();
            Signature::of("tree").told(kind).size("bytes", text.len()).size("json", written.len())
        }
        Err(problems) => {
            let ours_alone = bounded(&problems)
                || unprintable(&problems)
                || problems.iter().all(|problem| problem.message.contains("stands twice"));
            let is_yaml = library.is_some_and(|library| !has_long_key(&library));
            assert!(ours_alone || !is_yaml, "JSON that is no YAML: {problems}");
            check_problems("refused", &problems, text)
        }
    }
}

/// Whether a key is longer than YAML lets one be that stands before its colon: 1,024 characters, written (YAML 1.2.2, section 7.4.2).
fn has_long_key(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Object(members) => members.iter().any(|(key, value)| {
            let written = serde_json::Value::from(key.as_str()).to_string();
            written.len() > 1_000 || has_long_key(value)
        }),
        serde_json::Value::Array(items) => items.iter().any(has_long_key),
        _ => false,
    }
}

/// Whether a text was refused for what it costs, not for what it says.
fn bounded(problems: &Diagnostics) -> bool {
    problems
        .iter()
        .any(|problem| ["nested more than", "more than", "longer than"].iter().any(|why| problem.message.contains(why)))
}

/// Whether a character was refused that YAML calls unprintable. Within quotes it should be let pass (YAML 1.2.2, section 5.1);
/// the parser beneath us does not, and nobody has missed it.
fn unprintable(problems: &Diagnostics) -> bool {
    problems.iter().any(|problem| problem.message.contains("unexpected character"))
}

/// Equal but for numbers, of which YAML and JSON each hold some more exactly.
fn equal(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| one == other)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |((key, one), (known, other)): ((&String, &Value), (&String, &Value))| {
                key == known && equal(one, other)
            };
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        _ => one == other,
    }
}

/// Checks a refusal, of whichever reader: it says why, each problem in bounded words and at a place of the text.
pub(super) fn check_problems(outcome: &str, problems: &Diagnostics, text: &str) -> Signature {
    assert!(problems.has_errors(), "a refusal says why");
    // YAML ends lines by either; a problem may stand behind the last one.
    let lines = text.split(['\n', '\r']).count() + 1;
    for problem in problems.iter() {
        let line = problem.line.unwrap_or(1) as usize;
        assert!((1..=lines).contains(&line), "line {line} of a text of {lines}: {problem}");
        assert!(!problem.message.is_empty());
        assert!(!problem.to_string().contains('\n'), "one problem is one line: {problem:?}");
    }
    let signature = Signature::of(outcome).size("problems", problems.len());
    problems.iter().take(6).fold(signature, |signature, problem| signature.told(&problem.message))
}

pub(super) const LOAD: Target = Target {
    name: "config-load",
    about: "whole configurations: loading twice says the same, a snapshot does not differ from itself, problems have places",
    run: load,
    words: &[
        "listeners",
        "admin",
        "identity",
        "upstreams",
        "brokers",
        "apis",
        "routes",
        "consumers",
        "plans",
        "api_key",
        "endpoints",
        "health",
        "breaker",
        "openapi",
        "graphql",
        "asyncapi",
        "rate_limit",
        "subscriptions",
        "${env:PORT}",
        "${env:GONE:-x}",
        "${",
        "$${",
        "5s",
        "1MiB",
        "50%",
        "/a/**",
        "/{id}",
        "http://a:1",
        "[::1]:80",
        "2027-01-31T12:00:00Z",
        "off",
        "&a ",
        "*a",
    ],
    seeds: &["examples/demo/portolan.yaml", "config/cases"],
    longest: 32 * 1024,
    memory: DOCUMENT_MEMORY,
};

const OPENAPI: &str = include_str!("../../../examples/demo/orders.openapi.yaml");
const GRAPHQL: &str = include_str!("../../../examples/demo/shop.graphql");
const ASYNCAPI: &str = include_str!("../../../examples/demo/order-events.asyncapi.yaml");

fn load(input: &[u8]) -> Signature {
    // The cases of the configuration's own tests hold their files behind a line like this one.
    const MARK: &[u8] = b"=== gateway.yaml\n";
    let start = input.windows(MARK.len()).position(|part| part == MARK).map_or(0, |at| at + MARK.len());
    let rest = &input[start..];
    let end = rest.windows(5).position(|part| part == b"\n=== ").map_or(rest.len(), |at| at + 1);
    let text = &rest[..end];

    let first = load_text(text);
    match (&first, &load_text(text)) {
        (Ok(snapshot), Ok(again)) => {
            let changes = diff(snapshot, again);
            assert_eq!(changes, portolan_config::Changes::default(), "the same text gives another snapshot");
            Signature::of("loaded").size("apis", snapshot.apis.len()).size("routes", snapshot.routes.len())
        }
        (Err(problems), Err(again)) => {
            assert_eq!(problems.render(), again.render(), "the same text has other problems");
            for problem in problems.iter() {
                assert!(!problem.file.as_os_str().is_empty(), "{problem}");
            }
            check_problems("refused", problems, &String::from_utf8_lossy(text))
        }
        _ => panic!("once it is loaded, once it is refused"),
    }
}

fn load_text(text: &[u8]) -> Result<portolan_config::Snapshot, Diagnostics> {
    let env = |name: &str| match name {
        "PORT" => Some("8080".to_owned()),
        "EMPTY" => Some(String::new()),
        "ODD" => Some("a: b\n- ${env:PORT} # \u{0}".to_owned()),
        _ => None,
    };
    let disk = |path: &Path| match path.to_str() {
        Some("gateway.yaml") => Ok(text.to_vec()),
        Some(name) if name.ends_with(".graphql") => Ok(GRAPHQL.into()),
        Some(name) if name.ends_with(".asyncapi.yaml") => Ok(ASYNCAPI.into()),
        Some(name) if name.ends_with(".yaml") => Ok(OPENAPI.into()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    load_from("gateway.yaml", &env, &disk)
}
