//! A producer and the thread on which it tells what became of its records.
//!
//! rdkafka's own threaded producers wait a tenth of a second at a time. They count it down in whole milliseconds and ask without waiting
//! through the rest of the last one, so that each takes a hundredth of a core while nothing happens. Waiting longer at a time, ours
//! takes a thousandth.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, ProducerContext};
use tokio::sync::oneshot;

use crate::client::Voice;

/// How long the thread waits at a time. What there is to tell wakes it; only that it shall end is noticed within this time.
const WAIT: Duration = Duration::from_secs(1);

/// Whom to tell what became of a record: its partition and offset, or why it has none.
pub(crate) type Answer = Box<oneshot::Sender<Result<(i32, i64), KafkaError>>>;

/// A producer. Dropping it ends its thread within a second, and with that the producer: what is still queued then is thrown away,
/// and whoever waits for it is told that the producer was closed.
pub(crate) struct Producer {
    client: Arc<BaseProducer<Courier>>,
    stop: Arc<AtomicBool>,
}

impl Producer {
    /// Makes a producer and starts its thread.
    pub(crate) fn start(config: &ClientConfig) -> Result<Self, KafkaError> {
        let client: Arc<BaseProducer<Courier>> = Arc::new(config.create_with_context(Courier)?);
        let stop = Arc::new(AtomicBool::new(false));
        let (polled, stopped) = (client.clone(), stop.clone());
        let poll = move || {
            while !stopped.load(Ordering::Acquire) {
                polled.poll(WAIT);
            }
        };
        let started: io::Result<_> = thread::Builder::new().name("kafka-producer".into()).spawn(poll);
        match started {
            Ok(_) => Ok(Self { client, stop }),
            // As librdkafka says it of its own threads.
            Err(error) => Err(KafkaError::ClientCreation(format!("no thread for it: {error}"))),
        }
    }

    /// The client, to send and to flush.
    pub(crate) fn client(&self) -> &BaseProducer<Courier> {
        &self.client
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Brings each record's answer to whoever waits for it, and otherwise says what [`Voice`] does.
pub(crate) struct Courier;

impl ClientContext for Courier {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        Voice.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Voice.error(error, reason);
    }
}

impl ProducerContext for Courier {
    type DeliveryOpaque = Answer;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Answer) {
        let told = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        // Who no longer waits does not want to know.
        let _ = answer.send(told);
    }
}
