//! The step that undoes another one, found by that one's id; the same way through the runbooks as for the next step.
//!
//! An id and what is known come in; a step leaves, templates filled in, or why it cannot be made. It may refer to all that
//! its own step could, and to what that one has printed. It never asks anybody.

use std::collections::BTreeMap;

use muster_types::{
    Kind,
    event::ErrorNote,
    script::{Filled, Known, Next, UNDO},
};

use super::{
    DEPTH_MAX, Level, Walk, deeds,
    fill::{self, Scope, Unfilled},
    key_of, with_phase,
};
use crate::runbook::{Action, Item, Native, Step};

impl Walk {
    pub(super) fn undo_in(
        &self,
        level: &Level<'_>,
        section: Option<&str>,
        id: &str,
        known: &Known,
    ) -> Option<Next> {
        let book = self.books.get(level.file)?;
        with_phase(book, section).into_iter().find_map(|(phase, items)| {
            let phase = level.phase.clone().unwrap_or(phase);
            items.iter().find_map(|item| match item {
                Item::Step(step) => self.undo_of(level, &phase, step, id, known),
                Item::Prose { .. } => None,
            })
        })
    }

    fn undo_of(&self, level: &Level<'_>, phase: &str, step: &Step, id: &str, known: &Known) -> Option<Next> {
        let scope = self.scope(level, step, known);
        if scope.id == id {
            return Some(self.made_undo(level, phase, step.undo.as_deref()?, &scope));
        }
        let Action::Native(native) = &step.action else { return None };
        if let Native::Run { runbook, section, with } = native {
            if level.depth >= DEPTH_MAX || !id.starts_with(&format!("{}/", scope.id)) {
                return None;
            }
            let given: BTreeMap<String, Filled> = with
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), fill::fill(value, &scope).ok()?)))
                .collect();
            let inner = Level {
                file: &key_of(level.file, runbook),
                prefix: format!("{}/", scope.id),
                given,
                phase: Some(phase.to_owned()),
                depth: level.depth + 1,
                evidence: Vec::new(),
            };
            return self.undo_in(&inner, section.as_deref(), id, known);
        }
        native.inner().into_iter().find_map(|inner| self.undo_of(level, phase, inner, id, known))
    }

    fn made_undo(&self, level: &Level<'_>, phase: &str, undo: &Step, scope: &Scope<'_>) -> Next {
        let mut made = self.frame(level, phase, undo, &format!("{}{UNDO}", scope.id));
        let never = |why: Unfilled| match why {
            Unfilled::Never(error) => error,
            Unfilled::First { title: question, .. } | Unfilled::Ask { question, .. } => Box::new(ErrorNote {
                error: format!("an undo cannot ask: {question}"),
                causes: Vec::new(),
                hint: None,
                kind: Kind::Config,
            }),
        };
        let deed = deeds::deed(undo, scope, &self.platform);
        let probe = undo.probe.as_deref().map(|probe| fill::fill(probe, scope)).transpose();
        match (deed, probe) {
            (Ok(deed), Ok(probe)) => {
                made.deed = deed;
                made.probe = probe;
                Next::Step(Box::new(made))
            }
            (Err(why), _) | (_, Err(why)) => Next::Impossible { step: Box::new(made), error: never(why) },
        }
    }

    /// What would undo a step, for people; as it is written where it depends on what is not known yet.
    pub(super) fn undo_lines(&self, step: &Step, scope: &Scope<'_>) -> Vec<String> {
        let Some(undo) = step.undo.as_deref() else { return Vec::new() };
        let lines = match deeds::deed(undo, scope, &self.platform) {
            Ok(deed) => deed.lines(),
            Err(_) => match undo.texts().first() {
                Some(text) => text.lines().map(str::to_owned).collect(),
                None => vec![undo.title.clone()],
            },
        };
        if lines.is_empty() { vec![undo.title.clone()] } else { lines }
    }
}
