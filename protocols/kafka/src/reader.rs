//! Reads all partitions of one topic, without a consumer group: every node sees every record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use portolan_exchange::clock::{Clock, Moment};
use portolan_exchange::events::{BrokerError, Reader, Received, Start};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::client::{self, Voice, aside};
use crate::trouble::{is_of_the_group, judge, judge_code};

/// How long a question to the cluster may take while a reader is opened.
const OPENING: Duration = Duration::from_secs(5);
/// How long a question may take while reading: the thread that waits for it does not hand over records.
const ASKING: Duration = Duration::from_secs(1);
/// A batch holds at most so many records: enough that one wake-up of the sessions is paid for by many.
const BATCH: usize = 500;

/// A reader of one topic.
pub(crate) struct TopicReader {
    // Present until it is dropped.
    consumer: Option<BaseConsumer<Voice>>,
    topic: String,
    began: Vec<(i32, i64)>,
    assigned: BTreeSet<i32>,
    // Set by an error that may pass; the cluster is then asked until it answers.
    suspected: bool,
    // What ended the reading, while the records before it are handed over.
    ended: Option<BrokerError>,
    clock: Clock,
    refresh: Duration,
    refresh_at: Moment,
}

impl TopicReader {
    /// Opens a reader. Positions are resolved before this returns: what is published afterwards will be read.
    pub(crate) fn open(bootstrap: &str, topic: &str, start: &Start, refresh: Duration) -> Result<Self, BrokerError> {
        let consumer = consumer(bootstrap).map_err(|error| judge(&error, topic))?;
        let partitions = partitions(&consumer, topic, OPENING)?;
        let began = match start {
            Start::At(positions) if !positions.is_empty() => resume(&consumer, topic, &partitions, positions)?,
            Start::At(_) | Start::Live => offsets(&consumer, topic, &partitions, Offset::End)?.into_iter().collect(),
        };
        let mut assignment = TopicPartitionList::with_capacity(began.len());
        for (partition, offset) in &began {
            add(&mut assignment, topic, *partition, Offset::Offset(*offset))?;
        }
        consumer.assign(&assignment).map_err(|error| judge(&error, topic))?;
        // Kafka is a foreign part and its time is the real one, also in tests that move the gateway's clock.
        let clock = Clock::system();
        let refresh_at = clock.now().after(refresh);
        Ok(Self {
            consumer: Some(consumer),
            topic: topic.into(),
            began,
            assigned: partitions,
            suspected: false,
            ended: None,
            clock,
            refresh,
            refresh_at,
        })
    }

    fn consumer(&self) -> &BaseConsumer<Voice> {
        self.consumer.as_ref().expect("a reader has its consumer until it is dropped")
    }

    /// Takes what is there, after waiting for the first.
    fn take(&mut self, wait: Duration) -> Vec<Received> {
        let mut batch = Vec::new();
        let mut wait = wait;
        while batch.len() < BATCH {
            let error = match self.consumer().poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    batch.push(received(&message));
                    wait = Duration::ZERO;
                    continue;
                }
                Some(Err(error)) => error,
            };
            wait = Duration::ZERO;
            self.note(&error);
            if self.ended.is_some() {
                break;
            }
        }
        batch
    }

    fn note(&mut self, error: &KafkaError) {
        match error {
            KafkaError::PartitionEOF(_) => return,
            KafkaError::MessageConsumptionFatal(code) => {
                self.ended = Some(BrokerError::Refused(format!("the client failed for good: {code}")));
                return;
            }
            _ => {}
        }
        match error.rdkafka_error_code() {
            Some(code) if is_of_the_group(code) => return,
            // The partition that was read is gone, and mostly its topic with it: whoever opens anew is told which.
            Some(RDKafkaErrorCode::UnknownPartition) => {
                self.ended = Some(BrokerError::UnknownTopic(self.topic.clone()));
                return;
            }
            _ => {}
        }
        match judge(error, &self.topic) {
            // librdkafka connects anew by itself, and says so of single brokers that nobody misses. Whether the topic can
            // be read, the cluster is asked itself.
            temporary if temporary.is_temporary() => self.suspected = true,
            lasting => self.ended = Some(lasting),
        }
    }

    /// Asks for the topic as it is now, and reads partitions that were added, from their beginning.
    fn look(&mut self) -> Result<(), BrokerError> {
        let partitions = partitions(self.consumer(), &self.topic, ASKING)?;
        let added: Vec<i32> = partitions.difference(&self.assigned).copied().collect();
        if !added.is_empty() {
            let mut assignment = TopicPartitionList::with_capacity(added.len());
            for partition in &added {
                add(&mut assignment, &self.topic, *partition, Offset::Beginning)?;
            }
            self.consumer().incremental_assign(&assignment).map_err(|error| judge(&error, &self.topic))?;
            self.assigned.extend(added);
        }
        self.suspected = false;
        self.refresh_at = self.clock.now().after(self.refresh);
        Ok(())
    }
}

impl Reader for TopicReader {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Received>, BrokerError> {
        let batch = if self.ended.is_none() { self.take(wait) } else { Vec::new() };
        if batch.is_empty() {
            if let Some(ended) = &self.ended {
                return Err(ended.clone());
            }
            if self.suspected {
                self.look()?;
            }
        }
        if self.clock.now() >= self.refresh_at {
            // Records are handed over first; a cluster that does not answer is asked again when there are none.
            match self.look() {
                Err(error) if error.is_temporary() => {
                    self.suspected = true;
                    self.refresh_at = self.clock.now().after(self.refresh);
                }
                Err(error) => self.ended = Some(error),
                Ok(()) => {}
            }
        }
        Ok(batch)
    }

    fn began(&self) -> &[(i32, i64)] {
        &self.began
    }
}

impl Drop for TopicReader {
    fn drop(&mut self) {
        // Closing waits for brokers to answer or to be given up.
        let consumer = self.consumer.take();
        aside("kafka-close", move || drop(consumer));
    }
}

fn consumer(bootstrap: &str) -> Result<BaseConsumer<Voice>, KafkaError> {
    client::config(bootstrap)
        // Never joined and nothing is committed to it; librdkafka assigns partitions only to who names one.
        .set("group.id", "portolan")
        .set("enable.auto.commit", "false")
        // A position that is gone is for us to announce, never to be skipped in silence.
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        // Not polling is the back-pressure: these two bound what librdkafka fetches ahead.
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "8192")
        // By default a full queue costs a second before fetching goes on.
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        // A connection that hangs without an end, as when the broker's machine is gone, would keep events back for a minute.
        // Ten seconds are enough for the largest answer over a slow link.
        .set("socket.timeout.ms", "10000")
        .create_with_context(Voice)
}

/// The topic's partitions.
fn partitions(consumer: &BaseConsumer<Voice>, topic: &str, wait: Duration) -> Result<BTreeSet<i32>, BrokerError> {
    let metadata = consumer.fetch_metadata(Some(topic), wait).map_err(|error| judge(&error, topic))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let Some(found) = found else { return Err(BrokerError::UnknownTopic(topic.into())) };
    if let Some(error) = found.error() {
        return Err(judge_code(RDKafkaErrorCode::from(error), topic));
    }
    if found.partitions().is_empty() {
        return Err(BrokerError::Unavailable(format!("topic `{topic}` has no partitions yet")));
    }
    let leaderless = found.partitions().iter().find(|partition| partition.leader() < 0);
    if let Some(partition) = leaderless {
        return Err(BrokerError::Unavailable(format!("partition {} of topic `{topic}` has no leader", partition.id())));
    }
    Ok(found.partitions().iter().map(|partition| partition.id()).collect())
}

/// Where each partition begins or ends now.
fn offsets(
    consumer: &BaseConsumer<Voice>,
    topic: &str,
    partitions: &BTreeSet<i32>,
    edge: Offset,
) -> Result<BTreeMap<i32, i64>, BrokerError> {
    // The protocol's special timestamps -1 (end) and -2 (beginning) are librdkafka's logical offsets. Asked this way, it
    // is one request per leader instead of one per partition.
    let mut question = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        add(&mut question, topic, *partition, edge)?;
    }
    let answer = consumer.offsets_for_times(question, OPENING).map_err(|error| judge(&error, topic))?;
    let mut offsets = BTreeMap::new();
    for element in answer.elements() {
        element.error().map_err(|error| judge(&error, topic))?;
        let Offset::Offset(offset) = element.offset() else {
            return Err(BrokerError::Unavailable(format!(
                "partition {} of topic `{topic}` told no offset",
                element.partition()
            )));
        };
        offsets.insert(element.partition(), offset);
    }
    Ok(offsets)
}

/// Where each partition goes on, given where an earlier reader stopped.
fn resume(
    consumer: &BaseConsumer<Voice>,
    topic: &str,
    partitions: &BTreeSet<i32>,
    positions: &[(i32, i64)],
) -> Result<Vec<(i32, i64)>, BrokerError> {
    let low = offsets(consumer, topic, partitions, Offset::Beginning)?;
    let high = offsets(consumer, topic, partitions, Offset::End)?;
    let mut began = low.clone();
    for (partition, offset) in positions {
        let (Some(low), Some(high)) = (low.get(partition), high.get(partition)) else {
            return Err(BrokerError::PositionLost(format!("topic `{topic}` has no partition {partition} any more")));
        };
        if offset < low || offset > high {
            let cause = format!("partition {partition} of topic `{topic}` keeps {low} to {high}, not {offset}");
            return Err(BrokerError::PositionLost(cause));
        }
        began.insert(*partition, *offset);
    }
    Ok(began.into_iter().collect())
}

fn add(list: &mut TopicPartitionList, topic: &str, partition: i32, offset: Offset) -> Result<(), BrokerError> {
    list.add_partition_offset(topic, partition, offset).map_err(|error| judge(&error, topic))
}

fn received(message: &BorrowedMessage<'_>) -> Received {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), Bytes::copy_from_slice(header.value.unwrap_or_default())))
            .collect()
    });
    Received {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: client::time(message.timestamp()),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers,
    }
}
