//! GraphQL: documents analysed, priced and limited before they are forwarded.
//!
//! A request's document goes through [`documents`]: read ([`parser`](self)), measured and priced in one linear pass
//! ([`analysis`]), validated, and remembered. What is left for each request is its price with its variables
//! ([`Analyzed::price`]). `docs/graphql.md` has the numbers.

pub mod analysis;
mod cost;
mod document;
pub mod documents;
pub mod error;
mod lexer;
pub mod limits;
mod parser;
pub mod request;
pub mod schema;
mod validation;

pub use analysis::{Analyzed, Operation};
pub use document::OperationKind;
pub use documents::{Documents, Verdict};
pub use error::{Error, Location};
pub use limits::{Limit, Limits};
pub use schema::{Schema, SchemaError};

#[cfg(test)]
mod tests;
