//! Sessions whose client says in its first frame who it is.

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{ACME_KEY, CANCELLED, CREATED, PATH, PING, PONG, RawSession, Stage, WANTED, post, upgrade};
use crate::kit::gateway::Setup;
use crate::kit::session::{Closed, NATIVE, Session};
use crate::kit::{RawClient, TestGateway};

const SECOND: Duration = Duration::from_secs(1);

/// An API that takes credentials in the first frame.
fn allowing(stage: &Stage) -> Setup {
    stage.setup("sessions: { first_frame_credentials: allowed }")
}

/// A session of nobody yet.
fn unknown(gateway: &TestGateway) -> Session {
    Session::open(gateway.address(), PATH, &[])
}

/// A session of nobody yet, at the level of frames.
fn unknown_raw(gateway: &TestGateway) -> RawSession {
    let mut client = RawClient::connect(gateway.address());
    client.send(upgrade(""));
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    RawSession(client)
}

fn connect(key: &str) -> Value {
    json!({ "type": "connect", "key": key })
}

fn error(id: u64, code: &str, message: &str) -> Value {
    json!({ "type": "error", "id": id, "code": code, "message": message, "temporary": false })
}

fn closed(code: u16, reason: &str) -> Closed {
    Closed { code, reason: reason.into() }
}

#[test]
fn a_client_of_nobody_hears_at_once_that_its_session_is_open_however_long_its_connection_was_idle() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let mut client = RawClient::connect(gateway.address());
    // Idle for so long, its connection holds no task, and the runtime knows nothing of its socket.
    gateway.advance_until("it is parked", SECOND / 10, || gateway.metric("portolan_connections_parked") == 1.0);
    client.send(upgrade(""));
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[test]
fn a_key_in_the_first_frame_is_the_keys_consumer_in_every_command_after_it() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let mut session = unknown(&gateway);
    let id = session.send(connect("acme-key"));
    let connected = session.receive("connected", |_| true);
    let expected = json!({
        "type": "connected", "id": id, "session": connected["session"], "ping_interval_ms": 25_000, "pong_timeout_ms": 8_000,
        "limits": { "max_frame": 65_536, "max_subs": 128 },
    });
    assert_eq!(connected, expected);
    session.subscribe(CREATED);
    session.publish(CREATED, "k", &json!(1));
    let event = session.event(|_| true);
    assert_eq!((&event["data"], &event["headers"]["portolan.consumer"]), (&json!(1), &json!("acme")), "{event}");
    // Ten seconds are for `connect` alone.
    gateway.advance(11 * SECOND);
    session.publish(CREATED, "k", &json!(2));

    let line = |operation: &str, status: u16| {
        json!({
            "time": "2026-01-02T03:04:05Z", "request_id": connected["session"], "route": "order-events", "operation": operation,
            "protocol": "events", "consumer": "acme", "client": "127.0.0.1", "status": status, "outcome": "completed",
            "bytes_in": 0, "bytes_out": 0, "queue_us": 0, "gateway_us": 0, "upstream_us": 0,
        })
    };
    let lines = gateway.log(4);
    assert_eq!(lines[0], line("connect", 200));
    let consumers: Vec<_> = lines.iter().map(|line| [&line["kind"], &line["consumer"]]).collect();
    assert_eq!(
        consumers[1..],
        [
            [&json!("subscribe"), &json!("acme")],
            [&json!("publish"), &json!("acme")],
            [&json!("publish"), &json!("acme")]
        ]
    );
    // The upgrade itself was nobody's.
    session.close();
    let whole = gateway.log(5).remove(4);
    assert_eq!(
        [&whole["kind"], &whole["status"], &whole["consumer"]],
        [&json!("session"), &json!(101), &Value::Null],
        "{whole}"
    );
}

#[test]
fn a_token_is_another_word_for_it_and_both_at_once_are_not_understood() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let mut session = unknown(&gateway);
    let id = session.send(json!({ "type": "connect", "key": "acme-key", "token": "acme-key" }));
    assert_eq!(session.refused(id), error(id, "bad_frame", "`key` and `token` exclude each other"));
    let id = session.send(json!({ "type": "connect", "token": "acme-key", "client": { "name": "test" } }));
    session.receive("connected", |frame| frame["id"] == id);
    session.subscribe(CREATED);
}

#[test]
fn whoever_shows_a_wrong_key_or_none_is_told_why_and_shut_out_and_each_attempt_is_in_the_log() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let expired = gateway.configuration().replace(ACME_KEY, &format!("{ACME_KEY}, expires: \"2026-01-02T03:04:05Z\""));
    let mut seen = 0;
    let mut refuse = |first: Value, status: u16, code: &str, close: u16, reason: &str, consumer: Value| {
        let mut session = unknown(&gateway);
        let id = session.send(first);
        assert_eq!(session.refused(id), error(id, code, reason));
        assert_eq!(session.closed(), closed(close, reason));
        session.gone();
        seen += 2;
        let lines = gateway.log(seen).split_off(seen - 2);
        let told =
            |line: &Value| ["operation", "status", "outcome", "fault", "consumer"].map(|name| line[name].clone());
        assert_eq!(
            told(&lines[0]),
            [json!("connect"), json!(status), json!("faulted"), json!(code), consumer],
            "{lines:?}"
        );
        assert_eq!(told(&lines[1])[..2], [json!("session"), json!(101)], "{lines:?}");
        assert_eq!(lines[0]["request_id"], lines[1]["request_id"]);
    };
    refuse(connect("acme-kez"), 401, "credentials_invalid", 4401, "the key is not known", Value::Null);
    refuse(connect(""), 401, "credentials_invalid", 4401, "the key is not known", Value::Null);
    let told = "a key is needed; send it in the first frame";
    refuse(json!({ "type": "connect" }), 401, "credentials_missing", 4401, told, Value::Null);
    let told = "consumer `other` has no subscription to `order-events` v2";
    refuse(connect("other-key"), 403, "not_subscribed", 4403, told, json!("other"));
    gateway.reload(&expired).expect("the configuration is sound");
    refuse(connect("acme-key"), 401, "credentials_expired", 4401, "the key has expired", Value::Null);
    // What they tried to hide is nowhere in the log.
    let log = std::fs::read_to_string(gateway.folder().join("access.log")).expect("the log can be read");
    assert!(!log.contains("acme-ke") && !log.contains("other-key"), "{log}");
}

#[test]
fn any_other_command_before_it_is_refused_and_the_session_waits_on() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let mut session = unknown(&gateway);
    let told = "the first frame is `connect`, with a `key` or a `token`";
    for command in [
        json!({ "type": "subscribe", "channel": CREATED }),
        json!({ "type": "publish", "channel": CREATED, "data": "early" }),
        json!({ "type": "unsubscribe", "ch": 1 }),
        // Who is not known learns nothing of what there is.
        json!({ "type": "subscribe", "channel": "orders.nope" }),
    ] {
        let id = session.send(command);
        assert_eq!(session.refused(id), error(id, "not_connected", told));
    }
    let id = session.send(json!({ "type": "ping" }));
    session.receive("pong", |frame| frame["id"] == id);
    session.send(connect("acme-key"));
    session.receive("connected", |_| true);
    assert_eq!(session.publish(CREATED, "k", &json!(1))["offset"], 0, "nothing of it was published");
    assert_eq!(gateway.log(2)[0]["operation"], "connect", "what was refused was no exchange");
}

#[test]
fn what_comes_right_behind_it_waits_until_the_client_is_known() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let behind = |key: &str| {
        let publish = |id: u64| json!({ "type": "publish", "id": id, "channel": CREATED, "key": "k", "data": id });
        let mut first = connect(key);
        first["id"] = json!(1);
        let mut session = unknown(&gateway);
        session
            .send_text(&json!([first, { "type": "subscribe", "id": 2, "channel": CREATED }, publish(3)]).to_string());
        session.send_text(&publish(4).to_string());
        session
    };
    let mut refused = behind("acme-kez");
    assert_eq!(refused.refused(1)["code"], "credentials_invalid");
    assert_eq!(refused.closed(), closed(4401, "the key is not known"));
    let mut session = behind("acme-key");
    session.receive("connected", |frame| frame["id"] == 1);
    session.receive("subscribed", |frame| frame["id"] == 2);
    let events: Vec<_> = session.events(2).iter().map(|event| [event["pos"].clone(), event["data"].clone()]).collect();
    assert_eq!(events, [[json!("0:0"), json!(3)], [json!("0:1"), json!(4)]], "of the other nothing was published");
}

#[test]
fn whoever_says_nothing_for_ten_seconds_is_let_go() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let mut silent = unknown_raw(&gateway);
    gateway.advance(9 * SECOND);
    // Signs of life are no credentials.
    silent.send(PING, b"there?");
    assert_eq!(silent.frame().opcode(), PONG);
    silent.say(&json!({ "type": "ping", "id": 1 }));
    assert_eq!(silent.json()["type"], "pong");
    gateway.advance(SECOND);
    assert_eq!(silent.closed(), (4408, "no `connect` came in time".to_owned()));
    gateway.advance(2 * SECOND);
    assert_eq!(silent.0.read_to_end(), "");

    let gateway = stage.setup("sessions: { first_frame_credentials: allowed, connect_timeout: 3s }").start();
    let mut session = unknown(&gateway);
    gateway.advance(3 * SECOND);
    assert_eq!(session.closed(), closed(4408, "no `connect` came in time"));
    session.gone();
    let line = gateway.log(1).remove(0);
    assert_eq!([&line["operation"], &line["outcome"]], [&json!("session"), &json!("completed")], "{line}");
}

#[test]
fn whoever_is_not_known_may_send_one_frames_worth_and_no_more() {
    const FRAME: usize = 1_000;
    let stage = Stage::mock(1);
    let of_api = "sessions: { first_frame_credentials: allowed, max_frame: 1000B }";
    let gateway = stage.setup(of_api).start();
    let mut patient = unknown(&gateway);
    // In whatever pieces it comes: texts that are refused, pings that are answered, one after the other or all at once.
    for (opcode, piece) in [(super::stage::TEXT, r#"{"type":"pong"}"#), (PING, "")] {
        let mut flooding = unknown_raw(&gateway);
        let frames = super::stage::masked(0x80 | opcode, piece.as_bytes()).repeat(FRAME);
        flooding.0.send(frames);
        let mut answered = 0;
        let last = loop {
            let frame = flooding.frame();
            if frame.opcode() == super::stage::CLOSE {
                break frame;
            }
            answered += 1;
        };
        assert_eq!(last.payload, [&4401_u16.to_be_bytes()[..], b"too much came before `connect`"].concat());
        assert!(answered <= (FRAME + 14) / 6, "{answered}");
    }
    // A first frame of the full size is none too much, and neither is what comes behind it.
    let mut session = unknown(&gateway);
    let mut first = json!({ "type": "connect", "id": 1, "key": "acme-key", "client": "" });
    first["client"] = "x".repeat(FRAME - first.to_string().len()).into();
    assert_eq!(first.to_string().len(), FRAME);
    session.send_text(&first.to_string());
    session.send_text(
        &json!({ "type": "publish", "id": 2, "channel": CREATED, "data": "x".repeat(FRAME - 100) }).to_string(),
    );
    session.receive("connected", |_| true);
    session.receive("published", |frame| frame["id"] == 2);
    patient.send(connect("acme-key"));
    patient.receive("connected", |_| true);
}

#[test]
fn a_key_with_the_upgrade_works_as_ever_and_a_wrong_one_is_refused_there() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let mut session = super::stage::session(&gateway);
    session.subscribe(CREATED);
    let challenge = Some(r#"ApiKey realm="keys", header="x-api-key""#.to_owned());
    let refused = |keys: &[(&str, &str)]| {
        let opened = Session::try_open(gateway.address(), PATH, Some(NATIVE), keys);
        opened.err().unwrap_or_else(|| panic!("a session was opened"))
    };
    let wrong = refused(&[("x-api-key", "acme-kez")]);
    assert_eq!(wrong.assert_problem(401, "credentials_invalid"), json!({ "detail": "the key is not known" }));
    assert_eq!(wrong.header("www-authenticate"), challenge);
    refused(&[("x-api-key", "acme-key"), ("x-api-key", "acme-key")]).assert_problem(401, "credentials_missing");
    refused(&[("x-api-key", "other-key")]).assert_problem(403, "not_subscribed");
}

#[test]
fn nothing_but_the_upgrade_passes_without_a_key() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let told = json!({ "detail": "a key is needed; send it in the header `x-api-key`" });
    for (method, path) in [
        ("GET", PATH),
        ("POST", PATH),
        ("GET", "/order-events/v2/orders.created"),
        ("POST", "/order-events/v2/orders.created"),
        ("DELETE", "/order-events/v2/orders.nope"),
    ] {
        let answer = gateway.call(method, path).send();
        assert_eq!(answer.assert_problem(401, "credentials_missing"), told, "{method} {path}");
    }
    // An upgrade elsewhere, and another one than to WebSocket.
    for head in [
        upgrade("").replace(PATH, "/order-events/v2/orders.created"),
        upgrade("").replace("GET", "POST"),
        upgrade("").replace("upgrade: websocket", "upgrade: h2c"),
    ] {
        let mut client = RawClient::connect(gateway.address());
        client.send(&head);
        let (answer, _) = client.read_answer();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{head}{answer}");
    }
    assert_eq!(post(&gateway, CREATED, "k", "1").assert_status(201).json()["offset"], 0);
}

#[test]
fn where_it_is_not_allowed_an_upgrade_without_a_key_is_refused() {
    let stage = Stage::mock(1);
    let told = json!({ "detail": "a key is needed; send it in the header `x-api-key`" });
    for of_api in ["", "sessions: { first_frame_credentials: refused }"] {
        let gateway = stage.setup(of_api).start();
        let Err(answer) = Session::try_open(gateway.address(), PATH, Some(NATIVE), &[]) else {
            panic!("a session was opened")
        };
        assert_eq!(answer.assert_problem(401, "credentials_missing"), told);
    }
}

#[test]
fn a_session_whose_client_is_known_takes_no_other_credentials() {
    let stage = Stage::mock(1);
    let gateway = allowing(&stage).start();
    let by_upgrade = super::stage::session(&gateway);
    let mut by_first_frame = unknown(&gateway);
    by_first_frame.send(connect("acme-key"));
    by_first_frame.receive("connected", |_| true);
    for mut session in [by_upgrade, by_first_frame] {
        let told = "this session needs no credentials any more; others in their place are not served yet";
        for key in ["acme-key", "other-key"] {
            let id = session.send(connect(key));
            assert_eq!(session.refused(id), error(id, "unsupported", told));
        }
        let id = session.send(json!({ "type": "refresh", "token": "acme-key" }));
        assert_eq!(session.refused(id), error(id, "unsupported", "`refresh` is not served yet"));
        // Without any it is a question, and answered.
        let id = session.send(json!({ "type": "connect" }));
        session.receive("connected", |frame| frame["id"] == id);
        session.publish(CREATED, "k", &json!(1));
    }
}

#[test]
fn the_session_ends_with_the_key_and_a_key_that_is_taken_out_is_refused_at_the_next_command() {
    let stage = Stage::mock(1);
    let gateway = stage.setup("sessions: { first_frame_credentials: allowed, heartbeat: 1h }").start();
    let sound = gateway.configuration();
    let soon = sound.replace(ACME_KEY, &format!("{ACME_KEY}, expires: \"2026-01-02T03:14:05Z\""));
    gateway.reload(&soon).expect("the configuration is sound");
    let mut session = unknown(&gateway);
    gateway.advance(5 * SECOND);
    session.send(connect("acme-key"));
    session.receive("connected", |_| true);
    gateway.advance(594 * SECOND);
    session.subscribe(CREATED);
    gateway.advance(SECOND);
    assert_eq!(session.closed(), closed(4401, "the credentials have expired"));

    gateway.reload(&sound).expect("the configuration is sound");
    let mut session = unknown(&gateway);
    session.send(connect("acme-key"));
    session.receive("connected", |_| true);
    gateway.reload(&sound.replace(ACME_KEY, &"0".repeat(64))).expect("the configuration is sound");
    let told = "the credentials of this session were revoked";
    for command in [
        json!({ "type": "subscribe", "channel": CANCELLED }),
        json!({ "type": "publish", "channel": WANTED, "data": 1 }),
    ] {
        let id = session.send(command);
        assert_eq!(session.refused(id), error(id, "credentials_invalid", told));
    }
}

#[test]
fn the_upgrade_draws_on_its_address_and_the_first_frame_on_its_consumer() {
    let stage = Stage::mock(1);
    let of_api = "rate_limit: { per: consumer, limit: 2, every: 30s }, sessions: { first_frame_credentials: allowed }";
    let gateway = stage.setup(of_api).start();
    let mut first = unknown(&gateway);
    first.send(connect("acme-key"));
    first.receive("connected", |_| true);
    let mut second = unknown(&gateway);
    post(&gateway, CREATED, "k", "1").assert_status(201);
    let told = "2 requests per 30s reached for consumer `acme`; retry in 15s";
    let id = second.send(connect("acme-key"));
    let expected = json!({
        "type": "error", "id": id, "code": "rate_limited", "message": told, "temporary": true, "retry_after_ms": 15_000,
    });
    assert_eq!(second.refused(id), expected);
    assert_eq!(second.closed(), closed(4529, told));
    let Err(third) = Session::try_open(gateway.address(), PATH, Some(NATIVE), &[]) else {
        panic!("a session was opened")
    };
    let told = "2 requests per 30s reached for this address; retry in 15s";
    assert_eq!(third.assert_problem(429, "rate_limited"), json!({ "detail": told, "limit": 2 }));
}
