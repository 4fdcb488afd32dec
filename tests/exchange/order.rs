//! The order in which policies see a request, its answer and its end.

use portolan_exchange::{Body, Content, Fault, FaultKind, Fields, Phase, Reply, Step};
use serde_json::{Value, json};

use super::scout::{Notes, Scout};
use super::{plain, with_scouts};
use crate::kit::{FakeUpstream, TestGateway};

const PHASES: [&str; 8] = ["guard", "authenticate", "authorize", "limit", "filter", "transform", "cache", "call"];

/// What scouts note, each of these once, in this order.
fn notes_of(names: impl IntoIterator<Item = &'static &'static str>, what: &str) -> Vec<String> {
    names.into_iter().map(|name| format!("{name} {what}")).collect()
}

#[test]
fn a_request_passes_the_phases_in_order_and_its_answer_comes_back_in_reverse() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(201, json!("made"));
    // Laid in from the last phase to the first: only the phase counts.
    let gateway = plain(&upstream.url(), Scout::in_each_phase(&notes).into_iter().rev());
    gateway.get("/x").assert_status(201);
    gateway.log(1);
    let expected = [
        notes_of(&PHASES, "request"),
        notes_of(PHASES.iter().rev(), "response 201"),
        notes_of(PHASES.iter().rev(), "end Completed"),
    ];
    assert_eq!(notes.of("/x"), expected.concat());
}

#[test]
fn within_a_phase_policies_keep_the_order_in_which_they_were_laid() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let gateway =
        plain(&upstream.url(), ["first", "second", "third"].map(|name| Scout::new(name, Phase::Limit, &notes)));
    gateway.get("/x").assert_status(200);
    gateway.log(1);
    let order: Vec<_> =
        notes.of("/x").into_iter().filter_map(|note| note.strip_suffix(" request").map(str::to_owned)).collect();
    assert_eq!(order, ["first", "second", "third"]);
}

#[test]
fn a_fault_of_the_upstream_is_not_shown_to_those_who_change_content() {
    let notes = Notes::default();
    let gateway = plain(&format!("http://{}", crate::kit::upstream::nobody()), Scout::in_each_phase(&notes));
    gateway.get("/x").assert_problem(502, "upstream_unreachable");
    gateway.log(1);
    let expected = [
        notes_of(&PHASES, "request"),
        notes_of(&["call", "limit", "authorize", "authenticate", "guard"], "response upstream_unreachable"),
        notes_of(PHASES.iter().rev(), "end Faulted(UpstreamUnreachable)"),
    ];
    assert_eq!(notes.of("/x"), expected.concat());
}

#[test]
fn an_answer_or_a_fault_of_a_policy_returns_through_those_before_it_alone() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    for (name, phase, passed) in [("authorize", Phase::Authorize, 3), ("cache", Phase::Cache, 7)] {
        let notes = Notes::default();
        let answering = |scout: Scout| {
            scout.on_request(|_, exchange| match exchange.request.target.path() {
                "/fault" => Step::fault(Fault::new(FaultKind::Forbidden, "not this one")),
                "/answer" => {
                    let mut fields = Fields::new();
                    fields.push(b"x-from", b"policy");
                    Step::Answer(Box::new(Ok(Reply {
                        status: 203,
                        fields,
                        content: Content::Bytes(Body::whole("known")),
                    })))
                }
                _ => Step::Next,
            })
        };
        let scouts = Scout::in_each_phase(&notes).into_iter().enumerate().map(|(at, scout)| match at + 1 == passed {
            true => answering(Scout::new(name, phase, &notes)),
            false => scout,
        });
        let gateway = plain(&upstream.url(), scouts);
        let answer = gateway.get("/answer").assert_status(203);
        assert_eq!((answer.text().as_str(), answer.header("x-from").as_deref()), ("known", Some("policy")));
        assert_eq!(gateway.get("/fault").assert_problem(403, "forbidden"), json!({ "detail": "not this one" }));
        gateway.log(2);
        let reached = &PHASES[..passed];
        let answered = [
            notes_of(reached, "request"),
            notes_of(reached.iter().rev(), "response 203"),
            notes_of(reached.iter().rev(), "end Completed"),
        ];
        assert_eq!(notes.of("/answer"), answered.concat());
        let see_faults = reached.iter().rev().filter(|name| !["filter", "transform", "cache"].contains(name));
        let refused = [
            notes_of(reached, "request"),
            notes_of(see_faults, "response forbidden"),
            notes_of(reached.iter().rev(), "end Faulted(Forbidden)"),
        ];
        assert_eq!(notes.of("/fault"), refused.concat());
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_policy_may_put_another_answer_in_the_place_of_the_one_it_sees() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let changing = Scout::new("changing", Phase::Limit, &notes).on_response(|_, answer| {
        *answer = Err(Fault::new(FaultKind::Overloaded, "changed its mind").because("a test"))
    });
    let gateway = plain(&upstream.url(), [Scout::new("outer", Phase::Guard, &notes), changing]);
    assert_eq!(gateway.get("/x").assert_problem(503, "overloaded"), json!({ "detail": "changed its mind" }));
    let line = &gateway.log(1)[0];
    assert_eq!(
        [&line["fault"], &line["cause"], &line["status"]],
        [&json!("overloaded"), &json!("a test"), &json!(503)]
    );
    assert_eq!(
        notes.of("/x")[2..],
        [
            "changing response 200",
            "outer response overloaded",
            "changing end Faulted(Overloaded)",
            "outer end Faulted(Overloaded)"
        ]
    );
}

const OPENAPI: &str = r"
    openapi: 3.1.0
    info: { title: Orders, version: 3.0.0 }
    paths:
      /orders: { get: { operationId: listOrders, responses: { '200': { description: orders } } } }
";

#[test]
fn the_phases_order_the_policies_whatever_the_order_of_the_configuration() {
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let rules = [
        "authenticate: [ keys ]",
        "rate_limit: { per: consumer, limit: 9, every: 1m }",
        "headers: { request: { set: { x-a: b } } }",
        "sanitise: {}",
        "cors: { origins: https://shop.example }",
    ];
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 3, 2, 4, 0]] {
        let gateway = TestGateway::with_config(
            r#"
            identity: { keys: { api_key: { header: x-api-key, pepper: a-pepper-of-the-test } } }
            upstreams: { orders: { endpoints: [ "{upstream}" ] } }
            apis:
              orders: { {rules}, version: v3, openapi: ./orders.openapi.yaml, path: /api, upstream: orders }
            "#,
        )
        .with("rules", order.map(|at| rules[at]).join(", "))
        .with("upstream", upstream.url())
        .file("orders.openapi.yaml", OPENAPI)
        .start();
        let shown = gateway.admin().get("/routes").assert_status(200).json()["routes"].take();
        let policies: Vec<Value> = vec![
            json!({ "name": "cors", "phase": "guard" }),
            json!({ "name": "api_key", "phase": "authenticate" }),
            json!({ "name": "subscription", "phase": "authorize" }),
            json!({ "name": "rate_limit", "phase": "limit" }),
            json!({ "name": "headers", "phase": "transform" }),
            json!({ "name": "sanitise", "phase": "transform" }),
        ];
        assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
        assert_eq!(shown[0]["policies"], json!(policies));
    }
}

#[test]
fn policies_of_the_test_stand_in_every_route_each_in_its_phase() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let setup = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { one: { path: /one, upstream: service, rate_limit: { per: route, limit: 9, every: 1m } }, two: { path: /two, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url());
    let scouts = [("late", Phase::Call), ("limit", Phase::Limit), ("early", Phase::Guard)]
        .map(|(name, phase)| Scout::new(name, phase, &notes));
    let gateway = with_scouts(setup, scouts).start();
    let shown = gateway.admin().get("/routes").assert_status(200).json();
    let of = |path: &str| -> Vec<String> {
        let route = shown["routes"].as_array().unwrap().iter().find(|route| route["path"] == path).unwrap();
        route["policies"].as_array().unwrap().iter().map(|policy| policy["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("/one"), ["early", "limit", "rate_limit", "sanitise", "late"]);
    assert_eq!(of("/two"), ["early", "limit", "sanitise", "late"]);
}
