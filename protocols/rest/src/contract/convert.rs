//! One schema of the document brought to JSON Schema 2020-12, without what says nothing about a request.
//!
//! What OpenAPI 3.0 writes in its own way becomes what 2020-12 says: `nullable` another type, a boolean
//! `exclusiveMinimum` a number, and beside a `$ref` nothing stands.

use serde_json::{Map, Value, json};

use super::bounds;
use super::document::{Document, Edition, Node};
use super::operation::{is_read, plain};

/// Schemas may stand in one another this deep without a reference between them.
const DEEPEST: usize = 64;

/// Keywords whose value is a schema for the same value.
const SAME: [&str; 4] = ["not", "if", "then", "else"];
/// Keywords whose value is a schema for any number of items or members.
const MANY: [&str; 5] = ["items", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties"];
/// Keywords whose value is a list of schemas for the same value.
const SAME_LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords that are taken over as they are.
const KEPT: [&str; 20] = [
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
];
/// Keywords that give a schema a name of its own or lead to one; references by path are read alone.
const NAMES: [&str; 4] = ["$id", "$dynamicRef", "$recursiveRef", "$recursiveAnchor"];

/// What a schema contains that concerns the document as a whole.
pub(super) enum Found<'a> {
    /// A reference to another schema; its new text is asked for.
    Reference {
        /// What it leads to.
        target: Node<'a>,
        /// Whether that schema applies to the same value, not to a part of it.
        same_value: bool,
    },
    /// A schema for any number of parts; a reference to it is asked for.
    Part(Node<'a>),
    /// A pattern and where it stands.
    Pattern((String, String)),
}

/// Converts a schema; problems go to the document, and what they concern is left out.
pub(super) fn schema<'a>(
    document: &Document<'a>,
    node: &Node<'a>,
    found: &mut dyn FnMut(Found<'a>) -> String,
) -> Value {
    Converter { document, found }.schema(node, true, 0)
}

struct Converter<'c, 'd, 'a> {
    document: &'d Document<'a>,
    found: &'c mut dyn FnMut(Found<'a>) -> String,
}

impl<'a> Converter<'_, '_, 'a> {
    /// `same` tells whether it applies to the value that the outermost schema applies to.
    fn schema(&mut self, node: &Node<'a>, same: bool, depth: usize) -> Value {
        let object = match node.value {
            Value::Bool(flag) => return Value::Bool(*flag),
            Value::Object(object) => object,
            _ => {
                self.document.problem(&node.pointer, "must be a schema: an object, `true` or `false`");
                return Value::Bool(true);
            }
        };
        if depth > DEEPEST {
            self.document.problem(&node.pointer, format!("schemas stand more than {DEEPEST} deep in one another"));
            return Value::Bool(true);
        }
        let mut converted = Map::new();
        if let Some(reference) = node.member("$ref") {
            if let Some(target) = self.document.target(&reference) {
                let text = (self.found)(Found::Reference { target, same_value: same });
                converted.insert("$ref".to_owned(), Value::String(text));
            }
            // OpenAPI 3.0.4, section 4.7.23: members beside `$ref` are ignored.
            if self.document.edition == Edition::V30 {
                return Value::Object(converted);
            }
        }
        self.refuse_names(node);
        for (keyword, member) in node.members() {
            if let Some(value) = self.keyword(keyword, &member, same, depth) {
                converted.insert(keyword.to_owned(), value);
            }
        }
        self.leave_out_read_only(node, &mut converted);
        bound_integers(object, &mut converted);
        match self.document.edition {
            Edition::V30 => from_30(object, converted),
            Edition::V31 => Value::Object(converted),
        }
    }

    fn keyword(&mut self, keyword: &str, member: &Node<'a>, same: bool, depth: usize) -> Option<Value> {
        if SAME.contains(&keyword) {
            return Some(self.schema(member, same, depth + 1));
        }
        if MANY.contains(&keyword) {
            return Some(self.many(member, depth));
        }
        if keyword == "contains" {
            return Some(self.schema(member, false, depth + 1));
        }
        if SAME_LIST.contains(&keyword) || keyword == "prefixItems" {
            let same = same && keyword != "prefixItems";
            return Some(self.list(member, same, depth));
        }
        if keyword == "patternProperties" {
            for (pattern, node) in member.members() {
                (self.found)(Found::Pattern((node.pointer, pattern.to_owned())));
            }
            return Some(map(member, |schema| self.many(schema, depth)));
        }
        if keyword == "properties" || keyword == "dependentSchemas" {
            let same = same && keyword == "dependentSchemas";
            return Some(map(member, |schema| self.schema(schema, same, depth + 1)));
        }
        match (keyword, member.value) {
            ("pattern", Value::String(pattern)) => {
                (self.found)(Found::Pattern((member.pointer.clone(), pattern.clone())));
                Some(member.value.clone())
            }
            ("format", Value::String(_)) => Some(member.value.clone()),
            _ => KEPT.contains(&keyword).then(|| member.value.clone()),
        }
    }

    fn list(&mut self, node: &Node<'a>, same: bool, depth: usize) -> Value {
        if !node.value.is_array() {
            return node.value.clone();
        }
        node.items().map(|item| self.schema(&item, same, depth + 1)).collect()
    }

    /// A schema for any number of parts. It gets a name of its own, as it stands in the bounds twice.
    fn many(&mut self, node: &Node<'a>, depth: usize) -> Value {
        if !node.value.is_object() {
            return self.schema(node, false, depth + 1);
        }
        let text = (self.found)(Found::Part(node.clone()));
        bounds::of_many(&json!({ "$ref": text }))
    }

    fn refuse_names(&self, node: &Node<'a>) {
        for member in NAMES.iter().filter_map(|name| node.member(name)) {
            let message = "a schema with a name of its own is not read";
            self.document.problem_with_hint(&member.pointer, message, "refer to it by its path in the document");
        }
        if let Some(dialect) = node.member("$schema")
            && !dialect.value.as_str().is_some_and(is_read)
        {
            let message =
                format!("schemas in the dialect `{}` are not read; JSON Schema 2020-12 is", plain(dialect.value));
            self.document.problem(&dialect.pointer, message);
        }
    }

    /// A member that only answers carry is not required in a request (OpenAPI 3.0.4, section 4.7.24.2).
    fn leave_out_read_only(&self, node: &Node<'a>, converted: &mut Map<String, Value>) {
        let Some(properties) = node.member("properties") else { return };
        let Some(Value::Array(required)) = converted.get_mut("required") else { return };
        required.retain(|name| {
            let member = name.as_str().and_then(|name| properties.member(name));
            !member.is_some_and(|member| self.is_read_only(member))
        });
    }

    fn is_read_only(&self, member: Node<'a>) -> bool {
        let says = |node: &Node<'_>| node.value.get("readOnly") == Some(&Value::Bool(true));
        says(&member)
            || (member.member("$ref").is_some() && self.document.resolve(member).is_some_and(|node| says(&node)))
    }
}

/// The members of an object, each changed; anything else as it is, for the schema of schemas to refuse.
fn map<'a>(node: &Node<'a>, mut change: impl FnMut(&Node<'a>) -> Value) -> Value {
    if !node.value.is_object() {
        return node.value.clone();
    }
    node.members().map(|(name, member)| (name.to_owned(), change(&member))).collect()
}

/// `int32` and `int64` become bounds, where the schema has none of its own.
fn bound_integers(written: &Map<String, Value>, converted: &mut Map<String, Value>) {
    if written.get("type") != Some(&json!("integer")) {
        return;
    }
    let (lowest, highest) = match written.get("format").and_then(Value::as_str) {
        Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
        Some("int64") => (json!(i64::MIN), json!(i64::MAX)),
        _ => return,
    };
    if !written.contains_key("minimum") && !written.contains_key("exclusiveMinimum") {
        converted.insert("minimum".to_owned(), lowest);
    }
    if !written.contains_key("maximum") && !written.contains_key("exclusiveMaximum") {
        converted.insert("maximum".to_owned(), highest);
    }
}

/// What 3.0 says in its own way.
fn from_30(written: &Map<String, Value>, mut converted: Map<String, Value>) -> Value {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match converted.get(exclusive) {
            Some(Value::Bool(true)) => {
                converted.remove(exclusive);
                if let Some(value) = converted.remove(bound) {
                    converted.insert(exclusive.to_owned(), value);
                }
            }
            Some(Value::Bool(false)) => drop(converted.remove(exclusive)),
            _ => {}
        }
    }
    if written.get("nullable") == Some(&Value::Bool(true)) { nullable(converted) } else { Value::Object(converted) }
}

/// Permits `null`. Where the schema has no type, the whole of it stands beside `null`: strictly, `nullable` says nothing
/// there (OpenAPI 3.0.4, section 4.7.24), but those who write it beside `allOf` mean it, and their services take it.
fn nullable(mut converted: Map<String, Value>) -> Value {
    let Some(Value::String(name)) = converted.get("type") else {
        return json!({ "anyOf": [{ "type": "null" }, converted] });
    };
    let types = json!([name, "null"]);
    converted.insert("type".to_owned(), types);
    if let Some(Value::Array(values)) = converted.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    if SAME_LIST.iter().any(|keyword| converted.contains_key(*keyword)) {
        return json!({ "anyOf": [{ "type": "null" }, converted] });
    }
    Value::Object(converted)
}
