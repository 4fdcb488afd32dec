//! A real browser judges: one page of one origin makes all its calls, and says what it got to know.

use serde_json::{Value, json};

use crate::kit::browser::document_of;
use crate::kit::{FakeUpstream, Reply, TestGateway};

/// What the page found out.
fn outcome(document: &str) -> Value {
    let written = document.split_once("<pre id=\"outcome\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (written, _) = written.unwrap_or_else(|| panic!("the browser gave no such page: {document:?}"));
    serde_json::from_str(written).unwrap_or_else(|error| panic!("{error}: {written}"))
}

#[test]
fn a_browser_lets_a_page_do_what_it_may_and_nothing_else() {
    let service = FakeUpstream::start(|seen| {
        let seen = json!({ "cookie": seen.header("cookie"), "tenant": seen.header("x-tenant") });
        // A service that has an opinion of its own, which would let in everybody, twice.
        Reply::json(200, &seen)
            .header("x-shown", "1")
            .header("x-hidden", "1")
            .header("access-control-allow-origin", "*")
            .header("access-control-allow-origin", "null")
    });
    // The page needs the gateway's address, and the gateway that of the page's origin: the page learns it when it is asked for.
    let gateway_of_page = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = gateway_of_page.clone();
    let site = FakeUpstream::start(move |seen| match (seen.target.as_str(), known.get()) {
        ("/", Some(gateway)) => {
            let page = include_str!("page.html").replace("GATEWAY", gateway);
            Reply::bytes(200, page).header("content-type", "text/html; charset=utf-8")
        }
        _ => Reply::bytes(404, ""),
    });
    let gateway = TestGateway::with_config(
        r#"
        listeners: { public: { address: 127.0.0.1:0, cors: { origins: "{site}" } } }
        identity: { keys: { api_key: { header: x-api-key, pepper: pepper } } }
        upstreams: { service: { endpoints: [ "{service}" ] } }
        routes:
          open:
            path: /open/**
            upstream: service
            cors: { origins: "{site}", methods: [ GET, PUT ], headers: [ content-type, x-tenant ], exposed_headers: [ x-shown ], credentials: true }
          closed: { path: /closed/**, upstream: service, cors: { origins: "https://elsewhere.example" } }
          public: { path: /public/**, upstream: service, cors: { origins: "*", exposed_headers: "*" } }
          keyed: { path: /keyed, upstream: service, authenticate: [ keys ] }
        "#,
    )
    .with("site", site.url())
    .with("service", service.url())
    .start();
    gateway_of_page.set(format!("http://{}", gateway.address())).expect("it is set once");

    let mut outcome = outcome(&document_of(&format!("{}/", site.url())));
    // What differs each time.
    for name in ["no key", "no route"] {
        assert!(outcome[name]["body"]["request_id"].take().is_string(), "{outcome:#}");
    }
    let read = |cookie: Value, tenant: Value, hidden: Value| json!({ "status": 200, "shown": "1", "hidden": hidden, "body": { "cookie": cookie, "tenant": tenant } });
    let fault = |status: u16, code: &str, title: &str, detail: &str| {
        json!({ "status": status, "shown": null, "hidden": null, "body": {
            "type": format!("urn:portolan:fault:{code}"), "title": title, "status": status, "detail": detail, "code": code, "request_id": null,
        }})
    };
    let refused = "TypeError";
    let expected = json!({
        "simple": read(Value::Null, Value::Null, Value::Null),
        "preflighted": read(Value::Null, json!("acme"), Value::Null),
        "without credentials": read(Value::Null, Value::Null, Value::Null),
        "with credentials": read(json!("visitor=ada"), Value::Null, Value::Null),
        "method not let in": refused,
        "header not let in": refused,
        "origin not let in": refused,
        "origin not let in, preflighted": refused,
        "credentials with every page let in": refused,
        "every page let in": read(Value::Null, Value::Null, json!("1")),
        "no key": fault(401, "credentials_missing", "Credentials are needed", "a key is needed; send it in the header `x-api-key`"),
        "no route": fault(404, "unknown_route", "There is nothing here", "no route takes this request"),
    });
    assert_eq!(outcome, expected);

    // What a browser must ask about first never reached the service when it was not let in; what it need not ask about did.
    let seen: Vec<_> = service.requests().into_iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    let expected = [
        "GET /open/simple",
        "PUT /open/preflighted",
        "GET /open/without",
        "GET /open/with",
        "GET /closed/simple",
        "GET /public/with",
        "GET /public/simple",
    ];
    assert_eq!(seen, expected);
}
