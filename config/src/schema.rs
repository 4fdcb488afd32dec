//! The JSON Schema of the configuration (draft 2020-12), put together from the same tables that read it.

use serde_json::{Map, Value, json};

use crate::document::Document;
use crate::reader::{Need, Setting, default_node};

/// The JSON Schema of a configuration file, for editors and for checks before a change is merged. It knows every key
/// that [`crate::load`] knows; what needs more than one place to see (a reference to an upstream that is not there)
/// only [`crate::load`] tells.
pub fn schema() -> Value {
    let mut schemas = Schemas::default();
    let root = Document::schema(&mut schemas);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portolan configuration",
    });
    schema["$ref"] = root["$ref"].clone();
    schema["$defs"] = Value::Object(schemas.definitions);
    schema
}

/// The definitions gathered so far.
#[derive(Default)]
pub(crate) struct Schemas {
    definitions: Map<String, Value>,
}

/// Whether a key must be there, and what its absence means.
#[derive(Clone, Copy)]
pub(crate) enum Presence {
    Required,
    Optional,
    Default(&'static str),
}

/// A mapping's schema in the making.
#[derive(Default)]
pub(crate) struct Mapping {
    properties: Map<String, Value>,
    required: Vec<Value>,
    rules: Map<String, Value>,
}

impl Schemas {
    /// Defines a mapping, once, and answers with a reference to it.
    pub(crate) fn mapping(&mut self, name: &str, doc: &str, fill: impl FnOnce(&mut Schemas, &mut Mapping)) -> Value {
        self.define(name, |schemas| {
            let mut mapping = Mapping::default();
            fill(schemas, &mut mapping);
            let Mapping { properties, required, rules } = mapping;
            let mut schema = json!({
                "type": "object",
                "description": prose(doc),
                "properties": properties,
                "additionalProperties": false,
            });
            if !required.is_empty() {
                schema["required"] = Value::Array(required);
            }
            for (key, rule) in rules {
                schema[key] = rule;
            }
            schema
        })
    }

    /// Defines a closed choice of words.
    pub(crate) fn choice(&mut self, name: &str, doc: &str, words: &[(&str, &str)]) -> Value {
        let choices: Vec<_> =
            words.iter().map(|(word, doc)| json!({ "const": word, "description": prose(doc) })).collect();
        self.define(name, |schemas| {
            let reference = schemas.reference();
            json!({ "description": prose(doc), "anyOf": [{ "oneOf": choices }, reference] })
        })
    }

    /// The schema of a single value, or of a reference to the environment in its place.
    pub(crate) fn scalar(&mut self, schema: Value) -> Value {
        json!({ "anyOf": [schema, self.reference()] })
    }

    fn reference(&mut self) -> Value {
        self.define("Reference", |_| {
            json!({
                "type": "string",
                "description": "A reference to the environment, replaced when the file is read: \
                                `${env:NAME}` or `${env:NAME:-default}`; `$${` is a literal `${`.",
                "pattern": r"\$\{env:[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
            })
        })
    }

    fn define(&mut self, name: &str, schema: impl FnOnce(&mut Schemas) -> Value) -> Value {
        if !self.definitions.contains_key(name) {
            // The place is taken first: a definition may meet itself on the way.
            self.definitions.insert(name.to_owned(), Value::Null);
            let schema = schema(self);
            self.definitions.insert(name.to_owned(), schema);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }
}

impl Mapping {
    /// Adds a key.
    pub(crate) fn key(&mut self, key: &str, doc: &str, presence: Presence, mut schema: Value) {
        schema["description"] = prose(doc).into();
        match presence {
            Presence::Required => self.required.push(key.into()),
            Presence::Optional => {}
            Presence::Default(text) => schema["default"] = default_node(text).to_json(),
        }
        self.properties.insert(key.to_owned(), schema);
    }

    /// Says that one of several keys is there, or at most one.
    pub(crate) fn one_of(&mut self, need: Need, keys: &[&str]) {
        match need {
            Need::Required => {
                let each: Vec<_> = keys.iter().map(|key| json!({ "required": [key] })).collect();
                self.rules.insert("oneOf".into(), each.into());
            }
            Need::Optional => {
                let pairs = keys.iter().enumerate().flat_map(|(i, a)| keys[i + 1..].iter().map(move |b| (a, b)));
                let pairs: Vec<_> = pairs.map(|(a, b)| json!({ "required": [a, b] })).collect();
                self.rules.insert("not".into(), json!({ "anyOf": pairs }));
            }
        }
    }
}

/// A doc comment as one paragraph.
fn prose(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
