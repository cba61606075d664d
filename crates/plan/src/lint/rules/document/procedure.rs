//! Whether a scenario ends with a look at what was recovered.
//!
//! In: scenarios. Out: findings for those that change something and never check.

use crate::lint::{
    finding::Severity,
    reading::Reading,
    rules::{Report, Rule, mentions},
};

pub(in crate::lint::rules) const RULES: &[Rule] = &[Rule {
    id: "scenario-without-verification",
    severity: Severity::FalseConfidence,
    message: "the scenario ends without a check: nobody knows whether the platform is back, or with which data",
    instead: "end it with at least two independent checks: the application answers, and a count or the newest row is as expected",
    check: verification,
}];

const CHECKS: [&str; 10] = [
    "verif",
    "validat",
    "confirm",
    "smoke",
    "health check",
    "healthcheck",
    "integrity",
    "check that",
    "ensure that",
    "make sure",
];

fn verification(reading: &Reading, report: &mut Report) {
    for scope in &reading.scenarios {
        let Some(section) = reading.sections.get(*scope) else { continue };
        // Symptoms tell of checks that fail: they are no verification.
        let mut is_symptom = false;
        let told = reading.prose_in(*scope).iter().any(|line| {
            let lower = line.text.to_ascii_lowercase();
            if !line.is_item {
                is_symptom = lower.starts_with("symptom")
                    || lower.starts_with("trigger")
                    || lower.starts_with("detection");
            }
            !is_symptom && mentions(&lower, &CHECKS)
        });
        let below = reading.sections.get(scope + 1..section.end).unwrap_or_default();
        let titled = below.iter().any(|one| mentions(&one.title, &["verif", "validat", "smoke", "confirm"]));
        let commented = reading.shells_in(*scope).iter().any(|shell| {
            shell.comments.iter().any(|(_, text)| mentions(text, &CHECKS))
                || shell.script.calls.iter().any(|call| {
                    mentions(call.program(), &["smoke", "verify", "healthcheck"])
                        || (call.program() == "muster" && call.has_word("check"))
                })
                || shell
                    .script
                    .calls
                    .iter()
                    .any(|call| matches!(call.program(), "curl" | "wget") && call.says("health"))
        });
        let has_steps = !reading.shells_in(*scope).is_empty()
            || reading.prose_in(*scope).iter().filter(|line| line.is_item).count() > 2;
        if has_steps && !told && !titled && !commented {
            report.line(section.line);
        }
    }
}
