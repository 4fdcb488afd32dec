//! A GraphQL document as the analysis needs it: operations, fragments and their selections, flat, in reading order.
//!
//! Selections lie in one list; each knows its parent and where its subtree ends. So the analysis walks the list forwards
//! for types and backwards for sums, and never recurses.

use std::ops::Range;

use crate::lexer::Span;

/// The parent of a selection that stands directly in an operation or fragment.
pub(crate) const ROOT: u32 = u32::MAX;

/// A parsed document. Spans point into the text it was parsed from.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) operations: Vec<OperationDefinition>,
    pub(crate) fragments: Vec<FragmentDefinition>,
    pub(crate) selections: Vec<Selection>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) directives: Vec<Directive>,
    pub(crate) variables: Vec<VariableDefinition>,
    /// The longest list written in it, and where.
    pub(crate) longest_list: (u64, u32),
    /// How many steps the reading took: tokens, each once.
    pub(crate) steps: u64,
}

/// Which of the three kinds an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Reads.
    Query,
    /// Changes, its root fields one after the other.
    Mutation,
    /// Asks for a stream of answers.
    Subscription,
}

impl OperationKind {
    /// The keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::Query => "query",
            OperationKind::Mutation => "mutation",
            OperationKind::Subscription => "subscription",
        }
    }
}

/// `query Name($variable: Type) @directive { … }`
#[derive(Debug)]
pub(crate) struct OperationDefinition {
    pub(crate) kind: OperationKind,
    pub(crate) name: Option<Span>,
    pub(crate) at: u32,
    pub(crate) variables: Range<u32>,
    /// On the operation and on its variables.
    pub(crate) directives: u64,
    pub(crate) selections: Range<u32>,
}

/// `fragment name on Type @directive { … }`
#[derive(Debug)]
pub(crate) struct FragmentDefinition {
    pub(crate) name: Span,
    pub(crate) on: Span,
    pub(crate) directives: u64,
    pub(crate) selections: Range<u32>,
}

/// `$name: Type = default`
#[derive(Debug)]
pub(crate) struct VariableDefinition {
    pub(crate) name: Span,
    /// The type within all lists.
    pub(crate) of: Span,
    /// How many lists stand around it.
    pub(crate) lists: u64,
    pub(crate) default: Option<Value>,
}

/// A field, a spread or an inline fragment.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) kind: SelectionKind,
    pub(crate) at: u32,
    pub(crate) parent: u32,
    /// The first selection after its subtree.
    pub(crate) end: u32,
    pub(crate) arguments: Range<u32>,
    pub(crate) directives: Range<u32>,
    /// How many values its arguments and those of its directives hold.
    pub(crate) values: u32,
}

/// What a selection selects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SelectionKind {
    Field { name: Span, alias: Alias },
    Spread { fragment: Span },
    Inline { on: Option<Span> },
}

/// Whether a field has a name of its own in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alias {
    None,
    Given,
}

/// `name: value`
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: Span,
    pub(crate) value: Value,
}

/// `@name(argument: value)`
#[derive(Debug)]
pub(crate) struct Directive {
    pub(crate) name: Span,
    pub(crate) arguments: Range<u32>,
}

/// As much of a value as prices depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Variable(Span),
    Int(Span),
    Boolean(bool),
    Null,
    /// A string, float, enum value, list or object.
    Other,
}
