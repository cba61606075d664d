//! Runs of their own that steps of a runbook begin: backups, restores, rescues, with the same code as their commands.
//!
//! A request comes in; the id of a planned run leaves, then its report. The repository is opened with the first of them:
//! a runbook without one must run where there is no repository any more.

mod data;

use std::sync::{Mutex, OnceLock, PoisonError};

use muster_engine::{execute, fold, world::World};
use muster_types::{
    Kind,
    backup::RunId,
    event::RunOutcome,
    plan::{Plan, Verb},
    report::RunReport,
    script::ChildRequest,
};

use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{
        AnewArgs, BackupArgs, EditArgs, FailoverArgs, Global, PointArgs, RescueArgs, RestoreArgs, RotateArgs,
        UnsealArgs,
    },
    commands::{backup, copy, failover, rescue, restore, rotate},
    exit::Failure,
    progress::Progress,
};

pub(super) struct Children {
    global: Global,
    is_drill: bool,
    world: OnceLock<World>,
    planned: Mutex<Option<(RunId, Plan)>>,
    progress: Progress,
}

impl Children {
    pub(super) fn new(global: &Global, is_drill: bool) -> Self {
        Self {
            global: global.clone(),
            is_drill,
            world: OnceLock::new(),
            planned: Mutex::new(None),
            progress: Progress::new(global.quiet || global.json),
        }
    }

    fn world(&self) -> Result<&World, Failure> {
        if let Some(world) = self.world.get() {
            return Ok(world);
        }
        let world = app::open_world_with_copies(app::load(&self.global, Intent::Change)?, None)?;
        Ok(self.world.get_or_init(|| world))
    }

    pub(super) fn plan(&self, request: &ChildRequest) -> Result<RunId, Failure> {
        let world = self.world()?;
        let (run, plan) = match request {
            ChildRequest::Backup { components, label } => {
                let args = BackupArgs {
                    components: components.clone(),
                    label: label.clone(),
                    pin: false,
                    from_files: None,
                    all: false,
                    together: false,
                    dry_run: false,
                };
                backup::make_plan(world, &args)?
            }
            ChildRequest::Restore { component, to, into, tables } => {
                let args = RestoreArgs {
                    anew: AnewArgs::default(),
                    components: vec![component.clone()],
                    all: false,
                    to: to.clone().unwrap_or_else(|| "latest".into()),
                    timeline: None,
                    point: PointArgs::default(),
                    table: tables.clone(),
                    from: None,
                    edit: EditArgs::default(),
                    unseal: UnsealArgs::default(),
                    server_token_file: None,
                    into: into.clone().map(Into::into),
                    replace: false,
                    side_by_side: false,
                    failed_at: None,
                    try_older: false,
                    undo: false,
                    drill: self.is_drill,
                    dry_run: false,
                    yes: true,
                };
                let planned = restore::make_plan(world, &args, &self.progress)?;
                restore::refuse_missing(world, &planned.1)?;
                planned
            }
            ChildRequest::Failover { component, to, fenced_by } => {
                self.plan_failover(world, (component, to, fenced_by.as_deref()))?
            }
            ChildRequest::Rotate { secrets } => self.plan_rotation(world, secrets)?,
            ChildRequest::Rescue { component, table, filter, from } => {
                let args = RescueArgs {
                    component: component.clone(),
                    table: table.clone(),
                    condition: filter.clone(),
                    from: from.clone(),
                    timeline: None,
                    triggers: false,
                    dry_run: false,
                    yes: true,
                };
                rescue::make_plan(world, &args, &self.progress)?
            }
            ChildRequest::Repair { .. }
            | ChildRequest::Quarantine { .. }
            | ChildRequest::Prove { .. }
            | ChildRequest::Copy { .. } => data::plan(world, request, &self.progress)?,
        };
        *self.planned.lock().unwrap_or_else(PoisonError::into_inner) = Some((run.clone(), plan));
        Ok(run)
    }

    fn plan_failover(
        &self,
        world: &World,
        (component, to, fenced_by): (&str, &str, Option<&str>),
    ) -> Result<(RunId, Plan), Failure> {
        let args = FailoverArgs {
            component: component.to_owned(),
            to: to.to_owned(),
            fenced_by: fenced_by.map(str::to_owned),
            drill: self.is_drill,
            dry_run: false,
            yes: true,
        };
        failover::make_plan(world, &args, &self.progress)
    }

    fn plan_rotation(&self, world: &World, secrets: &[String]) -> Result<(RunId, Plan), Failure> {
        let args = RotateArgs { names: secrets.to_vec(), yes: true, ..RotateArgs::default() };
        let planned = rotate::make_plan(world, &args, &self.progress)?;
        rotate::provide(world, &planned.0, &args)?;
        Ok(planned)
    }

    pub(super) fn run(&self, run: &RunId) -> Result<RunReport, Failure> {
        let planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner).take();
        match planned.filter(|(planned, _)| planned == run) {
            Some((run, plan)) => {
                let report = execute::execute(self.world()?, &run, &plan, &self.progress)?;
                self.copy_after(&report)?;
                Ok(report)
            }
            None => Err(Failure::new(Kind::Bug, format!("run {run} was not planned"), "report this")),
        }
    }

    /// Brings the copies up to date after a backup. One that cannot be is said: the backup stands, and so does the step.
    fn copy_after(&self, report: &RunReport) -> Result<(), Failure> {
        if report.verb == Verb::Backup && !report.backups.is_empty() {
            let mut told = Answer::new("", json!({}));
            copy::after_backup(self.world()?, &mut told, &self.progress);
            for line in told.text.lines().chain(told.errors.lines()) {
                self.progress.say(line);
            }
        }
        Ok(())
    }

    pub(super) fn resume(&self, run: &RunId) -> Result<Option<RunReport>, Failure> {
        let world = self.world()?;
        let events = world.journal.events()?;
        let found = fold::runs(&events).into_iter().find(|record| record.report.run == *run);
        let Some(record) = found else { return Ok(None) };
        if record.report.outcome == Some(RunOutcome::Done) {
            return Ok(Some(record.report));
        }
        self.progress.expect(&record.plan.steps);
        Ok(Some(execute::resume(world, &run.0, &self.progress)?))
    }
}
