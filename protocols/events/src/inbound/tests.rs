use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use portolan_exchange::events::{Bounds, EventLog, Placed, Publisher, Received, Record};
use portolan_exchange::exchange::RequestId;
use portolan_exchange::upgrade::Upgrading;
use portolan_exchange::worker::Runner;
use portolan_exchange::{Clock, Identity, LocalBoxFuture, Request, Route, Target};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::contract::sample;
use crate::outbound::{Channels, Topics};

/// A broker in memory: one log for every topic, and what was published.
struct Memory {
    log: Arc<EventLog>,
    published: Mutex<Vec<(String, Record)>>,
}

impl Topics for Memory {
    fn open(&self, _: &Arc<str>) -> BoxFuture<'static, Result<Arc<EventLog>, Fault>> {
        let log = self.log.clone();
        Box::pin(async move { Ok(log) })
    }
}

impl Publisher for Memory {
    fn publish(&self, topic: &str, record: Record) -> BoxFuture<'static, Result<Placed, Fault>> {
        let mut published = self.published.lock().unwrap();
        let offset = i64::try_from(published.len()).unwrap();
        let received = Received {
            partition: 0,
            offset,
            timestamp: SystemTime::UNIX_EPOCH,
            key: record.key.clone(),
            value: Some(record.value.clone()),
            headers: Vec::new(),
        };
        self.log.append(vec![received]);
        published.push((topic.to_owned(), record));
        Box::pin(async move { Ok(Placed { partition: 0, offset, timestamp: SystemTime::UNIX_EPOCH }) })
    }
}

/// What becomes of a session's commands.
#[derive(Clone, Copy)]
enum Commands {
    Run,
    Refuse,
    Panic,
}

impl Runner for Commands {
    fn run(&self, worker: &Rc<Worker>, mut child: Exchange) -> LocalBoxFuture<'static, (Exchange, Answer)> {
        let (worker, commands) = (worker.clone(), *self);
        Box::pin(async move {
            let route = child.route.clone();
            let answer = match commands {
                Commands::Run => match route.inbound.describe(&worker, &mut child) {
                    Ok(_) => route.outbound.call(&worker, &mut child).await,
                    Err(fault) => Err(fault),
                },
                Commands::Refuse => {
                    Err(Fault::new(FaultKind::NotSubscribed, "consumer `free` has no subscription to `events`"))
                }
                Commands::Panic => panic!("a command at fault"),
            };
            (child, answer)
        })
    }
}

/// A gateway of one route, without a wire.
struct House {
    worker: Rc<Worker>,
    route: Arc<Route>,
    memory: Arc<Memory>,
    /// When the credentials of its clients end.
    expires: Option<SystemTime>,
}

#[derive(Debug)]
struct Wish;

impl Upgrading for Wish {
    fn protocol(&self) -> &str {
        "websocket"
    }
}

const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

impl House {
    fn new(commands: Commands) -> Self {
        Self::keeping(commands, Bounds::default())
    }

    fn keeping(commands: Commands, bounds: Bounds) -> Self {
        let memory = Arc::new(Memory { log: EventLog::new("topic.a", bounds), published: Mutex::default() });
        let contract = sample();
        let route = Route {
            name: "events".into(),
            api: None,
            inbound: Arc::new(Events::new(contract.clone(), Settings::default(), 1_000)),
            outbound: Arc::new(Channels::new(contract, memory.clone(), memory.clone())),
            policies: Box::new([]),
            deadline: Duration::from_secs(30),
            prefix: "/events/v1".into(),
        };
        let worker = Worker::new(0, Clock::manual(SystemTime::UNIX_EPOCH));
        worker.set_runner(Rc::new(commands));
        Self { worker, route: Arc::new(route), memory, expires: None }
    }

    /// One request through Describe, the call and the rendering, as the pipeline does it.
    async fn ask(&self, method: Method, path: &str, fields: &[(&str, &str)], body: &str) -> Response {
        let mut request = Request::new(method, Target::new(path));
        for (name, value) in fields {
            request.fields.add(name, value).unwrap();
        }
        request.body = Body::whole(body.to_owned());
        if request.fields.contains("upgrade") {
            request.upgrade = Some(Box::new(Wish));
        }
        let mut exchange = Exchange::new(RequestId::new(0xab), self.route.clone(), request, self.worker.clock.now());
        let (consumer, credential) = ("acme".into(), "k1".into());
        exchange.identity = Some(Arc::new(Identity {
            consumer,
            source: "keys".into(),
            credential,
            expires: self.expires,
            scopes: Arc::default(),
        }));
        let inbound = self.route.inbound.clone();
        let answer = match inbound.describe(&self.worker, &mut exchange) {
            Err(fault) => Err(fault),
            Ok(_) if exchange.operation.as_ref().is_some_and(|operation| operation.kind == Kind::Session) => {
                inbound.open(&self.worker, &mut exchange)
            }
            Ok(_) => self.route.outbound.call(&self.worker, &mut exchange).await,
        };
        inbound.render(&exchange, answer)
    }

    async fn upgrade(&self, changed: &[(&str, Option<&str>)]) -> Response {
        let usual = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", SAMPLE_KEY),
            ("sec-websocket-protocol", NATIVE),
        ];
        let mut fields = Vec::new();
        for (name, value) in usual {
            match changed.iter().find(|(changed, _)| *changed == name) {
                Some((_, changed)) => fields.extend(changed.map(|value| (name, value))),
                None => fields.push((name, value)),
            }
        }
        self.ask(Method::Get, "/events/v1", &fields, "").await
    }

    /// A session, with a foreign client at the other end of a pipe that holds `room` bytes.
    async fn connect(&self, room: usize) -> Client {
        let response = self.upgrade(&[]).await;
        let tunnel = response.tunnel.expect("an upgrade gives a tunnel");
        let (ours, theirs) = tokio::io::duplex(room);
        tokio::task::spawn_local(tunnel.run(Box::pin(theirs)));
        let mut client = Client(WebSocketStream::from_raw_socket(ours, Role::Client, None).await);
        assert_eq!(client.hear().await["type"], "connected");
        client
    }

    /// Lets the session see all that was sent, moves the clock, and lets it act on that.
    async fn pass(&self, time: Duration) {
        settle().await;
        assert_eq!(self.worker.clock.sleepers(), 1);
        self.worker.clock.advance(time);
        settle().await;
    }

    /// What the shard does when the log has grown.
    fn advance(&self) {
        self.worker.sessions.advance(&self.memory.log);
    }

    fn append(&self, offsets: std::ops::Range<i64>, size: usize) {
        let record = |offset| Received {
            partition: 0,
            offset,
            timestamp: SystemTime::UNIX_EPOCH,
            key: None,
            value: Some(format!("\"{}\"", "x".repeat(size)).into()),
            headers: Vec::new(),
        };
        self.memory.log.append(offsets.map(record).collect());
        self.advance();
    }
}

struct Client(WebSocketStream<DuplexStream>);

impl Client {
    async fn say(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame: JSON, or what a close says.
    async fn hear(&mut self) -> Value {
        loop {
            match self.0.next().await.expect("the session goes on").expect("the session speaks WebSocket") {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(close) => {
                    let close = close.expect("the session says why it closes");
                    return json!({ "close": u16::from(close.code), "reason": close.reason.as_str() });
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn subscribe(&mut self) {
        self.say(json!({ "type": "subscribe", "id": 1, "channel": "a" })).await;
        let subscribed = json!({ "type": "subscribed", "id": 1, "ch": 1, "channel": "a", "qos": "none" });
        assert_eq!(self.hear().await, subscribed);
    }
}

/// Lets everything run that can: nothing here waits for the world outside.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Runs a test on one thread, as a worker does.
fn on_a_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

async fn body(response: Response) -> Value {
    let gathered = response.body.collect(10_000).await.unwrap();
    serde_json::from_slice(&gathered.bytes).unwrap_or(Value::Null)
}

fn fields(response: &Response) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    response.fields.iter().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn an_upgrade_is_answered_with_the_accept_value_and_the_sub_protocol() {
    on_a_worker(async {
        let house = House::new(Commands::Run);
        let response = house.upgrade(&[]).await;
        let expected = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", NATIVE),
        ];
        assert_eq!(response.status, 101);
        assert_eq!(fields(&response), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let bare = house.upgrade(&[("sec-websocket-protocol", None)]).await;
        assert_eq!((bare.status, bare.fields.contains("sec-websocket-protocol")), (101, false));
    });
}

#[test]
fn what_is_no_upgrade_is_refused_with_what_helps() {
    on_a_worker(async {
        let house = House::new(Commands::Run);
        let table = [
            (("upgrade", None), 426, "upgrade_required"),
            (("connection", Some("keep-alive")), 426, "upgrade_required"),
            (("sec-websocket-version", Some("8")), 426, "upgrade_required"),
            (("sec-websocket-key", Some("short")), 400, "bad_request"),
            (("sec-websocket-protocol", Some("graphql-transport-ws")), 400, "bad_request"),
        ];
        for (change, status, code) in table {
            let response = house.upgrade(&[change]).await;
            assert_eq!(response.status, status, "{change:?}");
            assert_eq!(body(response).await["code"], code, "{change:?}");
        }
        let old = house.upgrade(&[("sec-websocket-version", Some("8"))]).await;
        assert_eq!(old.fields.get_str("sec-websocket-version"), Some("13"));
    });
}

#[test]
fn a_post_publishes_one_event_and_answers_with_its_place() {
    on_a_worker(async {
        let house = House::new(Commands::Run);
        let given = [
            ("content-type", "application/json"),
            ("portolan-key", "k"),
            ("traceparent", "00-a-b-01"),
            ("cookie", "secret"),
        ];
        let response = house.ask(Method::Post, "/events/v1/a", &given, r#"{"id": 1.10}"#).await;
        assert_eq!((response.status, response.fields.get_str("content-type")), (201, Some("application/json")));
        assert_eq!(body(response).await, json!({ "partition": 0, "offset": 0, "timestamp": 0 }));
        let header = |name: &str, value: &'static str| (name.to_owned(), Bytes::from(value));
        let record = Record {
            key: Some("k".into()),
            value: r#"{"id": 1.10}"#.into(),
            headers: vec![
                header("content-type", "application/json"),
                header("portolan.consumer", "acme"),
                header("traceparent", "00-a-b-01"),
            ],
            partition: None,
        };
        assert_eq!(*house.memory.published.lock().unwrap(), [("topic.a".to_owned(), record)]);
    });
}

#[test]
fn a_post_that_cannot_be_published_is_a_problem_document() {
    on_a_worker(async {
        let house = House::new(Commands::Run);
        let json = [("content-type", "application/json; charset=utf-8")];
        let table = [
            (Method::Post, "/events/v1/none", "1", 404, "unknown_channel", "there is no channel `none`"),
            (Method::Post, "/events/v1/%c3%28", "1", 404, "unknown_channel", "there is no channel `%c3%28`"),
            (Method::Post, "/events/v1/out", "1", 403, "forbidden", "clients may only subscribe to channel `out`"),
            (
                Method::Post,
                "/events/v1/a",
                "{broken",
                400,
                "malformed_body",
                "the event is not valid JSON, though its media type says so",
            ),
            (Method::Post, "/events/v1/a", "", 400, "malformed_body", "an event needs a body"),
            (Method::Put, "/events/v1/a", "1", 405, "method_not_allowed", "events are published with POST"),
            (
                Method::Post,
                "/events/v1/",
                "1",
                405,
                "method_not_allowed",
                "a session is opened with GET, events are posted to their channel",
            ),
            (
                Method::Get,
                "/events/v1/a",
                "",
                501,
                "not_implemented",
                "a stream of one channel is not served here yet; open a WebSocket one level up and subscribe to `a`",
            ),
        ];
        for (method, path, sent, status, code, detail) in table {
            let response = house.ask(method, path, &json, sent).await;
            assert_eq!(response.status, status, "{path}");
            let problem = body(response).await;
            assert_eq!((&problem["code"], &problem["detail"]), (&json!(code), &json!(detail)));
            assert_eq!(problem["request_id"], "000000000000000000000000000000ab");
        }
        assert_eq!(house.memory.published.lock().unwrap().len(), 0);
    });
}

#[test]
fn a_foreign_client_subscribes_publishes_and_receives_its_event() {
    on_a_worker(async {
        let house = House::new(Commands::Run);
        let mut client = house.connect(4_096).await;
        client.subscribe().await;
        client.say(json!({ "type": "publish", "id": 2, "channel": "a", "key": "k", "data": { "n": 1 } })).await;
        let published = json!({ "type": "published", "id": 2, "partition": 0, "offset": 0, "ts": 0 });
        let event = json!({ "name": "made", "pos": "0:0", "ts": 0, "key": "k", "data": { "n": 1 } });
        let message = json!({ "type": "message", "ch": 1, "events": [event] });
        assert_eq!([client.hear().await, client.hear().await], [published, message]);
        client.say(json!({ "type": "subscribe", "id": 3, "channel": "none" })).await;
        assert_eq!(client.hear().await["code"], "unknown_channel");
        client.say(json!({ "type": "unsubscribe", "id": 4, "ch": 1 })).await;
        assert_eq!(client.hear().await, json!({ "type": "unsubscribed", "id": 4, "ch": 1 }));
        client.0.close(None).await.unwrap();
        assert!(matches!(client.0.next().await, Some(Ok(Message::Close(_)))));
        assert!(client.0.next().await.is_none());
        assert!(house.worker.sessions.is_empty());
    });
}

#[test]
fn a_command_that_a_policy_refuses_is_an_error_frame_and_the_session_goes_on() {
    on_a_worker(async {
        let house = House::new(Commands::Refuse);
        let mut client = house.connect(4_096).await;
        client.say(json!({ "type": "subscribe", "id": 1, "channel": "a" })).await;
        let refused = json!({
            "type": "error", "id": 1, "code": "not_subscribed", "temporary": false,
            "message": "consumer `free` has no subscription to `events`",
        });
        assert_eq!(client.hear().await, refused);
        client.say(json!({ "type": "ping", "id": 2 })).await;
        assert_eq!(client.hear().await, json!({ "type": "pong", "id": 2 }));
    });
}

#[test]
fn a_client_that_stops_reading_keeps_its_buffer_bounded_and_learns_what_it_missed_while_others_get_everything() {
    on_a_worker(async {
        let house = House::keeping(Commands::Run, Bounds { events: 100, bytes: usize::MAX });
        let (mut slow, mut quick) = (house.connect(1_024).await, house.connect(1_024).await);
        slow.subscribe().await;
        quick.subscribe().await;
        for batch in 0..50 {
            house.append(batch * 20..(batch + 1) * 20, 3_000);
            for offset in batch * 20..(batch + 1) * 20 {
                assert_eq!(quick.hear().await["events"][0]["pos"], format!("0:{offset}"));
            }
        }
        let waiting = |state: Value| state["outgoing_bytes"].as_u64().unwrap();
        let most = house.worker.sessions.states(10).into_iter().map(waiting).max();
        assert!(most.is_some_and(|most| (64 * 1024..=256 * 1024).contains(&most)), "{most:?} bytes wait");
        let (mut next, mut gaps) = (0, 0);
        while next < 1_000 {
            let frame = slow.hear().await;
            if frame["type"] == "gap" {
                next += frame["count"].as_u64().unwrap();
                gaps += 1;
            } else {
                assert_eq!(frame["events"][0]["pos"], format!("0:{next}"));
                next += 1;
            }
        }
        assert_eq!((next, gaps), (1_000, 1));
    });
}

#[test]
fn a_panic_in_a_session_closes_it_with_1011_and_no_other() {
    on_a_worker(async {
        let house = House::new(Commands::Panic);
        let (mut bad, mut good) = (house.connect(4_096).await, house.connect(4_096).await);
        bad.say(json!({ "type": "subscribe", "id": 1, "channel": "a" })).await;
        assert_eq!(bad.hear().await, json!({ "close": 1011, "reason": "the session failed; reconnect" }));
        good.say(json!({ "type": "ping" })).await;
        assert_eq!(good.hear().await, json!({ "type": "pong" }));
    });
}

#[test]
fn a_session_that_is_closed_for_a_restart_says_goaway_first() {
    on_a_worker(async {
        let house = House::new(Commands::Run);
        let mut client = house.connect(4_096).await;
        house.worker.sessions.close_all(1012, "the gateway restarts");
        assert_eq!(client.hear().await["type"], "goaway");
        assert_eq!(client.hear().await, json!({ "close": 1012, "reason": "the gateway restarts" }));
        assert!(client.0.next().await.is_none());
    });
}

#[test]
fn a_silent_client_is_pinged_and_its_library_s_answer_is_enough() {
    on_a_worker(async {
        let house = House::new(Commands::Run);
        let mut client = house.connect(4_096).await;
        for _ in 0..3 {
            house.pass(Duration::from_secs(25)).await;
            assert_eq!(client.hear().await, json!({ "type": "ping" }));
            // The library sees the other ping, says nothing of it and answers.
            assert!(matches!(client.0.next().await, Some(Ok(Message::Ping(_)))));
            client.0.flush().await.unwrap();
            house.pass(Duration::from_secs(8)).await;
            house.pass(Duration::from_secs(16)).await;
        }
        house.pass(Duration::from_secs(1)).await;
        house.pass(Duration::from_secs(8)).await;
        assert_eq!(client.hear().await, json!({ "type": "ping" }));
        assert_eq!(client.hear().await, json!({ "close": 4509, "reason": "no sign of life; reconnect" }));
    });
}

#[test]
fn a_session_ends_with_the_credentials_it_was_opened_with() {
    on_a_worker(async {
        let mut house = House::new(Commands::Run);
        house.expires = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(20));
        let mut client = house.connect(4_096).await;
        client.subscribe().await;
        house.pass(Duration::from_secs(19)).await;
        house.append(0..1, 1);
        assert_eq!(client.hear().await["events"][0]["pos"], "0:0");
        house.pass(Duration::from_secs(1)).await;
        house.append(1..2, 1);
        assert_eq!(client.hear().await, json!({ "close": 4401, "reason": "the credentials have expired" }));
    });
}

#[test]
fn what_a_client_says_of_its_own_event_stands() {
    on_a_worker(async {
        let house = House::new(Commands::Run);
        let mut client = house.connect(4_096).await;
        let headers = json!({ "Content-Type": "application/cloudevents+json", "a": ["1", "2"] });
        client.say(json!({ "type": "publish", "id": 1, "channel": "a", "headers": headers, "data": {} })).await;
        assert_eq!(client.hear().await["type"], "published");
        let published = house.memory.published.lock().unwrap();
        let said: Vec<_> = published[0].1.headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        let given = ("Content-Type", &b"application/cloudevents+json"[..]);
        assert_eq!(said, [given, ("a", b"1"), ("a", b"2"), ("portolan.consumer", b"acme")]);
    });
}

#[test]
fn bytes_that_are_no_websocket_end_the_session_and_nothing_else() {
    on_a_worker(async {
        let house = House::new(Commands::Run);
        let mut client = house.connect(4_096).await;
        let raw = client.0.get_mut();
        tokio::io::AsyncWriteExt::write_all(raw, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let told = "a reserved bit is set and no extension was agreed";
        assert_eq!(client.hear().await, json!({ "close": 1002, "reason": told }));
        let mut other = house.connect(4_096).await;
        other.subscribe().await;
    });
}
