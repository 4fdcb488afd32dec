use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};

use portolan_config::snapshot::{ApiKind, Snapshot};
use portolan_config::tree;
use serde_json::json;

use super::services::tests::{call, orders};
use super::*;

/// A port of the loopback that the system chooses.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The example as a user would load it: without a variable set.
fn example() -> Snapshot {
    let folder = write_files().unwrap();
    let loaded = portolan_config::load(folder.path().join(CONFIGURATION), &|_| None);
    loaded.unwrap_or_else(|problems| panic!("{}", problems.render()))
}

fn hash(pepper: &str, key: &str) -> Vec<u8> {
    let pepper = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, pepper.as_bytes());
    aws_lc_rs::hmac::sign(&pepper, key.as_bytes()).as_ref().to_vec()
}

#[test]
fn the_example_loads_without_a_variable_and_without_a_warning() {
    let example = example();
    assert_eq!(example.warnings.render(), "");
    assert_eq!(example.listeners["public"].address, DemoOptions::default().listen);
    assert_eq!(example.admin.address, DemoOptions::default().admin);
    let paths: Vec<_> = example.apis.values().map(|api| (&*api.name, &*api.version, api.path.as_str())).collect();
    assert_eq!(
        paths,
        [
            ("orders", "v3", "/orders-api/v3"),
            ("shop", "v1", "/shop/graphql"),
            ("order-events", "v2", "/order-events/v2")
        ]
    );
}

#[test]
fn the_contracts_of_the_example_are_served_without_a_warning() {
    let mut read = Vec::new();
    for api in example().apis.values() {
        let source = api.kind.source();
        let tree = || tree::parse(&source.path, &source.text).unwrap();
        read.push(match &api.kind {
            ApiKind::OpenApi(_) => {
                let contract =
                    portolan_rest::Contract::read(&tree()).unwrap_or_else(|told| panic!("{}", told.render()));
                contract.operations.iter().map(|operation| operation.id.to_string()).collect::<Vec<_>>()
            }
            ApiKind::AsyncApi(_) => {
                let contract =
                    portolan_events::Contract::read(&tree()).unwrap_or_else(|told| panic!("{}", told.render()));
                assert_eq!(contract.warnings.render(), "");
                let told = |channel: &Arc<portolan_events::Channel>| {
                    assert!(channel.may_subscribe && channel.may_publish);
                    format!("{} in {}", channel.address, channel.topic)
                };
                contract.channels.iter().map(told).collect()
            }
            ApiKind::GraphQl(_) => {
                let schema = portolan_graphql::Schema::parse(&source.text);
                let schema = schema.unwrap_or_else(|told| panic!("{told:?}"));
                use portolan_graphql::OperationKind::{Mutation, Query, Subscription};
                [Query, Mutation, Subscription].map(|kind| schema.offers(kind).to_string()).into()
            }
        });
    }
    let expected = [
        vec!["listOrders", "createOrder", "getOrder", "listProducts"],
        vec!["true", "true", "true"],
        vec!["orders.created in orders.created.v2"],
    ];
    assert_eq!(read, expected);
}

#[test]
fn the_example_knows_both_keys_and_what_they_may_do() {
    let example = example();
    let portolan_config::snapshot::IdentityKind::ApiKey(identity) = &example.identities["keys"].kind else {
        panic!("the example takes keys")
    };
    let told: Vec<_> = ["demo", "demo-free"]
        .map(|name| {
            let consumer = &example.consumers[name];
            // Each consumer is called like its key, save that `demo-key` belongs to `demo`.
            let key = if name == "demo" { "demo-key" } else { name };
            assert_eq!(consumer.keys[0].hash.to_vec(), hash(identity.pepper.expose(), key));
            let subscribed = consumer.subscriptions.iter().map(|subscription| {
                let plan = subscription.plan.as_ref().map_or("no plan", |plan| &plan.name);
                format!("{} {}: {plan}", subscription.api, subscription.version)
            });
            subscribed.collect::<Vec<_>>()
        })
        .into();
    let expected = [
        vec!["orders v3: no plan", "shop v1: no plan", "order-events v2: no plan"],
        vec!["orders v3: free", "shop v1: free"],
    ];
    assert_eq!(told, expected);
}

#[test]
fn every_file_of_the_example_is_carried_by_the_binary() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo");
    let mut beside: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut carried = FILES.map(|(name, _)| std::ffi::OsString::from(name));
    beside.sort();
    carried.sort();
    assert_eq!(beside, carried);
}

#[test]
fn a_running_demo_keeps_what_it_prints_and_leaves_nothing_behind() {
    let demo = Demo::start_logging(DemoOptions { listen: ANY, admin: ANY }, "off").unwrap();
    let ask = |method: &str, target: &str, key: &str, body: &str| call(demo.gateway(), method, target, key, body);

    assert_eq!(orders(&ask("GET", "/orders-api/v3/orders?limit=3", "demo-key", "")), 3);
    assert_eq!(ask("GET", "/orders-api/v3/orders/1", "demo-key", "").json()["id"], json!("1"));
    let made =
        ask("POST", "/orders-api/v3/orders", "demo-key", r#"{"productId": "1", "customerId": "1", "quantity": 2}"#);
    assert_eq!((made.status, made.json()["id"].clone()), (201, json!("13")));

    let products = ask("GET", "/orders-api/v3/products?limit=1", "demo-key", "");
    assert_eq!(products.json(), json!([{ "id": "1", "name": "Compass", "price": 4_900 }]));
    let query = r#"{"query": "{ orders(first: 1) { id customer { name } } }"}"#;
    let expected = json!({ "data": { "orders": [{ "id": "13", "customer": { "name": "Ada" } }] } });
    assert_eq!(ask("POST", "/shop/graphql", "demo-key", query).json(), expected);

    let placed = ask("POST", "/order-events/v2/orders.created", "demo-key", r#"{"id": "x", "quantity": 1}"#).json();
    assert!(placed["partition"].is_i64() && placed["offset"].is_i64(), "{placed}");

    assert_eq!(ask("GET", "/orders-api/v3/orders", "", "").status, 401);
    assert_eq!(ask("POST", "/order-events/v2/orders.created", "demo-free", "{}").status, 403);
    let free = [(); 6].map(|()| ask("GET", "/orders-api/v3/orders", "demo-free", "").status);
    assert_eq!(free, [200, 200, 200, 200, 200, 429]);
    assert_eq!(call(demo.admin(), "GET", "/readyz", "", "").status, 200);

    let (addresses, folder) = ([demo.gateway(), demo.admin()], demo.folder.path().to_owned());
    demo.stop();
    for address in addresses {
        assert!(TcpStream::connect(address).is_err(), "{address} still accepts");
    }
    assert!(!folder.exists());
}

#[test]
fn an_address_in_use_is_told_with_a_way_out() {
    let taken = TcpListener::bind(ANY).unwrap();
    let listen = taken.local_addr().unwrap();
    let told = Demo::start_logging(DemoOptions { listen, admin: ANY }, "off").err().unwrap();
    assert_eq!(
        told,
        format!(
            "listen on {listen} for listener `public`: Address already in use (os error 98); \
             `--listen` and `--admin` take other addresses, port 0 any free port"
        )
    );
}
