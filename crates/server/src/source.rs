//! Where documents come from: the seam between what shows and what knows.
//!
//! `cli` implements [`Source`] with the functions behind its own commands, so that an answer of the API is what the
//! command prints with `--json`. Nothing here says how a document is made, and the server never looks past it.

use muster_types::event::ErrorNote;
use serde_json::Value;

/// A document that may take long to make: a repository, servers or the platform are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// How each objective stands: `muster status`.
    Status,
    /// What is observed: `muster check`.
    Checks,
    /// The backups: `muster list`.
    Backups,
}

/// A document that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// What `--json` prints.
    pub document: Value,
    /// What `--metrics` prints; empty where the topic has none.
    pub metrics: String,
}

/// Gives documents. It is asked by several threads at once, but for one topic by one at a time.
///
/// No document holds a secret: the source masks what it gives.
pub trait Source: Send + Sync {
    /// Makes a document anew. It may take as long as it has to: nobody who waits is held up by it for more than moments.
    ///
    /// # Errors
    /// What the command would print. `NotFound` where the configuration has nothing of it.
    fn make(&self, topic: Topic) -> Result<Made, Box<ErrorNote>>;

    /// Returns what was run, newest first, at most `limit`: `muster runs`. Quick, however many there are.
    ///
    /// # Errors
    /// What the command would print.
    fn runs(&self, limit: usize) -> Result<Value, Box<ErrorNote>>;

    /// Returns one run: `muster show RUN`. Quick.
    ///
    /// # Errors
    /// `NotFound`; what the command would print.
    fn run(&self, id: &str) -> Result<Value, Box<ErrorNote>>;

    /// Sums documents up in the shape of a Statuspage: the worst of objectives, copies and checks.
    ///
    /// # Errors
    /// When they cannot be read.
    fn summary(&self, status: &Value, checks: Option<&Value>) -> Result<Value, Box<ErrorNote>>;

    /// Returns something that changes with each entry of the journal. Quick.
    ///
    /// # Errors
    /// When the journal cannot be read.
    fn mark(&self) -> Result<i64, Box<ErrorNote>>;
}
