//! What a reload leaves alone: requests under way, connections, sessions, and whatever did not change.

use std::time::Duration;

use serde_json::json;

use super::{NAMED, changed, in_force, named, renamed, told};
use crate::kit::kafka::{Kafka, MockKafka};
use crate::kit::raw::Peer;
use crate::kit::session::Session;
use crate::kit::wait::Watched;
use crate::kit::{FakeUpstream, RawClient, RawUpstream, Reply, TestGateway};

#[test]
fn a_request_under_way_ends_by_the_plan_it_began_with_even_when_its_route_is_gone() {
    let gate = Watched::<bool>::default();
    let old = FakeUpstream::start({
        let gate = gate.clone();
        move |_| {
            gate.wait("the test's leave to answer", |is_open| is_open.then_some(()));
            Reply::json(200, &json!("old"))
        }
    });
    let new = FakeUpstream::answering(200, json!("new"));
    let gateway = named(&old);
    let pending = gateway.call("GET", "/x").start();
    old.wait_for(1);
    gateway
        .reload(&renamed(&gateway, "two").replace(&old.url(), &new.url()).replace("path: /**", "path: /other"))
        .unwrap();
    gateway.get("/x").assert_problem(404, "unknown_route");
    let answer = gateway.get("/other");
    assert_eq!((answer.json(), answer.header("x-plan")), (json!("new"), Some("two".into())));
    gate.change(|is_open| *is_open = true);
    let answer = pending.answer().assert_status(200);
    assert_eq!((answer.json(), answer.header("x-plan")), (json!("old"), Some("one".into())));
    assert_eq!((old.count(), old.cancelled()), (1, 0));
}

#[test]
fn an_answer_that_streams_is_whole_after_a_reload() {
    let (old, feed) = FakeUpstream::fed();
    let new = FakeUpstream::answering(200, json!("new"));
    let gateway = named(&old);
    let mut client = RawClient::connect(gateway.address());
    client.send("GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    feed.send("first half, ");
    client.read_until("first half, ");
    gateway.reload(&changed(&gateway, &old.url(), &new.url())).unwrap();
    assert_eq!(gateway.get("/x").json(), json!("new"));
    feed.send("second half");
    feed.end();
    let rest = client.read_to_end();
    assert!(rest.contains("second half") && rest.ends_with("0\r\n\r\n"), "{rest:?}");
    assert_eq!(old.cancelled(), 0);
}

#[test]
fn a_body_that_is_on_its_way_arrives_whole_across_a_reload() {
    let old = FakeUpstream::echo();
    let new = FakeUpstream::answering(200, json!("new"));
    let gateway = named(&old);
    let mut client = RawClient::connect(gateway.address());
    client.send("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfirst");
    old.wait_until("half a body", |seen| seen.body == b"first");
    gateway.reload(&changed(&gateway, &old.url(), &new.url())).unwrap();
    client.send("-last");
    let (head, body) = client.read_answer();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!((body.as_str(), new.count()), ("first-last", 0));
}

#[test]
fn a_connection_kept_alive_outlives_reloads_and_each_request_on_it_gets_the_plan_of_its_time() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = named(&upstream);
    let mut client = RawClient::connect(gateway.address());
    let plan = |client: &mut RawClient, rest: &str| {
        client.send(rest);
        let (head, body) = client.read_answer();
        assert!(head.starts_with("HTTP/1.1 200 ") && body == "\"served\"", "{head}{body}");
        head.lines().find_map(|line| line.strip_prefix("x-plan: ")).expect("every answer has its plan").to_owned()
    };
    assert_eq!(plan(&mut client, "GET /x HTTP/1.1\r\nhost: a\r\n\r\n"), "one");
    gateway.reload(&renamed(&gateway, "two")).unwrap();
    assert_eq!(plan(&mut client, "GET /x HTTP/1.1\r\nhost: a\r\n\r\n"), "two");
    // A head of which half had come belongs to the plan that finds its route.
    client.send("GET /x HTTP/1.1\r\nhost:");
    gateway.reload(&changed(&gateway, "x-plan: two", "x-plan: three")).unwrap();
    assert_eq!(plan(&mut client, " a\r\n\r\n"), "three");
}

const EVENTS: &str = r#"
    brokers: { main: { kafka: { bootstrap: [ "{kafka}" ] } } }
    upstreams: { service: { endpoints: [ "http://127.0.0.1:9" ] } }
    apis: { events: { version: v1, asyncapi: ./events.yaml, path: /events, broker: main } }
    routes: { other: { path: /other, upstream: service } }
"#;

const ASYNCAPI: &str = "
    asyncapi: 3.0.0
    info: { title: Events, version: 1.0.0 }
    channels: { made: { address: made } }
    operations:
      tell: { action: send, channel: { $ref: '#/channels/made' } }
      take: { action: receive, channel: { $ref: '#/channels/made' } }
";

#[test]
fn a_session_keeps_its_subscription_and_a_topic_its_reader_across_reloads() {
    let kafka = MockKafka::start(&[("made", 1)]);
    let gateway =
        TestGateway::with_config(EVENTS).with("kafka", kafka.bootstrap()).file("events.yaml", ASYNCAPI).start();
    let mut session = Session::open(gateway.address(), "/events", &[]);
    let channel = session.subscribe("made")["ch"].take();
    for round in 0..3 {
        gateway.reload(&changed(&gateway, "path: /other", "path: /other/x")).unwrap();
        gateway.post("/events/made", &json!({ "round": round })).assert_status(201);
        let message = session.receive("message", |_| true);
        assert_eq!((&message["ch"], &message["events"][0]["data"]), (&channel, &json!({ "round": round })));
        assert_eq!(message["events"][0]["pos"], format!("0:{round}"));
    }
    // All three came through one reader that was never started anew.
    let reader = gateway.inner().registry().states().into_iter().find(|actor| actor["name"] == "topic/main/made");
    let reader = reader.expect("a topic that is read has its actor");
    assert_eq!(
        (&reader["restarts"], &reader["state"]["reopened"], &reader["state"]["events"]),
        (&json!(0), &json!(0), &json!(3))
    );
    session.close();
}

#[test]
fn an_upstream_that_did_not_change_keeps_its_open_breaker_and_one_that_did_gets_a_new_one() {
    let upstream = FakeUpstream::failing();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ], breaker: { minimum: 2, open_for: 1m } } }
        routes: { all: { path: /**, upstream: service, headers: { response: { set: { x-plan: one } } } } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    for _ in 0..2 {
        gateway.get("/x").assert_status(500);
    }
    gateway.get("/x").assert_problem(503, "circuit_open");
    gateway.reload(&renamed(&gateway, "two")).unwrap();
    gateway.get("/x").assert_problem(503, "circuit_open");
    assert_eq!(upstream.count(), 2, "nothing is called through an open breaker");
    gateway.reload(&changed(&gateway, "open_for: 1m", "open_for: 2m")).unwrap();
    gateway.get("/x").assert_status(500);
    // The old one goes with the last worker that lets go of the plan before.
    gateway.advance_until("the end of the old breaker", Duration::from_secs(1), || {
        let states = gateway.inner().registry().states();
        states.iter().filter(|actor| actor["name"] == "breaker/service").count() == 1
    });
}

#[test]
fn an_upstream_that_did_not_change_keeps_its_connections() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway =
        TestGateway::with_config(&format!("{NAMED}\n    workers: 1\n")).with("upstream", upstream.url()).start();
    gateway.get("/x").assert_status(200);
    gateway.reload(&renamed(&gateway, "two")).unwrap();
    assert_eq!(gateway.get("/x").assert_status(200).header("x-plan"), Some("two".into()));
    assert_eq!(upstream.connections(), 1);
    let other = changed(&gateway, "service: { endpoints", "service: { timeouts: { request: 7s }, endpoints");
    gateway.reload(&other).unwrap();
    gateway.get("/x").assert_status(200);
    assert_eq!(upstream.connections(), 2, "new settings begin with connections of their own");
}

#[test]
fn idle_connections_of_an_upstream_that_is_gone_are_closed() {
    // Answers once and then waits for the other side to close.
    let once = |peer: &mut Peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        peer.hang();
    };
    let (old, new) = (RawUpstream::start(once), FakeUpstream::answering(200, json!("new")));
    let gateway = TestGateway::with_config(&format!("{NAMED}\n    workers: 1\n")).with("upstream", old.url()).start();
    gateway.get("/x").assert_status(200);
    gateway.reload(&changed(&gateway, &old.url(), &new.url())).unwrap();
    gateway.get("/x").assert_status(200);
    gateway.advance_until("the end of the idle connection", Duration::from_secs(5), || old.cancelled() == 1);
}

#[test]
fn a_document_that_says_the_same_changes_nothing() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway =
        TestGateway::with_config(&format!("{NAMED}\n    workers: 1\n")).with("upstream", upstream.url()).start();
    gateway.get("/x").assert_status(200);
    for _ in 0..3 {
        gateway.reload(&gateway.configuration()).unwrap();
        gateway.get("/x").assert_status(200);
    }
    assert_eq!((upstream.connections(), told(&gateway)), (1, in_force(3, 0)));
}
