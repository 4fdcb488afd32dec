//! What upstreams tell of themselves and callers do not get to know.

use std::fs;
use std::path::Path;

use portolan_config::snapshot::Sanitise;
use serde_json::json;

use crate::kit::{Answer, FakeUpstream, RawUpstream, Reply, TestGateway};

/// One upstream, and a route to it with these settings.
fn gateway(upstream: &str, settings: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service{settings} } }
        "#,
    )
    .with("upstream", upstream)
    .with("settings", settings)
    .start()
}

/// The names of an answer's headers in order, the gateway's own and those that frame it left out.
fn names(answer: &Answer) -> Vec<&str> {
    let own = ["date", "x-request-id", "content-length"];
    let mut names: Vec<_> =
        answer.headers.iter().map(|(name, _)| name.as_str()).filter(|name| !own.contains(name)).collect();
    names.sort_unstable();
    names
}

/// Says everything of itself that the list knows, and what callers need.
fn talkative() -> FakeUpstream {
    FakeUpstream::start(|_| {
        let told = Sanitise::LIST.iter().map(|name| name.replace('*', "s"));
        let useful = ["etag", "server-timing", "traceparent", "vary", "x-debug-id", "x-ratelimit-limit", "x-team"];
        let all = told.chain(useful.map(str::to_owned));
        all.fold(Reply::bytes(200, "order"), |reply, name| reply.header(&name, "1"))
    })
}

#[test]
fn what_a_service_is_made_of_is_kept_from_callers_unless_told_otherwise() {
    let upstream = talkative();
    let by_default = gateway(&upstream.url(), "").get("/").assert_status(200);
    assert_eq!(names(&by_default), ["etag", "server-timing", "traceparent", "vary", "x-ratelimit-limit", "x-team"]);
    assert_eq!(by_default.text(), "order");
    let changed =
        gateway(&upstream.url(), ", sanitise: { keep: [ Server, x-debug-id, x-runtime ], remove: [ X-Te*, etag ] }");
    let expected = ["server", "server-timing", "traceparent", "vary", "x-debug-id", "x-ratelimit-limit", "x-runtime"];
    assert_eq!(names(&changed.get("/")), expected);
    let off = gateway(&upstream.url(), ", sanitise: off").get("/");
    assert_eq!(names(&off).len(), Sanitise::LIST.len() + 7);
}

#[test]
fn what_a_header_rule_sets_is_not_taken_out() {
    let upstream = talkative();
    let gateway = gateway(&upstream.url(), ", headers: { response: { set: { server: ours }, add: { via: edge } } }");
    let answer = gateway.get("/").assert_status(200);
    assert_eq!((answer.header("server").as_deref(), answer.header("via").as_deref()), (Some("ours"), Some("edge")));
}

#[test]
fn the_page_lists_what_is_taken_out() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("<!-- list: begin -->\n").expect("the page has a list");
    let (listed, _) = rest.split_once("<!-- list: end -->").expect("the list has an end");
    let listed: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
    assert_eq!(listed, Sanitise::LIST);
}

const TRACE: &str = "java.lang.NullPointerException\n\tat com.example.Orders.find(Orders.java:42)";

/// Answers with the status that the path names, and tells more than it should.
fn failing() -> FakeUpstream {
    FakeUpstream::start(|seen| {
        let status = seen.target.trim_start_matches('/').parse().expect("the path is a status");
        Reply::bytes(status, TRACE)
            .header("content-type", "text/plain")
            .header("content-language", "en")
            .header("etag", "\"1\"")
            .header("cache-control", "max-age=60")
            .header("set-cookie", "session=1")
            .header("x-error", TRACE.lines().next().expect("it has a line"))
            .header("retry-after", "Fri, 02 Jan 2026 03:05:00 GMT")
            .header("allow", "GET")
            .header("www-authenticate", "Basic realm=\"a\"")
            .header("www-authenticate", "Bearer")
    })
}

#[test]
fn an_error_of_an_upstream_is_replaced_where_that_is_asked_for_and_keeps_its_status() {
    let upstream = failing();
    let gateway = gateway(&upstream.url(), ", sanitise: { replace_errors: server }");
    let answer = gateway.get("/503");
    let problem = answer.assert_problem(503, "upstream_error");
    assert_eq!(problem, json!({ "detail": "the service answered with status 503" }));
    let names = names(&answer);
    assert_eq!(names, ["allow", "content-type", "retry-after", "www-authenticate", "www-authenticate"]);
    assert_eq!(answer.header("retry-after").as_deref(), Some("Fri, 02 Jan 2026 03:05:00 GMT"));
    assert_eq!(answer.header("www-authenticate").as_deref(), Some("Basic realm=\"a\", Bearer"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string()));
    let line = &gateway.log(1)[0];
    let logged = ["status", "outcome", "fault", "upstream"].map(|key| line[key].clone());
    assert_eq!(json!(logged), json!([503, "faulted", "upstream_error", "service"]));

    let head = gateway.call("HEAD", "/500").send().assert_status(500);
    assert_eq!((head.header("content-type").as_deref(), head.body.len()), (Some("application/problem+json"), 0));
    // What the caller did wrong the service tells in its own words.
    assert_eq!(gateway.get("/404").assert_status(404).text(), TRACE);
}

#[test]
fn errors_that_are_the_callers_are_replaced_by_choice_and_none_without_it() {
    let upstream = failing();
    let all = gateway(&upstream.url(), ", sanitise: { replace_errors: all }");
    for status in [400, 404, 422, 500, 599] {
        let problem = all.get(&format!("/{status}")).assert_problem(status, "upstream_error");
        assert_eq!(problem, json!({ "detail": format!("the service answered with status {status}") }));
    }
    assert_eq!(all.get("/399").assert_status(399).text(), TRACE);
    for settings in ["", ", sanitise: off"] {
        let none = gateway(&upstream.url(), settings).get("/500").assert_status(500);
        assert_eq!((none.text().as_str(), none.header("etag").as_deref()), (TRACE, Some("\"1\"")), "{settings}");
    }
}

#[test]
fn the_body_of_a_replaced_error_is_not_waited_for() {
    let upstream = RawUpstream::start(|peer| {
        while peer.head().is_some() {
            peer.send("HTTP/1.1 500 Failed\r\ntransfer-encoding: chunked\r\n\r\n4\r\nat a\r\n");
            peer.hang();
        }
    });
    let gateway = gateway(&upstream.url(), ", sanitise: { replace_errors: server }");
    gateway.get("/").assert_problem(500, "upstream_error");
    // Its source is told that nobody reads on.
    upstream.wait_for_cancelled(1);
}

#[test]
fn a_graphql_client_reads_of_it_in_its_own_protocol() {
    let trace = json!({ "errors": [ { "message": TRACE } ] });
    let upstream = FakeUpstream::start(move |seen| match seen.text().contains("fails") {
        true => Reply::json(500, &trace),
        false => Reply::json(200, &json!({ "data": { "a": 1 } })),
    });
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { shop: { endpoints: [ "{upstream}" ] } }
        apis: { shop: { version: v1, graphql: ./shop.graphql, path: /graphql, upstream: shop, sanitise: { replace_errors: server } } }
        "#,
    )
    .with("upstream", upstream.url())
    .file("shop.graphql", "type Query { a: Int fails: Int }")
    .start();
    let mut told = gateway.post("/graphql", &json!({ "query": "{ fails }" })).assert_status(500).json();
    assert!(told["errors"][0]["extensions"]["request_id"].take().is_string(), "{told}");
    let error = json!({
        "message": "the service answered with status 500",
        "extensions": { "code": "upstream_error", "request_id": null },
    });
    assert_eq!(told, json!({ "errors": [ error ] }));
    let batch = json!([ { "query": "{ a }" }, { "query": "{ fails }" } ]);
    let mut told = gateway.post("/graphql", &batch).assert_status(200).json();
    assert!(told[1]["errors"][0]["extensions"]["request_id"].take().is_string(), "{told}");
    assert_eq!(told, json!([ { "data": { "a": 1 } }, { "errors": [ error ] } ]));
}
