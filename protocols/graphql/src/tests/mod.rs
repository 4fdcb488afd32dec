//! The tests of the whole analysis: prices and depths by worked examples, attacks, properties.

mod attacks;
mod examples;
mod properties;
mod wire;

use std::sync::Arc;

use portolan_exchange::value::json::{DecodeLimits, decode};
use portolan_exchange::value::{Map, Type, Value};

use crate::{Analyzed, Error, Limits, Schema, documents};

/// The schema of the examples in `docs/graphql.md`: a shop.
pub(crate) const SHOP: &str = r#"
type Query {
  products(first: Int, last: Int, tags: [String!]): [Product!]!
  newest(first: Int = 20): [Product!]!
  product(id: ID!): Product
  orders(first: Int): [Order!]!
  customers(first: Int): [Customer!]!
  catalogue(first: Int): ProductConnection!
  search(limit: Int): [Found!]!
  node(id: ID!): Node
}
type Mutation { createOrder(productId: ID!, customerId: ID!, quantity: Int!): Order! }
type Subscription { orderCreated: Order! }
interface Node { id: ID! }
type Product implements Node { id: ID! name: String! tags(first: Int): [String!]! orders(first: Int): [Order!]! }
type Order implements Node { id: ID! quantity: Int! product: Product! customer: Customer! }
type Customer implements Node { id: ID! name: String! orders(first: Int): [Order!]! }
type ProductConnection { edges: [ProductEdge!]! nodes: [Product!]! total: Int! }
type ProductEdge { cursor: String! node: Product! }
union Found = Product | Customer
"#;

pub(crate) fn shop() -> Arc<Schema> {
    static SCHEMA: std::sync::OnceLock<Arc<Schema>> = std::sync::OnceLock::new();
    SCHEMA.get_or_init(|| Arc::new(Schema::parse(SHOP).unwrap())).clone()
}

pub(crate) fn judge(text: &str) -> Result<Analyzed, Vec<Error>> {
    documents::judge(text, &shop(), &Limits::default())
}

/// The messages of a refusal.
pub(crate) fn refusal(text: &str) -> Vec<String> {
    judge(text).unwrap_err().into_iter().map(|error| error.message).collect()
}

pub(crate) fn map(json: &str) -> Map {
    match decode(json.as_bytes(), &Type::Any, DecodeLimits::default()) {
        Ok(Value::Map(map)) => map,
        other => panic!("{json}: {other:?}"),
    }
}

/// The price of the only operation of a document.
pub(crate) fn price(text: &str, variables: &str) -> u64 {
    let analyzed = judge(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    analyzed.price(analyzed.operation(None).unwrap(), &map(variables))
}
