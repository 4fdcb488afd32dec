//! Parameters of an operation: where each stands, and how its text becomes a value.

use std::sync::Arc;

use super::document::{Document, Node};
use super::path::PathTemplate;
use super::schema::{Schema, Schemas};
use super::types::{Types, types_of};

/// Header fields that describe the message itself; a parameter of that name is ignored (OpenAPI 3.1.1, section 4.8.12.2).
const NOT_PARAMETERS: [&str; 3] = ["accept", "content-type", "authorization"];

/// Where a parameter stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterIn {
    /// In the path.
    Path,
    /// In the query.
    Query,
    /// A header field.
    Header,
    /// A cookie.
    Cookie,
}

/// One parameter.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name; that of a header in small letters.
    pub name: String,
    /// Where it stands.
    pub place: ParameterIn,
    /// Whether a request without it is refused.
    pub required: bool,
    /// Whether an empty value passes unchecked (`allowEmptyValue`).
    pub empty_passes: bool,
    /// How its text becomes a value.
    pub shape: Shape,
    /// What the value must be; `None` where anything goes.
    pub schema: Option<Arc<Schema>>,
}

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

impl ParameterIn {
    /// Its word in the document and in a violation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Path, Self::Query, Self::Header, Self::Cookie].into_iter().find(|place| place.as_str() == name)
    }
}

/// Reads the parameters of the lists, of which a later one replaces those of the same name and place before it.
pub(super) fn read_all<'a>(
    document: &Document<'a>,
    lists: impl Iterator<Item = Node<'a>>,
    path: &PathTemplate,
    schemas: &mut Schemas<'_, 'a>,
) -> Vec<Parameter> {
    let mut parameters: Vec<Parameter> = Vec::new();
    for list in lists {
        if !list.value.is_array() {
            document.problem(&list.pointer, "must be a list");
        }
        let before = parameters.len();
        for node in list.items() {
            let at = node.pointer.clone();
            let Some(parameter) = read(document, node, path, schemas) else { continue };
            let same = |other: &Parameter| (other.place, &other.name) == (parameter.place, &parameter.name);
            match parameters.iter().position(same) {
                Some(known) if known < before => parameters[known] = parameter,
                Some(_) => {
                    let message =
                        format!("the {} parameter `{}` stands here twice", parameter.place.as_str(), parameter.name);
                    document.problem(&at, message);
                }
                None => parameters.push(parameter),
            }
        }
    }
    parameters
}

fn read<'a>(
    document: &Document<'a>,
    node: Node<'a>,
    path: &PathTemplate,
    schemas: &mut Schemas<'_, 'a>,
) -> Option<Parameter> {
    let node = document.resolve(node)?;
    document.object(&node)?;
    let (name, place) = (named(document, &node), placed(document, &node));
    let (name, place) = (name?, place?);
    if place == ParameterIn::Header && NOT_PARAMETERS.contains(&name.as_str()) {
        return None;
    }
    if place == ParameterIn::Path && !path.names().any(|known| known == name) {
        document.problem(&node.pointer, format!("the path `{}` has no parameter `{name}`", path.text()));
        return None;
    }
    // A path cannot be matched without its parameters, whatever the document says of them.
    let required = document.flag(&node, "required").unwrap_or(false) || place == ParameterIn::Path;
    let empty_passes = place == ParameterIn::Query && document.flag(&node, "allowEmptyValue").unwrap_or(false);
    let (shape, schema) = match (node.member("schema"), node.member("content")) {
        (Some(schema), None) => {
            let shape = shape(document, &node, &schema, &name, place);
            let schema = schemas.add_root(schema);
            (shape?, Some(schema))
        }
        (None, Some(content)) => (Shape::Json, json_content(document, &content, schemas)?),
        (None, None) => (Shape::One(Types::ANY), None),
        (Some(_), Some(content)) => {
            document.problem(&content.pointer, "a parameter has either `schema` or `content`, not both");
            return None;
        }
    };
    Some(Parameter { name, place, required, empty_passes, shape, schema })
}

fn named(document: &Document<'_>, node: &Node<'_>) -> Option<String> {
    if node.member("name").is_none() {
        document.problem(&node.pointer, "a parameter needs a `name`");
        return None;
    }
    let name = document.text(node, "name")?;
    let is_header = node.value.get("in").is_some_and(|place| place == "header");
    Some(if is_header { name.to_ascii_lowercase() } else { name.to_owned() })
}

fn placed(document: &Document<'_>, node: &Node<'_>) -> Option<ParameterIn> {
    if node.member("in").is_none() {
        document.problem(&node.pointer, "a parameter needs an `in`: `path`, `query`, `header` or `cookie`");
        return None;
    }
    let word = document.text(node, "in")?;
    let place = ParameterIn::named(word);
    if place.is_none() {
        let message = format!("`{word}` is not a place of a parameter; `path`, `query`, `header` and `cookie` are");
        document.problem(&format!("{}/in", node.pointer), message);
    }
    place
}

/// The schema of a parameter with `content`, which has exactly one media type. One that is not JSON is not looked into.
fn json_content<'a>(
    document: &Document<'a>,
    content: &Node<'a>,
    schemas: &mut Schemas<'_, 'a>,
) -> Option<Option<Arc<Schema>>> {
    let mut types = content.members();
    let (Some((media_type, entry)), None) = (types.next(), types.next()) else {
        document.problem(&content.pointer, "the `content` of a parameter has exactly one media type");
        return None;
    };
    if !crate::media::is_json(&crate::media::essence(media_type)) {
        let message = format!("parameters written as `{media_type}` are not read; `application/json` is");
        document.problem(&entry.pointer, message);
        return None;
    }
    Some(entry.member("schema").map(|schema| schemas.add_root(schema)))
}

/// How its text becomes a value; a problem where the style cannot be honoured.
fn shape<'a>(
    document: &Document<'a>,
    node: &Node<'a>,
    schema: &Node<'a>,
    name: &str,
    place: ParameterIn,
) -> Option<Shape> {
    let form = matches!(place, ParameterIn::Query | ParameterIn::Cookie);
    let style = match node.member("style") {
        Some(_) => document.text(node, "style")?,
        None if form => "form",
        None => "simple",
    };
    // OpenAPI 3.1.1, section 4.8.12.2.1: the default of `explode` is true for `form` and false for all others.
    let explode = document.flag(node, "explode").unwrap_or(style == "form");
    let refuse = |reason: String| {
        let at = if node.member("style").is_some() { format!("{}/style", node.pointer) } else { node.pointer.clone() };
        document.problem(&at, reason);
        None
    };
    let permitted = match (place, style) {
        (ParameterIn::Path | ParameterIn::Header, "simple") | (ParameterIn::Cookie, "form") => true,
        (ParameterIn::Query, "form" | "spaceDelimited" | "pipeDelimited" | "deepObject") => true,
        _ => false,
    };
    if !permitted {
        return refuse(format!("the style `{style}` is not read in a {}", place.as_str()));
    }

    let types = types_of(document, schema);
    let one = Types::STRING.or(Types::INTEGER).or(Types::NUMBER).or(Types::BOOLEAN).or(Types::NULL);
    // Where the schema says nothing, the value is one text.
    let may_be_list = types.has(Types::ARRAY) && types != Types::ANY;
    let must_be_object = types.has(Types::OBJECT) && types.and(one.or(Types::ARRAY)) == types.and(Types::NULL);
    if style == "deepObject" {
        return match types.has(Types::OBJECT) && !may_be_list {
            true => Some(Shape::Deep(members_of(document, schema, 0))),
            false => {
                refuse(format!("the style `deepObject` is read for objects alone, and `{name}` may be something else"))
            }
        };
    }
    if must_be_object {
        return match (place, style, explode) {
            (ParameterIn::Query, "form", true) => Some(Shape::Exploded(members_of(document, schema, 0))),
            _ => refuse(format!("an object as `{name}` in a {} is not read in the style `{style}`", place.as_str())),
        };
    }
    if !may_be_list {
        return Some(Shape::One(types.and(one)));
    }
    let separator = match (style, explode) {
        ("form", true) => Separator::Repeated,
        ("spaceDelimited", false) => Separator::Space,
        ("pipeDelimited", false) => Separator::Pipe,
        ("spaceDelimited" | "pipeDelimited", true) => {
            return refuse(format!("the style `{style}` is not read with `explode`"));
        }
        _ => Separator::Comma,
    };
    if place == ParameterIn::Cookie && separator == Separator::Repeated {
        let reason = format!("`{name}` is a list in a cookie, which is read only with `explode: false`");
        return refuse(reason);
    }
    Some(Shape::List { separator, items: items_of(document, schema, 0), alone: types.and(one) })
}

/// The types of the items of an array.
fn items_of<'a>(document: &Document<'a>, schema: &Node<'a>, depth: usize) -> Types {
    let mut found = None;
    visit(document, schema, depth, &mut |part| {
        if let Some(items) = part.member("items").filter(|items| items.value.is_object()) {
            let types = types_of(document, &items);
            found = Some(found.map_or(types, |known: Types| known.or(types)));
        }
    });
    found.unwrap_or(Types::ANY)
}

/// The members of an object, as far as they have names.
fn members_of<'a>(document: &Document<'a>, schema: &Node<'a>, depth: usize) -> Members {
    let mut members = Members::new();
    visit(document, schema, depth, &mut |part| {
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
