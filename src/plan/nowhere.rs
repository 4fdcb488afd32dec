//! A route that leads nowhere: for checking where routes stand without starting what they lead to.

use std::sync::Arc;
use std::time::Duration;

use portolan_exchange::{Answer, Exchange, Fault, FaultKind, LocalBoxFuture, Outbound, Route, Worker};
use portolan_rest::RestInbound;

struct Nowhere;

impl Outbound for Nowhere {
    fn protocol(&self) -> &'static str {
        "nowhere"
    }

    fn call<'a>(&'a self, _: &'a std::rc::Rc<Worker>, _: &'a mut Exchange) -> LocalBoxFuture<'a, Answer> {
        Box::pin(std::future::ready(Err(Fault::new(FaultKind::UnknownRoute, "this route leads nowhere"))))
    }
}

/// A route of this name that leads nowhere.
pub fn route(name: &str) -> Arc<Route> {
    Arc::new(Route {
        name: name.into(),
        api: None,
        inbound: Arc::new(RestInbound::plain()),
        outbound: Arc::new(Nowhere),
        policies: Box::default(),
        deadline: Duration::from_secs(1),
        prefix: "".into(),
    })
}
