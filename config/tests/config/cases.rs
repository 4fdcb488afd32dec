//! Walks `cases/*.case`: files, then what must come of them.
//!
//! A case begins with the rule it shows. `=== NAME` begins a file; `gateway.yaml` is the configuration. `=== env`
//! holds variables as `NAME=value`. Last comes `=== diagnostics` with every line, or `=== snapshot` with excerpts of
//! the snapshot's `{:#?}` in their order, `...` between two of them, and `=== warnings` where there are any.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use portolan_config::{Diagnostics, Snapshot, load_from};

/// A case, read.
struct Case {
    sections: BTreeMap<String, String>,
}

impl Case {
    fn parse(text: &str) -> Case {
        let (rule, rest) = text.split_once("\n=== ").expect("a case has sections");
        assert!(!rule.trim().is_empty(), "a case begins with its rule");
        let sections = rest.split("\n=== ").map(|section| {
            let (name, body) = section.split_once('\n').unwrap_or((section, ""));
            (name.to_owned(), format!("{}\n", body.trim_end_matches('\n')))
        });
        Case { sections: sections.collect() }
    }

    fn section(&self, name: &str) -> &str {
        self.sections.get(name).map_or("", |body| if body == "\n" { "" } else { body })
    }

    fn load(&self) -> Result<Snapshot, Diagnostics> {
        let env = |name: &str| {
            let line = self.section("env").lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_owned)
        };
        load_from("gateway.yaml", &env, &|path: &Path| {
            let body = path.to_str().and_then(|name| self.sections.get(name));
            body.map(|body| body.clone().into_bytes()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
        })
    }
}

/// Whether the blocks of `excerpt` stand in `whole` in their order, indentation aside.
fn lacks(whole: &str, excerpt: &str) -> Option<String> {
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let whole = lines(whole);
    let mut from = 0;
    for block in lines(excerpt).split(|line| line == "...").filter(|block| !block.is_empty()) {
        match whole[from..].windows(block.len()).position(|window| window == block) {
            Some(at) => from += at + block.len(),
            None => return Some(block.join("\n")),
        }
    }
    None
}

/// What the JSON Schema has against a configuration that loads.
fn refused_by_schema(schema: &jsonschema::Validator, case: &Case) -> Option<String> {
    let text = case.section("gateway.yaml");
    let Ok(tree) = portolan_config::tree::parse("gateway.yaml", text) else {
        // A reference in braces is YAML to us alone; an editor wants it in quotes.
        assert!(text.contains("${env:"));
        return None;
    };
    let told: Vec<_> = schema.iter_errors(&tree.to_json()).map(|error| error.to_string()).collect();
    (!told.is_empty()).then(|| format!("the schema refuses what loads: {told:#?}"))
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

#[test]
fn every_case_gives_the_snapshot_or_the_diagnostics_it_tells() {
    let mut failures = Vec::new();
    let schema = jsonschema::validator_for(&portolan_config::schema()).unwrap();
    for path in cases() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let case = Case::parse(&fs::read_to_string(&path).unwrap());
        match case.load() {
            Ok(snapshot) => {
                if !case.sections.contains_key("snapshot") {
                    failures.push(format!("{name}: loaded, and a diagnostic was expected"));
                }
                if let Some(block) = lacks(&format!("{snapshot:#?}"), case.section("snapshot")) {
                    failures.push(format!("{name}: the snapshot lacks\n{block}\nin\n{snapshot:#?}"));
                }
                let warnings = snapshot.warnings.render();
                if warnings != case.section("warnings") {
                    failures.push(format!("{name}: warnings\n{warnings}"));
                }
                failures.extend(refused_by_schema(&schema, &case).map(|told| format!("{name}: {told}")));
            }
            Err(diagnostics) if diagnostics.render() != case.section("diagnostics") => {
                failures.push(format!("{name}: diagnostics\n{}", diagnostics.render()));
            }
            Err(_) => {}
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_case_of_twenty_mistakes_has_twenty_lines() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/twenty-mistakes.case");
    let case = Case::parse(&fs::read_to_string(path).unwrap());
    assert_eq!(case.load().unwrap_err().len(), 20);
}
