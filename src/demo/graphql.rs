//! The demo's GraphQL service: the shop, as `examples/demo/shop.graphql` describes it.
//!
//! It has no limits of depth or cost of its own: the gateway before it refuses what would cost too much.

use actix_web::web::{Data, Json, JsonConfig, ServiceConfig};
use actix_web::{get, post};
use async_graphql::{BatchRequest, BatchResponse, Context, ID, Object, Result as Answer, Schema, Subscription};
use futures_util::{Stream, stream};

use super::shop::{Customer, Order, Product, Refused, Shop};

type ShopSchema = Schema<Query, Mutation, Subscriptions>;

/// Bytes of a request: what the gateway gathers at most by default.
const MAX_BODY: usize = 1 << 20;

/// Adds the service's routes.
pub fn routes(config: &mut ServiceConfig, shop: Shop) {
    config.app_data(Data::new(schema(shop))).app_data(JsonConfig::default().limit(MAX_BODY));
    config.service(healthz).service(graphql);
}

#[get("/healthz")]
async fn healthz() -> &'static str {
    "ok"
}

/// GraphQL over HTTP: `POST` of one request or several. What is wrong with a document is told in the answer's `errors`.
#[post("/graphql")]
async fn graphql(schema: Data<ShopSchema>, request: Json<BatchRequest>) -> Json<BatchResponse> {
    Json(schema.execute_batch(request.into_inner()).await)
}

/// The schema over a shop.
fn schema(shop: Shop) -> ShopSchema {
    Schema::build(Query, Mutation, Subscriptions).data(shop).finish()
}

struct Query;

/// Where queries begin.
#[Object]
impl Query {
    /// What can be ordered.
    async fn products(&self, context: &Context<'_>, #[graphql(default = 10)] first: i32) -> Vec<Product> {
        shop(context).products(size(first))
    }

    /// The orders, newest first.
    async fn orders(&self, context: &Context<'_>, #[graphql(default = 10)] first: i32) -> Vec<Order> {
        shop(context).orders(size(first), |_| true)
    }

    /// Who can order.
    async fn customers(&self, context: &Context<'_>, #[graphql(default = 10)] first: i32) -> Vec<Customer> {
        shop(context).customers(size(first))
    }
}

/// What can be ordered.
#[Object]
impl Product {
    /// Its number.
    async fn id(&self) -> ID {
        ID::from(&self.id)
    }

    /// What it is called.
    async fn name(&self) -> &str {
        &self.name
    }

    /// Of one piece, in cents.
    async fn price(&self) -> u32 {
        self.price
    }

    /// Its orders, newest first.
    async fn orders(&self, context: &Context<'_>, #[graphql(default = 10)] first: i32) -> Vec<Order> {
        shop(context).orders(size(first), |order| order.product_id == self.id)
    }
}

/// Who can order.
#[Object]
impl Customer {
    /// Their number.
    async fn id(&self) -> ID {
        ID::from(&self.id)
    }

    /// What they are called.
    async fn name(&self) -> &str {
        &self.name
    }

    /// Their orders, newest first.
    async fn orders(&self, context: &Context<'_>, #[graphql(default = 10)] first: i32) -> Vec<Order> {
        shop(context).orders(size(first), |order| order.customer_id == self.id)
    }
}

/// What a customer ordered.
#[Object]
impl Order {
    /// Its number.
    async fn id(&self) -> ID {
        ID::from(&self.id)
    }

    /// How many pieces.
    async fn quantity(&self) -> u32 {
        self.quantity
    }

    /// In cents.
    async fn total(&self) -> u32 {
        self.total
    }

    /// What was ordered.
    async fn product(&self, context: &Context<'_>) -> Product {
        shop(context).product(&self.product_id).expect("the shop makes orders of its own products alone")
    }

    /// Who ordered it.
    async fn customer(&self, context: &Context<'_>) -> Customer {
        shop(context).customer(&self.customer_id).expect("the shop makes orders for its own customers alone")
    }
}

struct Mutation;

/// What can be changed.
#[Object]
impl Mutation {
    /// Orders something. The order is also published to the topic `orders.created.v2`.
    async fn create_order(
        &self,
        context: &Context<'_>,
        product_id: ID,
        customer_id: ID,
        quantity: i32,
    ) -> Answer<Order, Refused> {
        shop(context).create_order(&product_id, &customer_id, quantity.into()).await
    }
}

struct Subscriptions;

/// What can be listened to.
#[Subscription(name = "Subscription")]
impl Subscriptions {
    /// Orders as they are made.
    // Part of the schema only: this service answers `POST`s and no subscriptions. New orders are in the topic, from
    // which the gateway serves them.
    async fn order_created(&self) -> impl Stream<Item = Order> {
        stream::empty()
    }
}

fn shop<'a>(context: &Context<'a>) -> &'a Shop {
    context.data_unchecked()
}

/// The length of a list; a negative one is none.
fn size(first: i32) -> usize {
    usize::try_from(first).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use async_graphql::SDLExportOptions;
    use serde_json::{Value, json};

    use super::*;
    use crate::demo::services::tests::Services;
    use crate::demo::shop::tests::{recorded, unheard};

    /// The answer to a document.
    fn asked(services: &Services, document: &str, variables: Value) -> Value {
        let body = json!({ "query": document, "variables": variables });
        let answer = services.shop("POST", "/graphql", &body.to_string());
        assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
        answer.json()
    }

    /// The types of a schema, in no order; comments and directives are left out.
    fn types(sdl: &str) -> BTreeSet<String> {
        let definitions = sdl.split("\n\n").map(|definition| {
            let lines = definition.lines().filter(|line| !line.starts_with('#'));
            lines.collect::<Vec<_>>().join("\n")
        });
        definitions.filter(|definition| definition.lines().any(|line| line.starts_with("type "))).collect()
    }

    #[test]
    fn the_example_tells_the_schema_of_the_service() {
        let options = SDLExportOptions::new().prefer_single_line_descriptions().use_space_ident();
        let served = schema(recorded().0).sdl_with_options(options);
        assert_eq!(types(include_str!("../../examples/demo/shop.graphql")), types(&served));
    }

    #[test]
    fn lists_nest_in_both_directions() {
        let services = Services::running(recorded().0);
        let document = "query ($n: Int!) {
            products(first: $n) { id name price orders(first: 1) { id quantity total product { id } customer { name orders(first: 1) { id } } } }
            orders(first: 1) { id }
            customers(first: 1) { id name }
        }";
        let expected = json!({ "data": {
            "products": [
                { "id": "1", "name": "Compass", "price": 4_900, "orders": [
                    { "id": "11", "quantity": 3, "total": 14_700, "product": { "id": "1" },
                      "customer": { "name": "Ibn", "orders": [ { "id": "11" } ] } },
                ] },
            ],
            "orders": [ { "id": "12" } ],
            "customers": [ { "id": "1", "name": "Ada" } ],
        } });
        assert_eq!(asked(&services, document, json!({ "n": 1 })), expected);
    }

    #[test]
    fn a_list_is_ten_long_unless_asked_otherwise_and_a_negative_one_is_empty() {
        let services = Services::running(recorded().0);
        let answer = asked(&services, "{ orders { id } none: orders(first: -1) { id } }", json!({}));
        assert_eq!(answer["data"]["orders"].as_array().map(Vec::len), Some(10));
        assert_eq!(answer["data"]["none"], json!([]));
    }

    #[test]
    fn a_mutation_makes_an_order_that_the_rest_service_shows() {
        let (shop, published) = recorded();
        let services = Services::running(shop);
        let document = r#"mutation { createOrder(productId: "1", customerId: "1", quantity: 3) { id quantity } }"#;
        let expected = json!({ "data": { "createOrder": { "id": "13", "quantity": 3 } } });
        assert_eq!(asked(&services, document, json!({})), expected);
        assert_eq!(services.orders("GET", "/orders-api/v3/orders/13", "").status, 200);
        assert_eq!(published.lock().unwrap().len(), 1);
    }

    #[test]
    fn an_order_that_cannot_be_made_is_an_error_at_its_field() {
        let document = r#"mutation { createOrder(productId: "9", customerId: "1", quantity: 3) { id } }"#;
        let told = |services: &Services, document: &str| {
            let answer = asked(services, document, json!({}));
            (answer["errors"][0]["message"].clone(), answer["errors"][0]["path"].clone())
        };
        let services = Services::running(recorded().0);
        assert_eq!(told(&services, document), (json!("there is no product `9`"), json!(["createOrder"])));
        let document = document.replace("\"9\"", "\"1\"");
        let detail = "the order could not be published: the broker is away";
        assert_eq!(told(&Services::running(unheard()), &document), (json!(detail), json!(["createOrder"])));
    }

    #[test]
    fn several_requests_in_one_are_answered_in_their_order() {
        let services = Services::running(recorded().0);
        let body = json!([{ "query": "{ orders(first: 1) { id } }" }, { "query": "{ customers(first: 1) { id } }" }]);
        let expected = json!([
            { "data": { "orders": [ { "id": "12" } ] } },
            { "data": { "customers": [ { "id": "1" } ] } },
        ]);
        assert_eq!(services.shop("POST", "/graphql", &body.to_string()).json(), expected);
    }

    #[test]
    fn a_wrong_document_is_an_error_with_its_place() {
        let services = Services::running(recorded().0);
        let answer = asked(&services, "{ nothing }", json!({}));
        assert_eq!(answer["errors"][0]["locations"], json!([{ "line": 1, "column": 3 }]));
        let answer = asked(&services, "subscription { orderCreated { id } }", json!({}));
        assert_eq!(answer["errors"][0]["message"], json!("Subscriptions are not supported on this transport."));
        assert_eq!(services.shop("GET", "/healthz", "").status, 200);
    }
}
