//! `muster check`: observe the platform.

use std::sync::Arc;

use muster_drivers::checks;
use muster_types::{Clock, Kind, Span, check::CheckResult, config::Check};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{CheckArgs, Global},
    clock::SystemClock,
    config::Loaded,
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
        return Err(nothing());
    }
    let progress = Progress::new(global.quiet || global.json);
    let results = observe(&chosen, args.deadline, &progress);
    let failed = results.iter().filter(|result| !result.passed).count();
    let text = if args.metrics {
        metrics::checks(&loaded.platform.platform, &loaded.environment, &results)
    } else {
        render::checks(&results, args.verbose)
    };
    let code = if failed == 0 { exit::DONE } else { exit::FAILED };
    Ok(Answer::new(text, document(&results)).with_code(code))
}

/// What is observed, for programs and for Prometheus.
pub(super) struct Seen {
    /// For programs.
    pub document: Value,
    /// For Prometheus.
    pub metrics: String,
}

/// Observes everything.
pub(super) fn look(loaded: &Loaded) -> Result<Seen, Failure> {
    let platform = &loaded.platform;
    let all: Vec<(String, Check)> =
        platform.checks.iter().map(|(name, check)| (name.clone(), check.clone())).collect();
    if all.is_empty() {
        return Err(nothing());
    }
    let results = observe(&all, None, &Progress::new(true));
    let metrics = metrics::checks(&platform.platform, &loaded.environment, &results);
    Ok(Seen { document: document(&results), metrics })
}

fn observe(chosen: &[(String, Check)], deadline: Option<Span>, progress: &Progress) -> Vec<CheckResult> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    checks::run_all(chosen, deadline.map(Span::duration), &clock, progress)
}

fn document(results: &[CheckResult]) -> Value {
    let outcome = if results.iter().all(|result| result.passed) { "passed" } else { "failed" };
    json!({"outcome": outcome, "checks": results})
}

fn nothing() -> Failure {
    Failure::new(
        Kind::NotFound,
        "no check fits: nothing was observed",
        "define `checks:` in `muster.yaml`, or give them the tag",
    )
}
