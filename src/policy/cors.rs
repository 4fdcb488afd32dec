//! Lets pages of other origins call from a browser: answers their preflights, and tells the browser what they may read.
//!
//! Who is no browser is not held by this, and a page that is not let in is refused by its browser: so its requests pass as
//! they would without an origin.

mod rules;

use std::rc::Rc;
use std::sync::Arc;

use portolan_config::snapshot;
use portolan_exchange::exchange::Tickets;
use portolan_exchange::protocol::Content;
use portolan_exchange::{Answer, Body, Exchange, Fields, Phase, Policy, Reply, Step, Worker};

pub use rules::{Asked, Rules, preflight_for};

/// CORS of a route: by rules of its own, else by those of the listener that a request came in by.
pub struct Cors {
    own: Option<Rules>,
}

/// The rules of the listener that a request came in by: a ticket in its exchange.
pub struct OfListener(pub Arc<Rules>);

impl Cors {
    /// The policy of a route that has these rules or none.
    pub fn new(own: Option<&snapshot::Cors>) -> Self {
        Self { own: own.map(Rules::of) }
    }

    fn rules<'a>(&'a self, tickets: &'a Tickets) -> Option<&'a Rules> {
        self.own.as_ref().or_else(|| tickets.get::<OfListener>().map(|OfListener(rules)| &**rules))
    }
}

impl Policy for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn phase(&self) -> Phase {
        Phase::Guard
    }

    fn request(&self, _: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        let Exchange { request, answer_fields, tickets, .. } = exchange;
        let Some(rules) = self.rules(tickets) else { return Step::Next };
        // An upgrade is no fetch: browsers read none of this in its answer (WebSockets standard, section 2).
        if request.upgrade.is_some() {
            return Step::Next;
        }
        // Laid over whatever the answer will be, a fault and a panic included.
        match rules.tell(request, answer_fields) {
            Asked::Request => Step::Next,
            Asked::Preflight => {
                let reply = Reply { status: 204, fields: Fields::new(), content: Content::Bytes(Body::Empty) };
                Step::Answer(Box::new(Ok(reply)))
            }
        }
    }

    fn response(&self, _: &Rc<Worker>, exchange: &mut Exchange, answer: &mut Answer) {
        let (Some(_), Ok(reply)) = (self.rules(&exchange.tickets), answer) else { return };
        rules::replace(&mut reply.fields);
        // What is laid over a reply takes the place of its own fields, and what that varied by still counts.
        if exchange.answer_fields.contains("vary") {
            for value in reply.fields.get_all("vary").filter(|value| !value.eq_ignore_ascii_case(b"origin")) {
                exchange.answer_fields.push(b"vary", value);
            }
        }
    }
}
