//! The access log: one line for each request, whatever became of it.

use serde_json::{Value, json};

use crate::kit::upstream::nobody;
use crate::kit::{FakeUpstream, TestGateway};

#[test]
fn a_request_leaves_one_line_that_tells_its_story() {
    let upstream = FakeUpstream::answering(201, json!({ "id": 1 }));
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] }, away: { endpoints: [ "http://{nobody}" ] } }
        routes: { orders: { path: /orders, upstream: service }, away: { path: /away, upstream: away } }
        "#,
    )
    .with("upstream", upstream.url())
    .with("nobody", nobody())
    .start();
    let answer = gateway.call("POST", "/orders?secret=1").body("hello").send().assert_status(201);
    gateway.get("/away").assert_status(502);
    gateway.get("/nowhere").assert_status(404);
    let mut lines = gateway.log(3);
    lines.sort_by_key(|line| line["path"].to_string());
    let [away, nowhere, orders] = <[Value; 3]>::try_from(lines).unwrap();
    assert_eq!(
        orders,
        json!({
            "time": "2026-01-02T03:04:05Z", "request_id": answer.header("x-request-id"), "route": "orders", "method": "POST",
            "path": "/orders", "protocol": "rest", "client": "127.0.0.1", "status": 201, "outcome": "completed",
            "bytes_in": 5, "bytes_out": 8, "queue_us": 0, "gateway_us": 0, "upstream_us": 0,
            "upstream": "service", "endpoint": upstream.address().to_string(),
        })
    );
    assert_eq!(
        (&away["status"], &away["outcome"], &away["fault"]),
        (&json!(502), &json!("faulted"), &json!("upstream_unreachable"))
    );
    assert!(away["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{away}");
    assert_eq!(
        (&nowhere["status"], &nowhere["fault"], &nowhere["path"]),
        (&json!(404), &json!("unknown_route"), &json!("/nowhere"))
    );
}
