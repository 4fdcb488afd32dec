//! The references among the schemas of a document: which come before which, and which lead back to where they stand.
//!
//! A schema that something refers to has a place of its own here. Places in one circle reach one another (Tarjan's strongly
//! connected components, found without recursion), and a circle is given out after all that it leads to.

use std::collections::HashMap;

use serde_json::Value as Json;

/// The schemas of a document that are referred to.
#[derive(Debug)]
pub(super) struct Circles<'d> {
    document: &'d Json,
    /// By its JSON pointer.
    places: HashMap<String, usize>,
    schemas: Vec<Schema<'d>>,
    /// How many were entered.
    entered: usize,
    /// Entered, and not yet known to be of a circle.
    open: Vec<usize>,
}

#[derive(Debug)]
struct Schema<'d> {
    schema: Option<&'d Json>,
    leads_to: Vec<usize>,
    /// When it was entered, and the earliest open one that it reaches.
    entered: Option<usize>,
    reaches: usize,
    /// The first of its circle, which may be itself alone.
    circle: Option<usize>,
}

impl<'d> Circles<'d> {
    pub fn new(document: &'d Json) -> Self {
        Self { document, places: HashMap::new(), schemas: Vec::new(), entered: 0, open: Vec::new() }
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.schemas.len()
    }

    /// The place of a JSON pointer.
    pub fn place(&mut self, pointer: &str) -> usize {
        if let Some(place) = self.places.get(pointer) {
            return *place;
        }
        let schema = self.document.pointer(pointer);
        self.schemas.push(Schema { schema, leads_to: Vec::new(), entered: None, reaches: 0, circle: None });
        self.places.insert(pointer.to_owned(), self.schemas.len() - 1);
        self.schemas.len() - 1
    }

    /// The place that a reference leads to; none if it leads out of the document.
    pub fn target(&self, reference: &str) -> Option<usize> {
        self.places.get(&pointer(reference)?).copied()
    }

    /// What a reference leads to.
    pub fn find(&self, reference: &str) -> Option<&'d Json> {
        self.document.pointer(&pointer(reference)?)
    }

    /// The schema of a place; none where nothing stands.
    pub fn schema(&self, place: usize) -> Option<&'d Json> {
        self.schemas[place].schema
    }

    /// Whether two places lead to one another, or are the same.
    pub fn are_of_one(&self, one: usize, other: usize) -> bool {
        self.schemas[one].circle == self.schemas[other].circle
    }

    /// All places that are reached from here for the first time, each behind those that it leads to, circles aside.
    pub fn explore(&mut self, start: usize) -> Vec<usize> {
        let mut found = Vec::new();
        if self.schemas[start].entered.is_some() {
            return found;
        }
        self.enter(start);
        let mut way = vec![(start, 0)];
        while let Some((at, next)) = way.last_mut() {
            let at = *at;
            if let Some(target) = self.schemas[at].leads_to.get(*next).copied() {
                *next += 1;
                match (self.schemas[target].entered, self.schemas[target].circle) {
                    (None, _) => {
                        self.enter(target);
                        way.push((target, 0));
                    }
                    (Some(entered), None) => self.schemas[at].reaches = self.schemas[at].reaches.min(entered),
                    (Some(_), Some(_)) => {}
                }
                continue;
            }
            way.pop();
            let reaches = self.schemas[at].reaches;
            if let Some((before, _)) = way.last() {
                let before = &mut self.schemas[*before];
                before.reaches = before.reaches.min(reaches);
            }
            if self.schemas[at].entered == Some(reaches) {
                self.close(at, &mut found);
            }
        }
        found
    }

    /// The open places from this one on are a circle.
    fn close(&mut self, first: usize, found: &mut Vec<usize>) {
        while let Some(place) = self.open.pop() {
            self.schemas[place].circle = Some(first);
            found.push(place);
            if place == first {
                break;
            }
        }
    }

    fn enter(&mut self, place: usize) {
        let targets: Vec<usize> = match self.schemas[place].schema {
            Some(schema) => references(schema).iter().map(|target| self.place(target)).collect(),
            None => Vec::new(),
        };
        let schema = &mut self.schemas[place];
        schema.leads_to = targets;
        schema.entered = Some(self.entered);
        schema.reaches = self.entered;
        self.entered += 1;
        self.open.push(place);
    }
}

/// The pointers of all references in a value. Those that stand in an example are taken for references, too: that only makes
/// more of them.
fn references(schema: &Json) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        match value {
            Json::Object(members) => {
                found.extend(members.get("$ref").and_then(Json::as_str).and_then(pointer));
                open.extend(members.values());
            }
            Json::Array(elements) => open.extend(elements),
            _ => {}
        }
    }
    found
}

/// The JSON pointer of a reference within the document, whose fragment is percent-encoded (RFC 6901, section 6).
fn pointer(reference: &str) -> Option<String> {
    let fragment = reference.strip_prefix('#')?;
    let mut bytes = fragment.bytes();
    let mut pointer = Vec::with_capacity(fragment.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            pointer.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        pointer.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(pointer).ok()
}
