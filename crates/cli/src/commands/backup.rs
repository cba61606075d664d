//! `muster backup`: one backup of each component.

use std::path::{Path, PathBuf};

use muster_engine::{execute, survey, world::World};
use muster_plan::{
    RecoveryTarget,
    backup::{BackupOptions, plan, plan_together},
};
use muster_types::{
    Kind,
    backup::RunId,
    plan::{Mode, Plan},
};

use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{BackupArgs, Global},
    exit::Failure,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &BackupArgs) -> Result<Answer, Failure> {
    args.label.as_deref().map(check_label).transpose()?;
    let loaded = app::load(global, Intent::Change)?;
    let buckets = super::buckets::of_backup(&loaded);
    let world = app::open_world_with_copies(loaded, None)?;
    let progress = Progress::new(global.quiet || global.json);
    let mut answer = back_up(&world, args, &progress)?;
    super::buckets::warn(&mut answer, &buckets);
    Ok(answer)
}

/// A label must be one line, and mean nothing else where `--to` takes it.
fn check_label(label: &str) -> Result<(), Failure> {
    let is_taken = !matches!(label.parse::<RecoveryTarget>(), Ok(RecoveryTarget::Named(_)));
    let is_odd = label.trim().is_empty() || label.len() > 100 || label.chars().any(char::is_control);
    if is_taken || is_odd {
        return Err(Failure::new(
            Kind::Input,
            format!("{label:?} cannot be a label"),
            "write one line such as `before-deploy-42`, no time and no `latest`",
        ));
    }
    Ok(())
}

/// Backs up, with everything open already.
pub(crate) fn back_up(world: &World, args: &BackupArgs, progress: &Progress) -> Result<Answer, Failure> {
    let (run, plan) = make_plan(world, args)?;
    if args.dry_run {
        return Ok(render::plan(&plan));
    }
    let report = execute::execute(world, &run, &plan, progress)?;
    let mut answer = render::run(&report);
    if !report.backups.is_empty() {
        super::copy::after_backup(world, &mut answer, progress);
    }
    Ok(answer)
}

/// Files are of one component, and the journal must not depend on where Muster was called.
fn files_of(path: &Path, components: &[String]) -> Result<PathBuf, Failure> {
    if components.len() != 1 {
        let message = format!("{} can be of one component only", path.display());
        return Err(Failure::new(Kind::Input, message, "name the one component that has left them"));
    }
    std::path::absolute(path).map_err(|error| {
        let message = format!("{} is no path: {error}", path.display());
        Failure::new(Kind::Input, message, "write it from `/` on")
    })
}

/// Surveys and plans what `args` ask for.
pub(crate) fn make_plan(world: &World, args: &BackupArgs) -> Result<(RunId, Plan), Failure> {
    args.label.as_deref().map(check_label).transpose()?;
    let files = args.from_files.as_deref().map(|path| files_of(path, &args.components)).transpose()?;
    let names = app::names_with_backups(world, &args.components)?;
    app::refuse_missing_secrets(&world.platform, &names, &args.components)?;
    let facts = survey::survey(world, &names)?;
    let request = Request::new(world, facts.now);
    let scope = request.scope(world, Mode::Live);
    let options = BackupOptions { label: args.label.clone(), pin: args.pin, files };
    let plan =
        if args.together { plan_together(scope, &facts, &options) } else { plan(scope, &facts, &options) };
    Ok((request.run, plan))
}
