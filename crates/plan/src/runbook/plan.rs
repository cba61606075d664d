//! The plan of a runbook's run: its text, its targets, and no steps. They are decided one after the other.
//!
//! A source and the runbook that it loads to come in; a [`Plan`] leaves. It never reads a clock.

use muster_types::{
    Timestamp,
    objective::{Basis, ObjectiveKind, ObjectiveRow, Verdict},
    plan::{Mode, Plan, Verb},
    script::ScriptSource,
};

use super::Walk;

/// What a run rests on besides the runbook.
#[derive(Debug, Clone, Copy)]
pub struct RunScope<'a> {
    /// The platform.
    pub platform: &'a str,
    /// The environment.
    pub environment: &'a str,
    /// Real or rehearsal.
    pub mode: Mode,
    /// The time of asking, UTC.
    pub now: Timestamp,
    /// When the failure began; the RTO clock runs from here.
    pub failed_at: Option<Timestamp>,
}

/// Makes the plan of a runbook's run.
pub fn plan(walk: &Walk, mut source: ScriptSource, scope: &RunScope<'_>) -> Plan {
    let mut objectives = Vec::new();
    if let Some(book) = walk.runbook() {
        source.title.clone_from(&book.front.title);
        source.version.clone_from(&book.front.version);
        source.expected_seconds = book.front.expected.map(muster_types::Span::seconds);
        let basis = if scope.mode == Mode::Drill { Basis::Drill } else { Basis::Incident };
        objectives.extend(book.front.rto.map(|rto| ObjectiveRow {
            component: book.front.title.clone(),
            class: None,
            objective: ObjectiveKind::Rto,
            target_seconds: Some(rto.seconds()),
            measured_seconds: None,
            verdict: Verdict::Unproven,
            basis: Some(basis),
        }));
    }
    source.phases = walk.phases();
    Plan {
        verb: Verb::Run,
        mode: scope.mode,
        platform: scope.platform.to_owned(),
        environment: scope.environment.to_owned(),
        surveyed_at: scope.now,
        steps: Vec::new(),
        notes: Vec::new(),
        failed_at: scope.failed_at,
        objectives,
        point: None,
        script: Some(Box::new(source)),
        from: None,
    }
}
