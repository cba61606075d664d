//! Recovery documents in more layouts, written for this test: tables for everything, underlined headings with nested
//! lists, a single runbook with front matter, prose, German, reStructuredText, `AsciiDoc`, and HTML with folded parts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test")]

use muster_plan::{
    document,
    import::{self, Class, Recognised, Scenario, StepKind},
    runbook,
};

fn recognised(text: &str) -> Recognised {
    import::recognise(&document::read(text.as_bytes()).unwrap())
}

fn objectives(found: &Recognised) -> Vec<(&str, Option<u64>, Option<u64>)> {
    found.objectives.iter().map(|one| (one.scope.as_str(), one.rto_seconds, one.rpo_seconds)).collect()
}

fn titles(found: &Recognised) -> Vec<(Option<&str>, &str, usize)> {
    found.scenarios.iter().map(|one| (one.number.as_deref(), one.title.as_str(), one.line)).collect()
}

fn steps(scenario: &Scenario) -> Vec<(usize, StepKind, Class)> {
    scenario.steps.iter().map(|one| (one.line, one.kind, one.class)).collect()
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

#[test]
fn a_document_made_of_tables_is_recognised() {
    let found = recognised(include_str!("documents/tables.md"));
    assert_eq!(
        objectives(&found),
        [("Tier 1 (checkout)", Some(900), Some(0)), ("Tier 2 (reporting)", Some(8 * HOUR), Some(DAY))]
    );
    assert_eq!(found.objectives[0].scope_kind, "priority");
    let backups: Vec<_> = found
        .backups
        .iter()
        .map(|one| (one.what.as_str(), one.every_seconds, one.retention_seconds, one.method.as_deref()))
        .collect();
    assert_eq!(
        backups,
        [
            ("MySQL", Some(DAY), Some(35 * DAY), Some("mysqldump")),
            ("Uploads", Some(900), Some(90 * DAY), Some("rclone"))
        ]
    );
    let contacts: Vec<_> = found
        .contacts
        .iter()
        .map(|one| (one.title(), one.name.as_deref(), one.phone.as_deref(), one.is_vendor, one.empty.len()))
        .collect();
    assert_eq!(
        contacts,
        [
            ("Databases", Some("Ida Holm"), Some("+45 20 30 40 50"), false, 0),
            ("Network", None, None, false, 2),
            ("Hosting", None, None, true, 0)
        ]
    );
    assert_eq!(found.contacts[2].account.as_deref(), Some("C-1882"));
    assert_eq!(
        titles(&found),
        [
            (Some("4.1"), "Checkout database unreachable", 35),
            (Some("4.2"), "Disk of the web server is full", 50)
        ]
    );
    let first = &found.scenarios[0];
    assert_eq!(first.symptoms, ["orders page shows errors", "the alarm mysql_up fires"]);
    assert_eq!(first.priority.as_deref(), Some("P1"));
    assert_eq!(first.expected.map(|range| (range.min_seconds, range.max_seconds)), Some((600, 1500)));
    assert_eq!(
        steps(first),
        [
            (45, StepKind::Check, Class::Observe),
            (46, StepKind::Command, Class::Idempotent),
            (47, StepKind::Manual, Class::Observe),
            (48, StepKind::Command, Class::Destructive)
        ]
    );
    assert_eq!(
        steps(&found.scenarios[1]),
        [
            (54, StepKind::Command, Class::Observe),
            (57, StepKind::Command, Class::Destructive),
            (59, StepKind::Check, Class::Observe)
        ]
    );
    let drills: Vec<_> =
        found.drills.iter().map(|one| (one.line, one.frequency.as_deref(), one.owner.as_deref())).collect();
    assert_eq!(drills, [(65, Some("quarterly"), Some("Databases")), (66, Some("yearly"), Some("Network"))]);
    assert_eq!(found.review.owner.as_deref(), Some("Site reliability"));
    assert_eq!(found.review.next_review.as_deref(), Some("2027-01-15"));
}

#[test]
fn underlined_headings_and_nested_lists_are_recognised() {
    let found = recognised(include_str!("documents/setext.md"));
    assert_eq!(
        objectives(&found),
        [("platform", Some(2 * HOUR), Some(300)), ("search index", Some(DAY), None)]
    );
    assert_eq!(titles(&found), [(None, "write-ahead log disk full", 28), (None, "primary lost", 55)]);
    let first = &found.scenarios[0];
    assert_eq!(first.symptoms.len(), 2);
    assert_eq!(
        steps(first),
        [
            (38, StepKind::Manual, Class::Unknown),
            (39, StepKind::Command, Class::Idempotent),
            (44, StepKind::Command, Class::Destructive),
            (46, StepKind::Command, Class::Observe),
            (47, StepKind::Decision, Class::Observe),
            (51, StepKind::Manual, Class::Unknown)
        ]
    );
    assert_eq!(first.steps[2].text, "mv /wal/archive/0000* /spare/");
    assert_eq!(first.steps[4].refers_to.as_deref(), Some("Runbook B"));
    assert_eq!(first.expected.map(|range| range.max_seconds), Some(1200));
    assert_eq!(found.scenarios[1].expected.map(|range| range.min_seconds), Some(300));
    let contacts: Vec<_> =
        found.contacts.iter().map(|one| (one.title(), one.is_reachable, one.is_vendor)).collect();
    assert_eq!(
        contacts,
        [
            ("Primary on-call", true, false),
            ("Ola Berg (database)", true, false),
            ("Bank desk support", true, true),
            ("Duty manager", false, false)
        ]
    );
    assert_eq!(found.contacts[1].phone.as_deref(), Some("+46 8 123 456 78"));
    assert_eq!(found.contacts[1].email.as_deref(), Some("ola.berg@ledger.example"));
    let escalation: Vec<_> =
        found.escalation.iter().map(|one| (one.after_seconds, one.who.as_str())).collect();
    assert_eq!(escalation, [(600, "team lead"), (2700, "head of payments")]);
    let drills: Vec<_> = found.drills.iter().map(|one| one.frequency.as_deref()).collect();
    assert_eq!(drills, [Some("monthly"), Some("twice yearly")]);
    assert_eq!(found.review.owner.as_deref(), Some("payments team"));
    assert_eq!(found.review.last_updated.as_deref(), Some("2026-03-02"));
}

#[test]
fn a_single_runbook_is_one_scenario() {
    let found = recognised(include_str!("documents/single.md"));
    assert_eq!(objectives(&found), [("platform", Some(1800), Some(0)), ("products", Some(600), Some(HOUR))]);
    assert_eq!(titles(&found), [(None, "Search cluster is red", 6)]);
    let only = &found.scenarios[0];
    assert_eq!(only.symptoms.len(), 2);
    assert_eq!(
        steps(only),
        [
            (23, StepKind::Check, Class::Observe),
            (30, StepKind::Command, Class::Unknown),
            (37, StepKind::Command, Class::Destructive),
            (39, StepKind::Command, Class::Idempotent),
            (45, StepKind::Check, Class::Observe)
        ]
    );
    let variants: Vec<_> = only.steps.iter().filter_map(|one| one.variant.as_deref()).collect();
    assert_eq!(variants, ["kubernetes", "docker"]);
    assert_eq!(only.steps[2].placeholders, ["<search-pod>"]);
    assert!(only.is_verified);
    assert_eq!(found.contacts.len(), 1);
    assert_eq!(found.review.owner.as_deref(), Some("search team"));
    assert_eq!(found.review.cycle.as_deref(), Some("quarterly"));
}

#[test]
fn prose_is_recognised_where_it_says_what_it_promises() {
    let found = recognised(include_str!("documents/prose.md"));
    assert_eq!(objectives(&found), [("platform", Some(4 * HOUR), Some(DAY))]);
    assert_eq!(
        titles(&found),
        [(Some("1"), "The server does not start", 14), (Some("2"), "The machine is gone", 21)]
    );
    assert_eq!(
        steps(&found.scenarios[0]),
        [(18, StepKind::Manual, Class::Unknown), (19, StepKind::Decision, Class::Observe)]
    );
    assert_eq!(found.scenarios[0].steps[1].refers_to.as_deref(), Some("Playbook 2"));
    assert_eq!(
        steps(&found.scenarios[1]),
        [
            (25, StepKind::Manual, Class::Unknown),
            (29, StepKind::Command, Class::Idempotent),
            (35, StepKind::Command, Class::Destructive),
            (38, StepKind::Wait, Class::Observe)
        ]
    );
    assert_eq!(found.scenarios[1].expected.map(|range| range.max_seconds), Some(3 * HOUR));
    let backups: Vec<_> = found
        .backups
        .iter()
        .map(|one| (one.what.as_str(), one.every_seconds, one.retention_seconds))
        .collect();
    assert_eq!(
        backups,
        [("Pages", Some(DAY), Some(14 * DAY)), ("Attachments", Some(7 * DAY), Some(56 * DAY))]
    );
    assert_eq!(found.drills.len(), 1);
    assert_eq!(found.drills[0].frequency.as_deref(), Some("monthly"));
    assert_eq!(found.questions[0].placeholder, "wiki_YYYY-MM-DD");
}

#[test]
fn a_document_in_german_is_recognised() {
    let found = recognised(include_str!("documents/german.md"));
    assert_eq!(
        objectives(&found),
        [("Auftragsdatenbank", Some(2 * HOUR), Some(900)), ("Archiv", Some(DAY), Some(DAY))]
    );
    assert_eq!(
        titles(&found),
        [(Some("3.1"), "Datenbank ausgefallen", 23), (Some("3.2"), "Rechenzentrum verloren", 44)]
    );
    let [first, second] = &found.scenarios[..] else { panic!("two") };
    assert_eq!((first.symptoms.len(), first.prerequisites.len(), first.is_verified), (1, 1, true));
    assert_eq!(first.expected.map(|range| range.max_seconds), Some(1800));
    assert_eq!(
        steps(first),
        [
            (33, StepKind::Command, Class::Idempotent),
            (35, StepKind::Decision, Class::Observe),
            (39, StepKind::Check, Class::Observe)
        ]
    );
    assert_eq!(first.steps[1].refers_to.as_deref(), Some("Szenario 3.2"));
    assert_eq!(
        steps(second),
        [
            (48, StepKind::Manual, Class::Unknown),
            (49, StepKind::Manual, Class::Destructive),
            (50, StepKind::Check, Class::Observe)
        ]
    );
    let contacts: Vec<_> =
        found.contacts.iter().map(|one| (one.title(), one.phone.as_deref(), one.empty.len())).collect();
    assert_eq!(contacts, [("Bereitschaft", Some("+49 30 555 1234"), 0), ("Leitung", None, 2)]);
    let escalation: Vec<_> =
        found.escalation.iter().map(|one| (one.after_seconds, one.who.as_str())).collect();
    assert_eq!(escalation, [(900, "Teamleitung"), (HOUR, "Gesch\u{e4}ftsf\u{fc}hrung")]);
    let drills: Vec<_> = found.drills.iter().map(|one| one.frequency.as_deref()).collect();
    assert_eq!(drills, [Some("monthly"), Some("yearly")]);
    let backups: Vec<_> =
        found.backups.iter().map(|one| (one.every_seconds, one.retention_seconds)).collect();
    assert_eq!(backups, [(Some(DAY), Some(30 * DAY)), (Some(6 * HOUR), Some(14 * DAY))]);
    assert_eq!(found.review.owner.as_deref(), Some("Team Betrieb"));
    assert_eq!(found.review.next_review.as_deref(), Some("2027-05-04"));
    assert_eq!(found.unrecognised, []);
}

#[test]
fn drawn_tables_and_underlined_numbers_are_recognised() {
    let found = recognised(include_str!("documents/drawn.rst"));
    assert_eq!(objectives(&found), [("Database", Some(HOUR), Some(300)), ("Web", Some(1800), None)]);
    assert_eq!(found.objectives[1].line, 13);
    assert_eq!(
        titles(&found),
        [(Some("2.1"), "Loss of the primary", 19), (Some("2.2"), "Loss of the cache", 32)]
    );
    let first = &found.scenarios[0];
    assert_eq!(first.symptoms, ["alert DatabaseDown"]);
    let shown: Vec<_> = first
        .steps
        .iter()
        .map(|one| (one.line, one.part, one.under.as_ref().unwrap().title.as_str()))
        .collect();
    assert_eq!(
        shown,
        [(26, "verification", "Check that the primary is down"), (30, "recovery", "Promote the standby")]
    );
    assert_eq!(steps(&found.scenarios[1]), [(39, StepKind::Command, Class::Idempotent)]);
    assert_eq!(found.contacts[0].email.as_deref(), Some("ann@plan.example"));
}

#[test]
fn asciidoc_is_recognised_with_the_lines_of_the_file() {
    let found = recognised(include_str!("documents/handbook.adoc"));
    assert_eq!(objectives(&found), [("Database", Some(HOUR), Some(900)), ("Cache", Some(600), Some(0))]);
    assert_eq!(found.objectives.iter().map(|one| one.line).collect::<Vec<_>>(), [10, 14]);
    assert_eq!(titles(&found), [(Some("1"), "Database failure", 17), (Some("2"), "Cache failure", 36)]);
    assert_eq!(found.scenarios[0].symptoms, ["login fails"]);
    assert_eq!(
        steps(&found.scenarios[0]),
        [
            (23, StepKind::Manual, Class::Unknown),
            (27, StepKind::Command, Class::Idempotent),
            (29, StepKind::Manual, Class::Destructive),
            (33, StepKind::Command, Class::Destructive)
        ]
    );
    // What is quoted is the file.
    assert_eq!(found.unrecognised.iter().map(|one| one.text.as_str()).collect::<Vec<_>>(), [":author: SRE"]);
}

#[test]
fn html_folded_parts_and_bare_sentences_are_recognised() {
    let found = recognised(include_str!("documents/folded.md"));
    assert_eq!(
        objectives(&found),
        [("platform", Some(4 * HOUR), Some(HOUR)), ("Billing", Some(1800), Some(300))]
    );
    assert_eq!(titles(&found), [(None, "Database down", 20), (None, "Disk full", 41)]);
    let first = &found.scenarios[0];
    assert_eq!(first.symptoms.len(), 1);
    let shown: Vec<_> = first
        .steps
        .iter()
        .map(|one| (one.line, one.kind, one.under.as_ref().map(|under| under.title.as_str())))
        .collect();
    assert_eq!(
        shown,
        [
            (27, StepKind::Check, Some("Look at the server")),
            (30, StepKind::Manual, None),
            (35, StepKind::Command, Some("Then start it"))
        ]
    );
    let contacts: Vec<_> =
        found.contacts.iter().map(|one| (one.title(), one.name.as_deref(), one.phone.as_deref())).collect();
    assert_eq!(contacts, [("Primary", Some("Jane Doe"), Some("+1 555 123 4567")), ("Backup", None, None)]);
    let drills: Vec<_> =
        found.drills.iter().map(|one| (one.title.as_str(), one.frequency.as_deref())).collect();
    assert_eq!(
        drills,
        [
            ("Restore the database", Some("quarterly")),
            ("We restore everything on the first Tuesday of each month", Some("monthly"))
        ]
    );
    assert_eq!(found.unrecognised, []);
}

#[test]
fn a_first_heading_beside_others_like_it_is_a_scenario_and_labels_need_no_mark() {
    let text = "\u{feff}# Cache outage\r\n\r\nSeverity: SEV2\r\n\r\nPrereqs\r\n- kubectl\r\n\r\nSteps\r\n1) Restart: `kubectl rollout restart sts/cache -n a`\r\n\r\n# Database outage\r\n\r\nSteps\r\n1) `kubectl get pods -n db`\r\n";
    let found = recognised(text);
    assert_eq!(titles(&found), [(None, "Cache outage", 1), (None, "Database outage", 11)]);
    assert_eq!(found.scenarios[0].prerequisites, ["kubectl"]);
    assert_eq!(steps(&found.scenarios[0]), [(9, StepKind::Command, Class::Idempotent)]);
    assert_eq!(found.unrecognised, []);
}

#[test]
fn parts_promises_and_people_are_recognised_wherever_they_stand() {
    let text = "\
# Handbook

Objective: RTO 2h / RPO 24h

Table of Contents
=================

* [Redis](#redis)

## Redis out of memory

### Detect
Panel above 95 %.

### Act
```bash
redis-cli -h cache config set maxmemory 4gb
```

### Confirm
```bash
redis-cli -h cache ping
```

## Problem: disk of db-1

1. `journalctl --vacuum-size=100M`

On-call: ops@corp.example, +44 20 7946 0000

## Exercises

1. Region failover - every 6 months - SRE
";
    let found = recognised(text);
    assert_eq!(objectives(&found), [("platform", Some(2 * HOUR), Some(DAY))]);
    assert_eq!(titles(&found), [(None, "Redis out of memory", 10), (None, "disk of db-1", 25)]);
    let first = &found.scenarios[0];
    assert_eq!((first.symptoms.len(), first.steps.len(), first.is_verified), (1, 2, true));
    assert_eq!(found.contacts[0].email.as_deref(), Some("ops@corp.example"));
    let drill = &found.drills[0];
    assert_eq!((drill.frequency.as_deref(), drill.every_seconds), (Some("every 6 months"), Some(180 * DAY)));
    assert_eq!(
        objectives(&recognised(
            "# x\n\nWir m\u{fc}ssen innerhalb von 4 Stunden wieder online sein und d\u{fc}rfen h\u{f6}chstens 1 Stunde verlieren.\n\n## SLO\n\nNoted"
        )),
        [("platform", Some(4 * HOUR), Some(HOUR))]
    );
    assert_eq!(
        objectives(&recognised(
            "# x\n\n## SLO\n\nBack in 30 minutes (RTO), no more than 5 minutes of data (RPO).\n"
        )),
        [("platform", Some(1800), Some(300))]
    );
}

#[test]
fn every_draft_of_these_documents_loads() {
    for text in [
        include_str!("documents/tables.md"),
        include_str!("documents/setext.md"),
        include_str!("documents/single.md"),
        include_str!("documents/prose.md"),
        include_str!("documents/german.md"),
        include_str!("documents/drawn.rst"),
        include_str!("documents/handbook.adoc"),
        include_str!("documents/folded.md"),
    ] {
        for file in import::draft(&recognised(text), "document.md", "platform") {
            if file.path.starts_with("runbooks/") {
                let loaded = runbook::load(file.content.as_bytes());
                assert!(loaded.is_ok_and(|one| one.steps().count() > 0), "{}", file.content);
            }
        }
    }
}

#[test]
fn titles_in_bold_are_scenarios_where_there_are_no_headings_for_them() {
    let text = "\
# Notes

## What can go wrong

**The database is gone**

Symptoms: everything is 500, nobody can log in

1. `docker compose stop worker`
2. `./restore.sh latest`

**The disk is full**

Symptoms: uploads fail

1. `docker system prune -af`
";
    let found = recognised(text);
    assert_eq!(titles(&found), [(None, "The database is gone", 5), (None, "The disk is full", 12)]);
    let shown: Vec<_> = found.scenarios.iter().map(|one| (one.symptoms.len(), one.steps.len())).collect();
    assert_eq!(shown, [(2, 2), (1, 1)]);
}
