//! A YAML or JSON text as a tree in which every value knows its line and column.
//!
//! JSON is read as the subset of YAML that it is. What a text may cost is bounded: [`MAX_TEXT`], [`MAX_DEPTH`],
//! [`MAX_NODES`], [`MAX_COPIED`] and [`MAX_COPIED_TEXT`]. Keys are texts (`200:` is the key `200`), none stands twice in
//! a mapping, and there is one document in a file.

mod build;
mod scalar;

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

pub(crate) use build::push_key;
pub use build::{MAX_COPIED, MAX_COPIED_TEXT, MAX_DEPTH, MAX_NODES, MAX_TEXT};
pub use scalar::Scalar;

use crate::diagnostic::{Diagnostics, Place};

/// A parsed text.
#[derive(Debug, Clone)]
pub struct Tree {
    file: Arc<Path>,
    root: Node,
}

/// Parses YAML or JSON; `file` only names it in what is said about it. An empty text is a tree that holds nothing.
///
/// # Errors
/// All that keeps the text from being a tree: the first mistake of syntax, and every repeated key, unknown alias and
/// tag before it.
pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Tree, Diagnostics> {
    let (tree, diagnostics) = build::build(file.as_ref(), text);
    match tree {
        Some(tree) if diagnostics.is_empty() => Ok(tree),
        _ => Err(diagnostics),
    }
}

/// The same for a reader that goes on: the tree is there although keys were repeated, and only a mistake of syntax or
/// an unknown alias leaves nothing. `${env:…}` may stand in braces: `{ hash: ${env:HASH} }`.
pub(crate) fn parse_with_references(file: &Path, text: &str) -> (Option<Tree>, Diagnostics) {
    build::build_with_references(file, text)
}

impl Tree {
    /// The file it was read from.
    pub fn file(&self) -> &Arc<Path> {
        &self.file
    }

    /// The value that holds all others.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The tree as JSON. Plain scalars are typed by YAML's core schema (YAML 1.2.2, section 10.3); a number that JSON
    /// cannot say, such as `.inf`, stays a text.
    pub fn to_json(&self) -> Value {
        self.root.to_json()
    }

    /// The value at a JSON pointer (RFC 6901); the empty pointer is the root.
    pub fn get(&self, pointer: &str) -> Option<&Node> {
        let mut node = &self.root;
        for token in tokens(pointer) {
            node = node.child(&token)?;
        }
        Some(node)
    }

    /// Line and column, each counted from 1, of the value at a JSON pointer (RFC 6901); where there is none, of the
    /// nearest value above it.
    pub fn place(&self, pointer: &str) -> (u32, u32) {
        let mut node = &self.root;
        for token in tokens(pointer) {
            match node.child(&token) {
                Some(child) => node = child,
                None => break,
            }
        }
        (node.line, node.column)
    }

    /// The same as a [`Place`] to report at, its path written as in other diagnostics: `paths./orders.get`.
    pub fn place_of(&self, pointer: &str) -> Place {
        let (line, column) = self.place(pointer);
        let path = tokens(pointer).collect::<Vec<_>>().join(".");
        Place { file: Arc::clone(&self.file), line, column, path: path.into() }
    }
}

/// The reference tokens of a JSON pointer, unescaped. A fragment's `#` before it is passed over.
fn tokens(pointer: &str) -> impl Iterator<Item = String> {
    let pointer = pointer.strip_prefix('#').unwrap_or(pointer);
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"))
}

/// A value and where it begins.
#[derive(Debug, Clone)]
pub struct Node {
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// The value.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Text, number, truth value or nothing.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values, in the order they were written.
    Mapping(IndexMap<String, Entry>),
}

/// A value under a key, and where the key begins.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The line of the key, counted from 1.
    pub line: u32,
    /// The column of the key in characters, counted from 1.
    pub column: u32,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The value under a key, or at an index written in decimal.
    pub fn child(&self, token: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Scalar(_) => None,
            Kind::Sequence(items) => items.get(token.parse::<usize>().ok()?),
            Kind::Mapping(entries) => entries.get(token).map(|entry| &entry.value),
        }
    }

    /// The value as JSON; see [`Tree::to_json`].
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.to_json(),
            Kind::Sequence(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Mapping(entries) => {
                Value::Object(entries.iter().map(|(key, entry)| (key.clone(), entry.value.to_json())).collect())
            }
        }
    }

    /// Whether it is `null`, or no value at all.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.to_json().is_null())
    }

    /// What it is, with its article, for a sentence such as `expected a list, found a text`.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.describe(),
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(text: &str) -> String {
        parse("t.yaml", text).expect_err("the text is not a tree").render()
    }

    #[test]
    fn yaml_is_typed_by_the_core_schema_and_keeps_its_order() {
        let text = "z: 1\na: [x, 2.5, true, ~, \"3\", 0x1F, '', .inf]\n200: {b: ''}\ne:\nbig: 18446744073709551615\n";
        let tree = parse("t.yaml", text).unwrap();
        let expected = json!({
            "z": 1, "a": ["x", 2.5, true, null, "3", 31, "", ".inf"], "200": {"b": ""}, "e": null,
            "big": 18446744073709551615u64,
        });
        assert_eq!(tree.to_json(), expected);
        assert_eq!(tree.to_json().as_object().unwrap().keys().collect::<Vec<_>>(), ["z", "a", "200", "e", "big"]);
    }

    #[test]
    fn json_is_read_with_its_escapes_and_tabs() {
        let text = "{\"a\":\"\\ud83d\\ude00 \\/\",\n\t\"b\":\t[1,-2e3,{\"c\":null}]}\n";
        let tree = parse("t.json", text).unwrap();
        assert_eq!(tree.to_json(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(tree.place("/b/2/c"), (2, 20));
    }

    #[test]
    fn a_pointer_finds_the_value_or_the_nearest_above_it() {
        let tree = parse("t.yaml", "paths:\n  /orders/{id}:\n    get: { a~b: [10, 20] }\n").unwrap();
        assert_eq!(tree.place(""), (1, 1));
        assert_eq!(tree.place("/paths/~1orders~1{id}/get/a~0b/1"), (3, 22));
        assert_eq!(tree.place("#/paths/~1orders~1{id}/get/a~0b/7/x"), (3, 17));
        let place = tree.place_of("/paths/~1orders~1{id}/get");
        assert_eq!((place.line, place.column, &*place.path), (3, 10, "paths./orders/{id}.get"));
    }

    #[test]
    fn an_empty_text_holds_nothing() {
        assert_eq!(parse("t.yaml", "# only a comment\n").unwrap().to_json(), Value::Null);
        assert_eq!(parse("t.yaml", "").unwrap().to_json(), Value::Null);
    }

    #[test]
    fn every_repeated_key_unknown_alias_and_tag_is_told_at_once() {
        let text = "a: 1\na: 2\nb: {c: 1, c: 2}\nd: *gone\ne: !new 1\n? [f]\n: 1\n";
        assert_eq!(
            refused(text),
            "t.yaml:2:1: a: the key stands twice; it was first said in line 1\n\
             t.yaml:3:11: b.c: the key stands twice; it was first said in line 3\n\
             t.yaml:4:4: d: no anchor `gone` before this alias\n\
             t.yaml:5:9: e: the tag `!new` is not read; leave it out\n\
             t.yaml:6:3: a key must be a text\n"
        );
    }

    #[test]
    fn a_mistake_of_syntax_is_told_with_its_place() {
        assert_eq!(refused("a: b: c\n"), "t.yaml:1:5: mapping values are not allowed in this context\n");
        assert_eq!(refused("a: 1\n---\nb: 2\n"), "t.yaml:2:1: a second document begins here; a file holds one\n");
    }

    #[test]
    fn anchors_are_copied_within_a_bound() {
        let tree = parse("t.yaml", "a: &x { k: [1] }\nb: *x\n").unwrap();
        assert_eq!(tree.to_json(), json!({"a": {"k": [1]}, "b": {"k": [1]}}));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..10 {
            let line = format!("*a{}, ", i - 1).repeat(10);
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", line.trim_end_matches(", ")));
        }
        assert_eq!(refused(&bomb), "t.yaml:5:40: a4[6]: aliases copy more than 100000 values\n");
        assert_eq!(refused("a: &x [*x]\n"), "t.yaml:1:8: a[0]: an alias stands within its own anchor\n");
    }

    #[test]
    fn nesting_is_bounded() {
        let tower = refused(&"[".repeat(100_000));
        assert!(tower.ends_with(": nested more than 100 levels deep\n") && tower.len() < 1000, "{tower}");
        let aliased =
            format!("a: &x {}1{}\nb: {}*x{}\n", "[".repeat(60), "]".repeat(60), "[".repeat(60), "]".repeat(60));
        let place = "b".to_owned() + &"[0]".repeat(60);
        assert_eq!(refused(&aliased), format!("t.yaml:2:64: {place}: nested more than 100 levels deep\n"));
    }
}
