//! `muster check` with a deadline for all, and `muster diagnose`: from what is seen to the runbook that fits.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use muster_testkit::free_port;

use crate::platform::Platform;

const DOCUMENT: &str = "\
# Recovery of the shop\n\n\
## Scenario 1: Cache lost\n\n**Symptoms:**\n- slow pages\n- people are logged out\n\n### Recovery\n\n```bash\nredis-cli ping\n```\n\n\
## Scenario 2: Payment provider is away\n\n**Symptoms:**\n- orders stay unpaid\n- errors 429 from the provider\n\n### Recovery\n\n```bash\ncurl -f https://status.example.com\n```\n";

/// A platform with two checks, of which `database` fails, and three places that say what to do.
fn platform() -> (Platform, TcpListener) {
    let platform = Platform::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (open, closed) = (listener.local_addr().unwrap().port(), free_port());
    let text = format!(
        "{}checks:\n  api: {{tcp: \"127.0.0.1:{open}\"}}\n  database: {{tcp: \"127.0.0.1:{closed}\", timeout: 2s}}\n",
        platform.sandbox.config(),
    );
    platform.sandbox.write_config(&text);
    let runbook = |name: &str, title: &str, symptoms: &str| {
        let text = format!(
            "---\ntitle: {title}\nseverity: P1\nrto: 1h\nsymptoms: [{symptoms}]\n---\n## Look\n\n```muster\ncheck: database\n```\n"
        );
        fs::write(platform.sandbox.path().join("runbooks").join(name), text).unwrap();
    };
    fs::create_dir(platform.sandbox.path().join("runbooks")).unwrap();
    runbook("api.md", "The API does not answer", "api, database");
    runbook("database.md", "Database lost", "database");
    fs::write(platform.sandbox.path().join("DISASTER_RECOVERY.md"), DOCUMENT).unwrap();
    (platform, listener)
}

// proves: D1
#[test]
fn failed_checks_and_typed_words_name_the_runbook_that_fits_with_why() {
    let (platform, _listener) = platform();
    let answer = platform.well(&["diagnose", "--json"]).json();
    assert_eq!(answer["checks"].as_array().unwrap().len(), 2);
    let first = &answer["candidates"][0];
    assert_eq!(first["title"], "Database lost", "{answer:#}");
    assert_eq!(first["why"][0], "its symptom `database` fails");
    assert!(first["command"].as_str().unwrap().ends_with("runbooks/database.md"), "{first}");
    assert_eq!(answer["candidates"][1]["title"], "The API does not answer");
    // The words of a person are worth more than what a check says in passing.
    for (words, title, section) in [
        (&["people", "logged out"][..], "Cache lost", "1"),
        (&["orders are not paid, provider says 429"], "Payment provider is away", "2"),
    ] {
        let args = [&["diagnose", "--no-checks", "--json"], words].concat();
        let answer = platform.well(&args).json();
        let first = &answer["candidates"][0];
        assert_eq!(
            (first["title"].as_str(), first["section"].as_str()),
            (Some(title), Some(section)),
            "{answer:#}"
        );
        // What it proposes can be pasted.
        let pasted = first["command"].as_str().unwrap().strip_prefix("muster ").unwrap();
        let shown = platform.well(&pasted.split(' ').collect::<Vec<_>>());
        assert!(shown.stdout.contains(title), "{}", shown.stdout);
    }
    let text = platform.well(&["diagnose"]).stdout;
    assert!(text.contains("1 of 2 checks failed") && text.contains("1. Database lost (P1)"), "{text}");
}

#[test]
fn what_fits_nothing_is_said_and_a_broken_runbook_hides_no_other() {
    let (platform, _listener) = platform();
    fs::write(platform.sandbox.path().join("runbooks/broken.md"), "```muster\nstop:\n```\n").unwrap();
    let nothing = platform.run(&["diagnose", "--no-checks", "weather"]);
    nothing.assert_exit(1);
    assert!(
        nothing.stdout.contains("no runbook fits") && nothing.stdout.contains("--in"),
        "{}",
        nothing.stdout
    );
    assert!(nothing.stdout.contains("broken.md is left out"), "{}", nothing.stdout);
    platform.run(&["diagnose", "--in", "gone.md", "x"]).assert_exit(1);
    platform.run(&["diagnose", "--no-checks"]).assert_exit(2);
    // Without any failure and any word there is nothing to look for.
    let config = fs::read_to_string(platform.sandbox.config_file()).unwrap();
    let line = config.lines().find(|line| line.contains("  database: {tcp")).unwrap();
    fs::write(platform.sandbox.config_file(), config.replace(line, "")).unwrap();
    let well = platform.well(&["diagnose"]);
    assert!(well.stdout.contains("1 check passed: nothing is wrong"), "{}", well.stdout);
}

#[test]
fn the_documents_of_real_teams_are_found_by_what_people_would_type() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/seeds");
    if !shared.exists() {
        println!("skipped: there are no documents of teams beside this checkout");
        return;
    }
    let document = |prefix: &str| -> PathBuf {
        let mut all = fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().path());
        all.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).unwrap()
    };
    let platform = Platform::new();
    let mut missed = Vec::new();
    for (prefix, words, title) in CASES {
        let file = document(prefix);
        let args = ["diagnose", "--no-checks", "--json", "--in", file.to_str().unwrap(), words];
        let answer = platform.well(&args).json();
        let first = answer["candidates"][0]["title"].as_str().unwrap_or_default().to_lowercase();
        if !first.contains(title) {
            missed.push(format!("{prefix} {words}: {:#}", answer["candidates"]));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A document, what somebody types at night, and a part of the title that must come first.
const CASES: &[(&str, &str, &str)] = &[
    ("000", "the api key was leaked", "compromised api keys"),
    ("000", "the deploy is broken, roll back", "failed deployment"),
    ("000", "the database is corrupted", "database corruption"),
    ("000", "the container keeps restarting", "application crash"),
    ("001", "redis is down", "redis cache failure"),
    ("001", "dns does not resolve", "network"),
    ("001", "pods pending in k8s", "kubernetes cluster"),
    ("001", "the host is gone, we need a new one", "full system recovery"),
    ("002", "a worker died", "single worker"),
    ("002", "redis is out of memory", "redis failure"),
    ("002", "sandbox containers are stuck", "docker sandbox"),
    ("003", "we were hacked", "security incident"),
    ("003", "openai is down", "llm service outage"),
    ("003", "kubernetes nodes are not ready", "kubernetes cluster failure"),
    ("004", "vault is sealed", "vault seal"),
    ("004", "a user deleted runs by accident", "accidental data deletion"),
    ("004", "files are encrypted by ransomware", "ransomware"),
];

// proves: F3
#[test]
fn one_check_that_hangs_does_not_hold_back_what_the_others_know() {
    let platform = Platform::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap().port();
    let mut text = format!(
        "{}checks:\n  hangs: {{command: [sleep, \"600\"], timeout: 10m}}\n",
        platform.sandbox.config()
    );
    for number in 0..40 {
        text.push_str(&format!("  up-{number:02}: {{tcp: \"127.0.0.1:{open}\"}}\n"));
    }
    platform.sandbox.write_config(&text);
    let outcome = platform.run(&["check", "--deadline", "5s", "--json"]);
    outcome.assert_exit(1);
    let answer = outcome.json();
    let results = answer["checks"].as_array().unwrap();
    assert_eq!(results.len(), 41);
    let failed: Vec<_> = results.iter().filter(|result| result["passed"] == false).collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0]["name"], "hangs");
    assert_eq!(failed[0]["error"], "not looked at to its end within the 5s that all checks have");
    platform.run(&["check", "--deadline", "5"]).assert_exit(2);
}
