//! Why the harness stopped, as a sentence for the person who ran it.

use std::fmt;

/// What happened, to what, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

/// The outcome of every step of the harness.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure told in `sentence`: lowercase, no full stop.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// Its first line, without what a process said besides.
    pub fn headline(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Says what was being done when something else failed.
pub trait While<T> {
    /// Turns the error into a failure that begins with `deed`.
    fn while_doing(self, deed: &str) -> Result<T>;
}

impl<T, E: fmt::Display> While<T> for std::result::Result<T, E> {
    fn while_doing(self, deed: &str) -> Result<T> {
        self.map_err(|error| Failure(format!("{deed}: {error}")))
    }
}
