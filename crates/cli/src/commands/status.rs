//! `muster status`: target, measured, basis and verdict of every objective.

use muster_engine::{fold, survey};
use muster_plan::status::{MeasuredRecovery, logs, newest_good, newest_proof, rows};
use muster_types::objective::{Basis, Verdict};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, StatusArgs},
    exit::{self, Failure},
    metrics, render,
};

pub(super) fn run(global: &Global, args: &StatusArgs) -> Result<Answer, Failure> {
    let world = app::open_world_with_copies(app::load(global, Intent::Read)?, None)?;
    let names = app::component_names(&world, &[])?;
    let facts = survey::survey(&world, &names)?;
    let recoveries: Vec<MeasuredRecovery> = fold::recoveries(&world.journal.events()?)
        .into_iter()
        .filter_map(|(component, _, at, row)| {
            let basis = row.basis.unwrap_or(Basis::Incident);
            row.measured_seconds.map(|seconds| MeasuredRecovery { component, at, seconds, basis })
        })
        .collect();
    let rows = rows(&world.platform, &facts, &recoveries);
    let seen = super::copy::seen(&world);
    let copies = super::copy::rows(&world, &facts, &seen);
    let logs = logs(&world.platform, &facts, &seen);
    let newest: Vec<_> = names
        .iter()
        .map(|name| {
            json!({"component": name, "newest_backup": newest_good(&facts, name),
                "newest_proof": newest_proof(&facts, name)})
        })
        .collect();
    let (platform, environment) = (&world.platform.platform, &world.environment);
    let text = if args.metrics {
        metrics::text(platform, environment, &facts, &names, &rows)
            + &metrics::copies(platform, environment, &copies)
    } else {
        render::status(platform, environment, &facts, &names, &rows)
            + &render::log::stand(&logs, facts.now)
            + &render::copies::stand(&copies, facts.now)
    };
    let document = json!({"platform": world.platform.platform, "environment": world.environment,
        "at": facts.now, "objectives": rows, "components": newest, "logs": logs, "copies": copies});
    let is_breached = rows.iter().any(|row| row.verdict == Verdict::Breached)
        || copies.iter().any(|row| row.verdict == Verdict::Breached);
    let code = if args.check && is_breached { exit::BREACHED } else { exit::DONE };
    Ok(Answer::new(text, document).with_code(code))
}
