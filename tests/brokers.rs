//! What the Kafka client does that only a real Kafka can show: topics that grow or are not there, transactions.

use std::time::Duration;

use bytes::Bytes;
use portolan_exchange::events::{Broker, BrokerError, Reader, Record, Start};
use portolan_kafka::Settings;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

use crate::kit::kafka::{ForeignKafka, Kafka, RealKafka};
use crate::kit::wait;

fn broker(kafka: &RealKafka, settings: Settings) -> portolan_kafka::Kafka {
    portolan_kafka::Kafka::with_settings("main", &[kafka.bootstrap()], settings)
}

/// Reads until this many records came: partition, offset and value of each, in order.
fn read(reader: &mut Box<dyn Reader>, count: usize) -> Vec<(i32, i64, String)> {
    let mut seen = Vec::new();
    wait::until(&format!("{count} records"), || {
        let batch = reader.poll(Duration::from_millis(100)).expect("the broker is there");
        seen.extend(batch.into_iter().map(|record| {
            let value = String::from_utf8(record.value.expect("no tombstone was sent").to_vec()).expect("text");
            (record.partition, record.offset, value)
        }));
        seen.len() >= count
    });
    seen.sort();
    seen
}

#[test]
fn a_reader_finds_partitions_that_were_added_to_a_topic_and_misses_nothing_of_them() {
    let kafka = RealKafka::start(&[("t", 1)]);
    let settings = Settings { refresh: Duration::from_millis(100), ..Settings::default() };
    let mut reader = broker(&kafka, settings).reader("t", Start::Live).unwrap();
    kafka.grow_topic("t", 3);
    let mut foreign = ForeignKafka::connect(&kafka.bootstrap());
    for partition in 0..3 {
        foreign.produce_with("t", json!({ "value": "v", "partition": partition }));
    }
    assert_eq!(read(&mut reader, 3), [(0, 0, "v".into()), (1, 0, "v".into()), (2, 0, "v".into())]);
}

#[test]
fn a_topic_that_is_not_there_is_named_to_who_reads_it_and_to_who_publishes() {
    let kafka = RealKafka::start(&[]);
    let broker = broker(&kafka, Settings::default());
    let unknown = BrokerError::UnknownTopic("no.such.topic".into());
    assert_eq!(broker.reader("no.such.topic", Start::Live).err(), Some(unknown.clone()));
    let publishing = broker.publish("no.such.topic", Record { value: Bytes::from_static(b"v"), ..Record::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(publishing), Err(unknown));
}

#[test]
fn records_of_a_transaction_that_was_aborted_are_not_read() {
    let kafka = RealKafka::start(&[("t", 1)]);
    let mut reader = broker(&kafka, Settings::default()).reader("t", Start::Live).unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("transactional.id", "test")
        .create()
        .unwrap();
    producer.init_transactions(wait::PATIENCE).unwrap();
    let transaction = |value: &str| {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to("t").key("k").payload(value)).map_err(|(error, _)| error).unwrap();
        producer.flush(wait::PATIENCE).unwrap();
    };
    transaction("aborted");
    producer.abort_transaction(wait::PATIENCE).unwrap();
    transaction("committed");
    producer.commit_transaction(wait::PATIENCE).unwrap();
    // Offset 1 is the mark of the abort.
    assert_eq!(read(&mut reader, 1), [(0, 2, "committed".into())]);
}
