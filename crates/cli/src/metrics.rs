//! `muster status --metrics`, `muster check --metrics`: Prometheus text, for the textfile collector of its node exporter.
//!
//! Rows and facts come in, text goes out. What was not measured has no sample: an absent number is not zero.

use std::collections::BTreeMap;

use muster_engine::history::History;
use muster_plan::status::{newest_good, newest_proof};
use muster_types::{
    Timestamp,
    check::CheckResult,
    facts::{Facts, ProofOutcome},
    objective::{CopyRow, ObjectiveRow, Verdict},
};
use serde_json::json;

/// What a sample of a check is taken from.
type OfCheck = fn(&CheckResult) -> f64;

/// Renders the metrics of the repository's copies.
pub(crate) fn copies(platform: &str, environment: &str, rows: &[CopyRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut page =
        Page { text: String::new(), base: labels(&[("platform", platform), ("environment", environment)]) };
    page.family("muster_copy_target_seconds", "The target of a copy of the repository.");
    for row in rows {
        page.sample("muster_copy_target_seconds", &labels(&[("copy", &row.name)]), row.target_seconds);
    }
    page.family("muster_copy_measured_seconds", "Age of what a copy holds; absent when nobody knows.");
    for row in rows {
        page.sample("muster_copy_measured_seconds", &labels(&[("copy", &row.name)]), row.measured_seconds);
    }
    page.family("muster_copy_met", "1 when measured and within the target; 0 when breached or unproven.");
    for row in rows.iter().filter(|row| row.verdict != Verdict::NotApplicable) {
        let met = f64::from(row.verdict == Verdict::Met);
        page.sample("muster_copy_met", &labels(&[("copy", &row.name)]), Some(met));
    }
    page.text
}

/// Renders when runs ended last, by what they were for, whether they were drills, and what came of them.
pub(crate) fn runs(platform: &str, environment: &str, history: &History) -> String {
    let mut page =
        Page { text: String::new(), base: labels(&[("platform", platform), ("environment", environment)]) };
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut newest: BTreeMap<[String; 3], Timestamp> = BTreeMap::new();
    for row in history.rows().iter().filter(|row| row.environment == environment) {
        let (Some(ended_at), Some(outcome)) = (row.ended_at, row.outcome) else { continue };
        let known = newest
            .entry([row.verb.word().to_owned(), word(json!(row.mode)), word(json!(outcome))])
            .or_insert(ended_at);
        *known = ended_at.max(*known);
    }
    page.family("muster_run_ended_at_seconds", "When the newest run of a kind ended so, since 1970.");
    for ([verb, mode, outcome], at) in newest {
        let own = labels(&[("verb", &verb), ("mode", &mode), ("outcome", &outcome)]);
        page.sample("muster_run_ended_at_seconds", &own, Some(since_1970(at)));
    }
    page.text
}

/// Renders the metrics of checks that were observed.
pub(crate) fn checks(platform: &str, environment: &str, results: &[CheckResult]) -> String {
    let mut page =
        Page { text: String::new(), base: labels(&[("platform", platform), ("environment", environment)]) };
    let families: [(&str, &str, OfCheck); 3] = [
        ("muster_check_passed", "1 when every condition held; 0 when not, or when nobody answered.", |one| {
            f64::from(one.passed)
        }),
        ("muster_check_seconds", "How long it took.", |one| one.seconds),
        ("muster_check_at_seconds", "When it was observed, since 1970.", |one| since_1970(one.at)),
    ];
    for (name, help, value) in families {
        page.family(name, help);
        for one in results {
            page.sample(name, &labels(&[("check", &one.name)]), Some(value(one)));
        }
    }
    page.text
}

fn since_1970(at: Timestamp) -> f64 {
    at.as_second() as f64
}

/// Renders the metrics of one platform and environment.
pub(crate) fn text(
    platform: &str,
    environment: &str,
    facts: &Facts,
    names: &[String],
    rows: &[ObjectiveRow],
) -> String {
    let mut page =
        Page { text: String::new(), base: labels(&[("platform", platform), ("environment", environment)]) };
    let row_labels = |row: &ObjectiveRow| {
        let kind = row.objective.to_string().to_lowercase();
        let mut pairs = vec![("component", row.component.as_str()), ("objective", kind.as_str())];
        pairs.extend(row.class.as_ref().map(|class| ("class", class.as_str())));
        labels(&pairs)
    };
    page.family("muster_objective_target_seconds", "The target.");
    for row in rows {
        page.sample("muster_objective_target_seconds", &row_labels(row), row.target_seconds);
    }
    page.family("muster_objective_measured_seconds", "What was measured; absent when nothing was.");
    for row in rows {
        page.sample("muster_objective_measured_seconds", &row_labels(row), row.measured_seconds);
    }
    page.family(
        "muster_objective_met",
        "1 when measured and within the target; 0 when breached or unproven.",
    );
    for row in rows.iter().filter(|row| row.verdict != Verdict::NotApplicable) {
        page.sample("muster_objective_met", &row_labels(row), Some(f64::from(row.verdict == Verdict::Met)));
    }
    page.family(
        "muster_backup_age_seconds",
        "Age of the state in the newest good backup; absent when there is none.",
    );
    for name in names {
        let age = newest_good(facts, name)
            .map(|backup| facts.now.duration_since(backup.record.consistent_at).as_secs_f64());
        page.sample("muster_backup_age_seconds", &labels(&[("component", name)]), age);
    }
    page.family(
        "muster_proof_age_seconds",
        "Age of the newest proof that passed; absent when the newest did not.",
    );
    for name in names {
        let age = newest_proof(facts, name)
            .filter(|proof| proof.outcome == ProofOutcome::Proven)
            .map(|proof| facts.now.duration_since(proof.at).as_secs_f64());
        page.sample("muster_proof_age_seconds", &labels(&[("component", name)]), age);
    }
    page.family("muster_status_at_seconds", "When this was looked at, since 1970.");
    page.text.push_str(&format!("muster_status_at_seconds{{{}}} {}\n", page.base, since_1970(facts.now)));
    page.text
}

struct Page {
    text: String,
    base: String,
}

impl Page {
    fn family(&mut self, name: &str, help: &str) {
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    }

    fn sample(&mut self, name: &str, labels: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.text.push_str(&format!("{name}{{{},{labels}}} {value}\n", self.base));
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let shown = pairs.iter().map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    });
    shown.collect::<Vec<_>>().join(",")
}
