//! The access log: what stands in a line, and what becomes of lines that there is no room for.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use portolan_exchange::{Phase, Step};
use serde_json::{Value, json};

use super::scout::{Notes, Scout};
use super::with_scouts;
use crate::kit::kafka::{Kafka, MockKafka};
use crate::kit::session::Session;
use crate::kit::wait::Watched;
use crate::kit::{RawUpstream, TestGateway, wait};

const SECOND: Duration = Duration::from_secs(1);

const OPENAPI: &str = r"
    openapi: 3.1.0
    info: { title: Orders, version: 3.0.0 }
    paths:
      /orders/{id}: { put: { operationId: putOrder, parameters: [ { name: id, in: path, required: true, schema: { type: string } } ], responses: { '200': { description: made } } } }
";

/// HMAC-SHA-256 of `acme-key` under `pepper`, as `printf %s acme-key | openssl dgst -sha256 -hmac pepper` prints it.
const ACME_KEY: &str = "a376e52b3014fe48601dc1dfb66ff2b55fe15daeae5a530ada7936ad677381cf";

#[test]
fn a_line_tells_who_asked_for_what_and_where_the_time_went() {
    let answers = Watched::<bool>::default();
    let opened = answers.clone();
    let upstream = RawUpstream::start(move |peer| {
        while peer.request().is_some() {
            answers.wait("the upstream may answer", |may| may.then_some(()));
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nanswered");
        }
    });
    let notes = Notes::default();
    let begun = notes.clone();
    let waiter = Scout::new("waiter", Phase::Limit, &notes).on_wait(move |worker, _| {
        let timer = worker.clock.sleep(2 * SECOND);
        begun.note("waits");
        Box::pin(async move {
            timer.await;
            Step::Next
        })
    });
    let setup = TestGateway::with_config(
        r#"
        identity: { keys: { api_key: { header: x-api-key, pepper: "${env:PEPPER}" } } }
        upstreams: { orders: { endpoints: [ "{upstream}" ] } }
        apis: { orders: { version: v3, openapi: ./orders.openapi.yaml, path: /api, upstream: orders, authenticate: [ keys ] } }
        consumers: { acme: { keys: [ { hash: {key} } ], subscriptions: [ { api: orders } ] } }
        "#,
    )
    .with("upstream", upstream.url())
    .with("key", ACME_KEY)
    .environment("PEPPER", "pepper")
    .file("orders.openapi.yaml", OPENAPI);
    let gateway = with_scouts(setup, [waiter]).start();
    let call =
        gateway.call("PUT", "/api/orders/7?token=secret").header("x-api-key", "acme-key").body("twelve bytes").start();
    notes.wait_for("waits");
    gateway.advance(2 * SECOND);
    upstream.wait_for(1);
    gateway.advance(3 * SECOND);
    opened.change(|may| *may = true);
    let answer = call.answer().assert_status(200);
    let mut line = gateway.log(1).remove(0);
    let id = line["request_id"].take();
    assert!(id.as_str().is_some_and(|id| id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit())), "{id}");
    assert_eq!(Some(id.as_str().unwrap().to_owned()), answer.header("x-request-id"));
    let endpoint = upstream.url().replace("http://", "");
    assert_eq!(
        line,
        json!({
            "time": "2026-01-02T03:04:10Z", "request_id": null, "route": "orders", "operation": "putOrder", "method": "PUT",
            "path": "/api/orders/7", "protocol": "rest", "consumer": "acme", "client": "127.0.0.1", "status": 200,
            "outcome": "completed", "bytes_in": 12, "bytes_out": 8, "queue_us": 0, "gateway_us": 2_000_000, "upstream_us": 3_000_000,
            "upstream": "orders", "endpoint": endpoint,
        })
    );
}

/// The fields that the page of operations names, in its order.
fn fields_of_the_page() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("## The access log").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split_once(" |").unwrap().0);
    cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned()).collect()
}

#[test]
fn the_page_names_every_field_and_every_field_is_written() {
    let kafka = MockKafka::start(&[("orders", 1)]);
    let gateway = TestGateway::with_config(
        r#"
        identity: { keys: { api_key: { header: x-api-key, pepper: "${env:PEPPER}" } } }
        upstreams: { away: { endpoints: [ "http://{nobody}" ] } }
        routes: { away: { path: /away, upstream: away } }
        brokers: { main: { kafka: { bootstrap: [ "{kafka}" ] } } }
        apis: { events: { version: v1, asyncapi: ./events.asyncapi.yaml, path: /events, broker: main, authenticate: [ keys ] } }
        consumers: { acme: { keys: [ { hash: {key} } ], subscriptions: [ { api: events } ] } }
        "#,
    )
    .with("nobody", crate::kit::upstream::nobody())
    .with("kafka", kafka.bootstrap())
    .with("key", ACME_KEY)
    .environment("PEPPER", "pepper")
    .file("events.asyncapi.yaml", crate::actors::EVENTS)
    .start();
    let mut session = Session::open(gateway.address(), "/events", &[("x-api-key", "acme-key")]);
    session.publish("orders", "k", &json!(1));
    gateway.get("/away").assert_problem(502, "upstream_unreachable");
    let lines = gateway.log(2);
    let written: BTreeSet<String> = lines.iter().flat_map(|line| line.as_object().unwrap().keys().cloned()).collect();
    assert_eq!(written, fields_of_the_page());
    let publish = lines.iter().find(|line| line["kind"] == "publish").unwrap();
    let without: Vec<_> =
        ["method", "path", "upstream", "fault"].iter().filter(|name| publish.get(name).is_some()).collect();
    assert!(without.is_empty(), "a command of a session has no {without:?}: {publish}");
}

#[test]
fn lines_that_there_is_no_room_for_are_dropped_and_counted_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open for reading, so that the gateway can open it for writing; nobody reads yet, and a pipe holds 64 KiB.
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let upstream = crate::kit::FakeUpstream::answering(200, json!("sound"));
    let gateway = TestGateway::with_config(
        r#"
        access_log: { to: "{pipe}", queue: 16 }
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("pipe", pipe.display())
    .with("upstream", upstream.url())
    .start();
    let client = gateway.client();
    // Several lines fill a page of the pipe, all sixteen pages, and sixteen lines the queue.
    let path = format!("/{}", "x".repeat(500));
    let mut sent = 0_u32;
    let written = |gateway: &TestGateway| gateway.metric("portolan_access_log_lines_total{fate=\"written\"}");
    let dropped = |gateway: &TestGateway| gateway.metric("portolan_access_log_lines_total{fate=\"dropped\"}");
    wait::until("lines are dropped", || {
        client.get(&path).assert_status(200);
        sent += 1;
        // The queue is only for what the pipe does not take: the writer may come to the first ones in its own time.
        if sent <= 20 {
            wait::until("the line is written", || written(&gateway) >= f64::from(sent));
        }
        dropped(&gateway) > 0.0
    });
    assert!(sent > 32, "dropped after {sent} lines though there was room");
    let read = thread::spawn(move || {
        let mut lines = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        // The last line is the one that the test sends when all others are written.
        while !lines.ends_with(b"}\n") || !lines.windows(7).any(|window| window == b"\"/last\"") {
            let count = reader.read(&mut buffer).unwrap();
            lines.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(lines).unwrap()
    });
    wait::until("the queue is written", || written(&gateway) + dropped(&gateway) == f64::from(sent));
    client.get("/last").assert_status(200);
    let lines: Vec<Value> = read.join().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    wait::until("the last line counts", || written(&gateway) + dropped(&gateway) == f64::from(sent + 1));
    assert_eq!(lines.len() as f64, written(&gateway));
}
