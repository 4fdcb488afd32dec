//! Children are of their parent: what an exchange hands to those of a batch or a session.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::exchange::{Place, RequestId};
use crate::worker::Runner;
use crate::{Answer, Client, Exchange, Identity, LocalBoxFuture, Moment, Worker};

/// Runs children straight through Describe and the call, without policies, and keeps what was given to each.
#[derive(Debug, Clone, Default)]
pub struct Straight {
    children: Rc<RefCell<Vec<Kin>>>,
}

impl Straight {
    /// The children so far, in order.
    pub fn children(&self) -> Vec<Kin> {
        self.children.borrow().clone()
    }
}

impl Runner for Straight {
    fn run(&self, worker: &Rc<Worker>, mut child: Exchange) -> LocalBoxFuture<'static, (Exchange, Answer)> {
        self.children.borrow_mut().push(Kin::of(&child));
        let (worker, route) = (worker.clone(), child.route.clone());
        Box::pin(async move {
            let answer = match route.inbound.describe(&worker, &mut child) {
                Ok(_) => route.outbound.call(&worker, &mut child).await,
                Err(fault) => Err(fault),
            };
            (child, answer)
        })
    }
}

/// What an exchange has of its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kin {
    /// Its id.
    pub id: RequestId,
    /// The client.
    pub client: Client,
    /// Who is calling.
    pub identity: Option<Arc<Identity>>,
    /// Its route's name.
    pub route: Arc<str>,
    /// Whether it stands alone.
    pub place: Place,
    /// Until when its answer must begin.
    pub deadline: Moment,
}

impl Kin {
    /// What this exchange has.
    pub fn of(exchange: &Exchange) -> Self {
        Self {
            id: exchange.id,
            client: exchange.client.clone(),
            identity: exchange.identity.clone(),
            route: exchange.route.name.clone(),
            place: exchange.place,
            deadline: exchange.deadline,
        }
    }
}

/// A child has the id, client, identity and route of its parent, and ends no later than `deadline`: the parent's own for
/// the elements of a batch, for a session's command the route's time from its beginning. Every inbound that makes
/// children owes this.
pub fn a_child_is_of_its_parent(parent: &Kin, child: &Kin, deadline: Moment) {
    assert!(child.deadline <= deadline, "the child ends at {:?}, its time at {deadline:?}", child.deadline);
    let expected = Kin { place: Place::Child, deadline: child.deadline, ..parent.clone() };
    assert_eq!(*child, expected, "what a child has of its parent");
}
