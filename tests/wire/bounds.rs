//! How many at once: connections of a listener and of an address, calls to an upstream.

use std::fs;
use std::thread;

use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

use super::{SECOND, answer, get, listening, naming, ok};
use crate::kit::binary::Binary;
use crate::kit::raw::End;
use crate::kit::wait::Watched;
use crate::kit::{RawClient, RawUpstream, TestGateway, wait};

#[test]
fn beyond_the_connections_of_a_listener_the_next_one_waits_for_another_to_end() {
    let upstream = naming();
    let gateway = listening("max_connections: 2", &upstream.url());
    let mut open: Vec<_> = (0..2).map(|_| RawClient::connect(gateway.address())).collect();
    for client in &mut open {
        client.send(get("/in"));
        assert_eq!(answer(client, "GET"), ok("/in"));
    }
    let mut waiting = RawClient::connect(gateway.address());
    waiting.send(get("/next"));
    // The others are still served, and a served request is a turn in which the next one would have been, too.
    for client in &mut open {
        client.send(get("/in"));
        assert_eq!(answer(client, "GET"), ok("/in"));
    }
    assert!(waiting.is_quiet() && upstream.count() == 4, "a third connection was served");
    drop(open.pop());
    assert_eq!(answer(&mut waiting, "GET"), ok("/next"));
}

#[test]
fn beyond_the_connections_of_an_address_the_next_one_is_closed_at_once() {
    let upstream = naming();
    let gateway = listening("max_connections_per_address: 2", &upstream.url());
    let mut open: Vec<_> = (0..2).map(|_| RawClient::connect(gateway.address())).collect();
    for client in &mut open {
        client.send(get("/in"));
        assert_eq!(answer(client, "GET"), ok("/in"));
    }
    let mut third = RawClient::connect(gateway.address());
    third.try_send(get("/third"));
    assert_eq!(third.rest().1, b"");
    drop(open.pop());
    wait::until("there is room again", || {
        let mut next = RawClient::connect(gateway.address());
        next.try_send(get("/next")) && next.try_answer_to("GET").is_some()
    });
    assert!(upstream.requests().iter().all(|request| !request.start.contains("/third")));
}

#[test]
fn a_connection_counts_for_the_client_that_its_proxy_header_names_and_a_proxys_own_for_nobody() {
    let upstream = naming();
    let gateway = listening(
        "max_connections_per_address: 1, trusted_proxies: [ 127.0.0.1 ], proxy_protocol: accept",
        &upstream.url(),
    );
    let connect = |header: &str| {
        let mut client = RawClient::connect(gateway.address());
        client.try_send(format!("{header}{}", get("/in")));
        client.try_answer_to("GET").map(|_| client)
    };
    let of = |client: &str| connect(&format!("PROXY TCP4 {client} 198.51.100.1 4711 443\r\n"));
    let first = of("192.0.2.7").expect("the first of its client");
    assert!(of("192.0.2.7").is_none(), "a second one was served");
    let _other = of("192.0.2.8").expect("another client");
    let _own = [(); 3].map(|()| connect("").expect("the proxy speaks for many"));
    assert_eq!(gateway.metric("portolan_connections_refused_total{listener=\"public\",why=\"address\"}"), 1.0);
    drop(first);
    wait::until("there is room again", || of("192.0.2.7").is_some());
}

#[test]
fn beyond_the_calls_that_may_wait_for_an_upstream_the_next_one_is_told_to_come_again() {
    let may_answer = Watched::<bool>::default();
    let opened = may_answer.clone();
    let upstream = RawUpstream::start(move |peer| {
        while peer.request().is_some() {
            opened.wait("the upstream may answer", |may| may.then_some(()));
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ], pool: { max_connections: 1, pending: 2 }, timeouts: { connect: 10s } } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let called = gateway.call("GET", "/").start();
    upstream.wait_for_requests(1);
    // Two wait; of the others each is refused, however many come.
    let pending: Vec<_> = (0..6).map(|_| gateway.call("GET", "/").start()).collect();
    wait::until("four are refused", || pending.iter().filter(|pending| pending.is_there()).count() == 4);
    may_answer.change(|may| *may = true);
    let mut answers: Vec<_> = pending.into_iter().map(|pending| pending.answer()).collect();
    answers.push(called.answer());
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((served.len(), refused.len(), upstream.count(), upstream.connections()), (3, 4, 3, 1));
    for answer in refused {
        answer.assert_problem(503, "overloaded");
        assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
    }
}

#[test]
fn a_call_that_waits_too_long_for_its_turn_is_told_to_come_again() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            peer.hang();
        }
    });
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        listeners: { public: { address: 127.0.0.1:0, idle_timeout: 24h } }
        upstreams: { service: { endpoints: [ "{upstream}" ], pool: { max_connections: 1 }, timeouts: { connect: 3s, first_byte: 1h, request: 1h } } }
        routes: { all: { path: /**, upstream: service, deadline: 1h } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut first = RawClient::connect(gateway.address());
    first.send(get("/"));
    upstream.wait_for_requests(1);
    let second = gateway.call("GET", "/").start();
    gateway.advance_until("the second is told", SECOND, || second.is_there());
    second.answer().assert_problem(503, "overloaded");
    assert!(first.is_quiet());
    assert_eq!(gateway.log(1)[0]["fault"], json!("overloaded"));
}

#[test]
fn near_the_end_of_its_files_it_sheds_logs_once_and_recovers() {
    let upstream = naming();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let configuration = format!(
        "listeners: {{ public: {{ address: 127.0.0.1:0 }} }}\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: {{ to: off }}\nworkers: 1\n\
         limits: {{ reserved_files: 200 }}\n\
         upstreams: {{ service: {{ endpoints: [ {} ] }} }}\nroutes: {{ all: {{ path: /**, upstream: service }} }}\n",
        upstream.url()
    );
    fs::write(&file, configuration).unwrap();
    let gateway = Binary::start_with_files(400, &["run".as_ref(), "-c".as_ref(), file.as_os_str()]);
    let line: Value = serde_json::from_str(&gateway.wait_for_line("\"listening\"")).unwrap();
    let address = line["address"].as_str().unwrap().parse().unwrap();
    let connect = || {
        let mut client = RawClient::connect(address);
        client.try_send(get("/in")).then(|| client.try_answer_to("GET")).flatten().map(|answer| (client, answer))
    };
    let mut open = Vec::new();
    let refused = loop {
        match connect() {
            Some((client, answer)) if answer.status() == 200 => open.push(client),
            Some((_, answer)) => break answer,
            None => continue,
        }
        assert!(open.len() < 400, "more connections than files");
    };
    assert_eq!((refused.status(), &refused.json()["code"]), (503, &json!("overloaded")));
    assert!(open.len() >= 100, "shed at {} connections of 200", open.len());
    for _ in 0..20 {
        connect();
    }
    gateway.wait_for_line("shedding began");
    open.clear();
    wait::until("there is room again", || connect().is_some_and(|(_, answer)| answer.status() == 200));
    gateway.wait_for_line("shedding ended");
    let told = |what: &str| gateway.lines().iter().filter(|line| line.contains(what)).count();
    assert_eq!((told("shedding began"), told("shedding ended")), (1, 1), "{:#?}", gateway.lines());
}

/// A gateway of little memory, and one route that gathers bodies: each is read before it is checked.
fn of_little_memory(upstream: &RawUpstream) -> TestGateway {
    TestGateway::with_config(
        r#"
        workers: 1
        limits: { memory_budget: 16MiB }
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /plain, upstream: service } }
        apis: { orders: { version: v1, openapi: ./orders.openapi.yaml, path: /orders, upstream: service, max_body: 8MiB } }
        "#,
    )
    .with("upstream", upstream.url())
    .file(
        "orders.openapi.yaml",
        "
        openapi: 3.1.0
        info: { title: Orders, version: 1.0.0 }
        paths: { /order: { post: { operationId: order, requestBody: { content: { application/json: { schema: { type: string } } } }, responses: { '200': { description: made } } } } }
        ",
    )
    .start()
}

/// Uploads whose last bytes do not come, as many as there is room for.
fn fill(gateway: &TestGateway) -> Vec<RawClient> {
    const BODY: usize = 4 << 20;
    let mut uploads = Vec::new();
    wait::until("there is no more room", || {
        assert!(uploads.len() < 16, "more than the budget was taken");
        let mut upload = RawClient::connect(gateway.address());
        upload.send(format!("POST /orders/order HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {BODY}\r\n\r\n\""));
        upload.send_until_blocked(&vec![b'x'; BODY - 2]);
        uploads.push(upload);
        gateway.get("/plain").status == 503
    });
    uploads
}

#[test]
fn near_the_end_of_its_memory_it_sheds_and_recovers() {
    let upstream = naming();
    let gateway = of_little_memory(&upstream);
    let uploads = fill(&gateway);
    gateway.get("/plain").assert_problem(503, "overloaded");
    assert_eq!(gateway.metric("portolan_shedding{scarce=\"memory\"}"), 1.0);
    drop(uploads);
    wait::until("there is room again", || gateway.get("/plain").status == 200);
    assert_eq!(gateway.metric("portolan_shedding{scarce=\"memory\"}"), 0.0);
}

#[test]
fn while_it_sheds_a_connection_that_asks_for_more_ends_whatever_is_spoken_on_it() {
    let upstream = naming();
    let gateway = of_little_memory(&upstream);
    let mut kept = RawClient::connect(gateway.address());
    kept.send(get("/plain"));
    assert_eq!(answer(&mut kept, "GET"), ok("/plain"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = || http::Request::get("http://a/plain").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let (mut http2, ending) = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let ending = tokio::spawn(connection);
        assert_eq!(sender.send_request(request()).await.unwrap().status(), 200);
        (sender, ending)
    });
    let _uploads = fill(&gateway);
    let shed = gateway.metric("portolan_requests_shed_total");

    kept.send(get("/plain"));
    let refused = answer(&mut kept, "GET");
    let told = |name: &str| refused.field(name);
    assert_eq!((refused.status(), &refused.json()["code"]), (503, &json!("overloaded")));
    assert_eq!((told("connection").as_deref(), told("retry-after").as_deref()), (Some("close"), Some("1")));
    assert_eq!(kept.rest(), (End::Closed, Vec::new()));
    runtime.block_on(async {
        let refused = http2.send_request(request()).await.unwrap();
        let told = refused.headers().get("retry-after").cloned();
        assert_eq!((refused.status().as_u16(), told), (503, Some(http::HeaderValue::from_static("1"))));
        // It is told to go, and the connection ends in good order.
        ending.await.unwrap().unwrap();
    });
    assert_eq!(gateway.metric("portolan_requests_shed_total"), shed + 2.0);
}

#[test]
fn a_client_that_takes_nothing_is_charged_for_what_waits_for_it() {
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            if request.start.starts_with("GET /plain ") {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                continue;
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n");
            while peer.send([b'x'; 64 * 1024]) {}
        }
    });
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        limits: { memory_budget: 16MiB }
        upstreams: { service: { endpoints: [ "{upstream}" ], pool: { max_connections: 300 } } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut idle = Vec::new();
    wait::until("there is no more room", || {
        assert!(idle.len() < 200, "more than the budget was taken");
        let mut client = RawClient::connect_narrow(gateway.address());
        client.send(get("/endless"));
        idle.push(client);
        gateway.get("/plain").status == 503
    });
    drop(idle);
    wait::until("there is room again", || gateway.get("/plain").status == 200);
}

#[test]
fn answers_that_are_gathered_to_be_joined_or_translated_count() {
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            if request.start.starts_with("GET /plain ") {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                continue;
            }
            // All of it but the end.
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7000000\r\n\r\n\"");
            peer.send(vec![b'x'; 6_000_000]);
            return peer.hang();
        }
    });
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        limits: { memory_budget: 16MiB }
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /plain, upstream: service } }
        apis:
          shop: { version: v1, graphql: ./shop.graphql, path: /shop, upstream: service }
          rest:
            version: v1
            openapi: ./rest.yaml
            path: /rest
            upstream: service
            operations: { list: { graphql: { upstream: service, document: "{ products }" } } }
        "#,
    )
    .with("upstream", upstream.url())
    .file("shop.graphql", "type Query { products: [String] }")
    .file(
        "rest.yaml",
        "
        openapi: 3.1.0
        info: { title: Shop, version: 1.0.0 }
        paths: { /products: { get: { operationId: list, responses: { '200': { description: products } } } } }
        ",
    )
    .start();
    let query = r#"{"query":"{ products }"}"#;
    let batch = format!("[{}]", [query; 3].join(","));
    let batch = format!(
        "POST /shop HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{batch}",
        batch.len()
    );
    for requests in [vec![batch], vec![get("/rest/products"); 3]] {
        let asked: Vec<_> = requests
            .iter()
            .map(|request| {
                let mut client = RawClient::connect(gateway.address());
                client.send(request);
                client
            })
            .collect();
        wait::until("there is no more room", || gateway.get("/plain").status == 503);
        drop(asked);
        wait::until("there is room again", || gateway.get("/plain").status == 200);
    }
}

#[test]
fn a_budget_changes_with_a_reload() {
    let upstream = naming();
    let gateway = of_little_memory(&upstream);
    let budget = || gateway.metric("portolan_memory_budget_bytes");
    assert_eq!(budget(), f64::from(16 << 20));
    gateway.reload(&gateway.configuration().replace("16MiB", "32MiB")).unwrap();
    assert_eq!(budget(), f64::from(32 << 20));
}

#[test]
fn an_idle_connection_ends_after_its_time_and_one_that_is_used_does_not() {
    let upstream = naming();
    let gateway = listening("idle_timeout: 20s", &upstream.url());
    let mut idle = RawClient::connect(gateway.address());
    idle.send(get("/once"));
    assert_eq!(answer(&mut idle, "GET"), ok("/once"));
    let mut used = RawClient::connect(gateway.address());
    let reading = thread::spawn(move || idle.end());
    for _ in 0..20 {
        used.send(get("/again"));
        assert_eq!(answer(&mut used, "GET"), ok("/again"));
        gateway.advance(5 * SECOND);
    }
    assert_eq!(reading.join().unwrap(), End::Closed);
    used.send(get("/again"));
    assert_eq!(answer(&mut used, "GET"), ok("/again"));
}
