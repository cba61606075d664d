//! Which part of a scenario a label or a sub-heading begins.

use crate::import::words::Words;

/// A part of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing that is known.
    None,
    Symptoms,
    Prerequisites,
    Diagnosis,
    Recovery,
    Verification,
    Duration,
    Impact,
    Priority,
    Note,
}

const WORDS: &[(Part, &[&str])] = &[
    (
        Part::Duration,
        &[
            "expected duration",
            "estimated duration",
            "typical duration",
            "duration",
            "recovery time",
            "estimated time",
            "expected time",
            "time estimate",
            "time to recover",
            "time to restore",
            "time required",
            "eta",
            "expected rto",
            "time needed",
            "how long",
        ],
    ),
    (
        Part::Symptoms,
        &[
            "symptom*",
            "alert",
            "sign",
            "signs",
            "indicator*",
            "how you notice",
            "how to notice",
            "detection",
            "detect",
            "detected by",
            "trigger*",
            "when to use",
            "you see",
            "what you see",
            "observed",
        ],
    ),
    (
        Part::Prerequisites,
        &[
            "prerequisite*",
            "prereq*",
            "before you start",
            "before you begin",
            "you need",
            "requirements",
            "required access",
        ],
    ),
    (
        Part::Note,
        &[
            "note",
            "notes",
            "warning",
            "caution",
            "important",
            "tip",
            "cause",
            "causes",
            "root cause",
            "possible causes",
            "background",
            "description",
            "scenario",
            "context",
            "related",
            "see also",
            "references",
        ],
    ),
    (
        Part::Verification,
        &[
            "verif*",
            "validat*",
            "success criteria",
            "done when",
            "confirm*",
            "post checks",
            "post recovery checks",
            "smoke test*",
            "after recovery",
            "check that",
        ],
    ),
    (
        Part::Diagnosis,
        &[
            "diagnos*",
            "investigat*",
            "triage",
            "assessment",
            "initial assessment",
            "identify",
            "confirm the problem",
            "analysis",
            "first look",
        ],
    ),
    (Part::Impact, &["impact", "data loss", "blast radius", "effect", "effects", "consequence*", "affected"]),
    (Part::Priority, &["severity", "priority", "criticality", "level"]),
    (
        Part::Recovery,
        &[
            "recover*",
            "step",
            "steps",
            "procedure*",
            "resolution",
            "remediation",
            "mitigation",
            "actions",
            "action",
            "fix",
            "response",
            "what to do",
            "act",
            "restore*",
            "immediate*",
            "solution",
            "resolve",
            "workaround",
            "containment",
            "how to",
            "rollback",
            "do this",
            "restoration",
            "instructions",
        ],
    ),
];

impl Part {
    pub(super) fn of(text: &str) -> Self {
        let words = Words::of(text);
        WORDS.iter().find(|(_, phrases)| words.has(phrases)).map_or(Self::None, |(part, _)| *part)
    }

    /// The name that a step of this part carries.
    pub(super) fn step(self) -> &'static str {
        match self {
            Self::Diagnosis => "diagnosis",
            Self::Verification => "verification",
            _ => "recovery",
        }
    }
}

/// Splits symptoms that stand in one sentence.
pub(super) fn symptoms(text: &str) -> Vec<String> {
    text.split([',', ';'])
        .flat_map(|part| part.split(". "))
        .map(|part| {
            part.trim()
                .trim_end_matches('.')
                .trim_start_matches("or ")
                .trim_start_matches("and ")
                .trim()
                .to_owned()
        })
        .filter(|part| !part.is_empty())
        .collect()
}
