//! What a reload changes, it changes at once and for all.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use super::{NAMED, changed, told};
use crate::kit::session::Session;
use crate::kit::{Answer, FakeUpstream, TestGateway, wait};

#[test]
fn routes_come_and_go() {
    let upstream = FakeUpstream::echo();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { old: { path: /old, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    gateway.get("/old").assert_status(200);
    gateway.get("/new").assert_problem(404, "unknown_route");
    gateway.reload(&changed(&gateway, "old: { path: /old,", "new: { path: /new,")).unwrap();
    gateway.get("/old").assert_problem(404, "unknown_route");
    gateway.get("/new").assert_status(200);
    let routes = gateway.admin().get("/routes").json();
    assert_eq!(routes["routes"][0]["route"], "new");
}

/// The hashes under `pepper`, as `printf %s one-key | openssl dgst -sha256 -hmac pepper` prints them.
const ONE_KEY: &str = "712429ca48bfa664f9b847611a7035c787d010f3ed3676f2ee6cbede9e8b68b1";
const TWO_KEY: &str = "f08a0df84b8d48c9a7e7f93a3f94cc89d6de374d52e3a5a2e314a09298daa82c";

/// Two consumers with the keys `one-key` and `two-key`.
const KEYS: &str = r#"
    identity: { keys: { api_key: { header: x-api-key, pepper: pepper } } }
    brokers: { main: { kafka: { bootstrap: [ "127.0.0.1:9" ] } } }
    upstreams: { service: { endpoints: [ "{upstream}" ] } }
    apis:
      events: { version: v1, asyncapi: ./events.yaml, path: /events, broker: main, authenticate: [ keys ] }
      orders: { version: v1, openapi: ./orders.yaml, path: /orders, upstream: service, authenticate: [ keys ] }
    consumers:
      one: { keys: [ { hash: {one} } ], subscriptions: [ { api: "*" } ] }
      two: { keys: [ { hash: {two} } ], subscriptions: [ { api: "*" } ] }
"#;

const OPENAPI: &str = "
    openapi: 3.1.0
    info: { title: Orders, version: 1.0.0 }
    paths: { /all: { get: { operationId: listOrders, responses: { '200': { description: all } } } } }
";

const ASYNCAPI: &str = "
    asyncapi: 3.0.0
    info: { title: Events, version: 1.0.0 }
    channels: { made: { address: made } }
    operations:
      tell: { action: send, channel: { $ref: '#/channels/made' } }
      take: { action: receive, channel: { $ref: '#/channels/made' } }
";

fn keyed(upstream: &FakeUpstream) -> TestGateway {
    TestGateway::with_config(KEYS)
        .with("upstream", upstream.url())
        .with("one", ONE_KEY)
        .with("two", TWO_KEY)
        .file("orders.yaml", OPENAPI)
        .file("events.yaml", ASYNCAPI)
        .start()
}

fn with_key(gateway: &TestGateway, key: &str) -> Answer {
    gateway.call("GET", "/orders/all").header("x-api-key", key).send()
}

#[test]
fn a_key_that_is_taken_out_is_refused_at_once_and_the_others_go_on() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = keyed(&upstream);
    with_key(&gateway, "one-key").assert_status(200);
    gateway.reload(&changed(&gateway, &format!("[ {{ hash: {ONE_KEY} }} ]"), "[]")).unwrap();
    with_key(&gateway, "one-key").assert_problem(401, "credentials_invalid");
    with_key(&gateway, "two-key").assert_status(200);
}

#[test]
fn a_subscription_that_is_taken_out_is_refused_at_once() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = keyed(&upstream);
    with_key(&gateway, "two-key").assert_status(200);
    let two = format!("two: {{ keys: [ {{ hash: {TWO_KEY} }} ], subscriptions: [ {{ api: ");
    gateway.reload(&changed(&gateway, &format!("{two}\"*\""), &format!("{two}events"))).unwrap();
    with_key(&gateway, "two-key").assert_problem(403, "not_subscribed");
    with_key(&gateway, "one-key").assert_status(200);
}

#[test]
fn a_session_whose_key_is_taken_out_is_refused_its_next_command_and_the_others_go_on() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = keyed(&upstream);
    let open = |key: &str| Session::open(gateway.address(), "/events", &[("x-api-key", key)]);
    let (mut one, mut two) = (open("one-key"), open("two-key"));
    gateway.reload(&changed(&gateway, &format!("[ {{ hash: {ONE_KEY} }} ]"), "[]")).unwrap();
    let publish = json!({ "type": "publish", "channel": "made", "data": 1 });
    let id = one.send(publish);
    assert_eq!(one.refused(id)["code"], "credentials_invalid");
    let id = two.send(json!({ "type": "subscribe", "channel": "no-such-channel" }));
    assert_eq!(two.refused(id)["code"], "unknown_channel");
}

#[test]
fn a_limit_that_did_not_change_goes_on_counting() {
    let upstream = FakeUpstream::answering(200, json!("served"));
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service, rate_limit: { per: route, limit: 2, every: 1m } } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    for _ in 0..2 {
        gateway.get("/x").assert_status(200);
    }
    gateway.reload(&(gateway.configuration() + "# a remark\n")).unwrap();
    gateway.get("/x").assert_problem(429, "rate_limited");
}

#[test]
fn reloads_in_a_storm_fail_no_request_and_every_answer_is_of_one_plan() {
    let (one, two) = (FakeUpstream::answering(200, json!("one")), FakeUpstream::answering(200, json!("two")));
    let gateway = TestGateway::with_config(NAMED).with("upstream", one.url()).start();
    let first = gateway.configuration();
    let second = first.replace(&one.url(), &two.url()).replace("x-plan: one", "x-plan: two");
    let file = gateway.folder().join("gateway.yaml");
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        // The clients end also when this closure panics.
        let _over = Over(&is_over);
        for _ in 0..4 {
            let client = gateway.client();
            let (is_over, answered) = (&is_over, &answered);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = client.get("/x");
                    let plan = answer.header("x-plan").unwrap_or_default();
                    assert_eq!(
                        (answer.status, answer.json()),
                        (200, json!(plan)),
                        "an answer of two plans, or of none"
                    );
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // A storm from two sides: the file is exchanged as a whole, so that whoever reads it reads one of the two.
        let rounds = 60;
        for side in 0..2 {
            let (parts, file, first, second) = (gateway.inner().parts().clone(), &file, &first, &second);
            scope.spawn(move || {
                for round in 0..rounds {
                    let draft = file.with_extension(format!("draft-{side}"));
                    fs::write(&draft, if (round + side) % 2 == 0 { second } else { first }).unwrap();
                    fs::rename(&draft, file).unwrap();
                    parts.reload().unwrap();
                }
            });
        }
        // Requests flow during the whole storm and for a while after it.
        wait::until("the end of the storm", || told(&gateway)["reloads"] == 2 * rounds);
        let so_far = answered.load(Ordering::Relaxed);
        wait::until("requests after the storm", || answered.load(Ordering::Relaxed) > so_far + 20);
    });
    assert!(one.count() > 0 && two.count() > 0, "both plans were in force while requests came");
    gateway.reload(&second).unwrap();
    assert_eq!(gateway.get("/x").json(), json!("two"), "the last plan is in force for every worker");
}

/// Ends the clients of a storm when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
