//! Events keep the promises of every protocol, over HTTP and in the frames of a session.

use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt};
use portolan_config::Place;
use portolan_events::frames::command::{self, Deed};
use portolan_events::frames::event;
use portolan_events::{Channels, Contract, Events, Settings, Topics};
use portolan_exchange::contract::{
    self, FakeInbound, FakeOutbound, Kin, Straight, Told, Watch, a_child_is_of_its_parent, a_reply_streams, describe,
    dropping_the_call_reaches_the_upstream, every_fault_renders, fault, the_deadline_ends_the_call,
    too_much_is_refused, values_keep_their_types, worker,
};
use portolan_exchange::events::{EventLog, Placed, Publisher, Received, Record};
use portolan_exchange::upgrade::Upgrading;
use portolan_exchange::value::strategy::schema_of;
use portolan_exchange::value::{Map, MapType, Others, Payload, Type, Value, json};
use portolan_exchange::{
    Body, Exchange, Fault, FaultKind, Identity, Kind, LocalBoxFuture, Method, Operation, Outbound, Request, Route,
    Target, Worker,
};
use serde_json::{Value as Json, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const MAX_BODY: usize = 1_000;

/// One channel, `a`, open both ways.
fn document() -> Arc<Contract> {
    let text = "asyncapi: 3.0.0
info: { title: t, version: '1' }
channels: { a: { address: a } }
operations:
  out: { action: send, channel: { $ref: '#/channels/a' } }
  in: { action: receive, channel: { $ref: '#/channels/a' } }
";
    let tree = portolan_config::tree::parse("events.yaml", text).expect("the document is YAML");
    Arc::new(Contract::read(&tree).expect("the document is served"))
}

fn inbound(max_body: usize) -> Arc<Events> {
    Arc::new(Events::new(document(), Settings::default(), max_body))
}

/// A broker that keeps the last record, or never answers.
#[derive(Default)]
struct FakeBroker {
    answers: bool,
    last: Mutex<Option<Record>>,
    watch: Watch,
}

impl FakeBroker {
    fn answering() -> Arc<Self> {
        Arc::new(Self { answers: true, ..Self::default() })
    }

    fn silent() -> Arc<Self> {
        Arc::default()
    }
}

impl Topics for FakeBroker {
    fn open(&self, _: &Arc<str>) -> BoxFuture<'static, Result<Arc<EventLog>, Fault>> {
        self.watch.never()
    }
}

impl Publisher for FakeBroker {
    fn publish(&self, _: &str, record: Record) -> BoxFuture<'static, Result<Placed, Fault>> {
        *self.last.lock().expect("no test panics here") = Some(record);
        if !self.answers {
            return self.watch.never();
        }
        Box::pin(async { Ok(Placed { partition: 0, offset: 0, timestamp: SystemTime::UNIX_EPOCH }) })
    }
}

fn channels(broker: &Arc<FakeBroker>) -> Arc<Channels> {
    Arc::new(Channels::new(document(), broker.clone(), broker.clone()))
}

/// The `POST` of an event of this media type.
fn posting(route: Route, media_type: &str, body: Body) -> Exchange {
    let mut request = Request::new(Method::Post, Target::new("/a"));
    request.fields.push(b"content-type", media_type.as_bytes());
    request.body = body;
    contract::exchange(route, request)
}

/// A call of this kind that another protocol makes.
fn calling(broker: &Arc<FakeBroker>, kind: Kind) -> Exchange {
    let request = Request::new(Method::Post, Target::new("/"));
    let mut exchange = contract::exchange(contract::route(Arc::new(FakeInbound), channels(broker)), request);
    exchange.operation = Some(Arc::new(Operation::untyped("a", kind)));
    exchange.input = Some(Payload::of(1));
    exchange
}

#[test]
fn every_fault_renders_as_a_problem_document() {
    let route = contract::route(inbound(MAX_BODY), channels(&FakeBroker::silent()));
    let exchange = posting(route, "application/json", Body::Empty);
    every_fault_renders(&exchange, |content| {
        Told::by(&serde_json::from_slice(content).expect("a problem document is JSON"))
    });
}

#[test]
fn a_reply_is_rendered_as_it_streams() {
    let route = contract::route(inbound(MAX_BODY), channels(&FakeBroker::silent()));
    a_reply_streams(&posting(route, "application/json", Body::Empty));
}

#[test]
fn a_published_event_has_its_bound() {
    let open = |body| {
        let route = contract::route(inbound(MAX_BODY), channels(&FakeBroker::silent()));
        posting(route, "application/octet-stream", body)
    };
    too_much_is_refused(open, MAX_BODY);
}

#[test]
fn a_dropped_exchange_stops_waiting_for_the_broker() {
    for kind in [Kind::Subscribe, Kind::Publish] {
        let broker = FakeBroker::silent();
        dropping_the_call_reaches_the_upstream(calling(&broker, kind), &broker.watch);
    }
}

#[test]
fn waiting_for_the_broker_ends_with_the_deadline() {
    for kind in [Kind::Subscribe, Kind::Publish] {
        let broker = FakeBroker::silent();
        the_deadline_ends_the_call(calling(&broker, kind), &broker.watch);
    }
}

#[test]
fn values_of_a_post_keep_their_types_up_to_the_frame() {
    values_keep_their_types(|expected, value| {
        let broker = FakeBroker::answering();
        let route = contract::route(inbound(1 << 20), channels(&broker));
        let mut exchange = posting(route, "application/json", Body::whole(json::encode(value)));
        describe(&worker(), &mut exchange).map_err(|fault| fault.to_string())?;
        delivered(&mut exchange, &broker, expected)
    });
}

#[test]
fn values_of_a_publish_frame_keep_their_types_up_to_the_frame() {
    values_keep_their_types(|expected, value| {
        let frame = Map::new().with("type", "publish").with("channel", "a").with("data", value.clone());
        let frame = String::from_utf8(json::encode(&frame.into()).to_vec()).expect("JSON is text");
        let Ok(Deed::Publish { publication, .. }) = command::read(&frame).remove(0).map(|command| command.deed) else {
            return Err("the frame was refused".to_owned());
        };
        let broker = FakeBroker::answering();
        let mut exchange = calling(&broker, Kind::Publish);
        exchange.tickets.put(publication);
        delivered(&mut exchange, &broker, expected)
    });
}

#[test]
fn values_that_another_protocol_publishes_keep_their_types_up_to_the_frame() {
    values_keep_their_types(|expected, value| {
        let broker = FakeBroker::answering();
        let mut exchange = calling(&broker, Kind::Publish);
        exchange.input = Some(Payload::of(value.clone()));
        delivered(&mut exchange, &broker, expected)
    });
}

#[test]
fn values_keep_the_types_that_the_contract_declares() {
    values_keep_their_types(|expected, value| {
        let payload = json!({ "payload": schema_of(expected) });
        let document = json!({
            "asyncapi": "3.0.0",
            "info": { "title": "t", "version": "1" },
            "channels": { "a": { "address": "a", "messages": { "made": payload } } },
            "operations": {
                "out": { "action": "send", "channel": { "$ref": "#/channels/a" } },
                "in": { "action": "receive", "channel": { "$ref": "#/channels/a" } },
            },
        });
        let place = |pointer: &str| Place::new("events.json", 0, 0, pointer);
        let contract = Arc::new(Contract::from_document(&document, &place).expect("the document is served"));
        let received = contract.channels[0].subscribe().output.clone();
        let broker = FakeBroker::answering();
        let events = Arc::new(Events::new(contract, Settings::default(), 1 << 20));
        let route = contract::route(events, channels(&broker));
        let mut exchange = posting(route, "application/json", Body::whole(json::encode(value)));
        describe(&worker(), &mut exchange).map_err(|fault| fault.to_string())?;
        let operation = exchange.operation.clone().ok_or("no operation")?;
        let input = exchange.input.as_ref().ok_or("it was not read")?.value(&operation.input);
        if input.as_ref() != Ok(&value) {
            return Err(format!("it is published as {input:?}"));
        }
        delivered(&mut exchange, &broker, &received)
    });
}

/// Publishes, and reads what a subscriber gets as `data` when the broker has given the record back.
fn delivered(exchange: &mut Exchange, broker: &FakeBroker, expected: &Type) -> Result<Value, String> {
    let outbound = exchange.route.outbound.clone();
    let answer = outbound.call(&worker(), exchange).now_or_never().ok_or("the call waits")?;
    answer.map_err(|fault| fault.to_string())?;
    let record = broker.last.lock().expect("no test panics here").take().ok_or("nothing was published")?;
    let received = Received {
        partition: 0,
        offset: 0,
        timestamp: SystemTime::UNIX_EPOCH,
        key: record.key,
        value: Some(record.value),
        headers: record.headers,
    };
    let event = Type::map(MapType::new().required("data", expected.clone()).others(Others::Of(Type::Any)));
    let event = json::decode(&event::encode(&received), &event, json::DecodeLimits::default());
    event.map_err(|error| error.to_string())?.get("data").cloned().ok_or_else(|| "there is no `data`".to_owned())
}

#[derive(Debug)]
struct Wish;

impl Upgrading for Wish {
    fn protocol(&self) -> &str {
        "websocket"
    }
}

/// A session of a foreign client.
struct Session {
    worker: Rc<Worker>,
    /// The exchange that opened it.
    parent: Exchange,
    children: Straight,
    /// What runs on its connection.
    running: LocalBoxFuture<'static, ()>,
    client: WebSocketStream<DuplexStream>,
}

impl Session {
    async fn open(outbound: Arc<dyn Outbound>) -> Self {
        let (worker, children) = (worker(), Straight::default());
        worker.set_runner(Rc::new(children.clone()));
        let mut request = Request::new(Method::Get, Target::new("/"));
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            request.fields.push(name.as_bytes(), value.as_bytes());
        }
        request.upgrade = Some(Box::new(Wish));
        let mut parent = contract::exchange(contract::route(inbound(MAX_BODY), outbound), request);
        parent.client.address = [192, 0, 2, 7].into();
        let (consumer, credential) = ("acme".into(), "k1".into());
        parent.identity = Some(Arc::new(Identity {
            consumer,
            source: "keys".into(),
            credential,
            expires: None,
            scopes: Arc::default(),
        }));
        let inbound = parent.route.inbound.clone();
        let answer = inbound.open(&worker, &mut parent);
        let tunnel = inbound.render(&parent, answer).tunnel.expect("an upgrade gives a tunnel");
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        Self { worker, parent, children, running: tunnel.run(Box::pin(theirs)), client }
    }

    async fn say(&mut self, frame: Json) {
        self.client.send(Message::text(frame.to_string())).await.expect("the pipe has room");
        assert!((&mut self.running).now_or_never().is_none(), "the session goes on");
    }

    async fn hear(&mut self) -> Json {
        // The runtime grants each turn so many steps of input and output; a new one begins.
        tokio::task::yield_now().await;
        assert!((&mut self.running).now_or_never().is_none(), "the session goes on");
        match self.client.next().now_or_never() {
            Some(Some(Ok(Message::Text(text)))) => serde_json::from_str(&text).expect("a frame is JSON"),
            other => panic!("no frame, but {other:?}"),
        }
    }
}

/// Runs a test on one thread, as a worker does.
fn on_a_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn every_fault_of_a_command_is_an_error_frame_of_its_session() {
    on_a_worker(async {
        let next = AtomicUsize::new(0);
        let outbound =
            FakeOutbound::answering(move |_| Err(fault(FaultKind::ALL[next.fetch_add(1, Ordering::Relaxed)])));
        let mut session = Session::open(outbound).await;
        // The session's id is the request id under which its commands are logged.
        let connected = session.hear().await;
        for (id, kind) in FaultKind::ALL.iter().enumerate() {
            session.say(json!({ "type": "subscribe", "id": id, "channel": "a" })).await;
            let frame = session.hear().await;
            let told = Told::of(*kind, &session.parent.id.to_string());
            assert_eq!(connected["session"], told.request_id);
            let places =
                told.places.iter().map(|place| json!({ "location": place.location, "message": place.message }));
            let expected = json!({
                "type": "error", "id": id, "code": told.code, "message": told.detail, "temporary": kind.temporary(),
                "retry_after_ms": 1_500, "errors": places.collect::<Vec<_>>(),
            });
            assert_eq!(frame, expected);
        }
    });
}

#[test]
fn a_session_s_commands_are_of_the_exchange_that_opened_it_with_time_of_their_own() {
    on_a_worker(async {
        let refusing = FakeOutbound::answering(|_| Err(Fault::new(FaultKind::Forbidden, "no")));
        let mut session = Session::open(refusing).await;
        session.hear().await;
        session.worker.clock.advance(Duration::from_secs(5));
        for command in
            [json!({ "type": "subscribe", "channel": "a" }), json!({ "type": "publish", "channel": "a", "data": 1 })]
        {
            session.say(command).await;
            assert_eq!(session.hear().await["code"], "forbidden");
        }
        let children = session.children.children();
        assert_eq!(children.len(), 2);
        let deadline = session.worker.clock.now().after(session.parent.route.deadline);
        for child in children {
            a_child_is_of_its_parent(&Kin::of(&session.parent), &child, deadline);
        }
    });
}

#[test]
fn a_session_that_is_dropped_drops_its_commands() {
    on_a_worker(async {
        let broker = FakeBroker::silent();
        let mut session = Session::open(channels(&broker)).await;
        session.hear().await;
        session.say(json!({ "type": "publish", "channel": "a", "data": 1 })).await;
        assert_eq!(broker.watch.held(), 1);
        let Session { worker, running, .. } = session;
        drop(running);
        assert_eq!((broker.watch.held(), worker.sessions.len(), worker.clock.sleepers()), (0, 0, 0));
    });
}
