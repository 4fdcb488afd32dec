//! Parameters of an operation: where each stands, and how its text becomes a value.

use std::sync::Arc;

use portolan_exchange::value::Type;

use super::document::{Document, Node};
use super::path::PathTemplate;
use super::schema::{Schema, Schemas};
use super::shape::{self, Shape};
use super::types::Types;

/// Header fields that describe the message itself; a parameter of that name is ignored (OpenAPI 3.1.1, section 4.8.12.2).
const NOT_PARAMETERS: [&str; 3] = ["accept", "content-type", "authorization"];

/// Where a parameter stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// What the value is read as.
    pub value: Type,
}

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
    let (shape, schema, value) = match (node.member("schema"), node.member("content")) {
        (Some(schema), None) => {
            let shape = shape::read(document, &node, &schema, &name, place);
            let root = schemas.add_root(schema.clone());
            let shape = shape?;
            let value = schemas.values.of_parameter(&schema, &shape, empty_passes);
            (shape, Some(root), value)
        }
        (None, Some(content)) => {
            let schema = json_content(document, &content)?;
            let value = schema.as_ref().map(|schema| schemas.values.of_parameter(schema, &Shape::Json, empty_passes));
            (Shape::Json, schema.map(|schema| schemas.add_root(schema)), value.unwrap_or_default())
        }
        (None, None) => (Shape::One(Types::ANY), None, Type::Any),
        (Some(_), Some(content)) => {
            document.problem(&content.pointer, "a parameter has either `schema` or `content`, not both");
            return None;
        }
    };
    Some(Parameter { name, place, required, empty_passes, shape, schema, value })
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
fn json_content<'a>(document: &Document<'a>, content: &Node<'a>) -> Option<Option<Node<'a>>> {
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
    Some(entry.member("schema"))
}
