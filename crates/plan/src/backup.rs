//! The plan of `muster backup`: one step per component, each in its own group, so that one failure stops no other.
//!
//! With `plan_together` they make one point in time: see `point.rs` for how such a point is restored. It never asks a
//! server.

use std::path::PathBuf;

use muster_types::{
    backup::Method,
    config::{Component, PostgresMethod, PostgresWal},
    facts::{ComponentFacts, Facts},
    plan::{Action, Plan, Step, StepClass, Verb},
    point::{Means, Point, PointState},
};

use crate::scope::{Scope, step};

/// What a person asks of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// A name for it.
    pub label: Option<String>,
    /// Never prune it.
    pub pin: bool,
    /// What a stopped server has left, to be read in place of the server.
    pub files: Option<PathBuf>,
}

/// Plans one backup of each component in `facts.components`, in that order.
pub fn plan(scope: Scope<'_>, facts: &Facts, options: &BackupOptions) -> Plan {
    let components: Vec<&ComponentFacts> = facts.components.iter().collect();
    scope.plan(Verb::Backup, facts, steps(scope, facts, &components, options))
}

/// Plans one backup of each component, as close together in time as can be, under one label.
///
/// A cluster whose log is archived comes first: from its backup on the log leads to every moment, also to that of the
/// others. These are begun side by side.
pub fn plan_together(scope: Scope<'_>, facts: &Facts, options: &BackupOptions) -> Plan {
    let label = options.label.clone().unwrap_or_else(|| format!("together-{}", scope.run));
    let options = BackupOptions { label: Some(label), pin: options.pin, files: None };
    let moves = |component: &&ComponentFacts| is_streamed(scope, &component.name);
    let (moving, fixed): (Vec<_>, Vec<_>) = facts.components.iter().partition(moves);
    let states = moving.iter().map(|component| (component, Means::Log));
    let states = states.chain(fixed.iter().map(|component| (component, Means::Backup)));
    let states = states.map(|(component, by)| PointState {
        component: component.name.clone(),
        at: None,
        by,
        backup: None,
        given_up_seconds: None,
    });
    let point = Point::of(None, states.collect());
    let ordered = [moving, fixed].concat();
    let mut plan = scope.plan(Verb::Backup, facts, steps(scope, facts, &ordered, &options));
    plan.point = Some(Box::new(point));
    plan
}

/// Whether the configuration says that the component's log is archived.
fn is_streamed(scope: Scope<'_>, name: &str) -> bool {
    match scope.platform.components.get(name) {
        Some(Component::Postgres(postgres)) => {
            postgres.wal != PostgresWal::None && postgres.method != PostgresMethod::Logical
        }
        _ => false,
    }
}

fn steps(
    scope: Scope<'_>,
    facts: &Facts,
    components: &[&ComponentFacts],
    options: &BackupOptions,
) -> Vec<Step> {
    let one = |component: &&ComponentFacts| {
        let name = &component.name;
        step(
            format!("backup:{name}"),
            name,
            StepClass::Idempotent,
            format!("back up {name}"),
            Action::BackUp {
                component: name.clone(),
                identity: scope.identity(facts, component),
                method: Method::Consistent,
                label: options.label.clone(),
                pin: options.pin,
                scratch: scope.scratch.join(name),
                files: options.files.clone(),
            },
        )
    };
    components.iter().map(one).collect()
}
