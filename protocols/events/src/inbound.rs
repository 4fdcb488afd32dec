//! Events towards clients: `GET {api}` opens a session, `POST {api}/{channel}` publishes one event.
//!
//! A session's commands become child exchanges, so that a `subscribe` is authorized and limited by the very code that does it for a
//! `POST`. Sockets bound to one channel, event streams and long-poll will stand at `GET {api}/{channel}`; until then it says so.

mod drive;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use portolan_config::snapshot::FirstFrame;
use portolan_exchange::exchange::Place;
use portolan_exchange::protocol::Content;
use portolan_exchange::upgrade::Tunnel;
use portolan_exchange::value::Payload;
use portolan_exchange::{
    Answer, Body, Described, Exchange, Fault, FaultKind, Fields, Inbound, Kind, Method, Operation, Reply, Request,
    Response, Worker,
};
use portolan_websocket::handshake::{self, Refusal, VERSION};

use crate::contract::{Channel, Contract, percent_decoded};
use crate::frames::{NATIVE, Publication};
use crate::session::{Machine, Settings, Standing, only_one_way, unknown_channel};
use drive::Drive;

/// The inbound protocol of events.
pub struct Events {
    contract: Arc<Contract>,
    settings: Settings,
    max_body: usize,
    operations: Arc<Operations>,
}

/// The operations of a contract, made once.
struct Operations {
    session: Arc<Operation>,
    connect: Arc<Operation>,
    /// In the order of the contract's channels: subscribe, publish.
    of_channels: Vec<(Arc<Operation>, Arc<Operation>)>,
}

impl Events {
    /// Serves a contract. `max_body` bounds a published event, in bytes.
    pub fn new(contract: Arc<Contract>, settings: Settings, max_body: usize) -> Self {
        let operation = |id: &Arc<str>, kind| Arc::new(Operation::untyped(id.clone(), kind));
        let of_channel = |channel: &Arc<Channel>| (channel.subscribe(), channel.publish());
        let operations = Operations {
            session: operation(&"session".into(), Kind::Session),
            connect: operation(&"connect".into(), Kind::Call),
            of_channels: contract.channels.iter().map(of_channel).collect(),
        };
        Self { contract, settings, max_body, operations: Arc::new(operations) }
    }

    /// The operation that a head asks for, `path` being what follows the API's prefix: for the router, so that an
    /// operation's own security holds before anything is read.
    ///
    /// # Errors
    /// An unknown channel, a method that a channel does not have, or a direction that it does not take.
    pub fn operation(&self, method: &Method, path: &str) -> Result<Arc<Operation>, Fault> {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return match method {
                Method::Get => Ok(self.operations.session.clone()),
                _ => Err(not_allowed("a session is opened with GET, events are posted to their channel", "GET")),
            };
        }
        let word = percent_decoded(path).ok_or_else(|| unknown_channel(path))?;
        let channel = self.contract.channel(&word).ok_or_else(|| unknown_channel(&word))?;
        match method {
            Method::Post if channel.may_publish => Ok(self.operations.of(&self.contract, channel).1.clone()),
            Method::Post => Err(only_one_way(channel, "subscribe to")),
            Method::Get => Err(Fault::new(
                FaultKind::NotImplemented,
                format!(
                    "a stream of one channel is not served here yet; open a WebSocket one level up and subscribe to `{word}`"
                ),
            )),
            _ => Err(not_allowed("events are published with POST", "POST")),
        }
    }
}

impl Operations {
    /// Subscribe and publish of a channel of this contract.
    fn of(&self, contract: &Contract, channel: &Channel) -> &(Arc<Operation>, Arc<Operation>) {
        let at = contract.channels.iter().position(|other| other.address == channel.address);
        &self.of_channels[at.expect("operations are made from the contract that channels come from")]
    }
}

impl Inbound for Events {
    fn protocol(&self) -> &'static str {
        "events"
    }

    fn gathers(&self, exchange: &Exchange) -> Option<usize> {
        (exchange.request.method == Method::Post).then_some(self.max_body)
    }

    fn describe(&self, _: &Rc<Worker>, exchange: &mut Exchange) -> Result<Described, Fault> {
        match exchange.place {
            Place::Request => {}
            // A session's command comes with its operation and its event.
            Place::Child | Place::FirstFrame => return Ok(Described::One),
        }
        let operation = self.operation(&exchange.request.method, below_prefix(exchange))?;
        if operation.kind == Kind::Publish {
            let publication = publication(exchange)?;
            let media_type = publication.media_type.clone().unwrap_or_default();
            exchange.input = Some(Payload::new(media_type, publication.value.clone()));
            exchange.tickets.put(publication);
        }
        exchange.operation = Some(operation);
        Ok(Described::One)
    }

    fn takes_credentials_later(&self, exchange: &Exchange) -> bool {
        let opens_session = || {
            let asked = self.operation(&exchange.request.method, below_prefix(exchange));
            asked.is_ok_and(|operation| operation.kind == Kind::Session)
        };
        let may = self.settings.first_frame == FirstFrame::Allowed && exchange.place == Place::Request;
        may && asks_for_websocket(&exchange.request) && opens_session()
    }

    fn open(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Answer {
        let request = &exchange.request;
        let opening =
            handshake::check(request.method.as_str(), |name| request.fields.get_all(name)).map_err(refused)?;
        if !asks_for_websocket(request) {
            return Err(refused(Refusal::NotAnUpgrade));
        }
        let chosen = opening.choose(&[NATIVE]);
        if chosen.is_none() && !opening.offered.is_empty() {
            let told = format!("none of the sub-protocols offered is spoken here; offer `{NATIVE}`");
            return Err(Fault::new(FaultKind::BadRequest, told));
        }
        let mut fields = Fields::new();
        fields.push(b"connection", b"upgrade");
        fields.push(b"upgrade", b"websocket");
        fields.push(b"sec-websocket-accept", opening.accept.as_bytes());
        if let Some(chosen) = chosen {
            fields.push(b"sec-websocket-protocol", chosen.as_bytes());
        }
        let content = Content::Tunnel(self.tunnel(worker, exchange));
        Ok(Reply { status: 101, fields, content })
    }

    fn render(&self, exchange: &Exchange, answer: Answer) -> Response {
        let reply = match answer {
            Ok(reply) => reply,
            Err(fault) => return fault.response(&exchange.id.to_string()),
        };
        let mut response = Response::new(reply.status);
        response.fields = reply.fields;
        match reply.content {
            Content::Tunnel(tunnel) => response.tunnel = Some(tunnel),
            Content::Bytes(body) => response.body = body,
            Content::Payload(payload) => {
                if !payload.media_type().is_empty() {
                    response.fields.push(b"content-type", payload.media_type().as_bytes());
                }
                response.body = Body::whole(payload.bytes());
            }
            Content::Events { .. } => {
                let told = "a stream of events is not served over HTTP yet; open a WebSocket";
                return Fault::new(FaultKind::NotImplemented, told).response(&exchange.id.to_string());
            }
        }
        response
    }
}

impl Events {
    /// The session behind the upgrade. Whoever came so far has passed Authenticate: the client is identified, or may still say
    /// who it is.
    fn tunnel(&self, worker: &Rc<Worker>, exchange: &Exchange) -> Tunnel {
        let id = exchange.id.to_string();
        let (contract, settings) = (self.contract.clone(), self.settings.clone());
        let now = worker.clock.now();
        let standing = if exchange.awaits_credentials() { Standing::Unidentified } else { Standing::Identified };
        let mut machine = Machine::new(id, contract.clone(), settings, standing, now);
        machine.expires(exchange.identity.as_ref().and_then(|identity| drive::end_of(identity, worker)));
        let context = drive::Context {
            worker: worker.clone(),
            lineage: exchange.lineage(),
            counters: exchange.counters(),
            contract,
            operations: self.operations.clone(),
        };
        Tunnel::new(move |stream| Box::pin(Drive::new(stream, machine, context)))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({})", self.contract.title)
    }
}

/// What follows the API's prefix in a request's path.
fn below_prefix(exchange: &Exchange) -> &str {
    let path = exchange.request.target.path();
    path.strip_prefix(&*exchange.route.prefix).unwrap_or(path)
}

fn asks_for_websocket(request: &Request) -> bool {
    request.upgrade.as_ref().is_some_and(|upgrade| upgrade.protocol() == "websocket")
}

/// The event of a `POST`: the body as it came, the key from `Portolan-Key`.
fn publication(exchange: &mut Exchange) -> Result<Publication, Fault> {
    let value = match &exchange.request.body {
        Body::Empty => return Err(Fault::new(FaultKind::MalformedBody, "an event needs a body")),
        Body::Whole(bytes) => bytes.clone(),
        Body::Stream(_) => {
            let fault = Fault::new(FaultKind::Internal, "the gateway failed while it read this event");
            return Err(fault.because("the body was not gathered"));
        }
    };
    let fields = &exchange.request.fields;
    let mut keys = fields.get_all("portolan-key");
    let key = keys.next().map(Bytes::copy_from_slice);
    if keys.next().is_some() {
        return Err(Fault::new(FaultKind::BadRequest, "`portolan-key` may stand once"));
    }
    let media_type = fields.get_str("content-type").map(str::to_owned);
    if Payload::new(media_type.clone().unwrap_or_default(), Bytes::new()).is_json() {
        check_json(&value)?;
    }
    Ok(Publication { key, headers: Vec::new(), value, media_type })
}

/// What is said to be JSON must be it, else consumers would get bytes where they expect data.
fn check_json(value: &[u8]) -> Result<(), Fault> {
    let broken = |place: String| {
        let place = portolan_exchange::fault::Violation { location: "body".to_owned(), message: place };
        Fault::new(FaultKind::MalformedBody, "the event is not valid JSON, though its media type says so")
            .at(vec![place])
    };
    let text =
        std::str::from_utf8(value).map_err(|error| broken(format!("no UTF-8 at byte {}", error.valid_up_to())))?;
    let checked: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    checked.map(|_| ()).map_err(|error| broken(error.to_string()))
}

fn refused(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Method => not_allowed(refusal.reason(), "GET"),
        Refusal::NotAnUpgrade => Fault::new(FaultKind::UpgradeRequired, refusal.reason()).field("upgrade", "websocket"),
        Refusal::Version => Fault::new(FaultKind::UpgradeRequired, refusal.reason())
            .field("upgrade", "websocket")
            .field("sec-websocket-version", VERSION),
        Refusal::Key | Refusal::Protocol => Fault::new(FaultKind::BadRequest, refusal.reason()),
    }
}

fn not_allowed(detail: &'static str, allow: &str) -> Fault {
    Fault::new(FaultKind::MethodNotAllowed, detail).field("allow", allow)
}

#[cfg(test)]
mod tests;
