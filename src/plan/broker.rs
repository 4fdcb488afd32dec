//! The link to one broker: its topics' readers and its publisher.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portolan_actors::publisher::Publisher;
use portolan_actors::supervision::Control;
use portolan_actors::topic::Topic;
use portolan_config::snapshot::{self, BrokerKind};
use portolan_events::Topics;
use portolan_exchange::events::{self, Bounds, Broker, EventLog, Listener, Placed, Record};
use portolan_exchange::{Clock, Fault, FaultKind};
use portolan_kafka::Kafka;

use super::shared::Shards;

/// A broker in use. One reader per topic serves all sessions of this node.
pub struct BrokerLink {
    settings: Arc<snapshot::Broker>,
    broker: Arc<dyn Broker>,
    control: Control,
    clock: Clock,
    bounds: Bounds,
    publisher: Publisher,
    topics: Mutex<BTreeMap<Arc<str>, Arc<Topic>>>,
    shards: Arc<Shards>,
}

// Records that may wait for a broker's word at a time; the next one is refused.
const IN_FLIGHT: usize = 10_000;

// How long a subscribe waits for a reader that is still connecting.
const READER: Duration = Duration::from_secs(5);

impl BrokerLink {
    /// The link of these settings. Nothing is connected before a topic is read or a record published.
    pub fn start(control: &Control, settings: Arc<snapshot::Broker>, shards: Arc<Shards>) -> Arc<Self> {
        let BrokerKind::Kafka(kafka) = &settings.kind;
        let broker: Arc<dyn Broker> = Arc::new(Kafka::new(settings.name.to_string(), &kafka.bootstrap));
        let bounds = Bounds { events: kafka.ring.events, bytes: kafka.ring.bytes };
        let publisher = Publisher::start(control, broker.clone(), IN_FLIGHT);
        Arc::new(Self {
            settings,
            broker,
            control: control.clone(),
            clock: control.clock().clone(),
            bounds,
            publisher,
            topics: Mutex::default(),
            shards,
        })
    }

    /// Its settings.
    pub fn settings(&self) -> &Arc<snapshot::Broker> {
        &self.settings
    }

    /// The reader of a topic: the one there is, or one that begins now, at the live end.
    pub fn topic(&self, name: &Arc<str>) -> Arc<Topic> {
        let mut topics = self.lock();
        if let Some(topic) = topics.get(name) {
            return topic.clone();
        }
        let log = EventLog::new(name.clone(), self.bounds);
        for shard in self.shards.all() {
            log.listen(&shard);
        }
        let topic = Arc::new(Topic::start(&self.control, self.broker.clone(), log));
        topics.insert(name.clone(), topic.clone());
        topic
    }

    /// Lets a shard be told of every topic there is.
    pub fn tell(&self, shard: &Arc<dyn Listener>) {
        for topic in self.lock().values() {
            topic.log().listen(shard);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Topic>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topics for BrokerLink {
    fn open(&self, topic: &Arc<str>) -> BoxFuture<'static, Result<Arc<EventLog>, Fault>> {
        let topic = self.topic(topic);
        let clock = self.clock.clone();
        async move {
            clock.timeout(READER, topic.log().begun()).await.map_err(|_| {
                Fault::new(FaultKind::BrokerUnavailable, "the broker does not answer; retry in a moment")
                    .because(topic.last_error().unwrap_or_else(|| "the reader is still connecting".to_owned()))
                    .retry_after(Duration::from_secs(1))
            })?;
            Ok(topic.log().clone())
        }
        .boxed()
    }
}

impl events::Publisher for BrokerLink {
    fn publish(&self, topic: &str, record: Record) -> BoxFuture<'static, Result<Placed, Fault>> {
        self.publisher.publish(topic, record)
    }
}
