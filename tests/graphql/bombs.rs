//! Documents made to hurt: each is answered, none reaches the service, and none leaves anything behind in memory.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{SDL, ask, errors, excess, quiet, send, shop};
use crate::kit::Client;
use crate::kit::binary::Binary;
use crate::kit::gateway::unindented;

/// Each of `n` fragments spreads the next one twice: 2^n leaves.
fn spreads(n: usize) -> String {
    let fragments: String =
        (0..n).map(|at| format!(" fragment f{at} on Product {{ ...f{next} ...f{next} }}", next = at + 1)).collect();
    format!("query {{ products(first: 1) {{ ...f0 }} }}{fragments} fragment f{n} on Product {{ id }}")
}

fn aliases(n: usize) -> String {
    format!("{{ {}}}", (0..n).map(|at| format!("a{at}: products(first: 1) {{ id }} ")).collect::<String>())
}

/// Expands to 1 + 49 × 100 + `rest` selections, of which it writes 149 + `rest`.
fn expanding(rest: usize) -> String {
    format!(
        "{{ products {{ {}{}}} }} fragment A on Product {{ {}}}",
        "...A ".repeat(49),
        "id ".repeat(rest),
        "id ".repeat(99)
    )
}

#[test]
fn two_to_the_thirtieth_spreads_are_refused_with_their_number() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let told = errors(&ask(&gateway, &spreads(30)), 200);
    // The field, and every spread and leaf below it: 1 + 2 + 4 + … + 2^30, and the leaves.
    let message = "number of selections 3221225472 exceeds the limit of 5000";
    assert_eq!(told, json!([excess(message, "selections", 3_221_225_472, 5_000, 1)]));
    assert_eq!(upstream.count(), 0);
    ask(&gateway, "{ products { id } }").assert_status(200);
}

#[test]
fn ten_thousand_aliases_are_refused() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let told = errors(&ask(&gateway, &aliases(10_000)), 200);
    // The reading stops where the tokens pass their limit, so nobody counts the aliases.
    assert_eq!(told[0]["message"], "number of tokens 15001 exceeds the limit of 15000");
    let told = errors(&ask(&gateway, &aliases(1_000)), 200);
    let messages: Vec<_> = told.as_array().unwrap().iter().map(|error| &error["message"]).collect();
    assert_eq!(
        messages,
        ["number of aliases 1000 exceeds the limit of 30", "number of root fields 1000 exceeds the limit of 20"]
    );
    assert_eq!(upstream.count(), 0);
}

#[test]
fn five_thousand_selections_after_expansion_pass_and_one_more_is_refused() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), ", limits: { max_cost: 100000 }");
    ask(&gateway, &expanding(99)).assert_status(200);
    assert_eq!(upstream.count(), 1);
    let told = errors(&ask(&gateway, &expanding(100)), 200);
    assert_eq!(
        told,
        json!([excess("number of selections 5001 exceeds the limit of 5000", "selections", 5_001, 5_000, 1)])
    );
    assert_eq!(upstream.count(), 1);
}

/// Documents of some 340 KB, each hurting in a way of its own. The number makes them differ from those of another one.
fn large(number: usize) -> Vec<(&'static str, String)> {
    let fill = |unit: &str| unit.repeat(340_000 / unit.len());
    let chain = (0..8_000).map(|at| format!("fragment f{at} on Product {{ ...f{} }} ", at + 1)).collect::<String>();
    let ring =
        (0..8_000).map(|at| format!("fragment f{at} on Product {{ ...f{} }} ", (at + 1) % 8_000)).collect::<String>();
    let documents = vec![
        ("spaces", format!("{{ orders {{ id }}{} }}", fill(" "))),
        ("commas", format!("{{ orders {{ id }}{} }}", fill(","))),
        ("a comment", format!("{{ orders {{ id }} }} #{}", fill("x"))),
        ("a name", format!("{{ {} }}", fill("x"))),
        ("a string", format!("{{ product(id: \"{}\") {{ nothing }} }}", fill("x"))),
        ("a number", format!("{{ products(first: 1{}) {{ id }} }}", fill("0"))),
        ("a block string that does not end", format!("{{ product(id: \"\"\"{}", fill("x"))),
        ("escapes", format!("{{ product(id: \"{}\") {{ nothing }} }}", fill("\\u00e9"))),
        ("equal fields", format!("{{ orders {{ {} }} }}", fill("id "))),
        ("arguments", format!("{{ products({}) {{ id }} }}", fill("first: 1 "))),
        ("directives", format!("{{ orders {{ id {} }} }}", fill("@skip(if: false) "))),
        ("braces", format!("{{ {}", fill("orders{"))),
        ("brackets", format!("{{ products(first: {}", fill("["))),
        ("objects", format!("{{ products(first: {}", fill("{a:"))),
        ("variables", format!("query({}) {{ orders {{ id }} }}", fill("$a: Int "))),
        ("lists of types", format!("query($a: {}Int) {{ orders {{ id }} }}", fill("["))),
        ("operations", (0..12_000).map(|at| format!("query q{at} {{ orders {{ id }} }} ")).collect()),
        ("a chain", format!("{{ products {{ ...f0 }} }} {chain}")),
        ("a ring", format!("{{ products {{ ...f0 }} }} {ring}")),
        ("inline fragments", format!("{{ products {{ {}", fill("... on Product { "))),
        ("aliases", aliases(11_000)),
        ("no GraphQL", fill("%")),
        ("no ASCII", fill("é")),
    ];
    documents.into_iter().map(|(what, document)| (what, format!("#{number}\n{document}"))).collect()
}

#[test]
fn documents_of_340_kilobytes_are_answered_and_those_that_hurt_never_reach_the_service() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    for (what, document) in large(0) {
        let before = upstream.count();
        let answer = ask(&gateway, &document);
        assert!(answer.body.len() < 10_000, "{what}: {} bytes of answer", answer.body.len());
        // Spaces and comments are not much to execute, however many there are.
        let harmless = ["spaces", "a comment"].contains(&what);
        assert_eq!(upstream.count() - before, usize::from(harmless), "{what}");
        if !harmless {
            let told = errors(&answer, 200);
            let code = told[0]["extensions"]["code"].as_str().unwrap();
            assert!(["graphql_syntax", "graphql_invalid", "graphql_limit"].contains(&code), "{what}: {told}");
        }
    }
    assert_eq!(ask(&gateway, "{ orders { id } }").json(), json!({ "data": null }));
}

#[test]
fn a_batch_of_bombs_is_answered_one_by_one() {
    let upstream = quiet();
    let gateway = shop(&upstream.url(), "");
    let batch: Vec<Value> = (0..10).map(|at| json!({ "query": format!("#{at}\n{}", spreads(30)) })).collect();
    let answer = send(&gateway, &batch.into());
    let told = answer.assert_status(200).json();
    let values: Vec<_> =
        told.as_array().unwrap().iter().map(|one| one["errors"][0]["extensions"]["value"].as_u64()).collect();
    assert_eq!(values, [Some(3_221_225_472); 10]);
    assert_eq!(upstream.count(), 0);
}

/// A gateway in a process of its own, and a client of it.
fn in_its_own_process(folder: &Path, upstream: &str) -> (Binary, Client) {
    let configuration = r#"
        listeners: { public: { address: 127.0.0.1:0 } }
        admin: { address: 127.0.0.1:0 }
        workers: 2
        access_log: { to: ./access.log }
        upstreams: { shop: { endpoints: [ "{upstream}" ] } }
        apis: { shop: { version: v1, graphql: ./shop.graphql, path: /shop/graphql, upstream: shop } }
    "#;
    let file = folder.join("gateway.yaml");
    fs::write(&file, unindented(configuration).replace("{upstream}", upstream)).unwrap();
    fs::write(folder.join("shop.graphql"), SDL).unwrap();
    let binary = Binary::start(&["run", "-c", file.to_str().unwrap()]);
    let line: Value = serde_json::from_str(&binary.wait_for_line("\"message\":\"listening\"")).unwrap();
    let client = Client::new(line["address"].as_str().unwrap().parse().unwrap());
    (binary, client)
}

#[test]
fn a_gateway_that_has_read_a_hundred_bombs_has_kept_none() {
    let upstream = quiet();
    let folder = tempfile::tempdir().unwrap();
    let (gateway, client) = in_its_own_process(folder.path(), &upstream.url());
    client.post("/shop/graphql", &json!({ "query": "{ orders { id } }" })).assert_status(200);
    let before = gateway.most_memory();
    let mut sent = 0;
    for round in 0..5 {
        for (_, document) in large(round) {
            client.post("/shop/graphql", &json!({ "query": document })).assert_status(200);
            sent += document.len() as u64;
        }
        client.post("/shop/graphql", &json!({ "query": format!("#{round}\n{}", spreads(30)) })).assert_status(200);
    }
    let grown = gateway.most_memory() - before;
    // A body in full, what is read of it, and what the two workers' memory is scattered over: far less than what was sent.
    assert!(sent > 36 << 20, "{sent} bytes were sent");
    assert!(grown < 12 << 20, "{grown} bytes more than at the start, of {sent} that were sent");
}
