//! A client that goes away cancels its call, wherever it stands, and is recorded once.

use serde_json::{Value, json};

use super::plain;
use super::scout::{Notes, Scout};
use crate::kit::{RawClient, RawUpstream, TestGateway};

const PHASES: [&str; 8] = ["guard", "authenticate", "authorize", "limit", "filter", "transform", "cache", "call"];

/// Checks that the only exchange of this gateway was cancelled, that each policy was told once, and gives its line.
fn cancelled_once(gateway: &TestGateway, notes: &Notes, path: &str) -> Value {
    let line = gateway.log(1).remove(0);
    assert_eq!([&line["path"], &line["outcome"]], [&json!(path), &json!("cancelled")], "{line}");
    let ends: Vec<_> = notes.of(path).into_iter().filter(|note| note.contains(" end ")).collect();
    assert_eq!(ends, PHASES.iter().rev().map(|phase| format!("{phase} end Cancelled")).collect::<Vec<_>>());
    assert_eq!(gateway.metric("portolan_cancelled_total{route=\"all\"}"), 1.0);
    assert_eq!(gateway.metric("portolan_faults_total{route=\"all\",code=\"client_gone\"}"), 0.0);
    // The gateway goes on, and nothing more is said of it.
    gateway.get("/sound").assert_status(200);
    let lines = gateway.log(2);
    assert_eq!([&lines.len().into(), &lines[1]["path"]], [&json!(2), &json!("/sound")]);
    line
}

/// Answers `/sound`; of another request it reads the head, does this, and then nothing more.
fn upstream(does: impl Fn(&mut crate::kit::raw::Peer) + Send + Sync + 'static) -> RawUpstream {
    RawUpstream::start(move |peer| {
        while let Some(head) = peer.head() {
            if !head.starts_with("GET /sound ") {
                does(peer);
                return peer.hang();
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    })
}

#[test]
fn while_it_sends_its_body() {
    let notes = Notes::default();
    let upstream = upstream(|_| {});
    let gateway = plain(&upstream.url(), Scout::in_each_phase(&notes));
    let mut client = RawClient::connect(gateway.address());
    client.send("PUT /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    upstream.wait_for(1);
    drop(client);
    upstream.wait_for_cancelled(1);
    let line = cancelled_once(&gateway, &notes, "/upload");
    assert_eq!([&line["bytes_in"], &line["status"]], [&json!(4), &json!(499)]);
}

#[test]
fn while_the_upstream_has_not_answered() {
    let notes = Notes::default();
    let upstream = upstream(|_| {});
    let gateway = plain(&upstream.url(), Scout::in_each_phase(&notes));
    let mut client = RawClient::connect(gateway.address());
    client.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n");
    upstream.wait_for(1);
    drop(client);
    upstream.wait_for_cancelled(1);
    let line = cancelled_once(&gateway, &notes, "/hang");
    assert_eq!([&line["upstream"], &line["status"]], [&json!("service"), &json!(499)]);
}

#[test]
fn in_the_middle_of_the_answer() {
    let notes = Notes::default();
    let upstream = upstream(|peer| assert!(peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")));
    let gateway = plain(&upstream.url(), Scout::in_each_phase(&notes));
    let mut client = RawClient::connect(gateway.address());
    client.send("GET /half HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_until("half");
    drop(client);
    upstream.wait_for_cancelled(1);
    let line = cancelled_once(&gateway, &notes, "/half");
    assert_eq!([&line["bytes_out"], &line["status"]], [&json!(4), &json!(200)]);
}

#[test]
fn while_its_body_is_gathered() {
    let notes = Notes::default();
    let upstream = upstream(|_| {});
    let gatherer = Scout::new("gatherer", portolan_exchange::Phase::Call, &notes).gathering(100);
    let gateway = plain(&upstream.url(), Scout::in_each_phase(&notes).into_iter().chain([gatherer]));
    let mut client = RawClient::connect(gateway.address());
    client.send("PUT /gathered HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    notes.wait_for("/gathered: call request");
    drop(client);
    let line = cancelled_once(&gateway, &notes, "/gathered");
    assert_eq!([&line["bytes_in"], &line["status"]], [&json!(4), &json!(499)]);
    assert_eq!(upstream.count(), 1, "the upstream saw `/sound` alone");
}

#[test]
fn while_nobody_reads_its_body() {
    for begun in ["", "half"] {
        let (notes, waits) = (Notes::default(), Notes::default());
        let upstream = upstream(|_| {});
        // Only those of `/unread` wait, and for nothing that ever comes.
        let undecided = Scout::new("undecided", portolan_exchange::Phase::Call, &waits).on_wait(|_, exchange| {
            let is_sound = exchange.request.target.path() == "/sound";
            Box::pin(async move { if is_sound { portolan_exchange::Step::Next } else { std::future::pending().await } })
        });
        let gateway = plain(&upstream.url(), Scout::in_each_phase(&notes).into_iter().chain([undecided]));
        let mut client = RawClient::connect(gateway.address());
        client.send(format!("PUT /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n{begun}"));
        waits.wait_for("/unread: undecided request");
        drop(client);
        let line = cancelled_once(&gateway, &notes, "/unread");
        assert_eq!([&line["bytes_in"], &line["status"]], [&json!(0), &json!(499)], "behind {begun:?}");
        assert_eq!(upstream.count(), 1, "the upstream saw `/sound` alone");
    }
}

#[test]
fn one_that_only_ends_its_sending_side_keeps_its_exchange_where_that_is_wanted() {
    let notes = Notes::default();
    let upstream = upstream(|_| {});
    // Long enough for the end behind the body to be seen before anybody reads the body.
    let slow = Scout::new("slow", portolan_exchange::Phase::Call, &notes).on_wait(|_, _| {
        Box::pin(async {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            portolan_exchange::Step::Next
        })
    });
    let configuration = r#"
        listeners: { public: { address: "127.0.0.1:0", half_close: answer } }
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service } }
    "#;
    let gateway = TestGateway::with_config(configuration).with("upstream", upstream.url()).policy(slow).start();
    let mut client = RawClient::connect(gateway.address());
    client.send("GET /sound HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    client.finish();
    let (_, told) = client.rest();
    assert!(told.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&told));
}
