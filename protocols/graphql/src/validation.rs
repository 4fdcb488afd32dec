//! Asks apollo-compiler whether a document keeps the rules of the specification (section 5).
//!
//! Only documents that the analysis has accepted come here: the number of selections and values after expansion, the
//! nesting and the tokens are bounded, so no rule takes long and none recurses deep. The bounds given to the library are a
//! second line; they follow from ours.

use apollo_compiler::ExecutableDocument;
use apollo_compiler::parser::Parser;
use apollo_compiler::validation::{DiagnosticList, Valid};
use portolan_exchange::FaultKind;

use crate::error::{Error, Location};
use crate::limits::Limits;
use crate::schema::Schema;

/// A client is told this many mistakes; who has more will ask again.
const TOLD: usize = 10;

/// Validates `text` against the schema; errors in their order in the text.
pub(crate) fn validate(text: &str, schema: &Schema, limits: &Limits) -> Result<Valid<ExecutableDocument>, Vec<Error>> {
    // The library counts the whitespace between two tokens as one more, and the end.
    let tokens = (limits.tokens as usize).saturating_mul(2).saturating_add(2);
    // Selection sets and values nest independently of one another, and it counts both.
    let recursion = (limits.nesting as usize).saturating_mul(2).saturating_add(2);
    let mut parser = Parser::new().token_limit(tokens).recursion_limit(recursion);
    let parsed = parser.parse_executable(schema.valid(), text, "request.graphql");
    let document = parsed.map_err(|failed| errors(&failed.errors))?;
    document.validate(schema.valid()).map_err(|failed| errors(&failed.errors))
}

fn errors(diagnostics: &DiagnosticList) -> Vec<Error> {
    let told = diagnostics.iter().take(TOLD).map(|one| {
        // The messages that clients know from graphql-js, where there is one. They hold no guesses at other names.
        let message = one.error.unstable_compat_message().unwrap_or_else(|| one.error.to_string());
        let error = Error::new(FaultKind::QueryInvalid, message.chars().take(500).collect::<String>());
        match one.line_column_range() {
            Some(range) => error.at(Location { line: range.start.line as u32, column: range.start.column as u32 }),
            None => error,
        }
    });
    let mut errors: Vec<Error> = told.collect();
    if diagnostics.len() > TOLD {
        errors.push(Error::new(FaultKind::QueryInvalid, format!("and {} more mistakes", diagnostics.len() - TOLD)));
    }
    errors
}
