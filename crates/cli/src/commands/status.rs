//! `muster status`: target, measured, basis and verdict of every objective.

use muster_engine::{history::History, survey};
use muster_plan::status::{logs, newest_good, newest_proof};
use muster_types::objective::Verdict;
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, StatusArgs},
    config::Loaded,
    exit::{self, Failure},
    metrics,
    recoverability::objective_rows,
    render, rules,
};

/// How it stands, in each form.
pub(super) struct Stand {
    /// For people.
    pub text: String,
    /// For Prometheus.
    pub metrics: String,
    /// For programs.
    pub document: Value,
    /// Whether an objective, or that of a copy, is breached.
    pub is_breached: bool,
}

pub(super) fn run(global: &Global, args: &StatusArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    if args.rules {
        let text = rules::text(&loaded.platform, &loaded.environment);
        return Ok(Answer::new(text.clone(), json!({"rules": text})));
    }
    let stand = look(loaded)?;
    let text = if args.metrics { stand.metrics } else { stand.text };
    let code = if args.check && stand.is_breached { exit::BREACHED } else { exit::DONE };
    Ok(Answer::new(text, stand.document).with_code(code))
}

/// Looks at everything that objectives are measured by, and judges them.
pub(super) fn look(loaded: Loaded) -> Result<Stand, Failure> {
    let buckets = super::buckets::look(&loaded, &|_| true);
    let world = app::open_world_with_copies(loaded, None)?;
    let names = app::names_with_backups(&world, &[])?;
    let is_disposable = |name: &&String| world.platform.components[*name].is_disposable();
    let disposable: Vec<&String> = world.platform.components.keys().filter(is_disposable).collect();
    let facts = survey::survey(&world, &names)?;
    let rows = objective_rows(&world, &facts)?;
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
    let mut history = History::default();
    history.read(&world.journal)?;
    let (platform, environment) = (&world.platform.platform, &world.environment);
    let metrics = metrics::text(platform, environment, &facts, &names, &rows)
        + &metrics::copies(platform, environment, &copies)
        + &metrics::runs(platform, environment, &history);
    let text = render::status(platform, environment, &facts, &names, &rows)
        + &render::disposable(&disposable)
        + &render::log::stand(&logs, facts.now)
        + &render::copies::stand(&copies, facts.now)
        + &super::buckets::text(&buckets);
    let mut document = json!({"platform": world.platform.platform, "environment": world.environment,
        "at": facts.now, "objectives": rows, "disposable": disposable, "components": newest, "logs": logs, "copies": copies});
    if !buckets.is_empty() {
        document["buckets"] = json!(buckets);
    }
    let is_breached = rows.iter().any(|row| row.verdict == Verdict::Breached)
        || copies.iter().any(|row| row.verdict == Verdict::Breached);
    Ok(Stand { text, metrics, document, is_breached })
}
