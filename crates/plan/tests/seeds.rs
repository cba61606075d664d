//! Five recovery documents as teams have them, unchanged: what is recognised in each was listed by hand beforehand.
//!
//! The documents lie in a folder `shared/seeds` beside the repository; where it is missing, each test says so and does
//! nothing. Titles and numbers only: no sentence of a document stands here.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test")]

use muster_plan::{
    document,
    import::{self, Class, Recognised, Scenario, StepKind},
    runbook,
};

fn recognised(prefix: &str) -> Option<Recognised> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/seeds");
    let Ok(entries) = std::fs::read_dir(folder) else {
        #[allow(clippy::print_stdout, reason = "a test that was skipped must say so")]
        {
            println!("skipped: there is no folder shared/seeds beside the repository");
        }
        return None;
    };
    let path = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix))
        .unwrap();
    Some(import::recognise(&document::read(&std::fs::read(path).unwrap()).unwrap()))
}

fn titles(found: &Recognised) -> Vec<(&str, usize)> {
    found.scenarios.iter().map(|one| (one.title.as_str(), one.line)).collect()
}

/// Scope, RTO and RPO in seconds.
fn objectives(found: &Recognised) -> Vec<(&str, Option<u64>, Option<u64>)> {
    found.objectives.iter().map(|one| (one.scope.as_str(), one.rto_seconds, one.rpo_seconds)).collect()
}

fn drills(found: &Recognised) -> Vec<(&str, Option<&str>)> {
    found.drills.iter().map(|one| (one.title.as_str(), one.frequency.as_deref())).collect()
}

/// The title, whether anybody could be reached by what is written, and after how many seconds it is their turn.
fn contacts(found: &Recognised) -> Vec<(&str, bool, Option<u64>)> {
    found.contacts.iter().map(|one| (one.title(), one.is_reachable, one.escalate_after_seconds)).collect()
}

/// What the step on a line is.
fn step(scenario: &Scenario, line: usize) -> (StepKind, Class) {
    let step = scenario.steps.iter().find(|step| step.line == line);
    let step =
        step.unwrap_or_else(|| panic!("no step on line {line} of {}: {:#?}", scenario.title, scenario.steps));
    (step.kind, step.class)
}

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

#[test]
fn the_first_document_is_recognised_as_a_person_reads_it() {
    let Some(found) = recognised("000_") else { return };
    assert_eq!(objectives(&found), [("platform", Some(HOUR), Some(DAY))]);
    assert_eq!(
        titles(&found),
        [
            ("Application Crash / Container Restart", 77),
            ("Database Corruption / Loss", 113),
            ("Full Infrastructure Failure", 170),
            ("Compromised API Keys", 222),
            ("Failed Deployment Rollback", 262),
        ]
    );
    assert_eq!(found.scenarios.iter().map(|one| one.number.as_deref()).collect::<Vec<_>>()[1], Some("3.2"));
    assert_eq!(found.scenarios.iter().map(|one| one.symptoms.len()).collect::<Vec<_>>(), [3, 3, 2, 3, 3]);
    assert_eq!(
        contacts(&found),
        [
            ("On-call engineer", false, Some(0)),
            ("Backend lead", false, Some(15 * MINUTE)),
            ("Infrastructure lead", false, Some(30 * MINUTE)),
            ("Engineering manager", false, Some(HOUR)),
            ("VP Engineering", false, Some(2 * HOUR)),
            ("Anthropic", true, None),
            ("OpenAI", true, None),
            ("Cloud provider", false, None),
        ]
    );
    assert_eq!(
        drills(&found),
        [
            ("Backup restore test", Some("monthly")),
            ("Application failover", Some("quarterly")),
            ("Full DR simulation", Some("twice yearly")),
            ("Key rotation drill", Some("quarterly")),
        ]
    );
    assert_eq!(
        found.escalation.iter().map(|one| one.after_seconds).collect::<Vec<_>>(),
        [0, 900, 1800, 3600, 7200]
    );
    assert!(found.checklists.iter().any(|one| one.items.len() == 11));

    let database = &found.scenarios[1];
    assert_eq!(step(database, 121), (StepKind::Check, Class::Observe));
    assert_eq!(step(database, 134), (StepKind::Command, Class::Idempotent));
    assert_eq!(step(database, 140).0, StepKind::Decision);
    assert_eq!(step(database, 153), (StepKind::Command, Class::Destructive));
    assert_eq!(step(database, 166).0, StepKind::Check);
    let branch = database.steps.iter().find(|one| one.line == 143).unwrap();
    assert_eq!(branch.depends_on, Some(140), "the restart depends on the decision in line 140");
    assert!(database.steps.iter().any(|one| one.variant.as_deref() == Some("kubernetes") && one.line == 137));
    assert_eq!(step(&found.scenarios[2], 216).0, StepKind::Manual);
    assert_eq!(step(&found.scenarios[3], 241), (StepKind::Command, Class::Destructive));
    let names: Vec<_> = found.questions.iter().map(|one| one.placeholder.as_str()).collect();
    for name in
        ["gorgon_backup_YYYYMMDD_HHMMSS", "<NEW_KEY>", "<last-known-good-commit>", "<N>", "sk-ant-xxx"]
    {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}

#[test]
fn the_second_document_is_recognised_as_a_person_reads_it() {
    let Some(found) = recognised("001_") else { return };
    assert_eq!(objectives(&found), [("platform", Some(4 * HOUR), Some(HOUR))]);
    assert_eq!(
        titles(&found),
        [
            ("Complete Database Failure", 58),
            ("Redis Cache Failure", 106),
            ("Application Container Crash", 142),
            ("Full System Recovery (New Host)", 188),
            ("Data Corruption Recovery", 242),
            ("Network/Connectivity Issues", 299),
            ("Kubernetes Cluster Recovery", 348),
        ]
    );
    let expected: Vec<_> = found
        .scenarios
        .iter()
        .map(|one| one.expected.map(|range| (range.min_seconds / 60, range.max_seconds / 60)))
        .collect();
    let all = [(15, 45), (5, 15), (5, 30), (120, 240), (30, 120), (15, 60), (15, 120)];
    assert_eq!(expected, all.map(Some));
    assert_eq!(
        contacts(&found),
        [
            ("On-Call Engineer", true, Some(0)),
            ("Database Admin", true, Some(15 * MINUTE)),
            ("Platform Lead", true, Some(30 * MINUTE)),
            ("Executive", true, Some(HOUR)),
        ]
    );
    assert_eq!(found.contacts[1].email.as_deref(), Some("database-team@company.com"));
    let backups: Vec<_> = found
        .backups
        .iter()
        .filter_map(|one| Some((one.what.as_str(), one.every_seconds?, one.retention_seconds?)))
        .collect();
    assert_eq!(
        backups,
        [
            ("PostgreSQL", HOUR, 7 * DAY),
            ("Redis", 6 * HOUR, 3 * DAY),
            ("Configuration", DAY, 30 * DAY),
            ("Full System", DAY, 14 * DAY)
        ]
    );
    let drills = found.drills.iter().map(|one| (one.line, one.frequency.as_deref())).collect::<Vec<_>>();
    assert_eq!(
        drills,
        [(29, Some("weekly")), (411, Some("weekly")), (415, Some("weekly")), (419, Some("monthly"))]
    );

    let database = &found.scenarios[0];
    assert_eq!(step(database, 74), (StepKind::Wait, Class::Observe));
    assert_eq!(step(database, 85), (StepKind::Command, Class::Destructive));
    assert_eq!(step(database, 92), (StepKind::Command, Class::Destructive));
    assert_eq!(step(database, 99).0, StepKind::Check);
    assert_eq!(step(&found.scenarios[3], 211).0, StepKind::Manual);
    assert_eq!(step(&found.scenarios[3], 231).0, StepKind::Manual);
    assert_eq!(step(&found.scenarios[5], 320), (StepKind::Command, Class::Destructive));
    assert_eq!(step(&found.scenarios[6], 377), (StepKind::Command, Class::Destructive));
    assert_eq!(found.severities.len(), 4);
}

#[test]
fn the_third_document_is_recognised_as_a_person_reads_it() {
    let Some(found) = recognised("002_") else { return };
    assert_eq!(
        objectives(&found),
        [
            ("Single worker failure", Some(MINUTE), None),
            ("Redis failure", Some(5 * MINUTE), None),
            ("Postgres failure", Some(15 * MINUTE), None),
            ("Complete cluster failure", Some(30 * MINUTE), None),
            ("Data corruption", Some(HOUR), None),
            ("Agent runs (in-progress)", None, Some(0)),
            ("Agent definitions", None, Some(5 * MINUTE)),
            ("Memory store", None, Some(HOUR)),
            ("Vector embeddings", None, Some(DAY)),
            ("Audit logs", None, Some(0)),
        ]
    );
    assert_eq!(found.objectives[2].priority.as_deref(), Some("Critical"));
    assert_eq!(
        titles(&found),
        [
            ("Single Worker Failure", 120),
            ("Redis Failure", 152),
            ("PostgreSQL Failure", 215),
            ("Complete Cluster Failure", 288),
            ("Data Corruption", 355),
        ]
    );
    assert!(found.scenarios.iter().all(|one| one.symptoms.len() == 3));
    let procedures: Vec<_> = found.procedures.iter().map(|one| one.line).collect();
    for line in [407, 430] {
        assert!(procedures.contains(&line), "the sandbox procedure on line {line}: {procedures:?}");
    }
    assert_eq!(
        contacts(&found),
        [
            ("On-call Engineer", true, Some(15 * MINUTE)),
            ("Platform Lead", true, Some(30 * MINUTE)),
            ("Security", true, None),
        ]
    );
    assert_eq!(drills(&found).len(), 1);
    assert_eq!(found.drills[0].frequency.as_deref(), Some("quarterly"));
    assert_eq!(found.review.cycle.as_deref(), Some("quarterly"));
    assert_eq!(step(&found.scenarios[1], 192), (StepKind::Command, Class::Destructive));
    assert_eq!(step(&found.scenarios[3], 314), (StepKind::Command, Class::Destructive));
    assert_eq!(step(&found.scenarios[4], 379), (StepKind::Command, Class::Destructive));
    assert_eq!(found.endpoints.len(), 5);
}

#[test]
fn the_fourth_document_is_recognised_as_a_person_reads_it() {
    let Some(found) = recognised("003_") else { return };
    assert_eq!(
        objectives(&found),
        [
            ("Database", Some(5 * MINUTE), None),
            ("API Services", Some(10 * MINUTE), None),
            ("LLM Services", Some(15 * MINUTE), None),
            ("Redis Cache", Some(5 * MINUTE), None),
            ("Frontend", Some(10 * MINUTE), None),
            ("Monitoring", Some(30 * MINUTE), None),
            ("User Data", None, Some(HOUR)),
            ("Canvas Data", None, Some(HOUR)),
            ("LLM Usage Logs", None, Some(DAY)),
            ("System Logs", None, Some(HOUR)),
            ("Configuration", None, Some(0)),
        ]
    );
    assert_eq!(
        titles(&found),
        [
            ("Database Failure", 171),
            ("LLM Service Outage", 263),
            ("Redis Cache Failure", 332),
            ("Kubernetes Cluster Failure", 384),
            ("Complete System Outage", 445),
            ("Security Incident", 521),
        ]
    );
    let expected: Vec<_> = found
        .scenarios
        .iter()
        .map(|one| one.expected.map(|range| (range.min_seconds / 60, range.max_seconds / 60)))
        .collect();
    assert_eq!(expected, [Some((5, 15)), Some((0, 15)), Some((5, 5)), Some((10, 20)), Some((30, 60)), None]);
    assert_eq!(
        contacts(&found),
        [
            ("Primary On-Call", false, None),
            ("Secondary On-Call", false, None),
            ("Engineering Manager", false, None),
            ("CTO", false, None),
            ("AWS Support", true, None),
            ("Supabase Support", true, None),
            ("Together.ai Support", true, None),
            ("OpenAI Support", true, None),
        ]
    );
    assert_eq!(
        found.escalation.iter().map(|one| one.after_seconds).collect::<Vec<_>>(),
        [0, 900, 1800, 3600]
    );
    assert_eq!(
        found.drills.iter().map(|one| (one.line, one.title.as_str())).collect::<Vec<_>>(),
        [(676, "Database Restore"), (692, "LLM Fallback"), (727, "Complete Failover")]
    );
    assert!(found.drills.iter().all(|one| one.frequency.as_deref() == Some("first monday of each quarter")));
    assert_eq!(found.review.owner.as_deref(), Some("Platform Engineering Team"));
    assert_eq!(found.review.version.as_deref(), Some("1.0"));
    assert_eq!(found.review.last_updated.as_deref(), Some("2024-11-23"));
    assert_eq!(found.review.next_review.as_deref(), Some("2025-02-23"));
    assert_eq!(found.review.classification.as_deref(), Some("Internal Use Only"));

    assert_eq!(step(&found.scenarios[0], 221), (StepKind::Command, Class::Destructive));
    assert_eq!(step(&found.scenarios[0], 248), (StepKind::Command, Class::Destructive));
    assert_eq!(step(&found.scenarios[2], 362), (StepKind::Wait, Class::Observe));
    assert_eq!(step(&found.scenarios[4], 504), (StepKind::Command, Class::Destructive));
    assert_eq!(step(&found.scenarios[5], 538), (StepKind::Command, Class::Destructive));
}

#[test]
fn the_fifth_document_is_recognised_as_a_person_reads_it() {
    let Some(found) = recognised("004_") else { return };
    assert_eq!(objectives(&found), [("platform", Some(4 * HOUR), Some(DAY))]);
    assert_eq!(
        titles(&found),
        [
            ("Database Corruption", 217),
            ("Complete Infrastructure Loss", 232),
            ("Vault Seal/Corruption", 248),
            ("Accidental Data Deletion", 263),
            ("Ransomware/Security Incident", 278),
        ]
    );
    let expected: Vec<_> = found
        .scenarios
        .iter()
        .map(|one| one.expected.map(|range| (range.min_seconds / 3600, range.max_seconds / 3600)))
        .collect();
    assert_eq!(expected, [(2, 3), (3, 4), (1, 2), (1, 2), (4, 8)].map(Some));
    assert_eq!(found.scenarios.iter().map(|one| one.steps.len()).collect::<Vec<_>>()[..4], [4, 6, 4, 5]);
    assert_eq!(step(&found.scenarios[0], 227).0, StepKind::Decision);
    let process = found.procedures.iter().find(|one| one.line == 75).unwrap();
    assert_eq!(
        process
            .phases
            .iter()
            .filter_map(|one| one.expected)
            .map(|one| one.max_seconds / 60)
            .collect::<Vec<_>>(),
        [15, 30, 120, 60, 30]
    );
    assert!(contacts(&found).iter().all(|one| !one.1));
    assert_eq!(contacts(&found).len(), 4);
    assert_eq!(
        found.drills.iter().map(|one| (one.line, one.frequency.as_deref())).collect::<Vec<_>>(),
        [(54, Some("weekly")), (55, Some("monthly")), (365, Some("monthly")), (371, Some("quarterly"))]
    );
    let backups: Vec<_> = found
        .backups
        .iter()
        .filter(|one| one.every_seconds.is_some())
        .map(|one| {
            (one.what.as_str(), one.every_seconds.unwrap() / DAY, one.retention_seconds.map(|s| s / DAY))
        })
        .collect();
    assert_eq!(backups, [("Daily", 1, Some(7)), ("Weekly", 7, Some(28)), ("Monthly", 30, None)]);
    assert_eq!(found.review.owner.as_deref(), Some("DevOps Team"));
    assert_eq!(found.review.next_review.as_deref(), Some("2024-04-15"));
    assert_eq!(found.roles.len(), 5);
    assert!(found.checklists.iter().any(|one| one.items.len() == 11));
}

#[test]
fn every_document_says_what_it_did_not_understand_with_its_line() {
    for prefix in ["000_", "001_", "002_", "003_", "004_"] {
        let Some(found) = recognised(prefix) else { return };
        assert!(!found.unrecognised.is_empty(), "{prefix}");
        for one in &found.unrecognised {
            assert!(one.line > 0 && one.last_line >= one.line && !one.text.is_empty(), "{prefix}: {one:?}");
        }
    }
}

#[test]
fn every_draft_of_a_runbook_loads() {
    for prefix in ["000_", "001_", "002_", "003_", "004_"] {
        let Some(found) = recognised(prefix) else { return };
        let files = import::draft(&found, "document.md", "platform");
        assert!(files.len() > found.scenarios.len(), "{prefix}");
        for file in files.iter().filter(|file| file.path.starts_with("runbooks/")) {
            let loaded = runbook::load(file.content.as_bytes());
            let loaded =
                loaded.unwrap_or_else(|error| panic!("{prefix} {}: {error:?}\n{}", file.path, file.content));
            assert!(loaded.steps().count() > 0, "{prefix} {}", file.path);
        }
    }
}

#[test]
fn commands_that_destroy_are_never_weakened_by_a_draft() {
    let Some(found) = recognised("000_") else { return };
    let files = import::draft(&found, "document.md", "platform");
    let loaded = runbook::load(files[1].content.as_bytes()).unwrap();
    let branch = loaded.steps().find(|step| step.id == "line-143").unwrap();
    assert_eq!((branch.when[0].name.as_str(), branch.when[0].answer.as_str()), ("decide-140", "yes"));

    let Some(found) = recognised("001_") else { return };
    let files = import::draft(&found, "document.md", "platform");
    let loaded = runbook::load(files[0].content.as_bytes()).unwrap();
    let destructive: Vec<_> = found.scenarios[0]
        .steps
        .iter()
        .filter(|step| matches!(step.class, Class::Destructive | Class::Unknown))
        .map(|step| format!("line-{}", step.line))
        .collect();
    assert!(destructive.len() >= 3);
    for name in destructive {
        let step = loaded.steps().find(|step| step.id == name).unwrap();
        assert_eq!(
            (step.class, step.on_ambiguous),
            (Class::Destructive, Some(runbook::OnAmbiguous::Ask)),
            "{name}"
        );
    }
}
