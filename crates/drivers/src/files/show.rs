//! Writes paths for people: one line each, whatever bytes are in them.

use std::path::{Path, PathBuf};

/// Writes a path for people on one line, whatever bytes are in it.
pub(crate) fn show(path: &Path) -> String {
    let text = path.display().to_string();
    if !text.chars().any(char::is_control) {
        return text;
    }
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// Writes several paths for people.
pub(crate) fn show_all(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| show(path)).collect::<Vec<_>>().join(", ")
}
