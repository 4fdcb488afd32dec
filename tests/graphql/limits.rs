//! Limits: what a document may ask for, and that what asks for more never reaches the service.

use serde_json::{Value, json};

use super::{ask, ask_with, errors, excess, quiet, send, shop};

/// A query of this depth, the leaf counted; it costs next to nothing.
fn of_depth(depth: usize) -> String {
    let levels = ["products", "orders", "product"];
    let names = (0..depth - 1).map(|at| if at == 0 { levels[0] } else { levels[1 + (at - 1) % 2] });
    let opening: String = names.map(|name| format!("{name} {{ ")).collect();
    format!("{{ {opening}id {}}}", "} ".repeat(depth - 1))
}

#[test]
fn depth_ten_passes_and_eleven_is_refused_with_limit_and_value() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    assert_eq!(ask(&gateway, &of_depth(10)).assert_status(200).json(), json!({ "data": null }));
    assert_eq!(upstream.count(), 1);
    let deep = of_depth(11);
    let column = u32::try_from(deep.find("id").unwrap()).unwrap() + 1;
    assert_eq!(
        errors(&ask(&gateway, &deep), 200),
        json!([excess("query depth 11 exceeds the limit of 10", "depth", 11, 10, column)])
    );
    assert_eq!(upstream.count(), 1);
}

#[test]
fn fragments_are_no_level_of_depth_and_hide_none() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let wrapped = |inner: &str| {
        format!(
            "{{ products {{ ... on Product {{ ...A }} }} }} fragment A on Product {{ ...B }} fragment B on Product {{ {inner} }}"
        )
    };
    // Everything below `products` of a query of that depth.
    let below = |depth: usize| {
        let text = of_depth(depth);
        text.trim_start_matches("{ products { ").strip_suffix("} }").unwrap().to_owned()
    };
    ask(&gateway, &wrapped(&below(10))).assert_status(200);
    assert_eq!(upstream.count(), 1);
    let refused = errors(&ask(&gateway, &wrapped(&below(11))), 200);
    assert_eq!(refused[0]["message"], "query depth 11 exceeds the limit of 10");
    assert_eq!(upstream.count(), 1);
}

/// What a request is told: nothing when it passes, else its whole errors. The service is called for what passes alone.
fn judged(more: &str, document: &str, variables: &Value) -> Option<Value> {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), more);
    let answer = ask_with(&gateway, document, variables.clone());
    match upstream.count() {
        0 => Some(errors(&answer, 200)),
        1 => {
            assert_eq!((answer.status, answer.json()), (200, json!({ "data": null })), "{document}");
            None
        }
        more => panic!("{more} calls for one request"),
    }
}

fn too_dear(cost: u64) -> Value {
    json!([excess(&format!("query cost {cost} exceeds the limit of 1000"), "cost", cost, 1_000, 1)])
}

#[test]
fn cost_is_counted_by_literal_by_variable_by_its_default_and_by_the_default_of_the_schema() {
    let literal = |size: u64| format!("{{ products(first: {size}) {{ id }} }}");
    assert_eq!(judged("", &literal(990), &json!({})), None);
    assert_eq!(judged("", &literal(991), &json!({})), Some(too_dear(1_001)));

    let variable = "query($n: Int) { products(first: $n) { id } }";
    assert_eq!(judged("", variable, &json!({ "n": 990 })), None);
    assert_eq!(judged("", variable, &json!({ "n": 991 })), Some(too_dear(1_001)));

    let default = |size: u64| format!("query($n: Int = {size}) {{ products(first: $n) {{ id }} }}");
    assert_eq!(judged("", &default(990), &json!({})), None);
    assert_eq!(judged("", &default(991), &json!({})), Some(too_dear(1_001)));
    assert_eq!(judged("", &default(991), &json!({ "n": 1 })), None);

    // `newest` has 20 items where nothing else is said: 10 for the list, 20 times its leaf.
    let newest = "query($n: Int) { newest(first: $n) { id } }";
    for (document, variables) in [("{ newest { id } }", json!({})), (newest, json!({})), (newest, json!({ "n": 20 }))] {
        assert_eq!(judged(", limits: { max_cost: 30 }", document, &variables), None, "{document}");
        let refused = judged(", limits: { max_cost: 29 }", document, &variables);
        assert_eq!(
            refused,
            Some(json!([excess("query cost 30 exceeds the limit of 29", "cost", 30, 29, 1)])),
            "{document}"
        );
    }
    assert_eq!(judged(", limits: { max_cost: 29 }", newest, &json!({ "n": 19 })), None);
}

#[test]
fn lists_within_lists_multiply_and_the_larger_of_two_sizes_counts() {
    let nested = "{ products(first: 10) { orders(first: 10) { id } } }";
    assert_eq!(judged(", limits: { max_cost: 210 }", nested, &json!({})), None);
    let refused = judged(", limits: { max_cost: 209 }", nested, &json!({}));
    assert_eq!(refused, Some(json!([excess("query cost 210 exceeds the limit of 209", "cost", 210, 209, 1)])));
    assert_eq!(judged("", "{ products(first: 1, last: 991) { id } }", &json!({})), Some(too_dear(1_001)));
    assert_eq!(
        judged("", "{ products(first: 2147483647) { orders(first: 2147483647) { id } } }", &json!({})),
        Some(too_dear(4_611_686_035_607_257_089))
    );
}

#[test]
fn a_size_that_is_written_another_way_is_still_counted() {
    let document = "query($n: Int) { products(first: $n) { id } }";
    for value in [json!(991.0), json!("991"), json!(990.5)] {
        assert_eq!(judged("", document, &json!({ "n": value })), Some(too_dear(1_001)), "{value}");
    }
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let call = gateway.call("POST", "/shop/graphql").header("content-type", "application/json");
    let refused = call.body(format!("{{\"query\":\"{document}\",\"variables\":{{\"n\":1e99}}}}")).send();
    assert_eq!(errors(&refused, 200), too_dear(u64::MAX));
    assert_eq!(upstream.count(), 0);
    // What is below zero or is not said asks for nothing that could be counted.
    for value in [json!(-5), json!(null), json!(0)] {
        assert_eq!(judged("", document, &json!({ "n": value })), None, "{value}");
    }
}

#[test]
fn a_document_that_was_seen_before_is_priced_anew_with_each_requests_variables() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let document = "query($n: Int) { products(first: $n) { id } }";
    for _ in 0..3 {
        ask_with(&gateway, document, json!({ "n": 10 })).assert_status(200);
        assert_eq!(errors(&ask_with(&gateway, document, json!({ "n": 10_000 })), 200), too_dear(10_010));
    }
    assert_eq!(upstream.count(), 3);
}

#[test]
fn a_refused_document_is_refused_each_time_in_the_same_words() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let told = [(); 3].map(|()| errors(&ask(&gateway, &of_depth(12)), 200));
    assert_eq!(told[0][0]["extensions"]["value"], 12);
    assert!(told.iter().all(|again| *again == told[0]), "{told:?}");
    assert_eq!(upstream.count(), 0);
}

#[test]
fn each_limit_that_an_operator_sets_is_held_and_named() {
    let cases = [
        (
            "max_cost: 16",
            "{ product(id: 1) { id orders { id } } }",
            "query cost 17 exceeds the limit of 16",
            "cost",
            17,
            16,
        ),
        ("max_depth: 2", "{ product(id: 1) { orders { id } } }", "query depth 3 exceeds the limit of 2", "depth", 3, 2),
        (
            "max_aliases: 1",
            "{ product(id: 1) { a: id b: id } }",
            "number of aliases 2 exceeds the limit of 1",
            "aliases",
            2,
            1,
        ),
        (
            "max_root_fields: 1",
            "{ orders { id } products { id } }",
            "number of root fields 2 exceeds the limit of 1",
            "root_fields",
            2,
            1,
        ),
        (
            "max_directives: 0",
            "{ product(id: 1) { id @skip(if: false) } }",
            "number of directives 1 exceeds the limit of 0",
            "directives",
            1,
            0,
        ),
        (
            "max_tokens: 5",
            "{ orders { id } product(id: 1) { id } }",
            "number of tokens 6 exceeds the limit of 5",
            "tokens",
            6,
            5,
        ),
        (
            "max_selections: 2",
            "{ product(id: 1) { id name } }",
            "number of selections 3 exceeds the limit of 2",
            "selections",
            3,
            2,
        ),
    ];
    for (setting, document, message, limit, value, maximum) in cases {
        let told = judged(&format!(", limits: {{ {setting} }}"), document, &json!({})).expect(document);
        let mut told = told.as_array().unwrap().clone();
        assert_eq!(told.len(), 1, "{told:?}");
        let place = told[0].as_object_mut().unwrap().shift_remove("locations").expect("a refusal has a place");
        assert_eq!(place[0]["line"], 1);
        let extensions = json!({ "code": "graphql_limit", "limit": limit, "value": value, "maximum": maximum });
        assert_eq!(told[0], json!({ "message": message, "extensions": extensions }), "{setting}");
        assert_eq!(judged("", document, &json!({})), None, "without {setting}");
    }
}

#[test]
fn all_limits_that_are_passed_are_told_at_once_and_hold_for_operations_that_are_not_asked_for() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), ", limits: { max_depth: 2, max_aliases: 0 }");
    let document = "query A { orders { id } } query B { a: orders { product { id } } }";
    let told = errors(&send(&gateway, &json!({ "query": document, "operationName": "A" })), 200);
    let messages: Vec<_> = told.as_array().unwrap().iter().map(|error| error["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["query depth 3 exceeds the limit of 2", "number of aliases 1 exceeds the limit of 0"]);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn what_variables_may_hold_is_bounded() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let document = "query($ids: [ID!]) { products { id } }";
    let list = |length: usize| json!({ "ids": vec![1; length] });
    // Not used, so refused by validation; the list is measured first.
    let refused = errors(&ask_with(&gateway, document, list(251)), 200);
    let extensions = json!({ "code": "graphql_limit", "limit": "list_length", "value": 251, "maximum": 250 });
    assert_eq!(refused, json!([{ "message": "list length 251 exceeds the limit of 250", "extensions": extensions }]));

    let deep = |depth: usize| {
        format!(
            "{{\"query\":\"{{ orders {{ id }} }}\",\"variables\":{{\"a\":{}1{}}}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    let call = |body: String| {
        gateway.call("POST", "/shop/graphql").header("content-type", "application/json").body(body).send()
    };
    call(deep(64)).assert_status(200);
    call(deep(100)).assert_problem(400, "malformed_body");
    call(deep(200_000)).assert_problem(400, "malformed_body");
    let many =
        format!("{{\"query\":\"{{ orders {{ id }} }}\",\"variables\":{{\"a\":[{}1]}}}}", "[1,1],".repeat(100_000));
    call(many).assert_problem(400, "malformed_body");
    assert_eq!(upstream.count(), 1);
}
