//! What is wrong with a runbook: where, what, and what to do.

use muster_types::{Explain, Hint, Kind};

use crate::document::DocumentError;

/// One fault. **Units**: line and column count from 1, the column in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// The offending text; empty when the place as such is meant.
    pub text: String,
    /// What is wrong: one line, lower case.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Every fault of a runbook; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunbookError {
    /// In the order of the file.
    pub faults: Vec<Fault>,
}

impl Fault {
    pub(super) fn new(
        (line, column): (usize, usize),
        text: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { line, column, text: text.to_owned(), message: message.into(), hint: hint.into() }
    }
}

/// Makes a fault of what is no document at all.
pub(super) fn of_document(error: &DocumentError) -> RunbookError {
    let place = match error {
        DocumentError::NotText { line, column } => (*line, *column),
        DocumentError::TooLarge { .. } | DocumentError::TooLong { .. } => (1, 1),
    };
    let hint = match error {
        DocumentError::NotText { .. } => "a runbook is a Markdown file in UTF-8: look at what the path names",
        DocumentError::TooLarge { .. } | DocumentError::TooLong { .. } => {
            "a runbook is written by hand: look at what the path names, or split it"
        }
    };
    RunbookError { faults: vec![Fault::new(place, "", error.to_string(), hint)] }
}

impl std::fmt::Display for RunbookError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(first) = self.faults.first() else { return f.write_str("the runbook is wrong") };
        write!(f, "{}:{}: {}", first.line, first.column, first.message)?;
        match self.faults.len() {
            1 => Ok(()),
            count => write!(f, " (and {} more)", count - 1),
        }
    }
}

impl std::error::Error for RunbookError {}

impl Explain for RunbookError {
    fn kind(&self) -> Kind {
        Kind::Config
    }

    fn hint(&self) -> Option<Hint> {
        self.faults.first().map(|first| Hint(first.hint.clone()))
    }
}
