//! What the tests of events stand on: a cluster with topics of their own, a gateway before it, and two consumers.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::kit::gateway::{Setup, TestGateway};
use crate::kit::kafka::{Kafka, MockKafka, RealKafka};
use crate::kit::session::Session;
use crate::kit::{Answer, RawClient};

/// Where the API is found.
pub const PATH: &str = "/order-events/v2";
/// The channel that is open both ways.
pub const CREATED: &str = "orders.created";
/// The channel that clients may only subscribe to.
pub const CANCELLED: &str = "orders.cancelled";
/// The channel that clients may only publish to.
pub const WANTED: &str = "orders.wanted";

/// HMAC-SHA-256 under `pepper`, as `printf %s KEY | openssl dgst -sha256 -hmac pepper` prints it.
pub const ACME_KEY: &str = "a376e52b3014fe48601dc1dfb66ff2b55fe15daeae5a530ada7936ad677381cf";
pub const OTHER_KEY: &str = "c1dca251c00a1e1fcf035a3d5b816aa644561c450e9c6af4da3371f7aa8536b0";

const ASYNCAPI: &str = r"
    asyncapi: 3.0.0
    info: { title: Order events, version: 2.0.0 }
    channels:
      created:
        address: orders.created
        messages: { orderCreated: { contentType: application/json } }
        bindings: { kafka: { topic: {created} } }
      cancelled: { address: orders.cancelled, bindings: { kafka: { topic: {cancelled} } } }
      wanted: { address: orders.wanted, bindings: { kafka: { topic: {wanted} } } }
    operations:
      tellOfCreated: { action: send, channel: { $ref: '#/channels/created' } }
      takeCreated: { action: receive, channel: { $ref: '#/channels/created' } }
      tellOfCancelled: { action: send, channel: { $ref: '#/channels/cancelled' } }
      takeWanted: { action: receive, channel: { $ref: '#/channels/wanted' } }
";

/// A cluster, and the topics in it that belong to one test.
pub struct Stage {
    cluster: Cluster,
    suffix: String,
}

enum Cluster {
    Mock(MockKafka),
    Shared(String),
    Own(RealKafka),
}

impl Stage {
    /// librdkafka's mock cluster, each topic with so many partitions.
    pub fn mock(partitions: i32) -> Self {
        let topics = topics("v2");
        let topics = topics.each_ref().map(|topic| (topic.as_str(), partitions));
        Self { cluster: Cluster::Mock(MockKafka::start(&topics)), suffix: "v2".into() }
    }

    /// A real Apache Kafka, shared with other tests, in which these topics are new.
    pub fn real(partitions: i32) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let suffix = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut kafka = RealKafka::shared();
        for topic in topics(&suffix) {
            kafka.create_topic(&topic, partitions);
        }
        Self { cluster: Cluster::Shared(kafka.bootstrap()), suffix }
    }

    /// A real Apache Kafka of the test's own, which it may kill.
    pub fn real_alone(partitions: i32) -> Self {
        let topics = topics("v2");
        let topics = topics.each_ref().map(|topic| (topic.as_str(), partitions));
        Self { cluster: Cluster::Own(RealKafka::start(&topics)), suffix: "v2".into() }
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> String {
        match &self.cluster {
            Cluster::Mock(kafka) => kafka.bootstrap(),
            Cluster::Shared(bootstrap) => bootstrap.clone(),
            Cluster::Own(kafka) => kafka.bootstrap(),
        }
    }

    /// The broker, for a test that takes it away.
    pub fn broker(&mut self) -> &mut dyn Kafka {
        match &mut self.cluster {
            Cluster::Mock(kafka) => kafka,
            Cluster::Own(kafka) => kafka,
            Cluster::Shared(_) => panic!("other tests use this broker"),
        }
    }

    /// The topic of a channel.
    pub fn topic(&self, channel: &str) -> String {
        format!("{channel}.{}", self.suffix)
    }

    /// A gateway before it.
    pub fn gateway(&self) -> TestGateway {
        self.setup("").start()
    }

    /// A gateway before it, with more said of the API.
    pub fn setup(&self, of_api: &str) -> Setup {
        self.setup_with(2, "events: 10000", of_api)
    }

    /// A gateway of so many workers, which keeps so much of each topic for those who fall behind.
    pub fn setup_with(&self, workers: usize, ring: &str, of_api: &str) -> Setup {
        let asyncapi = ASYNCAPI
            .replace("{created}", &self.topic(CREATED))
            .replace("{cancelled}", &self.topic(CANCELLED))
            .replace("{wanted}", &self.topic(WANTED));
        TestGateway::with_config(
            r#"
            workers: {workers}
            identity: { keys: { api_key: { header: x-api-key, pepper: "${env:PEPPER}" } } }
            brokers: { main: { kafka: { bootstrap: [ "{bootstrap}" ], ring: { {ring} } } } }
            apis:
              order-events: { version: v2, asyncapi: ./order-events.asyncapi.yaml, path: /order-events/v2, broker: main, authenticate: [ keys ], {of_api} }
            consumers:
              acme: { keys: [ { hash: {acme} } ], subscriptions: [ { api: order-events } ] }
              other: { keys: [ { hash: {other} } ] }
            "#,
        )
        .with("bootstrap", self.bootstrap())
        .with("workers", workers)
        .with("ring", ring)
        .with("of_api", of_api)
        .with("acme", ACME_KEY)
        .with("other", OTHER_KEY)
        .environment("PEPPER", "pepper")
        .file("order-events.asyncapi.yaml", &asyncapi)
    }
}

fn topics(suffix: &str) -> [String; 3] {
    [CREATED, CANCELLED, WANTED].map(|channel| format!("{channel}.{suffix}"))
}

/// A session of the consumer `acme` that was welcomed.
pub fn session(gateway: &TestGateway) -> Session {
    let mut session = Session::open(gateway.address(), PATH, &[("x-api-key", "acme-key")]);
    session.receive("connected", |_| true);
    session
}

/// An event of the consumer `acme`, posted to a channel.
pub fn post(gateway: &TestGateway, channel: &str, key: &str, body: &str) -> Answer {
    let call =
        gateway.call("POST", &format!("{PATH}/{channel}")).header("x-api-key", "acme-key").header("portolan-key", key);
    call.header("content-type", "application/json").body(body).send()
}

/// The offsets of events of one partition.
pub fn offsets(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| place(event).1).collect()
}

/// Partition and offset of an event.
pub fn place(event: &Value) -> (i32, i64) {
    let pos = event["pos"].as_str().and_then(|pos| pos.split_once(':'));
    let (partition, offset) = pos.unwrap_or_else(|| panic!("an event without a place: {event}"));
    (partition.parse().expect("a number"), offset.parse().expect("a number"))
}

/// A session at the level of frames: it sends what no library would and sees every byte that comes.
pub struct RawSession(pub RawClient);

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Opcodes (RFC 6455, section 11.8).
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

impl RawSession {
    /// Opens a session of the consumer `acme` that was welcomed.
    pub fn open(gateway: &TestGateway) -> Self {
        Self::on(RawClient::connect(gateway.address()))
    }

    /// Opens one whose client has little room for what it does not read.
    pub fn open_narrow(gateway: &TestGateway) -> Self {
        Self::on(RawClient::connect_narrow(gateway.address()))
    }

    fn on(mut client: RawClient) -> Self {
        client.send(upgrade("x-api-key: acme-key\r\nsec-websocket-protocol: portolan.events.v1\r\n"));
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut session = Self(client);
        assert_eq!(session.json()["type"], "connected");
        session
    }

    /// Sends a frame of its own, masked as a client must.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.0.send(masked(0x80 | opcode, payload));
    }

    /// Sends a command.
    pub fn say(&mut self, command: &Value) {
        self.send(TEXT, command.to_string().as_bytes());
    }

    /// Subscribes to a channel.
    pub fn subscribe(&mut self, channel: &str) {
        self.say(&json!({ "type": "subscribe", "channel": channel }));
        assert_eq!(self.json()["type"], "subscribed");
    }

    /// The next frame.
    pub fn frame(&mut self) -> Frame {
        let mut bytes = self.0.read_bytes(2);
        let more = match bytes[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let long = self.0.read_bytes(more);
        let length = match more {
            0 => usize::from(bytes[1]),
            _ => long.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        bytes.extend(long);
        let payload = self.0.read_bytes(length);
        bytes.extend(&payload);
        Frame { bytes, payload }
    }

    /// The next frame, which is text, as JSON.
    pub fn json(&mut self) -> Value {
        let frame = self.frame();
        assert_eq!(frame.opcode(), TEXT, "{frame:?}");
        serde_json::from_slice(&frame.payload).unwrap_or_else(|error| panic!("{error} in {frame:?}"))
    }

    /// The next frame, which closes the session: its code and its reason.
    pub fn closed(&mut self) -> (u16, String) {
        let frame = self.frame();
        assert_eq!(frame.opcode(), CLOSE, "{frame:?}");
        let (code, reason) = frame.payload.split_at(2);
        (u16::from_be_bytes([code[0], code[1]]), String::from_utf8(reason.to_vec()).expect("a reason is text"))
    }

    /// Sees that the session listens and has said nothing that was not read yet.
    pub fn is_there(&mut self, id: u64) {
        self.say(&json!({ "type": "ping", "id": id }));
        assert_eq!(self.json(), json!({ "type": "pong", "id": id }));
    }
}

impl Frame {
    /// What it is.
    pub fn opcode(&self) -> u8 {
        self.bytes[0] & 0x0f
    }
}

/// A client's frame: its first byte, and what it carries, masked.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    // The shortest form of the length is the only one allowed (RFC 6455, section 5.2).
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(payload.len()).expect("a length fits").to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// An upgrade with these fields besides those that every upgrade has.
pub fn upgrade(fields: &str) -> String {
    format!(
        "GET {PATH} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}
