//! Answers the checks `reach` and `objective`: the same survey and the same judgement as `muster reach` and `muster status`.
//!
//! The options of the command come in; whoever looks at checks gets a [`RecoverySource`]. Each question opens repository
//! and journal anew, so that a wait sees what has changed; nothing is changed and no lock is taken.
//!
//! It has no judgement of its own. Read next: `muster_plan::reach`, `muster_plan::status`.

use std::sync::Arc;

use muster_engine::{EngineError, fold, survey, world::World};
use muster_plan::{
    RecoveryTarget,
    reach::way,
    status::{MeasuredRecovery, rows},
};
use muster_types::{
    Span, Timestamp,
    check::{Recoverability, RecoverySeen, RecoverySource},
    config::{Check, Platform},
    event::ErrorNote,
    facts::Facts,
    objective::{Basis, CopyRow, ObjectiveRow, Verdict},
};
use serde_json::json;

use crate::{
    app::{self, Intent},
    args::Global,
    commands::copy,
    exit::Failure,
};

/// Gives each check that asks for it the one who knows.
pub(crate) fn give(platform: &mut Platform, global: &Global) {
    let asks = |check: &Check| check.reach.is_some() || check.objective.is_some();
    if !platform.checks.values().any(asks) {
        return;
    }
    let source = RecoverySource(Arc::new(Known { global: global.clone() }));
    for check in platform.checks.values_mut().filter(|check| asks(check)) {
        check.recovery = Some(source.clone());
    }
}

/// Judges every objective, with the recoveries that the journal knows.
pub(crate) fn objective_rows(world: &World, facts: &Facts) -> Result<Vec<ObjectiveRow>, EngineError> {
    let recoveries: Vec<MeasuredRecovery> = fold::recoveries(&world.journal.events()?)
        .into_iter()
        .filter_map(|(component, _, at, row)| {
            let basis = row.basis.unwrap_or(Basis::Incident);
            row.measured_seconds.map(|seconds| MeasuredRecovery { component, at, seconds, basis })
        })
        .collect();
    Ok(rows(&world.platform, facts, &recoveries))
}

struct Known {
    global: Global,
}

impl Known {
    fn world(&self) -> Result<World, String> {
        let open = || app::open_world_with_copies(app::load(&self.global, Intent::Read)?, None);
        open().map_err(|failure| told(&failure.note))
    }
}

impl Recoverability for Known {
    fn reach(
        &self,
        component: &str,
        at: Option<Timestamp>,
        within: Option<Span>,
    ) -> Result<RecoverySeen, String> {
        let world = self.world()?;
        let names = [component.to_owned()];
        let facts = survey::survey(&world, &names).map_err(|error| told(&ErrorNote::of(&error)))?;
        let target = at.map_or(RecoveryTarget::Latest, RecoveryTarget::Before);
        let (state_at, backup, has_log, missing) = match way(&facts, component, &target, None) {
            Ok(way) => {
                let backup = Some(way.backup.id.short().to_owned());
                (Some(way.state_at), backup, way.replay.is_some(), None)
            }
            Err(error) => (None, None, false, Some(error.to_string())),
        };
        let wanted = at.unwrap_or(facts.now);
        let lag = state_at.map(|state| wanted.duration_since(state).as_secs_f64().max(0.0));
        let too_old = within.zip(lag).zip(state_at).filter(|((within, lag), _)| *lag > within.seconds());
        let missing = missing.or_else(|| {
            too_old.map(|((within, _), state)| {
                format!("the newest state is of {state}, and at most {within} before {wanted} is wanted")
            })
        });
        let body = json!({
            "component": component,
            "reached": missing.is_none(),
            "missing": missing.as_deref().unwrap_or("none"),
            "state_at": state_at,
            "lag_seconds": lag,
            "backup": backup,
            "has_log": has_log,
        });
        Ok(RecoverySeen { body, state_at })
    }

    fn objectives(&self, component: Option<&str>) -> Result<RecoverySeen, String> {
        let world = self.world()?;
        let find = || -> Result<(Vec<ObjectiveRow>, Vec<CopyRow>), Failure> {
            let names = app::component_names(&world, component.map(str::to_owned).as_slice())?;
            let facts = survey::survey(&world, &names)?;
            let mut rows = objective_rows(&world, &facts)?;
            rows.retain(|row| component.is_none_or(|name| row.component == name));
            let copies = match component {
                None => copy::rows(&world, &facts, &copy::seen(&world)),
                Some(_) => Vec::new(),
            };
            Ok((rows, copies))
        };
        let (rows, copies) = find().map_err(|failure| told(&failure.note))?;
        let verdicts: Vec<(String, Verdict)> = rows
            .iter()
            .map(|row| (format!("{} of {}", row.objective, row.component), row.verdict))
            .chain(copies.iter().map(|row| (format!("RPO of the copy {}", row.name), row.verdict)))
            .filter(|(_, verdict)| *verdict != Verdict::NotApplicable)
            .collect();
        if verdicts.is_empty() {
            return Err("there is no objective to be met".into());
        }
        let verdict = [Verdict::Breached, Verdict::Unproven]
            .into_iter()
            .find(|one| verdicts.iter().any(|(_, verdict)| verdict == one))
            .unwrap_or(Verdict::Met);
        let not_met: Vec<String> = verdicts
            .iter()
            .filter(|(_, verdict)| *verdict != Verdict::Met)
            .map(|(what, verdict)| format!("{what} {verdict}"))
            .collect();
        let body = json!({
            "verdict": verdict,
            "not_met": if not_met.is_empty() { "none".to_owned() } else { not_met.join(", ") },
            "objectives": rows,
            "copies": copies,
        });
        Ok(RecoverySeen { body, state_at: None })
    }
}

/// An error in one line.
fn told(note: &ErrorNote) -> String {
    let causes: String = note.causes.iter().map(|cause| format!(": {cause}")).collect();
    format!("{}{causes}", note.error)
}
