//! GraphQL: documents analysed, priced and limited before they are forwarded.
