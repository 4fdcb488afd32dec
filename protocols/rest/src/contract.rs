//! Reads an OpenAPI document (3.0 or 3.1) into operations that requests can be checked against.
//!
//! Nothing outside the document is ever fetched, neither from the network nor from the disk. What cannot be honoured
//! is refused when the document is loaded, all of it at once and each with its place; a contract that was read is
//! honoured in full.

mod bounds;
mod convert;
mod document;
mod operation;
mod parameter;
mod path;
mod requestbody;
mod schema;
mod shape;
mod types;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_config::{Diagnostics, Place, Tree};
use portolan_exchange::operation::{Kind, Operation};
use portolan_exchange::value::Type;
use serde_json::Value;

use document::Document;
pub(crate) use document::escape;
pub use parameter::{Parameter, ParameterIn};
pub use path::{PathTemplate, Segment};
pub use requestbody::{MediaType, RequestBody};
pub use schema::Schema;
use schema::Schemas;
pub use shape::{Members, Separator, Shape};
pub use types::Types;

/// What an OpenAPI document promises.
#[derive(Debug, Clone)]
pub struct Contract {
    /// `info.title`, empty where there is none.
    pub title: String,
    /// `info.version`, empty where there is none.
    pub version: String,
    /// The operations, in the order of the document.
    pub operations: Vec<Arc<RestOperation>>,
}

/// One operation of an OpenAPI document.
#[derive(Debug, Clone)]
pub struct RestOperation {
    /// `operationId`; where there is none, method and path: `get /orders/{id}`. Unique in its contract.
    pub id: Arc<str>,
    /// The method in capitals, as it stands in a request line.
    pub method: &'static str,
    /// Where it stands, below the base path of its API.
    pub path: Arc<PathTemplate>,
    /// Its parameters, those of the path item included. `Accept`, `Content-Type` and `Authorization` are not among
    /// them (OpenAPI 3.1.1, section 4.8.12.2).
    pub parameters: Vec<Parameter>,
    /// What its body may be; nothing is checked of a body where this is `None`.
    pub body: Option<RequestBody>,
    /// What it takes: a map of its parameters in path and query and the members of its JSON body, side by side. Where a name
    /// stands twice, the path counts before the query, and the query before the body; a body that is no object is the
    /// member `body`. Parameters in header fields and cookies are not in it.
    pub input: Type,
    /// What it gives: the JSON of a success (2xx), whichever response it is, or of the `default` where there is no success.
    /// An answer that has no JSON is [`Type::Any`].
    pub output: Type,
}

impl RestOperation {
    /// The operation as exchanges carry it.
    pub fn operation(&self) -> Arc<Operation> {
        let (input, output) = (self.input.clone(), self.output.clone());
        Arc::new(Operation { id: self.id.clone(), kind: Kind::Call, input, output })
    }
}

impl Contract {
    /// Reads a document.
    ///
    /// # Errors
    /// All that cannot be honoured, each with file, line, column and reason.
    pub fn read(tree: &Tree) -> Result<Contract, Diagnostics> {
        Self::from_document(&tree.to_json(), &|pointer| tree.place_of(pointer))
    }

    /// Reads a document that stands in memory; `place` tells where the value at a JSON pointer was written.
    ///
    /// # Errors
    /// As [`Contract::read`].
    pub fn from_document(root: &Value, place: &dyn Fn(&str) -> Place) -> Result<Contract, Diagnostics> {
        let document = Document::open(root, place)?;
        let mut schemas = Schemas::new(&document);
        let operations = operation::read_all(&document, &mut schemas);
        schemas.compile();
        let mut problems = document.into_problems();
        if problems.has_errors() {
            problems.sort();
            return Err(problems);
        }
        let info = |member: &str| root.pointer(&format!("/info/{member}")).and_then(Value::as_str).unwrap_or_default();
        Ok(Contract { title: info("title").to_owned(), version: info("version").to_owned(), operations })
    }

    /// The operations by path: what a router is built from. A `matchit` router takes the
    /// [patterns](PathTemplate::pattern) of all of them, once the names of parameters are made alike; where two are then
    /// equal, their methods differ.
    pub fn paths(&self) -> Vec<(Arc<PathTemplate>, Vec<Arc<RestOperation>>)> {
        let mut places = BTreeMap::new();
        let mut paths: Vec<(Arc<PathTemplate>, Vec<Arc<RestOperation>>)> = Vec::new();
        for operation in &self.operations {
            let place = *places.entry(operation.path.text().to_owned()).or_insert_with(|| {
                paths.push((operation.path.clone(), Vec::new()));
                paths.len() - 1
            });
            paths[place].1.push(operation.clone());
        }
        paths
    }
}

#[cfg(test)]
mod tests;
