//! Documents that were seen before: their analysis, or why they were refused, by their exact text.
//!
//! A client sends the same few documents over and over with other variables, so a document is parsed, measured, validated
//! and compiled once, and only priced for each request. Refusals are kept too: a bomb costs its sender more than us.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use portolan_exchange::FaultKind;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::analysis::{Analyzed, analyze};
use crate::error::{Error, Location, Stop};
use crate::limits::{Limit, Limits};
use crate::parser::parse;
use crate::schema::Schema;
use crate::validation::validate;

/// What became of a document.
pub type Verdict = Arc<Result<Analyzed, Vec<Error>>>;

/// 16 MiB hold some ten thousand documents of ordinary size.
pub const DEFAULT_CAPACITY: u64 = 16 << 20;

/// The documents of one schema under one set of limits; shared by all workers. Another schema or other limits are another
/// `Documents`, so a verdict never outlives what it was made from.
#[derive(Debug)]
pub struct Documents {
    schema: Arc<Schema>,
    limits: Limits,
    keys: [RandomState; 2],
    cache: Cache<Key, Verdict, Bytes>,
}

/// 128 bits over the text under secret random keys: nobody can make two documents meet.
type Key = (u64, u64);

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<Key, Verdict> for Bytes {
    fn weight(&self, _: &Key, verdict: &Verdict) -> u64 {
        let held = match verdict.as_ref() {
            Ok(analyzed) => analyzed.weight(),
            Err(errors) => errors.iter().map(Error::weight).sum(),
        };
        (held + 128) as u64 // key, counters and links of an entry
    }
}

impl Documents {
    /// An empty cache that holds up to `capacity` bytes.
    pub fn new(schema: Arc<Schema>, limits: Limits, capacity: u64) -> Documents {
        let entries = (capacity / 1_024).max(16) as usize;
        let cache = Cache::with_weighter(entries, capacity, Bytes);
        Documents { schema, limits, keys: [RandomState::new(), RandomState::new()], cache }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The schema documents are checked against.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How many documents are held, and how many bytes of them.
    pub fn held(&self) -> (usize, u64) {
        (self.cache.len(), self.cache.weight())
    }

    /// The verdict on a document; the work is done when it is seen for the first time.
    pub fn verdict(&self, text: &str) -> Verdict {
        let key = (self.keys[0].hash_one(text), self.keys[1].hash_one(text));
        if let Some(verdict) = self.cache.get(&key) {
            return verdict;
        }
        let verdict: Verdict = Arc::new(judge(text, &self.schema, &self.limits));
        self.cache.insert(key, verdict.clone());
        verdict
    }
}

/// Reads, measures, limits and validates a document, the cheapest refusal first.
pub fn judge(text: &str, schema: &Schema, limits: &Limits) -> Result<Analyzed, Vec<Error>> {
    if u32::try_from(text.len()).is_err() {
        return Err(vec![Error::new(FaultKind::QuerySyntax, "the document is longer than 4 GiB")]);
    }
    let document = parse(text, limits).map_err(|stop| vec![stopped(stop, text, limits)])?;
    let mut analyzed = analyze(text, &document, schema, limits)?;
    let valid = validate(text, schema, limits)?;
    analyzed.set_types(schema, &valid);
    Ok(analyzed)
}

/// The error that tells a client where and why the reading ended.
pub(crate) fn stopped(stop: Stop, text: &str, limits: &Limits) -> Error {
    let (error, at) = match stop {
        Stop::Syntax { at, message } => (Error::new(FaultKind::QuerySyntax, format!("syntax error: {message}")), at),
        Stop::Tokens { at, value } => (Error::over(Limit::Tokens, value, limits.tokens), at),
        Stop::Nesting { at, value } => (Error::over(Limit::Nesting, value, limits.nesting), at),
    };
    error.at(Location::of(text, at))
}
