//! The two steps of a rescue that know rows: find what is missing, and insert it once.
//!
//! What was found is journaled before anything is inserted, and the number of the transaction before it is committed.
//! So a later process asks the server what became of that transaction, and never inserts a row a second time.
//!
//! It never decides which rows. Read next: `actions.rs`, and `postgres/rescue.rs` of the drivers.

use muster_drivers::{
    DriverError,
    rescue::{Inserted, RowInsertion, RowSearch},
};
use muster_types::{
    event::{Event, What},
    plan::Action,
    report::StepState,
    rescue::{MissingRows, RowsFound, TriggerUse, shown},
    text::counted,
};

use super::{Executor, StepEffect};
use crate::{EngineError, fold::RunRecord};

impl Executor<'_> {
    pub(super) fn find_rows(
        &self,
        component: &str,
        search: &RowSearch<'_>,
    ) -> Result<StepEffect, EngineError> {
        let driver = self.world.component(component)?;
        let mut found = driver.find_rows(search, self.observer)?;
        component.clone_into(&mut found.component);
        let summary = format!(
            "{} deleted since, {} changed since, {} new; {} to insert",
            counted(usize::try_from(found.deleted).unwrap_or(usize::MAX), "row"),
            found.changed,
            found.new,
            found.rows()
        );
        let mut events: Vec<What> = found
            .left_out
            .iter()
            .map(|line| What::Warning { message: format!("{component}: {line}") })
            .collect();
        events.push(What::RowsFound { found: Box::new(found) });
        Ok(StepEffect { summary: Some(summary), events })
    }

    pub(super) fn insert_rows(
        &self,
        component: &str,
        triggers: TriggerUse,
    ) -> Result<StepEffect, EngineError> {
        let events = self.world.journal.events()?;
        let own: Vec<&Event> = events.iter().filter(|event| event.run == *self.run).collect();
        let found = own.iter().rev().find_map(|event| match &event.what {
            What::RowsFound { found } if found.component == component => Some(found.as_ref()),
            _ => None,
        });
        let Some(found) = found else { return Err(EngineError::NoRowsFound(component.to_owned())) };
        if found.rows() == 0 {
            return Ok(StepEffect { summary: Some("nothing is missing".into()), events: Vec::new() });
        }
        // What was about to be committed before these rows were found was something else.
        let since = own.iter().rev().take_while(|event| !matches!(event.what, What::RowsFound { .. }));
        let earlier = since.into_iter().find_map(|event| match &event.what {
            What::CommitIntent { transaction, .. } => Some(transaction.as_str()),
            _ => None,
        });
        let about_to_commit = |transaction: &str| {
            let (component, transaction) = (component.to_owned(), transaction.to_owned());
            self.emit(What::CommitIntent { component, transaction }).map_err(|error| DriverError::of(&error))
        };
        let insertion = RowInsertion { found, triggers, earlier, about_to_commit: &about_to_commit };
        let inserted = self.world.component(component)?.insert_rows(&insertion, self.observer)?;
        let summary = match inserted {
            Inserted::Now => told(found),
            Inserted::Before => format!("{}: an earlier process had committed it", told(found)),
        };
        let events = vec![What::RowsInserted { component: component.to_owned() }];
        Ok(StepEffect { summary: Some(summary), events })
    }
}

fn told(found: &RowsFound) -> String {
    let one = |MissingRows { table, rows, .. }: &MissingRows| format!("{rows} into {}", shown(table));
    found.missing.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Tells whether an earlier attempt has found the rows and they are still kept.
pub(super) fn is_found(record: &RunRecord) -> bool {
    let is_done = |step: &muster_types::plan::Step, state: StepState| {
        matches!(step.action, Action::FindRows { .. }) && state == StepState::Done
    };
    let steps = record.plan.steps.iter().zip(&record.report.steps);
    let kept = record.report.rescue.as_ref().is_some_and(|rescue| {
        // Where nothing was missing, there is no file.
        rescue.found.rows() == 0 || rescue.found.file.is_file()
    });
    kept && steps.into_iter().any(|(step, told)| is_done(step, told.state))
}
