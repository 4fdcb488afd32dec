//! One operation on its way, with all that was learned about it.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::fault::FaultKind;
use crate::identity::Credential;
use crate::protocol::Interim;
use crate::value::Payload;
use crate::{Client, Fields, Identity, Moment, Operation, Request, Route, Subscription};

/// A request's id: 128 bits, kept as the 32 hexadecimal digits that heads and logs show it in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// The id of this number.
    pub const fn new(number: u128) -> Self {
        let mut digits = [0; 32];
        let (quarters, _) = digits.as_chunks_mut::<8>();
        let mut at = 0;
        while at < quarters.len() {
            quarters[at] = hexadecimal((number >> (96 - 32 * at)) as u32);
            at += 1;
        }
        Self(digits)
    }

    /// Its 32 digits, for a head.
    pub const fn digits(self) -> [u8; 32] {
        self.0
    }

    /// Its 32 digits, as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

/// Eight digits at once: each takes a byte of one number.
const fn hexadecimal(quarter: u32) -> [u8; 8] {
    let mut spread = quarter as u64;
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // A digit above 9 carries into the upper half of its byte when 6 is added; letters stand 39 behind the digits.
    let letters = ((spread + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (spread + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One operation on its way.
///
/// A plain request opens one; a session opens one per command, a batch one per element: children, with an operation and
/// limits of their own and the parent's identity, deadline and id. An exchange is owned by its connection, and dropping it
/// cancels what it waits for.
pub struct Exchange {
    /// Its id, in every log line and fault.
    pub id: RequestId,
    /// When its head had arrived.
    pub started: Moment,
    /// Until when its answer must begin.
    pub deadline: Moment,
    /// Where it goes. A route opens the exchange, so there always is one.
    pub route: Arc<Route>,
    /// Who asks, as far as trusted proxies tell it; nobody, until whoever received the request has said.
    pub client: Client,
    /// The request. A child has one of its own, without content.
    pub request: Request,
    /// What the route's path template matched, percent-encoded, in order.
    pub path_parameters: Vec<(Arc<str>, Box<str>)>,
    /// What is asked for: set at Route where the head tells it, completed at Describe.
    pub operation: Option<Arc<Operation>>,
    /// The operation's input, where it was read.
    pub input: Option<Payload>,
    /// Who is calling, once Authenticate knows.
    pub identity: Option<Arc<Identity>>,
    /// The subscription under which it is called, once Authorize knows.
    pub subscription: Option<Arc<Subscription>>,
    /// The operations it stands for, in limits that count requests: 1, for a batch the number of its elements.
    pub operations: u64,
    /// What it counts for in limits that count the cost: at least 1, which it is where a protocol knows no cost.
    pub cost: u64,
    /// Whether limits were drawn for it already, by the batch it is part of.
    pub limits: Limits,
    /// Header fields that the answer will carry, reply and fault alike.
    pub answer_fields: Fields,
    /// Where an upstream's heads before the answer go; nowhere where it is `None`.
    pub interim: Option<Rc<dyn Interim>>,
    /// What policies and protocols left for themselves.
    pub tickets: Tickets,
    /// What will be recorded of it.
    pub record: Record,
    /// What kind of exchange it is.
    pub place: Place,
}

/// Whether an exchange stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It came as a request of its own.
    Request,
    /// It is part of a batch or a command of a session: it begins at Describe, with its parent's identity.
    Child,
    /// It is the first frame of a session whose upgrade did not say who the client is, and says so now: it begins at Guard, as
    /// a request does, and is answered where others are called. Its identity becomes the session's.
    FirstFrame,
}

/// Who draws an exchange's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// The exchange itself.
    Own,
    /// Its parent drew for all its children at once.
    DrawnByParent,
}

/// What is recorded of an exchange: once, at its very end.
#[derive(Debug)]
pub struct Record {
    /// Bytes of content received and sent, counted as they pass.
    pub bytes: Rc<Bytes>,
    /// The status sent.
    pub status: u16,
    /// The upstream called.
    pub upstream: Option<Arc<str>>,
    /// Its endpoint.
    pub endpoint: Option<Arc<str>>,
    /// The time the request waited before it was looked at.
    pub queue: Duration,
    /// The time until the upstream's head was there, over all calls that ended.
    pub upstream_time: Duration,
    /// Since when a call is under way that has not ended yet.
    pub calling: Option<Moment>,
    /// The fault, if it ended with one.
    pub fault: Option<FaultKind>,
    /// The fault's cause, for the log.
    pub cause: Option<String>,
}

impl Record {
    /// Nothing yet but who counts.
    fn new(bytes: Rc<Bytes>) -> Self {
        Self {
            bytes,
            status: 0,
            upstream: None,
            endpoint: None,
            queue: Duration::ZERO,
            upstream_time: Duration::ZERO,
            calling: None,
            fault: None,
            cause: None,
        }
    }
}

/// Counts of content bytes.
#[derive(Debug, Default)]
pub struct Bytes {
    /// Received from the client.
    pub received: Cell<u64>,
    /// Sent to the client.
    pub sent: Cell<u64>,
}

/// What a child takes over from its parent: kept by a session that outlives the request which opened it.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The parent's id.
    pub id: RequestId,
    /// Its route.
    pub route: Arc<Route>,
    /// Its client.
    pub client: Client,
    /// Its identity. A session whose credentials change gives its children the new one.
    pub identity: Option<Arc<Identity>>,
}

impl Exchange {
    /// An exchange of a request that was routed.
    pub fn new(id: RequestId, route: Arc<Route>, request: Request, started: Moment) -> Self {
        Self::counted(id, route, request, started, Rc::default())
    }

    /// An exchange of a request that was routed, of which somebody counts the content as it passes.
    pub fn counted(id: RequestId, route: Arc<Route>, request: Request, started: Moment, bytes: Rc<Bytes>) -> Self {
        Self {
            id,
            started,
            deadline: started.after(route.deadline),
            client: Client::default(),
            route,
            request,
            path_parameters: Vec::new(),
            operation: None,
            input: None,
            identity: None,
            subscription: None,
            operations: 1,
            cost: 1,
            limits: Limits::Own,
            answer_fields: Fields::new(),
            interim: None,
            tickets: Tickets::default(),
            record: Record::new(bytes),
            place: Place::Request,
        }
    }

    /// What its children take over.
    pub fn lineage(&self) -> Lineage {
        Lineage { id: self.id, route: self.route.clone(), client: self.client.clone(), identity: self.identity.clone() }
    }

    /// A child for one operation, to be run by [`crate::Worker::run`]; it shares the deadline of this exchange.
    pub fn child(&self, operation: Arc<Operation>, now: Moment) -> Self {
        let mut child = self.lineage().child(operation, now);
        child.deadline = self.deadline;
        child
    }

    /// Whether it opens a session whose client may still say who it is. Until then nobody knows the caller, so policies that
    /// ask for an identity let this exchange pass, and no other.
    pub fn awaits_credentials(&self) -> bool {
        self.identity.is_none() && self.route.inbound.takes_credentials_later(self)
    }

    /// Lets the content bytes of this exchange be counted.
    pub fn counters(&self) -> Rc<Bytes> {
        self.record.bytes.clone()
    }
}

impl Lineage {
    /// A child for one operation, with a deadline of its own.
    pub fn child(&self, operation: Arc<Operation>, now: Moment) -> Exchange {
        let request = Request::new(crate::Method::Post, crate::Target::new("/"));
        let mut child = Exchange::new(self.id, self.route.clone(), request, now);
        child.client = self.client.clone();
        child.identity = self.identity.clone();
        child.operation = Some(operation);
        child.place = Place::Child;
        child
    }

    /// The first frame of a session whose client is not known yet, with the credential in it, if there is one.
    pub fn first_frame(&self, operation: Arc<Operation>, credential: Option<Credential>, now: Moment) -> Exchange {
        let mut child = self.child(operation, now);
        child.place = Place::FirstFrame;
        if let Some(credential) = credential {
            child.tickets.put(credential);
        }
        child
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("id", &self.id)
            .field("route", &self.route.name)
            .field("request", &self.request)
            .field("operation", &self.operation.as_ref().map(|operation| operation.id.clone()))
            .finish_non_exhaustive()
    }
}

/// What policies and protocols leave in an exchange for themselves, by type: a permit, a reservation, an analysis.
#[derive(Default)]
pub struct Tickets(Vec<Box<dyn Any>>);

impl Tickets {
    /// Leaves a ticket; one of the same type that lay there before is given back.
    pub fn put<T: Any>(&mut self, ticket: T) -> Option<T> {
        let before = self.take::<T>();
        self.0.push(Box::new(ticket));
        before
    }

    /// Looks at a ticket.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.iter().find_map(|ticket| ticket.downcast_ref())
    }

    /// Looks at a ticket in order to change it.
    pub fn get_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.0.iter_mut().find_map(|ticket| ticket.downcast_mut())
    }

    /// Takes a ticket away.
    pub fn take<T: Any>(&mut self) -> Option<T> {
        let at = self.0.iter().position(|ticket| ticket.is::<T>())?;
        let ticket = self.0.swap_remove(at).downcast().expect("the ticket is of the type it was found by");
        Some(*ticket)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_as_hexadecimal_digits() {
        for number in [0, u128::MAX, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, 0x9a << 120, 0xa9] {
            let (id, shown) = (RequestId::new(number), format!("{number:032x}"));
            assert_eq!((id.digits().as_slice(), id.to_string()), (shown.as_bytes(), shown.clone()));
        }
    }

    #[test]
    fn tickets_are_found_by_their_type() {
        let mut tickets = Tickets::default();
        assert_eq!(tickets.put(7_u32), None);
        assert_eq!(tickets.put("permit"), None);
        assert_eq!(tickets.get::<u32>(), Some(&7));
        assert_eq!(tickets.put(8_u32), Some(7));
        assert_eq!(tickets.take::<u32>(), Some(8));
        assert_eq!(tickets.take::<u32>(), None);
        assert_eq!(tickets.take::<&str>(), Some("permit"));
    }
}
