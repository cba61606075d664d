//! What every error of Muster can tell: its kind, whether to try again, and the next action.
//!
//! `cli` turns a [`Kind`] into an exit code and prints the [`Hint`]; the engine asks whether a retry makes sense.
//! This module never formats for a terminal.

use std::fmt;

/// The next action, in one sentence, if possible a command that can be pasted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hint(pub String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The family of an error. It decides the exit code (`docs/errors.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The caller gave something that cannot be meant. Exit 2.
    Input,
    /// The configuration is wrong. Exit 2.
    Config,
    /// A named thing does not exist. Exit 1.
    NotFound,
    /// There is no repository at the location. Exit 10.
    NoRepository,
    /// Another run holds what this one needs. Exit 11.
    Locked,
    /// No key of the repository fits. Exit 12.
    WrongKey,
    /// Something is in the way: a non-empty target, an open file, another identity. Exit 1.
    Conflict,
    /// Data is damaged or does not match its hash. Exit 20.
    Corrupt,
    /// A server, disk or network did not do its part: full, gone, refused. Exit 1.
    Unavailable,
    /// A person or a signal stopped it. Exit 130.
    Interrupted,
    /// Muster itself is wrong. Exit 255.
    Bug,
}

/// An error that can say what to do next.
///
/// `Display` is one line, lower case, without a full stop, and does not repeat its source.
pub trait Explain: std::error::Error {
    /// Returns the family of the error.
    fn kind(&self) -> Kind;

    /// Tells whether the same call may succeed later without any change.
    fn is_retryable(&self) -> bool {
        false
    }

    /// Returns the next action, if there is one to name.
    fn hint(&self) -> Option<Hint> {
        None
    }
}
