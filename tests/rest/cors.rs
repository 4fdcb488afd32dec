//! Pages of other origins: preflights, what they may read, and who is not let in.

mod browser;

use portolan_exchange::{Exchange, Phase, Policy, Step, Worker};
use serde_json::json;

use crate::kit::gateway::Setup;
use crate::kit::{Answer, FakeUpstream, Reply, TestGateway};

const SHOP: &str = "https://shop.example";
const EVIL: &str = "https://evil.example";

/// Status, head and body of an answer, as far as they are not the same each time; the head in the order of its names.
fn whole(answer: &Answer) -> (u16, Vec<String>, String) {
    let is_news = |name: &str| !matches!(name, "date" | "x-request-id");
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "x-request-id").count(), 1, "{answer:?}");
    let news = answer.headers.iter().filter(|(name, _)| is_news(name));
    let mut head: Vec<_> = news.map(|(name, value)| format!("{name}: {value}")).collect();
    head.sort();
    (answer.status, head, answer.text())
}

fn of<const N: usize>(status: u16, head: [&str; N], body: &str) -> (u16, Vec<String>, String) {
    (status, head.map(str::to_owned).into(), body.to_owned())
}

fn preflight(gateway: &TestGateway, target: &str, origin: &str, method: &str) -> Answer {
    let call = gateway.call("OPTIONS", target).header("origin", origin);
    call.header("access-control-request-method", method).send()
}

fn get_from(gateway: &TestGateway, target: &str, origin: &str) -> Answer {
    gateway.call("GET", target).header("origin", origin).send()
}

/// The CORS fields of an answer, and what it varies by.
fn told(answer: &Answer) -> Vec<String> {
    let (_, head, _) = whole(answer);
    head.into_iter().filter(|line| line.starts_with("access-control-") || line.starts_with("vary")).collect()
}

/// One upstream, and these routes.
fn routes(upstream: &FakeUpstream, routes: &str) -> Setup {
    TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { {routes} }
        "#,
    )
    .with("routes", routes)
    .with("upstream", upstream.url())
}

const SECURED: &str = r#"
    identity: { keys: { api_key: { header: x-api-key, pepper: pepper } } }
    upstreams: { orders: { endpoints: [ "{upstream}" ] } }
    apis:
      orders:
        version: v3
        openapi: ./orders.yaml
        path: /api
        upstream: orders
        authenticate: [ keys ]
        rate_limit: { limit: 1, every: 1m }
        cors:
          origins: [ "https://shop.example", "https://*.partner.example" ]
          exposed_headers: [ x-total, retry-after ]
          credentials: true
          max_age: 1h
    consumers: { acme: { keys: [ { hash: {hash} } ], subscriptions: [ { api: orders } ] } }
"#;

const ORDERS: &str = r"
    openapi: 3.1.0
    info: { title: Orders, version: 3.0.0 }
    paths:
      /orders/{id}:
        parameters: [ { name: id, in: path, required: true, schema: { type: integer } } ]
        get: { operationId: getOrder, responses: { '200': { description: order } } }
        put: { operationId: putOrder, responses: { '200': { description: order } } }
";

/// HMAC-SHA-256 of `acme-key` under `pepper`.
const ACME_KEY: &str = "a376e52b3014fe48601dc1dfb66ff2b55fe15daeae5a530ada7936ad677381cf";

/// An API that asks for a key, lets each consumer in once a minute, and lets in pages of a shop and its partners.
fn secured(upstream: &FakeUpstream) -> TestGateway {
    let setup = TestGateway::with_config(SECURED).with("hash", ACME_KEY).with("upstream", upstream.url());
    setup.file("orders.yaml", ORDERS).start()
}

#[test]
fn a_preflight_is_answered_without_credentials_and_costs_neither_limit_nor_upstream() {
    let upstream = FakeUpstream::echo();
    let gateway = secured(&upstream);
    for _ in 0..3 {
        let call = gateway.call("OPTIONS", "/api/orders/7").header("origin", SHOP);
        let call = call.header("access-control-request-method", "PUT");
        let answer = call.header("access-control-request-headers", "content-type,x-api-key").send();
        assert_eq!(
            whole(&answer),
            of(
                204,
                [
                    "access-control-allow-credentials: true",
                    "access-control-allow-headers: content-type,x-api-key",
                    "access-control-allow-methods: PUT",
                    "access-control-allow-origin: https://shop.example",
                    "access-control-max-age: 3600",
                    "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
                ],
                ""
            )
        );
    }
    let line = &gateway.log(3)[2];
    let logged = ["route", "operation", "method", "status", "outcome", "fault"].map(|key| line[key].clone());
    let expected = json!(["orders", "putOrder", "OPTIONS", 204, "completed", null]);
    assert_eq!(json!(logged), expected);
    let call = gateway.call("GET", "/api/orders/7").header("x-api-key", "acme-key");
    call.send().assert_status(200);
    assert_eq!(upstream.the_request().method, "GET");
}

#[test]
fn an_answer_tells_what_the_page_may_read_in_the_place_of_what_the_upstream_says() {
    let upstream = FakeUpstream::start(|_| {
        Reply::bytes(200, "order")
            .header("access-control-allow-origin", "*")
            .header("Access-Control-Allow-Credentials", "false")
            .header("access-control-allow-private-network", "true")
            .header("vary", "Accept-Encoding")
            .header("x-total", "1")
    });
    let gateway = secured(&upstream);
    let call = gateway.call("GET", "/api/orders/7").header("x-api-key", "acme-key");
    let answer = call.header("origin", "https://a.partner.example").send();
    let mut expected = vec![
        "access-control-allow-credentials: true",
        "access-control-allow-origin: https://a.partner.example",
        "access-control-expose-headers: x-total, retry-after",
        "content-length: 5",
        "ratelimit-policy: \"default\";q=1;w=60",
        "ratelimit: \"default\";r=0;t=60",
        "vary: Accept-Encoding",
        "vary: Origin",
        "x-ratelimit-limit: 1",
        "x-ratelimit-remaining: 0",
        "x-ratelimit-reset: 60",
        "x-total: 1",
    ];
    expected.sort_unstable();
    assert_eq!(whole(&answer), (200, expected.into_iter().map(str::to_owned).collect(), "order".to_owned()));
    // The service still learns who asks.
    assert_eq!(upstream.the_request().header("origin").as_deref(), Some("https://a.partner.example"));
}

#[test]
fn an_origin_that_is_not_let_in_passes_and_its_browser_is_told_nothing() {
    let upstream = FakeUpstream::start(|_| Reply::bytes(200, "order").header("access-control-allow-origin", "*"));
    let gateway =
        routes(&upstream, r#"all: { path: /**, upstream: service, cors: { origins: "https://shop.example" } }"#);
    let gateway = gateway.start();
    let without = gateway.get("/");
    for origin in [EVIL, "null", "https://shop.example.evil.example", "https://a.shop.example", "http://shop.example"] {
        let answer = get_from(&gateway, "/", origin);
        assert_eq!(whole(&answer), of(200, ["content-length: 5", "vary: Origin"], "order"), "{origin}");
        assert_eq!(whole(&without), whole(&answer));
        let asked = preflight(&gateway, "/", origin, "PUT");
        let varies = "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        assert_eq!(whole(&asked), of(204, [varies], ""), "{origin}");
    }
    assert_eq!(upstream.requests().iter().filter(|seen| seen.method == "GET").count(), 6);
    assert_eq!(upstream.count(), 6);
}

/// Panics over every request, far behind the guards.
struct Panicking;

impl Policy for Panicking {
    fn name(&self) -> &'static str {
        "panicking"
    }

    fn phase(&self) -> Phase {
        Phase::Transform
    }

    fn request(&self, _: &std::rc::Rc<Worker>, exchange: &mut Exchange) -> Step {
        if exchange.request.target.path() == "/panic" {
            panic!("on purpose");
        }
        Step::Next
    }
}

#[test]
fn a_page_can_read_why_it_was_refused() {
    let upstream = FakeUpstream::start(|_| Reply::bytes(418, "teapot"));
    let gateway = secured(&upstream);
    let read = ["access-control-allow-credentials: true", "access-control-allow-origin: https://shop.example"];
    let read = [&read[..], &["access-control-expose-headers: x-total, retry-after", "vary: Origin"]].concat();
    let with_key = |target| gateway.call("GET", target).header("origin", SHOP).header("x-api-key", "acme-key");
    let unknown = get_from(&gateway, "/api/orders/7", SHOP);
    unknown.assert_problem(401, "credentials_missing");
    assert_eq!(told(&unknown), read);
    let misfit = with_key("/api/orders/seven").send();
    misfit.assert_problem(400, "invalid_parameters");
    assert_eq!(told(&misfit), read);
    let of_upstream = with_key("/api/orders/7").send().assert_status(418);
    assert_eq!(told(&of_upstream), read);
    let limited = with_key("/api/orders/7").send();
    limited.assert_problem(429, "rate_limited");
    assert_eq!(told(&limited), read);

    let cors = "cors: { origins: https://shop.example }";
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { away: { endpoints: [ "http://{nobody}" ] } }
        routes: { all: { path: /**, upstream: away, {cors} } }
        "#,
    )
    .with("cors", cors)
    .with("nobody", crate::kit::upstream::nobody())
    .policy(Panicking)
    .start();
    let read = ["access-control-allow-origin: https://shop.example", "vary: Origin"];
    let panicked = get_from(&gateway, "/panic", SHOP);
    panicked.assert_problem(500, "internal");
    assert_eq!(told(&panicked), read);
    let away = get_from(&gateway, "/", SHOP);
    away.assert_problem(502, "upstream_unreachable");
    assert_eq!(told(&away), read);
}

#[test]
fn a_preflight_goes_where_the_method_leads_that_it_asks_about() {
    let upstream = FakeUpstream::start(|seen| {
        Reply::bytes(200, seen.method.clone()).header("access-control-allow-origin", "https://own.example")
    });
    let gateway = routes(
        &upstream,
        r#"
          reads: { path: /o, methods: [ GET ], upstream: service },
          writes: { path: /o, methods: [ PUT ], upstream: service, cors: { origins: https://shop.example } },
          own: { path: /own, upstream: service }
        "#,
    )
    .start();
    let asked = preflight(&gateway, "/o", SHOP, "PUT").assert_status(204);
    assert_eq!(asked.header("access-control-allow-origin").as_deref(), Some(SHOP));
    // No page is let in where the route says nothing, and `OPTIONS` is none of its methods.
    let refused = preflight(&gateway, "/o", SHOP, "GET");
    refused.assert_problem(405, "method_not_allowed");
    assert_eq!(told(&refused), Vec::<String>::new());
    preflight(&gateway, "/o", SHOP, "DELETE").assert_problem(405, "method_not_allowed");
    preflight(&gateway, "/nowhere", SHOP, "PUT").assert_problem(404, "unknown_route");
    // The name of a method is taken as it is (RFC 9110, section 9.1).
    preflight(&gateway, "/o", SHOP, "put").assert_problem(405, "method_not_allowed");
    assert_eq!(upstream.count(), 0);
    // An upstream that answers for itself is asked, and what it says is not touched.
    let asked = preflight(&gateway, "/own", SHOP, "PUT");
    let own = ["access-control-allow-origin: https://own.example", "content-length: 7"];
    assert_eq!(whole(&asked), of(200, own, "OPTIONS"));
    let plain = gateway.call("OPTIONS", "/own").header("origin", SHOP).send();
    assert_eq!(whole(&plain), of(200, own, "OPTIONS"));
}

#[test]
fn an_options_request_that_is_no_preflight_goes_on() {
    let upstream = FakeUpstream::start(|seen| Reply::bytes(200, seen.method.clone()));
    let setup = routes(&upstream, "all: { path: /**, upstream: service, cors: { origins: https://shop.example } }");
    let gateway = setup.start();
    let call = || gateway.call("OPTIONS", "/");
    let without_method = call().header("origin", SHOP).send();
    let read = ["access-control-allow-origin: https://shop.example", "content-length: 7", "vary: Origin"];
    assert_eq!(whole(&without_method), of(200, read, "OPTIONS"));
    let without_origin = call().header("access-control-request-method", "PUT").send();
    assert_eq!(whole(&without_origin), of(200, ["content-length: 7", "vary: Origin"], "OPTIONS"));
    let of_two =
        call().header("origin", SHOP).header("origin", SHOP).header("access-control-request-method", "PUT").send();
    assert_eq!(whole(&of_two), of(200, ["content-length: 7", "vary: Origin"], "OPTIONS"));
}

#[test]
fn where_every_page_is_let_in_answers_are_the_same_for_all_and_vary_by_no_origin() {
    let upstream = FakeUpstream::start(|_| Reply::bytes(200, "news").header("vary", "Accept"));
    let setup =
        routes(&upstream, r#"all: { path: /**, upstream: service, cors: { origins: "*", exposed_headers: "*" } }"#);
    let gateway = setup.start();
    let same = of(
        200,
        ["access-control-allow-origin: *", "access-control-expose-headers: *", "content-length: 4", "vary: Accept"],
        "news",
    );
    assert_eq!(whole(&gateway.get("/")), same);
    for origin in [SHOP, EVIL, "null"] {
        assert_eq!(whole(&get_from(&gateway, "/", origin)), same, "{origin}");
        let asked = preflight(&gateway, "/", origin, "DELETE");
        let expected = [
            "access-control-allow-methods: DELETE",
            "access-control-allow-origin: *",
            "access-control-max-age: 600",
            "vary: Access-Control-Request-Method, Access-Control-Request-Headers",
        ];
        assert_eq!(whole(&asked), of(204, expected, ""), "{origin}");
    }
}

#[test]
fn methods_and_headers_that_are_named_are_told_whatever_is_asked_for() {
    let upstream = FakeUpstream::echo();
    let cors = r#"{ origins: "https://shop.example", methods: [ GET, PUT ], headers: [ X-Tenant ], max_age: 0s }"#;
    let setup = routes(&upstream, "all: { path: /**, upstream: service, cors: {cors} }");
    let gateway = setup.with("cors", cors).start();
    let expected = of(
        204,
        [
            "access-control-allow-headers: x-tenant",
            "access-control-allow-methods: GET, PUT",
            "access-control-allow-origin: https://shop.example",
            "access-control-max-age: 0",
            "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ],
        "",
    );
    assert_eq!(whole(&preflight(&gateway, "/", SHOP, "DELETE")), expected);
    let call = gateway.call("OPTIONS", "/").header("origin", SHOP).header("access-control-request-method", "PUT");
    let call = call.header("access-control-request-headers", "x-other");
    // Asked about a private network a browser is told nothing.
    assert_eq!(whole(&call.header("access-control-request-private-network", "true").send()), expected);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_listeners_rules_hold_where_a_route_has_none_and_for_what_no_route_takes() {
    let upstream = FakeUpstream::echo();
    let gateway = TestGateway::with_config(
        r#"
        listeners:
          public: { address: 127.0.0.1:0, cors: { origins: "https://shop.example", exposed_headers: [ x-request-id ] } }
          inner: { address: 127.0.0.1:0 }
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes:
          plain: { path: /plain, methods: [ GET ], upstream: service }
          own: { path: /own, methods: [ GET ], upstream: service, cors: { origins: "https://own.example" } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let read = [
        "access-control-allow-origin: https://shop.example",
        "access-control-expose-headers: x-request-id",
        "vary: Origin",
    ];
    assert_eq!(told(&get_from(&gateway, "/plain", SHOP).assert_status(200)), read);
    assert_eq!(told(&get_from(&gateway, "/own", SHOP).assert_status(200)), ["vary: Origin"]);
    assert_eq!(
        told(&get_from(&gateway, "/own", "https://own.example")),
        ["access-control-allow-origin: https://own.example", "vary: Origin"]
    );
    let unknown = get_from(&gateway, "/nowhere", SHOP);
    unknown.assert_problem(404, "unknown_route");
    assert_eq!(told(&unknown), read);
    let not_allowed = gateway.call("PUT", "/plain").header("origin", SHOP).send();
    not_allowed.assert_problem(405, "method_not_allowed");
    assert_eq!(told(&not_allowed), read);
    assert_eq!(told(&get_from(&gateway, "/nowhere", EVIL)), ["vary: Origin"]);
    // A page may ask for what there is not, so that it can read that there is not.
    let metric = "portolan_requests_total{route=\"-\",status=\"2xx\"}";
    let before = gateway.metric(metric);
    for (target, method) in [("/nowhere", "GET"), ("/plain", "PUT"), ("/plain", "GET")] {
        let asked = preflight(&gateway, target, SHOP, method);
        let expected = [
            &*format!("access-control-allow-methods: {method}"),
            "access-control-allow-origin: https://shop.example",
            "access-control-max-age: 600",
            "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ];
        assert_eq!(whole(&asked), of(204, expected, ""), "{target}");
    }
    assert_eq!(gateway.metric(metric) - before, 2.0);
    // Each worker hands over its own lines, so that they stand in any order.
    let lines = gateway.log(9);
    let line = lines.iter().find(|line| line["method"] == "OPTIONS" && line["path"] == "/nowhere");
    let logged = ["route", "method", "path", "status", "outcome", "fault"].map(|key| line.unwrap()[key].clone());
    assert_eq!(json!(logged), json!([null, "OPTIONS", "/nowhere", 204, "completed", null]));
    // Another listener has no rules.
    let inner = crate::kit::Client::new(gateway.inner().address("inner").expect("it listens"));
    let ask = |target: &str| {
        inner.call("OPTIONS", target).header("origin", SHOP).header("access-control-request-method", "GET")
    };
    ask("/plain").send().assert_problem(405, "method_not_allowed");
    ask("/nowhere").send().assert_problem(404, "unknown_route");
    let answer = inner.call("GET", "/plain").header("origin", SHOP).send().assert_status(200);
    assert_eq!(told(&answer), Vec::<String>::new());
    assert_eq!(upstream.requests().iter().filter(|seen| seen.method == "OPTIONS").count(), 0);
}

#[test]
fn a_reload_changes_the_rules_of_a_listener() {
    let upstream = FakeUpstream::echo();
    let gateway = TestGateway::with_config(
        r#"
        listeners: { public: { address: 127.0.0.1:0, cors: { origins: "https://shop.example" } } }
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /all, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let new = gateway.configuration().replace(SHOP, "https://new.example");
    gateway.reload(&new).unwrap();
    for target in ["/all", "/nowhere"] {
        assert_eq!(told(&get_from(&gateway, target, SHOP)), ["vary: Origin"]);
        let read = ["access-control-allow-origin: https://new.example", "vary: Origin"];
        assert_eq!(told(&get_from(&gateway, target, "https://new.example")), read);
    }
    let without = new.replace(r#", cors: { origins: "https://new.example" }"#, "");
    assert_ne!(without, new);
    gateway.reload(&without).unwrap();
    assert_eq!(told(&get_from(&gateway, "/all", "https://new.example")), Vec::<String>::new());
    // Nothing of it waits for a restart.
    let ready = gateway.admin().get("/readyz").assert_status(200).text();
    assert!(!ready.contains("listeners"), "{ready}");
}

#[test]
fn a_graphql_api_is_asked_about_its_post() {
    let upstream = FakeUpstream::answering(200, json!({ "data": { "a": 1 } }));
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { shop: { endpoints: [ "{upstream}" ] } }
        apis: { shop: { version: v1, graphql: ./shop.graphql, path: /graphql, upstream: shop, cors: { origins: "*" } } }
        "#,
    )
    .with("upstream", upstream.url())
    .file("shop.graphql", "type Query { a: Int }")
    .start();
    let asked = preflight(&gateway, "/graphql", SHOP, "POST").assert_status(204);
    assert_eq!(asked.body, b"");
    let refused = gateway.call("POST", "/graphql").header("origin", SHOP).json(&json!({ "query": "{ b }" })).send();
    assert_eq!(told(&refused), ["access-control-allow-origin: *"]);
    assert_eq!(upstream.count(), 0);
    let answer = gateway.call("POST", "/graphql").header("origin", SHOP).json(&json!({ "query": "{ a }" })).send();
    assert_eq!(told(&answer), ["access-control-allow-origin: *"]);
}
