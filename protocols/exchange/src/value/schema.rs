//! Types out of the schemas of a document: what OpenAPI and AsyncAPI say of values, as a [`Type`].
//!
//! | schema | type |
//! |---|---|
//! | `boolean` | [`Type::Bool`] |
//! | `integer` with a format of at most 64 bits, or with bounds within them | [`Type::I64`], or [`Type::U64`] (`uint64` and the like, no number below zero) |
//! | `number` with the format `float` or `double` | [`Type::F64`] |
//! | every other `number` and `integer` | [`Type::Number`]: it stays a number, whatever its size |
//! | `string` with the format `date-time` | [`Type::Timestamp`] |
//! | `string` with the format `decimal` or `decimal128` | [`Type::Decimal`] |
//! | `string` with the format `byte`, or with `contentEncoding: base64` | [`Type::Bytes`] |
//! | every other `string` | [`Type::Text`] |
//! | `array` | [`Type::List`] of what `items` and `prefixItems` may be |
//! | `object` | [`Type::Map`]: `properties` and `required`, and for others `additionalProperties` and `patternProperties` |
//! | `nullable`, or `null` among the types | [`Type::Nullable`] |
//! | `enum`, `const` without a `type` | the type of the values |
//! | `allOf` | what all of them say; `anyOf`, `oneOf`: what holds of each of them |
//!
//! **A type promises no more than its schema.** Whatever fits the schema can be read as the type, so that nothing that passed a
//! check is refused for its type; what a type cannot say (a pattern, a longest length, that two types are possible) it
//! leaves open, at the worst as [`Type::Any`] at that spot. Two exceptions follow what people mean: `properties` without a
//! `type` mean an object, `items` an array; and a text must be what its format says: base64 with padding, a point in time
//! with its offset and without a leap second.
//!
//! **It ends.** References are followed within the document, each schema is read once however often it is referred to, and a
//! reference that stands in a circle is [`Type::Any`] at its spot. A type is at most [`DEEPEST`] levels deep.
//!
//! Nothing is judged here: what is no schema, or leads nowhere, is [`Type::Any`].

mod circles;
mod combine;

use serde_json::{Map as JsonMap, Value as Json};

use super::{Field, MapType, Others, Presence, Type};
use circles::Circles;
use combine::Combining;

/// Types are at most this deep, schemas that stand in one another counted: as deep as [`super::DecodeLimits`] lets values be.
pub const DEEPEST: usize = 128;

/// Schemas that stand in one another without a reference between them are read as deep as this.
const DEEPEST_INLINE: usize = 64;

/// How the document writes what JSON Schema has written in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAPI 3.0: `nullable`, and what stands beside a `$ref` is ignored.
    OpenApi30,
    /// JSON Schema draft 7, and AsyncAPI, which builds on it: what stands beside a `$ref` is ignored.
    Draft07,
    /// JSON Schema 2020-12, which is OpenAPI 3.1: what stands beside a `$ref` holds, too.
    Draft202012,
}

/// Which way the values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// To the service: what is `readOnly` may be absent.
    Input,
    /// From the service: what is `writeOnly` may be absent.
    Output,
}

/// The schemas of one document, read as types for one side.
#[derive(Debug)]
pub struct Schemas<'d> {
    dialect: Dialect,
    side: Side,
    circles: Circles<'d>,
    /// By the place of the schema among the circles.
    read: Vec<Option<Read>>,
    combining: Combining,
}

/// What became of one schema.
#[derive(Debug, Clone)]
struct Read {
    r#type: Type,
    /// How many levels it has.
    height: usize,
}

impl<'d> Schemas<'d> {
    /// The schemas of a document.
    pub fn new(document: &'d Json, dialect: Dialect, side: Side) -> Self {
        let circles = Circles::new(document);
        Self { dialect, side, circles, read: Vec::new(), combining: Combining::default() }
    }

    /// The type of the schema at this JSON pointer (RFC 6901). Asked again, it costs nothing.
    pub fn read(&mut self, pointer: &str) -> Type {
        let at = self.circles.place(pointer);
        // Those that it refers to come before it.
        for next in self.circles.explore(at) {
            self.read.resize(self.circles.len(), None);
            let mut reading = Reading { schemas: self, within: next, height: 0 };
            let r#type = match reading.schemas.circles.schema(next) {
                Some(schema) => reading.schema(schema, 0),
                None => Type::Any,
            };
            let height = reading.height;
            self.read[next] = Some(Read { r#type, height });
        }
        self.read[at].as_ref().expect("what was explored was read").r#type.clone()
    }

    /// What holds of a value that is of the one type or of the other: where a contract gives two types for one spot.
    pub fn either(&mut self, one: &Type, other: &Type) -> Type {
        self.combining.either(one, other)
    }
}

/// One schema under reading.
struct Reading<'r, 'd> {
    schemas: &'r mut Schemas<'d>,
    /// The place of the schema that is read.
    within: usize,
    /// The deepest level so far.
    height: usize,
}

impl Reading<'_, '_> {
    fn schema(&mut self, schema: &Json, depth: usize) -> Type {
        let Json::Object(schema) = schema else { return Type::Any };
        if depth > DEEPEST_INLINE {
            return Type::Any;
        }
        self.height = self.height.max(depth);
        let mut found = self.own(schema, depth);
        if let Some(reference) = schema.get("$ref") {
            let target = reference.as_str().map_or(Type::Any, |reference| self.reference(reference, depth));
            // OpenAPI 3.0.4, section 4.7.23, and JSON Schema draft 7, section 8.3: nothing else counts.
            if self.schemas.dialect != Dialect::Draft202012 {
                return target;
            }
            found = self.schemas.combining.both(&target, &found);
        }
        for part in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            let part = self.schema(part, depth + 1);
            found = self.schemas.combining.both(&found, &part);
        }
        for choice in ["anyOf", "oneOf"].iter().filter_map(|name| schema.get(*name)?.as_array()) {
            if let Some(choice) = self.any_of(choice, depth) {
                found = self.schemas.combining.both(&found, &choice);
            }
        }
        // Beside `allOf` and the like, too, since those who write it there mean it.
        if self.schemas.dialect == Dialect::OpenApi30 && schema.get("nullable") == Some(&Json::Bool(true)) {
            found = or_null(found);
        }
        found
    }

    /// A value of any of these types.
    fn any_of(&mut self, choice: &[Json], depth: usize) -> Option<Type> {
        let mut parts = choice.iter().filter(|part| !is_null_alone(part));
        let first = parts.next().map(|part| self.schema(part, depth + 1))?;
        let either = parts.fold(first, |either, part| {
            let part = self.schema(part, depth + 1);
            self.schemas.combining.either(&either, &part)
        });
        Some(if choice.iter().any(is_null_alone) { or_null(either) } else { either })
    }

    /// What a reference leads to, as it was read; anything where it leads back here.
    fn reference(&mut self, reference: &str, depth: usize) -> Type {
        let Some(target) = self.schemas.circles.target(reference) else { return Type::Any };
        if self.schemas.circles.are_of_one(self.within, target) {
            return Type::Any;
        }
        let Some(Some(read)) = self.schemas.read.get(target) else { return Type::Any };
        if depth + read.height > DEEPEST {
            return Type::Any;
        }
        self.height = self.height.max(depth + read.height);
        read.r#type.clone()
    }

    /// What the schema says itself.
    fn own(&mut self, schema: &JsonMap<String, Json>, depth: usize) -> Type {
        let kinds = Kinds::of(schema);
        let found = match kinds.names.as_slice() {
            ["boolean"] => Type::Bool,
            ["integer"] => integer(schema),
            ["number"] => number(schema),
            ["integer", "number"] | ["number", "integer"] => Type::Number,
            ["string"] => text(schema),
            ["array"] => self.list(schema, depth),
            ["object"] => self.map(schema, depth),
            _ => Type::Any,
        };
        if kinds.null { or_null(found) } else { found }
    }

    fn list(&mut self, schema: &JsonMap<String, Json>, depth: usize) -> Type {
        // Before 2020-12, a list of `items` was what `prefixItems` is now, and `additionalItems` what `items` is.
        let (first, others) = match schema.get("items") {
            Some(Json::Array(first)) => (first.as_slice(), schema.get("additionalItems")),
            items => (schema.get("prefixItems").and_then(Json::as_array).map_or(&[][..], Vec::as_slice), items),
        };
        let mut of: Option<Type> = None;
        for part in first.iter().chain(others.filter(|others| **others != Json::Bool(false))) {
            let part = self.schema(part, depth + 1);
            of = Some(of.map_or(part.clone(), |of| self.schemas.combining.either(&of, &part)));
        }
        let is_open = others.is_none();
        Type::list(of.filter(|_| !is_open).unwrap_or_default())
    }

    fn map(&mut self, schema: &JsonMap<String, Json>, depth: usize) -> Type {
        let others = self.others(schema, depth);
        let required: Vec<&str> =
            schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
        let properties = schema.get("properties").and_then(Json::as_object);
        let mut members = MapType::new();
        for (name, property) in properties.into_iter().flatten() {
            let r#type = self.schema(property, depth + 1);
            let is_required = required.contains(&name.as_str()) && !self.goes_the_other_way(property);
            let presence = if is_required { Presence::Required } else { Presence::Optional };
            members = members.field(name, Field { r#type, presence });
        }
        for name in required {
            if properties.is_none_or(|properties| !properties.contains_key(name)) {
                let r#type = match &others {
                    Others::Of(others) => others.clone(),
                    Others::Refused => Type::Any,
                };
                members = members.required(name, r#type);
            }
        }
        Type::map(members.others(others))
    }

    /// Members without a name in the schema.
    fn others(&mut self, schema: &JsonMap<String, Json>, depth: usize) -> Others {
        let mut others = match schema.get("additionalProperties") {
            Some(Json::Bool(false)) => None,
            Some(others) => Some(self.schema(others, depth + 1)),
            None => Some(Type::Any),
        };
        for (_, part) in schema.get("patternProperties").and_then(Json::as_object).into_iter().flatten() {
            let part = self.schema(part, depth + 1);
            others = Some(others.map_or(part.clone(), |others| self.schemas.combining.either(&others, &part)));
        }
        others.map_or(Others::Refused, Others::Of)
    }

    /// Whether a member is left out on this side (OpenAPI 3.0.4, section 4.7.24.2).
    fn goes_the_other_way(&self, property: &Json) -> bool {
        let word = match self.schemas.side {
            Side::Input => "readOnly",
            Side::Output => "writeOnly",
        };
        let says = |schema: &Json| schema.get(word) == Some(&Json::Bool(true));
        let target = property.get("$ref").and_then(Json::as_str).and_then(|text| self.schemas.circles.find(text));
        says(property) || target.is_some_and(says)
    }
}

/// The kinds of values that a schema permits by itself; none where it says nothing of them.
struct Kinds<'s> {
    names: Vec<&'s str>,
    null: bool,
}

impl<'s> Kinds<'s> {
    fn of(schema: &'s JsonMap<String, Json>) -> Self {
        let mut kinds = Self { names: Vec::new(), null: false };
        match (schema.get("type"), schema.get("enum"), schema.get("const")) {
            (Some(Json::String(name)), ..) => kinds.add(name),
            (Some(Json::Array(names)), ..) => names.iter().filter_map(Json::as_str).for_each(|name| kinds.add(name)),
            (None, Some(Json::Array(values)), _) => values.iter().for_each(|value| kinds.add(kind(value))),
            (None, None, Some(value)) => kinds.add(kind(value)),
            _ if schema.contains_key("properties") => kinds.add("object"),
            _ if schema.contains_key("items") => kinds.add("array"),
            _ => {}
        }
        kinds
    }

    fn add(&mut self, name: &'s str) {
        match name {
            "null" => self.null = true,
            name if !self.names.contains(&name) => self.names.push(name),
            _ => {}
        }
    }
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// `{ type: null }`, as 3.1 writes one of the choices.
fn is_null_alone(schema: &Json) -> bool {
    schema.get("type").is_some_and(|name| name == "null")
        || schema.get("const").is_some_and(Json::is_null)
        || schema.get("enum").and_then(Json::as_array).is_some_and(|all| all.as_slice() == [Json::Null])
}

fn or_null(found: Type) -> Type {
    if found.takes_null() { found } else { Type::nullable(found) }
}

fn format(schema: &JsonMap<String, Json>) -> &str {
    schema.get("format").and_then(Json::as_str).unwrap_or_default()
}

fn integer(schema: &JsonMap<String, Json>) -> Type {
    match format(schema) {
        "int8" | "int16" | "int32" | "int64" => return Type::I64,
        "uint8" | "uint16" | "uint32" | "uint64" => return Type::U64,
        _ => {}
    }
    let bound = |name: &str| whole(schema.get(name)?);
    let lowest = bound("minimum").or_else(|| Some(bound("exclusiveMinimum")? + 1));
    let highest = bound("maximum").or_else(|| Some(bound("exclusiveMaximum")? - 1));
    match (lowest, highest) {
        (Some(low), Some(high)) if low >= i64::MIN.into() && high <= i64::MAX.into() => Type::I64,
        (Some(low), Some(high)) if low >= 0 && high <= u64::MAX.into() => Type::U64,
        _ => Type::Number,
    }
}

fn whole(bound: &Json) -> Option<i128> {
    bound.as_i64().map(i128::from).or_else(|| bound.as_u64().map(i128::from))
}

fn number(schema: &JsonMap<String, Json>) -> Type {
    match format(schema) {
        "float" | "double" => Type::F64,
        _ => Type::Number,
    }
}

fn text(schema: &JsonMap<String, Json>) -> Type {
    let encoding = schema.get("contentEncoding").and_then(Json::as_str).unwrap_or_default();
    match format(schema) {
        "date-time" => Type::Timestamp,
        "decimal" | "decimal128" => Type::Decimal,
        "byte" => Type::Bytes,
        _ if encoding.eq_ignore_ascii_case("base64") => Type::Bytes,
        _ => Type::Text,
    }
}

#[cfg(test)]
mod tests;
