//! The demo's REST service: the shop's orders, as `examples/demo/orders.openapi.yaml` describes them.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, JsonConfig, Path, Query, QueryConfig, ServiceConfig};
use actix_web::{HttpResponse, ResponseError, get, post};
use serde::{Deserialize, Serialize};

use super::shop::{Order, Refused, Shop};

/// How many orders a list gives when nobody asks for another number.
const ORDERS: usize = 20;

/// How many it gives at most.
const MAX_ORDERS: usize = 100;

/// Adds the service's routes.
pub fn routes(config: &mut ServiceConfig, shop: Shop) {
    let query = QueryConfig::default().error_handler(|error, _| Problem::unreadable(&error).into());
    let body = JsonConfig::default().error_handler(|error, _| Problem::unreadable(&error).into());
    config.app_data(Data::new(shop)).app_data(query).app_data(body);
    config.service(healthz).service(list_orders).service(get_order).service(create_order);
}

#[get("/healthz")]
async fn healthz() -> &'static str {
    "ok"
}

#[derive(Deserialize)]
struct Paging {
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Listed {
    orders: Vec<Order>,
    count: usize,
}

#[get("/orders-api/v3/orders")]
async fn list_orders(shop: Data<Shop>, paging: Query<Paging>) -> Json<Listed> {
    let orders = shop.orders(paging.limit.unwrap_or(ORDERS).min(MAX_ORDERS), |_| true);
    Json(Listed { orders, count: shop.count() })
}

#[get("/orders-api/v3/orders/{id}")]
async fn get_order(shop: Data<Shop>, id: Path<String>) -> Result<Json<Order>, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "unknown order", format!("there is no order `{id}`"));
    shop.order(&id).map(Json).ok_or_else(missing)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    product_id: String,
    customer_id: String,
    quantity: i64,
}

#[post("/orders-api/v3/orders")]
async fn create_order(shop: Data<Shop>, new: Json<NewOrder>) -> Result<HttpResponse, Problem> {
    let order = shop.create_order(&new.product_id, &new.customer_id, new.quantity).await?;
    let location = format!("/orders-api/v3/orders/{}", order.id);
    Ok(HttpResponse::Created().insert_header(("location", location)).json(order))
}

/// Why there is no other answer (RFC 9457).
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into() }
    }

    fn unreadable(error: &impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable request", error.to_string())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (status, title) = match refused {
            Refused::UnknownProduct(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unknown product"),
            Refused::UnknownCustomer(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unknown customer"),
            Refused::Quantity(_) => (StatusCode::UNPROCESSABLE_ENTITY, "impossible quantity"),
            Refused::NotPublished(_) => (StatusCode::SERVICE_UNAVAILABLE, "order not published"),
        };
        Self::new(status, title, refused.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let body = serde_json::json!({ "title": self.title, "status": self.status.as_u16(), "detail": self.detail });
        HttpResponse::build(self.status).content_type("application/problem+json").body(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::demo::services::tests::{Answer, Services, orders};
    use crate::demo::shop::tests::{recorded, unheard};

    const LIST: &str = "/orders-api/v3/orders";

    fn problem(status: u16, title: &str, detail: &str) -> (u16, String, Value) {
        let body = json!({ "title": title, "status": status, "detail": detail });
        (status, "application/problem+json".to_owned(), body)
    }

    fn whole(answer: Answer) -> (u16, String, Value) {
        (answer.status, answer.field("content-type").unwrap_or_default().to_owned(), answer.json())
    }

    #[test]
    fn a_list_gives_the_newest_orders_and_how_many_there_are() {
        let services = Services::running(recorded().0);
        let answer = services.orders("GET", &format!("{LIST}?limit=2"), "");
        let expected = json!({
            "orders": [
                { "id": "12", "productId": "2", "customerId": "3", "quantity": 4, "total": 128_000 },
                { "id": "11", "productId": "1", "customerId": "2", "quantity": 3, "total": 14_700 },
            ],
            "count": 12,
        });
        assert_eq!(whole(answer), (200, "application/json".to_owned(), expected));
        assert_eq!(orders(&services.orders("GET", LIST, "")), 12);
        let (status, _, _) = whole(services.orders("GET", &format!("{LIST}?limit=many"), ""));
        assert_eq!(status, 400);
    }

    #[test]
    fn an_order_is_found_by_its_id_and_a_missing_one_is_a_problem() {
        let services = Services::running(recorded().0);
        let answer = services.orders("GET", &format!("{LIST}/1"), "");
        let expected = json!({ "id": "1", "productId": "1", "customerId": "1", "quantity": 1, "total": 4_900 });
        assert_eq!(whole(answer), (200, "application/json".to_owned(), expected));
        let answer = services.orders("GET", &format!("{LIST}/99"), "");
        assert_eq!(whole(answer), problem(404, "unknown order", "there is no order `99`"));
    }

    #[test]
    fn a_new_order_is_answered_with_its_place_and_published() {
        let (shop, published) = recorded();
        let services = Services::running(shop);
        let answer = services.orders("POST", LIST, r#"{"productId": "1", "customerId": "2", "quantity": 3}"#);
        let expected = json!({ "id": "13", "productId": "1", "customerId": "2", "quantity": 3, "total": 14_700 });
        assert_eq!(answer.field("location"), Some("/orders-api/v3/orders/13"));
        assert_eq!(whole(answer), (201, "application/json".to_owned(), expected.clone()));
        assert_eq!(services.orders("GET", &format!("{LIST}/13"), "").json(), expected);
        let published: Vec<_> = published.lock().unwrap().iter().map(|order| json!(order)).collect();
        assert_eq!(published, [expected]);
    }

    #[test]
    fn an_order_that_cannot_be_made_is_a_problem() {
        let services = Services::running(recorded().0);
        let post = |body: &str| whole(services.orders("POST", LIST, body));
        assert_eq!(
            post(r#"{"productId": "9", "customerId": "1", "quantity": 1}"#),
            problem(422, "unknown product", "there is no product `9`")
        );
        assert_eq!(
            post(r#"{"productId": "1", "customerId": "9", "quantity": 1}"#),
            problem(422, "unknown customer", "there is no customer `9`")
        );
        assert_eq!(
            post(r#"{"productId": "1", "customerId": "1", "quantity": 0}"#),
            problem(422, "impossible quantity", "0 pieces cannot be ordered; 1 to 1000 can")
        );
        for unreadable in ["{broken", "[]", r#"{"productId": "1"}"#] {
            let (status, kind, body) = post(unreadable);
            assert_eq!(
                (status, kind.as_str(), &body["title"]),
                (400, "application/problem+json", &json!("unreadable request"))
            );
        }
        assert_eq!(orders(&services.orders("GET", LIST, "")), 12);
    }

    #[test]
    fn an_order_nobody_could_be_told_of_is_503() {
        let services = Services::running(unheard());
        let answer = services.orders("POST", LIST, r#"{"productId": "1", "customerId": "1", "quantity": 1}"#);
        let detail = "the order could not be published: the broker is away";
        assert_eq!(whole(answer), problem(503, "order not published", detail));
    }

    #[test]
    fn the_service_says_that_it_works() {
        let services = Services::running(recorded().0);
        assert_eq!(services.orders("GET", "/healthz", "").status, 200);
    }
}
