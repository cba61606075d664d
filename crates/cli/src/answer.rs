//! The answer of a command: one document, shown as text or as JSON on stdout.

use std::io::{self, Write};

use serde_json::Value;

/// The answer of a command.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The exit code.
    pub code: u8,
    /// For people.
    pub text: String,
    /// What failed, for people: it goes to stderr, whatever stdout shows.
    pub errors: String,
    /// The same, as JSON (`docs/json.md`).
    pub document: Value,
}

impl Answer {
    /// Makes an answer with exit code 0.
    pub(crate) fn new(text: impl Into<String>, document: Value) -> Self {
        Self { code: crate::exit::DONE, text: text.into(), errors: String::new(), document }
    }

    /// Makes the answer of a command that has said everything while it ran: nothing is printed at its end.
    pub(crate) fn said() -> Self {
        Self::new("", Value::Null)
    }

    /// Gives it another exit code.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

/// Prints text on stdout. A reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| {
        if text.is_empty() || text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") }
    });
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
