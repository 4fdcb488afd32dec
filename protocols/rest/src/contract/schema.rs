//! Schemas: gathered from the document into one bundle, brought to one dialect, and compiled.
//!
//! Every schema that a request can meet is put under a name of its own, with its references rewritten to these names;
//! so the compiler sees schemas alone, and there is nothing it could fetch.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use jsonschema::{Draft, PatternOptions, Registry, ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::bounds;
use super::convert::{self, Found};
use super::document::{Document, Node};
use super::values::Values;
use crate::sentence;

/// The bundle's name; it stands for no place.
const BUNDLE: &str = "urn:portolan:schemas";

const NOT_A_TYPE: &str =
    "is not a type; `array`, `boolean`, `integer`, `null`, `number`, `object` and `string` are, or a list of these";

/// How often a pattern may try again. Patterns without look-around or back-references never do; for the others this
/// keeps one text below some milliseconds.
const PATTERN_RETRIES: usize = 10_000;

/// A compiled schema.
pub struct Schema(OnceLock<Validator>);

impl Schema {
    /// Whether a value fits, and if not, the errors that can be told of it; none where it would cost too much to find them.
    ///
    /// `bytes` is the size of the text the value was read from; it bounds the work.
    pub(crate) fn check(&self, value: &Value, bytes: usize, see: &mut dyn FnMut(&ValidationError<'_>)) -> bool {
        let validator = self.0.get().expect("every schema of a contract is compiled when it is read");
        if bounds::judge(bytes, || validator.is_valid(value)) {
            return true;
        }
        bounds::tell(|| validator.iter_errors(value).for_each(|error| see(&error)));
        false
    }
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schema")
    }
}

/// The schemas of a document under reading.
pub(super) struct Schemas<'d, 'a> {
    document: &'d Document<'a>,
    /// The types that they say.
    pub values: Values<'a>,
    /// Name of each schema by its pointer.
    names: HashMap<String, usize>,
    /// By name.
    entries: Vec<Entry<'a>>,
    roots: Vec<(usize, Arc<Schema>)>,
    patterns: HashSet<String>,
}

struct Entry<'a> {
    node: Node<'a>,
    converted: Value,
    /// Those it leads to.
    leads_to: Vec<usize>,
    /// Those that apply to the same value as it does.
    applies: Vec<usize>,
}

impl<'d, 'a> Schemas<'d, 'a> {
    pub fn new(document: &'d Document<'a>) -> Self {
        let values = Values::new(document);
        Self {
            document,
            values,
            names: HashMap::new(),
            entries: Vec::new(),
            roots: Vec::new(),
            patterns: HashSet::new(),
        }
    }

    /// A schema that requests are checked against; it can be used once [`Schemas::compile`] has run without a problem.
    pub fn add_root(&mut self, node: Node<'a>) -> Arc<Schema> {
        let name = self.add(node);
        if let Some((_, known)) = self.roots.iter().find(|(root, _)| *root == name) {
            return known.clone();
        }
        let schema = Arc::new(Schema(OnceLock::new()));
        self.roots.push((name, schema.clone()));
        schema
    }

    /// Converts, checks and compiles; problems go to the document, and where there are any nothing is compiled.
    pub fn compile(mut self) {
        let mut next = 0;
        while next < self.entries.len() {
            self.convert(next);
            next += 1;
        }
        self.check_meta();
        self.refuse_endless();
        if !self.document.has_problems() {
            self.compile_roots();
        }
    }

    fn add(&mut self, node: Node<'a>) -> usize {
        // A name for another schema is that schema, which others may share.
        let node = self.document.aliased(node);
        if let Some(name) = self.names.get(&node.pointer) {
            return *name;
        }
        let name = self.entries.len();
        self.names.insert(node.pointer.clone(), name);
        self.entries.push(Entry { node, converted: Value::Null, leads_to: Vec::new(), applies: Vec::new() });
        name
    }

    fn convert(&mut self, name: usize) {
        let node = self.entries[name].node.clone();
        let document = self.document;
        let (mut leads_to, mut applies, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
        let converted = convert::schema(document, &node, &mut |found| match found {
            Found::Reference { target, same_value } => {
                let target = self.add(target);
                leads_to.push(target);
                if same_value {
                    applies.push(target);
                }
                reference(target)
            }
            Found::Part(node) => {
                let part = self.add(node);
                leads_to.push(part);
                reference(part)
            }
            Found::Pattern(node) => {
                patterns.push(node);
                String::new()
            }
        });
        for node in patterns {
            self.check_pattern(&node);
        }
        let entry = &mut self.entries[name];
        (entry.converted, entry.leads_to, entry.applies) = (converted, leads_to, applies);
    }

    fn check_pattern(&mut self, (pointer, pattern): &(String, String)) {
        if self.patterns.contains(pattern) {
            return;
        }
        match options().build(&json!({ "pattern": pattern })) {
            Ok(_) => drop(self.patterns.insert(pattern.clone())),
            Err(_) => self.document.problem(pointer, format!("`{pattern}` is not a pattern that can be read")),
        }
    }

    /// Checks every schema against the schema of schemas.
    fn check_meta(&self) {
        let bundle = self.bundle(&|_, schema| schema);
        for error in jsonschema::draft202012::meta::validator().iter_errors(&bundle) {
            let mut problems = Vec::new();
            sentence::of(&error, &mut |place, message| problems.push((place, message)));
            for (place, message) in problems {
                let Some((name, inner)) = inner_place(&place) else { continue };
                let Some(entry) = self.entries.get(name) else { continue };
                let at = format!("{}{inner}", entry.node.pointer);
                let is_type = inner.ends_with("/type") || inner.contains("/type/");
                self.document.problem(&at, if is_type { NOT_A_TYPE.to_owned() } else { message });
            }
        }
    }

    /// A schema that leads back to itself for the same value says nothing, and checking it would not end.
    fn refuse_endless(&self) {
        for (name, entry) in self.entries.iter().enumerate() {
            if reaches(name, name, |at| &self.entries[at].applies) {
                self.document.problem(&entry.node.pointer, "the schema leads back to itself for the same value");
            }
        }
    }

    fn compile_roots(&self) {
        let bundle = self.bundle(&|name, schema| {
            if reaches(name, name, |at| &self.entries[at].leads_to) { bounds::counted(schema) } else { schema }
        });
        let registry = match Registry::new().draft(Draft::Draft202012).add(BUNDLE, &bundle).and_then(|r| r.prepare()) {
            Ok(registry) => registry,
            Err(error) => return self.document.problem("", format!("the schemas cannot be read: {error}")),
        };
        for (name, schema) in &self.roots {
            let at = &self.entries[*name].node.pointer;
            let root = json!({ "$ref": format!("{BUNDLE}{}", reference(*name)) });
            match options().with_registry(&registry).build(&root) {
                Ok(validator) => drop(schema.0.set(validator)),
                Err(error) => self.document.problem(at, format!("the schema cannot be read: {}", error.masked())),
            }
        }
    }

    fn bundle(&self, change: &dyn Fn(usize, Value) -> Value) -> Value {
        let entries = self.entries.iter().enumerate();
        let schemas: Map<String, Value> =
            entries.map(|(name, entry)| (name.to_string(), change(name, entry.converted.clone()))).collect();
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": schemas })
    }
}

fn reference(name: usize) -> String {
    format!("#/$defs/{name}")
}

/// `/$defs/12/properties/a` as 12 and `/properties/a`.
fn inner_place(place: &str) -> Option<(usize, &str)> {
    let rest = place.strip_prefix("/$defs/")?;
    let end = rest.find('/').unwrap_or(rest.len());
    Some((rest[..end].parse().ok()?, &rest[end..]))
}

/// Whether some way of at least one step leads from `start` to `goal`.
fn reaches<'e>(start: usize, goal: usize, next: impl Fn(usize) -> &'e Vec<usize>) -> bool {
    let mut seen = HashSet::new();
    let mut open = next(start).clone();
    while let Some(at) = open.pop() {
        if at == goal {
            return true;
        }
        if seen.insert(at) {
            open.extend(next(at));
        }
    }
    false
}

fn options<'r>() -> jsonschema::ValidationOptions<'r> {
    bounds::with_keywords(jsonschema::options())
        .with_draft(Draft::Draft202012)
        .offline()
        // `format` binds here, as those who write it expect; an unknown format says nothing.
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(PATTERN_RETRIES))
}
