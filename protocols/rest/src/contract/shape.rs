//! How the text of a parameter becomes a value: its style together with the types of its schema.

use super::document::{Document, Node};
use super::parameter::ParameterIn;
use super::types::{Types, types_of};

/// How the text of a parameter becomes a value: `style` and `explode` together with the types of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// One text, of one of these types.
    One(Types),
    /// An array whose items have one of these types.
    List {
        /// What stands between the items.
        separator: Separator,
        /// The types of the items.
        items: Types,
        /// The types a single text may have instead, where the schema permits other things than an array.
        alone: Types,
    },
    /// An object whose members are parameters of their own: `?min=1&max=2`.
    Exploded(Members),
    /// An object written with brackets: `?price[min]=1&price[max]=2`.
    Deep(Members),
    /// A text that is JSON (`content` with a JSON media type).
    Json,
}

/// What stands between the items of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// Nothing: the parameter is repeated.
    Repeated,
    /// A comma, which is not percent-encoded.
    Comma,
    /// A space, percent-encoded.
    Space,
    /// A vertical bar, percent-encoded or not.
    Pipe,
}

/// The members of an object and the types of each.
pub type Members = Vec<(String, Types)>;

/// The types that one text can have.
const ONE: Types = Types::STRING.or(Types::INTEGER).or(Types::NUMBER).or(Types::BOOLEAN).or(Types::NULL);

/// Reads the shape of a parameter; a problem where its style cannot be honoured.
pub(super) fn read<'a>(
    document: &Document<'a>,
    node: &Node<'a>,
    schema: &Node<'a>,
    name: &str,
    place: ParameterIn,
) -> Option<Shape> {
    let style = match node.member("style") {
        Some(_) => document.text(node, "style")?,
        None if matches!(place, ParameterIn::Query | ParameterIn::Cookie) => "form",
        None => "simple",
    };
    // OpenAPI 3.1.1, section 4.8.12.2.1: the default of `explode` is true for `form` and false for all others.
    let explode = document.flag(node, "explode").unwrap_or(style == "form");
    match chosen(document, schema, name, place, style, explode) {
        Ok(shape) => Some(shape),
        Err(reason) => {
            let at = node.member("style").map_or_else(|| node.pointer.clone(), |style| style.pointer);
            document.problem(&at, reason);
            None
        }
    }
}

fn chosen<'a>(
    document: &Document<'a>,
    schema: &Node<'a>,
    name: &str,
    place: ParameterIn,
    style: &str,
    explode: bool,
) -> Result<Shape, String> {
    let permitted = match place {
        ParameterIn::Path | ParameterIn::Header => style == "simple",
        ParameterIn::Cookie => style == "form",
        ParameterIn::Query => matches!(style, "form" | "spaceDelimited" | "pipeDelimited" | "deepObject"),
    };
    if !permitted {
        return Err(format!("the style `{style}` is not read in a {}", place.as_str()));
    }
    let types = types_of(document, schema);
    // Where the schema says nothing, the value is one text.
    let may_be_list = types.has(Types::ARRAY) && types != Types::ANY;
    let is_object = types.has(Types::OBJECT) && types.and(ONE.or(Types::ARRAY)) == types.and(Types::NULL);
    match (style, explode) {
        ("deepObject", _) if types.has(Types::OBJECT) && !may_be_list => Ok(Shape::Deep(members_of(document, schema))),
        ("deepObject", _) => {
            Err(format!("the style `deepObject` is read for objects alone, and `{name}` may be something else"))
        }
        ("form", true) if is_object && place == ParameterIn::Query => Ok(Shape::Exploded(members_of(document, schema))),
        _ if is_object => {
            Err(format!("an object as `{name}` in a {} is not read in the style `{style}`", place.as_str()))
        }
        _ if !may_be_list => Ok(Shape::One(types.and(ONE))),
        ("form", true) if place == ParameterIn::Cookie => {
            Err(format!("`{name}` is a list in a cookie, which is read only with `explode: false`"))
        }
        ("spaceDelimited" | "pipeDelimited", true) => Err(format!("the style `{style}` is not read with `explode`")),
        _ => {
            let separator = match (style, explode) {
                ("form", true) => Separator::Repeated,
                ("spaceDelimited", _) => Separator::Space,
                ("pipeDelimited", _) => Separator::Pipe,
                _ => Separator::Comma,
            };
            Ok(Shape::List { separator, items: items_of(document, schema), alone: types.and(ONE) })
        }
    }
}

/// The types of the items of an array.
fn items_of<'a>(document: &Document<'a>, schema: &Node<'a>) -> Types {
    let mut found = None;
    visit(document, schema, 0, &mut |part| {
        if let Some(items) = part.member("items").filter(|items| items.value.is_object()) {
            let types = types_of(document, &items);
            found = Some(found.map_or(types, |known: Types| known.or(types)));
        }
    });
    found.unwrap_or(Types::ANY)
}

/// The members of an object, as far as they have names.
fn members_of<'a>(document: &Document<'a>, schema: &Node<'a>) -> Members {
    let mut members = Members::new();
    visit(document, schema, 0, &mut |part| {
        for (name, member) in part.member("properties").iter().flat_map(Node::members) {
            let types = types_of(document, &member);
            match members.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = known.or(types),
                None => members.push((name.to_owned(), types)),
            }
        }
    });
    members
}

/// Calls `see` with the schema and every schema that applies to the same value.
fn visit<'a>(document: &Document<'a>, schema: &Node<'a>, depth: usize, see: &mut dyn FnMut(&Node<'a>)) {
    // Enough for any combination a person can follow; a cycle ends here and is refused where schemas are read.
    if depth > 8 {
        return;
    }
    see(schema);
    if let Some(reference) = schema.member("$ref")
        && let Some(target) = document.target(&reference)
    {
        visit(document, &target, depth + 1, see);
    }
    for list in ["allOf", "anyOf", "oneOf"].iter().filter_map(|name| schema.member(name)) {
        for part in list.items() {
            visit(document, &part, depth + 1, see);
        }
    }
}
