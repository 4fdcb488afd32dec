//! Kafka as a broker behind the gateway's event channels.
//!
//! [`Kafka`] is one cluster: it opens readers and publishes. [`mock`] is a cluster of its own, for the demo and for tests.
//! What librdkafka has to say goes to `tracing` at debug level: the story for an operator is told by whoever uses the broker.

mod client;
pub mod mock;
mod producer;
mod publisher;
mod reader;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use portolan_exchange::events::{Broker, BrokerError, Placed, Reader, Record, Start};

use crate::publisher::Publisher;
use crate::reader::TopicReader;

/// A Kafka cluster.
///
/// Connects when it is first used. Dropping it closes its producer on a thread of its own, which first gives what is still
/// queued [`Settings::delivery`] to arrive.
pub struct Kafka {
    name: String,
    bootstrap: String,
    settings: Settings,
    publisher: Arc<Publisher>,
}

/// What may be tuned about a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a record may take until the cluster has it; then its publishing failed. Ten seconds, which a leader change
    /// of the cluster fits into.
    pub delivery: Duration,
    /// How many records may wait for the cluster.
    pub queued_records: u32,
    /// How many bytes of records may wait for the cluster, in KiB.
    pub queued_kib: u32,
    /// How often a reader looks for partitions that were added to its topic.
    pub refresh: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delivery: Duration::from_secs(10),
            queued_records: 100_000,
            queued_kib: 64 * 1024,
            refresh: Duration::from_secs(30),
        }
    }
}

impl Kafka {
    /// The cluster of this name in the configuration, found by asking any of `bootstrap` (`host:port`).
    pub fn new(name: impl Into<String>, bootstrap: &[String]) -> Self {
        Self::with_settings(name, bootstrap, Settings::default())
    }

    /// Like [`Kafka::new`], tuned.
    pub fn with_settings(name: impl Into<String>, bootstrap: &[String], settings: Settings) -> Self {
        let bootstrap = bootstrap.join(",");
        let publisher = Arc::new(Publisher::new(&bootstrap, settings));
        Self { name: name.into(), bootstrap, settings, publisher }
    }
}

impl Broker for Kafka {
    fn name(&self) -> &str {
        &self.name
    }

    /// Partitions that [`Start::At`] does not name were added after its positions were learned: they are read from their
    /// beginning, so that nothing of them is lost. Where it names none, the reader begins live.
    fn reader(&self, topic: &str, start: Start) -> Result<Box<dyn Reader>, BrokerError> {
        let reader = TopicReader::open(&self.bootstrap, topic, &start, self.settings.refresh)?;
        Ok(Box::new(reader))
    }

    /// The record is queued before this returns, so records of one key keep the order of the calls.
    fn publish(&self, topic: &str, record: Record) -> BoxFuture<'static, Result<Placed, BrokerError>> {
        self.publisher.publish(topic, record)
    }
}
