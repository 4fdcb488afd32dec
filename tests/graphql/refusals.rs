//! Requests that are no GraphQL request, and documents that are no document: what their callers are told.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ask, errors, posted, quiet, send, shop};
use crate::kit::{Answer, RawClient, TestGateway};

const BOTH: [(&str, u16); 2] = [("application/json", 200), ("application/graphql-response+json", 400)];

fn accepting(gateway: &TestGateway, media: &str, body: &Value) -> Answer {
    gateway.call("POST", "/shop/graphql").header("accept", media).json(body).send()
}

#[test]
fn a_syntax_error_is_told_with_its_line_and_column() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let cases = [
        ("{ products { id ", "syntax error: expected a field or `}`, found the end of the document", 1, 17),
        ("query Q {\n  products {\n    id,\n    é\n  }\n}", "syntax error: unexpected character `é`", 4, 5),
        ("", "syntax error: expected an operation, found the end of the document", 1, 1),
        ("{ products(first: ) { id } }", "syntax error: expected a value, found `)`", 1, 19),
    ];
    for (document, message, line, column) in cases {
        let expected = json!([{
            "message": message,
            "locations": [{ "line": line, "column": column }],
            "extensions": { "code": "graphql_syntax" },
        }]);
        assert_eq!(errors(&ask(&gateway, document), 200), expected, "{document}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn what_does_not_fit_the_schema_is_told_at_every_place_and_guesses_at_no_name() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let invalid = |message: &str, line: u32, column: u32| json!({ "message": message, "locations": [{ "line": line, "column": column }], "extensions": { "code": "graphql_invalid" } });
    let told = errors(&ask(&gateway, "{\n  productz { id }\n  product(id: 1) { id nam }\n}"), 200);
    let fields = [("productz", "Query", 2, 3), ("nam", "Product", 3, 23)].map(|(name, on, line, column)| {
        invalid(&format!("Cannot query field \"{name}\" on type \"{on}\"."), line, column)
    });
    assert_eq!(told, Value::from(fields.to_vec()));
    let told = errors(&ask(&gateway, "query($n: String) {\n  product { id }\n  orders(first: $n) { id }\n}"), 200);
    assert_eq!(
        told,
        json!([
            invalid("Field \"product\" argument \"id\" of type \"ID!\" is required, but it was not provided.", 2, 3),
            invalid("Variable \"$n\" of type \"String\" used in position expecting type \"Int\".", 3, 10),
        ])
    );
    let circle = "{ products { ...A } } fragment A on Product { ...A }";
    assert_eq!(errors(&ask(&gateway, circle), 200), json!([invalid("fragment `A` spreads itself", 1, 47)]));
    let many = format!("{{ {} }}", (0..15).map(|n| format!("field{n} ")).collect::<String>());
    let told = errors(&ask(&gateway, &many), 200);
    assert_eq!(told.as_array().unwrap().len(), 11);
    assert_eq!(told[10], json!({ "message": "and 5 more mistakes", "extensions": { "code": "graphql_invalid" } }));
    assert_eq!(upstream.count(), 0);
}

#[test]
fn an_operation_that_is_not_there_and_one_that_is_not_said_are_refused() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let document = "query A { orders { id } } query B { orders { id } }";
    let told = |message: &str| json!([{ "message": message, "extensions": { "code": "invalid_parameters" } }]);
    let cases = [
        (json!({ "query": document, "operationName": "C" }), told("the document has no operation `C`")),
        (json!({ "query": document, "operationName": "" }), told("the document has no operation ``")),
        (json!({ "query": document }), told("the document has 2 operations; say which in `operationName`")),
        (
            json!({ "query": document, "operationName": null }),
            told("the document has 2 operations; say which in `operationName`"),
        ),
    ];
    for (body, expected) in cases {
        for (media, status) in BOTH {
            assert_eq!(errors(&accepting(&gateway, media, &body), status), expected, "{body}");
        }
    }
    let only_fragments = errors(&ask(&gateway, "fragment A on Order { id }"), 200);
    assert_eq!(only_fragments[0]["extensions"]["code"], "graphql_invalid");
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_subscription_over_plain_http_is_refused() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let body = json!({ "query": "subscription { orderCreated { id } }" });
    let expected = json!([{
        "message": "a subscription cannot be answered over plain HTTP",
        "locations": [{ "line": 1, "column": 1 }],
        "extensions": { "code": "graphql_invalid" },
    }]);
    for (media, status) in BOTH {
        assert_eq!(errors(&accepting(&gateway, media, &body), status), expected);
    }
    // Beside a query it may stand, as long as it is the query that is asked for.
    let both = "query A { orders { id } } subscription B { orderCreated { id } }";
    assert_eq!(
        errors(&send(&gateway, &json!({ "query": both, "operationName": "B" })), 200)[0]["locations"][0]["column"],
        27
    );
    send(&gateway, &json!({ "query": both, "operationName": "A" })).assert_status(200);
    assert_eq!(upstream.count(), 1);
}

#[test]
fn the_media_type_that_is_accepted_decides_the_status_of_a_refusal() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let body = json!({ "query": "{ nothing }" });
    let modern = ("application/graphql-response+json; charset=utf-8", 400);
    let legacy = ("application/json; charset=utf-8", 200);
    let cases = [
        ("application/graphql-response+json", modern),
        ("application/graphql-response+json, application/json;q=0.9", modern),
        ("application/json;q=0.5, application/graphql-response+json;q=0.8", modern),
        ("application/json", legacy),
        ("application/json, application/graphql-response+json;q=0.5", legacy),
        ("*/*", legacy),
        ("text/html", legacy),
    ];
    for (accept, (media, status)) in cases {
        let answer = accepting(&gateway, accept, &body);
        assert_eq!((answer.status, answer.header("content-type").as_deref()), (status, Some(media)), "{accept}");
        assert_eq!(answer.json()["errors"][0]["extensions"]["code"], "graphql_invalid");
    }
    let without = ask(&gateway, "{ nothing }");
    assert_eq!(
        (without.status, without.header("content-type").as_deref()),
        (200, Some("application/json; charset=utf-8"))
    );
    assert_eq!(upstream.count(), 0);
}

#[test]
fn json_that_is_no_graphql_request_is_told_so_with_400() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let cases = [
        (json!({}), "the request has no `query`"),
        (json!({ "query": null }), "the request has no `query`"),
        (json!({ "query": 1 }), "`query` must be a string"),
        (json!({ "query": "{ orders { id } }", "variables": [] }), "`variables` must be an object"),
        (json!({ "query": "{ orders { id } }", "operationName": 1 }), "`operationName` must be a string"),
        (json!({ "query": "{ orders { id } }", "extensions": 1 }), "`extensions` must be an object"),
        (json!("{ orders { id } }"), "a GraphQL request is a JSON object with the member `query`"),
    ];
    for (body, message) in cases {
        let expected = json!([{ "message": message, "extensions": { "code": "bad_request" } }]);
        for (media, _) in BOTH {
            assert_eq!(errors(&accepting(&gateway, media, &body), 400), expected, "{body}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_body_that_is_not_json_is_a_problem_and_so_is_one_that_two_readers_could_read_in_two_ways() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let bodies: [(&str, &[u8]); 9] = [
        ("nothing", b""),
        ("half an object", b"{\"query\":"),
        ("two values", b"{}{}"),
        ("a comma too many", b"{\"query\":\"{ orders { id } }\",}"),
        ("no UTF-8", b"{\"query\":\"\xff\xfe\"}"),
        ("half a surrogate", b"{\"query\":\"\\ud800\"}"),
        ("a document alone", b"{ orders { id } }"),
        ("a query twice", b"{\"query\":\"{ orders { id } }\",\"query\":\"{ products(first: 9999) { id } }\"}"),
        (
            "a variable twice",
            b"{\"query\":\"query($n: Int) { products(first: $n) { id } }\",\"variables\":{\"n\":1,\"n\":9999}}",
        ),
    ];
    for (what, body) in bodies {
        let answer = gateway.call("POST", "/shop/graphql").header("content-type", "application/json").body(body).send();
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        answer.assert_problem(400, "malformed_body");
    }
    assert_eq!(upstream.count(), 0);
    ask(&gateway, "{ orders { id } }").assert_status(200);
}

#[test]
fn other_media_types_packed_bodies_and_other_methods_are_refused() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let body = r#"{"query":"{ orders { id } }"}"#;
    for media in [
        "text/plain",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/jsonx",
    ] {
        let answer = gateway.call("POST", "/shop/graphql").header("content-type", media).body(body).send();
        let problem = answer.assert_problem(415, "unsupported_media_type");
        assert_eq!(problem, json!({ "detail": "a GraphQL request has `content-type: application/json`" }), "{media}");
    }
    let mut unsaid = RawClient::connect(gateway.address());
    unsaid.send(format!("POST /shop/graphql HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    assert!(unsaid.read_head().starts_with("HTTP/1.1 415 "));
    let call = gateway.call("POST", "/shop/graphql").header("content-type", "application/json");
    let packed = call.header("content-encoding", "gzip").body(b"\x1f\x8b\x08").send();
    assert_eq!(
        packed.assert_problem(415, "unsupported_media_type"),
        json!({ "detail": "a packed body cannot be read" })
    );
    for method in ["GET", "PUT", "DELETE"] {
        let answer = gateway.call(method, "/shop/graphql?query=%7Borders%7Bid%7D%7D").send();
        answer.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow").as_deref(), Some("POST"), "{method}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_body_over_its_bound_is_refused_whether_it_says_its_length_or_not() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), ", max_body: 2KiB");
    let padded = |length: usize| {
        let body = r#"{"query":"{ orders { id } }"}"#;
        body.to_owned() + &" ".repeat(length - body.len())
    };
    let call = |body: String| {
        gateway.call("POST", "/shop/graphql").header("content-type", "application/json").body(body).send()
    };
    call(padded(2_048)).assert_status(200);
    let problem = call(padded(2_049)).assert_problem(413, "body_too_large");
    assert_eq!(problem, json!({ "detail": "the body is larger than 2048 bytes", "limit": 2048 }));

    let mut client = RawClient::connect(gateway.address());
    client.send("POST /shop/graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send(format!("c00\r\n{}\r\n", " ".repeat(3_072)));
    // Its last chunk never comes: it is refused while it is still being sent.
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_a_problem() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), ", deadline: 2s");
    let mut client = RawClient::connect(gateway.address());
    let request = posted(&json!({ "query": "{ orders { id } }" }));
    client.send(&request[..request.len() - 5]);
    let reading = std::thread::spawn(move || client.read_answer());
    gateway.advance_until("the answer", Duration::from_secs(1), || reading.is_finished());
    let (head, body) = reading.join().unwrap();
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["code"], "request_timeout");
    assert_eq!(upstream.count(), 0);
}
