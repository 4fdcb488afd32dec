//! What the body of an operation may be.

use std::sync::Arc;

use portolan_exchange::value::Type;

use super::document::{Document, Node};
use super::schema::{Schema, Schemas};
use crate::media;

/// The body an operation takes.
#[derive(Debug, Clone)]
pub struct RequestBody {
    /// Whether a request without one is refused.
    pub required: bool,
    /// Its media types, the most specific first.
    pub media: Vec<MediaType>,
}

/// One media type a body may have.
#[derive(Debug, Clone)]
pub struct MediaType {
    /// The type or range in small letters, without parameters: `application/json`, `text/*`, `*/*`.
    pub range: String,
    /// What a JSON body of this type must be; `None` where bodies pass as they are.
    pub schema: Option<Arc<Schema>>,
    /// What a JSON body of this type is read as.
    pub value: Type,
}

impl RequestBody {
    /// The entry for a `Content-Type`, or `None` where the operation does not take it.
    pub fn entry(&self, content_type: &str) -> Option<&MediaType> {
        let essence = media::essence(content_type);
        self.media.iter().find(|entry| media::matches(&entry.range, &essence))
    }

    /// Whether some body must be gathered to be checked: one of its media types can be JSON and has a schema.
    pub fn is_checked(&self) -> bool {
        self.media.iter().any(|entry| entry.schema.is_some())
    }
}

/// Reads a request body, or a reference to one.
pub(super) fn read<'a>(document: &Document<'a>, node: Node<'a>, schemas: &mut Schemas<'_, 'a>) -> Option<RequestBody> {
    let node = document.resolve(node)?;
    document.object(&node)?;
    let required = document.flag(&node, "required").unwrap_or(false);
    let Some(content) = node.member("content") else {
        document.problem(&node.pointer, "a request body needs `content`");
        return None;
    };
    document.object(&content)?;
    let mut entries = Vec::new();
    for (written, entry) in content.members() {
        let range = media::essence(written);
        if !media::is_range(&range) {
            document.problem(&entry.pointer, format!("`{written}` is not a media type"));
            continue;
        }
        if document.object(&entry).is_none() {
            continue;
        }
        // Only JSON is looked into; a form or a file streams through unchecked.
        let schema = entry.member("schema").filter(|_| media::may_be_json(&range));
        let value = schema.as_ref().map(|schema| schemas.values.of_request(schema)).unwrap_or_default();
        entries.push(MediaType { range, schema: schema.map(|schema| schemas.add_root(schema)), value });
    }
    entries.sort_by_key(|entry| media::breadth(&entry.range));
    Some(RequestBody { required, media: entries })
}
