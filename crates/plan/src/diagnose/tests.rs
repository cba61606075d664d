//! What fits what is seen.

use muster_types::{Timestamp, check::CheckResult};

use super::{Candidate, Observed, is_same, rank};

fn check(name: &str, error: Option<&str>) -> CheckResult {
    CheckResult {
        name: name.into(),
        passed: error.is_none(),
        at: Timestamp::UNIX_EPOCH,
        seconds: 0.0,
        conditions: Vec::new(),
        requests: Vec::new(),
        error: error.map(str::to_owned),
    }
}

fn candidate(title: &str, checks: &[&str], symptoms: &[&str]) -> Candidate {
    let texts = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
    Candidate { title: title.into(), checks: texts(checks), symptoms: texts(symptoms), about: Vec::new() }
}

fn candidates() -> Vec<Candidate> {
    vec![
        candidate("Service does not start", &["api"], &["health endpoint answers with 503"]),
        candidate(
            "Database corruption",
            &["api", "database"],
            &["queries fail", "checksum errors in the log"],
        ),
        candidate("Cache lost", &[], &["slow pages", "people are logged out"]),
        candidate("Keys were stolen", &[], &["unknown logins", "calls from unknown addresses"]),
    ]
}

fn best(checks: &[CheckResult], words: &[&str]) -> Vec<String> {
    let (candidates, words) = (candidates(), words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
    let ranked = rank(&candidates, Observed { checks, words: &words });
    ranked.iter().map(|one| candidates[one.index].title.clone()).collect()
}

#[test]
fn the_runbook_whose_symptoms_fail_comes_first_and_one_that_passes_counts_against_it() {
    let both = [check("api", Some("no answer within 2s")), check("database", Some("refused"))];
    assert_eq!(best(&both, &[])[..2], ["Database corruption", "Service does not start"]);
    let only_api = [check("api", Some("no answer within 2s")), check("database", None)];
    assert_eq!(best(&only_api, &[])[..2], ["Service does not start", "Database corruption"]);
}

#[test]
fn words_of_a_person_rank_by_what_few_candidates_have() {
    assert_eq!(best(&[], &["postgres", "is corrupted"])[0], "Database corruption");
    assert_eq!(best(&[], &["everything is slow and people are logged out"])[0], "Cache lost");
    assert_eq!(best(&[], &["we were hacked: unknown logins"])[0], "Keys were stolen");
    assert_eq!(best(&[], &["weather"]), [""; 0]);
    assert_eq!(best(&[check("api", None)], &[]), [""; 0]);
    // A check without a runbook of its own still tells something by its reason.
    assert_eq!(
        best(&[check("frontend", Some("`[STATUS] == 200` does not hold: found 503"))], &[])[0],
        "Service does not start"
    );
}

#[test]
fn endings_and_names_of_one_thing_are_the_same_word_and_numbers_are_not() {
    for (a, b) in [("fails", "failing"), ("corrupted", "corruption"), ("pg", "database"), ("keys", "key")] {
        assert!(is_same(a, b) && is_same(b, a), "{a} {b}");
    }
    for (a, b) in [("restore", "restart"), ("50000", "50001"), ("logs", "login"), ("api", "app")] {
        assert!(!is_same(a, b), "{a} {b}");
    }
}
