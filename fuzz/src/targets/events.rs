//! Events: the frames of the native sub-protocol, a whole session, and the documents that name the channels.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use portolan_config::tree;
use portolan_events::Contract;
use portolan_events::Settings;
use portolan_events::frames::command::{self, COMMANDS_MAX};
use portolan_events::frames::{Deed, Publication, Refused, event};
use portolan_events::session::{Machine, OUT_MAX, OUT_TARGET, Standing, Task};
use portolan_exchange::events::{Bounds, EventLog, Placed, Received};
use portolan_exchange::{Fault, FaultKind, Moment};
use portolan_websocket::frame::{Opcode, masked};
use portolan_websocket::{Code, Decoder, Limits, Message, Role};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::signature::Signature;
use crate::target::{Memory, Target};

use super::{config, linear};

const WORDS: &[&str] = &[
    "\"type\":",
    "\"id\":",
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "ping",
    "pong",
    "ack",
    "channel",
    "orders",
    "\"data\":",
    "data_base64",
    "key_base64",
    "headers_base64",
    "\"ch\":1",
    "portolan.",
    "null",
    "[{\"type\":\"ping\"},",
];

pub(super) const COMMANDS: Target = Target {
    name: "events-commands",
    about: "frames of a client: a bounded number of commands, data exactly as it was sent, refusals of a line",
    run: |input| commands(&String::from_utf8_lossy(input)),
    words: WORDS,
    seeds: &[],
    longest: 64 * 1024,
    memory: linear(400),
};

fn commands(text: &str) -> Signature {
    let all = command::read(text);
    assert!((1..=COMMANDS_MAX).contains(&all.len()), "{} commands in one frame", all.len());
    let mut signature = Signature::of("frame").size("commands", all.len());
    // Of a long array the first commands say how it is taken; all combinations would fill the memory.
    const TOLD: usize = 4;
    for (at, one) in all.into_iter().enumerate() {
        let told = match &one {
            Ok(command) => {
                let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
                assert!(is_json, "a command was read from what is no JSON");
                check_deed(&command.deed, text);
                kind(&command.deed)
            }
            Err(refused) => {
                check_refused(refused);
                &refused.message
            }
        };
        if at < TOLD {
            signature = signature.told(told);
        }
    }
    signature
}

fn kind(deed: &Deed) -> &'static str {
    match deed {
        Deed::Connect { .. } => "connect",
        Deed::Subscribe { .. } => "subscribe",
        Deed::Unsubscribe { .. } => "unsubscribe",
        Deed::Publish { .. } => "publish",
        Deed::Ping => "ping",
        Deed::Pong => "pong",
    }
}

fn check_refused(refused: &Refused) {
    // 200 bytes of a message that quotes, and a few words around them.
    assert!((1..=400).contains(&refused.message.len()), "a refusal of {} bytes", refused.message.len());
}

fn check_deed(deed: &Deed, text: &str) {
    let Deed::Publish { publication, .. } = deed else { return };
    let Publication { key, headers, value, media_type } = publication;
    if media_type.as_deref() == Some("application/json") {
        let sent = std::str::from_utf8(value).expect("JSON is text");
        assert!(text.contains(sent), "the data is not what was sent: {sent}");
        assert!(serde_json::from_str::<&RawValue>(sent).is_ok(), "the data is not JSON: {sent}");
    }
    assert!(headers.iter().all(|(name, _)| !name.to_ascii_lowercase().starts_with("portolan.")));
    let total: usize = headers.iter().map(|(_, value)| value.len()).sum::<usize>() + value.len();
    assert!(total + key.as_ref().map_or(0, Bytes::len) <= text.len(), "more was read than was sent");
    check_told_again(publication);
}

/// What was published is told to others as an event: whatever its bytes, as one JSON object with the same data.
fn check_told_again(publication: &Publication) {
    let record = received(3, 7, publication.key.clone(), Some(publication.value.clone()), publication.headers.clone());
    let told = event::encode(&record);
    let json: serde_json::Value = match serde_json::from_slice(&told) {
        Ok(json) => json,
        // Data may say numbers that serde_json cannot hold; its syntax holds all the same.
        Err(_) => {
            let syntax = serde_json::from_slice::<IgnoredAny>(&told);
            return assert!(syntax.is_ok(), "an event is told as what is no JSON: {syntax:?}");
        }
    };
    assert_eq!(json["pos"], "3:7");
    assert!(json.get("data").is_some() != json.get("data_base64").is_some(), "data stands there twice, or not at all");
    let text_key = publication.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
    assert_eq!(json.get("key").and_then(|key| key.as_str()), text_key);
}

fn received(
    partition: i32,
    offset: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
) -> Received {
    Received { partition, offset, timestamp: SystemTime::UNIX_EPOCH, key, value, headers }
}

/// Each line is something that happens to a session: the first byte says what, the rest is what comes with it. See
/// [`World::happens`].
pub(super) const SESSION: Target = Target {
    name: "events-session",
    about: "a session under frames, answers, events and time in any order: what it writes is well-formed and bounded",
    run: session,
    words: &[
        "t{\"type\":\"subscribe\",\"id\":1,\"channel\":\"orders\"}\na\ne3\nf\ns9\n",
        "t{\"type\":\"publish\",\"id\":2,\"channel\":\"orders\",\"data\":1}\na\n",
        "t{\"type\":\"unsubscribe\",\"ch\":1}\n",
        "\na\n",
        "\nr\n",
        "\nf\n",
        "\ns1\n",
        "\ns9\n",
        "\nw9\n",
        "\nb\n",
        "\ne9\n",
        "\nE9\n",
        "\nc1\n",
        "\nt{\"type\":\"ping\"}\n",
        "\nx\u{8}\n",
    ],
    seeds: &[],
    longest: 16 * 1024,
    // A line of four bytes may bring a burst of events and have them sent.
    memory: Memory { total_per_byte: 60_000, peak_per_byte: 30_000, free: 8 << 20 },
};

const CHANNELS: &str = include_str!("../../schemas/channels.asyncapi.yaml");

fn channels() -> Arc<Contract> {
    static CONTRACT: OnceLock<Arc<Contract>> = OnceLock::new();
    let read = || {
        let tree = tree::parse("channels.asyncapi.yaml", CHANNELS).expect("the fuzzer's own document is YAML");
        Arc::new(Contract::read(&tree).expect("the fuzzer's own document is sound"))
    };
    CONTRACT.get_or_init(read).clone()
}

fn session(input: &[u8]) -> Signature {
    let (first, rest) = input.split_first().unwrap_or((&b'i', &[]));
    let standing = if *first == b'u' { Standing::Unidentified } else { Standing::Identified };
    let mut world = World::new(standing);
    for line in rest.split(|byte| *byte == b'\n').take(2_000) {
        let [what, with @ ..] = line else { continue };
        world.happens(*what, with);
        world.check();
    }
    world.end()
}

/// A session, its client, its log and its clock.
struct World {
    machine: Machine,
    now: Moment,
    client: Decoder,
    log: Arc<EventLog>,
    offset: i64,
    tasks: Vec<Task>,
    /// Words of the frames that the client has got.
    heard: Vec<String>,
    closed: bool,
}

/// A frame as far as it is looked into: data may hold numbers that serde_json cannot.
#[derive(serde::Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
}

/// The longest frame a client of this session may send.
const MAX_FRAME: usize = 2 * 1024;
/// The largest event in the log, headers included.
const MAX_EVENT: usize = 40 * 1024;

impl World {
    fn new(standing: Standing) -> Self {
        let now = Moment::default().after(Duration::from_secs(3_600));
        let settings = Settings { max_frame: MAX_FRAME, max_subscriptions: 2, ..Settings::default() };
        let limits = Limits { max_frame: 1 << 24, max_message: 1 << 24 };
        Self {
            machine: Machine::new("5e55", channels(), settings, standing, now),
            now,
            client: Decoder::new(Role::Client, limits),
            log: EventLog::new("orders", Bounds { events: 64, bytes: 1 << 20 }),
            offset: 0,
            tasks: Vec::new(),
            heard: Vec::new(),
            closed: false,
        }
    }

    fn happens(&mut self, what: u8, with: &[u8]) {
        let digit = u64::from(with.first().map_or(0, |byte| byte.saturating_sub(b'0')).min(9));
        match what {
            // The client sends a text, a frame of any kind, or bytes.
            b't' => self.receive(&masked(Opcode::Text, with, [1, 2, 3, 4])),
            b'x' => {
                let [start, payload @ ..] = with else { return };
                let mut frame = masked(Opcode::Text, payload, [9, 0, 255, 1]).to_vec();
                frame[0] = *start;
                self.receive(&frame);
            }
            b'y' => self.receive(with),
            // The oldest task is answered, well or with a fault.
            b'a' => self.answer(),
            b'r' => self.refuse(digit),
            // Events come, small or large, and are taken.
            b'e' => self.append(digit, Bytes::copy_from_slice(with)),
            b'E' => self.append(digit, Bytes::from(vec![b'7'; MAX_EVENT - 1024])),
            b'f' => self.machine.fill(),
            // The socket takes bytes, or none; time goes on.
            b's' => self.send(1 << (2 * digit)),
            b'b' => self.machine.blocked(self.now),
            b'w' => self.wait(Duration::from_secs(1 << digit)),
            b'n' => self.wait_until_due(),
            // It is ended from our side, or the peer is gone.
            b'c' => self.machine.close(Code(1000 + u16::try_from(digit).unwrap_or(0)), "told to", self.now),
            b'p' => self.machine.fail(self.now),
            b'g' => self.machine.peer_gone(),
            _ => {}
        }
        while self.tasks.len() < 100 {
            let Some(task) = self.machine.next_task() else { break };
            self.tasks.push(task);
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        self.machine.receive(&mut input, self.now);
        // What is left is thrown away, as if the connection had lost it: frames may lose their beginnings.
        assert!(input.is_empty() || !self.machine.wants_input(), "a session that listens left bytes");
    }

    fn answer(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        match self.tasks.remove(0) {
            Task::Connect { number, .. } => self.machine.identified(number),
            Task::Subscribe { number, channel } => {
                self.machine.subscribed(number, &channel, self.log.clone(), self.log.live());
            }
            Task::Publish { number, publication, .. } => {
                assert!(publication.value.len() <= MAX_FRAME);
                let placed = Placed { partition: 0, offset: self.offset, timestamp: SystemTime::UNIX_EPOCH };
                self.machine.published(number, placed);
            }
        }
    }

    fn refuse(&mut self, digit: u64) {
        if self.tasks.is_empty() {
            return;
        }
        let number = match self.tasks.remove(0) {
            Task::Connect { number, .. } | Task::Subscribe { number, .. } | Task::Publish { number, .. } => number,
        };
        let kind = FaultKind::ALL[usize::try_from(digit).unwrap_or(0) * 3 % FaultKind::ALL.len()];
        self.machine.refused(number, &Fault::new(kind, "not today"), self.now);
    }

    fn append(&mut self, count: u64, value: Bytes) {
        let records = (0..=count * count).map(|nth| {
            self.offset += 1;
            let partition = i32::try_from(nth % 3).unwrap_or(0);
            received(partition, self.offset, Some("k".into()), Some(value.clone()), Vec::new())
        });
        let records = records.collect();
        self.log.append(records);
    }

    fn send(&mut self, count: usize) {
        let waiting = self.machine.outgoing();
        let taken = waiting[..count.min(waiting.len())].to_vec();
        self.machine.sent(taken.len(), self.now);
        self.read(&taken);
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while let Some(message) = self.client.decode(&mut bytes).expect("a session sends well-formed frames") {
            assert!(!self.closed, "a frame came behind the close frame");
            match message {
                Message::Text(text) => {
                    let frame: Frame = serde_json::from_slice(&text).expect("a session sends JSON objects with a type");
                    if self.heard.len() < 64 {
                        self.heard.push(frame.kind);
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(close) => {
                    self.closed = true;
                    assert_eq!(close.code, self.machine.closed_with().filter(|code| code.may_be_sent()));
                }
                Message::Binary(_) => panic!("a session sends text"),
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.machine.tick(self.now);
    }

    /// At the moment it asked for, something must happen: a session that asks for the same moment again would spin.
    fn wait_until_due(&mut self) {
        let Some(due) = self.machine.wake_at() else { return };
        if self.machine.is_over() {
            return;
        }
        self.now = self.now.max(due);
        self.machine.tick(self.now);
        let again = self.machine.wake_at();
        let moved = again.is_none_or(|again| again > self.now) || self.machine.is_over();
        assert!(moved, "a session asks to be woken at a moment that has passed");
    }

    /// What must hold whatever happened.
    fn check(&self) {
        let waiting = self.machine.outgoing().len();
        // Answers come on top of events: to one frame of commands, and to tasks that were under way.
        let most = OUT_MAX.max(OUT_TARGET + MAX_EVENT) + MAX_FRAME * 8 + 64 * 1024;
        assert!(waiting <= most, "{waiting} bytes wait for the client");
        let state = self.machine.state();
        assert!(state["commands_waiting"].as_u64().is_some_and(|waiting| waiting <= COMMANDS_MAX as u64), "{state}");
        assert!(state["subscriptions"].as_array().is_some_and(|subscriptions| subscriptions.len() <= 2), "{state}");
        assert!(self.tasks.len() < 100, "a session has ever more to do at a time");
    }

    fn end(mut self) -> Signature {
        self.machine.close(Code::AWAY, "the end", self.now);
        self.send(usize::MAX);
        let signature = Signature::of(if self.closed { "closed" } else { "cut" }).size("heard", self.heard.len());
        let topics = std::iter::from_fn(|| self.machine.left()).count();
        let told = self.heard.iter().fold(signature.size("left", topics), |signature, word| signature.told(word));
        // The same words in another order are another story.
        told.told(&self.heard.join(" "))
    }
}

pub(super) const CONTRACT: Target = Target {
    name: "events-contract",
    about: "AsyncAPI documents: every channel of what is accepted is found by its address, every problem has its place",
    run: |input| contract(&String::from_utf8_lossy(input)),
    words: &[
        "asyncapi",
        "3.0.0",
        "channels",
        "operations",
        "$ref",
        "#/channels/a",
        "address",
        "bindings",
        "kafka",
        "topic",
        "send",
        "receive",
        "messages",
        "components",
    ],
    seeds: &["examples/demo/order-events.asyncapi.yaml"],
    longest: 32 * 1024,
    memory: config::DOCUMENT_MEMORY,
};

fn contract(text: &str) -> Signature {
    let tree = match tree::parse("events.yaml", text) {
        Ok(tree) => tree,
        Err(problems) => return config::check_problems("no tree", &problems, text),
    };
    match Contract::read(&tree) {
        Ok(contract) => {
            assert!(!contract.warnings.has_errors(), "{}", contract.warnings);
            for channel in &contract.channels {
                assert!(!channel.topic.is_empty() && !channel.address.is_empty());
                let found = contract.channel(&channel.address).map(|found| &found.name);
                assert_eq!(found, Some(&channel.name), "the address leads to another channel");
            }
            let channels = contract.channels.len();
            Signature::of("accepted").size("channels", channels).size("warnings", contract.warnings.len())
        }
        Err(problems) => config::check_problems("refused", &problems, text),
    }
}
