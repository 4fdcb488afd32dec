//! A value of the document together with the JSON pointer that leads to it, so that every problem has its place.

use portolan_config::{Diagnostic, Place};
use serde_json::Value;

/// Longer chains of references are taken for a circle.
const LONGEST_CHAIN: usize = 16;

/// The document as a whole.
pub(super) struct Document<'a> {
    pub(super) root: &'a Value,
    pub(super) place: &'a dyn Fn(&str) -> Place,
}

/// A value in it.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value,
    pub(super) pointer: String,
}

impl<'a> Document<'a> {
    pub(super) fn root(&self) -> Node<'a> {
        Node { value: self.root, pointer: String::new() }
    }

    pub(super) fn error(&self, pointer: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&(self.place)(pointer), message)
    }

    pub(super) fn warning(&self, pointer: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(&(self.place)(pointer), message)
    }

    /// Follows `$ref` to what it means. Keys beside a `$ref` have no meaning (AsyncAPI 3.0.0, Reference Object).
    pub(super) fn resolve(&self, node: Node<'a>) -> Result<Node<'a>, Diagnostic> {
        let start = node.pointer.clone();
        let mut node = node;
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = node.value.get("$ref") else { return Ok(node) };
            let at = format!("{}/$ref", node.pointer);
            let Some(target) = reference.as_str() else {
                return Err(self.error(&at, "a reference is a text such as `#/channels/orders`"));
            };
            let Some(fragment) = target.strip_prefix('#') else {
                return Err(self
                    .error(&at, format!("`{target}` lies outside this document, and nothing is fetched"))
                    .hint("copy it into `components` and refer to it there"));
            };
            // A fragment is percent-encoded (RFC 6901, section 6).
            let pointer = percent_decoded(fragment);
            let Some(value) = pointer.as_deref().and_then(|pointer| self.root.pointer(pointer)) else {
                return Err(self.error(&at, format!("`{target}` does not exist")));
            };
            node = Node { value, pointer: pointer.unwrap_or_default() };
        }
        Err(self.error(&start, "references lead in a circle"))
    }
}

impl<'a> Node<'a> {
    /// The value of a key, `null` counting as absent.
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Node { value, pointer: self.pointer_of(key) })
    }

    /// Keys and values of an object; none of anything else.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> + use<'a> {
        let above = self.clone();
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(move |(key, value)| (key.as_str(), Node { value, pointer: above.pointer_of(key) }))
    }

    /// Elements of an array; none of anything else.
    pub(super) fn elements(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let above = self.pointer.clone();
        let elements = self.value.as_array().into_iter().flatten().enumerate();
        elements.map(move |(at, value)| Node { value, pointer: format!("{above}/{at}") })
    }

    pub(super) fn pointer_of(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1"))
    }
}

/// Decodes `%41`; `None` when what stands there is not UTF-8 or not hexadecimal.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}
