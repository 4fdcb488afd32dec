//! The type of the events of a channel: what the payload schemas of its messages say together.
//!
//! A schema is AsyncAPI's own or JSON Schema, which say the same of types, or OpenAPI's; one in another format (Avro,
//! Protobuf) says nothing here yet, nor does one of a message that is no JSON.

use portolan_exchange::value::Type;
use portolan_exchange::value::schema::{Dialect, Schemas, Side};
use serde_json::Value;

use super::node::{Document, Node};

/// The payloads of a document, as clients publish and receive them.
pub(super) struct Payloads<'a> {
    document: &'a Value,
    /// Those of one dialect and side, made when they are first asked for.
    schemas: Vec<(Dialect, Side, Schemas<'a>)>,
}

impl<'a> Payloads<'a> {
    pub fn new(document: &'a Value) -> Self {
        Self { document, schemas: Vec::new() }
    }

    /// What an event of a channel is when it is one of these messages, nobody knows which.
    pub fn of_any(&mut self, document: &Document<'a>, messages: &[Node<'a>], side: Side) -> Type {
        let mut found: Option<Type> = None;
        for message in messages {
            let of = self.of_message(document, message, side);
            found = Some(
                found.map_or_else(|| of.clone(), |found| self.schemas(Dialect::Draft07, side).either(&found, &of)),
            );
        }
        found.unwrap_or_default()
    }

    fn of_message(&mut self, document: &Document<'a>, message: &Node<'a>, side: Side) -> Type {
        if !is_json(document, message) {
            return Type::Any;
        }
        // What leads nowhere has no type; that it does is for a check of payloads to tell.
        let payload = message.get("payload").and_then(|payload| document.resolve(payload).ok());
        let Some(payload) = payload else { return Type::Any };
        // A schema in a format that is named (AsyncAPI 3.0.0, Multi Format Schema Object).
        let (format, schema) = match payload.get("schemaFormat") {
            Some(format) => (format.value.as_str().unwrap_or_default(), payload.get("schema")),
            None => ("", Some(payload)),
        };
        match (dialect(format), schema) {
            (Some(dialect), Some(schema)) => self.schemas(dialect, side).read(&schema.pointer),
            _ => Type::Any,
        }
    }

    fn schemas(&mut self, dialect: Dialect, side: Side) -> &mut Schemas<'a> {
        let known = self.schemas.iter().position(|known| (known.0, known.1) == (dialect, side));
        let at = known.unwrap_or_else(|| {
            self.schemas.push((dialect, side, Schemas::new(self.document, dialect, side)));
            self.schemas.len() - 1
        });
        &mut self.schemas[at].2
    }
}

/// Whether the content type of a message, or the document's for all messages, is JSON; where none is said, it is taken for it.
fn is_json<'a>(document: &Document<'a>, message: &Node<'a>) -> bool {
    let said = message.get("contentType").or_else(|| document.root().get("defaultContentType"));
    let Some(said) = said.and_then(|said| said.value.as_str()) else { return true };
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// How schemas of a format are written (AsyncAPI 3.0.0, Schema formats table); `None` for one that is not read.
fn dialect(format: &str) -> Option<Dialect> {
    let format: String = format.chars().filter(|c| !c.is_whitespace()).collect();
    let (name, version) = format.split_once(";version=").unwrap_or((&format, ""));
    match name.trim_end_matches("+json").trim_end_matches("+yaml") {
        "" | "application/vnd.aai.asyncapi" => Some(Dialect::Draft07),
        "application/schema" if version.contains("2020-12") => Some(Dialect::Draft202012),
        "application/schema" => Some(Dialect::Draft07),
        "application/vnd.oai.openapi" if version.starts_with("3.1") => Some(Dialect::Draft202012),
        "application/vnd.oai.openapi" => Some(Dialect::OpenApi30),
        _ => None,
    }
}
