//! The admin port.

use serde_json::json;

use crate::kit::{FakeUpstream, TestGateway};

fn gateway(upstream: &FakeUpstream, admin: &str) -> TestGateway {
    TestGateway::with_config(
        r#"
        admin: {admin}
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { orders: { path: /orders/**, methods: [ GET ], upstream: service, deadline: 5s, headers: { response: { set: { x-a: "1" } } } } }
        "#,
    )
    .with("upstream", upstream.url())
    .with("admin", admin)
    .start()
}

const OPEN: &str = "{ address: 127.0.0.1:0 }";

#[test]
fn probes_routes_and_actors_say_how_the_gateway_is() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, OPEN);
    let admin = gateway.admin();
    assert_eq!(admin.get("/livez").assert_status(200).json(), json!({ "live": true }));
    assert_eq!(
        admin.get("/readyz").assert_status(200).json(),
        json!({
            "ready": true, "stopping": false, "failed_actors": [],
            "configuration": { "reloads": 0, "refused": 0, "in_force": "the file", "problem": null, "waits_for_restart": [] },
        })
    );
    assert_eq!(
        admin.get("/routes").assert_status(200).json(),
        json!({ "routes": [ {
            "route": "orders", "path": "/orders/**", "methods": [ "GET" ], "inbound": "rest", "outbound": "http",
            "policies": [ { "name": "headers", "phase": "transform" } ], "deadline_ms": 5000,
        } ] })
    );
    let actors = admin.get("/actors").assert_status(200).json();
    let names: Vec<_> =
        actors["actors"].as_array().unwrap().iter().map(|actor| actor["name"].as_str().unwrap()).collect();
    for name in ["breaker/service", "limiter/memory", "shard/0", "shard/1"] {
        assert!(names.contains(&name), "no {name} among {names:?}");
    }
    admin.get("/nowhere").assert_status(404);
}

#[test]
fn metrics_count_what_was_answered_and_what_was_not() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, OPEN);
    for _ in 0..3 {
        gateway.get("/orders/1").assert_status(200);
    }
    gateway.get("/nowhere").assert_status(404);
    gateway.log(4);
    let metrics = gateway.admin().get("/metrics").assert_status(200);
    assert_eq!(metrics.header("content-type").as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
    let metrics = metrics.text();
    for line in [
        r#"portolan_requests_total{route="orders",status="2xx"} 3"#,
        r#"portolan_faults_total{route="-",code="unknown_route"} 1"#,
        r#"portolan_gateway_seconds_count{route="orders"} 3"#,
        r#"portolan_actor_up{kind="breaker",name="breaker/service"} 1"#,
        r#"portolan_access_log_lines_total{fate="dropped"} 0"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "no line {line} in\n{metrics}");
    }
    // Every sample has its help and its type before it, as the exposition format wants.
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let typed =
            |name: &str| metrics.contains(&format!("# TYPE {name} ")) && metrics.contains(&format!("# HELP {name} "));
        assert!(typed(name) || typed(family), "{name} has no type or help");
    }
}

#[test]
fn with_a_token_only_probes_are_open() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, "{ address: 127.0.0.1:0, token: secret-enough-for-a-test }");
    let admin = gateway.admin();
    for page in ["/livez", "/readyz"] {
        admin.get(page).assert_status(200);
    }
    for page in ["/metrics", "/routes", "/actors"] {
        let refused = admin.get(page);
        assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("credentials_missing")));
        assert_eq!(refused.header("www-authenticate").as_deref(), Some(r#"Bearer realm="admin""#));
        admin.call("GET", page).header("authorization", "Bearer wrong").send().assert_status(401);
        admin.call("GET", page).header("authorization", "Bearer secret-enough-for-a-test").send().assert_status(200);
    }
}

#[test]
fn admin_pages_are_not_served_to_clients() {
    let upstream = FakeUpstream::echo();
    let gateway = gateway(&upstream, OPEN);
    for page in ["/livez", "/readyz", "/metrics", "/routes", "/actors"] {
        gateway.get(page).assert_problem(404, "unknown_route");
    }
}
