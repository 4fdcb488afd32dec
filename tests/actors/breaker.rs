//! The breaker over the wire: when it opens, what callers are told, how it closes, and that a panic of its actor changes none of it.

use std::time::Duration;

use serde_json::json;

use super::{SECOND, panic, revive, shown, state};
use crate::kit::client::Pending;
use crate::kit::wait::Watched;
use crate::kit::{FakeUpstream, RawClient, RawUpstream, Reply, TestGateway, wait};

const BREAKER: &str = "breaker/service";

/// An upstream that works for `/good`, fails for `/bad`, and a gateway whose breaker opens at half of four calls.
fn switched(more: &str) -> (FakeUpstream, TestGateway) {
    let upstream = FakeUpstream::start(|seen| match seen.target.as_str() {
        "/good" => Reply::bytes(200, "good"),
        "/missing" => Reply::bytes(404, "missing"),
        _ => Reply::bytes(500, "bad"),
    });
    let gateway = before(&upstream.url(), more);
    (upstream, gateway)
}

fn before(upstream: &str, more: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams:
          service:
            endpoints: [ "{upstream}" ]
            breaker: { error_ratio: 50%, minimum: 4, window: 10s, open_for: 5s {more} }
        routes: { all: { path: /**, upstream: service, deadline: 1h } }
        "#,
    )
    .with("upstream", upstream)
    .with("more", more)
    .start()
}

fn refused(gateway: &TestGateway, retry_after: &str) {
    let answer = gateway.get("/good");
    let problem = answer.assert_problem(503, "circuit_open");
    assert_eq!(problem, json!({ "detail": "`service` is failing and is left alone for a while" }));
    assert_eq!(answer.header("retry-after").as_deref(), Some(retry_after));
}

/// Opens the breaker with four failures.
fn open(gateway: &TestGateway) {
    for _ in 0..4 {
        gateway.get("/bad").assert_status(500);
    }
    assert_eq!(state(gateway, BREAKER)["state"], "open");
}

#[test]
fn it_opens_once_enough_calls_were_made_and_enough_of_them_failed() {
    let (upstream, gateway) = switched("");
    for _ in 0..3 {
        assert_eq!(gateway.get("/bad").assert_status(500).text(), "bad", "a failure is passed on as it came");
    }
    // Three of three failed, and that is too few calls to tell anything.
    assert_eq!(
        state(&gateway, BREAKER),
        json!({ "upstream": "service", "state": "closed", "calls": 3, "failures": 3, "opened": 0, "refused": 0 })
    );
    gateway.get("/good").assert_status(200);
    refused(&gateway, "5");
    gateway.advance(Duration::from_millis(1_500));
    refused(&gateway, "4");
    assert_eq!(upstream.count(), 4, "an open breaker calls nobody");
    assert_eq!(
        state(&gateway, BREAKER),
        json!({
            "upstream": "service", "state": "open", "calls": 4, "failures": 3, "opened": 1, "refused": 2, "half_open_in_ms": 3_500,
        })
    );
    let line = &gateway.log(6)[5];
    assert_eq!(
        [&line["fault"], &line["status"], &line["upstream"]],
        [&json!("circuit_open"), &json!(503), &json!(null)]
    );
}

#[test]
fn it_stays_closed_below_its_ratio_and_forgets_what_left_its_window() {
    let (upstream, gateway) = switched("");
    for path in ["/good", "/missing", "/good", "/bad", "/missing", "/bad"] {
        gateway.get(path);
    }
    let now = state(&gateway, BREAKER);
    assert_eq!([&now["state"], &now["calls"], &now["failures"]], [&json!("closed"), &json!(6), &json!(2)]);
    // Two more failures would make it four of eight, if the first six were not ten seconds old.
    gateway.advance(10 * SECOND);
    for _ in 0..2 {
        gateway.get("/bad");
    }
    let now = state(&gateway, BREAKER);
    assert_eq!([&now["state"], &now["calls"], &now["failures"]], [&json!("closed"), &json!(2), &json!(2)]);
    assert_eq!(upstream.count(), 8);
}

#[test]
fn what_is_no_answer_counts_as_a_failure() {
    let away = before(&format!("http://{}", crate::kit::upstream::nobody()), "");
    let broken_upstream = RawUpstream::start(|peer| drop(peer.head()));
    let broken = before(&broken_upstream.url(), "");
    for (gateway, code, called) in
        [(&away, "upstream_unreachable", None), (&broken, "upstream_broken", Some(&broken_upstream))]
    {
        for _ in 0..4 {
            gateway.get("/").assert_problem(502, code);
        }
        refused(gateway, "5");
        if let Some(upstream) = called {
            assert_eq!(upstream.count(), 4);
        }
    }
    let hanging = FakeUpstream::hanging();
    let gateway = before(&hanging.url(), "");
    let calls: Vec<_> = (0..4).map(|_| gateway.call("GET", "/").start()).collect();
    hanging.wait_for(4);
    gateway.advance_until("all have timed out", SECOND, || calls.iter().all(Pending::is_there));
    for call in calls {
        call.answer().assert_problem(504, "upstream_timeout");
    }
    gateway.get("/").assert_problem(503, "circuit_open");
}

#[test]
fn a_client_that_goes_away_is_neither_a_failure_nor_a_success() {
    let upstream = RawUpstream::start(|peer| {
        peer.head();
        peer.hang();
    });
    let gateway = before(&upstream.url(), "");
    for gone in 1..=6 {
        let mut client = RawClient::connect(gateway.address());
        client.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n");
        upstream.wait_for(gone);
        drop(client);
        upstream.wait_for_cancelled(gone);
    }
    gateway.log(6);
    let now = state(&gateway, BREAKER);
    assert_eq!([&now["state"], &now["calls"]], [&json!("closed"), &json!(0)]);
}

#[test]
fn a_body_that_breaks_off_on_its_way_is_neither_a_failure_nor_a_success() {
    let upstream = RawUpstream::start(|peer| {
        peer.head();
        peer.hang();
    });
    let gateway = before(&upstream.url(), "");
    for gone in 1..=6 {
        let mut client = RawClient::connect(gateway.address());
        client.send("PUT /half HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
        upstream.wait_for(gone);
        drop(client);
        upstream.wait_for_cancelled(gone);
    }
    gateway.log(6);
    let now = state(&gateway, BREAKER);
    assert_eq!([&now["state"], &now["calls"]], [&json!("closed"), &json!(0)]);
}

/// An upstream that answers `/bad` with 500 at once, and all else with what the test says, when it says it.
struct Slow {
    upstream: RawUpstream,
    word: Watched<Option<u16>>,
}

impl Slow {
    fn start() -> Self {
        let word = Watched::<Option<u16>>::default();
        let heard = word.clone();
        let upstream = RawUpstream::start(move |peer| {
            while let Some(head) = peer.head() {
                let status = match head.starts_with("GET /bad ") {
                    true => 500,
                    false => heard.wait("the word to answer", |word| *word),
                };
                peer.send(format!("HTTP/1.1 {status} As told\r\ncontent-length: 0\r\n\r\n"));
            }
        });
        Self { upstream, word }
    }

    fn answer_with(&self, status: u16) {
        self.word.change(|word| *word = Some(status));
    }
}

#[test]
fn after_its_pause_it_lets_its_probes_through_and_their_success_closes_it() {
    let slow = Slow::start();
    let gateway = before(&slow.upstream.url(), ", probes: 2");
    open(&gateway);
    gateway.advance(5 * SECOND);
    let probes = [(); 2].map(|()| gateway.call("GET", "/probe").start());
    slow.upstream.wait_for(6);
    gateway.get("/third").assert_problem(503, "circuit_open");
    let now = state(&gateway, BREAKER);
    assert_eq!([&now["state"], &now["probes"]], [&json!("half_open"), &json!(2)]);
    slow.answer_with(200);
    for probe in probes {
        probe.answer().assert_status(200);
    }
    assert_eq!(state(&gateway, BREAKER)["state"], "closed");
    gateway.get("/fourth").assert_status(200);
    assert_eq!(slow.upstream.count(), 7);
    let now = state(&gateway, BREAKER);
    assert_eq!(
        [&now["calls"], &now["failures"], &now["opened"]],
        [&json!(1), &json!(0), &json!(1)],
        "what was before it opened is forgotten"
    );
}

#[test]
fn a_probe_that_fails_opens_it_again_for_its_whole_time() {
    let (upstream, gateway) = switched("");
    open(&gateway);
    gateway.advance(5 * SECOND);
    gateway.get("/bad").assert_status(500);
    refused(&gateway, "5");
    gateway.advance(4 * SECOND);
    refused(&gateway, "1");
    gateway.advance(SECOND);
    gateway.get("/good").assert_status(200);
    gateway.get("/good").assert_status(200);
    assert_eq!(upstream.count(), 7);
    assert_eq!(state(&gateway, BREAKER)["opened"], 2);
}

#[test]
fn a_probe_whose_client_goes_away_leaves_its_place_to_another() {
    let slow = Slow::start();
    let gateway = before(&slow.upstream.url(), "");
    open(&gateway);
    gateway.advance(5 * SECOND);
    let mut client = RawClient::connect(gateway.address());
    client.send("GET /probe HTTP/1.1\r\nhost: a\r\n\r\n");
    slow.upstream.wait_for(5);
    gateway.get("/second").assert_problem(503, "circuit_open");
    drop(client);
    gateway.log(6);
    let now = state(&gateway, BREAKER);
    assert_eq!([&now["state"], &now["probes"]], [&json!("half_open"), &json!(0)]);
    slow.answer_with(200);
    gateway.get("/probe").assert_status(200);
    assert_eq!(state(&gateway, BREAKER)["state"], "closed");
}

#[test]
fn a_breaker_that_is_off_lets_every_call_through() {
    let upstream = FakeUpstream::failing();
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ], breaker: off } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    for _ in 0..30 {
        gateway.get("/").assert_status(500);
    }
    assert_eq!(upstream.count(), 30);
}

#[test]
fn an_open_breaker_stays_open_through_a_panic_of_its_actor() {
    let (upstream, gateway) = switched("");
    open(&gateway);
    gateway.advance(2 * SECOND);
    let opens_again = |gateway: &TestGateway| {
        let left = state(gateway, BREAKER)["half_open_in_ms"].as_u64().expect("an open breaker says until when");
        gateway.clock().now().after(Duration::from_millis(left))
    };
    let until = opens_again(&gateway);
    panic(&gateway, BREAKER);
    assert_eq!(shown(&gateway, BREAKER)["status"], "restarting");
    assert_eq!(gateway.metric("portolan_actor_up{kind=\"breaker\",name=\"breaker/service\"}"), 0.0);
    refused(&gateway, "3");
    revive(&gateway, BREAKER);
    refused(&gateway, "3");
    assert_eq!(opens_again(&gateway), until);
    let actor = shown(&gateway, BREAKER);
    assert_eq!(
        [&actor["status"], &actor["restarts"], &actor["last_panic"]],
        [&json!("running"), &json!(1), &json!("told to panic")]
    );
    assert_eq!([&actor["state"]["refused"], &actor["state"]["opened"]], [&json!(2), &json!(1)]);
    assert_eq!(gateway.metric("portolan_actor_restarts_total{kind=\"breaker\",name=\"breaker/service\"}"), 1.0);
    assert_eq!(gateway.metric("portolan_actor_up{kind=\"breaker\",name=\"breaker/service\"}"), 1.0);
    assert_eq!(upstream.count(), 4);
    // The actor that came anew moves it on with time, without a call.
    gateway.advance_until("it is half open", SECOND, || state(&gateway, BREAKER)["state"] == "half_open");
    gateway.get("/good").assert_status(200);
    assert_eq!(state(&gateway, BREAKER)["state"], "closed");
}

#[test]
fn permits_that_are_out_while_its_actor_panics_settle_as_before() {
    let slow = Slow::start();
    let gateway = before(&slow.upstream.url(), "");
    let calls = [(); 4].map(|()| gateway.call("GET", "/slow").start());
    slow.upstream.wait_for(4);
    panic(&gateway, BREAKER);
    slow.answer_with(500);
    // Nobody waits for the actor: neither those who have a permit nor those who ask for one.
    for call in calls {
        call.answer().assert_status(500);
    }
    refused(&gateway, "5");
    revive(&gateway, BREAKER);
    gateway.get("/slow").assert_problem(503, "circuit_open");
    let now = state(&gateway, BREAKER);
    assert_eq!([&now["state"], &now["calls"], &now["failures"]], [&json!("open"), &json!(4), &json!(4)]);
    assert_eq!(slow.upstream.count(), 4);
}

#[test]
fn a_probe_that_is_out_while_its_actor_panics_keeps_its_place_and_closes_it() {
    let slow = Slow::start();
    let gateway = before(&slow.upstream.url(), "");
    open(&gateway);
    gateway.advance(5 * SECOND);
    let probe = gateway.call("GET", "/probe").start();
    slow.upstream.wait_for(5);
    panic(&gateway, BREAKER);
    gateway.get("/second").assert_problem(503, "circuit_open");
    revive(&gateway, BREAKER);
    gateway.get("/second").assert_problem(503, "circuit_open");
    slow.answer_with(200);
    probe.answer().assert_status(200);
    wait::until("it is closed", || state(&gateway, BREAKER)["state"] == "closed");
    gateway.get("/third").assert_status(200);
    assert_eq!(slow.upstream.count(), 6);
}
