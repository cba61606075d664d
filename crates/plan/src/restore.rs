//! The plan of `muster restore`: bring components back, so that at every moment either the old or the new state is
//! whole, and nothing that a person may still need is gone.
//!
//! The order is the safety:
//! 1. room is checked before the first byte is written;
//! 2. writers are stopped before the safety copy, so that it holds their last words;
//! 3. the safety copy comes before anything is moved, and takes the files as they lie, so it works on a damaged database;
//! 4. the backup is written beside its target and verified there, so that a bad backup changes nothing;
//!    on request this comes before 2 (`--side-by-side`): the outage is as short as a copy and a rename, and what is written
//!    meanwhile is only in the safety copy;
//! 5. the swap is a rename and comes last; the old state is kept beside for its grace time;
//!    a dump is loaded into the running server beside the present database, and that is what is verified and renamed;
//! 6. services start, and checks say whether the platform works. Only then is the clock stopped.
//!
//! It never reads anything: facts come from the survey. Read next: `restore/layout.rs` for where things go.

mod anew;
mod commands;
mod edits;
mod fill;
mod layout;
mod room;
mod takeover;

use std::path::PathBuf;

use muster_types::{
    Span, Timestamp,
    backup::{Backup, Method},
    config::{Component, Service},
    facts::{ComponentFacts, Facts},
    objective::{Basis, ObjectiveKind, ObjectiveRow, Verdict, judge},
    plan::{Action, KeptData, Mode, Plan, Step, StepClass, Verb},
    point::Point,
    wal::Replay,
};

pub(crate) use self::layout::{Beside, beside};
pub use self::{anew::plan_anew, edits::Edits, layout::targets_into};
use self::{
    fill::{fill, fill_all},
    layout::Layout,
    room::{room, space},
};
use crate::{
    PlanError, RecoveryTarget,
    objectives::{EffectiveObjective, objectives},
    order::in_order,
    origin::{check_identity, is_dump, is_taken_over, what_becomes_of},
    point::{Together, choose_all},
    reach::{Way, size_bytes},
    scope::{Scope, start_service, step, stop_service},
};

/// Room that must stay free beside what a restore writes.
pub(crate) const SPARE_BYTES: u64 = 16 << 20;
/// How long a smoke check may take to pass after the start.
const CHECK_WITHIN: Span = Span::from_secs(60);
/// The tag of the checks that confirm a recovery.
pub const SMOKE_TAG: &str = "quick";

/// Where the segments of a log lie while they are replayed, in the first place of a backup.
pub(crate) const WAL_FOLDER: &str = "muster-wal";

/// All steps of a restore belong together: after the first failure nothing more is done.
const GROUP: &str = "restore";

/// Where a restore goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into the component's own place, with services stopped and the old state kept.
    InPlace,
    /// Somewhere else; `is_empty` says whether nothing (or an empty folder) stands there.
    Into {
        /// One absolute path per path of the backup, in its order.
        targets: Vec<PathBuf>,
        /// Whether nothing stands at any of them.
        is_empty: bool,
        /// Folders above them that are not there yet.
        absent: Vec<PathBuf>,
    },
}

/// When those who write to a component are stopped for a restore in its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stop {
    /// Before anything is written, so that nothing is lost after the decision to restore.
    #[default]
    First,
    /// When the restored state stands beside and is verified, so that the outage is short.
    Late,
}

/// What a person asks of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreOptions {
    /// To which state.
    pub target: RecoveryTarget,
    /// Where to.
    pub destination: Destination,
    /// What stands at a destination given by `--into` may be moved aside.
    pub replace: bool,
    /// When the failure began that this recovers from, UTC. Default: the time of the survey.
    pub failed_at: Option<Timestamp>,
    /// Along which timeline of a cluster. Default: the one that it was on at the time of the target.
    pub timeline: Option<u32>,
    /// Whether restored files are edited for this host; only in place.
    pub edits: Edits,
    /// When services stop; only in place.
    pub stop: Stop,
}

/// Plans the restore of the components in `facts.components`, all to the same target, as one run.
///
/// With [`Destination::Into`] there is one component. Nothing is swapped before everything is restored and verified,
/// so that services never start on a mixture.
///
/// # Errors
/// As for the way to the target; `OtherIdentity` in place; `TargetNotEmpty` elsewhere; `InUse`; `OtherShape`.
pub fn plan(scope: Scope<'_>, facts: &Facts, options: &RestoreOptions) -> Result<Plan, PlanError> {
    plan_together(scope, facts, options, Together::Apart)
}

/// As [`plan`], with states that fit together.
///
/// # Errors
/// Those of [`plan`]; `GivesUp`: more than an objective allows.
pub fn plan_together(
    scope: Scope<'_>,
    facts: &Facts,
    options: &RestoreOptions,
    together: Together,
) -> Result<Plan, PlanError> {
    let (ways, mut point) = choose_all(scope, facts, &options.target, options.timeline, together)?;
    let pair = |(component, way)| {
        let Way { backup, replay, state_at, note } = way;
        Pair { component, backup, replay, state_at, along: note }
    };
    let pairs: Vec<Pair<'_>> = facts.components.iter().zip(ways).map(pair).collect();
    // Of a server that is only unsealed nothing is replaced, and nothing is lost.
    let is_unsealed = |pair: &Pair<'_>| {
        options.destination == Destination::InPlace && takeover::is_only_unsealed(pair, &options.target)
    };
    let mut notes: Vec<String> = pairs.iter().filter(|pair| !is_unsealed(pair)).map(Pair::note).collect();
    notes.extend(pairs.iter().filter_map(|pair| pair.along.clone()));
    notes.extend(facts.unreadable.iter().map(|line| format!("left out, and maybe newer: {line}")));
    let mut steps = Vec::new();
    match &options.destination {
        Destination::InPlace => {
            in_place(scope, facts, &pairs, options, &mut steps, &mut notes)?;
        }
        Destination::Into { targets, is_empty, absent } => {
            if !is_empty && !options.replace {
                return Err(PlanError::TargetNotEmpty { target: show(targets) });
            }
            for pair in &pairs {
                let layout = pair.layout(scope, targets)?;
                // A dump goes there as files.
                steps.push(space(&pair.component.name, &targets[0], pair.size_bytes()));
                steps.extend(fill(scope, pair, &layout, absent));
                steps.push(swap(pair, layout));
            }
        }
    }
    let mut plan = scope.plan(Verb::Restore, facts, steps);
    if pairs.len() > 1 {
        let unsealed: Vec<&str> =
            pairs.iter().filter(|pair| is_unsealed(pair)).map(|pair| pair.component.name.as_str()).collect();
        point.states.retain(|state| !unsealed.contains(&state.component.as_str()));
        plan.point = Some(Box::new(Point::of(point.moment, point.states)));
    }
    plan.notes = notes;
    plan.notes.extend(pairs.iter().filter(|pair| !is_unsealed(pair)).filter_map(Pair::flaw));
    if options.destination == Destination::InPlace {
        let failed_at = options.failed_at.unwrap_or(facts.now);
        plan.failed_at = Some(failed_at);
        let rows = pairs.iter().flat_map(|pair| {
            let counts = move |row: &ObjectiveRow| row.objective == ObjectiveKind::Rto || !is_unsealed(pair);
            rows(scope, pair, failed_at).into_iter().filter(counts)
        });
        plan.objectives = rows.collect();
        let restored = pairs.iter().filter(|pair| !is_unsealed(pair));
        plan.notes.extend(restored.filter_map(|pair| pair.doubt(facts, failed_at)));
    }
    Ok(plan)
}

/// A component, the backup that it is restored from, and the log that is replayed on it.
struct Pair<'a> {
    component: &'a ComponentFacts,
    backup: &'a Backup,
    replay: Option<Replay>,
    /// The state that this leads to, UTC.
    state_at: Timestamp,
    /// What is to be said of the way there.
    along: Option<String>,
}

impl Pair<'_> {
    /// What is wrong with the backup itself, wherever it goes.
    fn flaw(&self) -> Option<String> {
        let (name, record) = (&self.component.name, &self.backup.record);
        if let Some(damage) = record.damage.first() {
            return Some(format!("the server's own files were damaged when {name} was backed up: {damage}"));
        }
        (record.method == Method::Raw).then(|| {
            format!("{name} comes from a safety copy of whatever lay there: nothing is judged by it")
        })
    }

    /// What a person should know before trusting this choice.
    fn doubt(&self, facts: &Facts, failed_at: Timestamp) -> Option<String> {
        let (name, record) = (&self.component.name, &self.backup.record);
        if self.flaw().is_some() {
            return None;
        }
        if self.state_at > failed_at {
            return Some(format!(
                "the state of {name} that is restored is younger than the failure and may hold the damage: choose an older one with `--to TIME`"
            ));
        }
        (record.identity.host != facts.host)
            .then(|| format!("the backup of {name} was taken on the host {}", record.identity.host))
    }

    /// Bytes that are written, at most.
    fn size_bytes(&self) -> u64 {
        size_bytes(self.backup, self.replay.as_ref())
    }

    fn note(&self) -> String {
        let Backup { id, record, .. } = self.backup;
        if let Some(replay) = &self.replay {
            let timeline = replay.lines.last().map_or(0, |line| line.timeline);
            let way = format!(
                "{} from backup {} of {}, and its log up to {} on timeline {timeline}",
                self.component.name,
                id.short(),
                record.consistent_at,
                replay.until
            );
            // When that was nobody knows before it is replayed.
            return if replay.until.is_a_record() {
                way
            } else {
                format!("{way}, which leads to the state of {}", self.state_at)
            };
        }
        format!(
            "{} from backup {}, which holds the state of {}",
            self.component.name,
            id.short(),
            record.consistent_at
        )
    }
}

fn in_place(
    scope: Scope<'_>,
    facts: &Facts,
    pairs: &[Pair<'_>],
    options: &RestoreOptions,
    steps: &mut Vec<Step>,
    notes: &mut Vec<String>,
) -> Result<(), PlanError> {
    let target = &options.target;
    let services = users(scope, pairs);
    let takeovers = takeover::takeovers(scope, facts, pairs, target)?;
    notes.extend(takeovers.iter().flat_map(|one| one.notes.clone()));
    let is_beside = |pair: &&Pair<'_>| !is_taken_over(pair.backup);
    for Pair { component, backup, .. } in pairs {
        check_identity(scope, facts, component, backup)?;
        if scope.platform.components.get(&component.name).is_some_and(Component::leaves_out) {
            notes.push(format!(
                "what the configuration leaves out of {0} is in no backup: it stays only in the old data beside, which `prune` does not remove",
                component.name
            ));
        }
        if services.is_empty() && !component.open_by.is_empty() {
            let by = component.open_by.join(", ");
            return Err(PlanError::InUse { component: component.name.clone(), by });
        }
    }
    for place in pairs.iter().flat_map(|pair| &pair.component.beside).filter(|place| place.is_absent) {
        notes.push(format!("{} is not there and will be made: is its disk mounted?", place.path.display()));
    }
    steps.extend(room(scope, pairs, target));
    steps.extend(server_checks(pairs));
    let filled = fill_all(scope, pairs, options, notes)?;
    let (early, late) = match options.stop {
        Stop::First => (Vec::new(), filled),
        Stop::Late => (filled, Vec::new()),
    };
    steps.extend(early);
    for (service, _) in services.iter().rev() {
        steps.push(stop_service(GROUP, service));
    }
    steps.extend(takeovers.iter().flat_map(|one| one.before.clone()));
    steps.extend(safety_steps(scope, facts, pairs, notes));
    steps.extend(late);
    for pair in pairs.iter().filter(is_beside) {
        steps.push(swap(pair, pair.layout_in_place(scope)?));
    }
    steps.extend(takeovers.into_iter().flat_map(|one| one.steps));
    steps.extend(services.iter().map(|(service, definition)| start_service(GROUP, service, definition)));
    steps.extend(smoke_checks(scope, GROUP, notes));
    Ok(())
}

/// Nothing has the components open, and what stands there now is kept in the repository.
fn safety_steps(scope: Scope<'_>, facts: &Facts, pairs: &[Pair<'_>], notes: &mut Vec<String>) -> Vec<Step> {
    let mut steps = Vec::new();
    for Pair { component, backup, .. } in pairs.iter().filter(|pair| !is_taken_over(pair.backup)) {
        let name = &component.name;
        if is_dump(backup) {
            notes.push(what_becomes_of(component, backup));
            continue;
        }
        let action = Action::CheckUnused { component: name.clone() };
        let title = format!("check that nothing has {name} open");
        steps.push(step(format!("unused:{name}"), GROUP, StepClass::Observe, title, action));
        if component.is_present {
            steps.push(safety_copy(scope, facts, component));
        } else {
            notes.push(format!("nothing stands at the place of {name}: no safety copy is needed"));
        }
    }
    steps
}

/// Servers that could not take a dump are found before anything is stopped for it.
fn server_checks(pairs: &[Pair<'_>]) -> Vec<Step> {
    let dumps = pairs.iter().filter(|pair| is_dump(pair.backup));
    let checks = dumps.flat_map(|pair| {
        let name = &pair.component.name;
        pair.backup.record.paths.iter().map(move |place| {
            let action = Action::CheckPlace { component: name.clone(), place: place.clone() };
            let title = format!("check that the server can take {name}");
            step(format!("place:{name}"), GROUP, StepClass::Observe, title, action)
        })
    });
    checks.collect()
}

fn safety_copy(scope: Scope<'_>, facts: &Facts, component: &ComponentFacts) -> Step {
    let name = &component.name;
    step(
        format!("safety-copy:{name}"),
        GROUP,
        StepClass::Idempotent,
        format!("keep a safety copy of {name} as it is now"),
        Action::BackUp {
            component: name.clone(),
            identity: scope.identity(facts, component),
            method: Method::Raw,
            label: Some(format!("prerestore-{}", scope.run)),
            pin: false,
            scratch: scope.scratch.join(format!("{name}-safety")),
            files: None,
        },
    )
}

fn swap(pair: &Pair<'_>, layout: Layout) -> Step {
    let name = &pair.component.name;
    step(
        format!("swap:{name}"),
        GROUP,
        StepClass::Destructive,
        format!("put the restored {name} in place, keep the old one beside"),
        Action::Swap { component: name.clone(), holder: layout.holder, moves: layout.moves },
    )
}

/// The checks that confirm that the platform works, for the end of a run.
pub(crate) fn smoke_checks(scope: Scope<'_>, group: &str, notes: &mut Vec<String>) -> Vec<Step> {
    let steps: Vec<Step> = scope
        .platform
        .checks
        .iter()
        .filter(|(_, check)| check.tags.iter().any(|tag| tag == SMOKE_TAG))
        .map(|(name, _)| {
            step(
                format!("check:{name}"),
                group,
                StepClass::Observe,
                format!("check {name}"),
                Action::Check { check: name.clone(), within: CHECK_WITHIN },
            )
        })
        .collect();
    if steps.is_empty() {
        notes.push(format!(
            "no check has the tag `{SMOKE_TAG}`: nothing confirms that the platform works afterwards"
        ));
    }
    steps
}

/// Tells whether kept data stood at a component's own place: not at another's, and not at a `--into`.
pub(crate) fn is_of(facts: &Facts, kept: &KeptData) -> bool {
    let own = facts.components.iter().find(|component| component.name == kept.component);
    own.zip(kept.moves.first()).is_some_and(|(own, one)| own.targets.contains(&one.target))
}

/// Returns the services that write to one of the components, each after those that it depends on.
fn users<'a>(scope: Scope<'a>, pairs: &[Pair<'_>]) -> Vec<(&'a String, &'a Service)> {
    let is_restored = |used: &String| pairs.iter().any(|pair| pair.component.name == *used);
    let used = scope.platform.services.iter().filter(|(_, service)| service.uses.iter().any(is_restored));
    in_order(used.collect())
}

fn rows(scope: Scope<'_>, pair: &Pair<'_>, failed_at: Timestamp) -> Vec<ObjectiveRow> {
    let Pair { component, backup, state_at, .. } = pair;
    // A safety copy holds whatever lay there: that it is back says nothing about working again.
    if backup.record.method == Method::Raw {
        return Vec::new();
    }
    let basis = if scope.mode == Mode::Drill { Basis::Drill } else { Basis::Incident };
    let lost = failed_at.duration_since(*state_at).as_secs_f64();
    // A state from after the failure may hold the damage: nobody knows what is lost.
    let lost = (lost >= 0.0).then_some(lost);
    objectives(scope.platform)
        .into_iter()
        .filter(|objective| objective.component == component.name)
        .map(|EffectiveObjective { component, class, kind, target, .. }| {
            let measured = lost.filter(|_| kind == ObjectiveKind::Rpo);
            ObjectiveRow {
                component,
                class,
                objective: kind,
                target_seconds: target_seconds(target),
                measured_seconds: measured,
                verdict: if kind == ObjectiveKind::Rpo { judge(target, measured) } else { Verdict::Unproven },
                basis: Some(basis),
            }
        })
        .collect()
}

pub(crate) fn target_seconds(target: muster_types::objective::Target) -> Option<f64> {
    match target {
        muster_types::objective::Target::Within(span) => Some(span.seconds()),
        muster_types::objective::Target::NotApplicable => None,
    }
}

fn show(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
