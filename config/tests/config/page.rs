//! `docs/configuration.md` tells the truth: its keys are those of the schema, and its examples load.

use std::fs;
use std::path::Path;

use portolan_config::{load_from, schema};
use serde_json::{Map, Value};

const BEGIN: &str = "<!-- keys: begin -->\n";
const END: &str = "<!-- keys: end -->\n";

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")).unwrap()
}

/// The keys of the page, one section for each mapping, in the order in which one leads to the next.
struct Keys {
    root: Value,
    page: String,
    told: Vec<String>,
}

impl Keys {
    fn of(root: Value) -> String {
        let mut keys = Keys { page: String::new(), told: Vec::new(), root: root.clone() };
        keys.section("", root["$ref"].as_str().unwrap());
        keys.page
    }

    fn definition(&self, reference: &str) -> Value {
        self.root.pointer(reference.trim_start_matches('#')).unwrap().clone()
    }

    fn section(&mut self, path: &str, reference: &str) {
        if self.told.iter().any(|told| told == reference) {
            return;
        }
        self.told.push(reference.to_owned());
        let definition = self.definition(reference);
        let title = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
        let description = definition["description"].as_str().unwrap();
        self.page.push_str(&format!(
            "### {title}\n\n{description}\n\n| key | value | default | meaning |\n|---|---|---|---|\n"
        ));
        let properties = definition["properties"].as_object().unwrap();
        let required = definition["required"].as_array().cloned().unwrap_or_default();
        for (key, property) in properties {
            let default = match property.get("default") {
                Some(default) => format!("`{}`", default.as_str().map_or_else(|| default.to_string(), str::to_owned)),
                None if required.contains(&key.as_str().into()) => "required".to_owned(),
                None => "–".to_owned(),
            };
            let (value, words) = self.value(property);
            let meaning = property["description"].as_str().unwrap();
            let row = format!("| `{key}` | {value} | {default} | {meaning}{words} |\n");
            self.page.push_str(&row);
        }
        self.page.push('\n');
        for (key, property) in properties {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.below(&path, property);
        }
    }

    /// Sections for the mappings that a value leads to.
    fn below(&mut self, path: &str, schema: &Value) {
        if let Some(reference) = schema["$ref"].as_str() {
            if self.definition(reference)["type"] == "object" {
                self.section(path, reference);
            }
            return;
        }
        for alternative in schema["anyOf"].as_array().into_iter().flatten() {
            self.below(path, alternative);
        }
        match schema["type"].as_str() {
            Some("array") => self.below(&format!("{path}[]"), &schema["items"]),
            Some("object") => self.below(&format!("{path}.NAME"), &schema["additionalProperties"]),
            _ => {}
        }
    }

    /// What can be written, and what each word of a choice means.
    fn value(&self, schema: &Value) -> (String, String) {
        if let Some(comment) = schema["$comment"].as_str() {
            return (comment.to_owned(), String::new());
        }
        if let Some(reference) = schema["$ref"].as_str() {
            return match self.definition(reference) {
                mapping if mapping["type"] == "object" => ("mapping".to_owned(), String::new()),
                choice => self.choice(&choice["anyOf"][0]["oneOf"]),
            };
        }
        match schema["type"].as_str() {
            Some("array") => (format!("list: {}", self.value(&schema["items"]).0), String::new()),
            Some("object") => ("mapping by name".to_owned(), String::new()),
            _ => {
                let alternatives = schema["anyOf"].as_array().unwrap_or_else(|| panic!("a kind of value: {schema}"));
                let is_reference = |schema: &&Value| schema["$ref"] == "#/$defs/Reference";
                let named: Vec<_> = alternatives.iter().filter(|schema| !is_reference(schema)).collect();
                let values: Vec<_> = named.iter().map(|schema| self.value(schema).0).collect();
                (values.join(" or "), String::new())
            }
        }
    }

    fn choice(&self, words: &Value) -> (String, String) {
        let words = words.as_array().unwrap();
        let values: Vec<_> = words.iter().map(|word| format!("`{}`", word["const"].as_str().unwrap())).collect();
        let meanings = words
            .iter()
            .map(|word| format!(" `{}`: {}", word["const"].as_str().unwrap(), word["description"].as_str().unwrap()));
        (values.join(", "), meanings.collect())
    }
}

/// The code blocks of one language, each with the name given to it by a comment in its first line.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

#[test]
fn the_keys_of_the_page_are_those_of_the_schema() {
    let page = page();
    let (_, rest) = page.split_once(BEGIN).expect("the page has a place for the keys");
    let (written, _) = rest.split_once(END).expect("the place has an end");
    let keys = Keys::of(schema());
    if written != keys {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("configuration.keys.md");
        fs::write(&file, &keys).unwrap();
        panic!("the keys in docs/configuration.md are not those of the schema; copy {} into it", file.display());
    }
}

#[test]
fn the_example_of_the_page_loads_without_a_warning() {
    let page = page();
    let example = blocks(&page, "yaml")[0].to_owned();
    let env = |name: &str| match name {
        "ACME_KEY_HASH" => Some("ab".repeat(32)),
        "API_KEY_PEPPER" => Some("hush".to_owned()),
        _ => None,
    };
    let disk = |path: &Path| Ok(if path == Path::new("gateway.yaml") { example.clone() } else { "…".into() }.into());
    let snapshot = load_from("gateway.yaml", &env, &disk).unwrap_or_else(|told| panic!("{}", told.render()));
    assert_eq!(snapshot.warnings.render(), "");
    assert_eq!(snapshot.apis.keys().map(|name| &**name).collect::<Vec<_>>(), ["orders", "shop", "order-events"]);
    // Nothing of the schema's first level is left out of the example.
    let document = schema()["$defs"]["Document"]["properties"].as_object().map(Map::len);
    let written = example.lines().filter(|line| line.starts_with(char::is_alphabetic)).count();
    assert_eq!(Some(written), document);
}

#[test]
fn the_diagnostics_of_the_page_are_what_is_told() {
    let page = page();
    let mistaken = blocks(&page, "yaml")[1].to_owned();
    let told = blocks(&page, "text")[0];
    let result = load_from("gateway.yaml", &|_| None, &|path: &Path| match path == Path::new("gateway.yaml") {
        true => Ok(mistaken.clone().into_bytes()),
        false => Ok(Vec::new()),
    });
    assert_eq!(result.unwrap_err().render().trim_end(), told);
}

/// The default of a setting by the schema: `listeners.NAME.max_head`; `–` where it has none.
fn default_of(root: &Value, path: &str) -> Option<String> {
    let mut schema = root;
    let mut default = None;
    for step in path.split('.') {
        while let Some(reference) = schema["$ref"].as_str() {
            schema = root.pointer(reference.trim_start_matches('#'))?;
        }
        let next = if step == "NAME" { &schema["additionalProperties"] } else { schema["properties"].get(step)? };
        default = next.get("default").cloned();
        let mapping = next["anyOf"].as_array().and_then(|all| all.iter().find(|one| one["$ref"].is_string()));
        schema = if next["$ref"].is_null() { mapping.unwrap_or(next) } else { next };
    }
    let text = |default: Value| format!("`{}`", default.as_str().map_or_else(|| default.to_string(), str::to_owned));
    Some(default.map_or_else(|| "–".to_owned(), text))
}

#[test]
fn the_page_of_http_states_every_bound_and_time_out_with_its_default() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http.md")).unwrap();
    let root = schema();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows: Vec<_> = rows.filter(|(path, _)| path.contains('.')).collect();
    for (path, rest) in &rows {
        let written = rest.split(" | ").next().unwrap();
        assert_eq!(Some(written), default_of(&root, path).as_deref(), "docs/http.md: {path}");
    }
    let sections = [
        ("Listener", "listeners.NAME"),
        ("Limits", "limits"),
        ("Timeouts", "upstreams.NAME.timeouts"),
        ("Pool", "upstreams.NAME.pool"),
    ];
    for (definition, path) in sections {
        for key in root["$defs"][definition]["properties"].as_object().unwrap().keys() {
            let bounds = ["max_", "min_", "_timeout"];
            let is_bound = definition != "Listener" || bounds.iter().any(|part| key.contains(part));
            let is_row = rows.iter().any(|(row, _)| *row == format!("{path}.{key}"));
            assert!(is_row || !is_bound, "docs/http.md does not tell of {path}.{key}");
        }
    }
}

#[test]
fn the_examples_of_the_page_of_http_load() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http.md")).unwrap();
    for example in blocks(&page, "yaml") {
        let disk = |_: &Path| Ok(example.as_bytes().to_vec());
        load_from("gateway.yaml", &|_| None, &disk).unwrap_or_else(|told| panic!("{}", told.render()));
    }
}
