//! Carries operations of channels to the broker's side: a subscribe becomes a place in a topic's log, a publish a record.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use portolan_exchange::events::{EventLog, Placed, Publisher, Record};
use portolan_exchange::protocol::Content;
use portolan_exchange::value::{Map, MapType, Payload, Type, Value};
use portolan_exchange::{Answer, Exchange, Fault, FaultKind, Fields, Kind, LocalBoxFuture, Outbound, Reply, Worker};

use crate::contract::{Channel, Contract};
use crate::frames::Publication;
use crate::frames::event::millis;
use crate::session::unknown_channel;

/// Finds the log of a topic: one reader per topic and node fills it.
pub trait Topics: Send + Sync {
    /// The topic's log, once its reader stands: what is published after this answer is in the log. Dropping the future stops
    /// the waiting, not the reader.
    fn open(&self, topic: &Arc<str>) -> BoxFuture<'static, Result<Arc<EventLog>, Fault>>;
}

/// The outbound protocol of events.
pub struct Channels {
    contract: Arc<Contract>,
    topics: Arc<dyn Topics>,
    publisher: Arc<dyn Publisher>,
}

impl Channels {
    /// The channels of a contract, in the topics of one broker.
    pub fn new(contract: Arc<Contract>, topics: Arc<dyn Topics>, publisher: Arc<dyn Publisher>) -> Self {
        Self { contract, topics, publisher }
    }

    async fn subscribe(&self, channel: &Channel) -> Answer {
        let log = self.topics.open(&channel.topic).await?;
        let cursor = log.live();
        Ok(Reply { status: 200, fields: Fields::new(), content: Content::Events { log, cursor } })
    }

    async fn publish(&self, channel: &Channel, exchange: &mut Exchange) -> Answer {
        let record = record(exchange)?;
        let placed = self.publisher.publish(&channel.topic, record).await?;
        Ok(Reply { status: 201, ..Reply::payload(placed_payload(placed)) })
    }
}

impl Outbound for Channels {
    fn protocol(&self) -> &'static str {
        "events"
    }

    fn call<'a>(&'a self, _: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Answer> {
        Box::pin(async move {
            let operation = exchange.operation.clone();
            let Some(operation) = operation else {
                return Err(Fault::new(FaultKind::Internal, "the gateway failed while it handled this event")
                    .because("no operation"));
            };
            let channel = self.contract.channel(&operation.id).ok_or_else(|| unknown_channel(&operation.id))?;
            match operation.kind {
                Kind::Subscribe => self.subscribe(channel).await,
                Kind::Publish => self.publish(channel, exchange).await,
                other => Err(Fault::new(FaultKind::NotImplemented, "a channel is only subscribed or published to")
                    .because(format!("an operation of kind {}", other.as_str()))),
            }
        })
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channels({})", self.contract.title)
    }
}

/// The record of a publish: what the client handed over, or where another protocol calls the operation, its input; and
/// what the gateway vouches for in headers of its own.
fn record(exchange: &mut Exchange) -> Result<Record, Fault> {
    let publication = match (exchange.tickets.take::<Publication>(), &exchange.input) {
        (Some(publication), _) => publication,
        (None, Some(input)) => Publication {
            value: input.bytes(),
            media_type: Some(input.media_type().to_owned()),
            ..Publication::default()
        },
        (None, None) => return Err(Fault::new(FaultKind::MalformedBody, "an event needs a value")),
    };
    let Publication { key, mut headers, value, media_type } = publication;
    // What the client set itself stands; `portolan.` names it could not set.
    let mut put = |name: &str, text: Option<&str>| {
        let given = headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some(text) = text.filter(|text| !text.is_empty() && !given) {
            headers.push((name.to_owned(), Bytes::copy_from_slice(text.as_bytes())));
        }
    };
    put("content-type", media_type.as_deref());
    put("portolan.consumer", exchange.identity.as_ref().map(|identity| &*identity.consumer));
    put("traceparent", exchange.request.fields.get_str("traceparent"));
    Ok(Record { key, value, headers, partition: None })
}

/// What a publish answers, as every protocol renders it.
fn placed_payload(placed: Placed) -> Payload {
    let place = Map::new()
        .with("partition", i64::from(placed.partition))
        .with("offset", placed.offset)
        .with("timestamp", millis(placed.timestamp));
    Payload::of(Value::Map(place))
}

/// The type of this answer.
pub(crate) fn placed_type() -> Type {
    let place = MapType::new().required("partition", Type::I64).required("offset", Type::I64);
    Type::map(place.required("timestamp", Type::I64))
}

/// The place that a publish answered with, whoever answered it; `None` when the answer has no such form.
pub(crate) fn placed(payload: &Payload) -> Option<Placed> {
    let value = payload.value(&Type::Any).ok()?;
    let number = |name: &str| value.get(name).and_then(Value::as_i64);
    let millis = u64::try_from(number("timestamp").unwrap_or(0)).unwrap_or(0);
    Some(Placed {
        partition: i32::try_from(number("partition")?).ok()?,
        offset: number("offset")?,
        timestamp: std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis),
    })
}
