//! The kit, tested on itself: a test that trusts a broken tool proves nothing.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;

use super::kafka::{ForeignKafka, Kafka, MockKafka, RealKafka};
use super::upstream::{Reserved, nobody};
use super::wait::Watched;
use super::{Client, FakeUpstream, RawClient, RawUpstream, Reply};

#[test]
fn an_upstream_records_what_it_is_asked() {
    let upstream = FakeUpstream::start(|seen| Reply::json(201, &json!({ "got": seen.text() })).header("x-a", "1"));
    let answer = Client::new(upstream.address()).call("POST", "/a?b=c").header("x-b", "2").body("hello").send();
    assert_eq!(
        (answer.status, answer.header("x-a"), answer.json()),
        (201, Some("1".into()), json!({ "got": "hello" }))
    );
    let seen = upstream.the_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.text()), ("POST", "/a?b=c", "hello".into()));
    assert_eq!((seen.header("x-b"), seen.whole), (Some("2".into()), true));
}

#[test]
fn an_upstream_knows_of_a_caller_that_gave_up_waiting_sending_or_reading() {
    let waiting = FakeUpstream::hanging();
    let mut client = RawClient::connect(waiting.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    waiting.wait_for(1);
    drop(client);
    waiting.wait_for_cancelled(1);

    let sending = FakeUpstream::echo();
    let mut client = RawClient::connect(sending.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    sending.wait_until("half a body", |seen| seen.body == b"half");
    drop(client);
    sending.wait_for_cancelled(1);
    assert!(!sending.the_request().whole);

    let (reading, feed) = FakeUpstream::fed();
    let mut client = RawClient::connect(reading.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    feed.send("first");
    client.read_until("first");
    drop(client);
    reading.wait_for_cancelled(1);
}

#[test]
fn a_fed_body_comes_piece_by_piece_and_can_break_off() {
    let (upstream, feed) = FakeUpstream::fed();
    let mut client = RawClient::connect(upstream.address());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    feed.send("first");
    client.read_until("first");
    feed.break_off();
    assert!(!client.read_to_end().contains("0\r\n\r\n"), "the last chunk was sent");
    assert_eq!(upstream.cancelled(), 0, "the upstream broke off, not the caller");
}

#[test]
fn a_raw_upstream_sends_exact_bytes_resets_and_knows_who_left() {
    let exact = RawUpstream::answering("HTTP/1.1 204 Odd\r\n\r\n");
    let mut client = raw(&exact);
    client.send("GET /a HTTP/1.1\r\n\r\n");
    assert_eq!(client.read_head(), "HTTP/1.1 204 Odd\r\n\r\n");
    assert_eq!(exact.wait_for(1), ["GET /a HTTP/1.1\r\n\r\n"]);

    let resetting = RawUpstream::start(|peer| {
        peer.head();
        peer.reset();
    });
    let mut client = raw(&resetting);
    client.send("GET /a HTTP/1.1\r\n\r\n");
    assert_eq!(client.read_to_end(), "");

    let hanging = RawUpstream::start(|peer| peer.hang());
    let mut client = raw(&hanging);
    client.send("x");
    drop(client);
    hanging.wait_for_cancelled(1);

    let stalling = RawUpstream::start(|peer| peer.stall());
    let _open = raw(&stalling);
    drop(stalling);
}

fn raw(upstream: &RawUpstream) -> RawClient {
    RawClient::connect(upstream.url().strip_prefix("http://").unwrap().parse().unwrap())
}

#[test]
#[should_panic = "no connection"]
fn nobody_listens_at_the_address_of_nobody() {
    RawClient::connect(nobody());
}

#[test]
fn the_address_of_nobody_is_given_to_nobody_else() {
    // Otherwise a test that counts what it is asked may be asked by another one, whose upstream was to be away.
    let taken = TcpListener::bind(nobody()).map(drop);
    assert_eq!(taken.map_err(|error| error.kind()), Err(ErrorKind::AddrInUse));
}

#[test]
fn at_a_reserved_port_listens_who_was_told_it_as_often_as_it_likes_and_nobody_by_chance() {
    let reserved = Reserved::for_another_process();
    let address = reserved.address();
    for _ in 0..2 {
        let listener = TcpListener::bind(address).unwrap();
        let client = RawClient::connect(address);
        drop((listener, client));
    }
    // A stand-in for the system's own search, which shares no port either.
    let any = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let taken = any.bind(&address.into());
    assert_eq!(taken.map_err(|error| error.kind()), Err(ErrorKind::AddrInUse));
}

#[test]
fn a_watched_value_wakes_who_waits_for_it() {
    let watched = Watched::<u32>::default();
    let other = watched.clone();
    let thread = std::thread::spawn(move || other.wait("three", |number| (*number == 3).then_some(*number)));
    for _ in 0..3 {
        watched.change(|number| *number += 1);
    }
    assert_eq!(thread.join().unwrap(), 3);
}

#[test]
fn a_foreign_client_and_the_mock_cluster_understand_one_another() {
    understands(&MockKafka::start(&[("t", 1)]));
}

#[test]
fn a_foreign_client_and_a_real_kafka_understand_one_another_and_records_outlive_a_kill() {
    let mut kafka = RealKafka::start(&[("t", 1)]);
    understands(&kafka);
    kafka.down();
    kafka.up();
    let mut foreign = ForeignKafka::connect(&kafka.bootstrap());
    assert_eq!(foreign.read("t", 0, 0, 1)[0]["value"], "v");
    assert_eq!(foreign.produce("t", None, "after"), (0, 2));
}

fn understands(kafka: &dyn Kafka) {
    let mut foreign = ForeignKafka::connect(&kafka.bootstrap());
    assert_eq!(foreign.produce("t", Some("k"), "v"), (0, 0));
    foreign.produce_tombstone("t", "k");
    let read = foreign.read("t", 0, 0, 2);
    assert_eq!(read[0], json!({ "offset": 0, "key": "k", "value": "v", "headers": [] }));
    assert_eq!(read[1], json!({ "offset": 1, "key": "k", "value": null, "headers": [] }));
}
