//! One thing that lint has to say, and how grave it is. Values only: finding happens in `rules`.

use std::fmt;

use serde::Serialize;

/// What happens to somebody who relies on the text, from least to most grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It works, and is careless.
    Weak,
    /// It says that all is well when it may not be.
    FalseConfidence,
    /// It does not do what it is written for.
    Fails,
    /// It destroys data, or leaves nothing to restore.
    LosesData,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weak => "weak",
            Self::FalseConfidence => "false-confidence",
            Self::Fails => "fails",
            Self::LosesData => "loses-data",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The rule's name; its page is `docs/lint/<rule>.md`.
    pub rule: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// The text that is meant, as it stands in that line.
    pub quote: String,
    /// Why it is wrong: one line.
    pub message: String,
    /// What to do instead: one line.
    pub instead: String,
    /// The page that explains the rule.
    pub page: String,
}
