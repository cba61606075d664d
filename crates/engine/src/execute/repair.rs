//! The steps that mend a running server, and those that set rows aside and put them back.
//!
//! What was found before and what was kept is journaled before the first statement. A quarantine is one transaction in the
//! server, and the schema that keeps the rows is made by it; so a process that comes after a crash asks the server.
//!
//! It never decides what is mended or which rows. Read next: `actions.rs`, `postgres/repair.rs` of the drivers.

use muster_drivers::{
    DriverError,
    repair::{Repairs, no_repairs},
};
use muster_types::{
    Kind,
    event::What,
    plan::Action,
    quarantine::QuarantineDone,
    repair::{DamageFound, RepairEvent},
    rescue::shown,
    text::counted,
};

use super::{Executor, StepEffect};
use crate::EngineError;

impl Executor<'_> {
    pub(super) fn repair(&self, action: &Action) -> Result<StepEffect, EngineError> {
        match action {
            Action::FindDamage { component, scope, is_after } => {
                let mut found = self.repairs(component)?.find_damage(Some(scope), None, self.observer)?;
                component.clone_into(&mut found.component);
                self.looked(component, found, *is_after)
            }
            Action::KeepDefinitions { component, indexes, file } => {
                let kept = self.repairs(component)?.keep_definitions(indexes, file, self.observer)?;
                let rows: u64 = kept.tables.iter().map(|one| one.rows).sum();
                let summary = format!(
                    "{} of {} read, every value; definitions in {}",
                    counted(usize::try_from(rows).unwrap_or(usize::MAX), "row"),
                    counted(kept.tables.len(), "table"),
                    kept.file.display()
                );
                Ok(effect(summary, What::Repair { what: Box::new(RepairEvent::Kept { kept }) }))
            }
            Action::Mend { component, mending } => {
                let told = self.repairs(component)?.mend(mending, self.observer)?;
                Ok(super::actions::told(component, told))
            }
            Action::Quarantine { component, schema, marks, reason } => {
                let repairs = self.repairs(component)?;
                let done = repairs.quarantine(schema, marks, reason.as_deref(), self.observer)?;
                Ok(quarantined(component, done))
            }
            Action::EndQuarantine { component, schema } => {
                let done = self.repairs(component)?.end_quarantine(schema, self.observer)?;
                Ok(quarantined(component, done))
            }
            other => Err(super::actions::not_here(other)),
        }
    }

    fn repairs(&self, component: &str) -> Result<&dyn Repairs, EngineError> {
        Ok(self.world.component(component)?.repairs().ok_or_else(|| no_repairs(component))?)
    }

    fn looked(&self, component: &str, found: DamageFound, is_after: bool) -> Result<StepEffect, EngineError> {
        let findings = found.findings.iter().filter(|one| one.kind.is_damage());
        let findings: Vec<String> =
            findings.map(|one| format!("{}: {}", shown(&one.object), one.what)).collect();
        let looked = format!(
            "{} {} and {} compared with amcheck",
            found.indexes,
            if found.indexes == 1 { "index" } else { "indexes" },
            counted(usize::try_from(found.tables).unwrap_or(usize::MAX), "table")
        );
        let warnings = found.left_out.iter().filter(|_| is_after);
        let mut events: Vec<What> = warnings
            .map(|line| What::Warning { message: format!("{component}: not compared: {line}") })
            .collect();
        let what = if is_after { RepairEvent::After { found } } else { RepairEvent::Before { found } };
        events.push(What::Repair { what: Box::new(what) });
        if is_after && !findings.is_empty() {
            for event in events {
                self.emit(event)?;
            }
            let message = format!("still damaged after the repair: {}", findings.join("; "));
            return Err(DriverError::new(Kind::Corrupt, message)
                .with_hint(format!(
                    "take the table from a backup: `muster restore {component} --table TABLE --to TIME`"
                ))
                .into());
        }
        let summary = match (findings.is_empty(), is_after) {
            (true, _) => format!("{looked}: clean"),
            (false, _) => format!("{looked}: {}", counted(findings.len(), "finding")),
        };
        Ok(StepEffect { summary: Some(summary), events })
    }
}

fn effect(summary: String, event: What) -> StepEffect {
    StepEffect { summary: Some(summary), events: vec![event] }
}

fn quarantined(component: &str, mut done: QuarantineDone) -> StepEffect {
    component.clone_into(&mut done.component);
    let word = if done.is_return { "put back in" } else { "set aside in" };
    let one: Vec<String> =
        done.marks.iter().map(|mark| format!("{} {word} {}", mark.rows, shown(&mark.table))).collect();
    let left: u64 = done.marks.iter().map(|mark| mark.left_rows).sum();
    let mut summary = one.join(", ");
    if summary.is_empty() {
        summary = "an earlier process had put everything back".into();
    }
    let mut events = Vec::new();
    if left > 0 {
        let rows = counted(usize::try_from(left).unwrap_or(usize::MAX), "row");
        summary.push_str(&format!("; {rows} left as they are"));
        let message = format!(
            "{component}: {rows} left as they are, because they were changed since; as they were before they stay in the schema {}",
            done.schema
        );
        events.push(What::Warning { message });
    }
    events.push(What::Quarantined { done: Box::new(done) });
    StepEffect { summary: Some(summary), events }
}
