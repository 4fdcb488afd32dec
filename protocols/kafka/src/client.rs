//! What readers and publishers have in common: the connection's settings, librdkafka's voice, and closing.

use std::thread;
use std::time::{Duration, SystemTime};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::Timestamp;
use tracing::debug;

/// The settings of any client of this cluster.
pub(crate) fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "portolan")
        .set("socket.keepalive.enable", "true")
        // A broker that went away is asked again at least every second; librdkafka's ten would outlast a whole restart.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.connection.setup.timeout.ms", "5000")
        // How long a topic that the cluster does not know may still be on its way. Librdkafka's thirty seconds would outlast a
        // delivery and hide its reason, and hide from readers as long that their topic was deleted.
        .set("topic.metadata.propagation.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// Passes librdkafka's own lines on to `tracing`. It is loud while a broker is away, hence debug.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice;

impl ClientContext for Voice {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        debug!(?level, facility, line, "librdkafka spoke");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "librdkafka met an error");
    }
}

impl ConsumerContext for Voice {}

/// Runs what may block for seconds, like closing a client, on a thread of its own.
pub(crate) fn aside(name: &str, work: impl FnOnce() + Send + 'static) {
    // Without a thread the work is dropped here and the client with it: late, but closed.
    if let Err(error) = thread::Builder::new().name(name.into()).spawn(work) {
        debug!(%error, "no thread to close a Kafka client on");
    }
}

/// The moment a record carries; the epoch where it carries none.
pub(crate) fn time(timestamp: Timestamp) -> SystemTime {
    let millis = timestamp.to_millis().and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}
