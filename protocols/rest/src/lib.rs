//! REST: operations from OpenAPI documents, and requests checked against them.
//!
//! Read [`contract`] first: what an operation is, and how a document becomes a list of them. [`check`] holds a request
//! against one.

pub mod check;
pub mod contract;
mod json;
mod media;
mod percent;
mod sentence;

pub use contract::{Contract, PathTemplate, RestOperation, Segment};
pub use json::DEEPEST_BODY;
