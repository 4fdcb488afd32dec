//! Which types a schema permits: how a text in a URL becomes a value.

use serde_json::Value;

use super::document::{Document, Node};

/// How deep references and combinations are followed; beyond it any type is taken for possible.
const DEEPEST: usize = 16;

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    /// No type.
    pub const NONE: Self = Self(0);
    /// Text.
    pub const STRING: Self = Self(1);
    /// Whole numbers.
    pub const INTEGER: Self = Self(2);
    /// Numbers, whole ones included.
    pub const NUMBER: Self = Self(4);
    /// `true` and `false`.
    pub const BOOLEAN: Self = Self(8);
    /// `null`.
    pub const NULL: Self = Self(16);
    /// Arrays.
    pub const ARRAY: Self = Self(32);
    /// Objects.
    pub const OBJECT: Self = Self(64);
    /// Every type: nothing is known.
    pub const ANY: Self = Self(127);

    /// Whether it has all of `other`.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both have. A number that must be an integer is one.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        let number_of_one = (self.has(Self::NUMBER) && other.has(Self::INTEGER))
            || (other.has(Self::NUMBER) && self.has(Self::INTEGER));
        Self((self.0 & other.0) | if number_of_one { Self::INTEGER.0 } else { 0 })
    }

    fn named(name: &str) -> Self {
        match name {
            "string" => Self::STRING,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "boolean" => Self::BOOLEAN,
            "null" => Self::NULL,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::NONE,
        }
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }
}

/// The types a schema permits, as far as can be told without an instance.
pub(super) fn types_of(document: &Document<'_>, schema: &Node<'_>) -> Types {
    follow(document, schema, 0)
}

fn follow<'a>(document: &Document<'a>, schema: &Node<'a>, depth: usize) -> Types {
    if depth > DEEPEST {
        return Types::ANY;
    }
    if let Some(reference) = schema.member("$ref") {
        return document.target(&reference).map_or(Types::ANY, |target| follow(document, &target, depth + 1));
    }
    let mut types = own(schema);
    for part in schema.member("allOf").iter().flat_map(Node::items) {
        types = types.and(follow(document, &part, depth + 1));
    }
    for choice in ["anyOf", "oneOf"].iter().filter_map(|name| schema.member(name)) {
        let parts = choice.items().map(|part| follow(document, &part, depth + 1));
        types = types.and(parts.fold(Types::NONE, Types::or));
    }
    types
}

/// What the schema says of types itself.
fn own(schema: &Node<'_>) -> Types {
    let null = match schema.value.get("nullable") {
        Some(Value::Bool(true)) => Types::NULL,
        _ => Types::NONE,
    };
    let union = |types: &mut dyn Iterator<Item = Types>| types.fold(null, Types::or);
    match schema.value.get("type") {
        Some(Value::String(name)) => return Types::named(name).or(null),
        Some(Value::Array(names)) => return union(&mut names.iter().filter_map(Value::as_str).map(Types::named)),
        _ => {}
    }
    if let Some(values) = schema.value.get("enum").and_then(Value::as_array) {
        return union(&mut values.iter().map(Types::of_value));
    }
    if let Some(value) = schema.value.get("const") {
        return Types::of_value(value).or(null);
    }
    if schema.value.get("properties").is_some() {
        return Types::OBJECT.or(null);
    }
    if schema.value.get("items").is_some() {
        return Types::ARRAY.or(null);
    }
    Types::ANY
}
