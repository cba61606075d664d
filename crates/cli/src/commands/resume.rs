//! `muster resume`: continue a run that was interrupted or has failed.

use muster_engine::{execute, fold};
use muster_types::{Kind, plan::Verb};

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, ResumeArgs},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &ResumeArgs) -> Result<Answer, Failure> {
    let world = app::open_world(app::load(global, Intent::Change)?)?;
    let progress = Progress::new(global.quiet || global.json);
    let events = world.journal.events()?;
    let record = fold::run(&events, &args.run).ok_or_else(|| {
        Failure::new(
            Kind::NotFound,
            format!("there is no run `{}`", args.run),
            "list them with `muster runs`",
        )
    })?;
    if matches!(record.plan.verb, Verb::Restore | Verb::Undo | Verb::Prune | Verb::Rescue) {
        let question = format!("this continues the {} of run {}", record.plan.verb.word(), record.report.run);
        confirm(args.yes, &question, record.plan.verb.word())?;
    }
    progress.expect(&record.plan.steps);
    let report = execute::resume(&world, &args.run, &progress)?;
    Ok(render::run(&report))
}
