//! Reads a request's document in one pass over its tokens, without recursion.
//!
//! The grammar is that of the GraphQL specification, section 2, its executable part: operations and fragments. It takes
//! and refuses what the validating library takes and refuses, so that what reaches the library is known to be sound.

use std::ops::Range;

use crate::document::{
    Alias, Argument, Directive, Document, FragmentDefinition, OperationDefinition, OperationKind, ROOT, Selection,
    SelectionKind, Value, VariableDefinition,
};
use crate::error::Stop;
use crate::lexer::{Lexer, Span, Token, TokenKind};
use crate::limits::Limits;

/// Parses `text`, which is shorter than 4 GiB.
pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Document, Stop> {
    let mut lexer = Lexer::new(text, limits.tokens);
    let next = lexer.next()?;
    let mut parser = Parser { text, lexer, next, nesting: limits.nesting, document: Document::default() };
    parser.document()?;
    parser.document.steps = parser.lexer.tokens();
    Ok(parser.document)
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    next: Token,
    nesting: u64,
    document: Document,
}

/// Whether variables may stand in a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variables {
    Allowed,
    Refused,
}

/// A selection set that is not closed yet.
struct Open {
    parent: u32,
    /// How many selections there were when it opened; one at least must follow.
    before: usize,
}

/// A list or an object that is not closed yet.
enum Container {
    List { items: u64, at: u32 },
    Object,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<(), Stop> {
        if self.next.kind == TokenKind::End {
            return Err(self.expected("an operation"));
        }
        while self.next.kind != TokenKind::End {
            match self.next.kind {
                TokenKind::OpenBrace => self.shorthand()?,
                TokenKind::Name => match self.word() {
                    "query" => self.operation(OperationKind::Query)?,
                    "mutation" => self.operation(OperationKind::Mutation)?,
                    "subscription" => self.operation(OperationKind::Subscription)?,
                    "fragment" => self.fragment()?,
                    _ => return Err(self.expected("an operation or a fragment")),
                },
                _ => return Err(self.expected("an operation or a fragment")),
            }
        }
        Ok(())
    }

    fn shorthand(&mut self) -> Result<(), Stop> {
        let at = self.next.span.start;
        let selections = self.selection_set()?;
        let kind = OperationKind::Query;
        self.document.operations.push(OperationDefinition {
            kind,
            name: None,
            at,
            variables: 0..0,
            directives: 0,
            selections,
        });
        Ok(())
    }

    fn operation(&mut self, kind: OperationKind) -> Result<(), Stop> {
        let at = self.bump()?.start;
        let name = if self.next.kind == TokenKind::Name { Some(self.bump()?) } else { None };
        let before = self.document.directives.len();
        let variables = self.variable_definitions()?;
        self.directives(Variables::Allowed)?;
        let directives = (self.document.directives.len() - before) as u64;
        let selections = self.selection_set()?;
        self.document.operations.push(OperationDefinition { kind, name, at, variables, directives, selections });
        Ok(())
    }

    fn fragment(&mut self) -> Result<(), Stop> {
        self.bump()?;
        if self.next.kind == TokenKind::Name && self.word() == "on" {
            return Err(self.expected("a name for the fragment"));
        }
        let name = self.name("a name for the fragment")?;
        if self.next.kind != TokenKind::Name || self.word() != "on" {
            return Err(self.expected("`on` and a type"));
        }
        self.bump()?;
        let on = self.name("a type")?;
        let (range, _) = self.directives(Variables::Allowed)?;
        let selections = self.selection_set()?;
        self.document.fragments.push(FragmentDefinition { name, on, directives: range.len() as u64, selections });
        Ok(())
    }

    fn variable_definitions(&mut self) -> Result<Range<u32>, Stop> {
        let start = self.document.variables.len() as u32;
        if self.next.kind == TokenKind::OpenParen {
            self.bump()?;
            loop {
                self.expect(TokenKind::Dollar, "a variable")?;
                let name = self.name("the name of a variable")?;
                self.expect(TokenKind::Colon, "`:` and a type")?;
                let (of, lists) = self.variable_type()?;
                let mut default = None;
                if self.next.kind == TokenKind::Equals {
                    self.bump()?;
                    default = Some(self.value(Variables::Refused)?.0);
                }
                self.document.variables.push(VariableDefinition { name, of, lists, default });
                self.directives(Variables::Refused)?;
                if self.next.kind == TokenKind::CloseParen {
                    self.bump()?;
                    break;
                }
            }
        }
        Ok(start..self.document.variables.len() as u32)
    }

    /// `[[Int!]!]`: brackets open, then a name, then they close, each with or without `!`.
    fn variable_type(&mut self) -> Result<(Span, u64), Stop> {
        let mut open = 0_u64;
        while self.next.kind == TokenKind::OpenBracket {
            open += 1;
            self.nested(open)?;
            self.bump()?;
        }
        let lists = open;
        let of = self.name("a type")?;
        loop {
            if self.next.kind == TokenKind::Bang {
                self.bump()?;
            }
            if open == 0 {
                return Ok((of, lists));
            }
            self.expect(TokenKind::CloseBracket, "`]`")?;
            open -= 1;
        }
    }

    fn selection_set(&mut self) -> Result<Range<u32>, Stop> {
        let start = self.document.selections.len();
        self.expect(TokenKind::OpenBrace, "a selection set")?;
        let mut open = vec![Open { parent: ROOT, before: start }];
        while let Some(set) = open.last() {
            let parent = set.parent;
            match self.next.kind {
                TokenKind::CloseBrace => {
                    if set.before == self.document.selections.len() {
                        return Err(self.expected("a field"));
                    }
                    self.bump()?;
                    let end = self.document.selections.len() as u32;
                    if let Some(selection) = self.document.selections.get_mut(parent as usize) {
                        selection.end = end;
                    }
                    open.pop();
                    continue;
                }
                TokenKind::Name => self.field(parent)?,
                TokenKind::Spread => self.spread(parent)?,
                _ => return Err(self.expected("a field or `}`")),
            }
            let added = self.document.selections.len() - 1;
            let may_open = !matches!(self.document.selections[added].kind, SelectionKind::Spread { .. });
            if may_open && self.next.kind == TokenKind::OpenBrace {
                self.bump()?;
                open.push(Open { parent: added as u32, before: added + 1 });
                self.nested(open.len() as u64)?;
            } else if matches!(self.document.selections[added].kind, SelectionKind::Inline { .. }) {
                return Err(self.expected("a selection set"));
            }
        }
        Ok(start as u32..self.document.selections.len() as u32)
    }

    fn field(&mut self, parent: u32) -> Result<(), Stop> {
        let mut name = self.bump()?;
        let at = name.start;
        let mut alias = Alias::None;
        if self.next.kind == TokenKind::Colon {
            self.bump()?;
            name = self.name("the name of a field")?;
            alias = Alias::Given;
        }
        let (arguments, values) = self.arguments(Variables::Allowed)?;
        self.push(SelectionKind::Field { name, alias }, at, parent, arguments, values)
    }

    fn spread(&mut self, parent: u32) -> Result<(), Stop> {
        let at = self.bump()?.start;
        let mut kind = SelectionKind::Inline { on: None };
        if self.next.kind == TokenKind::Name {
            let word = self.bump()?;
            kind = if word.of(self.text) == "on" {
                SelectionKind::Inline { on: Some(self.name("a type")?) }
            } else {
                SelectionKind::Spread { fragment: word }
            };
        }
        self.push(kind, at, parent, 0..0, 0)
    }

    fn push(
        &mut self,
        kind: SelectionKind,
        at: u32,
        parent: u32,
        arguments: Range<u32>,
        values: u32,
    ) -> Result<(), Stop> {
        let (directives, more) = self.directives(Variables::Allowed)?;
        let end = self.document.selections.len() as u32 + 1;
        let values = values.saturating_add(more);
        self.document.selections.push(Selection { kind, at, parent, end, arguments, directives, values });
        Ok(())
    }

    fn directives(&mut self, variables: Variables) -> Result<(Range<u32>, u32), Stop> {
        let start = self.document.directives.len() as u32;
        let mut values = 0_u32;
        while self.next.kind == TokenKind::At {
            self.bump()?;
            let name = self.name("the name of a directive")?;
            let (arguments, more) = self.arguments(variables)?;
            values = values.saturating_add(more);
            self.document.directives.push(Directive { name, arguments });
        }
        Ok((start..self.document.directives.len() as u32, values))
    }

    fn arguments(&mut self, variables: Variables) -> Result<(Range<u32>, u32), Stop> {
        let start = self.document.arguments.len() as u32;
        let mut values = 0_u32;
        if self.next.kind == TokenKind::OpenParen {
            self.bump()?;
            loop {
                let name = self.name("the name of an argument")?;
                self.expect(TokenKind::Colon, "`:` and a value")?;
                let (value, more) = self.value(variables)?;
                values = values.saturating_add(more);
                self.document.arguments.push(Argument { name, value });
                if self.next.kind == TokenKind::CloseParen {
                    self.bump()?;
                    break;
                }
            }
        }
        Ok((start..self.document.arguments.len() as u32, values))
    }

    /// Reads one value with all that lies in it; says how many values that were.
    fn value(&mut self, variables: Variables) -> Result<(Value, u32), Stop> {
        let mut open: Vec<Container> = Vec::new();
        let mut outermost = None;
        let mut values = 0_u32;
        loop {
            match open.last_mut() {
                Some(Container::List { items, at }) => {
                    if self.next.kind == TokenKind::CloseBracket {
                        let seen = (*items, *at);
                        self.document.longest_list = self.document.longest_list.max(seen);
                        open.pop();
                        self.bump()?;
                    } else {
                        *items += 1;
                        self.single(variables, &mut open)?;
                        values = values.saturating_add(1);
                    }
                }
                Some(Container::Object) => {
                    if self.next.kind == TokenKind::CloseBrace {
                        open.pop();
                        self.bump()?;
                    } else {
                        self.name("the name of a field or `}`")?;
                        self.expect(TokenKind::Colon, "`:` and a value")?;
                        self.single(variables, &mut open)?;
                        values = values.saturating_add(1);
                    }
                }
                None => {
                    outermost = Some(self.single(variables, &mut open)?);
                    values = values.saturating_add(1);
                }
            }
            if let (true, Some(value)) = (open.is_empty(), outermost) {
                return Ok((value, values));
            }
        }
    }

    /// A scalar, or the opening of a list or object, which is put on `open`.
    fn single(&mut self, variables: Variables, open: &mut Vec<Container>) -> Result<Value, Stop> {
        match self.next.kind {
            TokenKind::Dollar if variables == Variables::Allowed => {
                self.bump()?;
                return Ok(Value::Variable(self.name("the name of a variable")?));
            }
            TokenKind::Dollar => return Err(self.expected("a value without variables")),
            TokenKind::Int => return Ok(Value::Int(self.bump()?)),
            TokenKind::Float | TokenKind::Text => {
                self.bump()?;
            }
            TokenKind::Name => {
                return Ok(match self.bump()?.of(self.text) {
                    "true" => Value::Boolean(true),
                    "false" => Value::Boolean(false),
                    "null" => Value::Null,
                    _ => Value::Other,
                });
            }
            TokenKind::OpenBracket => {
                open.push(Container::List { items: 0, at: self.next.span.start });
                self.nested(open.len() as u64)?;
                self.bump()?;
            }
            TokenKind::OpenBrace => {
                open.push(Container::Object);
                self.nested(open.len() as u64)?;
                self.bump()?;
            }
            _ => return Err(self.expected("a value")),
        }
        Ok(Value::Other)
    }

    fn nested(&self, levels: u64) -> Result<(), Stop> {
        if levels > self.nesting {
            return Err(Stop::Nesting { at: self.next.span.start, value: levels });
        }
        Ok(())
    }

    fn word(&self) -> &str {
        self.next.span.of(self.text)
    }

    fn bump(&mut self) -> Result<Span, Stop> {
        let span = self.next.span;
        self.next = self.lexer.next()?;
        Ok(span)
    }

    fn name(&mut self, what: &str) -> Result<Span, Stop> {
        self.expect(TokenKind::Name, what)
    }

    fn expect(&mut self, kind: TokenKind, what: &str) -> Result<Span, Stop> {
        if self.next.kind == kind { self.bump() } else { Err(self.expected(what)) }
    }

    fn expected(&self, what: &str) -> Stop {
        // A name or a string can be as long as the document; a message stays a line.
        let found: String = self.word().chars().take(40).collect();
        let found =
            if self.next.kind == TokenKind::End { "the end of the document".into() } else { format!("`{found}`") };
        Stop::Syntax { at: self.next.span.start, message: format!("expected {what}, found {found}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match parse(text, &Limits::default()) {
            Err(Stop::Syntax { at, message }) => format!("{at}: {message}"),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn selections_lie_in_reading_order_and_know_parent_and_end() {
        let text = "query Q($n: [Int!]! = [1, 2] @d) @e { a: b(x: $n) @skip(if: true) { c ...F } ... on T { d } } fragment F on T { e }";
        let document = parse(text, &Limits::default()).unwrap();
        let shape: Vec<_> = document.selections.iter().map(|one| (one.parent, one.end)).collect();
        assert_eq!(shape, [(ROOT, 3), (0, 2), (0, 3), (ROOT, 5), (3, 5), (ROOT, 6)]);
        assert_eq!(document.operations[0].directives, 2);
        assert_eq!(document.operations[0].name.unwrap().of(text), "Q");
        assert_eq!(document.fragments[0].selections, 5..6);
        assert_eq!(document.longest_list.0, 2);
        assert_eq!(document.selections[0].values, 2);
    }

    #[test]
    fn a_syntax_error_says_what_was_expected_and_what_was_found() {
        assert_eq!(refused(""), "0: expected an operation, found the end of the document");
        assert_eq!(refused("{ products { id "), "16: expected a field or `}`, found the end of the document");
        assert_eq!(refused("{ a { } }"), "6: expected a field, found `}`");
        assert_eq!(refused("type A { b: C }"), "0: expected an operation or a fragment, found `type`");
        assert_eq!(refused("fragment on on A { b }"), "9: expected a name for the fragment, found `on`");
        assert_eq!(refused("query($a: Int = $b) { a }"), "16: expected a value without variables, found `$`");
        assert_eq!(refused("{ a(b: ) }"), "7: expected a value, found `)`");
        assert_eq!(refused("{ a() }"), "4: expected the name of an argument, found `)`");
        assert_eq!(refused("{ ... on A }"), "11: expected a selection set, found `}`");
        assert_eq!(refused("query($a: [Int) { a }"), "14: expected `]`, found `)`");
    }

    #[test]
    fn nesting_of_selections_values_and_types_is_bounded() {
        let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
        let selections = format!("{{ a {} }}", deep("{ a ", "}", 64));
        let values = format!("{{ a(b: {}) }}", deep("[", "]", 65));
        let objects = format!("{{ a(b: {}1{}) }}", "{ c: ".repeat(65), "}".repeat(65));
        let types = format!("query($a: {}Int{}) {{ a }}", "[".repeat(65), "]".repeat(65));
        for text in [selections, values, objects, types] {
            let stop = parse(&text, &Limits::default()).unwrap_err();
            assert!(matches!(stop, Stop::Nesting { value: 65, .. }), "{text}: {stop:?}");
        }
        assert!(parse(&format!("{{ a {} }}", deep("{ a ", "}", 63)), &Limits::default()).is_ok());
    }
}
