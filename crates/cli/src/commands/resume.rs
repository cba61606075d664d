//! `muster resume`: continue a run that was interrupted, has failed or waits.

use muster_engine::{execute, fold, journal::Journal};
use muster_types::{Kind, plan::Verb};

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, ResumeArgs},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
    unseal::{self, Asking},
};

pub(super) fn run(global: &Global, args: &ResumeArgs) -> Result<Answer, Failure> {
    let mut loaded = app::load(global, Intent::Change)?;
    // The journal first: it tells whether the run had read a copy, and then the repository may be gone.
    let events = Journal::open(&loaded.state_dir)?.events()?;
    if let Some(record) = fold::run(&events, &args.run).filter(|record| record.plan.verb == Verb::Run) {
        return super::run::resume(global, args, &loaded, &record);
    }
    let only = [("--answers", args.answers.is_some()), ("--follow", args.follow), ("--undo", args.undo)];
    if let Some((name, _)) = only.iter().find(|(_, is_given)| *is_given) {
        return Err(Failure::new(
            Kind::Input,
            format!("`{name}` belongs to the run of a runbook"),
            "leave it out, or name such a run: `muster runs`",
        ));
    }
    // Nobody knows yet whether the run needs keys: who has them gives them.
    unseal::give(&mut loaded, &[], &args.unseal, args.server_token_file.as_deref(), Asking::Never)?;
    let record = fold::run(&events, &args.run).ok_or_else(|| {
        Failure::new(
            Kind::NotFound,
            format!("there is no run `{}`", args.run),
            "list them with `muster runs`",
        )
    })?;
    let world = app::open_world_with_copies(loaded, record.plan.from.as_deref())?;
    let progress = Progress::new(global.quiet || global.json);
    if matches!(
        record.plan.verb,
        Verb::Restore
            | Verb::Undo
            | Verb::Prune
            | Verb::Rescue
            | Verb::Repair
            | Verb::Quarantine
            | Verb::Rotate
    ) {
        let question = format!("this continues the {} of run {}", record.plan.verb.word(), record.report.run);
        confirm(args.yes, &question, record.plan.verb.word())?;
    }
    progress.expect(&record.plan.steps);
    let report = execute::resume(&world, &args.run, &progress)?;
    Ok(render::run(&report))
}
