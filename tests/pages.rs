//! The documentation is held to the truth: what it names exists, what it shows loads, what it tabulates is what the code says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portolan_config::{Env, load_from, schema, tree};
use portolan_exchange::{Class, FaultKind};
use serde_json::{Value, json};

/// The root of the tree.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page of the tree as its path from the root, save what is hidden, built or fetched.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().expect("names in the tree are UTF-8");
            if name.starts_with('.') || name == "target" {
                continue;
            }
            let path = folder.join(&name);
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path.to_str().expect("names in the tree are UTF-8").to_owned());
            }
        }
    }
    pages.sort();
    pages
}

/// A page without its code: fenced blocks are left out, spans of code emptied.
fn prose(page: &str) -> String {
    let outside: Vec<_> = page.split("```").step_by(2).collect();
    let text = outside.join("\n");
    text.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

/// The targets of all links of a page.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let targets = prose.match_indices("](").map(|(at, _)| prose[at + 2..].split(')').next().unwrap_or_default());
    targets.map(str::to_owned).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut anchors = BTreeSet::new();
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if !is_code && line.starts_with('#') {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    anchors
}

/// The cells of the rows of the table under this head, the head and its rule left out.
fn table(page: &str, head: &str) -> Vec<Vec<String>> {
    let rows = page.lines().skip_while(|line| *line != head).skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "there is no table `{head}`");
    rows
}

/// The code blocks of one language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let folder = root().join(&page).parent().expect("a page is in a folder").to_owned();
        for link in links(&read(&page)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { root().join(&page) } else { folder.join(path) };
            let is_there = match fs::read_to_string(&target) {
                Ok(text) => anchor.is_empty() || anchors(&text).contains(anchor),
                Err(_) => target.is_dir() && anchor.is_empty(),
            };
            if !is_there {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// `| capability | page | test |`: what works, where it is told, and the test that shows it.
fn features() -> Vec<Vec<String>> {
    table(&read("docs/features.md"), "| capability | page | test |")
}

#[test]
fn every_capability_has_a_page_and_a_test_that_exist() {
    let mut wrong = Vec::new();
    for row in features() {
        let [capability, page, tests] = &row[..] else {
            wrong.push(format!("not three cells: {}", row.join(" | ")));
            continue;
        };
        let pages = links(page);
        if pages.is_empty() || pages.iter().any(|page| !page.ends_with(".md") && !page.contains(".md#")) {
            wrong.push(format!("{capability}: `{page}` is no link to a page"));
        }
        let named: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            wrong.push(format!("{capability}: no test"));
        }
        wrong.extend(
            named.into_iter().filter(|test| !is_test(test)).map(|test| format!("{capability}: no test `{test}`")),
        );
    }
    assert!(wrong.is_empty(), "docs/features.md:\n{}", wrong.join("\n"));
}

/// Whether `path/to/file.rs::name` is a function with `#[test]` above it, or one of the runtime's.
fn is_test(named: &str) -> bool {
    let Some((file, name)) = named.split_once("::") else { return false };
    let Ok(source) = fs::read_to_string(root().join(file)) else { return false };
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let declared =
        |line: &str| line.starts_with(&format!("fn {name}(")) || line.starts_with(&format!("async fn {name}("));
    let Some(at) = lines.iter().position(|line| declared(line)) else { return false };
    lines[..at]
        .iter()
        .rev()
        .take_while(|line| !line.is_empty())
        .any(|line| line.starts_with("#[") && line.contains("test"))
}

#[test]
fn every_page_is_reached_from_the_features_or_the_readme() {
    let of_features = links(&read("docs/features.md")).into_iter().map(|link| format!("docs/{link}"));
    let linked: BTreeSet<_> = of_features.chain(links(&read("README.md"))).collect();
    let is_linked = |page: &str| linked.iter().any(|link| link.split('#').next() == Some(page));
    let lost: Vec<_> = pages()
        .into_iter()
        .filter(|page| {
            page.starts_with("docs/") && !page.starts_with("docs/decisions/") && page != "docs/known-gaps.md"
        })
        .filter(|page| !is_linked(page))
        .collect();
    assert!(lost.is_empty(), "nothing leads to {lost:?}");
}

#[test]
fn the_page_of_faults_is_the_table_of_the_code() {
    let told = table(&read("docs/faults.md"), "| code | at fault | status | close | again later | meaning |");
    let is = FaultKind::ALL.iter().map(|kind| {
        let class = match kind.class() {
            Class::Caller => "caller",
            Class::Upstream => "upstream",
            Class::Gateway => "gateway",
        };
        let again = if kind.temporary() { "yes" } else { "no" };
        let (status, close) = (kind.status().to_string(), kind.close_code().to_string());
        vec![format!("`{}`", kind.code()), class.into(), status, close, again.into(), kind.title().into()]
    });
    assert_eq!(told, is.collect::<Vec<_>>());
}

#[test]
fn the_codes_that_pages_speak_of_exist() {
    // A page writes the code of a fault behind its status: "429 `rate_limited`", "503 `circuit_open`".
    let codes: BTreeSet<_> = FaultKind::ALL.iter().map(|kind| (kind.status().to_string(), kind.code())).collect();
    let mut wrong = Vec::new();
    let mut found = 0;
    for page in pages().iter().filter(|page| page.starts_with("docs/")) {
        let text = read(page);
        let pieces: Vec<_> = text.split('`').collect();
        for pair in pieces.windows(2).step_by(2) {
            let (before, code) = (pair[0], pair[1]);
            let status = before.strip_suffix(' ').and_then(|before| before.get(before.len().checked_sub(4)?..));
            let Some(status) = status.and_then(|status| status.strip_prefix(' ')) else { continue };
            let is_status = status.starts_with(['4', '5']) && status.bytes().all(|digit| digit.is_ascii_digit());
            if is_status && code.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_') {
                found += 1;
                if !codes.contains(&(status.to_owned(), code)) {
                    wrong.push(format!("{page}: {status} `{code}`"));
                }
            }
        }
    }
    assert!(found > 5, "{found} codes were found; is the pattern still right?");
    assert!(wrong.is_empty(), "no such fault: {wrong:#?}");
}

/// The schema for an excerpt: the keys of the whole and their values, none of them required.
fn relaxed(schema: Value) -> Value {
    match schema {
        Value::Array(items) => items.into_iter().map(relaxed).collect(),
        Value::Object(entries) => {
            // What a mapping must or must not have is also said by these, over what is required.
            let asks =
                |value: &Value| value[0].get("required").is_some() || value["anyOf"][0].get("required").is_some();
            let is_asked = |key: &str, value: &Value| match key {
                "required" => value.is_array(),
                "oneOf" | "not" => asks(value),
                _ => false,
            };
            let kept = entries.into_iter().filter(|(key, value)| !is_asked(key, value));
            kept.map(|(key, value)| (key, relaxed(value))).collect()
        }
        other => other,
    }
}

#[test]
fn every_piece_of_configuration_in_the_pages_fits_the_schema() {
    let schema = relaxed(schema());
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let mut wrong = Vec::new();
    let mut found = 0;
    for page in pages().iter().filter(|page| page.starts_with("docs/") || *page == "README.md") {
        // The second of this page shows mistakes, with what is told of them; its own crate tests it.
        let shown = if page == "docs/configuration.md" { 1 } else { usize::MAX };
        for block in blocks(&read(page), "yaml").into_iter().take(shown) {
            // An ellipsis stands for what the page shows elsewhere, a shortened hash for a whole one.
            let block = block.replace("3c0f…", &"3c0f".repeat(16)).replace("…, ", "");
            let place = format!("{page}: {}", block.lines().next().unwrap_or_default());
            let value = match tree::parse(page.as_str(), &block) {
                Ok(read) => read.to_json(),
                Err(told) => {
                    wrong.push(format!("{place}: {}", told.render()));
                    continue;
                }
            };
            found += 1;
            if value.get("openapi").is_some() {
                let read = tree::parse(page.as_str(), &block).expect("it was parsed a moment ago");
                if let Err(told) = portolan_rest::Contract::read(&read) {
                    wrong.push(format!("{place}: {}", told.render()));
                }
                continue;
            }
            // An excerpt that begins with no key of the first level is one of an API.
            let begins = |key: &String| schema["$defs"]["Document"]["properties"].get(key).is_some();
            let is_whole = value.as_object().is_some_and(|value| value.keys().any(begins));
            let whole = if is_whole { value } else { json!({ "apis": { "excerpt": value } }) };
            wrong.extend(
                validator.iter_errors(&whole).map(|error| format!("{place}: {}: {error}", error.instance_path())),
            );
        }
    }
    assert!(found > 8, "{found} pieces were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_demo_of_the_examples_is_what_a_user_can_copy() {
    let variables: Box<Env<'_>> = Box::new(|_| None);
    let disk = |path: &Path| fs::read(root().join("examples/demo").join(path.file_name().expect("a file")));
    let snapshot = load_from("portolan.yaml", &*variables, &disk).unwrap_or_else(|told| panic!("{}", told.render()));
    // The page tells every variable that the file reads, with the default that the file has.
    let file = read("examples/demo/portolan.yaml");
    let reads = file.split("${env:").skip(1).map(|rest| rest.split('}').next().unwrap_or_default());
    let mut of_file: Vec<_> = reads.map(|read| read.split_once(":-").expect("each has a default")).collect();
    of_file.sort_unstable();
    let told = table(&read("docs/demo.md"), "| variable | what it is | without it |");
    let mut of_page: Vec<_> = told.iter().map(|row| (row[0].trim_matches('`'), row[2].trim_matches('`'))).collect();
    of_page.sort_unstable();
    let names = |list: &[(&str, &str)]| list.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&of_page), names(&of_file));
    for (name, default) in &of_page {
        let is = of_file.iter().find(|(known, _)| known == name).expect("names were compared").1;
        assert!(
            *default == is || *name == "PORTOLAN_PEPPER" || *name == "PORTOLAN_ACCESS_LOG",
            "{name}: {default}, {is}"
        );
    }
    assert_eq!(snapshot.warnings.render(), "");
}

#[test]
fn every_json_in_the_pages_is_json() {
    for page in pages().iter().filter(|page| page.starts_with("docs/") || *page == "README.md") {
        for block in blocks(&read(page), "json") {
            let read: Result<Value, _> = serde_json::from_str(block);
            assert!(read.is_ok(), "{page}: {}: {block}", read.unwrap_err());
        }
    }
}

/// Names of the form `` `path/` `` or `` `path/file.rs` `` that a page gives to places in the tree.
fn places(page: &str) -> BTreeSet<String> {
    let folders: Vec<_> = top_level().into_iter().map(|folder| format!("{folder}/")).collect();
    let spans = page.split('`').skip(1).step_by(2);
    let places = spans.filter(|span| folders.iter().any(|folder| span.starts_with(folder.as_str())));
    places.filter(|span| !span.contains(['{', '*', ' ', ':'])).map(str::to_owned).collect()
}

/// The folders that the tree begins with, save hidden ones and what was built.
fn top_level() -> Vec<String> {
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let names = folders.map(|folder| folder.file_name().into_string().expect("names in the tree are UTF-8"));
    names.filter(|name| !name.starts_with('.') && name != "target").collect()
}

#[test]
fn the_architecture_names_places_that_exist_and_every_folder_at_the_top() {
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        let lost: Vec<_> = places(&read(page)).into_iter().filter(|place| !root().join(place).exists()).collect();
        assert!(lost.is_empty(), "{page} names what is not there: {lost:?}");
    }
    let map = read("ARCHITECTURE.md");
    let named: BTreeSet<_> =
        table(&map, "| path | holds |").into_iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let lost: Vec<_> = named.iter().filter(|place| !root().join(place).exists()).collect();
    assert!(lost.is_empty(), "the code map names what is not there: {lost:?}");
    let unnamed: Vec<_> = top_level()
        .into_iter()
        .filter(|folder| !named.iter().any(|place| place.starts_with(&format!("{folder}/"))))
        .collect();
    assert!(unnamed.is_empty(), "the code map does not name {unnamed:?}");
}
