//! Says what is wrong in a file: where, at which key, and what helps.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether a problem keeps the file from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably not as it was meant.
    Warning,
}

/// Where a value stands: file, line, column and the keys that lead to it.
///
/// Two places are always equal, so that a snapshot equals another whose file merely has a comment more.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line, counted from 1; 0 when it is not known.
    pub line: u32,
    /// The column in characters, counted from 1; 0 when it is not known.
    pub column: u32,
    /// The keys from the root, such as `apis.orders.upstream`; empty for the file as a whole.
    pub path: Arc<str>,
}

impl Place {
    /// A place inside a file, such as a contract document; line and column 0 mean that they are not known.
    pub fn new(file: impl AsRef<Path>, line: u32, column: u32, path: impl AsRef<str>) -> Place {
        Place { file: Arc::from(file.as_ref()), line, column, path: Arc::from(path.as_ref()) }
    }

    /// A file as a whole.
    pub fn file(file: impl AsRef<Path>) -> Place {
        Place::new(file, 0, 0, "")
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Place) -> bool {
        true
    }
}

impl Eq for Place {}

/// One problem, as one line for an operator.
///
/// ```text
/// gateway.yaml:14:15: apis.orders.upstream: no upstream `ordres`; did you mean `orders`?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// The file as the operator named it, or as the configuration names it.
    pub file: PathBuf,
    /// The line, counted from 1, where it is known.
    pub line: Option<u32>,
    /// The column in characters, counted from 1, where it is known.
    pub column: Option<u32>,
    /// The keys from the root, such as `apis.orders.upstream`; empty for the file as a whole.
    pub path: String,
    /// What is wrong: a sentence, lowercase, no full stop.
    pub message: String,
    /// What helps, in the same form.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at `place`.
    pub fn error(place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: place.file.to_path_buf(),
            line: (place.line > 0).then_some(place.line),
            column: (place.column > 0).then_some(place.column),
            path: place.path.to_string(),
            message: message.into(),
            hint: None,
        }
    }

    /// A warning at `place`.
    pub fn warning(place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(place, message) }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    fn order(&self) -> (&Path, u32, u32) {
        (&self.file, self.line.unwrap_or(0), self.column.unwrap_or(0))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", OneLine(&self.path))?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        write!(f, "{}", OneLine(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, "; {}", OneLine(hint)),
            None => Ok(()),
        }
    }
}

/// Text with its control characters escaped: what a document says must not look like a line of its own, in a log or on a
/// terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            match part.char_indices().next_back().filter(|(_, last)| last.is_control()) {
                Some((end, last)) => write!(f, "{}{}", &part[..end], last.escape_default())?,
                None => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// All the problems found in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// None yet.
    pub fn new() -> Diagnostics {
        Diagnostics::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Adds an error at `place`.
    pub fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.push(Diagnostic::error(place, message));
    }

    /// Takes over all of `other`.
    pub fn append(&mut self, mut other: Diagnostics) {
        self.list.append(&mut other.list);
    }

    /// Whether there are none, neither errors nor warnings.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether one of them keeps the file from being used.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// They, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Sorts them by file, line and column, and drops what is said twice.
    pub fn sort(&mut self) {
        self.list.sort_by(|a, b| a.order().cmp(&b.order()));
        self.list.dedup();
    }

    /// One line each, every line ended by a line feed.
    pub fn render(&self) -> String {
        self.list.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render().trim_end_matches('\n'))
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics { list: vec![diagnostic] }
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(list: I) -> Diagnostics {
        Diagnostics { list: list.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_is_one_line_with_place_path_sentence_and_hint() {
        let place = Place::new("gateway.yaml", 14, 15, "apis.orders.upstream");
        let told = Diagnostic::error(&place, "no upstream `ordres`").hint("did you mean `orders`?");
        assert_eq!(
            told.to_string(),
            "gateway.yaml:14:15: apis.orders.upstream: no upstream `ordres`; did you mean `orders`?"
        );
    }

    #[test]
    fn what_is_not_known_of_a_place_is_left_out() {
        assert_eq!(Diagnostic::error(&Place::file("a.yaml"), "it is empty").to_string(), "a.yaml: it is empty");
        let line_only = Place::new("a.graphql", 3, 0, "");
        assert_eq!(Diagnostic::warning(&line_only, "odd").to_string(), "a.graphql:3: warning: odd");
    }

    #[test]
    fn sorting_orders_by_place_and_drops_what_is_said_twice() {
        let at = |line| Diagnostic::error(&Place::new("a.yaml", line, 1, "k"), "wrong");
        let mut all: Diagnostics = [at(3), at(1), at(3)].into_iter().collect();
        all.sort();
        assert_eq!(all.render(), "a.yaml:1:1: k: wrong\na.yaml:3:1: k: wrong\n");
    }
}
