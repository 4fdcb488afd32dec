//! The document being read: its values with their pointers, references inside it, and the problems found so far.

use std::cell::RefCell;

use portolan_config::{Diagnostic, Diagnostics, Place};
use serde_json::{Map, Value};

use crate::percent::{Plus, decode};

/// How many references may lead to one another before a value stands; real documents have one or two.
const LONGEST_CHAIN: usize = 16;

/// Which dialect its schemas are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edition {
    /// 3.0: a dialect of its own, with `nullable` and boolean `exclusiveMinimum`.
    V30,
    /// 3.1: JSON Schema 2020-12.
    V31,
}

/// A value of the document and the JSON pointer (RFC 6901) at which it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub pointer: String,
    pub value: &'a Value,
}

/// A document under reading.
pub(super) struct Document<'a> {
    root: &'a Value,
    pub edition: Edition,
    place: &'a dyn Fn(&str) -> Place,
    problems: RefCell<Diagnostics>,
}

impl<'a> Document<'a> {
    /// A document of an edition that can be read.
    pub fn open(root: &'a Value, place: &'a dyn Fn(&str) -> Place) -> Result<Self, Diagnostics> {
        let edition = edition(root).map_err(|(pointer, message, hint)| {
            Diagnostics::from(Diagnostic::error(&place(pointer), message).hint(hint))
        })?;
        Ok(Self { root, edition, place, problems: RefCell::default() })
    }

    pub fn root(&self) -> Node<'a> {
        Node { pointer: String::new(), value: self.root }
    }

    pub fn into_problems(self) -> Diagnostics {
        self.problems.into_inner()
    }

    pub fn has_problems(&self) -> bool {
        self.problems.borrow().has_errors()
    }

    pub fn problem(&self, pointer: &str, message: impl Into<String>) {
        self.problems.borrow_mut().error(&(self.place)(self.nearest(pointer)), message);
    }

    pub fn problem_with_hint(&self, pointer: &str, message: impl Into<String>, hint: impl Into<String>) {
        let told = Diagnostic::error(&(self.place)(self.nearest(pointer)), message).hint(hint);
        self.problems.borrow_mut().push(told);
    }

    /// The node as an object; a problem where it is something else.
    pub fn object(&self, node: &Node<'a>) -> Option<&'a Map<String, Value>> {
        let object = node.value.as_object();
        if object.is_none() {
            self.problem(&node.pointer, "must be an object");
        }
        object
    }

    /// A member that is a text; a problem where it is something else.
    pub fn text(&self, node: &Node<'a>, member: &str) -> Option<&'a str> {
        let found = node.member(member)?;
        let text = found.value.as_str();
        if text.is_none() {
            self.problem(&found.pointer, "must be a text");
        }
        text
    }

    /// A member that is `true` or `false`; a problem where it is something else.
    pub fn flag(&self, node: &Node<'a>, member: &str) -> Option<bool> {
        let found = node.member(member)?;
        let flag = found.value.as_bool();
        if flag.is_none() {
            self.problem(&found.pointer, "must be `true` or `false`");
        }
        flag
    }

    /// The node itself, or what its `$ref` leads to; a problem where that leads nowhere.
    pub fn resolve(&self, node: Node<'a>) -> Option<Node<'a>> {
        let start = node.pointer.clone();
        let mut node = node;
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = node.member("$ref") else { return Some(node) };
            node = self.target(&reference)?;
        }
        self.problem(&start, format!("more than {LONGEST_CHAIN} references lead to one another"));
        None
    }

    /// The node itself or, where it is a reference and nothing else, what that leads to in the end. Where it leads nowhere
    /// the node itself, for whoever reads it to tell.
    pub fn aliased(&self, node: Node<'a>) -> Node<'a> {
        let mut at = node.clone();
        for _ in 0..LONGEST_CHAIN {
            let alone = at.value.as_object().is_some_and(|object| object.len() == 1);
            let Some(reference) = at.member("$ref").filter(|_| alone) else { return at };
            let target = reference.value.as_str().and_then(|text| self.find(text.strip_prefix('#')?));
            match target {
                Some(target) => at = target,
                None => return node,
            }
        }
        node
    }

    /// The node itself, or what its `$ref` leads to; `None`, and no problem, where that leads nowhere: for what is not judged.
    pub fn followed(&self, node: Node<'a>) -> Option<Node<'a>> {
        let mut node = node;
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = node.member("$ref") else { return Some(node) };
            node = self.find(reference.value.as_str()?.strip_prefix('#')?)?;
        }
        None
    }

    /// The value at a pointer as it stands in a URI's fragment.
    fn find(&self, fragment: &str) -> Option<Node<'a>> {
        let pointer = decode(fragment, Plus::Literal).ok()?.into_owned();
        self.root.pointer(&pointer).map(|value| Node { pointer, value })
    }

    /// What the value of a `$ref` names; a problem where it names nothing in this document.
    pub fn target(&self, reference: &Node<'a>) -> Option<Node<'a>> {
        let Some(text) = reference.value.as_str() else {
            self.problem(&reference.pointer, "must be a text");
            return None;
        };
        let Some(fragment) = text.strip_prefix('#') else {
            let message = format!("`{text}` is outside this document, and nothing outside it is read");
            self.problem_with_hint(&reference.pointer, message, "bundle the documents into one first");
            return None;
        };
        if !fragment.is_empty() && !fragment.starts_with('/') {
            let hint = "write it as a path, such as `#/components/schemas/Order`";
            self.problem_with_hint(&reference.pointer, format!("`{text}` names an anchor"), hint);
            return None;
        }
        let found = self.find(fragment);
        if found.is_none() {
            self.missing(reference, text, fragment);
        }
        found
    }

    fn missing(&self, reference: &Node<'a>, text: &str, pointer: &str) {
        let message = format!("`{text}` is not in this document");
        let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
        let siblings = self.root.pointer(parent).and_then(Value::as_object);
        let nearest = siblings.and_then(|all| all.keys().min_by_key(|key| distance(key, name)));
        match nearest.filter(|key| distance(key, name) <= 1 + name.len() / 4) {
            Some(key) => {
                self.problem_with_hint(
                    &reference.pointer,
                    message,
                    format!("did you mean `#{parent}/{}`?", escape(key)),
                );
            }
            None => self.problem(&reference.pointer, message),
        }
    }

    /// The pointer, or the longest one above it that stands in the document: what we rearranged has no place of its own.
    fn nearest<'p>(&self, pointer: &'p str) -> &'p str {
        let mut pointer = pointer;
        while self.root.pointer(pointer).is_none() {
            pointer = pointer.rsplit_once('/').map_or("", |(above, _)| above);
        }
        pointer
    }
}

impl<'a> Node<'a> {
    /// A member of an object.
    pub fn member(&self, name: &str) -> Option<Node<'a>> {
        let value = self.value.as_object()?.get(name)?;
        Some(Node { pointer: format!("{}/{}", self.pointer, escape(name)), value })
    }

    /// Members of an object, in order; none for anything else.
    pub fn members(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> + use<'a> {
        let pointer = self.pointer.clone();
        self.value
            .as_object()
            .into_iter()
            .flatten()
            .map(move |(name, value)| (name.as_str(), Node { pointer: format!("{pointer}/{}", escape(name)), value }))
    }

    /// Items of an array, in order; none for anything else.
    pub fn items(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let pointer = self.pointer.clone();
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items.map(move |(index, value)| Node { pointer: format!("{pointer}/{index}"), value })
    }
}

/// A key as a step of a JSON pointer (RFC 6901, section 3).
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// How many letters must change to turn one name into the other, in capitals or not.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn edition(root: &Value) -> Result<Edition, (&'static str, String, &'static str)> {
    const READ: &str = "OpenAPI 3.0 and 3.1 are read";
    if root.get("swagger").is_some() {
        let hint = "convert it to OpenAPI 3 first";
        return Err(("/swagger", "Swagger 2.0 is not read".to_owned(), hint));
    }
    let written = match root.get("openapi") {
        None => return Err(("", "this is not an OpenAPI document: it has no member `openapi`".to_owned(), READ)),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let is = |minor: &str| written == minor || written.strip_prefix(minor).is_some_and(|rest| rest.starts_with('.'));
    if is("3.0") {
        Ok(Edition::V30)
    } else if is("3.1") {
        Ok(Edition::V31)
    } else {
        Err(("/openapi", format!("OpenAPI `{written}` is not read"), READ))
    }
}
