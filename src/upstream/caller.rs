//! On whose behalf a service is called.

use std::rc::Rc;

use portolan_exchange::exchange::{Record, RequestId};
use portolan_exchange::protocol::Interim;
use portolan_exchange::{Client, Exchange, Moment, Request, Worker};

/// On whose behalf a service is called: what it is told of that, and where it is noted.
pub struct Caller<'a> {
    /// The worker that calls.
    pub worker: &'a Rc<Worker>,
    /// The exchange's id.
    pub id: RequestId,
    /// Who asks.
    pub client: &'a Client,
    /// Until when the answer must begin.
    pub deadline: Moment,
    /// Who is told of heads before the answer's own.
    pub interim: Option<&'a Rc<dyn Interim>>,
    /// What is recorded of the call.
    pub record: &'a mut Record,
}

impl<'a> Caller<'a> {
    /// This exchange as the caller, and the request that it came with.
    pub fn of(worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> (Self, &'a mut Request) {
        let Exchange { id, deadline, client, interim, record, request, .. } = exchange;
        let (id, deadline, interim) = (*id, *deadline, interim.as_ref());
        (Self { worker, id, client, deadline, interim, record }, request)
    }
}
