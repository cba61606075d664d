//! `muster pin`: keep a backup whatever the retention rules say, or give it back to them.

use muster_engine::{execute, survey};
use muster_plan::pin;
use muster_types::{Kind, backup::Backup, plan::Mode};

use crate::{
    answer::Answer,
    app::{self, Intent, Request},
    args::{Global, PinArgs},
    exit::Failure,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &PinArgs) -> Result<Answer, Failure> {
    let world = app::open_world(app::load(global, Intent::Change)?)?;
    let facts = survey::survey(&world, &[])?;
    let wanted = &args.backup;
    let labelled: Vec<&Backup> =
        facts.backups.iter().filter(|backup| backup.record.label.as_ref() == Some(wanted)).collect();
    let by_id: Vec<&Backup> =
        facts.backups.iter().filter(|b| wanted.len() >= 4 && b.id.0.starts_with(wanted.as_str())).collect();
    let chosen = match (labelled.as_slice(), by_id.as_slice()) {
        ([], [_]) => by_id,
        ([], several) => {
            let error = match several.len() {
                0 => format!("there is no backup `{wanted}`"),
                count => format!("`{wanted}` fits {count} backups"),
            };
            return Err(Failure::new(Kind::NotFound, error, "list them with `muster list`"));
        }
        _ => labelled,
    };
    let request = Request::new(&world, facts.now);
    let scope = request.scope(&world, Mode::Live);
    let plan = pin::plan(scope, &facts, &chosen, !args.remove);
    let progress = Progress::new(global.quiet || global.json);
    Ok(render::run(&execute::execute(&world, &request.run, &plan, &progress)?))
}
