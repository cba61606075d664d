//! Everything in one word: the worst of objectives, copies and checks.
//!
//! Rows and results come in, a [`Summary`] goes out. The words are those of a Statuspage, so that what reads one can read
//! this. A component's state says whether it could be brought back as promised; whether it serves is what checks say.
//!
//! What is not known is never `none`.

use muster_types::{
    check::CheckResult,
    objective::{CopyRow, ObjectiveKind, ObjectiveRow, Verdict},
};

/// How bad it is; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Indicator {
    /// Everything is measured and within its target, and every check has passed.
    None,
    /// Something is unproven, or a copy of the repository is not as it should be.
    Minor,
    /// An objective is breached, or a check has failed.
    Major,
    /// A component has no backup to go back to.
    Critical,
}

impl Indicator {
    /// Returns the word of the whole.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }

    /// Returns the word of one component.
    pub fn component_word(self) -> &'static str {
        match self {
            Self::None => "operational",
            Self::Minor => "degraded_performance",
            Self::Major => "partial_outage",
            Self::Critical => "major_outage",
        }
    }
}

/// One thing of the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The component; of a check `check NAME`, of a copy `copy NAME`.
    pub name: String,
    /// How bad it is.
    pub indicator: Indicator,
    /// Why, in one line; none when it is well.
    pub why: Option<String>,
}

/// Everything in one word, and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The worst.
    pub indicator: Indicator,
    /// That in one line.
    pub description: String,
    /// Components, then copies, then checks, each in its order.
    pub parts: Vec<Part>,
}

/// Sums everything up.
pub fn summary(objectives: &[ObjectiveRow], copies: &[CopyRow], checks: &[CheckResult]) -> Summary {
    let mut parts: Vec<Part> = Vec::new();
    for row in objectives {
        let (indicator, why) = of_objective(row);
        let place = parts.iter().position(|part| part.name == row.component).unwrap_or_else(|| {
            parts.push(Part { name: row.component.clone(), indicator: Indicator::None, why: None });
            parts.len() - 1
        });
        let part = &mut parts[place];
        part.indicator = part.indicator.max(indicator);
        if let Some(why) = why {
            part.why = Some(part.why.take().map_or(why.clone(), |before| format!("{before}, {why}")));
        }
    }
    parts.extend(copies.iter().map(|row| {
        let is_well = matches!(row.verdict, Verdict::Met | Verdict::NotApplicable);
        let indicator = if is_well { Indicator::None } else { Indicator::Minor };
        let why = (!is_well).then(|| row.reason.clone().unwrap_or_else(|| row.verdict.to_string()));
        Part { name: format!("copy {}", row.name), indicator, why }
    }));
    parts.extend(checks.iter().map(|check| {
        let indicator = if check.passed { Indicator::None } else { Indicator::Major };
        Part { name: format!("check {}", check.name), indicator, why: check.reason() }
    }));
    let indicator = parts.iter().map(|part| part.indicator).max().unwrap_or(Indicator::Minor);
    Summary { indicator, description: description(indicator, &parts), parts }
}

fn of_objective(row: &ObjectiveRow) -> (Indicator, Option<String>) {
    let nothing_there = row.objective == ObjectiveKind::Rpo && row.measured_seconds.is_none();
    match row.verdict {
        Verdict::Met | Verdict::NotApplicable => (Indicator::None, None),
        Verdict::Unproven => (Indicator::Minor, Some(format!("{} unproven", row.objective))),
        Verdict::Breached if nothing_there => (Indicator::Critical, Some("no backup".into())),
        Verdict::Breached => (Indicator::Major, Some(format!("{} breached", row.objective))),
    }
}

fn description(indicator: Indicator, parts: &[Part]) -> String {
    let worst: Vec<String> = parts
        .iter()
        .filter(|part| part.indicator == indicator)
        .filter_map(|part| part.why.as_ref().map(|why| format!("{}: {why}", part.name)))
        .collect();
    match (indicator, worst.as_slice()) {
        (Indicator::None, _) => "Every objective is met, every check has passed".into(),
        (_, []) => "There is no objective and no check to be met".into(),
        (_, [only]) => only.clone(),
        (_, [first, rest @ ..]) => format!("{first}; and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        component: &str,
        objective: ObjectiveKind,
        measured: Option<f64>,
        verdict: Verdict,
    ) -> ObjectiveRow {
        ObjectiveRow {
            component: component.into(),
            class: None,
            objective,
            target_seconds: Some(60.0),
            measured_seconds: measured,
            verdict,
            basis: None,
        }
    }

    fn check(passed: bool) -> CheckResult {
        CheckResult {
            name: "api".into(),
            passed,
            at: "2026-05-01T10:00:00Z".parse().unwrap(),
            seconds: 0.1,
            conditions: Vec::new(),
            requests: Vec::new(),
            error: (!passed).then(|| "refused".into()),
        }
    }

    #[test]
    fn the_worst_decides_and_is_named() {
        use ObjectiveKind::{Rpo, Rto};
        let met = row("database", Rpo, Some(1.0), Verdict::Met);
        let cases = [
            (vec![met.clone()], true, "none", "Every objective is met, every check has passed"),
            (
                vec![met.clone(), row("database", Rto, None, Verdict::Unproven)],
                true,
                "minor",
                "database: RTO unproven",
            ),
            (
                vec![met.clone(), row("files", Rpo, Some(99.0), Verdict::Breached)],
                true,
                "major",
                "files: RPO breached",
            ),
            (
                vec![met.clone(), row("files", Rpo, None, Verdict::Breached)],
                true,
                "critical",
                "files: no backup",
            ),
            (vec![met.clone()], false, "major", "check api: refused"),
            (
                vec![
                    row("a", Rto, Some(99.0), Verdict::Breached),
                    row("a", Rpo, Some(99.0), Verdict::Breached),
                ],
                false,
                "major",
                "a: RTO breached, RPO breached; and 1 more",
            ),
        ];
        for (rows, passed, word, description) in cases {
            let summary = summary(&rows, &[], &[check(passed)]);
            assert_eq!((summary.indicator.word(), summary.description.as_str()), (word, description));
        }
    }

    #[test]
    fn nothing_known_is_not_well() {
        assert_eq!(summary(&[], &[], &[]).indicator, Indicator::Minor);
    }

    #[test]
    fn a_copy_that_nobody_knows_is_minor_and_has_a_part() {
        let copy = CopyRow {
            name: "vault".into(),
            location: "/mnt".into(),
            backups: None,
            missing: None,
            newest_backup: None,
            newest_at: None,
            target_seconds: Some(60.0),
            measured_seconds: None,
            verdict: Verdict::Unproven,
            reason: Some("never copied".into()),
        };
        let summary =
            summary(&[row("a", ObjectiveKind::Rpo, Some(1.0), Verdict::Met)], &[copy], &[check(true)]);
        let words: Vec<(&str, &str)> =
            summary.parts.iter().map(|part| (part.name.as_str(), part.indicator.component_word())).collect();
        let wanted =
            [("a", "operational"), ("copy vault", "degraded_performance"), ("check api", "operational")];
        assert_eq!(words, wanted);
    }
}
