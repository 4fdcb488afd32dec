//! Reads the operations of a document: its path items, methods, and what each takes.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::document::{Document, Edition, Node};
use super::path::PathTemplate;
use super::schema::Schemas;
use super::{RestOperation, parameter, requestbody};

/// The methods a path item can have (OpenAPI 3.1.1, section 4.8.9), as keys and in a request line.
const METHODS: [(&str, &str); 8] = [
    ("get", "GET"),
    ("put", "PUT"),
    ("post", "POST"),
    ("delete", "DELETE"),
    ("options", "OPTIONS"),
    ("head", "HEAD"),
    ("patch", "PATCH"),
    ("trace", "TRACE"),
];

/// The one dialect of JSON Schema that is read, under both of its names.
const DIALECTS: [&str; 2] =
    ["https://json-schema.org/draft/2020-12/schema", "https://spec.openapis.org/oas/3.1/dialect/base"];

/// Reads all operations; problems go to the document.
pub(super) fn read_all<'a>(document: &Document<'a>, schemas: &mut Schemas<'_, 'a>) -> Vec<Arc<RestOperation>> {
    let root = document.root();
    check_dialect(document, &root);
    let Some(paths) = root.member("paths") else {
        document.problem("", "there are no `paths`, and so nothing to route");
        return Vec::new();
    };
    if document.object(&paths).is_none() {
        return Vec::new();
    }
    let mut reader = Reader {
        document,
        ids: HashMap::new(),
        router: matchit::Router::new(),
        forms: HashMap::new(),
        operations: Vec::new(),
    };
    for (text, item) in paths.members().filter(|(text, _)| !text.starts_with("x-")) {
        if let Some(template) = reader.template(text, &item) {
            reader.path_item(&Arc::new(template), item, schemas);
        }
    }
    if reader.operations.is_empty() && !document.has_problems() {
        document.problem(&paths.pointer, "there are no operations, and so nothing to route");
    }
    reader.operations
}

struct Reader<'d, 'a> {
    document: &'d Document<'a>,
    /// Where each id stands.
    ids: HashMap<String, String>,
    /// Takes the forms together, or says why they cannot be told apart.
    router: matchit::Router<()>,
    /// The methods of each form, each with the path it was written under. Paths that differ in the names of their
    /// parameters alone are of one form, and no method may stand under two of them.
    forms: HashMap<String, Form<'a>>,
    operations: Vec<Arc<RestOperation>>,
}

/// Paths that match the same requests.
struct Form<'a> {
    first: &'a str,
    methods: HashMap<&'static str, String>,
}

impl<'a> Reader<'_, 'a> {
    fn template(&mut self, text: &'a str, item: &Node<'a>) -> Option<PathTemplate> {
        let template = match PathTemplate::parse(text) {
            Ok(template) => template,
            Err(reason) => {
                self.document.problem(&item.pointer, format!("the path {reason}"));
                return None;
            }
        };
        let form = template.nameless();
        if self.forms.contains_key(&form) {
            return Some(template);
        }
        if let Err(error) = self.router.insert(&form, ()) {
            let reason = match error {
                matchit::InsertError::Conflict { with } => {
                    let other = self.forms.get(&with).map_or(with.as_str(), |form| form.first);
                    format!(
                        "the path cannot be told from `{other}`, as a parameter of the one stands beside text of the other"
                    )
                }
                other => format!("the path cannot be routed: {other}"),
            };
            self.document.problem(&item.pointer, reason);
            return None;
        }
        self.forms.insert(form, Form { first: text, methods: HashMap::new() });
        Some(template)
    }

    fn path_item(&mut self, path: &Arc<PathTemplate>, item: Node<'a>, schemas: &mut Schemas<'_, 'a>) {
        let Some(item) = self.document.resolve(item) else { return };
        if self.document.object(&item).is_none() {
            return;
        }
        let shared = item.member("parameters");
        for (key, operation) in item.members() {
            let form = self.forms.get_mut(&path.nameless()).expect("a path is read once its form is known");
            let Some((_, method)) = METHODS.iter().find(|(known, _)| *known == key) else { continue };
            if self.document.object(&operation).is_none() {
                continue;
            }
            if let Some(other) = form.methods.insert(method, path.text().to_owned()) {
                self.document.problem(&operation.pointer, format!("`{key} {other}` takes the same requests"));
                continue;
            }
            let lists = [shared.clone(), operation.member("parameters")];
            let parameters = parameter::read_all(self.document, lists.into_iter().flatten(), path, schemas);
            let body = operation.member("requestBody");
            let body = body.and_then(|body| requestbody::read(self.document, body, schemas));
            let id = self.id(&operation, key, path);
            let input = schemas.values.input(&parameters, body.as_ref());
            let output = schemas.values.output(self.document, &operation);
            let path = path.clone();
            self.operations.push(Arc::new(RestOperation { id, method, path, parameters, body, input, output }));
        }
    }

    fn id(&mut self, operation: &Node<'a>, key: &str, path: &PathTemplate) -> Arc<str> {
        let written = self.document.text(operation, "operationId").filter(|id| !id.is_empty());
        let id = written.map_or_else(|| format!("{key} {}", path.text()), str::to_owned);
        let here = format!("{key} {}", path.text());
        if let Some(other) = self.ids.insert(id.clone(), here) {
            let pointer = format!("{}/operationId", operation.pointer);
            self.document.problem(&pointer, format!("`{id}` is also the id of `{other}`"));
        }
        id.into()
    }
}

fn check_dialect(document: &Document<'_>, root: &Node<'_>) {
    if document.edition == Edition::V30 {
        return;
    }
    let Some(dialect) = root.member("jsonSchemaDialect") else { return };
    if !dialect.value.as_str().is_some_and(is_read) {
        document.problem(&dialect.pointer, "schemas in this dialect are not read; JSON Schema 2020-12 is");
    }
}

/// Whether schemas that name this dialect are read.
pub(super) fn is_read(dialect: &str) -> bool {
    DIALECTS.contains(&dialect.trim_end_matches('#'))
}

/// A value in a message: a text without quotes, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
