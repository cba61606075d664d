//! `muster status --rules`: alerting rules of Prometheus for what `status --metrics` and `check --metrics` write.
//!
//! A configuration comes in, the text of a rules file goes out. Each check and each backup has a rule of its own, because
//! a series that has vanished is found by its name only: who writes nothing must not look healthy.
//!
//! Read next: `metrics.rs` for the series.

use muster_types::config::Platform;
use serde_json::json;

/// Checks are observed each minute or so; what is this old is not observed any more.
const CHECK_AGE_MAX: &str = "600";
/// The status is written a few times an hour.
const STATUS_AGE_MAX: &str = "3600";

/// Renders the rules of one platform and environment.
pub(crate) fn text(platform: &Platform, environment: &str) -> String {
    let own = [("platform", platform.platform.as_str()), ("environment", environment)];
    let mut page = format!("# Made by `muster status --rules`: {}, {environment}.\ngroups:\n", own[0].1);
    let checks: Vec<String> = platform.checks.keys().map(|name| of_check(&own, name)).collect();
    group(&mut page, &format!("muster-{}-{environment}-checks", own[0].1), &checks);
    let mut rules = vec![
        rule(
            "ObjectiveNotMet",
            &format!("{} == 0", series("muster_objective_met", &own, None)),
            "{{ $labels.component }}: {{ $labels.objective }} is breached or unproven",
        ),
        rule(
            "MusterStatusMissing",
            &vanished("muster_status_at_seconds", &own, None, STATUS_AGE_MAX),
            "nobody has written the status of the backups for an hour",
        ),
    ];
    let copied = platform.components.iter().filter(|(_, component)| !component.is_disposable());
    rules.extend(copied.map(|(name, _)| {
        let one = series("muster_backup_age_seconds", &own, Some(("component", name)));
        let said = format!("{name} has no good backup, or nobody tells");
        rule(&format!("{}BackupMissing", camel(name)), &format!("absent({one})"), &said)
    }));
    if platform.repository.as_ref().is_some_and(|repository| !repository.copies.is_empty()) {
        let met = series("muster_copy_met", &own, None);
        let said = "the copy {{ $labels.copy }} is older than its target, or nobody knows";
        rules.push(rule("CopyNotMet", &format!("{met} == 0 or absent({met})"), said));
    }
    group(&mut page, &format!("muster-{}-{environment}-objectives", own[0].1), &rules);
    page
}

fn of_check(own: &[(&str, &str)], name: &str) -> String {
    let one = Some(("check", name));
    let expression = format!(
        "{} == 0 or {}",
        series("muster_check_passed", own, one),
        vanished("muster_check_at_seconds", own, one, CHECK_AGE_MAX)
    );
    let said = format!("the check {name} has failed, or nobody has observed it for ten minutes");
    rule(&format!("{}Failed", camel(name)), &expression, &said)
}

/// What is not there, or is not written any more: a textfile stays when its writer is gone.
fn vanished(name: &str, own: &[(&str, &str)], one: Option<(&str, &str)>, age_max: &str) -> String {
    let series = series(name, own, one);
    format!("absent({series}) or time() - {series} > {age_max}")
}

fn series(name: &str, own: &[(&str, &str)], one: Option<(&str, &str)>) -> String {
    let shown = own.iter().copied().chain(one).map(|(name, value)| format!("{name}={}", json!(value)));
    format!("{name}{{{}}}", shown.collect::<Vec<_>>().join(","))
}

/// A text of JSON is one of YAML too.
fn rule(alert: &str, expression: &str, summary: &str) -> String {
    format!(
        "  - alert: {alert}\n    expr: {}\n    for: 1m\n    labels: {{severity: critical}}\n    annotations: {{summary: {}}}\n",
        json!(expression),
        json!(summary)
    )
}

fn group(page: &mut String, name: &str, rules: &[String]) {
    if !rules.is_empty() {
        page.push_str(&format!("- name: {}\n  rules:\n{}", json!(name), rules.concat()));
    }
}

/// `audit-log` becomes `AuditLog`: a name as alerts have it.
fn camel(name: &str) -> String {
    let parts = name.split(|one: char| !one.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (first, rest) = part.split_at(1);
            format!("{}{rest}", first.to_ascii_uppercase())
        })
        .collect()
}
