//! Policies that wait, and policies that need the body.

use std::rc::Rc;
use std::time::Duration;

use portolan::Waiting;
use portolan_exchange::{Body, Exchange, LocalBoxFuture, Phase, Policy, Step, Worker};
use serde_json::{Value, json};

use super::scout::{Notes, Scout, who};
use super::{PLAIN, plain, with_scouts};
use crate::kit::{FakeUpstream, RawClient, TestGateway};

const SECOND: Duration = Duration::from_secs(1);

/// Waits five seconds of its worker's clock for `/slow`, for ever for `/never`, and not at all for others.
fn waiter(notes: &Notes) -> Scout {
    let begun = notes.clone();
    Scout::new("waiter", Phase::Authorize, notes).on_wait(move |worker, exchange| {
        let who = who(exchange);
        let timer = match who.as_str() {
            "/slow" => worker.clock.sleep(5 * SECOND),
            "/never" => worker.clock.sleep(Duration::MAX),
            _ => return Box::pin(std::future::ready(Step::Next)),
        };
        begun.note(format_args!("{who}: waiter waits"));
        Box::pin(async move {
            timer.await;
            Step::Next
        })
    })
}

#[test]
fn a_policy_may_wait_while_others_on_its_worker_go_on() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = plain(&upstream.url(), [Scout::new("outer", Phase::Guard, &notes), waiter(&notes)]);
    let slow = gateway.call("GET", "/slow").start();
    notes.wait_for("/slow: waiter waits");
    gateway.get("/quick").assert_status(200);
    assert_eq!((upstream.count_of("/slow"), upstream.count_of("/quick")), (0, 1));
    gateway.advance(5 * SECOND);
    slow.answer().assert_status(200);
    let lines = gateway.log(2);
    assert_eq!([&lines[1]["path"], &lines[1]["gateway_us"]], [&json!("/slow"), &json!(5_000_000)]);
    assert_eq!(
        notes.of("/slow"),
        [
            "outer request",
            "waiter request",
            "waiter waits",
            "waiter response 200",
            "outer response 200",
            "waiter end Completed",
            "outer end Completed",
        ]
    );
}

#[test]
fn the_deadline_bounds_what_a_policy_waits_for() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = plain(&upstream.url(), [Scout::new("outer", Phase::Guard, &notes), waiter(&notes)]);
    let never = gateway.call("GET", "/never").start();
    notes.wait_for("/never: waiter waits");
    gateway.advance(9 * SECOND);
    assert!(!never.is_there(), "the deadline is ten seconds");
    // The timer of the deadline begins with the first wait, which the clock may have overtaken; it is due now all the same.
    gateway.advance(SECOND);
    let detail = never.answer().assert_problem(504, "deadline_exceeded");
    assert_eq!(detail, json!({ "detail": "the time for this request was over before a policy was asked" }));
    gateway.log(1);
    let faulted = "deadline_exceeded";
    assert_eq!(
        notes.of("/never"),
        [
            "outer request".to_owned(),
            "waiter request".to_owned(),
            "waiter waits".to_owned(),
            format!("waiter response {faulted}"),
            format!("outer response {faulted}"),
            "waiter end Faulted(DeadlineExceeded)".to_owned(),
            "outer end Faulted(DeadlineExceeded)".to_owned(),
        ]
    );
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_client_that_goes_away_while_a_policy_waits_ends_its_exchange_once() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway = plain(&upstream.url(), [Scout::new("outer", Phase::Guard, &notes), waiter(&notes)]);
    let mut client = RawClient::connect(gateway.address());
    client.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n");
    notes.wait_for("/never: waiter waits");
    drop(client);
    let line = gateway.log(1).remove(0);
    assert_eq!([&line["path"], &line["outcome"]], [&json!("/never"), &json!("cancelled")]);
    assert_eq!(
        notes.of("/never"),
        ["outer request", "waiter request", "waiter waits", "waiter end Cancelled", "outer end Cancelled"]
    );
    gateway.get("/quick").assert_status(200);
    assert_eq!((upstream.count(), gateway.log(2).len()), (1, 2));
}

#[test]
fn a_policy_that_waits_again_after_it_has_waited_is_a_fault_of_ours() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let undecided =
        Scout::new("undecided", Phase::Filter, &notes).on_wait(|_, _| Box::pin(std::future::ready(Step::Wait)));
    let gateway = plain(&upstream.url(), [undecided]);
    gateway.get("/").assert_problem(500, "internal");
    assert_eq!(gateway.log(1)[0]["cause"], "policy `undecided` waited twice");
    assert_eq!(upstream.count(), 0);
}

/// Notes the body that it was given, for which it asked.
fn gatherer(notes: &Notes, cap: usize) -> Scout {
    let read = notes.clone();
    Scout::new("gatherer", Phase::Filter, notes).gathering(cap).on_request(move |_, exchange| {
        match &exchange.request.body {
            Body::Whole(bytes) => read.note(format_args!("read {:?}", String::from_utf8_lossy(bytes))),
            other => read.note(format_args!("read {other:?}")),
        }
        Step::Next
    })
}

#[test]
fn a_policy_that_needs_the_body_is_asked_when_all_of_it_is_there() {
    let notes = Notes::default();
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url(), [Scout::new("outer", Phase::Guard, &notes), gatherer(&notes, 10)]);
    let mut client = RawClient::connect(gateway.address());
    client.send("POST /pieces HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfirs\r\n");
    notes.wait_for("/pieces: outer request");
    assert_eq!(upstream.count(), 0);
    client.send("6\r\nt, res\r\n0\r\n\r\n");
    let (_, body) = client.read_answer();
    assert_eq!(body, "first, res");
    gateway.get("/none").assert_status(200);
    let read: Vec<_> = notes.all().into_iter().filter(|note| note.starts_with("read")).collect();
    assert_eq!(read, ["read \"first, res\"", "read Empty"]);
}

#[test]
fn a_body_beyond_what_a_policy_takes_is_refused_before_it_is_asked() {
    let notes = Notes::default();
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url(), [Scout::new("outer", Phase::Guard, &notes), gatherer(&notes, 10)]);
    let answer = gateway.call("POST", "/declared").body("eleven byte").send();
    assert_eq!(
        answer.assert_problem(413, "body_too_large"),
        json!({ "detail": "the body is larger than 10 bytes", "limit": 10 })
    );
    let mut client = RawClient::connect(gateway.address());
    client.send("POST /pieces HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n6\r\neleven\r\n6\r\n bytes\r\n");
    let (head, body) = client.read_answer();
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert!(head.starts_with("HTTP/1.1 413 ") && problem["code"] == "body_too_large", "{head}{body}");
    gateway.log(2);
    for path in ["/declared", "/pieces"] {
        assert_eq!(
            notes.of(path),
            ["outer request", "outer response body_too_large", "outer end Faulted(BodyTooLarge)"]
        );
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(gateway.call("POST", "/sound").body("ten  bytes").send().assert_status(200).text(), "ten  bytes");
}

#[test]
fn a_body_that_does_not_come_in_time_is_not_waited_for() {
    let notes = Notes::default();
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url(), [Scout::new("outer", Phase::Guard, &notes), gatherer(&notes, 10)]);
    let mut client = RawClient::connect(gateway.address());
    client.send("POST /late HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    notes.wait_for("/late: outer request");
    gateway.advance_until("the request is given up", SECOND, || notes.of("/late").len() == 3);
    let (head, body) = client.read_answer();
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert!(head.starts_with("HTTP/1.1 408 ") && problem["code"] == "request_timeout", "{head}{body}");
    assert_eq!(
        notes.of("/late"),
        ["outer request", "outer response request_timeout", "outer end Faulted(RequestTimeout)"]
    );
}

/// Notes which way it was asked.
struct EitherWay(Notes);

impl Policy for EitherWay {
    fn name(&self) -> &'static str {
        "either_way"
    }

    fn phase(&self) -> Phase {
        Phase::Limit
    }

    fn request(&self, _: &Rc<Worker>, _: &mut Exchange) -> Step {
        self.0.note("at once");
        Step::Next
    }

    fn wait<'a>(&'a self, _: &'a Rc<Worker>, _: &'a mut Exchange) -> LocalBoxFuture<'a, Step> {
        self.0.note("in a future");
        Box::pin(std::future::ready(Step::Next))
    }
}

#[test]
fn every_policy_can_be_made_to_wait_and_nothing_else_is_different() {
    for (waiting, way) in [(Waiting::WhereNeeded, "at once"), (Waiting::Forced, "in a future")] {
        let (notes, asked) = (Notes::default(), Notes::default());
        let upstream = FakeUpstream::answering(200, json!("sound"));
        let setup = TestGateway::with_config(PLAIN)
            .with("upstream", upstream.url())
            .policy(EitherWay(asked.clone()))
            .waiting(waiting);
        let gateway = with_scouts(setup, Scout::in_each_phase(&notes)).start();
        assert_eq!(gateway.get("/x").assert_status(200).json(), "sound");
        gateway.log(1);
        let phases = ["guard", "authenticate", "authorize", "limit", "filter", "transform", "cache", "call"];
        let inwards = phases.iter().map(|phase| format!("/x: {phase} request"));
        let outwards = phases.iter().rev().map(|phase| format!("/x: {phase} response 200"));
        let ends = phases.iter().rev().map(|phase| format!("/x: {phase} end Completed"));
        assert_eq!(notes.all(), inwards.chain(outwards).chain(ends).collect::<Vec<_>>());
        assert_eq!(asked.all(), [way]);
    }
}
