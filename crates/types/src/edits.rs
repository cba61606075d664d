//! What a restore has replaced in restored files, for people and for the journal.
//!
//! Made by the engine before the restored files go in place. The diff holds changed lines alone and is masked where it
//! is made. This module never reads a file.

use crate::text::counted;
use serde::{Deserialize, Serialize};

/// What was, or would be, replaced in the restored files of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesEdited {
    /// The component.
    pub component: String,
    /// Files that change.
    pub files: u64,
    /// Places that change, in all of them.
    pub places: u64,
    /// A unified diff without neighbouring lines, secrets masked.
    pub diff: String,
}

impl FilesEdited {
    /// Says for people how much changes: `5 places in 1 file`.
    pub fn amount(&self) -> String {
        let count = |number: u64, what: &str| counted(usize::try_from(number).unwrap_or(usize::MAX), what);
        format!("{} in {}", count(self.places, "place"), count(self.files, "file"))
    }
}
