//! Builds the tree from the parser's events, on a stack of its own and within bounds.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use indexmap::IndexMap;
use indexmap::map::Entry as Slot;

use super::scalar::Scalar;
use super::{Entry, Kind, Node, Tree};
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::reference;

/// Bytes of a text: far above any contract seen, far below what would hurt.
pub const MAX_TEXT: usize = 32 << 20;

/// Levels of nesting. The deepest configuration has ten; JSON Schemas in contracts reach thirty.
pub const MAX_DEPTH: usize = 100;

/// Values in a text: room for 50,000 routes of twenty keys.
pub const MAX_NODES: usize = 2_000_000;

/// Values copied by aliases, which a few lines can multiply without end ("billion laughs").
pub const MAX_COPIED: usize = 100_000;

/// Bytes of text in values copied by aliases.
pub const MAX_COPIED_TEXT: usize = 8 << 20;

pub(super) fn build(file: &Path, text: &str) -> (Option<Tree>, Diagnostics) {
    Builder::new(file).run(text)
}

/// The same for a text in which `${env:…}` may stand in braces.
pub(super) fn build_with_references(file: &Path, text: &str) -> (Option<Tree>, Diagnostics) {
    let mut builder = Builder::new(file);
    builder.veiled = true;
    builder.run(&reference::veil(text))
}

/// A collection that is not complete yet.
struct Open {
    node: Node,
    anchor: usize,
    /// In a mapping: the key whose value comes next.
    key: Option<Key>,
}

struct Key {
    /// Absent where a collection stood for the key, which was told; its value is dropped.
    text: Option<String>,
    line: u32,
    column: u32,
}

/// A complete value under an anchor, and what a copy of it costs.
struct Anchored {
    node: Node,
    cost: Cost,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    text: usize,
    depth: usize,
}

struct Builder {
    file: Arc<Path>,
    diagnostics: Diagnostics,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    copied: Cost,
    veiled: bool,
    /// Something is lacking that was told, so that nothing may be said of the tree without it.
    broken: bool,
}

/// Nothing more can be read.
struct Stop;

impl Builder {
    fn new(file: &Path) -> Builder {
        Builder {
            file: file.into(),
            diagnostics: Diagnostics::new(),
            open: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            nodes: 0,
            copied: Cost::default(),
            veiled: false,
            broken: false,
        }
    }

    fn run(mut self, text: &str) -> (Option<Tree>, Diagnostics) {
        if text.len() > MAX_TEXT {
            self.diagnostics.error(&Place::file(&self.file), format!("longer than {MAX_TEXT} bytes"));
            return (None, self.diagnostics);
        }
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.emit_unresolved_aliases = true;
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        for event in Parser::new_from_str_with_options(text, options) {
            let taken = match event {
                Ok((event, span)) => self.take(event, span),
                Err(error) => self.syntax(&error),
            };
            if taken.is_err() {
                return (None, self.diagnostics);
            }
        }
        if self.broken {
            return (None, self.diagnostics);
        }
        let nothing = || Node::scalar(1, 1, "");
        (Some(Tree { file: self.file, root: self.root.unwrap_or_else(nothing) }), self.diagnostics)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let (line, column) = (count(span.start.line()), count(span.start.col() + 1));
        let collection = |kind| Node { line, column, kind };
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.stop(line, column, "a second document begins here", Some("a file holds one"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain || self.tag(tag.as_deref(), line, column, &["str"]);
                let text = if self.veiled { reference::unveil(&text) } else { text.into_owned() };
                let node = collection(Kind::Scalar(Scalar { text, quoted }));
                self.complete(node, anchor, Cost { nodes: 1, text: 0, depth: 0 })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), line, column, &["seq"]);
                self.enter(collection(Kind::Sequence(Vec::new())), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), line, column, &["map"]);
                self.enter(collection(Kind::Mapping(IndexMap::new())), anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => self.alias(anchor, line, column),
            Event::UnresolvedAlias(name) => {
                let place = self.place(line, column);
                self.diagnostics.error(&place, format!("no anchor `{name}` before this alias"));
                self.broken = true;
                self.complete(Node::scalar(line, column, ""), 0, Cost::default())
            }
            _ => Ok(()),
        }
    }

    /// Begins a collection.
    fn enter(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        let is_key =
            matches!(self.open.last(), Some(Open { node: Node { kind: Kind::Mapping(_), .. }, key: None, .. }));
        if is_key {
            let place = self.place(node.line, node.column);
            self.diagnostics.error(&place, "a key must be a text");
        }
        if self.open.len() >= MAX_DEPTH {
            return self.too_deep(node.line, node.column);
        }
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    /// Ends a collection.
    fn leave(&mut self) -> Result<(), Stop> {
        let Some(Open { node, anchor, .. }) = self.open.pop() else { return Ok(()) };
        self.complete(node, anchor, Cost { nodes: 1, text: 0, depth: 0 })
    }

    /// Puts a complete value where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, cost: Cost) -> Result<(), Stop> {
        self.nodes += cost.nodes;
        if self.nodes > MAX_NODES {
            return self.stop(node.line, node.column, &format!("more than {MAX_NODES} values"), None);
        }
        if anchor != 0 {
            self.anchor(anchor, &node)?;
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.node.kind, parent.key.take()) {
            (Kind::Scalar(_), _) => {}
            (Kind::Sequence(items), _) => items.push(node),
            (Kind::Mapping(_), None) => parent.key = Some(Key::of(node)),
            (Kind::Mapping(_), Some(Key { text: None, .. })) => {}
            (Kind::Mapping(entries), Some(Key { text: Some(text), line, column })) => match entries.entry(text) {
                Slot::Vacant(slot) => _ = slot.insert(Entry { line, column, value: node }),
                Slot::Occupied(slot) => {
                    let (text, first) = (slot.key().clone(), slot.get().line);
                    self.repeated(&text, line, column, first);
                }
            },
        }
        Ok(())
    }

    fn repeated(&mut self, key: &str, line: u32, column: u32, first: u32) {
        let mut place = self.place(line, column);
        let mut path = place.path.to_string();
        push_key(&mut path, key);
        place.path = path.into();
        let told = Diagnostic::error(&place, "the key stands twice");
        self.diagnostics.push(told.hint(format!("it was first said in line {first}")));
    }

    /// Remembers a value for aliases. The copy counts too: anchors within anchors multiply as aliases do.
    fn anchor(&mut self, anchor: usize, node: &Node) -> Result<(), Stop> {
        let cost = Cost::of(node);
        self.copy(cost, node.line, node.column)?;
        self.anchors.insert(anchor, Anchored { node: node.clone(), cost });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, line: u32, column: u32) -> Result<(), Stop> {
        let Some(Anchored { node, cost }) = self.anchors.get(&anchor) else {
            return self.stop(line, column, "an alias stands within its own anchor", None);
        };
        let (cost, mut node) = (*cost, node.clone());
        // What is wrong in the copy is told at the alias, save in its depths, which stand where they were written.
        (node.line, node.column) = (line, column);
        if self.open.len() + cost.depth > MAX_DEPTH {
            return self.too_deep(line, column);
        }
        self.copy(cost, line, column)?;
        self.complete(node, 0, cost)
    }

    fn copy(&mut self, cost: Cost, line: u32, column: u32) -> Result<(), Stop> {
        self.copied.nodes += cost.nodes;
        self.copied.text += cost.text;
        if self.copied.nodes > MAX_COPIED {
            return self.stop(line, column, &format!("aliases copy more than {MAX_COPIED} values"), None);
        }
        if self.copied.text > MAX_COPIED_TEXT {
            return self.stop(line, column, &format!("aliases copy more than {MAX_COPIED_TEXT} bytes"), None);
        }
        Ok(())
    }

    /// Whether a tag makes a scalar a text. Tags that say what is so anyway are taken, others told.
    fn tag(&mut self, tag: Option<&Tag>, line: u32, column: u32, known: &[&str]) -> bool {
        let Some(tag) = tag else { return false };
        // `!` alone says: not typed by its looks (YAML 1.2.2, section 6.9.1).
        let plain = tag.handle().is_empty() && tag.suffix() == "!";
        if !plain && !tag.core_suffix().is_some_and(|suffix| known.contains(&suffix)) {
            let place = self.place(line, column);
            let told = Diagnostic::error(&place, format!("the tag `{}` is not read", tag.original()));
            self.diagnostics.push(told.hint("leave it out"));
        }
        true
    }

    fn syntax(&mut self, error: &ScanError) -> Result<(), Stop> {
        let (line, column) = (count(error.marker().line()), count(error.marker().col() + 1));
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return self.too_deep(line, column);
        }
        let place = Place { file: Arc::clone(&self.file), line, column, path: "".into() };
        self.diagnostics.error(&place, error.info());
        Err(Stop)
    }

    fn too_deep(&mut self, line: u32, column: u32) -> Result<(), Stop> {
        self.stop(line, column, &format!("nested more than {MAX_DEPTH} levels deep"), None)
    }

    fn stop(&mut self, line: u32, column: u32, message: &str, hint: Option<&str>) -> Result<(), Stop> {
        let mut told = Diagnostic::error(&self.place(line, column), message);
        told.hint = hint.map(str::to_owned);
        self.diagnostics.push(told);
        Err(Stop)
    }

    /// A place, its path being where the builder stands.
    fn place(&self, line: u32, column: u32) -> Place {
        let mut path = String::new();
        for open in &self.open {
            match (&open.node.kind, &open.key) {
                (Kind::Mapping(_), Some(Key { text: Some(key), .. })) => push_key(&mut path, key),
                (Kind::Sequence(items), _) => path.push_str(&format!("[{}]", items.len())),
                _ => {}
            }
        }
        Place { file: Arc::clone(&self.file), line, column, path: path.into() }
    }
}

impl Key {
    fn of(node: Node) -> Key {
        let Node { line, column, kind } = node;
        let text = match kind {
            Kind::Scalar(scalar) => Some(scalar.text),
            Kind::Sequence(_) | Kind::Mapping(_) => None,
        };
        Key { text, line, column }
    }
}

impl Cost {
    /// Recursion is bounded by [`MAX_DEPTH`].
    fn of(node: &Node) -> Cost {
        let add = |sum: Cost, child: Cost| Cost {
            nodes: sum.nodes + child.nodes,
            text: sum.text + child.text,
            depth: sum.depth.max(child.depth + 1),
        };
        let one = Cost { nodes: 1, text: 0, depth: 1 };
        match &node.kind {
            Kind::Scalar(scalar) => Cost { text: scalar.text.len(), depth: 0, ..one },
            Kind::Sequence(items) => items.iter().map(Cost::of).fold(one, add),
            Kind::Mapping(entries) => entries.iter().fold(one, |sum, (key, entry)| {
                let child = Cost::of(&entry.value);
                add(sum, Cost { text: child.text + key.len(), ..child })
            }),
        }
    }
}

impl Node {
    /// A plain scalar.
    pub(crate) fn scalar(line: u32, column: u32, text: &str) -> Node {
        Node { line, column, kind: Kind::Scalar(Scalar { text: text.to_owned(), quoted: false }) }
    }
}

/// Adds `.key` to a path, the key quoted where it could be mistaken.
pub(crate) fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '*'));
    match plain {
        true => path.push_str(key),
        false => path.push_str(&format!("{key:?}")),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
