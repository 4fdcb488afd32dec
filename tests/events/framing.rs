//! Clients that send what is malformed, too large or too much: a clear answer, bounded memory, and a gateway that goes on.

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{CLOSE, CREATED, PATH, PING, PONG, RawSession, Stage, TEXT, masked, post, session};
use crate::kit::TestGateway;
use crate::kit::session::Session;

#[test]
fn a_frame_that_is_not_understood_is_answered_with_its_trouble_and_the_session_goes_on() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = RawSession::open(&gateway);
    let known = "connect, subscribe, unsubscribe, publish, ping, pong";
    let deep = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
    for (frame, id, code, message) in [
        (r"hello", None, "bad_frame", "the frame is not JSON: expected value at line 1 column 1"),
        (
            r#"{"type":"ping""#,
            None,
            "bad_frame",
            "the frame is not JSON: EOF while parsing an object at line 1 column 14",
        ),
        (r#"{"type":"dance","id":1}"#, Some(1), "bad_frame", &format!("unknown `type`; it is one of {known}")),
        (r#"{"id":2}"#, Some(2), "bad_frame", "`type` is missing"),
        (
            r#"{"type":"publish","id":3,"channel":"orders.created"}"#,
            Some(3),
            "bad_frame",
            "`data` or `data_base64` is missing",
        ),
        (r#"{"type":"ack","id":4,"ch":1,"pos":["0:1"]}"#, Some(4), "unsupported", "`ack` is not served yet"),
        (r#"{"type":"unsubscribe","id":5,"ch":9}"#, Some(5), "unknown_subscription", "there is no subscription 9"),
        ("[]", None, "bad_frame", "an array of commands holds at least one"),
    ] {
        session.send(TEXT, frame.as_bytes());
        let mut expected = json!({ "type": "error", "code": code, "message": message, "temporary": false });
        if let Some(id) = id {
            expected["id"] = json!(id);
        }
        assert_eq!(session.json(), expected, "{frame}");
    }
    for bomb in [deep.as_str(), &format!("[{}]", vec![r#"{"type":"ping"}"#; 129].join(","))] {
        session.send(TEXT, bomb.as_bytes());
        let answer = session.json();
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("bad_frame")), "{answer}");
    }
    session.is_there(6);
    // Deep within `data` it is nobody's business but the consumers'.
    let command = format!(r#"{{"type":"publish","id":7,"channel":"{CREATED}","data":{deep}}}"#);
    session.subscribe(CREATED);
    session.send(TEXT, command.as_bytes());
    let frames =
        [session.frame(), session.frame()].map(|frame| String::from_utf8(frame.payload).expect("frames are text"));
    assert!(frames.iter().any(|frame| frame.starts_with(r#"{"type":"published","id":7"#)), "{frames:?}");
    assert!(frames.iter().any(|frame| frame.contains(&deep)), "{frames:?}");
    session.is_there(8);
}

#[test]
fn what_breaks_the_framing_closes_the_session_with_its_code_and_no_other() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut bystander = session(&gateway);
    bystander.subscribe(CREATED);
    let announced = |first: u8, length: u64| {
        let mut header = vec![first, 0xff];
        header.extend(length.to_be_bytes());
        // The mask; of what it masks not a byte is needed.
        header.extend([0; 4]);
        header
    };
    let too_large = "the message is larger than this endpoint takes";
    for (what, bytes, code, reason) in [
        ("text that is not UTF-8", masked(0x81, b"\"\xc3\x28\""), 1007, "text is not valid UTF-8"),
        ("bytes", masked(0x82, b"{}"), 1003, "frames are text"),
        ("a frame that is not masked", b"\x81\x02{}".to_vec(), 1002, "a client's frame is not masked"),
        ("a frame larger than the bound", announced(0x81, 65_537), 1009, too_large),
        ("a frame of all there is", announced(0x81, u64::MAX >> 1), 1009, too_large),
        (
            "a message larger in its parts",
            [masked(0x01, &[b' '; 40_000]), masked(0x80, &[b' '; 40_000])].concat(),
            1009,
            too_large,
        ),
    ] {
        assert_eq!(closed_after(&gateway, &bytes), (code, reason.to_owned()), "{what}");
    }
    for (what, bytes) in [
        ("a reserved bit", masked(0xc1, b"{}")),
        ("an opcode without a meaning", masked(0x83, b"{}")),
        ("a ping in parts", masked(0x09, b"?")),
        ("a ping that is too long", masked(0x89, &[b'?'; 126])),
        ("a part without a beginning", masked(0x80, b"{}")),
        ("a beginning within a message", [masked(0x01, b"{"), masked(0x81, b"}")].concat()),
        ("a close of one byte", masked(0x88, b"\x03")),
        ("a close with a code that is none", masked(0x88, &999_u16.to_be_bytes())),
    ] {
        assert_eq!(closed_after(&gateway, &bytes).0, 1002, "{what}");
    }
    post(&gateway, CREATED, "k", "1").assert_status(201);
    assert_eq!(bystander.event(|_| true)["pos"], "0:0");
}

/// What the session is closed with after these bytes. The connection ends with the client's own close.
fn closed_after(gateway: &TestGateway, bytes: &[u8]) -> (u16, String) {
    let mut session = RawSession::open(gateway);
    session.0.send(bytes);
    let closed = session.closed();
    session.0.try_send(masked(0x80 | CLOSE, &closed.0.to_be_bytes()));
    assert_eq!(session.0.read_to_end(), "");
    closed
}

#[test]
fn a_message_as_large_as_the_bound_is_taken_whole_and_in_parts() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = RawSession::open(&gateway);
    let ping = |id: u64| {
        let command = json!({ "type": "ping", "id": id }).to_string();
        " ".repeat(65_536 - command.len()) + &command
    };
    session.send(TEXT, ping(1).as_bytes());
    assert_eq!(session.json(), json!({ "type": "pong", "id": 1 }));
    let (ping, parts) = (ping(2), 4);
    for (at, part) in ping.as_bytes().chunks(65_536 / parts).enumerate() {
        let first = if at == 0 { TEXT } else { 0 };
        let last = if at + 1 == parts { 0x80 } else { 0 };
        session.0.send(masked(last | first, part));
        // What is said between the parts is answered at once.
        session.send(PING, b"between");
        if last == 0 {
            assert_eq!(session.frame().payload, b"between");
        }
    }
    assert_eq!(session.json(), json!({ "type": "pong", "id": 2 }));
    let pong = session.frame();
    assert_eq!((pong.opcode(), pong.payload.as_slice()), (PONG, &b"between"[..]));
}

#[test]
fn the_bound_of_a_message_is_as_the_configuration_says_and_the_client_is_told() {
    let stage = Stage::mock(1);
    let gateway = stage.setup("sessions: { max_frame: 1KiB, max_subscriptions: 7 }").start();
    let mut session = Session::open(gateway.address(), PATH, &[("x-api-key", "acme-key")]);
    assert_eq!(session.receive("connected", |_| true)["limits"], json!({ "max_frame": 1_024, "max_subs": 7 }));
    session.send_text(&" ".repeat(1_025));
    assert_eq!(session.closed().code, 1009);
}

#[test]
fn bytes_that_come_one_by_one_are_a_frame_like_any_other() {
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = RawSession::open(&gateway);
    for byte in masked(0x80 | TEXT, br#"{"type":"ping","id":1}"#) {
        session.0.send([byte]);
    }
    assert_eq!(session.json(), json!({ "type": "pong", "id": 1 }));
}

#[test]
fn a_flood_of_pings_from_a_client_that_reads_no_answer_is_bounded_and_harms_nobody() {
    const PAYLOAD: usize = 125;
    let stage = Stage::mock(1);
    let gateway = stage.setup("sessions: { heartbeat: 1h }").start();
    let mut bystander = session(&gateway);
    bystander.subscribe(CREATED);
    let mut flooding = RawSession::open_narrow(&gateway);
    let ping = masked(0x80 | PING, &[b'?'; PAYLOAD]);
    let flood = ping.repeat(400_000);
    let taken = flooding.0.send_until_blocked(&flood);
    assert!(taken < flood.len(), "{taken} bytes of pings were taken without an end");
    gateway.advance(Duration::from_secs(1));
    gateway.wait_for_actor("a session with a bounded buffer", |actor| {
        sessions(actor).any(|session| {
            let waiting = session["outgoing_bytes"].as_u64().unwrap();
            // The bound, and what one read may add to it.
            assert!(waiting <= 256 * 1024 + 16 * 1024, "{session}");
            waiting >= 128 * 1024
        })
    });
    post(&gateway, CREATED, "k", "1").assert_status(201);
    assert_eq!(bystander.event(|_| true)["pos"], "0:0");
    // Each ping that was taken whole is answered once the client reads.
    for _ in 0..taken / ping.len() {
        let pong = flooding.frame();
        assert_eq!((pong.opcode(), pong.payload.len()), (PONG, PAYLOAD));
    }
    let rest = ping.len() - taken % ping.len();
    if rest < ping.len() {
        flooding.0.send(&ping[ping.len() - rest..]);
        assert_eq!(flooding.frame().opcode(), PONG);
    }
    flooding.is_there(1);
}

#[test]
fn a_flood_of_commands_waits_for_those_before_it_and_all_are_answered() {
    const COUNT: u64 = 2_000;
    let stage = Stage::mock(1);
    let gateway = stage.gateway();
    let mut session = RawSession::open(&gateway);
    let publish =
        |id: u64| json!({ "type": "publish", "id": id, "channel": CREATED, "key": "k", "data": id }).to_string();
    let flood: Vec<u8> = (0..COUNT).flat_map(|id| masked(0x80 | TEXT, publish(id).as_bytes())).collect();
    session.0.send(flood);
    let answers: Vec<_> = (0..COUNT).map(|_| session.json()).collect();
    // One key: each waits for the one before it.
    let expected: Vec<_> = (0..COUNT).map(|id| (json!("published"), json!(id), json!(id))).collect();
    let told = |answer: &Value| (answer["type"].clone(), answer["id"].clone(), answer["offset"].clone());
    assert_eq!(answers.iter().map(told).collect::<Vec<_>>(), expected);
}

/// The sessions that an actor knows of, if it is a shard.
pub fn sessions(actor: &Value) -> impl Iterator<Item = &Value> {
    actor["state"]["sessions"]["first"].as_array().into_iter().flatten()
}
