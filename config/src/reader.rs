//! Reads a tree into typed settings, tells everything that is wrong with it, and goes on.

use std::path::Path;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::near::nearest;
use crate::reference::{Env, substitute};
use crate::schema::Schemas;
use crate::tree::{Entry, Kind, Node, Scalar, push_key};

/// Something an operator can write: how it is read, and how the JSON Schema says it.
pub(crate) trait Setting {
    /// What reading it gives.
    type Value;

    /// The value, or `None` once it was told why there is none.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value>;

    /// Stands in for a value that was told to be wrong or missing, so that reading goes on and finds what else is
    /// wrong. Where a problem was told there is no snapshot, so it is never used.
    fn blank() -> Self::Value;

    /// Its JSON Schema; mappings put theirs under `$defs` and answer with a reference.
    fn schema(schemas: &mut Schemas) -> serde_json::Value;
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// A single value, references to the environment replaced.
pub(crate) struct Word {
    /// What it says.
    pub(crate) text: String,
    /// What may be shown of it: the text as written, never what the environment holds.
    pub(crate) shown: String,
    /// Whether it may be a number or a truth value: neither quoted, nor a text by its looks.
    pub(crate) plain: bool,
}

/// Walks a tree and collects what is wrong.
pub(crate) struct Reader<'a> {
    file: Arc<Path>,
    env: &'a Env<'a>,
    /// Names that can be referred to, by the section that declares them.
    declared: IndexMap<&'static str, IndexSet<String>>,
    diagnostics: Diagnostics,
    path: String,
    /// Where the key or item that is being read begins.
    at: (u32, u32),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: Arc<Path>, env: &'a Env<'a>) -> Reader<'a> {
        let (declared, diagnostics) = (IndexMap::new(), Diagnostics::new());
        Reader { file, env, declared, diagnostics, path: String::new(), at: (1, 1) }
    }

    /// Takes note of the names that `sections` of the root declare, so that references may come before them.
    pub(crate) fn declare(&mut self, root: &Node, sections: &[&'static str]) {
        for section in sections {
            let names = match root.child(section).map(|node| &node.kind) {
                Some(Kind::Mapping(entries)) => entries.keys().cloned().collect(),
                _ => IndexSet::new(),
            };
            self.declared.insert(section, names);
        }
    }

    /// Whether a section declares a name.
    pub(crate) fn is_declared(&self, section: &str, name: &str) -> bool {
        self.declared.get(section).is_some_and(|names| names.contains(name))
    }

    /// The name of a section that an unknown one seems to mean.
    pub(crate) fn nearest_declared(&self, section: &str, name: &str) -> Option<&str> {
        nearest(name, self.declared.get(section)?.iter().map(String::as_str))
    }

    /// What was found wrong.
    pub(crate) fn finish(self) -> Diagnostics {
        self.diagnostics
    }

    /// Where a value stands.
    pub(crate) fn place(&self, node: &Node) -> Place {
        Place { file: Arc::clone(&self.file), line: node.line, column: node.column, path: self.path.as_str().into() }
    }

    /// Where the key or item that is being read begins.
    pub(crate) fn key_place(&self) -> Place {
        let (line, column) = self.at;
        Place { file: Arc::clone(&self.file), line, column, path: self.path.as_str().into() }
    }

    pub(crate) fn tell(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Tells what is wrong with a value; `None`, so that it can be returned.
    pub(crate) fn wrong<T>(&mut self, node: &Node, message: impl Into<String>, hint: &str) -> Option<T> {
        let told = Diagnostic::error(&self.place(node), message);
        self.tell(if hint.is_empty() { told } else { told.hint(hint) });
        None
    }

    /// Tells that a value is of another type than `expected`, which comes with its article.
    pub(crate) fn mistyped<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let found = node.describe();
        let hint = match (found, expected) {
            ("a number" | "a truth value", "a text") => "put it in quotes",
            ("nothing", _) => "leave the key out or give it a value",
            _ => "",
        };
        self.wrong(node, format!("expected {expected}, found {found}"), hint)
    }

    /// A single value, references replaced; `expected` says what should stand there, with its article.
    pub(crate) fn word(&mut self, node: &Node, expected: &str) -> Option<Word> {
        let Kind::Scalar(scalar) = &node.kind else { return self.mistyped(node, expected) };
        if scalar.to_json().is_null() {
            return self.mistyped(node, expected);
        }
        let Scalar { text: written, quoted } = scalar;
        match substitute(written, self.env) {
            Ok(text) => {
                let replaced = matches!(text, std::borrow::Cow::Owned(_));
                let plain = replaced || (!quoted && !scalar.to_json().is_string());
                Some(Word { text: text.into_owned(), shown: shorten(written), plain })
            }
            Err(problems) => {
                for (sentence, hint) in problems {
                    self.wrong::<()>(node, sentence, &hint);
                }
                None
            }
        }
    }

    /// A text: what is quoted or looks like neither number nor truth value.
    pub(crate) fn text(&mut self, node: &Node) -> Option<Word> {
        let word = self.word(node, "a text")?;
        let typed = matches!(&node.kind, Kind::Scalar(scalar) if !scalar.to_json().is_string());
        if typed {
            return self.mistyped(node, "a text");
        }
        Some(word)
    }

    /// The items of a list.
    pub(crate) fn items<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.kind {
            Kind::Sequence(items) => Some(items),
            _ => self.mistyped(node, "a list"),
        }
    }

    /// The entries of a mapping.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node) -> Option<&'n IndexMap<String, Entry>> {
        match &node.kind {
            Kind::Mapping(entries) => Some(entries),
            _ => self.mistyped(node, "a mapping"),
        }
    }

    /// Reads what stands under a key.
    pub(crate) fn under<T>(&mut self, key: &str, entry: &Entry, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        push_key(&mut self.path, key);
        self.within(length, (entry.line, entry.column), read)
    }

    /// Reads an item of a list.
    pub(crate) fn item<T>(&mut self, index: usize, node: &Node, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        self.within(length, (node.line, node.column), read)
    }

    fn within<T>(&mut self, length: usize, at: (u32, u32), read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.at, at);
        let value = read(self);
        self.path.truncate(length);
        self.at = before;
        value
    }

    /// The fields of a mapping that knows these keys; others are told, with the nearest of these.
    pub(crate) fn fields<'r, 'n>(
        &'r mut self,
        node: &'n Node,
        known: &'static [&'static str],
    ) -> Option<Fields<'r, 'a, 'n>> {
        let entries = self.entries(node)?;
        let mut meant = Vec::new();
        for (key, entry) in entries.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            let guess = nearest(key, known.iter().copied());
            let hint = match guess {
                Some(guess) => format!("did you mean `{guess}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.under(key, entry, |reader| {
                let told = Diagnostic::error(&reader.key_place(), "unknown key").hint(hint);
                reader.tell(told);
            });
            meant.extend(guess);
        }
        Some(Fields { reader: self, entries, meant })
    }
}

/// The known keys of one mapping.
pub(crate) struct Fields<'r, 'a, 'n> {
    reader: &'r mut Reader<'a>,
    entries: &'n IndexMap<String, Entry>,
    /// Keys that an unknown one seems to mean: not told to be missing on top of it.
    meant: Vec<&'static str>,
}

impl Fields<'_, '_, '_> {
    /// A key that must be there.
    pub(crate) fn required<S: Setting>(&mut self, key: &'static str) -> S::Value {
        if !self.entries.contains_key(key) && !self.meant.contains(&key) {
            let told = Diagnostic::error(&self.reader.key_place(), format!("`{key}` is missing"));
            self.reader.tell(told);
        }
        self.optional::<S>(key).unwrap_or_else(S::blank)
    }

    /// A key that may be absent; `None` means that it is, not that its value was told to be wrong.
    pub(crate) fn optional<S: Setting>(&mut self, key: &'static str) -> Option<S::Value> {
        let entry = self.entries.get(key)?;
        Some(self.reader.under(key, entry, |reader| S::read(&entry.value, reader)).unwrap_or_else(S::blank))
    }

    /// A key that stands for `default` where it is absent.
    pub(crate) fn or_default<S: Setting>(&mut self, key: &'static str, default: &str) -> S::Value {
        if let Some(value) = self.optional::<S>(key) {
            return value;
        }
        // A default stands where the mapping does, for what is told of it in comparison with others.
        let (line, column) = self.reader.at;
        let entry = Entry { line, column, value: Node { line, column, ..default_node(default) } };
        self.reader.under(key, &entry, |reader| S::read(&entry.value, reader)).unwrap_or_else(S::blank)
    }

    /// Tells when more than one of these keys is there, or none although one must be.
    pub(crate) fn one_of(&mut self, need: Need, keys: &[&str]) {
        let names = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let mut present = keys.iter().filter_map(|key| Some((*key, self.entries.get(*key)?)));
        let first = present.next();
        let rest: Vec<_> = present.collect();
        if let (None, Need::Required) = (first, need)
            && !keys.iter().any(|key| self.meant.contains(key))
        {
            let told = Diagnostic::error(&self.reader.key_place(), format!("one of {names} is missing"));
            self.reader.tell(told);
        }
        let Some((first, _)) = first else { return };
        for (key, entry) in rest {
            self.reader.under(key, entry, |reader| {
                let told = Diagnostic::error(&reader.key_place(), format!("`{first}` is there already"));
                reader.tell(told.hint(format!("only one of {names}")));
            });
        }
    }
}

/// Whether one of several keys must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
}

/// The value that a default in a table stands for.
pub(crate) fn default_of<S: Setting>(text: &str) -> S::Value {
    let mut reader = Reader::new(Arc::from(Path::new("default")), &|_| None);
    let value = S::read(&default_node(text), &mut reader);
    value.expect("the defaults in the tables can be read, as a test shows")
}

/// A default as a node: `{}`, `[]`, or a plain scalar.
pub(crate) fn default_node(text: &str) -> Node {
    match text {
        "{}" => Node { line: 0, column: 0, kind: Kind::Mapping(IndexMap::new()) },
        "[]" => Node { line: 0, column: 0, kind: Kind::Sequence(Vec::new()) },
        text => Node::scalar(0, 0, text),
    }
}

/// As much of a text as a line of diagnostics can bear, in one line.
fn shorten(text: &str) -> String {
    let line = text.trim_end().replace(['\n', '\r', '\t'], " ");
    if line.chars().count() <= 60 { line } else { line.chars().take(59).chain(['…']).collect() }
}

impl<S: Setting> Setting for Placed<S> {
    type Value = Placed<S::Value>;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value> {
        let place = reader.place(node);
        // What was told to be wrong keeps its place.
        Some(Placed { value: S::read(node, reader).unwrap_or_else(S::blank), place })
    }

    fn blank() -> Self::Value {
        Placed { value: S::blank(), place: Place::file("") }
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        S::schema(schemas)
    }
}
