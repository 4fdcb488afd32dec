//! GraphQL: documents analysed, priced and limited before they are forwarded.
//!
//! A request's document goes through [`documents`]: read ([`parser`](self)), measured and priced in one linear pass
//! ([`analysis`]), validated, and remembered. What is left for each request is its price with its variables
//! ([`Analyzed::price`]). `docs/graphql.md` has the numbers. [`inbound`] puts this before a route, [`outbound`] sends a
//! request on to a GraphQL service, and [`stored`] lets such a service answer operations of other protocols.

pub mod analysis;
pub mod contract;
mod cost;
mod document;
pub mod documents;
pub mod error;
mod fitting;
pub mod inbound;
mod lexer;
pub mod limits;
pub mod outbound;
mod parser;
mod render;
pub mod request;
pub mod schema;
pub mod stored;
mod types;
mod validation;

pub use analysis::{Analyzed, Operation};
pub use document::OperationKind;
pub use documents::{Documents, Verdict};
pub use error::{Error, Location};
pub use inbound::GraphQlInbound;
pub use limits::{Limit, Limits};
pub use outbound::GraphQlOutbound;
pub use schema::{Schema, SchemaError};
pub use stored::StoredOutbound;

#[cfg(test)]
mod tests;
