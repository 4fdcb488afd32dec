//! What the configuration says of GraphQL, read when it is loaded: a schema, and stored documents. Every mistake has its
//! place.

use portolan_config::snapshot::Source;
use portolan_config::{Diagnostics, Place};

use crate::schema::{Schema, SchemaError};
use crate::stored;

/// Reads the SDL of an API.
///
/// # Errors
/// All its mistakes, with line and column in its file.
pub fn read(source: &Source) -> Result<Schema, Diagnostics> {
    Schema::parse(&source.text).map_err(|errors| {
        let mut problems = Diagnostics::new();
        for SchemaError { location, message } in errors {
            let (line, column) = location.map_or((0, 0), |at| (at.line, at.column));
            problems.error(&source.place(line, column, ""), message);
        }
        problems
    })
}

/// Checks the document by which a GraphQL upstream answers a REST operation; `place` is where it is written.
///
/// # Errors
/// When it is not GraphQL, or is not one query or mutation. The message names line and column within the document.
pub fn check_stored(document: &str, place: &Place) -> Result<(), Diagnostics> {
    let Err(error) = stored::read(document) else { return Ok(()) };
    let within = error.locations.first().map(|at| format!(" (line {}, column {} of it)", at.line, at.column));
    let mut problems = Diagnostics::new();
    problems.error(place, format!("the document: {}{}", error.message, within.unwrap_or_default()));
    Err(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_the_schema_is_told_at_its_place_in_the_file() {
        let source = Source { path: "shop.graphql".into(), text: "type Query {\n  a: Missing\n}".into() };
        let problems = read(&source).unwrap_err();
        assert_eq!(problems.to_string().trim_end(), "shop.graphql:2:6: cannot find type `Missing` in this document");
    }

    #[test]
    fn a_stored_document_is_checked_at_its_place_in_the_configuration() {
        let place = Place::new("portolan.yaml", 4, 7, "apis.orders.operations.a.graphql.document");
        let told = |document: &str| check_stored(document, &place).unwrap_err().to_string();
        assert!(check_stored("query($id: ID!) { order(id: $id) { id } }", &place).is_ok());
        let at = "portolan.yaml:4:7: apis.orders.operations.a.graphql.document: the document: ";
        let cases = [
            ("{ a\n", "syntax error: expected a field or `}`, found the end of the document (line 2, column 1 of it)"),
            ("query A { a } query B { b }", "a stored document has one operation, this one has 2"),
            ("fragment A on B { c }", "a stored document has one operation, this one has 0"),
            ("subscription { a }", "a stored document cannot be a subscription"),
        ];
        for (document, message) in cases {
            assert_eq!(told(document).trim_end(), format!("{at}{message}"));
        }
    }
}
