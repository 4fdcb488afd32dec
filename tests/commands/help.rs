//! What the binary says of itself: help, schema, wrong usage.

use std::fs;

use portolan_config::tree;
use serde_json::{Value, json};

use super::{Folder, said};
use crate::kit::binary::portolan;

/// The first example of a help text, as arguments.
pub fn example(help: &str) -> Vec<String> {
    let (_, examples) = help.split_once("Example:\n").unwrap_or_else(|| panic!("no example in\n{help}"));
    let command = examples.lines().next().unwrap_or_default().trim();
    let command = command.split(" > ").next().unwrap_or_default();
    let mut words = command.split(' ').map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some("portolan"), "an example can be pasted: {command}");
    words.collect()
}

#[test]
fn the_help_names_every_command_and_the_one_to_begin_with() {
    let help = portolan(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let first = help.stdout.lines().next();
    assert_eq!(first, Some("An API gateway that speaks REST, GraphQL, WebSocket and Kafka over one request path."));
    assert!(help.stdout.contains("New here? `portolan demo` starts everything"), "{}", help.stdout);
    let (_, commands) = help.stdout.split_once("Commands:\n").expect("commands are listed");
    let listed: Vec<_> = commands.lines().take_while(|line| !line.is_empty()).collect();
    let names: Vec<_> = listed.iter().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    assert_eq!(names, ["run", "check", "schema", "demo", "help"]);
    assert!(listed.iter().all(|line| line.split_whitespace().count() > 3), "each says what it does: {listed:#?}");
}

#[test]
fn every_command_teaches_with_an_example_that_can_be_run() {
    // The example of `demo` is what the demo's own tests start.
    for command in ["run", "check", "schema", "demo"] {
        let help = portolan(&[command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{command}");
        let mut arguments = example(&help.stdout);
        assert_eq!(arguments[0], command);
        assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "too wide:\n{}", help.stdout);
        if command == "demo" {
            continue;
        }
        // The file of the example, with a mistake, so that nothing is started: 1 is a problem, 2 were wrong usage.
        let folder = Folder::with("listeners: {}\n");
        for argument in &mut arguments {
            if argument == "gateway.yaml" {
                *argument = folder.file();
            }
        }
        let expected = if command == "schema" { 0 } else { 1 };
        assert_eq!(portolan(&arguments).code, Some(expected), "{arguments:?}");
    }
}

#[test]
fn wrong_usage_is_told_with_what_is_right() {
    let told = portolan(&["runn", "-c", "gateway.yaml"]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""));
    assert!(told.stderr.contains("'runn'") && told.stderr.contains("'run'"), "{}", told.stderr);
    let told = portolan(&["run"]);
    assert_eq!(told.code, Some(2));
    assert!(told.stderr.contains("--config <FILE>"), "{}", told.stderr);
    assert_eq!(portolan::<&str>(&[]).code, Some(2));
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(portolan(&["--version"]), said(0, &format!("portolan {}\n", env!("CARGO_PKG_VERSION")), ""));
}

#[test]
fn schema_accepts_what_the_demo_runs_and_refuses_an_unknown_key() {
    let told = portolan(&["schema"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&told.stdout).expect("the schema is JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo/portolan.yaml");
    let demo = tree::parse(file, &with_defaults(&fs::read_to_string(file).unwrap())).unwrap().to_json();
    let errors: Vec<_> = validator.iter_errors(&demo).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    for (pointer, key) in [("", "listener"), ("/apis/orders", "upsteam"), ("/upstreams/orders/breaker", "minimun")] {
        let mut mistaken = demo.clone();
        mistaken.pointer_mut(pointer).expect("the demo has this place")[key] = json!("x");
        assert!(!validator.is_valid(&mistaken), "`{key}` at `{pointer}` is taken");
    }
}

/// A configuration with the default in the place of each variable, as a user would write it who needs none.
fn with_defaults(text: &str) -> String {
    let mut pieces = text.split("${env:");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (variable, rest) = piece.split_once('}').expect("a reference ends");
        whole.push_str(variable.split_once(":-").expect("each variable of the example has a default").1);
        whole.push_str(rest);
    }
    whole
}
