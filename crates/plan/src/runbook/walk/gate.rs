//! Evidence first, while a runbook runs: what would end something is refused until every export has happened.
//!
//! A step and what is known come in; a refusal leaves, or nothing. An export that a person has skipped has not happened.
//! It never looks at files: an export that wrote none has failed, and is not among the finished steps.

use muster_types::{Kind, event::ErrorNote, script::Known};

use super::{Level, Walk};
use crate::runbook::{Step, evidence};

impl Walk {
    /// Adds what the runbook of this level wants exported to what those above it want.
    pub(super) fn with_gate<'a>(&self, mut level: Level<'a>) -> Level<'a> {
        if let Some(book) = self.books.get(level.file).filter(|book| book.front.needs_evidence) {
            let own = evidence::wanted(book).into_iter().map(|name| format!("{}{name}", level.prefix));
            level.evidence.extend(own);
        }
        level
    }
}

pub(super) fn refusal(level: &Level<'_>, step: &Step, known: &Known) -> Option<Box<ErrorNote>> {
    let missing: Vec<&str> = level
        .evidence
        .iter()
        .filter(|id| known.steps.get(*id).is_none_or(|step| step.is_skipped))
        .map(String::as_str)
        .collect();
    if missing.is_empty() || !evidence::ends_workload(step) {
        return None;
    }
    Some(Box::new(ErrorNote {
        error: format!(
            "refused: this ends something before this evidence was exported: {}",
            missing.join(", ")
        ),
        causes: Vec::new(),
        hint: Some(
            "in a security incident evidence comes first: run it again without skipping the export".into(),
        ),
        kind: Kind::Conflict,
    }))
}
