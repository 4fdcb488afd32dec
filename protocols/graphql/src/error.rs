//! What a GraphQL client is told when its request is not taken: errors as the specification shapes them.

use portolan_exchange::FaultKind;
use serde_json::{Map, Value, json};

use crate::limits::Limit;

/// Why the reading of a document ended early; becomes an [`Error`] once lines and columns are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The text is not GraphQL at this byte.
    Syntax { at: u32, message: String },
    /// More tokens than are allowed; the reading ended here.
    Tokens { at: u32, value: u64 },
    /// Brackets, braces or selection sets inside one another, more than are allowed.
    Nesting { at: u32, value: u64 },
}

/// A place in a document. Both count from one; columns count characters, not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Location {
    /// The place of a byte in a text. Costs a walk over the text: for errors only.
    pub(crate) fn of(text: &str, at: u32) -> Location {
        let mut end = (at as usize).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let (mut line, mut column, mut after_return) = (1, 1, false);
        for character in text[..end].chars() {
            match character {
                '\n' if after_return => {} // the second half of one line break
                '\n' | '\r' => {
                    line += 1;
                    column = 1;
                }
                _ => column += 1,
            }
            after_return = character == '\r';
        }
        Location { line, column }
    }
}

/// What a refusal says about the limit that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Which limit.
    pub limit: Limit,
    /// What the document asks for. Where the reading stopped at the limit, the first value above it.
    pub value: u64,
    /// What is allowed.
    pub maximum: u64,
}

/// One GraphQL error (GraphQL specification, section 7.1.2) about a request that was not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// A sentence for the caller.
    pub message: String,
    /// Where in the document, as far as known.
    pub locations: Vec<Location>,
    /// What went wrong; its code stands in `extensions.code`.
    pub kind: FaultKind,
    /// The limit, when one was passed.
    pub excess: Option<Excess>,
}

impl Error {
    /// An error without a place.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Error {
        Error { message: message.into(), locations: Vec::new(), kind, excess: None }
    }

    /// The same error at a place.
    pub fn at(mut self, location: Location) -> Error {
        self.locations.push(location);
        self
    }

    /// The refusal of a document that asks for more than a limit allows: `query cost 1520 exceeds the limit of 1000`.
    pub fn over(limit: Limit, value: u64, maximum: u64) -> Error {
        let message = format!("{} {value} exceeds the limit of {maximum}", limit.subject());
        Error { excess: Some(Excess { limit, value, maximum }), ..Error::new(FaultKind::QueryLimit, message) }
    }

    /// The error as a client reads it, with the request's id and whatever else the gateway adds to `extensions`.
    pub fn to_json(&self, more: &Map<String, Value>) -> Value {
        let mut extensions = Map::new();
        extensions.insert("code".into(), self.kind.code().into());
        if let Some(excess) = self.excess {
            extensions.insert("limit".into(), excess.limit.as_str().into());
            extensions.insert("value".into(), excess.value.into());
            extensions.insert("maximum".into(), excess.maximum.into());
        }
        extensions.extend(more.clone());
        let mut error = Map::new();
        error.insert("message".into(), self.message.as_str().into());
        if !self.locations.is_empty() {
            let places = self.locations.iter().map(|place| json!({ "line": place.line, "column": place.column }));
            error.insert("locations".into(), places.collect());
        }
        error.insert("extensions".into(), extensions.into());
        Value::Object(error)
    }

    /// The bytes it holds on to; for the cache's weight.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Error>() + self.message.len() + self.locations.len() * size_of::<Location>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let text = "{\r\n  é x\n}";
        assert_eq!(Location::of(text, 0), Location { line: 1, column: 1 });
        let x = text.find('x').unwrap() as u32;
        assert_eq!(Location::of(text, x), Location { line: 2, column: 5 });
        assert_eq!(Location::of(text, 1_000), Location { line: 3, column: 2 });
    }

    #[test]
    fn a_refusal_names_limit_value_and_maximum_in_message_and_extensions() {
        let error = Error::over(Limit::Cost, 1_520, 1_000).at(Location { line: 1, column: 3 });
        let mut more = Map::new();
        more.insert("request_id".into(), "r1".into());
        assert_eq!(
            error.to_json(&more),
            json!({
                "message": "query cost 1520 exceeds the limit of 1000",
                "locations": [{ "line": 1, "column": 3 }],
                "extensions": { "code": "graphql_limit", "limit": "cost", "value": 1520, "maximum": 1000, "request_id": "r1" }
            })
        );
    }
}
