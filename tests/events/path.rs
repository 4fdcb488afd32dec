//! The way of an event, from a client to the broker and from the broker to clients, on the mock cluster and on a real Kafka.

use std::collections::BTreeMap;
use std::thread;

use serde_json::{Value, json};

use super::stage::{CANCELLED, CREATED, PATH, RawSession, Stage, WANTED, place, post, session};
use crate::kit::kafka::ForeignKafka;
use crate::kit::session::Session;

mod mock {
    use super::Stage;

    #[test]
    fn a_session_subscribes_publishes_receives_and_unsubscribes() {
        super::a_session_subscribes_publishes_receives_and_unsubscribes(&Stage::mock(1));
    }

    #[test]
    fn a_posted_event_is_answered_with_its_place_and_seen_on_the_socket_and_by_a_foreign_consumer() {
        super::a_posted_event_is_answered_with_its_place_and_seen_on_the_socket_and_by_a_foreign_consumer(
            &Stage::mock(1),
        );
    }

    #[test]
    fn a_record_of_a_foreign_producer_comes_with_its_key_its_headers_and_its_value_as_they_are() {
        super::a_record_of_a_foreign_producer_comes_with_its_key_its_headers_and_its_value_as_they_are(&Stage::mock(1));
    }

    #[test]
    fn what_is_not_text_passes_both_ways_as_base64() {
        super::what_is_not_text_passes_both_ways_as_base64(&Stage::mock(1));
    }

    #[test]
    fn the_frames_of_an_event_are_the_same_bytes_on_every_socket() {
        super::the_frames_of_an_event_are_the_same_bytes_on_every_socket(&Stage::mock(1));
    }

    #[test]
    fn commands_of_one_message_take_effect_in_their_order() {
        super::commands_of_one_message_take_effect_in_their_order(&Stage::mock(1));
    }

    #[test]
    fn a_channel_is_known_by_its_address_and_by_its_name() {
        super::a_channel_is_known_by_its_address_and_by_its_name(&Stage::mock(1));
    }

    #[test]
    fn publishes_of_one_key_keep_their_order() {
        super::publishes_of_one_key_keep_their_order(&Stage::mock(3));
    }

    #[test]
    fn a_thousand_events_come_to_fifty_sockets_once_each_and_in_order() {
        super::a_thousand_events_come_to_fifty_sockets_once_each_and_in_order(&Stage::mock(3));
    }

    #[test]
    fn a_record_that_the_broker_refuses_is_a_fault_of_its_own() {
        super::a_record_that_the_broker_refuses_is_a_fault_of_its_own(&Stage::mock(1));
    }
}

mod real {
    use super::Stage;

    #[test]
    fn a_session_subscribes_publishes_receives_and_unsubscribes() {
        super::a_session_subscribes_publishes_receives_and_unsubscribes(&Stage::real(1));
    }

    #[test]
    fn a_posted_event_is_answered_with_its_place_and_seen_on_the_socket_and_by_a_foreign_consumer() {
        super::a_posted_event_is_answered_with_its_place_and_seen_on_the_socket_and_by_a_foreign_consumer(
            &Stage::real(1),
        );
    }

    #[test]
    fn a_record_of_a_foreign_producer_comes_with_its_key_its_headers_and_its_value_as_they_are() {
        super::a_record_of_a_foreign_producer_comes_with_its_key_its_headers_and_its_value_as_they_are(&Stage::real(1));
    }

    #[test]
    fn what_is_not_text_passes_both_ways_as_base64() {
        super::what_is_not_text_passes_both_ways_as_base64(&Stage::real(1));
    }

    #[test]
    fn the_frames_of_an_event_are_the_same_bytes_on_every_socket() {
        super::the_frames_of_an_event_are_the_same_bytes_on_every_socket(&Stage::real(1));
    }

    #[test]
    fn commands_of_one_message_take_effect_in_their_order() {
        super::commands_of_one_message_take_effect_in_their_order(&Stage::real(1));
    }

    #[test]
    fn a_channel_is_known_by_its_address_and_by_its_name() {
        super::a_channel_is_known_by_its_address_and_by_its_name(&Stage::real(1));
    }

    #[test]
    fn publishes_of_one_key_keep_their_order() {
        super::publishes_of_one_key_keep_their_order(&Stage::real(3));
    }

    #[test]
    fn a_thousand_events_come_to_fifty_sockets_once_each_and_in_order() {
        super::a_thousand_events_come_to_fifty_sockets_once_each_and_in_order(&Stage::real(3));
    }

    #[test]
    fn a_record_that_the_broker_refuses_is_a_fault_of_its_own() {
        super::a_record_that_the_broker_refuses_is_a_fault_of_its_own(&Stage::real(1));
    }
}

fn a_session_subscribes_publishes_receives_and_unsubscribes(stage: &Stage) {
    // One worker, so that the first session is served an event before the other.
    let gateway = stage.setup_with(1, "events: 10000", "").start();
    let mut one = Session::open(gateway.address(), PATH, &[("x-api-key", "acme-key")]);
    let connected = one.receive("connected", |_| true);
    let id = connected["session"].as_str().expect("a session has an id");
    assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert_eq!(
        connected,
        json!({
            "type": "connected", "session": id, "ping_interval_ms": 25_000, "pong_timeout_ms": 8_000,
            "limits": { "max_frame": 65_536, "max_subs": 128 },
        })
    );
    let subscribed = json!({ "type": "subscribed", "id": 1, "ch": 1, "channel": CREATED, "qos": "none" });
    assert_eq!(one.subscribe(CREATED), subscribed);
    let mut other = session(&gateway);
    assert_eq!(other.subscribe(CREATED), subscribed);

    let published = one.publish(CREATED, "7", &json!({ "id": "7", "quantity": 1 }));
    let ts = published["ts"].as_i64().expect("a time in milliseconds");
    assert!(ts > 1_700_000_000_000, "{ts}");
    assert_eq!(published, json!({ "type": "published", "id": 2, "partition": 0, "offset": 0, "ts": ts }));
    let event = json!({
        "name": "orderCreated", "pos": "0:0", "ts": ts, "key": "7",
        "headers": { "content-type": "application/json", "portolan.consumer": "acme" },
        "data": { "id": "7", "quantity": 1 },
    });
    let message = json!({ "type": "message", "ch": 1, "events": [event] });
    assert_eq!(one.receive("message", |_| true), message);
    assert_eq!(other.receive("message", |_| true), message);

    let id = one.send(json!({ "type": "unsubscribe", "ch": 1 }));
    assert_eq!(one.receive("unsubscribed", |_| true), json!({ "type": "unsubscribed", "id": id, "ch": 1 }));
    other.publish(CREATED, "8", &json!(8));
    assert_eq!(other.event(|_| true)["pos"], "0:1");
    let id = one.send(json!({ "type": "ping" }));
    one.receive("pong", |frame| frame["id"] == id);
    assert_eq!(one.kept(), [] as [Value; 0]);
    // And who comes back begins with what comes from then on.
    one.subscribe(CREATED);
    other.publish(CREATED, "9", &json!(9));
    assert_eq!(one.event(|_| true)["pos"], "0:2");
}

fn a_posted_event_is_answered_with_its_place_and_seen_on_the_socket_and_by_a_foreign_consumer(stage: &Stage) {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const BODY: &str = r#"{"id": "7",  "total": 1.10, "big": 12345678901234567890123}"#;
    let gateway = stage.gateway();
    let mut session = session(&gateway);
    session.subscribe(CREATED);
    let call = gateway.call("POST", "/order-events/v2/orders.created").header("x-api-key", "acme-key");
    let call = call.header("portolan-key", "7").header("traceparent", TRACE).header("content-type", "application/json");
    let answer = call.body(BODY).send().assert_status(201);
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    let timestamp = answer.json()["timestamp"].as_i64().expect("a time in milliseconds");
    assert_eq!(answer.text(), format!(r#"{{"partition":0,"offset":0,"timestamp":{timestamp}}}"#));

    let headers = json!([["content-type", "application/json"], ["portolan.consumer", "acme"], ["traceparent", TRACE]]);
    let record = json!({ "offset": 0, "key": "7", "value": BODY, "headers": headers });
    let mut foreign = ForeignKafka::connect(&stage.bootstrap());
    assert_eq!(foreign.read(&stage.topic(CREATED), 0, 0, 1), [record]);
    let event = session.event(|_| true);
    let headers = json!({ "content-type": "application/json", "portolan.consumer": "acme", "traceparent": TRACE });
    let data: Value = serde_json::from_str(BODY).unwrap();
    let expected =
        json!({ "name": "orderCreated", "pos": "0:0", "ts": timestamp, "key": "7", "headers": headers, "data": data });
    assert_eq!(event, expected);

    // Without a key and a media type there is none; the body is what it is.
    let answer =
        gateway.call("POST", "/order-events/v2/orders.wanted").header("x-api-key", "acme-key").body("plain").send();
    assert_eq!(answer.assert_status(201).json()["offset"], 0);
    let record = json!({ "offset": 0, "key": null, "value": "plain", "headers": [["portolan.consumer", "acme"]] });
    assert_eq!(foreign.read(&stage.topic(WANTED), 0, 0, 1), [record]);
}

fn a_record_of_a_foreign_producer_comes_with_its_key_its_headers_and_its_value_as_they_are(stage: &Stage) {
    let gateway = stage.gateway();
    let mut session = session(&gateway);
    session.subscribe(CREATED);
    session.subscribe(CANCELLED);
    let mut foreign = ForeignKafka::connect(&stage.bootstrap());
    let topic = stage.topic(CREATED);
    let headers = [["trace", "a"], ["type", "x"], ["trace", "b"]];
    let record = json!({ "key": "k1", "value": r#"{"id":"9"}"#, "headers": headers, "partition": 0 });
    assert_eq!(foreign.produce_with(&topic, record), json!({ "partition": 0, "offset": 0 }));
    foreign.produce(&topic, None, "no JSON");
    foreign.produce_tombstone(&topic, "k1");
    foreign.produce(&stage.topic(CANCELLED), None, "1");

    let mut received: Vec<_> = session.events(4).into_iter().map(without_time).collect();
    // The other channel, of which the document names no message, may come at any moment between.
    let of_cancelled = received.iter().position(|event| event.get("name").is_none()).expect("both channels are heard");
    assert_eq!(received.remove(of_cancelled), json!({ "pos": "0:0", "data": 1 }));
    let headers = json!({ "trace": ["a", "b"], "type": "x" });
    let expected = [
        json!({ "name": "orderCreated", "pos": "0:0", "key": "k1", "headers": headers, "data": { "id": "9" } }),
        json!({ "name": "orderCreated", "pos": "0:1", "data_base64": "bm8gSlNPTg==" }),
        json!({ "name": "orderCreated", "pos": "0:2", "key": "k1", "deleted": true }),
    ];
    assert_eq!(received, expected);
}

fn what_is_not_text_passes_both_ways_as_base64(stage: &Stage) {
    let gateway = stage.gateway();
    let mut session = session(&gateway);
    session.subscribe(CREATED);
    let id = session.send(json!({
        "type": "publish", "channel": CREATED, "key_base64": "/wA=", "data_base64": "/wAB",
        "headers": { "a": ["1", "2"] }, "headers_base64": { "b": "/w==" },
    }));
    assert_eq!(session.receive("published", |_| true)["id"], id);
    let event = without_time(session.event(|_| true));
    let headers = json!({ "a": ["1", "2"], "portolan.consumer": "acme" });
    let expected = json!({
        "name": "orderCreated", "pos": "0:0", "key_base64": "/wA=", "headers": headers, "headers_base64": { "b": "/w==" },
        "data_base64": "/wAB",
    });
    assert_eq!(event, expected);
}

fn the_frames_of_an_event_are_the_same_bytes_on_every_socket(stage: &Stage) {
    let gateway = stage.gateway();
    let (mut one, mut other) = (RawSession::open(&gateway), RawSession::open(&gateway));
    one.subscribe(CREATED);
    // Neither the order of subscriptions nor what else a session does is seen in its frames.
    other.subscribe(CANCELLED);
    other.subscribe(CREATED);
    for number in 0..3 {
        post(&gateway, CREATED, "k", &format!(r#"{{"n":{number},  "t":1.10}}"#)).assert_status(201);
    }
    for number in 0..3 {
        let (one, other) = (one.frame(), other.frame());
        assert_eq!(one, other);
        let text = String::from_utf8(one.payload).expect("frames are text");
        assert!(text.starts_with(r#"{"type":"message","ch":1,"events":[{"name":"orderCreated","pos":"0:"#), "{text}");
        assert!(text.ends_with(&format!(r#""data":{{"n":{number},  "t":1.10}}}}]}}"#)), "{text}");
    }
}

fn commands_of_one_message_take_effect_in_their_order(stage: &Stage) {
    let gateway = stage.gateway();
    let mut session = RawSession::open(&gateway);
    session.say(&json!([
        { "type": "publish", "id": 1, "channel": CREATED, "data": "before" },
        { "type": "subscribe", "id": 2, "channel": CREATED },
        { "type": "publish", "id": 3, "channel": CREATED, "data": "after" },
        { "type": "dance", "id": 4 },
    ]));
    // What is not understood is said as soon as it is read; the rest stands in its order.
    let first = session.json();
    assert_eq!((&first["type"], &first["id"]), (&json!("error"), &json!(4)));
    let (mut order, mut events) = (Vec::new(), Vec::new());
    while order.len() < 3 || !events.contains(&json!("after")) {
        let frame = session.json();
        match frame["type"].as_str() {
            Some("message") => events.push(frame["events"][0]["data"].clone()),
            Some(kind) => order.push((kind.to_owned(), frame["id"].clone())),
            None => panic!("{frame}"),
        }
    }
    let expected = [("published", 1), ("subscribed", 2), ("published", 3)];
    assert_eq!(order, expected.map(|(kind, id)| (kind.to_owned(), json!(id))));
    // What was published just before may still be on its way to us.
    assert!(events == [json!("after")] || events == [json!("before"), json!("after")], "{events:?}");
    session.is_there(5);
}

fn a_channel_is_known_by_its_address_and_by_its_name(stage: &Stage) {
    let gateway = stage.gateway();
    let mut session = session(&gateway);
    assert_eq!(session.subscribe("created")["channel"], CREATED);
    let id = session.send(json!({ "type": "subscribe", "channel": CREATED }));
    let told = "there is a subscription to this channel already";
    let refused =
        json!({ "type": "error", "id": id, "code": "already_subscribed", "message": told, "temporary": false });
    assert_eq!(session.refused(id), refused);
    post(&gateway, "created", "k", "1").assert_status(201);
    session.publish("created", "k", &json!(2));
    let data: Vec<_> = session.events(2).iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, [json!(1), json!(2)]);
}

fn publishes_of_one_key_keep_their_order(stage: &Stage) {
    const COUNT: usize = 120;
    let gateway = stage.gateway();
    let (mut sender, mut reader) = (session(&gateway), session(&gateway));
    reader.subscribe(CREATED);
    let key = |number: usize| format!("key-{}", number % 4);
    let commands = (0..COUNT).map(
        |number| json!({ "type": "publish", "id": number, "channel": CREATED, "key": key(number), "data": number }),
    );
    // All at once: up to 32 are on their way at a time.
    sender.send_text(&Value::Array(commands.collect()).to_string());
    let mut places = BTreeMap::new();
    for _ in 0..COUNT {
        let frame = sender.receive("published", |_| true);
        let number = usize::try_from(frame["id"].as_u64().unwrap()).unwrap();
        let place = (frame["partition"].as_i64().unwrap(), frame["offset"].as_i64().unwrap());
        assert_eq!(places.insert(number, place), None, "answered twice");
    }
    let mut received: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for event in reader.events(COUNT) {
        let (partition, offset) = place(&event);
        let number = usize::try_from(event["data"].as_u64().unwrap()).unwrap();
        assert_eq!(places[&number], (i64::from(partition), offset), "an event stands where it was said to");
        received.entry(event["key"].as_str().unwrap().to_owned()).or_default().push(number);
    }
    for first in 0..4 {
        let sent: Vec<_> = (first..COUNT).step_by(4).collect();
        assert_eq!(received[&key(first)], sent);
        let of_key: Vec<_> = sent.iter().map(|number| places[number]).collect();
        assert!(
            of_key.is_sorted() && of_key.iter().all(|place| place.0 == of_key[0].0),
            "one key, one partition: {of_key:?}"
        );
    }
}

fn a_thousand_events_come_to_fifty_sockets_once_each_and_in_order(stage: &Stage) {
    const EVENTS: usize = 1_000;
    const SOCKETS: usize = 50;
    let gateway = stage.gateway();
    let reader = |_| {
        let mut session = session(&gateway);
        session.subscribe(CREATED);
        thread::spawn(move || session.events(EVENTS))
    };
    let readers: Vec<_> = (0..SOCKETS).map(reader).collect();
    let mut sender = session(&gateway);
    let mut placed: BTreeMap<(i64, i64), u64> = BTreeMap::new();
    for batch in 0..EVENTS / 100 {
        let numbers = (batch * 100)..(batch * 100 + 100);
        let commands = numbers.map(|number| json!({ "type": "publish", "id": number, "channel": CREATED, "key": number.to_string(), "data": number }));
        sender.send_text(&Value::Array(commands.collect()).to_string());
        for _ in 0..100 {
            let frame = sender.receive("published", |_| true);
            placed.insert(
                (frame["partition"].as_i64().unwrap(), frame["offset"].as_i64().unwrap()),
                frame["id"].as_u64().unwrap(),
            );
        }
    }
    assert_eq!(placed.len(), EVENTS);
    for reader in readers {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        for event in reader.join().expect("every socket gets every event") {
            let (partition, offset) = place(&event);
            let expected = next.entry(partition).or_default();
            assert_eq!(offset, *expected, "partition {partition} comes without hole, double or disorder");
            *expected += 1;
            assert_eq!(event["data"], placed[&(i64::from(partition), offset)]);
        }
        assert_eq!((next.len(), next.values().sum::<i64>()), (3, 1_000));
    }
    // One reader of the topic has served them all.
    let states = gateway.inner().registry().states();
    let readers: Vec<_> =
        states.iter().filter(|state| state["name"] == format!("topic/main/{}", stage.topic(CREATED))).collect();
    assert_eq!(readers.len(), 1, "{states:#?}");
    let state = &readers[0]["state"];
    assert_eq!((&state["state"], &state["events"], &state["reopened"]), (&json!("reading"), &json!(1_000), &json!(0)));
}

fn a_record_that_the_broker_refuses_is_a_fault_of_its_own(stage: &Stage) {
    let gateway = stage.setup("max_body: 2MiB").start();
    let mut session = session(&gateway);
    session.subscribe(CREATED);
    // Kafka takes records of up to a million bytes unless it is told otherwise.
    let answer = post(&gateway, CREATED, "k", &format!("\"{}\"", "x".repeat(1_100_000)));
    assert_eq!(answer.assert_problem(422, "record_refused"), json!({ "detail": "the broker refused the record" }));
    post(&gateway, CREATED, "k", "1").assert_status(201);
    assert_eq!(session.event(|_| true)["pos"], "0:0");
}

fn without_time(mut event: Value) -> Value {
    let time = event.as_object_mut().and_then(|members| members.remove("ts"));
    assert!(time.as_ref().and_then(Value::as_i64).is_some_and(|ts| ts > 1_700_000_000_000), "{time:?}");
    event
}
