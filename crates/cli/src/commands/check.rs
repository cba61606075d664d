//! `muster check`: observe the platform.

use std::sync::Arc;

use muster_drivers::checks;
use muster_types::{Clock, Kind, Span, config::Check};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{CheckArgs, Global},
    clock::SystemClock,
    exit::{self, Failure},
    metrics,
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &CheckArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let all = &loaded.platform.checks;
    for name in &args.names {
        if !all.contains_key(name) {
            let known: Vec<&str> = all.keys().map(String::as_str).collect();
            return Err(Failure::new(
                Kind::Input,
                format!("there is no check `{name}`"),
                format!("the configuration has: {}", known.join(", ")),
            ));
        }
    }
    let tag = if args.quick { Some("quick") } else { args.tag.as_deref() };
    let chosen: Vec<(String, Check)> = all
        .iter()
        .filter(|(name, _)| args.names.is_empty() || args.names.contains(name))
        .filter(|(_, check)| tag.is_none_or(|tag| check.tags.iter().any(|own| own == tag)))
        .map(|(name, check)| (name.clone(), check.clone()))
        .collect();
    if chosen.is_empty() {
        return Err(Failure::new(
            Kind::NotFound,
            "no check fits: nothing was observed",
            "define `checks:` in `muster.yaml`, or give them the tag",
        ));
    }
    let progress = Progress::new(global.quiet || global.json);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let results = checks::run_all(&chosen, args.deadline.map(Span::duration), &clock, &progress);
    let failed = results.iter().filter(|result| !result.passed).count();
    let text = if args.metrics {
        metrics::checks(&loaded.platform.platform, &loaded.environment, &results)
    } else {
        render::checks(&results, args.verbose)
    };
    let outcome = if failed == 0 { "passed" } else { "failed" };
    let code = if failed == 0 { exit::DONE } else { exit::FAILED };
    Ok(Answer::new(text, json!({"outcome": outcome, "checks": results})).with_code(code))
}
