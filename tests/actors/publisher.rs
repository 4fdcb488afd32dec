//! The publisher: every record on its way is answered, whatever becomes of its actor.

use std::time::Duration;

use serde_json::json;

use super::topic::{gateway, publish, received};
use super::{panic, revive, shown, state};
use crate::kit::kafka::Kafka;
use crate::kit::session::Session;
use crate::kit::{RawClient, wait};

const PUBLISHER: &str = "publisher/main";

#[test]
fn records_that_are_on_their_way_while_the_actor_panics_are_answered() {
    let (mut kafka, gateway) = gateway(2);
    let mut session = Session::open(gateway.address(), "/events", &[]);
    session.subscribe("orders");
    publish(&gateway, 0);
    received(&mut session, 1);
    kafka.down();
    let calls: Vec<_> = (1..=5)
        .map(|number| {
            let call = gateway.call("POST", "/events/orders").header("portolan-key", &number.to_string());
            call.json(&json!({ "number": number })).start()
        })
        .collect();
    let command = session.send(json!({ "type": "publish", "channel": "orders", "data": { "number": 6 } }));
    wait::until("six records are on their way", || state(&gateway, PUBLISHER)["in_flight"] == 6);
    panic(&gateway, PUBLISHER);
    assert!(calls.iter().all(|call| !call.is_there()));
    kafka.up();
    // The actor is still down: nobody who waits depends on it.
    for call in calls {
        call.answer().assert_status(201);
    }
    session.receive("published", |frame| frame["id"] == command);
    revive(&gateway, PUBLISHER);
    let actor = shown(&gateway, PUBLISHER);
    assert_eq!([&actor["status"], &actor["restarts"]], [&json!("running"), &json!(1)]);
    assert_eq!(
        [&actor["state"]["in_flight"], &actor["state"]["placed"], &actor["state"]["refused"]],
        [&json!(0), &json!(7), &json!(0)]
    );
    // The reader waits for the broker in turns of its clock.
    let mut numbers = Vec::new();
    let passing = gateway.let_time_pass();
    numbers.extend(received(&mut session, 6).into_iter().map(|(number, _)| number));
    drop(passing);
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn records_whose_senders_are_gone_do_not_keep_their_places_for_ever() {
    let (mut kafka, gateway) = gateway(1);
    publish(&gateway, 0);
    kafka.down();
    let send = |number: u64| {
        let mut client = RawClient::connect(gateway.address());
        let body = json!({ "number": number }).to_string();
        let length = body.len();
        client.send(format!(
            "POST /events/orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        wait::until("the record is on its way", || state(&gateway, PUBLISHER)["in_flight"] == number);
        client
    };
    let clients = [1, 2, 3].map(send);
    drop(clients);
    gateway.log(4);
    assert_eq!(state(&gateway, PUBLISHER)["in_flight"], 3, "what was handed over is still on its way");
    // With the actor the three are forgotten here; the broker's client sends them all the same.
    panic(&gateway, PUBLISHER);
    wait::until("their places are free", || state(&gateway, PUBLISHER)["in_flight"] == 0);
    revive(&gateway, PUBLISHER);
    kafka.up();
    publish(&gateway, 4);
    gateway.advance(Duration::from_secs(1));
    assert_eq!(shown(&gateway, PUBLISHER)["status"], "running");
}
