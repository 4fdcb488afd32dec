//! REST: operations from OpenAPI documents, requests checked against them, and HTTP services called.
//!
//! Read [`contract`] first: what an operation is, and how a document becomes a list of them. [`check`] holds a request
//! against one, [`inbound`] does so for exchanges, and [`outbound`] passes them on.

pub mod check;
pub mod contract;
pub mod inbound;
mod input;
mod json;
mod media;
pub mod outbound;
mod percent;
mod sentence;

pub use contract::{Contract, PathTemplate, RestOperation, Segment};
pub use inbound::{Checks, Misfit, RestInbound};
pub use json::DEEPEST_BODY;
pub use outbound::{HttpOutbound, UpstreamPath};
