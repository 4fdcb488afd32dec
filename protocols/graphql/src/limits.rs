//! What a document may ask for at most, and what each bound protects.

use portolan_config::snapshot::GraphQlLimits;

/// A bound on documents. The words are those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// The price of one request, its variables counted in.
    Cost,
    /// Levels of fields, the leaf counted: `{ a { b } }` has two. Fragments are no level.
    Depth,
    /// Fields with an alias, after fragments are expanded.
    Aliases,
    /// Fields of the operation itself, after fragments are expanded.
    RootFields,
    /// Directives, after fragments are expanded.
    Directives,
    /// Tokens of the text.
    Tokens,
    /// Fields, spreads and inline fragments of the whole document, after fragments are expanded.
    Selections,
    /// Values in arguments of the whole document, after fragments are expanded.
    Values,
    /// Selection sets, fragments, lists and objects inside one another.
    Nesting,
    /// Items of one list, in the document or its variables.
    ListLength,
    /// Lists of types inside one another in an introspection query.
    Introspection,
    /// Requests in one batch.
    Batch,
}

impl Limit {
    /// The word in the configuration and in `extensions.limit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Cost => "cost",
            Limit::Depth => "depth",
            Limit::Aliases => "aliases",
            Limit::RootFields => "root_fields",
            Limit::Directives => "directives",
            Limit::Tokens => "tokens",
            Limit::Selections => "selections",
            Limit::Values => "values",
            Limit::Nesting => "nesting",
            Limit::ListLength => "list_length",
            Limit::Introspection => "introspection",
            Limit::Batch => "batch",
        }
    }

    /// How a sentence begins that says how much there is.
    pub(crate) fn subject(self) -> &'static str {
        match self {
            Limit::Cost => "query cost",
            Limit::Depth => "query depth",
            Limit::Aliases => "number of aliases",
            Limit::RootFields => "number of root fields",
            Limit::Directives => "number of directives",
            Limit::Tokens => "number of tokens",
            Limit::Selections => "number of selections",
            Limit::Values => "number of argument values",
            Limit::Nesting => "nesting",
            Limit::ListLength => "list length",
            Limit::Introspection => "introspection depth",
            Limit::Batch => "batch of",
        }
    }
}

/// The maxima in force for one API. All of them hold for every operation of a document, except `cost`, which holds for
/// the operation that is asked for, and `tokens`, `selections` and `values`, which hold for the document as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Default 1,000.
    pub cost: u64,
    /// Default 10.
    pub depth: u64,
    /// Default 30.
    pub aliases: u64,
    /// Default 20.
    pub root_fields: u64,
    /// Default 50.
    pub directives: u64,
    /// Default 15,000. At some ten bytes each that is far more than a person writes.
    pub tokens: u64,
    /// Default 5,000. Bounds what validation has to look at, whatever fragments do.
    pub selections: u64,
    /// Default 15,000. Bounds what validation compares when equal fields are merged.
    pub values: u64,
    /// Default 64. Below the depth at which the validating library, or any upstream, might exhaust its stack.
    pub nesting: u64,
    /// Default 250.
    pub list_length: u64,
    /// Default 10. One, and a batch of one is all that is taken.
    pub batch: u64,
}

/// How many of `fields`, `interfaces`, `possibleTypes` and `inputFields` may lie inside one another in an introspection
/// query. Tools need one; with each further one the answer grows by the number of types.
pub const INTROSPECTION_LISTS: u64 = 2;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            cost: 1_000,
            depth: 10,
            aliases: 30,
            root_fields: 20,
            directives: 50,
            tokens: 15_000,
            selections: 5_000,
            values: 15_000,
            nesting: 64,
            list_length: 250,
            batch: 10,
        }
    }
}

impl From<&GraphQlLimits> for Limits {
    /// What an operator wrote; what cannot be written follows from it, or is as it is by default.
    fn from(written: &GraphQlLimits) -> Self {
        Limits {
            cost: written.max_cost,
            depth: written.max_depth.into(),
            aliases: written.max_aliases.into(),
            root_fields: written.max_root_fields.into(),
            directives: written.max_directives.into(),
            tokens: written.max_tokens.into(),
            selections: written.max_selections.into(),
            // No document has more values than tokens; expansion is not to give it more than the longest could have.
            values: written.max_tokens.into(),
            // Each level of fields, and as many fragments around them as the default leaves room for.
            nesting: 54 + u64::from(written.max_depth),
            batch: written.batch.into(),
            list_length: Limits::default().list_length,
        }
    }
}
