//! Where a request goes: host, path, method.

use serde_json::json;

use super::plain;
use crate::kit::{Answer, FakeUpstream, TestGateway};

fn named(name: &'static str) -> FakeUpstream {
    FakeUpstream::answering(200, json!(name))
}

#[test]
fn a_request_goes_where_its_host_its_path_and_its_method_lead() {
    let (orders, order, shop) = (named("orders"), named("order"), named("shop"));
    let gateway = TestGateway::with_config(
        r#"
        upstreams:
          orders: { endpoints: [ "{orders}" ] }
          order: { endpoints: [ "{order}" ] }
          shop: { endpoints: [ "{shop}" ] }
        routes:
          orders: { path: /orders/**, upstream: orders }
          order: { path: "/orders/{id}", methods: [ GET ], upstream: order }
          shop: { host: shop.example.com, path: /**, upstream: shop }
        "#,
    )
    .with("orders", orders.url())
    .with("order", order.url())
    .with("shop", shop.url())
    .start();
    let went = |method: &str, target: &str, host: &str| {
        gateway.call(method, target).header("host", host).send().assert_status(200).json()
    };
    assert_eq!(went("GET", "/orders", "any.example.com"), "orders");
    assert_eq!(went("GET", "/orders/1", "any.example.com"), "order");
    assert_eq!(went("GET", "/orders/1/lines", "any.example.com"), "orders");
    assert_eq!(went("GET", "/orders/1", "Shop.Example.COM:8080"), "shop");
    assert_eq!(went("GET", "/", "shop.example.com"), "shop");
}

#[test]
fn what_no_route_takes_is_answered_with_a_problem() {
    let upstream = named("never asked");
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { one: { path: /one, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let problem = gateway.get("/two").assert_problem(404, "unknown_route");
    assert_eq!(problem, json!({ "detail": "no route takes this request" }));
    gateway.get("/").assert_problem(404, "unknown_route");
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_method_that_a_path_does_not_take_is_answered_with_those_it_takes() {
    let upstream = named("orders");
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { orders: { path: /orders, methods: [ GET, PUT ], upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let refused = gateway.call("DELETE", "/orders").send();
    let problem = refused.assert_problem(405, "method_not_allowed");
    assert_eq!(problem, json!({ "detail": "DELETE is not a method of this path" }));
    assert_eq!(refused.header("allow").as_deref(), Some("GET, HEAD, PUT"));
    assert_eq!(upstream.count(), 0);
    gateway.call("PUT", "/orders").body("x").send().assert_status(200);
}

#[test]
fn a_resource_that_answers_get_answers_head() {
    let upstream = named("orders");
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { orders: { path: /orders, methods: [ GET ], upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let Answer { status, body, .. } = gateway.call("HEAD", "/orders").send();
    assert_eq!((status, body.len(), upstream.the_request().method.as_str()), (200, 0, "HEAD"));
}

#[test]
fn a_path_with_dot_segments_is_refused_before_an_upstream_can_take_it_for_another() {
    let upstream = named("never asked");
    let gateway = plain(&upstream.url());
    // An encoded slash separates segments for some upstreams, so it does for this check.
    for target in ["/a/../b", "/a/%2e%2e/b", "/a/.%2E/b", "/a/..%2fb"] {
        let mut client = crate::kit::RawClient::connect(gateway.address());
        client.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let (head, _) = client.read_answer();
        assert!(head.starts_with("HTTP/1.1 400 "), "{target}: {head}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_prefix_can_be_taken_off_before_the_upstream_sees_the_path() {
    let upstream = named("orders");
    let gateway = TestGateway::with_config(
        r#"
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { orders: { path: /old/**, upstream: service, strip_prefix: /old } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    for target in ["/old/orders?a=%20", "/old", "/old/a%2Fb"] {
        gateway.get(target).assert_status(200);
    }
    let seen: Vec<_> = upstream.requests().into_iter().map(|seen| seen.target).collect();
    assert_eq!(seen, ["/orders?a=%20", "/", "/a%2Fb"]);
}
