//! Publishes records through one producer, made when it is first needed and shared by all.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::{self, BoxFuture};
use portolan_exchange::clock::Clock;
use portolan_exchange::events::{BrokerError, Placed, Record};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders, Timestamp};
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio::sync::oneshot;

use crate::Settings;
use crate::client::{self, aside};
use crate::producer::{Answer, Producer};
use crate::trouble::judge;

/// Publishes to one cluster. Its queue is bounded by [`Settings`]; when it is full, publishing fails at once.
pub(crate) struct Publisher {
    config: ClientConfig,
    delivery: Duration,
    // Kafka is a foreign part and its time is the real one.
    clock: Clock,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    producer: Option<Arc<Producer>>,
    // Tells producers apart, so that a late failure of an old one does not end its successor.
    generation: u64,
}

impl Publisher {
    pub(crate) fn new(bootstrap: &str, settings: Settings) -> Self {
        let mut config = client::config(bootstrap);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Two milliseconds gather what many callers publish at once and are lost in a broker's own answer time.
            .set("linger.ms", "2")
            .set("delivery.timeout.ms", settings.delivery.as_millis().to_string())
            // Java's clients place a key by murmur2; librdkafka's own CRC32 would break the co-partitioning of topics.
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.messages", settings.queued_records.to_string())
            .set("queue.buffering.max.kbytes", settings.queued_kib.to_string());
        Self { config, delivery: settings.delivery, clock: Clock::system(), current: Mutex::new(Current::default()) }
    }

    /// Queues the record now; the future waits until the cluster has it.
    pub(crate) fn publish(
        self: &Arc<Self>,
        topic: &str,
        record: Record,
    ) -> BoxFuture<'static, Result<Placed, BrokerError>> {
        let (producer, generation) = match self.producer() {
            Ok(current) => current,
            Err(error) => return Box::pin(future::ready(Err(judge(&error, topic)))),
        };
        let millis = since_epoch(self.clock.wall());
        let (answer, answered) = oneshot::channel();
        if let Err((error, _)) = producer.client().send(outgoing(topic, &record, millis, Box::new(answer))) {
            self.settle(&error, generation);
            return Box::pin(future::ready(Err(judge(&error, topic))));
        }
        let publisher = self.clone();
        let topic = topic.to_owned();
        Box::pin(async move {
            match answered.await {
                Ok(Ok((partition, offset))) => Ok(Placed {
                    partition,
                    offset,
                    // Not what the answer says: only topics that stamp records themselves have the broker fill it.
                    timestamp: client::time(Timestamp::CreateTime(millis)),
                }),
                Ok(Err(error)) => {
                    publisher.settle(&error, generation);
                    Err(judge(&error, &topic))
                }
                Err(_) => Err(BrokerError::Unavailable("the producer was closed".into())),
            }
        })
    }

    fn producer(&self) -> Result<(Arc<Producer>, u64), KafkaError> {
        let mut current = self.current();
        if let Some(producer) = &current.producer {
            return Ok((producer.clone(), current.generation));
        }
        let producer = Arc::new(Producer::start(&self.config)?);
        current.generation += 1;
        current.producer = Some(producer.clone());
        Ok((producer, current.generation))
    }

    /// A fatal error (idempotence can no longer be promised) ends this producer; the next record gets a new one.
    fn settle(&self, error: &KafkaError, generation: u64) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::Fatal) {
            return;
        }
        let mut current = self.current();
        if current.generation == generation
            && let Some(failed) = current.producer.take()
        {
            aside("kafka-close", move || drop(failed));
        }
    }

    // Nothing under this lock can panic half way through a change, so poisoning carries no news.
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let Some(producer) = mem::take(&mut *self.current()).producer else { return };
        let delivery = self.delivery;
        aside("kafka-close", move || {
            // Dropping a producer throws away what is queued. Nobody waits for these records any more, but somebody sent them.
            let _ = producer.client().flush(delivery);
            drop(producer);
        });
    }
}

fn since_epoch(wall: SystemTime) -> i64 {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn outgoing<'a>(topic: &'a str, record: &'a Record, millis: i64, answer: Answer) -> BaseRecord<'a, [u8], [u8], Answer> {
    let mut outgoing = BaseRecord::with_opaque_to(topic, answer).payload(&record.value[..]);
    outgoing.key = record.key.as_deref();
    outgoing.partition = record.partition;
    outgoing.timestamp = Some(millis);
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        outgoing.headers = Some(
            record
                .headers
                .iter()
                .fold(headers, |headers, (name, value)| headers.insert(Header { key: name, value: Some(&value[..]) })),
        );
    }
    outgoing
}
