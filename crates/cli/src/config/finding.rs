//! What is wrong with a configuration, where it stands, and how it is shown: to people and as JSON.
//!
//! A [`Finding`] names a message, a [`Place`] in a file and the next action. [`ConfigError`] holds all findings of one
//! load, because a person who mends a file wants to see all of them at once.
//!
//! This module never looks for faults and never shows the value of a secret: it shows lines as they stand in the file.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use muster_types::{Explain, Hint, Kind};
use serde::Serialize;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Muster does not work with this configuration.
    Error,
    /// It works, and somebody should look at it.
    Warning,
}

/// A place in a file, with the line that stands there.
///
/// **Units**: line and column count from 1; the column counts characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// The offending text; empty when the place as such is meant.
    pub text: String,
    /// The whole line.
    pub source: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// What is wrong: one line, lower case.
    pub message: String,
    /// Where, if it stands in a file.
    pub place: Option<Box<Place>>,
    /// Why, if that is not obvious.
    pub cause: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

/// Every error of one configuration; never empty.
///
/// `Display` is the first message; [`ConfigError::render`] shows all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong, in the order of the file.
    pub findings: Vec<Finding>,
}

impl Finding {
    /// Makes an error.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), place: None, cause: None, hint: None }
    }

    /// Makes a warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds the next action.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Renders it for people; file names are shown relative to `folder` where they lie in it.
    pub fn render(&self, folder: &Path) -> String {
        let word = if self.severity == Severity::Error { "error" } else { "warning" };
        let mut text = format!("{word}: {}\n", self.message);
        if let Some(place) = &self.place {
            place.render(folder, &mut text);
        }
        for (name, value) in [("cause: ", &self.cause), ("hint:  ", &self.hint)] {
            if let Some(value) = value {
                text.push_str(&format!("{name}{value}\n"));
            }
        }
        text
    }

    /// Returns its JSON form.
    pub fn document(&self) -> serde_json::Value {
        let place = self.place.as_ref();
        serde_json::json!({
            "severity": self.severity,
            "file": place.map(|p| p.file.display().to_string()),
            "line": place.map(|p| p.line),
            "column": place.map(|p| p.column),
            "text": place.map(|p| p.text.clone()),
            "message": self.message,
            "cause": self.cause,
            "hint": self.hint,
        })
    }
}

impl Place {
    /// Shows the line with marks below what is meant.
    pub(crate) fn render(&self, folder: &Path, text: &mut String) {
        let file = self.file.strip_prefix(folder).unwrap_or(&self.file).display();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let source = self.source.trim_end();
        // A tab would shift the marks below it, and nobody sees that it is one.
        let shown = source.replace('\t', " ");
        let before = " ".repeat(self.column.saturating_sub(1));
        let left = source.chars().count().saturating_sub(self.column - 1).max(1);
        let marks = "^".repeat(self.text.chars().count().clamp(1, left));
        text.push_str(&format!(
            "  --> {file}:{}:{}\n {margin} |\n {number} | {shown}\n {margin} | {before}{marks}\n",
            self.line, self.column
        ));
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl From<Finding> for ConfigError {
    fn from(finding: Finding) -> Self {
        Self { findings: vec![finding] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.findings.first() else {
            return f.write_str("the configuration is wrong");
        };
        if let Some(place) = &first.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&first.message)?;
        match self.findings.len() {
            1 => Ok(()),
            count => write!(f, " (and {} more)", count - 1),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Explain for ConfigError {
    fn kind(&self) -> Kind {
        Kind::Config
    }

    fn hint(&self) -> Option<Hint> {
        self.findings.first().and_then(|finding| finding.hint.clone()).map(Hint)
    }
}

impl ConfigError {
    /// Renders all findings for people, an empty line between two; file names relative to `folder`.
    pub fn render(&self, folder: &Path) -> String {
        self.findings.iter().map(|finding| finding.render(folder)).collect::<Vec<_>>().join("\n")
    }

    /// Returns the JSON form: `{"errors": […]}`.
    pub fn document(&self) -> serde_json::Value {
        serde_json::json!({"errors": self.findings.iter().map(Finding::document).collect::<Vec<_>>()})
    }
}
