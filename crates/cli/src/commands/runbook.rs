//! `muster runbook`: what a runbook or a recovery document tells people to do. Nothing is executed here.
//!
//! A file comes in; its steps leave, or drafts of files. Faults of a runbook are shown with their lines, all at once.

mod import;
mod render;
pub(crate) mod show;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use muster_plan::{
    document::{self, Document, DocumentError},
    runbook::RunbookError,
};
use muster_types::Kind;

use crate::{
    answer::Answer,
    args::{Global, RunbookCommand},
    config::{ConfigError, Finding, Place},
    exit::Failure,
};

pub(super) fn run(global: &Global, command: &RunbookCommand) -> Result<Answer, Failure> {
    match command {
        RunbookCommand::Import { file, into, dry_run } => {
            import::run(global, file, into.as_deref(), *dry_run)
        }
        RunbookCommand::Render { file, form } => render::run(global, file, *form),
        RunbookCommand::Show { file, section } => show::run(file, section.as_deref()),
    }
}

/// Reads a file, but not more of it than a document may have.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |kind, error: String, hint: &str| Failure::new(kind, error, hint);
    if path.is_dir() {
        let error = format!("{} is a folder", path.display());
        return Err(fail(Kind::Input, error, "name a file in it"));
    }
    let mut bytes = Vec::new();
    let limit = document::BYTES_MAX as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(fail(
            Kind::NotFound,
            format!("there is no file {}", path.display()),
            "look at the name with `ls`",
        )),
        Err(error) => {
            let mut failure = fail(
                Kind::Unavailable,
                format!("{} cannot be read", path.display()),
                "look at its permissions",
            );
            failure.note.causes.push(error.to_string());
            Err(failure)
        }
    }
}

/// Reads a document.
pub(crate) fn document(path: &Path, bytes: &[u8]) -> Result<Document, Failure> {
    document::read(bytes).map_err(|error| {
        let place = match &error {
            DocumentError::NotText { line, column } => format!("{}:{line}:{column}", path.display()),
            _ => path.display().to_string(),
        };
        let what = match &error {
            DocumentError::NotText { .. } => "this is not text".to_owned(),
            // Only the beginning was read: its size is not known.
            DocumentError::TooLarge { .. } => "the document has more than 4 MiB".to_owned(),
            other => other.to_string(),
        };
        Failure::new(
            Kind::Input,
            format!("{place}: {what}"),
            "a document is a Markdown file in UTF-8: look at what the path names",
        )
    })
}

/// Shows the faults of a runbook with their lines, as those of a configuration are shown.
pub(crate) fn failure(path: &Path, bytes: &[u8], error: &RunbookError) -> Failure {
    let findings = findings(path, bytes, error);
    Failure::of_config(ConfigError { findings }, &std::env::current_dir().unwrap_or_default())
}

/// Makes findings of faults.
pub(crate) fn findings(path: &Path, bytes: &[u8], error: &RunbookError) -> Vec<Finding> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    error
        .faults
        .iter()
        .map(|fault| {
            let source = fault.line.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or_default();
            Finding::error(fault.message.clone())
                .at(Place {
                    file: PathBuf::from(path),
                    line: fault.line,
                    column: fault.column,
                    text: fault.text.clone(),
                    source: source.chars().take(400).collect(),
                })
                .hint(fault.hint.clone())
        })
        .collect()
}
