//! The demo's little shop: products, customers and orders in memory, shared by both services behind the gateway.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde::Serialize;

/// Tells the world of a new order.
pub type Publish = Arc<dyn Fn(Order) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Orders that are kept; the oldest leave. A demo that runs for weeks stays small.
pub const MAX_ORDERS: usize = 10_000;

/// Pieces that one order may ask for.
pub const MAX_QUANTITY: u32 = 1_000;

const PRODUCTS: [(&str, &str, u32); 5] = [
    ("1", "Compass", 4_900),
    ("2", "Sextant", 32_000),
    ("3", "Sea chart", 1_800),
    ("4", "Hourglass", 2_500),
    ("5", "Lantern", 3_700),
];

const CUSTOMERS: [(&str, &str); 3] = [("1", "Ada"), ("2", "Ibn"), ("3", "Mei")];

/// What can be ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Its number.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Of one piece, in cents.
    pub price: u32,
}

/// Who can order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Customer {
    /// Their number.
    pub id: String,
    /// What they are called.
    pub name: String,
}

/// What a customer ordered. Its JSON is what the REST service answers and what the topic carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Its number; later orders have higher ones.
    pub id: String,
    /// What was ordered.
    pub product_id: String,
    /// Who ordered it.
    pub customer_id: String,
    /// How many pieces: 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// In cents.
    pub total: u32,
}

/// Why an order was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such product.
    UnknownProduct(String),
    /// There is no such customer.
    UnknownCustomer(String),
    /// Nobody orders so few or so many.
    Quantity(i64),
    /// The order could not be published, so it was not made.
    NotPublished(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownProduct(id) => write!(f, "there is no product `{id}`"),
            Self::UnknownCustomer(id) => write!(f, "there is no customer `{id}`"),
            Self::Quantity(quantity) => write!(f, "{quantity} pieces cannot be ordered; 1 to {MAX_QUANTITY} can"),
            Self::NotPublished(cause) => write!(f, "the order could not be published: {cause}"),
        }
    }
}

/// The shop. Clones share what is in it.
#[derive(Clone)]
pub struct Shop(Arc<Inner>);

struct Inner {
    products: Vec<Product>,
    customers: Vec<Customer>,
    orders: Mutex<Orders>,
    publish: Publish,
}

/// Oldest first; `next` is the number of the order to come.
struct Orders {
    kept: VecDeque<Order>,
    next: u64,
}

impl Shop {
    /// A shop as it is every morning: the same products, customers and a dozen orders, which are not published.
    pub fn open(publish: Publish) -> Self {
        let product = |(id, name, price): (&str, &str, u32)| Product { id: id.into(), name: name.into(), price };
        let customer = |(id, name): (&str, &str)| Customer { id: id.into(), name: name.into() };
        let products: Vec<_> = PRODUCTS.map(product).into();
        let customers: Vec<_> = CUSTOMERS.map(customer).into();
        let orders = Mutex::new(Orders { kept: VecDeque::new(), next: 1 });
        let shop = Self(Arc::new(Inner { products, customers, orders, publish }));
        let pairs = shop.0.products.iter().cycle().zip(shop.0.customers.iter().cycle());
        for ((product, customer), quantity) in pairs.zip((1..=4).cycle()).take(12) {
            shop.keep(product, customer, quantity);
        }
        shop
    }

    /// The first `first` products.
    pub fn products(&self, first: usize) -> Vec<Product> {
        self.0.products.iter().take(first).cloned().collect()
    }

    /// The product of this number.
    pub fn product(&self, id: &str) -> Option<Product> {
        self.0.products.iter().find(|product| product.id == id).cloned()
    }

    /// The first `first` customers.
    pub fn customers(&self, first: usize) -> Vec<Customer> {
        self.0.customers.iter().take(first).cloned().collect()
    }

    /// The customer of this number.
    pub fn customer(&self, id: &str) -> Option<Customer> {
        self.0.customers.iter().find(|customer| customer.id == id).cloned()
    }

    /// The newest `first` orders that are `wanted`, newest first.
    pub fn orders(&self, first: usize, wanted: impl Fn(&Order) -> bool) -> Vec<Order> {
        self.lock().kept.iter().rev().filter(|order| wanted(order)).take(first).cloned().collect()
    }

    /// How many orders are kept.
    pub fn count(&self) -> usize {
        self.lock().kept.len()
    }

    /// The order of this number.
    pub fn order(&self, id: &str) -> Option<Order> {
        self.lock().kept.iter().rev().find(|order| order.id == id).cloned()
    }

    /// Makes an order and publishes it. It can be found before anybody hears of it. Cancelling stops the waiting: the
    /// order stays, and its publishing goes on.
    ///
    /// # Errors
    /// When there is no such product or customer, or no such quantity; when it cannot be published, and then the order
    /// is not kept either.
    pub async fn create_order(&self, product: &str, customer: &str, quantity: i64) -> Result<Order, Refused> {
        let product = self.product(product).ok_or_else(|| Refused::UnknownProduct(product.to_owned()))?;
        let customer = self.customer(customer).ok_or_else(|| Refused::UnknownCustomer(customer.to_owned()))?;
        let pieces = u32::try_from(quantity).ok().filter(|pieces| (1..=MAX_QUANTITY).contains(pieces));
        let pieces = pieces.ok_or(Refused::Quantity(quantity))?;
        let order = self.keep(&product, &customer, pieces);
        if let Err(cause) = (self.0.publish)(order.clone()).await {
            self.lock().kept.retain(|kept| kept.id != order.id);
            return Err(Refused::NotPublished(cause));
        }
        Ok(order)
    }

    fn keep(&self, product: &Product, customer: &Customer, quantity: u32) -> Order {
        let mut orders = self.lock();
        let order = Order {
            id: orders.next.to_string(),
            product_id: product.id.clone(),
            customer_id: customer.id.clone(),
            quantity,
            // At most 32,000 cents times a thousand pieces.
            total: product.price * quantity,
        };
        orders.next += 1;
        orders.kept.push_back(order.clone());
        if orders.kept.len() > MAX_ORDERS {
            orders.kept.pop_front();
        }
        order
    }

    // Nothing under this lock can panic half way through a change, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// A shop, and what it published.
    pub(in crate::demo) fn recorded() -> (Shop, Arc<Mutex<Vec<Order>>>) {
        let published = Arc::new(Mutex::new(Vec::new()));
        let record = published.clone();
        let publish: Publish = Arc::new(move |order| {
            record.lock().unwrap().push(order);
            std::future::ready(Ok(())).boxed()
        });
        (Shop::open(publish), published)
    }

    /// A shop whose orders nobody can be told of.
    pub(in crate::demo) fn unheard() -> Shop {
        Shop::open(Arc::new(|_| std::future::ready(Err("the broker is away".to_owned())).boxed()))
    }

    fn create(shop: &Shop, product: &str, customer: &str, quantity: i64) -> Result<Order, Refused> {
        let made = shop.create_order(product, customer, quantity).now_or_never();
        made.expect("nothing in the test has to be waited for")
    }

    #[test]
    fn every_shop_opens_with_the_same_products_customers_and_orders() {
        let ((one, published), (other, _)) = (recorded(), recorded());
        assert_eq!(one.orders(100, |_| true), other.orders(100, |_| true));
        assert_eq!((one.products(100).len(), one.customers(100).len(), one.count()), (5, 3, 12));
        assert_eq!(one.product("1"), Some(Product { id: "1".into(), name: "Compass".into(), price: 4_900 }));
        assert_eq!(one.customer("1"), Some(Customer { id: "1".into(), name: "Ada".into() }));
        assert_eq!(*published.lock().unwrap(), []);
    }

    #[test]
    fn every_product_and_every_customer_has_orders_from_the_start() {
        let (shop, _) = recorded();
        for product in shop.products(100) {
            assert_ne!(shop.orders(1, |order| order.product_id == product.id), [], "{product:?}");
        }
        for customer in shop.customers(100) {
            assert_ne!(shop.orders(1, |order| order.customer_id == customer.id), [], "{customer:?}");
        }
    }

    #[test]
    fn a_new_order_is_kept_as_the_newest_and_published() {
        let (shop, published) = recorded();
        let order = create(&shop, "2", "3", 4).unwrap();
        let expected =
            Order { id: "13".into(), product_id: "2".into(), customer_id: "3".into(), quantity: 4, total: 128_000 };
        assert_eq!(order, expected);
        assert_eq!(shop.order("13"), Some(expected.clone()));
        assert_eq!(shop.orders(1, |_| true), std::slice::from_ref(&expected));
        assert_eq!(*published.lock().unwrap(), [expected]);
    }

    #[test]
    fn what_cannot_be_ordered_is_neither_kept_nor_published() {
        let (shop, published) = recorded();
        assert_eq!(create(&shop, "9", "1", 1), Err(Refused::UnknownProduct("9".into())));
        assert_eq!(create(&shop, "1", "9", 1), Err(Refused::UnknownCustomer("9".into())));
        for quantity in [i64::MIN, -1, 0, 1_001, i64::MAX] {
            assert_eq!(create(&shop, "1", "1", quantity), Err(Refused::Quantity(quantity)));
        }
        assert_eq!((shop.count(), published.lock().unwrap().len()), (12, 0));
    }

    #[test]
    fn an_order_nobody_could_be_told_of_is_not_kept() {
        let shop = unheard();
        assert_eq!(create(&shop, "1", "1", 1), Err(Refused::NotPublished("the broker is away".into())));
        assert_eq!((shop.count(), shop.order("13")), (12, None));
    }

    #[test]
    fn the_oldest_orders_leave_when_there_are_too_many() {
        let (shop, _) = recorded();
        let product = shop.product("1").unwrap();
        let customer = shop.customer("1").unwrap();
        while shop.keep(&product, &customer, 1).id != (MAX_ORDERS + 5).to_string() {}
        assert_eq!(shop.count(), MAX_ORDERS);
        assert_eq!((shop.order("5"), shop.order("6").is_some()), (None, true));
    }
}
