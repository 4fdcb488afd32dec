//! Who may have which channel: keys, subscriptions and limits, for a session's commands by the very code that judges a `POST`.

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{ACME_KEY, CANCELLED, CREATED, PATH, Stage, WANTED, post, session};
use crate::kit::session::{Closed, NATIVE, Session};
use crate::kit::{Answer, TestGateway};

#[test]
fn without_a_key_with_a_wrong_one_and_without_a_subscription_there_is_no_session_and_nothing_is_published() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let refused = |key: &[(&str, &str)]| {
        let Err(upgrade) = Session::try_open(gateway.address(), PATH, Some(NATIVE), key) else {
            panic!("a session was opened")
        };
        let call = gateway.call("POST", "/order-events/v2/orders.created").body("1");
        let post = key.iter().fold(call, |call, (name, value)| call.header(name, value)).send();
        [upgrade, post]
    };
    let challenge = Some(r#"ApiKey realm="keys", header="x-api-key""#.to_owned());
    for answer in refused(&[]) {
        let told = "a key is needed; send it in the header `x-api-key`";
        assert_eq!(answer.assert_problem(401, "credentials_missing"), json!({ "detail": told }));
        assert_eq!(answer.header("www-authenticate"), challenge);
    }
    for answer in refused(&[("x-api-key", "acme-kez")]) {
        assert_eq!(answer.assert_problem(401, "credentials_invalid"), json!({ "detail": "the key is not known" }));
        assert_eq!(answer.header("www-authenticate"), challenge);
    }
    for answer in refused(&[("x-api-key", "other-key")]) {
        let told = "consumer `other` has no subscription to `order-events` v2";
        assert_eq!(answer.assert_problem(403, "not_subscribed"), json!({ "detail": told }));
    }
    // Nothing has come to the topic: the first event is the first.
    assert_eq!(post(&gateway, CREATED, "k", "1").assert_status(201).json()["offset"], 0);
}

#[test]
fn a_channel_that_is_unknown_or_goes_the_other_way_is_refused_with_a_reason_and_the_session_goes_on() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = session(&gateway);
    let subscribe = |channel: &str| json!({ "type": "subscribe", "channel": channel });
    let publish = |channel: &str| json!({ "type": "publish", "channel": channel, "data": 1 });
    for (command, code, message) in [
        (subscribe("orders.nope"), "unknown_channel", "there is no channel `orders.nope`"),
        (publish("orders.nope"), "unknown_channel", "there is no channel `orders.nope`"),
        (subscribe(WANTED), "forbidden", "clients may only publish to channel `orders.wanted`"),
        (publish(CANCELLED), "forbidden", "clients may only subscribe to channel `orders.cancelled`"),
    ] {
        let id = session.send(command);
        assert_eq!(
            session.refused(id),
            json!({ "type": "error", "id": id, "code": code, "message": message, "temporary": false })
        );
    }
    session.subscribe(CREATED);
    session.publish(CREATED, "k", &json!("still there"));
    assert_eq!(session.event(|_| true)["data"], "still there");

    let problem = |channel: &str, status, code| post(&gateway, channel, "k", "1").assert_problem(status, code);
    assert_eq!(
        problem("orders.nope", 404, "unknown_channel"),
        json!({ "detail": "there is no channel `orders.nope`" })
    );
    let told = "clients may only subscribe to channel `orders.cancelled`";
    assert_eq!(problem(CANCELLED, 403, "forbidden"), json!({ "detail": told }));
    let answer = gateway.call("POST", "/order-events/v2/orders.created").header("x-api-key", "acme-key");
    let broken = answer.header("content-type", "application/json").body("{broken").send();
    let at = json!([{ "location": "body", "message": "key must be a string at line 1 column 2" }]);
    let told = "the event is not valid JSON, though its media type says so";
    assert_eq!(broken.assert_problem(400, "malformed_body"), json!({ "detail": told, "errors": at }));
    let answer = gateway.call("POST", "/order-events/v2/orders.created").header("x-api-key", "acme-key").send();
    assert_eq!(answer.assert_problem(400, "malformed_body"), json!({ "detail": "an event needs a body" }));
}

#[test]
fn an_event_larger_than_the_bound_is_refused() {
    let stage = Stage::mock(1);
    let gateway = stage.setup("max_body: 1KiB").start();
    let answer = post(&gateway, CREATED, "k", &"1".repeat(1_025));
    let told = "the body is larger than 1024 bytes";
    assert_eq!(answer.assert_problem(413, "body_too_large"), json!({ "detail": told, "limit": 1_024 }));
    assert_eq!(post(&gateway, CREATED, "k", &"1".repeat(1_024)).assert_status(201).json()["offset"], 0);
}

#[test]
fn a_key_that_a_reload_takes_away_is_refused_at_the_next_command() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = session(&gateway);
    session.subscribe(CREATED);
    let without = gateway.configuration().replace(ACME_KEY, &"0".repeat(64));
    gateway.reload(&without).expect("the configuration is sound");
    let told = "the credentials of this session were revoked";
    for command in [
        json!({ "type": "subscribe", "channel": CANCELLED }),
        json!({ "type": "publish", "channel": WANTED, "data": 1 }),
    ] {
        let id = session.send(command);
        let expected =
            json!({ "type": "error", "id": id, "code": "credentials_invalid", "message": told, "temporary": false });
        assert_eq!(session.refused(id), expected);
    }
    post(&gateway, WANTED, "k", "1").assert_problem(401, "credentials_invalid");
}

#[test]
fn a_subscription_that_a_reload_takes_away_is_missed_at_the_next_command() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = session(&gateway);
    let without = gateway.configuration().replace(", subscriptions: [ { api: order-events } ]", "");
    gateway.reload(&without).expect("the configuration is sound");
    let id = session.send(json!({ "type": "subscribe", "channel": CREATED }));
    let told = "consumer `acme` has no subscription to `order-events` v2";
    let expected = json!({ "type": "error", "id": id, "code": "not_subscribed", "message": told, "temporary": false });
    assert_eq!(session.refused(id), expected);
}

#[test]
fn a_session_ends_with_the_key_it_was_opened_with() {
    let stage = Stage::mock(1);
    let gateway = stage.setup("sessions: { heartbeat: 1h }").start();
    let soon = gateway.configuration().replace(ACME_KEY, &format!("{ACME_KEY}, expires: \"2026-01-02T03:14:05Z\""));
    gateway.reload(&soon).expect("the configuration is sound");
    let mut session = session(&gateway);
    gateway.advance(Duration::from_secs(599));
    session.subscribe(CREATED);
    gateway.advance(Duration::from_secs(1));
    assert_eq!(session.closed(), Closed { code: 4401, reason: "the credentials have expired".into() });
    session.gone();
    post(&gateway, CREATED, "k", "1").assert_problem(401, "credentials_expired");
}

#[test]
fn every_command_is_an_exchange_of_its_own_and_leaves_its_own_line() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = Session::open(gateway.address(), PATH, &[("x-api-key", "acme-key")]);
    let id = session.receive("connected", |_| true)["session"].clone();
    session.subscribe(CREATED);
    session.publish(CREATED, "k", &json!(1));
    session.event(|_| true);
    let lines = gateway.log(2);
    let line = |kind: &str, status: u16| {
        json!({
            "time": "2026-01-02T03:04:05Z", "request_id": id, "route": "order-events", "operation": CREATED, "kind": kind,
            "protocol": "events", "consumer": "acme", "client": "127.0.0.1", "status": status, "outcome": "completed",
            "bytes_in": 0, "bytes_out": 0, "queue_us": 0, "gateway_us": 0, "upstream_us": 0,
        })
    };
    assert_eq!(lines, [line("subscribe", 200), line("publish", 201)]);
    session.close();
    let whole = gateway.log(3).remove(2);
    let told = ["request_id", "operation", "kind", "method", "path", "consumer", "status", "outcome"]
        .map(|name| whole[name].clone());
    let expected = [
        id,
        json!("session"),
        json!("session"),
        json!("GET"),
        json!(PATH),
        json!("acme"),
        json!(101),
        json!("completed"),
    ];
    assert_eq!(told, expected, "{whole}");
    let bytes = |name: &str| whole[name].as_u64().expect("a number");
    assert!(bytes("bytes_in") > 100 && bytes("bytes_out") > 300, "{whole}");
    // A POST is one exchange, and says its operation too.
    post(&gateway, CREATED, "k", "12").assert_status(201);
    let line = gateway.log(4).remove(3);
    let told = ["operation", "kind", "method", "status", "bytes_in"].map(|name| line[name].clone());
    assert_eq!(told, [json!(CREATED), json!("publish"), json!("POST"), json!(201), json!(2)], "{line}");
}

#[test]
fn every_command_draws_on_the_limit_and_one_too_many_is_told_when_to_come_again() {
    let stage = Stage::mock(1);
    let gateway = stage.setup("rate_limit: { per: consumer, limit: 3, every: 30s }").start();
    // The upgrade draws one, the subscribe and the publish one each.
    let mut session = session(&gateway);
    session.subscribe(CREATED);
    session.publish(CREATED, "k", &json!(1));
    let told = "3 requests per 30s reached for consumer `acme`; retry in 10s";
    for command in [
        json!({ "type": "publish", "channel": CREATED, "data": 2 }),
        json!({ "type": "subscribe", "channel": CANCELLED }),
    ] {
        let id = session.send(command);
        let expected = json!({
            "type": "error", "id": id, "code": "rate_limited", "message": told, "temporary": true, "retry_after_ms": 10_000,
        });
        assert_eq!(session.refused(id), expected);
    }
    // One bucket over all ways.
    let refused = post(&gateway, CREATED, "k", "2");
    assert_eq!(refused.assert_problem(429, "rate_limited"), json!({ "detail": told, "limit": 3 }));
    assert_eq!(refused.header("retry-after").as_deref(), Some("10"));
    // The session's own lines stand in their order; that of the POST, which another worker may write, stands somewhere.
    let own = |line: &Value| line["method"].is_null() && line["status"] == 429;
    let refused: Vec<_> = gateway.log(5).into_iter().filter(own).collect();
    let told = |line: &Value| ["operation", "kind", "status", "outcome", "fault"].map(|name| line[name].clone());
    let expected =
        |channel: &str, kind: &str| [json!(channel), json!(kind), json!(429), json!("faulted"), json!("rate_limited")];
    assert_eq!(
        refused.iter().map(told).collect::<Vec<_>>(),
        [expected(CREATED, "publish"), expected(CANCELLED, "subscribe")]
    );
    gateway.advance(Duration::from_secs(10));
    assert_eq!(session.publish(CREATED, "k", &json!(2))["offset"], 1, "what was refused was not published");
    // Events are not commands: they come, limit or not.
    assert_eq!(session.events(2)[1]["data"], 2);
}

#[test]
fn a_session_has_so_many_subscriptions_and_no_more() {
    let stage = Stage::mock(1);
    let gateway = stage.setup("sessions: { max_subscriptions: 1 }").start();
    let mut session = session(&gateway);
    let ch = session.subscribe(CREATED)["ch"].clone();
    let id = session.send(json!({ "type": "subscribe", "channel": CANCELLED }));
    let told = "a session has at most 1 subscriptions; unsubscribe from one";
    let refused =
        json!({ "type": "error", "id": id, "code": "too_many_subscriptions", "message": told, "temporary": false });
    assert_eq!(session.refused(id), refused);
    let id = session.send(json!({ "type": "unsubscribe", "ch": ch }));
    session.receive("unsubscribed", |frame| frame["id"] == id);
    session.subscribe(CANCELLED);
}

#[test]
fn what_is_no_upgrade_and_no_post_is_told_what_to_do() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let ask = |method: &str, path: &str| gateway.call(method, path).header("x-api-key", "acme-key").send();
    let answer = ask("GET", PATH);
    answer.assert_problem(426, "upgrade_required");
    assert_eq!(answer.header("upgrade").as_deref(), Some("websocket"));
    let answer = ask("POST", PATH);
    answer.assert_problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow").as_deref(), Some("GET"));
    for method in ["PUT", "DELETE"] {
        let answer = ask(method, "/order-events/v2/orders.created");
        answer.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow").as_deref(), Some("POST"));
    }
    ask("GET", "/order-events/v2/orders.created").assert_problem(501, "not_implemented");
    let refused = |protocol: Option<&str>| -> Option<Answer> {
        Session::try_open(gateway.address(), PATH, protocol, &[("x-api-key", "acme-key")]).err()
    };
    let answer = refused(Some("portolan.events.v9")).expect("nobody speaks it");
    let told = "none of the sub-protocols offered is spoken here; offer `portolan.events.v1`";
    assert_eq!(answer.assert_problem(400, "bad_request"), json!({ "detail": told }));
    assert_eq!(refused(None), None, "a client that offers none gets the native one");
}

#[test]
fn an_upgrade_of_another_version_is_told_which_one_is_spoken() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    for (what, version, key, status) in [
        ("an older version", "8", "dGhlIHNhbXBsZSBub25jZQ==", 426),
        ("no version", "", "dGhlIHNhbXBsZSBub25jZQ==", 426),
        ("a key of another length", "13", "c2hvcnQ=", 400),
    ] {
        let answer = upgraded(&gateway, version, key);
        assert_eq!(answer.0, status, "{what}: {}", answer.1);
        if status == 426 {
            assert!(
                answer.1.contains("sec-websocket-version: 13\r\n") && answer.1.contains("upgrade: websocket\r\n"),
                "{}",
                answer.1
            );
        }
    }
    session(&gateway);
}

fn upgraded(gateway: &TestGateway, version: &str, key: &str) -> (u16, String) {
    let mut client = crate::kit::RawClient::connect(gateway.address());
    client.send(format!(
        "GET {PATH} HTTP/1.1\r\nhost: a\r\nx-api-key: acme-key\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: {version}\r\nsec-websocket-key: {key}\r\n\r\n"
    ));
    let (head, _) = client.read_answer();
    (head[9..12].parse().expect("a status"), head)
}
