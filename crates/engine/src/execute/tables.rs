//! The steps that replace tables, and put back what was replaced.
//!
//! Each is one transaction in the server, and the place that keeps what stood there is made by it. So a process that
//! comes after a crash asks the server whether that place is there, and knows whether the transaction was committed.
//!
//! It never decides which tables. Read next: `actions.rs`, and `postgres/tables.rs` of the drivers.

use muster_drivers::tables::{TableRestore, TableReturn};
use muster_types::{
    Timestamp,
    backup::RunId,
    event::What,
    plan::{Action, Holder, KeptData, SwapMove},
    rescue::shown,
    tables::{TableDone, TableWay, TablesDone},
    text::counted,
};

use super::{Executor, StepEffect};
use crate::{EngineError, fold};

impl Executor<'_> {
    pub(super) fn tables(&self, action: &Action) -> Result<StepEffect, EngineError> {
        let Some((component, kept)) = keeps(self.run, action, self.world.clock.now()) else {
            return Ok(StepEffect::default());
        };
        let driver = self.world.component(component)?;
        let (mut events, done) = match action {
            Action::ReplaceTables { places, tables, kept, .. } => {
                let asked = TableRestore { places, tables, kept };
                (Vec::new(), driver.restore_tables(&asked, self.observer)?)
            }
            Action::ReturnTables { component, run, from, kept, .. } => {
                let done = driver.return_tables(&TableReturn { from, kept }, self.observer)?;
                let (kept_by, component) = (run.clone(), component.clone());
                (vec![What::KeptDataReleased { kept_by, component }], done)
            }
            _ => return Ok(StepEffect::default()),
        };
        let told = |line: &String| What::Warning { message: format!("{component}: {line}") };
        events.extend(done.left_out.iter().map(told));
        // The sweep may have found it after a crash.
        let known = fold::kept(&self.world.journal.events()?);
        if !known.iter().any(|one| one.run == kept.run && one.component == kept.component) {
            events.push(What::DataKept { kept });
        }
        let summary = summary(&done);
        events.push(What::TablesReplaced { done: Box::new(done) });
        Ok(StepEffect { summary: Some(summary), events })
    }
}

fn summary(done: &TablesDone) -> String {
    let one = |TableDone { table, way, rows_before, rows, .. }: &TableDone| match way {
        TableWay::Replaced => format!("{} {rows} rows (had {rows_before})", shown(table)),
        TableWay::Made => format!("{} made, {rows} rows", shown(table)),
        TableWay::MovedAside => format!("{} moved aside", shown(table)),
    };
    let tables: Vec<String> = done.tables.iter().map(one).collect();
    format!("{}; {} unchanged by hash", tables.join(", "), counted(done.others.len(), "other table"))
}

/// Returns the component and what such a step keeps; `None` for every other step.
pub(crate) fn keeps<'a>(run: &RunId, action: &'a Action, now: Timestamp) -> Option<(&'a str, KeptData)> {
    let (Action::ReplaceTables { component, target, kept, .. }
    | Action::ReturnTables { component, target, kept, .. }) = action
    else {
        return None;
    };
    let moves = vec![SwapMove { from: kept.clone(), target: target.clone(), kept: kept.clone() }];
    let data = KeptData {
        run: run.clone(),
        component: component.clone(),
        holder: Holder::Server,
        moves,
        at: now,
        holds_more: false,
    };
    Some((component, data))
}
