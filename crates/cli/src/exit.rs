//! Exit codes (`docs/errors.md`) and how an error is shown.
//!
//! An error leaves as three lines on stderr: what, why, what next. With `--json` it is also the document on stdout.

use std::{path::Path, process::ExitCode};

use muster_types::{Explain, Kind, event::ErrorNote};

use crate::config::ConfigError;

/// Done.
pub(crate) const DONE: u8 = 0;
/// Failed.
pub(crate) const FAILED: u8 = 1;
/// Some of it was done.
pub(crate) const PARTLY: u8 = 3;
/// Data is damaged.
pub(crate) const DAMAGED: u8 = 20;
/// An objective is breached.
pub(crate) const BREACHED: u8 = 21;
/// Stopped by a person or a signal.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ended without its answer.
#[derive(Debug)]
pub struct Failure {
    /// What is shown.
    pub note: Box<ErrorNote>,
    /// Text that was made elsewhere and is shown instead (configuration errors with their lines).
    pub rendered: Option<String>,
    /// What is added to the JSON document.
    pub details: Option<serde_json::Value>,
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { note: Box::new(ErrorNote::of(&error)), rendered: None, details: None }
    }
}

impl Failure {
    /// Makes a failure of a kind with a hint.
    pub fn new(kind: Kind, error: impl Into<String>, hint: impl Into<String>) -> Self {
        let note = ErrorNote { error: error.into(), causes: Vec::new(), hint: Some(hint.into()), kind };
        Self { note: Box::new(note), rendered: None, details: None }
    }

    /// Makes a failure of a wrong configuration: it shows every finding with its line.
    ///
    /// File names are shown relative to `folder`.
    pub fn of_config(error: ConfigError, folder: &Path) -> Self {
        let (rendered, details) = (error.render(folder), error.document());
        Self { rendered: Some(rendered), details: Some(details), ..Self::from(error) }
    }

    /// Returns the exit code.
    pub fn code(&self) -> u8 {
        code(self.note.kind)
    }
}

/// Returns the exit code of a kind of error.
pub(crate) fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Input | Kind::Config => 2,
        Kind::NotFound | Kind::Conflict | Kind::Unavailable => FAILED,
        Kind::NoRepository => 10,
        Kind::Locked => 11,
        Kind::WrongKey => 12,
        Kind::Corrupt => DAMAGED,
        Kind::Interrupted => INTERRUPTED,
        Kind::Bug => 255,
    }
}

/// Renders an error for people: `error:`, `cause:` for each source, `hint:`.
pub(crate) fn render(note: &ErrorNote) -> String {
    let mut text = format!("error: {}\n", note.error);
    for cause in &note.causes {
        text.push_str(&format!("cause: {cause}\n"));
    }
    if let Some(hint) = &note.hint {
        text.push_str(&format!("hint:  {hint}\n"));
    }
    text
}

/// Turns a code into what `main` returns.
pub(crate) fn exit_code(code: u8) -> ExitCode {
    ExitCode::from(code)
}
