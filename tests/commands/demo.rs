//! `portolan demo`: what it promises to whoever pastes its commands.

use std::fs;
use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::help::example;
use crate::kit::binary::{Binary, portolan};
use crate::kit::kafka::ForeignKafka;
use crate::kit::session::{Closed, Session};
use crate::kit::{Answer, Client};

/// A running demo, whose temporary files are in a folder of the test's own.
struct Demo {
    binary: Binary,
    gateway: SocketAddr,
    admin: SocketAddr,
    kafka: String,
    temporary: TempDir,
}

impl Demo {
    /// Starts it as the example of its help says, and waits until it is ready.
    fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let arguments = example(&portolan(&["demo", "--help"]).stdout);
        let folder = temporary.path().to_str().expect("a temporary folder has a name in UTF-8");
        let binary = Binary::start_with(&arguments, &[("TMPDIR", folder)]);
        binary.wait_for_start("ready");
        let named = |name: &str| binary.wait_for_start(&format!("{name}: "))[name.len() + 2..].to_owned();
        let address = |name: &str| named(name).strip_prefix("http://").expect("a URL").parse().expect("an address");
        Self { gateway: address("gateway"), admin: address("admin"), kafka: named("kafka"), binary, temporary }
    }

    fn call(&self, method: &str, target: &str, key: &str, body: Option<&Value>) -> Answer {
        let call = Client::new(self.gateway).call(method, target).header("x-api-key", key);
        match body {
            Some(body) => call.json(body).send(),
            None => call.send(),
        }
    }

    fn get(&self, target: &str) -> Answer {
        self.call("GET", target, "demo-key", None)
    }

    fn post(&self, target: &str, body: &Value) -> Answer {
        self.call("POST", target, "demo-key", Some(body))
    }

    fn graphql(&self, query: &str) -> Value {
        self.post("/shop/graphql", &json!({ "query": query })).assert_status(200).json()
    }

    fn session(&self) -> Session {
        Session::open(self.gateway, "/order-events/v2", &[("x-api-key", "demo-key")])
    }
}

#[test]
fn the_demo_keeps_its_contract() {
    let demo = Demo::start();
    // Orders over REST.
    let orders = demo.get("/orders-api/v3/orders?limit=3").assert_status(200).json();
    assert_eq!(orders["orders"].as_array().map(Vec::len), Some(3));
    let newest = &orders["orders"][0];
    let path = format!("/orders-api/v3/orders/{}", newest["id"].as_str().expect("an id is text"));
    assert_eq!(demo.get(&path).assert_status(200).json(), *newest);
    let wanted = json!({ "productId": "1", "customerId": "1", "quantity": 2 });
    let made = demo.post("/orders-api/v3/orders", &wanted).assert_status(201).json();
    let path = format!("/orders-api/v3/orders/{}", made["id"].as_str().expect("an id is text"));
    assert_eq!(demo.get(&path).assert_status(200).json(), made);
    assert_eq!((&made["productId"], &made["customerId"], &made["quantity"]), (&json!("1"), &json!("1"), &json!(2)));
    demo.get("/orders-api/v3/orders/no-such-order").assert_status(404);
    let few = demo.post("/orders-api/v3/orders", &json!({ "productId": "1", "quantity": 0 }));
    few.assert_problem(422, "invalid_body");
    let torn = Client::new(demo.gateway).call("POST", "/orders-api/v3/orders").header("x-api-key", "demo-key");
    torn.header("content-type", "application/json")
        .body("{\"productId\":")
        .send()
        .assert_problem(400, "malformed_body");

    // The same shop over GraphQL, and a REST operation that GraphQL answers.
    let found = demo.graphql(
        "{ products(first: 2) { id orders(first: 1) { id quantity product { id } customer { id orders(first: 1) { id } } } }
           orders(first: 2) { id quantity } customers(first: 2) { id } }",
    );
    assert!(found["errors"].is_null(), "{found}");
    for list in ["products", "orders", "customers"] {
        assert_eq!(found["data"][list].as_array().map(Vec::len), Some(2), "{found}");
    }
    assert_eq!(
        found["data"]["orders"][0],
        json!({ "id": made["id"], "quantity": 2 }),
        "the newest is the one just made"
    );
    let made =
        demo.graphql("mutation { createOrder(productId: \"1\", customerId: \"1\", quantity: 3) { id quantity } }");
    assert_eq!(made["data"]["createOrder"]["quantity"], 3, "{made}");
    let schema = demo.graphql("{ __schema { subscriptionType { fields { name type { ofType { name } } } } } }");
    let subscription = json!([ { "name": "orderCreated", "type": { "ofType": { "name": "Order" } } } ]);
    assert_eq!(schema["data"]["__schema"]["subscriptionType"]["fields"], subscription);
    let products = demo.get("/orders-api/v3/products?limit=2").assert_status(200).json();
    assert_eq!(products.as_array().map(Vec::len), Some(2), "{products}");
    let dear = demo.graphql("{ products(first: 100) { orders(first: 100) { customer { id } } } }");
    assert_eq!(dear["errors"][0]["extensions"]["code"], "graphql_limit", "{dear}");

    // Who may not.
    let client = Client::new(demo.gateway);
    client.get("/orders-api/v3/orders").assert_problem(401, "credentials_missing");
    demo.call("GET", "/orders-api/v3/orders", "demo-kez", None).assert_problem(401, "credentials_invalid");
    demo.get("/nothing-here").assert_problem(404, "unknown_route");
    let event = json!({ "id": "1", "quantity": 1 });
    demo.call("POST", "/order-events/v2/orders.created", "demo-free", Some(&event))
        .assert_problem(403, "not_subscribed");
    let refused = Session::try_open(demo.gateway, "/order-events/v2", None, &[("x-api-key", "demo-free")]);
    assert_eq!(refused.err().map(|answer| answer.status), Some(403));
    let free: Vec<_> = (0..6).map(|_| demo.call("GET", "/orders-api/v3/orders", "demo-free", None)).collect();
    assert_eq!(free.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 200, 200, 200, 429]);
    free[5].assert_problem(429, "rate_limited");
    for field in [
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ] {
        assert!(free[5].header(field).is_some(), "no {field}");
    }

    // What it knows of itself.
    let actors = Client::new(demo.admin).get("/actors").assert_status(200).json();
    let names: Vec<_> =
        actors["actors"].as_array().expect("a list").iter().filter_map(|actor| actor["name"].as_str()).collect();
    for name in
        ["breaker/orders", "breaker/shop", "limiter/memory", "topic/events/orders.created.v2", "publisher/events"]
    {
        assert!(names.contains(&name), "no {name} among {names:?}");
    }
    for page in ["/livez", "/readyz", "/metrics", "/routes"] {
        Client::new(demo.admin).get(page).assert_status(200);
    }
}

#[test]
fn events_pass_between_a_session_callers_and_a_foreign_client() {
    let demo = Demo::start();
    let mut session = demo.session();
    session.subscribe("orders.created");
    let id = session.send(json!({ "type": "subscribe", "channel": "orders.cancelled" }));
    assert_eq!(session.refused(id)["code"], "unknown_channel");
    // An order made over REST and one made over GraphQL.
    let wanted = json!({ "productId": "1", "customerId": "1", "quantity": 2 });
    let made = demo.post("/orders-api/v3/orders", &wanted).assert_status(201).json();
    assert_eq!(session.event(|event| event["data"]["id"] == made["id"])["data"], made);
    let made = demo.graphql("mutation { createOrder(productId: \"2\", customerId: \"1\", quantity: 5) { id } }");
    let id = &made["data"]["createOrder"]["id"];
    assert_eq!(session.event(|event| event["data"]["id"] == *id)["data"]["quantity"], 5);
    // An event that is posted, and found again by another program where the answer says.
    let placed = demo.post("/order-events/v2/orders.created", &json!({ "id": "posted", "quantity": 1 }));
    let placed = placed.assert_status(201).json();
    let (partition, offset) =
        (placed["partition"].as_i64().expect("a number"), placed["offset"].as_i64().expect("a number"));
    assert_eq!(session.event(|event| event["data"]["id"] == "posted")["pos"], format!("{partition}:{offset}"));
    let mut foreign = ForeignKafka::connect(&demo.kafka);
    assert_eq!(foreign.read("orders.created.v2", partition, offset, 1)[0]["value"], r#"{"id":"posted","quantity":1}"#);
    // And one that the other program makes.
    foreign.produce("orders.created.v2", Some("foreign"), r#"{"id": "foreign", "quantity": 1}"#);
    let event = session.event(|event| event["key"] == "foreign");
    assert_eq!(event["data"], json!({ "id": "foreign", "quantity": 1 }));
    session.close();
}

#[test]
fn ctrl_c_ends_it_within_five_seconds_and_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = Demo::start();
        assert_eq!(fs::read_dir(demo.temporary.path()).unwrap().count(), 1, "its configuration is in one folder");
        let mut session = demo.session();
        session.subscribe("orders.created");
        demo.get("/orders-api/v3/orders").assert_status(200);
        let ended = since(|| {
            demo.binary.signal(signal);
            let reason = "the gateway is shutting down".into();
            assert_eq!(session.closed(), Closed { code: 1012, reason });
            session.close();
            assert_eq!(demo.binary.wait().code(), Some(0), "{:#?}", demo.binary.lines());
        });
        assert!(ended.as_secs() < 5, "it took {ended:?}");
        assert_eq!(fs::read_dir(demo.temporary.path()).unwrap().count(), 0, "it left files behind");
        for address in [demo.gateway, demo.admin, demo.kafka.parse().expect("an address")] {
            assert!(TcpStream::connect(address).is_err(), "{address} still listens");
        }
    }
}

/// How long something took. The one promise of a time: five seconds for what takes half of one.
#[expect(clippy::disallowed_methods, reason = "the end of another process is not a matter of our clock")]
fn since(what: impl FnOnce()) -> std::time::Duration {
    let began = std::time::Instant::now();
    what();
    began.elapsed()
}

#[test]
fn a_port_in_use_is_said_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = portolan(&["demo", "--listen", &address, "--admin", "127.0.0.1:0"]);
    let expected = format!(
        "portolan: the demo did not start: listen on {address} for listener `public`: Address already in use (os error 98); \
         `--listen` and `--admin` take other addresses, port 0 any free port\n"
    );
    assert_eq!((told.code, told.stdout.as_str(), told.stderr), (Some(1), "", expected));
}

#[test]
fn a_change_of_its_configuration_takes_effect_as_the_guide_says() {
    let demo = Demo::start();
    let dear = "{ products(first: 50) { orders(first: 50) { id } } }";
    assert_eq!(demo.graphql(dear)["errors"][0]["extensions"]["code"], "graphql_limit");
    // The command that the guide prints, without a shell.
    let command = demo.binary.wait_for_line("sed -i");
    let words: Vec<_> = command.split('\'').collect();
    let [_, rule, file] = words[..] else { panic!("not the command that was expected: {command}") };
    let rule: Vec<_> = rule.split('/').collect();
    let (file, from, to) = (file.trim(), rule[1], rule[2]);
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "`{from}` is not in the configuration");
    fs::write(file, text.replace(from, to)).unwrap();
    crate::kit::wait::until("the new limit", || demo.graphql(dear)["errors"].is_null());
}
