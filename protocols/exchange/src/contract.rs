//! What every protocol promises, as tests that its crate calls with its own inbound and outbound.
//!
//! | promise | tests |
//! |---|---|
//! | every fault renders | [`every_fault_renders`]; [`fault`] and [`Told`] for what is told otherwise than in a response |
//! | bodies stream | [`a_reply_streams`], [`bytes_pass_unread`] |
//! | cancellation reaches the upstream | [`dropping_the_call_reaches_the_upstream`], [`dropping_the_reply_reaches_the_upstream`] |
//! | deadlines travel | [`the_deadline_travels`], [`the_deadline_ends_the_call`], [`a_child_is_of_its_parent`] |
//! | limits hold | [`too_much_is_refused`], [`an_endless_answer_is_refused`] |
//! | values keep their types | [`values_keep_their_types`] |
//!
//! A protocol gives an [`Exchange`] of one of its operations, which holds its route and so its inbound and outbound; what
//! stands on the other side is fake: [`FakeUpstream`], [`FakeInbound`], [`FakeOutbound`], and a [`Watch`] that tells
//! what was begun, read and dropped. Time stands still until a test moves it. Each function panics with the promise that was
//! broken.
//!
//! A protocol owes only those that it can: who gathers an answer to translate it owes a bound instead of a stream. What nobody
//! gets out of is said at each test.

mod bodies;
mod calls;
mod children;
mod fakes;
mod faults;
mod limits;
#[cfg(test)]
mod tests;
mod values;
mod watch;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;

use crate::exchange::RequestId;
use crate::{Body, BodyError, Clock, Described, Exchange, Fault, FaultKind, Inbound, Outbound, Request, Route, Worker};

pub use bodies::{a_reply_streams, bytes_pass_unread};
pub use calls::{
    dropping_the_call_reaches_the_upstream, dropping_the_reply_reaches_the_upstream, the_deadline_ends_the_call,
    the_deadline_travels,
};
pub use children::{Kin, Straight, a_child_is_of_its_parent};
pub use fakes::{FakeInbound, FakeOutbound, FakeUpstream, Seen, SentBody};
pub use faults::{Told, every_fault_renders, fault};
pub use limits::{an_endless_answer_is_refused, too_much_is_refused};
pub use values::values_keep_their_types;
pub use watch::Watch;

/// The id of every exchange made here.
pub const ID: RequestId = RequestId::new(0xc0_47ac);

/// A worker whose clock stands still.
pub fn worker() -> Rc<Worker> {
    Worker::new(0, Clock::manual(SystemTime::UNIX_EPOCH))
}

/// A route of these two at the root, without policies, with ten seconds for each exchange.
pub fn route(inbound: Arc<dyn Inbound>, outbound: Arc<dyn Outbound>) -> Route {
    Route {
        name: "contract".into(),
        api: None,
        inbound,
        outbound,
        policies: Box::default(),
        deadline: Duration::from_secs(10),
        prefix: "".into(),
    }
}

/// The exchange of a request that just came, at the moment at which every [`worker`] begins.
pub fn exchange(route: Route, request: Request) -> Exchange {
    Exchange::new(ID, Arc::new(route), request, worker().clock.now())
}

/// Describes an exchange as the pipeline does: its body is gathered as far as its inbound asks for it.
///
/// # Errors
/// What the inbound says, or that the body is too large.
pub fn describe(worker: &Rc<Worker>, exchange: &mut Exchange) -> Result<Described, Fault> {
    let inbound = exchange.route.inbound.clone();
    if let Some(cap) = inbound.gathers(exchange) {
        let body = std::mem::take(&mut exchange.request.body);
        let gathered = body.collect(cap).now_or_never().expect("the bodies of these tests never wait");
        exchange.request.body = Body::whole(gathered.map_err(not_gathered)?.bytes);
    }
    inbound.describe(worker, exchange)
}

fn not_gathered(error: BodyError) -> Fault {
    let kind = match error {
        BodyError::TooLarge { .. } => FaultKind::BodyTooLarge,
        BodyError::Gone => FaultKind::ClientGone,
        BodyError::Late => FaultKind::RequestTimeout,
        BodyError::Broken(_) => FaultKind::MalformedBody,
    };
    Fault::new(kind, error.to_string())
}
