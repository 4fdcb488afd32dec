//! Reading and publishing against librdkafka's mock cluster, over TCP.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use portolan_exchange::events::{Broker, BrokerError, Reader, Received, Record, Start};
use portolan_kafka::mock::Cluster;
use portolan_kafka::{Kafka, Settings};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const TOPIC: &str = "orders";

fn kafka(cluster: &Cluster) -> Kafka {
    Kafka::new("main", &[cluster.bootstrap().to_owned()])
}

fn record(key: &str, value: &str) -> Record {
    Record {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..Record::default()
    }
}

/// Polls until `count` records came, at most some ten seconds.
fn read(reader: &mut Box<dyn Reader>, count: usize) -> Vec<Received> {
    let mut records = Vec::new();
    for _ in 0..100 {
        match reader.poll(Duration::from_millis(100)) {
            Ok(batch) => records.extend(batch),
            Err(error) if error.is_temporary() => {}
            Err(error) => panic!("the reader ended with {error} after {records:?}"),
        }
        if records.len() >= count {
            return records;
        }
    }
    panic!("{count} records were expected, these came: {records:?}");
}

/// Polls until the reader fails, at most some ten seconds.
fn failure(reader: &mut Box<dyn Reader>) -> BrokerError {
    for _ in 0..100 {
        if let Err(error) = reader.poll(Duration::from_millis(100)) {
            return error;
        }
    }
    panic!("the reader did not fail");
}

fn values(records: &[Received]) -> Vec<&[u8]> {
    records.iter().map(|record| record.value.as_deref().unwrap_or(b"tombstone")).collect()
}

#[tokio::test]
async fn a_published_record_is_read_with_its_key_its_headers_and_its_place() {
    let cluster = Cluster::start(&[(TOPIC, 3)]).unwrap();
    let kafka = kafka(&cluster);
    let mut reader = kafka.reader(TOPIC, Start::Live).unwrap();
    let mut sent = record("customer-1", "{}");
    sent.headers = vec![("trace".into(), Bytes::from_static(b"1")), ("trace".into(), Bytes::from_static(b"\xff"))];
    let placed = kafka.publish(TOPIC, sent.clone()).await.unwrap();
    let records = read(&mut reader, 1);
    assert!(placed.timestamp > SystemTime::UNIX_EPOCH);
    let expected = Received {
        partition: placed.partition,
        offset: placed.offset,
        timestamp: placed.timestamp,
        key: sent.key,
        value: Some(sent.value),
        headers: sent.headers,
    };
    assert_eq!(records, [expected]);
}

#[tokio::test]
async fn a_key_goes_where_java_clients_place_it_and_a_partition_asked_for_is_taken() {
    let cluster = Cluster::start(&[(TOPIC, 3)]).unwrap();
    let kafka = kafka(&cluster);
    // (murmur2(key) & 0x7fffffff) % 3, as Java's default partitioner computes it; `21` is a test vector of Kafka's own.
    let hash: i32 = -973_932_308;
    let placed = kafka.publish(TOPIC, record("21", "a")).await.unwrap();
    assert_eq!(placed.partition, (hash & 0x7fff_ffff) % 3);
    let elsewhere = (placed.partition + 1) % 3;
    let placed = kafka.publish(TOPIC, Record { partition: Some(elsewhere), ..record("21", "b") }).await.unwrap();
    assert_eq!((placed.partition, placed.offset), (elsewhere, 0));
}

#[tokio::test]
async fn a_tombstone_an_empty_value_and_a_record_without_a_key_are_told_apart() {
    let cluster = Cluster::start(&[(TOPIC, 1)]).unwrap();
    let kafka = kafka(&cluster);
    let mut reader = kafka.reader(TOPIC, Start::Live).unwrap();
    let foreign: BaseProducer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap()).create().unwrap();
    foreign.send(BaseRecord::<_, [u8]>::to(TOPIC).key("gone")).map_err(|(error, _)| error).unwrap();
    foreign.flush(Duration::from_secs(10)).unwrap();
    kafka.publish(TOPIC, Record::default()).await.unwrap();
    let records = read(&mut reader, 2);
    let seen: Vec<_> = records.iter().map(|record| (record.key.as_deref(), record.value.as_deref())).collect();
    assert_eq!(seen, [(Some(&b"gone"[..]), None), (None, Some(&b""[..]))]);
}

#[tokio::test]
async fn a_live_reader_misses_nothing_that_is_published_after_it_was_opened_and_shows_nothing_older() {
    let cluster = Cluster::start(&[(TOPIC, 4)]).unwrap();
    let kafka = kafka(&cluster);
    let older = kafka.publish(TOPIC, record("k", "older")).await.unwrap();
    let mut reader = kafka.reader(TOPIC, Start::Live).unwrap();
    let mut began = vec![(0, 0), (1, 0), (2, 0), (3, 0)];
    began[usize::try_from(older.partition).unwrap()].1 = older.offset + 1;
    assert_eq!(reader.began(), began);
    // Before the first poll: what counts is when the reader was opened.
    for number in 0..50 {
        kafka.publish(TOPIC, record("k", &number.to_string())).await.unwrap();
    }
    let expected: Vec<String> = (0..50).map(|number: i32| number.to_string()).collect();
    assert_eq!(values(&read(&mut reader, 50)), expected.iter().map(String::as_bytes).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_opened_at_positions_goes_on_exactly_there() {
    let cluster = Cluster::start(&[(TOPIC, 2)]).unwrap();
    let kafka = kafka(&cluster);
    for number in 0..6 {
        kafka.publish(TOPIC, Record { partition: Some(number % 2), ..record("k", &number.to_string()) }).await.unwrap();
    }
    let mut reader = kafka.reader(TOPIC, Start::At(vec![(0, 1), (1, 3)])).unwrap();
    assert_eq!(reader.began(), [(0, 1), (1, 3)]);
    assert_eq!(values(&read(&mut reader, 2)), [b"2", b"4"]);
    // A partition that no position names was added later: all of it is new.
    let mut reader = kafka.reader(TOPIC, Start::At(vec![(0, 3)])).unwrap();
    assert_eq!(reader.began(), [(0, 3), (1, 0)]);
    assert_eq!(values(&read(&mut reader, 3)), [b"1", b"3", b"5"]);
}

#[tokio::test]
async fn a_position_that_is_not_kept_is_lost_and_never_skipped_in_silence() {
    let cluster = Cluster::start(&[(TOPIC, 1)]).unwrap();
    let kafka = kafka(&cluster);
    // The mock keeps 5 MB of a partition.
    for _ in 0..8 {
        kafka.publish(TOPIC, Record { value: Bytes::from(vec![b'x'; 900_000]), ..Record::default() }).await.unwrap();
    }
    let below = kafka.reader(TOPIC, Start::At(vec![(0, 0)])).err();
    let cause = |low: i64, asked: i64| format!("partition 0 of topic `{TOPIC}` keeps {low} to 8, not {asked}");
    let Some(BrokerError::PositionLost(said)) = &below else { panic!("{below:?}") };
    let low: i64 = said.split(' ').nth(6).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert_eq!(said, &cause(low, 0));
    assert!((1..8).contains(&low), "{said}");
    let above = kafka.reader(TOPIC, Start::At(vec![(0, 9)])).err();
    assert_eq!(above, Some(BrokerError::PositionLost(cause(low, 9))));
    let elsewhere = kafka.reader(TOPIC, Start::At(vec![(0, 8), (7, 0)])).err();
    assert_eq!(elsewhere, Some(BrokerError::PositionLost(format!("topic `{TOPIC}` has no partition 7 any more"))));
    assert!(kafka.reader(TOPIC, Start::At(vec![(0, 8)])).is_ok());
}

#[tokio::test]
async fn an_unknown_topic_is_named() {
    let cluster = Cluster::start(&[(TOPIC, 1)]).unwrap();
    let refused = kafka(&cluster).reader("no.such.topic", Start::Live).err();
    assert_eq!(refused, Some(BrokerError::UnknownTopic("no.such.topic".into())));
}

#[tokio::test]
async fn a_broker_that_goes_away_and_returns_costs_no_record() {
    let cluster = Cluster::start(&[(TOPIC, 1)]).unwrap();
    let kafka = kafka(&cluster);
    let mut reader = kafka.reader(TOPIC, Start::Live).unwrap();
    kafka.publish(TOPIC, record("k", "before")).await.unwrap();
    assert_eq!(values(&read(&mut reader, 1)), [b"before"]);
    cluster.down();
    let published = kafka.publish(TOPIC, record("k", "while it is away"));
    let away = failure(&mut reader);
    assert!(matches!(away, BrokerError::Unavailable(_)), "{away:?}");
    cluster.up();
    assert_eq!(published.await.unwrap().offset, 1);
    kafka.publish(TOPIC, record("k", "after")).await.unwrap();
    assert_eq!(values(&read(&mut reader, 2)), [&b"while it is away"[..], b"after"]);
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_unavailable_to_readers_and_publishers() {
    let cluster = Cluster::start(&[(TOPIC, 1)]).unwrap();
    let settings = Settings { delivery: Duration::from_millis(300), queued_records: 2, ..Settings::default() };
    let kafka = Kafka::with_settings("main", &[cluster.bootstrap().to_owned()], settings);
    cluster.down();
    let first = kafka.publish(TOPIC, record("k", "1"));
    let second = kafka.publish(TOPIC, record("k", "2"));
    assert_eq!(kafka.publish(TOPIC, record("k", "3")).await, Err(BrokerError::Full));
    for waiting in [first, second] {
        let error = waiting.await.unwrap_err();
        assert!(matches!(error, BrokerError::Unavailable(_)), "{error:?}");
    }
    let error = kafka.reader(TOPIC, Start::Live).err();
    assert!(matches!(error, Some(BrokerError::Unavailable(_))), "{error:?}");
}

#[tokio::test]
async fn a_record_that_is_too_large_or_asks_for_a_partition_that_is_not_there_is_refused() {
    let cluster = Cluster::start(&[(TOPIC, 1)]).unwrap();
    let kafka = kafka(&cluster);
    let large = Record { value: Bytes::from(vec![0; 1_100_000]), ..Record::default() };
    let error = kafka.publish(TOPIC, large).await.unwrap_err();
    assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
    let error = kafka.publish(TOPIC, Record { partition: Some(9), ..record("k", "v") }).await.unwrap_err();
    assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_record_whose_publisher_went_away_is_still_delivered() {
    let cluster = Cluster::start(&[(TOPIC, 1)]).unwrap();
    let mut reader = kafka(&cluster).reader(TOPIC, Start::Live).unwrap();
    let leaving = kafka(&cluster);
    drop(leaving.publish(TOPIC, record("k", "sent and forgotten")));
    drop(leaving);
    assert_eq!(values(&read(&mut reader, 1)), [b"sent and forgotten"]);
}

#[test]
fn a_reader_hands_over_at_most_a_batch_at_a_time() {
    let cluster = Cluster::start(&[(TOPIC, 1)]).unwrap();
    let kafka = kafka(&cluster);
    let mut reader = kafka.reader(TOPIC, Start::Live).unwrap();
    let mut published = Vec::new();
    for number in 0..1_200 {
        published.push(kafka.publish(TOPIC, record("k", &number.to_string())));
    }
    let mut offsets = Vec::new();
    for _ in 0..100 {
        let batch = reader.poll(Duration::from_millis(100)).unwrap();
        assert!(batch.len() <= 500, "{} records at once", batch.len());
        offsets.extend(batch.iter().map(|record| record.offset));
        if offsets.len() >= 1_200 {
            break;
        }
    }
    assert_eq!(offsets, (0..1_200).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_connection_that_hangs_is_given_up_and_costs_no_record() {
    let cluster = Cluster::start(&[(TOPIC, 1)]).unwrap();
    let mut reader = kafka(&cluster).reader(TOPIC, Start::Live).unwrap();
    assert_eq!(reader.poll(Duration::from_millis(300)), Ok(Vec::new()));
    // What the reader asks next would be answered in a minute; what is asked on other connections, at once again.
    cluster.round_trip_time(Duration::from_secs(60));
    assert_eq!(reader.poll(Duration::from_millis(300)), Ok(Vec::new()));
    cluster.round_trip_time(Duration::ZERO);
    kafka(&cluster).publish(TOPIC, record("k", "v")).await.unwrap();
    // Given up after ten seconds.
    for _ in 0..200 {
        let batch = reader.poll(Duration::from_millis(100)).unwrap_or_default();
        if !batch.is_empty() {
            assert_eq!(values(&batch), [b"v"]);
            return;
        }
    }
    panic!("the record did not come");
}
