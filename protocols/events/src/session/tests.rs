use std::time::Duration;

use portolan_exchange::events::{Bounds, Received};
use portolan_websocket::frame::{Opcode, masked};
use serde_json::{Value, json};

use super::*;
use crate::contract::sample;

/// A session with a client at its other end, on a clock that the test moves.
pub(super) struct Client {
    pub(super) machine: Machine,
    pub(super) now: Moment,
    reader: Decoder,
}

impl Client {
    pub(super) fn new(settings: Settings, standing: Standing) -> Self {
        let now = Moment::default().after(Duration::from_secs(3600));
        let machine = Machine::new("5e55", sample(), settings, standing, now);
        let limits = portolan_websocket::Limits { max_frame: 1 << 24, max_message: 1 << 24 };
        Self { machine, now, reader: Decoder::new(Role::Client, limits) }
    }

    fn connected() -> Self {
        let mut client = Self::new(Settings::default(), Standing::Identified);
        assert_eq!(client.heard()[0]["type"], "connected");
        client
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.machine.tick(self.now);
    }

    fn send_frame(&mut self, frame: &[u8]) -> usize {
        let mut input = frame;
        self.machine.receive(&mut input, self.now);
        input.len()
    }

    pub(super) fn say(&mut self, frame: &Value) -> Vec<Task> {
        self.send_frame(&masked(Opcode::Text, frame.to_string().as_bytes(), [1, 2, 3, 4]));
        self.tasks()
    }

    fn tasks(&mut self) -> Vec<Task> {
        std::iter::from_fn(|| self.machine.next_task()).collect()
    }

    /// Takes up to `count` bytes of what waits and gives the frames that are whole: JSON, or what a control frame is.
    pub(super) fn take(&mut self, count: usize) -> Vec<Value> {
        let bytes = self.machine.outgoing()[..count.min(self.machine.outgoing().len())].to_vec();
        self.machine.sent(bytes.len(), self.now);
        self.read(&bytes)
    }

    fn read(&mut self, mut input: &[u8]) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(message) = self.reader.decode(&mut input).expect("the session sends well-formed frames") {
            all.push(match message {
                Message::Text(text) => serde_json::from_slice(&text).expect("the session sends JSON"),
                Message::Ping(_) => json!("ping"),
                Message::Pong(payload) => json!({ "pong": String::from_utf8_lossy(&payload) }),
                Message::Close(close) => json!({ "close": close.code.map(|code| code.0), "reason": close.reason() }),
                Message::Binary(_) => panic!("the session sends text"),
            });
        }
        all
    }

    /// What the shard does: gives the socket what is ready in the log, past the buffer where nothing waits in it. Of each burst the socket
    /// takes up to `room` bytes. Gives the frames that became whole.
    pub(super) fn pass(&mut self, log: &Arc<EventLog>, bursts: &Bursts, room: usize) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            match self.machine.ready(log, bursts) {
                Ready::Nothing => return all,
                Ready::Aside => {
                    self.machine.fill();
                    return all;
                }
                Ready::Burst(burst) => {
                    let count = burst.frames().len().min(room);
                    self.machine.passed(&burst, count, self.now);
                    all.extend(self.read(&burst.frames()[..count]));
                }
            }
        }
    }

    fn heard(&mut self) -> Vec<Value> {
        self.take(usize::MAX)
    }

    pub(super) fn subscribe(&mut self, word: &str, log: &Arc<EventLog>) -> u32 {
        let tasks = self.say(&json!({ "type": "subscribe", "id": 7, "channel": word }));
        let [Task::Subscribe { number, channel }] = tasks.as_slice() else { panic!("{tasks:?}") };
        self.machine.subscribed(*number, channel, log.clone(), log.live());
        let heard = self.heard();
        assert_eq!((&heard[0]["type"], &heard[0]["channel"]), (&json!("subscribed"), &json!(word)), "{heard:?}");
        u32::try_from(heard[0]["ch"].as_u64().unwrap()).unwrap()
    }
}

pub(super) fn record(partition: i32, offset: i64, value: String) -> Received {
    Received {
        partition,
        offset,
        timestamp: std::time::SystemTime::UNIX_EPOCH,
        key: Some("k".into()),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

fn log() -> Arc<EventLog> {
    EventLog::new("topic.a", Bounds::default())
}

fn error(id: i64, code: &str, message: &str) -> Vec<Value> {
    vec![json!({ "type": "error", "id": id, "code": code, "message": message, "temporary": false })]
}

#[test]
fn an_identified_client_is_welcomed_and_told_the_bounds() {
    let mut client = Client::new(Settings::default(), Standing::Identified);
    let welcome = json!({
        "type": "connected", "session": "5e55", "ping_interval_ms": 25_000, "pong_timeout_ms": 8_000,
        "limits": { "max_frame": 65_536, "max_subs": 128 },
    });
    assert_eq!(client.heard(), [welcome]);
    assert_eq!(client.say(&json!({ "type": "connect", "id": 1 })), []);
    assert_eq!(client.heard()[0]["id"], 1);
}

#[test]
fn a_subscription_delivers_events_with_the_name_of_their_message() {
    let (mut client, log) = (Client::connected(), log());
    assert_eq!(client.subscribe("a", &log), 1);
    log.append(vec![record(0, 5, r#"{"id":"x"}"#.into()), record(1, 9, "no json".into())]);
    client.machine.fill();
    let event = |pos: &str, key: &str, value: Value| json!({ "type": "message", "ch": 1, "events": [{ "name": "made", "pos": pos, "ts": 0, "key": "k", key: value }] });
    assert_eq!(
        client.heard(),
        [event("0:5", "data", json!({ "id": "x" })), event("1:9", "data_base64", json!("bm8ganNvbg=="))]
    );
    assert_eq!(
        client.machine.state()["subscriptions"][0],
        json!({ "ch": 1, "channel": "a", "lag": 0, "delivered": 2 })
    );
}

#[test]
fn the_frames_of_a_channel_are_the_same_bytes_in_every_session() {
    let (mut one, mut other, log) = (Client::connected(), Client::connected(), log());
    other.subscribe("b", &EventLog::new("topic.b", Bounds::default()));
    one.subscribe("a", &log);
    other.subscribe("a", &log);
    log.append(vec![record(0, 5, "1".into()), record(0, 6, "2".into())]);
    one.machine.fill();
    other.machine.fill();
    assert!(!one.machine.outgoing().is_empty());
    assert_eq!(one.machine.outgoing(), other.machine.outgoing());
}

#[test]
fn a_burst_is_made_once_and_sent_at_once_to_all_who_stand_at_its_beginning() {
    let (log, bursts) = (log(), Bursts::default());
    let mut clients: Vec<_> = (0..3).map(|_| Client::connected()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.subscribe("a", &log), 1));
    log.append((0..5).map(|offset| record(0, offset, "1".into())).collect());
    let burst_of = |client: &mut Client| match client.machine.ready(&log, &bursts) {
        Ready::Burst(burst) => burst,
        other => panic!("{other:?}"),
    };
    let first = burst_of(&mut clients[0]);
    let second = burst_of(&mut clients[1]);
    assert!(std::rc::Rc::ptr_eq(&first, &second));
    // Written frame by frame into a buffer it would be the same bytes.
    clients[2].machine.fill();
    assert_eq!(clients[2].machine.outgoing(), first.frames());
    assert_eq!(clients[0].read(first.frames()).len(), 5);
    // Who stood there later gets what came meanwhile as well.
    let mut late = Client::connected();
    let tasks = late.say(&json!({ "type": "subscribe", "channel": "a" }));
    let [Task::Subscribe { number, channel }] = tasks.as_slice() else { panic!("{tasks:?}") };
    late.machine.subscribed(*number, channel, log.clone(), log.live());
    late.heard();
    log.append(vec![record(0, 5, "1".into())]);
    let now = clients[0].now;
    clients[0].machine.passed(&first, first.frames().len(), now);
    let (one, other) = (burst_of(&mut clients[0]), burst_of(&mut late));
    assert!(std::rc::Rc::ptr_eq(&one, &other));
    let state = clients[0].machine.state()["subscriptions"][0].clone();
    assert_eq!(state, json!({ "ch": 1, "channel": "a", "lag": 0, "delivered": 6 }));
}

#[test]
fn a_burst_that_ended_where_the_log_did_is_made_anew_when_that_grew() {
    let (mut one, mut other, log, bursts) = (Client::connected(), Client::connected(), log(), Bursts::default());
    one.subscribe("a", &log);
    other.subscribe("a", &log);
    log.append(vec![record(0, 0, "1".into())]);
    assert_eq!(one.pass(&log, &bursts, usize::MAX).len(), 1);
    log.append(vec![record(0, 1, "1".into())]);
    assert_eq!(other.pass(&log, &bursts, usize::MAX).len(), 2);
    assert_eq!(one.pass(&log, &bursts, usize::MAX).len(), 1);
}

#[test]
fn channels_that_call_an_events_name_otherwise_share_no_burst() {
    let (mut one, mut other, log, bursts) = (Client::connected(), Client::connected(), log(), Bursts::default());
    one.subscribe("a", &log);
    other.subscribe("b", &log);
    log.append(vec![record(0, 0, "1".into())]);
    let event = |ch: u32, named: Value| {
        let mut event = json!({ "pos": "0:0", "ts": 0, "key": "k", "data": 1 });
        if !named.is_null() {
            event["name"] = named;
        }
        vec![json!({ "type": "message", "ch": ch, "events": [event] })]
    };
    assert_eq!(one.pass(&log, &bursts, usize::MAX), event(1, json!("made")));
    assert_eq!(other.pass(&log, &bursts, usize::MAX), event(2, Value::Null));
}

#[test]
fn what_a_socket_did_not_take_of_a_burst_goes_before_everything_later() {
    let (mut client, log, bursts) = (Client::connected(), log(), Bursts::default());
    client.subscribe("a", &log);
    log.append((0..3).map(|offset| record(0, offset, "1".into())).collect());
    // Cut in the middle of a frame.
    assert_eq!(client.pass(&log, &bursts, 100).len(), 1);
    assert!(!client.machine.outgoing().is_empty());
    log.append(vec![record(0, 3, "1".into())]);
    assert_eq!(client.pass(&log, &bursts, usize::MAX), [] as [Value; 0]);
    client.say(&json!({ "type": "ping", "id": 8 }));
    let heard = client.heard();
    let said: Vec<_> = heard.iter().map(|frame| frame["events"][0]["pos"].as_str().unwrap_or("pong")).collect();
    assert_eq!(said, ["0:1", "0:2", "0:3", "pong"]);
}

#[test]
fn a_session_that_closes_or_fails_is_sent_nothing_behind_it() {
    let (mut client, log, bursts) = (Client::connected(), log(), Bursts::default());
    client.subscribe("a", &log);
    log.append(vec![record(0, 0, "1".into())]);
    // Its code panicked while the socket was given a burst: nobody knows how much of it is out.
    assert!(matches!(client.machine.ready(&log, &bursts), Ready::Burst(_)));
    client.machine.fail(client.now);
    assert!(client.machine.is_over() && client.machine.outgoing().is_empty());
    let mut closing = Client::connected();
    closing.subscribe("a", &log);
    log.append(vec![record(0, 1, "1".into())]);
    closing.machine.close(CloseCode::AWAY, "bye", closing.now);
    assert!(matches!(closing.machine.ready(&log, &bursts), Ready::Nothing));
}

#[test]
fn an_unsubscribed_channel_is_silent_and_its_topic_is_left() {
    let (mut client, log) = (Client::connected(), log());
    let ch = client.subscribe("a", &log);
    client.say(&json!({ "type": "unsubscribe", "id": 2, "ch": ch }));
    log.append(vec![record(0, 1, "1".into())]);
    client.machine.fill();
    assert_eq!(client.heard(), [json!({ "type": "unsubscribed", "id": 2, "ch": ch })]);
    assert_eq!((client.machine.left().as_deref(), client.machine.left()), (Some("topic.a"), None));
    client.say(&json!({ "type": "unsubscribe", "id": 3, "ch": ch }));
    assert_eq!(client.heard(), error(3, "unknown_subscription", "there is no subscription 1"));
}

#[test]
fn a_command_that_cannot_be_done_is_refused_with_a_reason_and_the_session_goes_on() {
    let settings = Settings { max_subscriptions: 1, ..Settings::default() };
    let (mut client, log) = (Client::new(settings, Standing::Identified), log());
    client.heard();
    client.subscribe("a", &log);
    let mut answer = |frame: Value| {
        assert_eq!(client.say(&frame), []);
        client.heard()
    };
    let subscribe = |channel: &str| json!({ "type": "subscribe", "id": 9, "channel": channel });
    let publish = |channel: &str| json!({ "type": "publish", "id": 9, "channel": channel, "data": 1 });
    assert_eq!(answer(subscribe("none")), error(9, "unknown_channel", "there is no channel `none`"));
    assert_eq!(answer(publish("none")), error(9, "unknown_channel", "there is no channel `none`"));
    assert_eq!(answer(subscribe("in")), error(9, "forbidden", "clients may only publish to channel `in`"));
    assert_eq!(answer(publish("out")), error(9, "forbidden", "clients may only subscribe to channel `out`"));
    let told = "there is a subscription to this channel already";
    assert_eq!(answer(subscribe("a")), error(9, "already_subscribed", told));
    let told = "a session has at most 1 subscriptions; unsubscribe from one";
    assert_eq!(answer(subscribe("b")), error(9, "too_many_subscriptions", told));
    let told = "unknown `type`; it is one of connect, subscribe, unsubscribe, publish, ping, pong";
    assert_eq!(answer(json!({ "type": "dance", "id": 9 })), error(9, "bad_frame", told));
    assert_eq!(answer(json!({ "type": "ack", "id": 9 })), error(9, "unsupported", "`ack` is not served yet"));
    assert_eq!(answer(json!({ "type": "ping", "id": 9 })), [json!({ "type": "pong", "id": 9 })]);
}

#[test]
fn a_publish_becomes_a_task_and_its_place_the_answer() {
    let mut client = Client::connected();
    let tasks = client.say(&json!({ "type": "publish", "id": 4, "channel": "a", "key": "k", "data": { "n": 1 } }));
    let [Task::Publish { number, channel, publication }] = tasks.as_slice() else { panic!("{tasks:?}") };
    assert_eq!((&*channel.topic, &publication.value[..]), ("topic.a", &br#"{"n":1}"#[..]));
    let timestamp = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(3);
    client.machine.published(*number, Placed { partition: 2, offset: 8, timestamp });
    assert_eq!(client.heard(), [json!({ "type": "published", "id": 4, "partition": 2, "offset": 8, "ts": 3 })]);
    client.machine.published(*number, Placed { partition: 2, offset: 8, timestamp });
    assert_eq!(client.heard(), [] as [Value; 0]);
}

#[test]
fn a_fault_of_a_task_is_an_error_frame_of_its_command() {
    let mut client = Client::connected();
    let tasks = client.say(&json!({ "type": "subscribe", "id": 4, "channel": "a" }));
    let [Task::Subscribe { number, .. }] = tasks.as_slice() else { panic!("{tasks:?}") };
    let fault = Fault::new(FaultKind::NotSubscribed, "consumer `x` has no subscription to `events`");
    client.machine.refused(*number, &fault, client.now);
    assert_eq!(client.heard(), error(4, "not_subscribed", "consumer `x` has no subscription to `events`"));
    assert_eq!(client.say(&json!({ "type": "subscribe", "id": 5, "channel": "a" })).len(), 1);
}

#[test]
fn while_commands_wait_no_further_message_is_taken() {
    let mut client = Client::connected();
    let array = json!([{ "type": "subscribe", "channel": "a" }, { "type": "ping", "id": 1 }]);
    assert_eq!(client.say(&array).len(), 1);
    let ping = masked(Opcode::Text, br#"{"type":"ping","id":2}"#, [0; 4]);
    assert_eq!(client.send_frame(&ping), ping.len());
    assert!(!client.machine.wants_input());
    client.machine.refused(1, &Fault::new(FaultKind::Forbidden, "no"), client.now);
    assert_eq!(client.tasks(), []);
    assert_eq!(client.send_frame(&ping), 0);
    client.tasks();
    let heard = client.heard();
    assert_eq!(heard[1..], [json!({ "type": "pong", "id": 1 }), json!({ "type": "pong", "id": 2 })]);
}

#[test]
fn framing_breaches_end_the_session_with_their_code() {
    let closes = |frame: &[u8]| {
        let mut client = Client::connected();
        client.send_frame(frame);
        let heard = client.heard();
        client.send_frame(&masked(Opcode::Text, b"{}", [0; 4]));
        assert_eq!(client.heard(), [] as [Value; 0]);
        heard
    };
    let close = |code: u16, reason: &str| vec![json!({ "close": code, "reason": reason })];
    assert_eq!(closes(&masked(Opcode::Text, b"\"\xc3\x28\"", [0; 4])), close(1007, "text is not valid UTF-8"));
    assert_eq!(closes(&masked(Opcode::Binary, b"{}", [0; 4])), close(1003, "frames are text"));
    assert_eq!(closes(b"\x81\x02{}"), close(1002, "a client's frame is not masked"));
    let big = masked(Opcode::Text, &vec![b' '; 70_000], [0; 4]);
    assert_eq!(closes(&big), close(1009, "the message is larger than this endpoint takes"));
}

#[test]
fn text_that_is_not_json_is_a_bad_frame_and_the_session_goes_on() {
    let mut client = Client::connected();
    client.send_frame(&masked(Opcode::Text, b"hello", [0; 4]));
    let told = "the frame is not JSON: expected value at line 1 column 1";
    let answer = json!({ "type": "error", "code": "bad_frame", "message": told, "temporary": false });
    assert_eq!(client.heard(), [answer]);
    client.send_frame(&masked(Opcode::Ping, b"?", [0; 4]));
    assert_eq!(client.heard(), [json!({ "pong": "?" })]);
}

#[test]
fn a_close_is_answered_with_its_code_and_ends_the_session() {
    let mut client = Client::connected();
    client.send_frame(&masked(Opcode::Close, &frame::close_payload(CloseCode(3001), "done"), [0; 4]));
    assert!(!client.machine.is_over());
    assert_eq!(client.heard(), [json!({ "close": 3001, "reason": "" })]);
    assert!(client.machine.is_over());
}

#[test]
fn a_restart_says_goaway_waits_for_the_answer_and_no_longer_than_two_seconds() {
    let mut client = Client::connected();
    client.machine.close(CloseCode::RESTART, "the gateway restarts", client.now);
    let heard = client.heard();
    assert_eq!((&heard[0]["type"], &heard[0]["reason"]), (&json!("goaway"), &json!("the gateway restarts")));
    assert!(heard[0]["reconnect_after_ms"].as_u64().unwrap() < 5_000);
    assert_eq!(heard[1..], [json!({ "close": 1012, "reason": "the gateway restarts" })]);
    assert!(!client.machine.is_over());
    client.later(2);
    assert!(client.machine.is_over());
}

#[test]
fn a_silent_client_is_pinged_after_25_seconds_and_let_go_8_seconds_later() {
    let mut client = Client::connected();
    assert_eq!(client.machine.wake_at(), Some(client.now.after(Duration::from_secs(25))));
    client.later(24);
    assert_eq!(client.heard(), [] as [Value; 0]);
    client.later(1);
    assert_eq!(client.heard(), [json!({ "type": "ping" }), json!("ping")]);
    client.later(7);
    client.send_frame(&masked(Opcode::Pong, b"", [0; 4]));
    client.later(24);
    assert_eq!(client.heard(), [] as [Value; 0]);
    client.later(1);
    assert_eq!(client.heard().len(), 2);
    client.later(8);
    assert_eq!(client.heard(), [json!({ "close": 4509, "reason": "no sign of life; reconnect" })]);
}

#[test]
fn a_client_that_takes_nothing_for_30_seconds_is_dropped_and_never_pinged() {
    let (mut client, log) = (Client::connected(), log());
    client.subscribe("a", &log);
    log.append(vec![record(0, 1, "1".into())]);
    client.machine.fill();
    client.machine.blocked(client.now);
    client.later(29);
    assert!(!client.machine.is_over());
    client.take(1);
    client.machine.blocked(client.now);
    client.later(29);
    assert!(!client.machine.is_over());
    client.later(1);
    assert!(client.machine.is_over());
    assert_eq!(client.heard().len(), 1);
}

#[test]
fn silence_is_not_held_against_a_client_whose_command_still_runs() {
    let mut client = Client::connected();
    client.say(&json!([{ "type": "subscribe", "channel": "a" }, { "type": "ping" }]));
    client.later(60);
    assert_eq!((client.heard(), client.machine.wake_at()), (vec![], None));
}

#[test]
fn an_unidentified_client_may_only_connect_and_only_within_ten_seconds() {
    let mut client = Client::new(Settings::default(), Standing::Unidentified);
    assert_eq!(client.heard(), [] as [Value; 0]);
    assert_eq!(client.say(&json!({ "type": "subscribe", "id": 1, "channel": "a" })), []);
    assert_eq!(client.heard(), error(1, "not_connected", "the first frame is `connect`, with a `key` or a `token`"));
    client.later(10);
    assert_eq!(client.heard(), [json!({ "close": 4408, "reason": "no `connect` came in time" })]);
}

#[test]
fn a_token_in_the_first_frame_identifies_or_ends_the_session() {
    let mut good = Client::new(Settings::default(), Standing::Unidentified);
    assert_eq!(
        good.say(&json!({ "type": "connect", "id": 1, "token": "t" })),
        [Task::Connect { number: 1, credential: Some(Credential::new("t")) }]
    );
    good.machine.identified(1);
    assert_eq!(good.heard()[0]["type"], "connected");
    good.later(11);
    assert_eq!(good.heard(), [] as [Value; 0]);

    let mut bad = Client::new(Settings::default(), Standing::Unidentified);
    bad.say(&json!({ "type": "connect", "id": 1, "token": "t" }));
    bad.machine.refused(1, &Fault::new(FaultKind::CredentialsInvalid, "the token is not known"), bad.now);
    let heard = bad.heard();
    assert_eq!(heard[0], error(1, "credentials_invalid", "the token is not known")[0]);
    assert_eq!(heard[1], json!({ "close": 4401, "reason": "the token is not known" }));
}

#[test]
fn a_first_frame_that_is_looked_at_has_no_time_of_its_own_and_holds_back_what_comes_behind_it() {
    let mut client = Client::new(Settings::default(), Standing::Unidentified);
    client.later(9);
    let tasks = client.say(&json!([{ "type": "connect", "id": 1 }, { "type": "subscribe", "id": 2, "channel": "a" }]));
    assert_eq!(tasks, [Task::Connect { number: 1, credential: None }]);
    assert_eq!(client.machine.state()["standing"], "connecting");
    client.later(20);
    assert_eq!(client.heard(), [] as [Value; 0], "no time-out, and no word of the subscription");
    client.machine.identified(1);
    assert!(matches!(client.tasks().as_slice(), [Task::Subscribe { .. }]));
    assert_eq!(client.heard()[0]["type"], "connected");
}

#[test]
fn what_waits_behind_a_first_frame_is_forgotten_when_it_is_refused() {
    let mut client = Client::new(Settings::default(), Standing::Unidentified);
    client.say(&json!([{ "type": "connect", "id": 1, "key": "k" }, { "type": "subscribe", "id": 2, "channel": "a" }]));
    client.machine.refused(1, &Fault::new(FaultKind::NotSubscribed, "not you"), client.now);
    assert_eq!(client.tasks(), []);
    let heard = client.heard();
    assert_eq!(heard[0], error(1, "not_subscribed", "not you")[0]);
    assert_eq!(heard[1..], [json!({ "close": 4403, "reason": "not you" })]);
}

#[test]
fn an_unidentified_client_may_send_one_message_of_the_largest_size_in_all() {
    let settings = || Settings { max_frame: 1_000, ..Settings::default() };
    let close = [json!({ "close": 4401, "reason": "too much came before `connect`" })];
    let mut pinging = Client::new(settings(), Standing::Unidentified);
    let ping = masked(Opcode::Ping, b"", [1, 2, 3, 4]);
    let allowed = (1_000 + HEADER_MAX) / ping.len();
    for _ in 0..allowed {
        pinging.send_frame(&ping);
        assert_eq!(pinging.heard().len(), 1);
    }
    pinging.send_frame(&ping);
    assert_eq!(pinging.heard(), close);

    // A message that never ends is cut off as well.
    let mut dripping = Client::new(settings(), Standing::Unidentified);
    let mut first = masked(Opcode::Text, &[b'x'; 600], [1, 2, 3, 4]).to_vec();
    first[0] = 0x01;
    dripping.send_frame(&first);
    assert_eq!(dripping.heard(), [] as [Value; 0]);
    dripping.send_frame(&masked(Opcode::Pong, &[b'x'; 125], [1, 2, 3, 4]).repeat(4));
    assert_eq!(dripping.heard(), close);

    let mut known = Client::new(settings(), Standing::Identified);
    known.heard();
    for _ in 0..10 * allowed {
        known.send_frame(&ping);
        assert_eq!(known.heard().len(), 1);
    }
}

#[test]
fn a_failed_session_says_so_where_it_can_and_gives_nothing_more() {
    let mut client = Client::connected();
    client.machine.fail(client.now);
    assert_eq!(client.heard(), [json!({ "close": 1011, "reason": "the session failed; reconnect" })]);
    let mut busy = Client::new(Settings::default(), Standing::Identified);
    busy.machine.fail(busy.now);
    assert!(busy.machine.is_over());
}

#[test]
fn an_idle_session_holds_no_buffer() {
    let (mut client, log) = (Client::connected(), log());
    client.subscribe("a", &log);
    log.append((0..100).map(|offset| record(0, offset, format!("\"{}\"", "x".repeat(500)))).collect());
    client.machine.fill();
    assert_eq!(client.heard().len(), 100);
    assert_eq!((client.machine.out.capacity(), client.machine.decoder.held()), (0, 0));
}
