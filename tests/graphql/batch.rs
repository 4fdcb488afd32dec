//! Batches: each request is an exchange of its own, under the id, the deadline and the limits of all.

use std::rc::Rc;
use std::time::Duration;

use portolan_exchange::{Exchange, Phase, Policy, Step, Worker};
use serde_json::{Value, json};

use super::{SDL, errors, excess, of_gateway, posted, quiet, send, shop};
use crate::kit::upstream::Seen;
use crate::kit::{Answer, FakeUpstream, RawClient, RawUpstream, Reply, TestGateway};

fn query(name: &str) -> Value {
    json!({ "query": format!("query {name} {{ product(id: 1) {{ id }} }}") })
}

/// What a service answers that says which query it was asked.
fn echo_of_the_name(seen: &Seen) -> Reply {
    let name = seen.json()["query"].as_str().unwrap().split(' ').nth(1).unwrap().to_owned();
    Reply::json(200, &json!({ "data": { "name": name } }))
}

/// The elements of a batch's answer; those that are faults of the gateway are given without their request's id.
#[track_caller]
fn elements(answer: &Answer) -> Vec<Value> {
    assert_eq!(
        (answer.status, answer.header("content-type").as_deref()),
        (200, Some("application/json; charset=utf-8")),
        "{}",
        answer.text()
    );
    let id = answer.header("x-request-id").unwrap();
    let Value::Array(list) = answer.json() else { panic!("no list: {}", answer.text()) };
    list.into_iter().map(|one| if one.get("errors").is_some() { of_gateway(one, &id) } else { one }).collect()
}

/// Lines of the access log by operation, each as much of it as is asked for.
fn lines(gateway: &TestGateway, count: usize, members: &[&str]) -> Vec<Value> {
    let mut lines = gateway.log(count);
    lines.sort_by_key(|line| line["operation"].to_string());
    lines.iter().map(|line| members.iter().map(|name| line[*name].clone()).collect()).collect()
}

#[test]
fn each_request_has_its_answer_in_order_and_a_line_in_the_log_under_one_id() {
    let upstream = FakeUpstream::start(echo_of_the_name);
    let gateway = shop(&upstream.url(), "");
    let batch = json!([query("First"), query("Second"), query("Third")]);
    let answer = send(&gateway, &batch);
    assert_eq!(elements(&answer), ["First", "Second", "Third"].map(|name| json!({ "data": { "name": name } })));
    let mut bodies: Vec<_> = upstream.wait_for(3).iter().map(Seen::json).collect();
    bodies.sort_by_key(Value::to_string);
    assert_eq!(Value::from(bodies), batch);
    let id = answer.header("x-request-id").unwrap();
    assert!(upstream.requests().iter().all(|seen| seen.header("x-request-id").as_ref() == Some(&id)));

    let told = lines(&gateway, 4, &["operation", "request_id", "method", "status", "outcome", "upstream", "protocol"]);
    let child = |name: &str| json!([name, id, null, 200, "completed", "shop", "graphql"]);
    let whole = json!(["batch", id, "POST", 200, "completed", null, "graphql"]);
    assert_eq!(told, [child("First"), child("Second"), child("Third"), whole]);
    let parent = gateway.log(4).into_iter().find(|line| line["operation"] == "batch").unwrap();
    assert_eq!(
        (&parent["bytes_in"], &parent["bytes_out"]),
        (&json!(batch.to_string().len()), &json!(answer.body.len()))
    );
}

/// A client that has sent this batch and waits.
fn waiting_for(gateway: &TestGateway, batch: &Value) -> RawClient {
    let mut client = RawClient::connect(gateway.address());
    client.send(posted(batch));
    client
}

#[test]
fn requests_of_a_batch_run_beside_one_another() {
    let upstream = FakeUpstream::hanging();
    let gateway = shop(&upstream.url(), "");
    let _client = waiting_for(&gateway, &json!([query("A"), query("B"), query("C")]));
    upstream.wait_for(3);
}

#[test]
fn what_is_wrong_with_one_request_is_told_in_its_place_and_spoils_no_other() {
    let upstream = FakeUpstream::start(echo_of_the_name);
    let gateway = shop(&upstream.url(), "");
    let batch = json!([
        query("Sound"),
        { "query": "query Broken { product(id: 1) {" },
        { "query": "query Invalid { nothing }" },
        { "query": "query Dear { products(first: 5000) { id } }" },
        { "query": "query A { orders { id } }", "operationName": "B" },
        7,
        { "query": "subscription Never { orderCreated { id } }" },
        query("Sound"),
    ]);
    let sound = json!({ "data": { "name": "Sound" } });
    let told = elements(&send(&gateway, &batch));
    let codes: Vec<_> = told.iter().map(|one| one[0]["extensions"]["code"].as_str()).collect();
    let expected =
        ["graphql_syntax", "graphql_invalid", "graphql_limit", "invalid_parameters", "bad_request", "graphql_invalid"];
    assert_eq!(codes[1..7], expected.map(Some));
    assert_eq!((&told[0], &told[7]), (&sound, &sound));
    assert_eq!(told[3], json!([excess("query cost 5010 exceeds the limit of 1000", "cost", 5_010, 1_000, 1)]));
    assert_eq!(upstream.count(), 2);
    let mut faults: Vec<_> =
        gateway.log(9).iter().filter_map(|line| Some(line.get("fault")?.as_str()?.to_owned())).collect();
    faults.sort_unstable();
    assert_eq!(
        faults,
        ["bad_request", "graphql_invalid", "graphql_invalid", "graphql_limit", "graphql_syntax", "invalid_parameters"]
    );
}

/// A gateway whose callers may draw a cost of 100 a minute.
fn limited(upstream: &FakeUpstream) -> TestGateway {
    shop(&upstream.url(), ", rate_limit: { name: cost, per: address, limit: 100, every: 1m, counts: cost }")
}

/// A request of this cost: 10 for the list, 1 for each leaf.
fn of_cost(cost: u64) -> Value {
    json!({ "query": format!("{{ products(first: {}) {{ id }} }}", cost - 10) })
}

#[test]
fn the_limit_of_a_batch_is_drawn_once_as_the_sum_of_its_requests() {
    let upstream = quiet();
    let gateway = limited(&upstream);
    let answer = send(&gateway, &json!([of_cost(15), of_cost(20), of_cost(25)]));
    assert_eq!(elements(&answer), [(); 3].map(|()| json!({ "data": null })));
    let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "ratelimit"].map(|name| answer.header(name).unwrap());
    assert_eq!(told, ["100", "40", "\"cost\";r=40;t=36"]);
    let alone = send(&gateway, &of_cost(15)).assert_status(200);
    assert_eq!(alone.header("x-ratelimit-remaining").as_deref(), Some("25"));
}

#[test]
fn a_batch_that_does_not_fit_is_refused_whole_and_draws_nothing() {
    let upstream = quiet();
    let gateway = limited(&upstream);
    send(&gateway, &of_cost(70)).assert_status(200);
    // The first of them would fit, but not both.
    let refused = send(&gateway, &json!([of_cost(20), of_cost(20)]));
    let told = errors(&refused, 429);
    let message = "100 cost units per minute reached for this address; retry in 6s";
    let extensions = json!({ "code": "rate_limited", "limit": 100, "retry_after": 6.0 });
    assert_eq!(told, json!([{ "message": message, "extensions": extensions }]));
    let told = ["retry-after", "x-ratelimit-remaining"].map(|name| refused.header(name).unwrap());
    assert_eq!(told, ["6", "30"]);
    let too_dear = errors(&send(&gateway, &of_cost(101)), 429);
    let message = "this weighs more than the 100 cost units that this address may draw at once";
    assert_eq!(too_dear, json!([{ "message": message, "extensions": { "code": "rate_limited", "limit": 100 } }]));
    assert_eq!(upstream.count(), 1);
    let fits = send(&gateway, &json!([of_cost(15), of_cost(15)]));
    assert_eq!(elements(&fits).len(), 2);
    assert_eq!(fits.header("x-ratelimit-remaining").as_deref(), Some("0"));
    // It had no children that ran: one line tells of it.
    let faults: Vec<_> = gateway
        .log(6)
        .iter()
        .filter(|line| line["fault"] == "rate_limited")
        .map(|line| line["operation"].clone())
        .collect();
    assert_eq!(faults, ["batch", "anonymous"]);
}

#[test]
fn a_limit_of_requests_counts_each_request_of_a_batch_whatever_it_costs() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), ", rate_limit: { per: address, limit: 5, every: 1m }");
    let alone = send(&gateway, &of_cost(500)).assert_status(200);
    assert_eq!(alone.header("x-ratelimit-remaining").as_deref(), Some("4"));
    // Drawn once for the whole, also for what is wrong with one of them.
    let batch = send(&gateway, &json!([of_cost(500), { "query": "{ broken" }, of_cost(15)]));
    assert_eq!(elements(&batch).len(), 3);
    assert_eq!(batch.header("x-ratelimit-remaining").as_deref(), Some("1"));
    let refused = errors(&send(&gateway, &json!([of_cost(15), of_cost(15)])), 429);
    let message = "5 requests per minute reached for this address; retry in 12s";
    let extensions = json!({ "code": "rate_limited", "limit": 5, "retry_after": 12.0 });
    assert_eq!(refused, json!([{ "message": message, "extensions": extensions }]));
    // No time to wait would help this one.
    let too_many = errors(&send(&gateway, &json!(vec![of_cost(15); 6])), 429);
    let message = "this weighs more than the 5 requests that this address may draw at once";
    assert_eq!(too_many, json!([{ "message": message, "extensions": { "code": "rate_limited", "limit": 5 } }]));
    assert_eq!(upstream.count(), 3);
    let last = send(&gateway, &of_cost(15)).assert_status(200);
    assert_eq!(last.header("x-ratelimit-remaining").as_deref(), Some("0"));
}

#[test]
fn a_limit_of_requests_and_one_of_the_cost_are_drawn_beside_one_another_each_by_its_weight() {
    let upstream = quiet();
    let limits = ", rate_limit: [ { name: few, per: address, limit: 10, weight: 2 }, { name: dear, per: address, limit: 100, counts: cost, weight: 2 } ]";
    let gateway = shop(&upstream.url(), limits);
    let answer = send(&gateway, &json!([of_cost(15), of_cost(20)]));
    assert_eq!(elements(&answer).len(), 2);
    assert_eq!(answer.header("ratelimit").as_deref(), Some("\"few\";r=6;t=24, \"dear\";r=30;t=42"));
}

#[test]
fn a_batch_longer_than_its_bound_is_refused_before_it_is_read() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let batch = |length: usize| Value::from(vec![query("A"); length]);
    assert_eq!(elements(&send(&gateway, &batch(10))).len(), 10);
    let refused = |gateway: &TestGateway, batch: &Value, length: u64, maximum: u64| {
        let told = errors(&send(gateway, batch), 200);
        let extensions = json!({ "code": "graphql_limit", "limit": "batch", "value": length, "maximum": maximum });
        let message = format!("batch of {length} exceeds the limit of {maximum}");
        assert_eq!(told, json!([{ "message": message, "extensions": extensions }]));
    };
    refused(&gateway, &batch(11), 11, 10);
    refused(&gateway, &batch(5_000), 5_000, 10);
    let empty = errors(&send(&gateway, &json!([])), 400);
    assert_eq!(empty, json!([{ "message": "the batch is empty", "extensions": { "code": "bad_request" } }]));
    assert_eq!(upstream.count(), 10);

    let alone = shop(&upstream.url(), ", limits: { batch: 1 }");
    refused(&alone, &batch(2), 2, 1);
    assert_eq!(elements(&send(&alone, &batch(1))).len(), 1);
}

#[test]
fn a_request_that_is_slow_is_given_up_at_the_deadline_and_the_others_have_their_answers() {
    let upstream =
        FakeUpstream::start(|seen| if seen.text().contains("Slow") { Reply::never() } else { echo_of_the_name(seen) });
    let gateway = shop(&upstream.url(), ", deadline: 2s");
    let pending = gateway.call("POST", "/shop/graphql").json(&json!([query("Slow"), query("Quick")])).start();
    // The quick one is through when its line is written.
    assert_eq!(gateway.log(1)[0]["operation"], "Quick");
    upstream.wait_until("the slow one", |seen| seen.whole && seen.text().contains("Slow"));
    assert!(!pending.is_there(), "the time was not over");
    gateway.advance(Duration::from_secs(2));
    let told = elements(&pending.answer());
    assert_eq!(told[0][0]["extensions"]["code"], "deadline_exceeded");
    assert_eq!(told[1], json!({ "data": { "name": "Quick" } }));
    upstream.wait_for_cancelled(1);
    let told = lines(&gateway, 3, &["operation", "status", "fault"]);
    assert_eq!(
        told,
        [json!(["Quick", 200, null]), json!(["Slow", 504, "deadline_exceeded"]), json!(["batch", 200, null])]
    );
}

#[test]
fn an_upstream_that_fails_for_one_request_fails_for_that_one() {
    let upstream = FakeUpstream::start(|seen| match seen.text() {
        text if text.contains("Html") => Reply::bytes(500, "<html>no</html>").header("content-type", "text/html"),
        text if text.contains("Torn") => Reply::bytes(200, "{\"data\":").header("content-type", "application/json"),
        text if text.contains("Failing") => Reply::json(500, &json!({ "data": null, "reason": "its own" })),
        _ => echo_of_the_name(seen),
    });
    let gateway = shop(&upstream.url(), "");
    let told = elements(&send(&gateway, &json!([query("Html"), query("Torn"), query("Failing"), query("Sound")])));
    let broken =
        json!([{ "message": "the service did not answer with JSON", "extensions": { "code": "upstream_broken" } }]);
    assert_eq!(
        told,
        [broken.clone(), broken, json!({ "data": null, "reason": "its own" }), json!({ "data": { "name": "Sound" } })]
    );
}

#[test]
fn an_answer_without_end_to_one_request_is_given_up_at_its_bound() {
    let upstream = RawUpstream::start(|peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while peer.send(&piece) {}
    });
    let gateway = shop(&upstream.url(), "");
    let told = elements(&send(&gateway, &json!([query("Endless"), { "query": "{ broken" }])));
    let message = "the service's answer could not be read";
    assert_eq!(told[0], json!([{ "message": message, "extensions": { "code": "upstream_broken" } }]));
    assert_eq!(told[1][0]["extensions"]["code"], "graphql_syntax");
}

#[test]
fn when_the_client_vanishes_every_request_of_its_batch_is_cancelled() {
    let upstream = FakeUpstream::hanging();
    let gateway = shop(&upstream.url(), "");
    let client = waiting_for(&gateway, &json!([query("A"), query("B")]));
    upstream.wait_for(2);
    drop(client);
    upstream.wait_for_cancelled(2);
    let told = lines(&gateway, 3, &["operation", "outcome"]);
    assert_eq!(told, [json!(["A", "cancelled"]), json!(["B", "cancelled"]), json!(["batch", "cancelled"])]);
}

/// Panics in exchanges whose operation is called `Boom`.
struct Panics;

impl Policy for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn phase(&self) -> Phase {
        Phase::Filter
    }

    fn request(&self, _: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        assert!(exchange.operation.as_ref().is_none_or(|operation| &*operation.id != "Boom"), "on purpose");
        Step::Next
    }
}

#[test]
fn a_panic_over_one_request_of_a_batch_loses_that_one_alone() {
    let upstream = FakeUpstream::start(echo_of_the_name);
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { shop: { endpoints: [ "{upstream}" ] } }
        apis: { shop: { version: v1, graphql: ./shop.graphql, path: /shop/graphql, upstream: shop } }
        "#,
    )
    .with("upstream", upstream.url())
    .file("shop.graphql", SDL)
    .policy(Panics)
    .start();
    let told = elements(&send(&gateway, &json!([query("A"), query("Boom"), query("B")])));
    let failed = json!([{
        "message": "the gateway failed while it handled this operation",
        "extensions": { "code": "internal" },
    }]);
    assert_eq!(told, [json!({ "data": { "name": "A" } }), failed, json!({ "data": { "name": "B" } })]);
    let told = lines(&gateway, 4, &["operation", "status", "outcome"]);
    let completed = |name: &str| json!([name, 200, "completed"]);
    assert_eq!(told, [completed("A"), completed("B"), json!(["Boom", 500, "panicked"]), completed("batch")]);
}
