//! Lists, mappings with free keys, and values that have a second form.

use std::marker::PhantomData;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::{NAME, is_name};
use crate::diagnostic::Diagnostic;
use crate::reader::{Placed, Reader, Setting};
use crate::schema::Schemas;
use crate::snapshot::Name;
use crate::tree::{Kind, Node};

/// From `MIN` to `MAX` items, in their order.
pub(crate) struct List<S, const MIN: usize, const MAX: usize>(PhantomData<S>);

impl<S: Setting, const MIN: usize, const MAX: usize> Setting for List<S, MIN, MAX> {
    type Value = Vec<S::Value>;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value> {
        let items = reader.items(node)?;
        if items.len() < MIN {
            reader.wrong::<()>(node, format!("expected at least {MIN} in the list, found {}", items.len()), "");
        }
        if items.len() > MAX {
            reader.wrong::<()>(node, format!("expected at most {MAX} in the list, found {}", items.len()), "");
        }
        let read = |(index, item)| reader.item(index, item, |reader| S::read(item, reader));
        Some(items.iter().take(MAX).enumerate().filter_map(read).collect())
    }

    fn blank() -> Self::Value {
        Vec::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        json!({ "type": "array", "items": S::schema(schemas), "minItems": MIN, "maxItems": MAX })
    }
}

/// One `S` by itself, or a list of up to `MAX`.
pub(crate) struct OneOrMany<S, const MAX: usize>(PhantomData<S>);

impl<S: Setting, const MAX: usize> Setting for OneOrMany<S, MAX> {
    type Value = Vec<S::Value>;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value> {
        match &node.kind {
            Kind::Sequence(_) => List::<S, 0, MAX>::read(node, reader),
            _ => Some(vec![S::read(node, reader)?]),
        }
    }

    fn blank() -> Self::Value {
        Vec::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        json!({ "anyOf": [S::schema(schemas), List::<S, 0, MAX>::schema(schemas)] })
    }
}

/// At least `MIN` values under names that the operator gives, each with the place of its name.
pub(crate) struct Named<S, const MIN: usize = 0>(PhantomData<S>);

impl<S: Setting, const MIN: usize> Setting for Named<S, MIN> {
    type Value = IndexMap<Name, Placed<S::Value>>;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value> {
        let entries = reader.entries(node)?;
        if entries.len() < MIN {
            reader.wrong::<()>(node, format!("expected at least {MIN} in the mapping, found {}", entries.len()), "");
        }
        for (name, entry) in entries.iter().filter(|(name, _)| !is_name(name)) {
            reader.under(name, entry, |reader| {
                let told = Diagnostic::error(&reader.key_place(), "this cannot be a name");
                reader.tell(told.hint("up to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit"));
            });
        }
        Keyed::<S>::read(node, reader)
    }

    fn blank() -> Self::Value {
        IndexMap::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        json!({
            "type": "object",
            "minProperties": MIN,
            "propertyNames": { "pattern": NAME },
            "additionalProperties": S::schema(schemas),
        })
    }
}

/// Values under keys that come from elsewhere and may be any text, each with the place of its key.
pub(crate) struct Keyed<S>(PhantomData<S>);

impl<S: Setting> Setting for Keyed<S> {
    type Value = IndexMap<Name, Placed<S::Value>>;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value> {
        let read = |(key, entry): (&String, &crate::tree::Entry)| {
            reader.under(key, entry, |reader| {
                let place = reader.key_place();
                let value = S::read(&entry.value, reader).unwrap_or_else(S::blank);
                (Name::from(key.as_str()), Placed { value, place })
            })
        };
        match &node.kind {
            Kind::Mapping(entries) => Some(entries.iter().map(read).collect()),
            _ => reader.mistyped(node, "a mapping"),
        }
    }

    fn blank() -> Self::Value {
        IndexMap::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        json!({ "type": "object", "additionalProperties": S::schema(schemas) })
    }
}

/// `S`, or `off`.
pub(crate) struct OffOr<S>(PhantomData<S>);

impl<S: Setting> Setting for OffOr<S> {
    type Value = Option<S::Value>;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value> {
        if let Kind::Scalar(_) = &node.kind {
            let word = reader.word(node, "a mapping or `off`")?;
            if word.text == "off" {
                return Some(None);
            }
            return reader.wrong(node, format!("`{}` is neither a mapping nor `off`", word.shown), "");
        }
        Some(Some(S::read(node, reader)?))
    }

    fn blank() -> Self::Value {
        None
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let off = schemas.scalar(json!({ "const": "off", "$comment": "`off`" }));
        json!({ "anyOf": [S::schema(schemas), off] })
    }
}

/// A single value `S`, or `off`.
pub(crate) struct OrOff<S>(PhantomData<S>);

impl<S: Setting> Setting for OrOff<S> {
    type Value = Option<S::Value>;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value> {
        if let Kind::Scalar(_) = &node.kind
            && reader.word(node, "a value or `off`")?.text == "off"
        {
            return Some(None);
        }
        Some(Some(S::read(node, reader)?))
    }

    fn blank() -> Self::Value {
        None
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let off = schemas.scalar(json!({ "const": "off", "$comment": "`off`" }));
        json!({ "anyOf": [S::schema(schemas), off] })
    }
}

/// `*` for all there are, which is absent; or one `S` by itself, or a list of 1 to `MAX`.
pub(crate) struct AllOr<S, const MAX: usize>(PhantomData<S>);

impl<S: Setting, const MAX: usize> Setting for AllOr<S, MAX> {
    type Value = Option<Vec<S::Value>>;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value> {
        match &node.kind {
            Kind::Sequence(items) => {
                for (index, item) in items.iter().enumerate().filter(|(_, item)| is_star(item)) {
                    reader.item(index, item, |reader| {
                        reader.wrong::<()>(item, "`*` stands alone, in place of the list", "`\"*\"`, without brackets");
                    });
                }
                let is_told = items.iter().any(is_star);
                if is_told { None } else { List::<S, 0, MAX>::read(node, reader).map(Some) }
            }
            _ if is_star(node) => Some(None),
            _ => Some(Some(vec![S::read(node, reader)?])),
        }
    }

    fn blank() -> Self::Value {
        Some(Vec::new())
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let all = schemas.scalar(json!({ "const": "*", "$comment": "`*`" }));
        json!({ "anyOf": [all, S::schema(schemas), List::<S, 0, MAX>::schema(schemas)] })
    }
}

fn is_star(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar(scalar) if scalar.text == "*")
}
