//! A panic in a policy loses the exchange it happens in, and nothing else.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use portolan_exchange::{Body, BodyError, BodyStream, Content, Exchange, Frame, Phase, Size, Step};
use serde_json::{Value, json};

use super::scout::{Notes, Scout, who};
use super::{plain, with_scouts};
use crate::kit::{FakeUpstream, RawClient, TestGateway};

const TRAP: &str = "/trap";

fn walk_into_the_trap(exchange: &Exchange) {
    assert!(who(exchange) != TRAP, "walked into the trap");
}

/// Three policies, of which the middle one has a trap.
fn around(notes: &Notes, trap: impl FnOnce(Scout) -> Scout) -> [Scout; 3] {
    let [outer, middle, inner] = [("outer", Phase::Guard), ("trap", Phase::Limit), ("inner", Phase::Call)]
        .map(|(name, phase)| Scout::new(name, phase, notes));
    [outer, trap(middle), inner]
}

fn trap_in_request(scout: Scout) -> Scout {
    scout.on_request(|_, exchange| {
        walk_into_the_trap(exchange);
        Step::Next
    })
}

fn trap_in_response(scout: Scout) -> Scout {
    scout.on_response(|exchange, _| walk_into_the_trap(exchange))
}

fn trap_in_end(scout: Scout) -> Scout {
    scout.on_end(|exchange, _| walk_into_the_trap(exchange))
}

/// What is noted of an exchange that is lost on its way in: the fault returns through those it had reached.
const WAY_IN: [&str; 6] = [
    "outer request",
    "trap request",
    "trap response internal",
    "outer response internal",
    "trap end Panicked",
    "outer end Panicked",
];

/// The line of the access log on this path.
fn line_of(lines: &[Value], path: &str) -> Value {
    let [line] = lines.iter().filter(|line| line["path"] == path).collect::<Vec<_>>()[..] else {
        panic!("not one line for {path}: {lines:#?}");
    };
    line.clone()
}

/// Walks into the trap while a neighbour on the same worker reads its answer, and looks at what all three see.
fn one_exchange_is_lost(notes: &Notes, trap: fn(Scout) -> Scout) {
    let service = FakeUpstream::answering(200, json!("sound"));
    let (slow, feed) = FakeUpstream::fed();
    let setup = TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{service}" ] }, slow: { endpoints: [ "{slow}" ] } }
        routes: { all: { path: /**, upstream: service }, slow: { path: /slow, upstream: slow } }
        "#,
    )
    .with("service", service.url())
    .with("slow", slow.url());
    let gateway = with_scouts(setup, around(notes, trap)).start();
    let mut neighbour = RawClient::connect(gateway.address());
    neighbour.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    feed.send("before");
    neighbour.read_until("before");

    let mut client = RawClient::connect(gateway.address());
    client.send(format!("GET {TRAP} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let (head, body) = client.read_answer();
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    let id = problem["request_id"].as_str().unwrap().to_owned();
    assert_eq!(
        problem,
        json!({
            "type": "urn:portolan:fault:internal", "title": "The gateway failed", "status": 500, "code": "internal",
            "detail": "the gateway failed while it handled this request", "request_id": id,
        })
    );
    assert!(head.contains(&format!("x-request-id: {id}\r\n")), "{head}");
    // The same connection goes on, and so does the neighbour.
    client.send("GET /sound HTTP/1.1\r\nhost: a\r\n\r\n");
    let (head, body) = client.read_answer();
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "\"sound\"", "{head}{body}");
    feed.send("after");
    feed.end();
    neighbour.read_until("after");
    neighbour.read_until("0\r\n\r\n");

    let lines = gateway.log(3);
    let line = line_of(&lines, TRAP);
    assert_eq!(
        [&line["outcome"], &line["status"], &line["fault"]],
        [&json!("panicked"), &json!(500), &json!("internal")]
    );
    assert_eq!(line["request_id"], id);
    assert_eq!(line["cause"], "walked into the trap");
    for path in ["/slow", "/sound"] {
        assert_eq!(line_of(&lines, path)["outcome"], "completed");
    }
    assert_eq!(gateway.metric("portolan_panics_total{route=\"all\"}"), 1.0);
    assert_eq!(gateway.metric("portolan_panics_total{route=\"slow\"}"), 0.0);
}

#[test]
fn a_panic_on_the_way_in_loses_that_exchange_alone() {
    let notes = Notes::default();
    one_exchange_is_lost(&notes, trap_in_request);
    assert_eq!(notes.of(TRAP), WAY_IN);
}

#[test]
fn a_panic_on_the_way_out_loses_that_exchange_alone() {
    let notes = Notes::default();
    one_exchange_is_lost(&notes, trap_in_response);
    assert_eq!(
        notes.of(TRAP),
        [
            "outer request",
            "trap request",
            "inner request",
            "inner response 200",
            "trap response 200",
            "inner end Panicked",
            "trap end Panicked",
            "outer end Panicked",
        ]
    );
}

#[test]
fn a_panic_while_a_policy_waits_loses_that_exchange_alone() {
    let notes = Notes::default();
    one_exchange_is_lost(&notes, |scout| {
        scout.on_wait(|_, exchange| {
            Box::pin(async move {
                tokio::task::yield_now().await;
                walk_into_the_trap(exchange);
                Step::Next
            })
        })
    });
    assert_eq!(notes.of(TRAP), WAY_IN);
}

#[test]
fn a_panic_at_the_end_takes_nothing_from_the_answer_nor_from_the_other_policies() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = plain(&upstream.url(), around(&notes, trap_in_end));
    assert_eq!(gateway.get(TRAP).assert_status(200).json(), "sound");
    assert_eq!(gateway.log(1)[0]["outcome"], "completed");
    assert_eq!(notes.of(TRAP)[6..], ["inner end Completed", "trap end Completed", "outer end Completed"]);
    assert_eq!(gateway.get("/sound").assert_status(200).json(), "sound");
}

/// A body that gives one piece, lets it be sent, and then panics.
struct Trapped {
    polls: usize,
}

impl Trapped {
    fn body() -> Body {
        Body::stream(Self { polls: 0 })
    }
}

impl BodyStream for Trapped {
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        self.polls += 1;
        match self.polls {
            1 => Poll::Ready(Some(Ok(Frame::Data(Bytes::from_static(b"half"))))),
            2 => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ => panic!("walked into the trap"),
        }
    }

    fn size(&self) -> Size {
        Size::Unknown
    }
}

#[test]
fn a_body_that_panics_while_it_is_sent_breaks_off_and_takes_no_other_with_it() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let scouts = around(&notes, |scout| {
        scout.on_response(|exchange, answer| {
            if who(exchange) == TRAP
                && let Ok(reply) = answer
            {
                reply.fields.remove("content-length");
                reply.content = Content::Bytes(Trapped::body());
            }
        })
    });
    let gateway = plain(&upstream.url(), scouts);
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("GET {TRAP} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let answer = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("half") && !answer.ends_with("0\r\n\r\n"), "a broken body passed as a whole one: {answer}");
    let line = &gateway.log(1)[0];
    assert_eq!(
        [&line["outcome"], &line["status"], &line["bytes_out"]],
        [&json!("panicked"), &json!(200), &json!(4)],
        "{line}"
    );
    assert_eq!(notes.of(TRAP)[6..], ["inner end Panicked", "trap end Panicked", "outer end Panicked"]);
    assert_eq!(gateway.metric("portolan_panics_total{route=\"all\"}"), 1.0);
    assert_eq!(gateway.get("/sound").assert_status(200).json(), "sound");
}

#[test]
fn a_body_that_panics_on_its_way_to_the_upstream_loses_that_exchange_and_frees_its_probe() {
    let notes = Notes::default();
    let upstream = FakeUpstream::start(|seen| match seen.target.as_str() {
        "/ill" => crate::kit::Reply::bytes(500, ""),
        _ => crate::kit::Reply::bytes(200, "sound"),
    });
    let setup = TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ], breaker: { minimum: 1, open_for: 5s } } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url());
    let trap = Scout::new("trap", Phase::Transform, &notes).on_request(|_, exchange| {
        if who(exchange) == TRAP {
            exchange.request.body = Trapped::body();
        }
        Step::Next
    });
    let gateway = with_scouts(setup, [trap]).start();
    gateway.get("/ill").assert_status(500);
    gateway.get("/refused").assert_problem(503, "circuit_open");
    gateway.advance(std::time::Duration::from_secs(5));
    let answer = gateway.call("POST", TRAP).send();
    answer.assert_problem(500, "internal");
    assert_eq!(notes.of(TRAP), ["trap request", "trap end Faulted(Internal)"]);
    // A panic of ours is no failure of the upstream: its place is free at once, for a probe that closes the breaker.
    assert_eq!(gateway.get("/sound").assert_status(200).text(), "sound");
    assert!(upstream.requests().iter().all(|seen| seen.target != TRAP || !seen.whole));
}

/// Something a policy holds for its exchange, as a limit holds a reservation.
struct Held(Notes);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.note("given back");
    }
}

#[test]
fn what_an_exchange_holds_is_given_back_once_when_it_panics() {
    for trap in [trap_in_request, trap_in_response, trap_in_end] {
        let (notes, held) = (Notes::default(), Notes::default());
        let upstream = FakeUpstream::answering(200, json!("sound"));
        let setup = TestGateway::with_config(
            r#"
            workers: 1
            upstreams: { service: { endpoints: [ "{upstream}" ] } }
            routes: { all: { path: /**, upstream: service, rate_limit: { per: route, limit: 3, every: 1m } } }
            "#,
        )
        .with("upstream", upstream.url());
        let holder = Scout::new("holder", Phase::Guard, &notes)
            .on_request({
                let held = held.clone();
                move |_, exchange| {
                    exchange.tickets.put(Held(held.clone()));
                    Step::Next
                }
            })
            .on_end(|exchange, _| drop(exchange.tickets.take::<Held>().expect("a ticket stays until its end")));
        let gateway = with_scouts(setup, [holder, trap(Scout::new("trap", Phase::Filter, &notes))]).start();
        for _ in 0..2 {
            gateway.get(TRAP);
        }
        gateway.log(2);
        assert_eq!(held.all(), ["given back", "given back"]);
        // A draw that was made stays made: two of three are gone, and no more.
        let answer = gateway.get("/sound").assert_status(200);
        assert_eq!(answer.header("x-ratelimit-remaining").as_deref(), Some("0"));
        gateway.get("/sound").assert_problem(429, "rate_limited");
    }
}
