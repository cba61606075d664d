//! What each section of a document is about, by the words of its heading.
//!
//! A document comes in; one [`Topic`] for each section leaves. A heading that says nothing has the topic of the one
//! above it. The words are those of the trade; a heading that fits several is about the first in the order below.

use super::{
    duration,
    words::{Words, numbering},
};
use crate::document::Document;

/// What a section is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Topic {
    /// Nothing that is known.
    #[default]
    Unknown,
    /// Targets for recovery.
    Objectives,
    /// How backups are made and kept.
    Backups,
    /// Holds scenarios.
    Scenarios,
    /// A process in phases that is not tied to one scenario.
    Process,
    /// Whom to call.
    Contacts,
    /// Whose turn it is when.
    Escalation,
    /// Rehearsals.
    Drills,
    /// What to look at afterwards, or a list to tick off.
    Checklist,
    /// What to do once it is over.
    After,
    /// Commands to look up.
    Reference,
    /// Who does what.
    Roles,
    /// Levels of severity.
    Severity,
    /// Alerts and addresses to look at.
    Monitoring,
    /// Who is told what.
    Communication,
    /// What must be there before.
    Prerequisites,
    /// What is done so that it does not happen.
    Prevention,
    /// Who keeps the document.
    Review,
    /// Other documents, table of contents.
    Links,
    /// What the document is.
    Overview,
}

/// The words of each topic; earlier ones win.
const WORDS: &[(Topic, &[&str])] = &[
    (
        Topic::After,
        &[
            "post incident",
            "postincident",
            "post mortem",
            "postmortem*",
            "incident report",
            "lessons",
            "retrospective",
            "after action",
            "after the incident",
            "after each drill",
            "continuous improvement",
            "after an incident",
            "after recovery",
            "incident documentation",
            "test results",
        ],
    ),
    (
        Topic::Links,
        &[
            "table of contents",
            "contents",
            "references",
            "related doc*",
            "further reading",
            "see also",
            "appendices",
            "related links",
            "links",
        ],
    ),
    (
        Topic::Review,
        &[
            "version history",
            "change log",
            "changelog",
            "revision*",
            "document control",
            "document history",
            "document information",
            "document info",
            "maintenance",
            "metadata",
            "review",
            "reviews",
            "sign off",
            "approval*",
            "about this document",
            "runbook version",
        ],
    ),
    (
        Topic::Contacts,
        &[
            "contact*",
            "on call",
            "oncall",
            "vendors",
            "phone",
            "call tree",
            "call list",
            "who to call",
            "whom to call",
            "people",
            "support numbers",
            "phone book",
        ],
    ),
    (Topic::Escalation, &["escalation*", "escalate"]),
    (
        Topic::Drills,
        &[
            "drill*",
            "game day*",
            "gameday*",
            "exercise*",
            "rehears*",
            "dr test*",
            "test plan",
            "tests",
            "testing",
            "test schedule",
            "tabletop*",
            "simulation*",
            "dr tests",
            "regular tests",
            "fire drill*",
            "validation schedule",
            "practice*",
        ],
    ),
    (
        Topic::Reference,
        &[
            "quick reference",
            "cheat sheet",
            "cheatsheet",
            "useful commands",
            "common commands",
            "key commands",
            "command reference",
            "commands reference",
            "handy commands",
            "frequently used",
        ],
    ),
    (
        Topic::Roles,
        &[
            "roles",
            "responsibilities",
            "raci",
            "who does what",
            "incident roles",
            "team roles",
            "response team",
        ],
    ),
    (
        Topic::Severity,
        &["severity", "severities", "classification", "incident levels", "priority levels", "priorities"],
    ),
    (
        Topic::Objectives,
        &[
            "rto",
            "rpo",
            "recovery time objective*",
            "recovery point objective*",
            "recovery objective*",
            "recovery target*",
            "service level*",
            "slo",
            "slos",
            "sla",
            "slas",
            "objectives",
            "targets",
            "recovery goals",
        ],
    ),
    (Topic::Communication, &["communication*", "notification*", "status page", "stakeholder*"]),
    (
        Topic::Prerequisites,
        &[
            "prerequisite*",
            "requirements",
            "before you begin",
            "before you start",
            "dependencies",
            "required tools",
            "access required",
            "preparation checklist",
        ],
    ),
    (
        Topic::Checklist,
        &["checklist*", "smoke test*", "verification", "post recovery validation", "acceptance"],
    ),
    (
        Topic::Prevention,
        &[
            "prevent*",
            "maintenance tasks",
            "daily checks",
            "weekly checks",
            "monthly checks",
            "routine",
            "hardening",
        ],
    ),
    (
        Topic::Scenarios,
        &[
            "scenario*",
            "recovery procedure*",
            "recovery runbook*",
            "runbooks",
            "playbooks",
            "failure modes",
            "disaster types",
            "recovery playbook*",
            "incident playbooks",
            "common incidents",
            "what can go wrong",
            "recovery by *",
            "failure scenario*",
            "incidents",
            "common failures",
            "emergencies",
            "emergency procedure*",
        ],
    ),
    (
        Topic::Process,
        &[
            "incident response",
            "response procedure*",
            "recovery process",
            "response process",
            "general procedure*",
            "recovery phases",
            "recovery steps",
            "response plan",
            "response steps",
            "recovery workflow",
            "detailed recovery",
        ],
    ),
    (
        Topic::Backups,
        &[
            "backup*",
            "back up",
            "copies",
            "what we copy",
            "snapshots",
            "retention",
            "replication",
            "data protection",
            "off site",
            "offsite",
        ],
    ),
    (
        Topic::Monitoring,
        &["monitoring", "alert*", "health check*", "dashboards", "observability", "endpoints"],
    ),
    (
        Topic::Overview,
        &[
            "overview",
            "introduction",
            "purpose",
            "scope",
            "about",
            "summary",
            "background",
            "goals",
            "architecture",
        ],
    ),
];

/// Returns the topic of each section.
pub(super) fn of(document: &Document) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    for section in &document.sections {
        let own = if section.level <= 1 && section.parent.is_none() && is_title(document, section.line) {
            Topic::Unknown
        } else {
            of_heading(&section.heading)
        };
        let above = section.parent.and_then(|at| topics.get(at)).copied().unwrap_or_default();
        topics.push(match (own, above) {
            (Topic::Unknown, above) => above,
            // What follows an incident, a rehearsal or a list of links stays that, whatever its parts are called.
            (_, Topic::After | Topic::Links) => above,
            (Topic::Contacts | Topic::Escalation | Topic::Review, _) => own,
            (_, Topic::Drills) if own != Topic::Checklist => above,
            _ => own,
        });
    }
    topics
}

/// Returns the topic of a heading by itself.
pub(super) fn of_heading(heading: &str) -> Topic {
    // `Recovery (target: 2 hours)` is about recovery, not about targets.
    let bare = numbering(heading).1;
    let bare = match bare.split_once('(') {
        Some((before, inside)) if duration::parse(inside).is_some() && !before.trim().is_empty() => before,
        _ => bare,
    };
    let words = Words::of(bare);
    WORDS.iter().find(|(_, phrases)| words.has(phrases)).map_or(Topic::Unknown, |(topic, _)| *topic)
}

/// The first heading of a document is its title: `Disaster Recovery Runbooks` is no section that holds scenarios.
fn is_title(document: &Document, line: usize) -> bool {
    document.sections.iter().find(|one| one.level > 0).is_some_and(|first| first.line == line)
}
