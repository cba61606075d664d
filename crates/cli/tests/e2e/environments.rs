//! Staging and production in one folder: nothing of the other is ever opened.

use std::fs;

use muster_repo::{Location, Repo};
use muster_testkit::{Cli, Sandbox, sqlite};
use muster_types::Secret;

/// A shared file, two environments, one repository each; production's key is not on this machine.
fn two_environments() -> (Sandbox, Cli) {
    let sandbox = Sandbox::empty();
    let folder = sandbox.path().display().to_string();
    sandbox.write_config(
        "platform: shop\nobjectives: {rto: 1h, rpo: 1h}\ncomponents:\n  database:\n    kind: sqlite\n",
    );
    for (name, key) in [("staging", "staging.key"), ("production", "absent/production.key")] {
        let own = format!(
            "environment: {name}\nplatform: shop\nrepository: {{location: {folder}/{name}-repository, password: \"${{file:{folder}/{key}}}\"}}\ncomponents:\n  database: {{kind: sqlite, path: {folder}/{name}.db}}\n",
        );
        fs::write(sandbox.path().join(format!("muster.{name}.yaml")), own).unwrap();
        sqlite::sqlite_with_rows(&sandbox.path().join(format!("{name}.db")), 100);
    }
    fs::write(sandbox.path().join("staging.key"), "the key of staging\n").unwrap();
    make_repository(&format!("{folder}/staging-repository"), "the key of staging");
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());
    (sandbox, cli)
}

fn make_repository(path: &str, key: &str) {
    let location: Location = path.parse().unwrap();
    Repo::init(&location, &Secret::new(key)).unwrap();
}

// proves: A11
#[test]
fn with_the_credentials_of_production_absent_everything_of_staging_works() {
    let (sandbox, cli) = two_environments();
    for args in [
        &["--env", "staging", "config", "check"][..],
        &["--env", "staging", "backup"],
        &["--env", "staging", "prove"],
        &["--env", "staging", "restore", "database", "--yes"],
        &["--env", "staging", "status"],
        &["--env", "staging", "prune", "--yes"],
    ] {
        cli.run(args).assert_exit(0);
    }
    let production = cli.run(&["--env", "production", "list"]);
    production.assert_exit(2);
    assert!(production.stderr.contains("production.key"), "{}", production.stderr);
    assert_eq!(sqlite::count_rows(&sandbox.path().join("production.db")), 100);
}

#[test]
fn a_drill_is_refused_in_production_and_done_in_staging() {
    let (sandbox, cli) = two_environments();
    fs::create_dir(sandbox.path().join("absent")).unwrap();
    fs::write(sandbox.path().join("absent/production.key"), "k\n").unwrap();
    fs::write(
        sandbox.path().join("x.md"),
        "---\ntitle: x\n---\n```bash {name=one, class=idempotent}\necho done >> witness\n```\n",
    )
    .unwrap();
    let refused = cli.run(&["--env", "production", "run", "x.md", "--drill", "--yes"]);
    refused.assert_exit(2);
    assert!(
        refused.stderr.contains("`--drill` is not for the environment `production`"),
        "{}",
        refused.stderr
    );
    assert!(!sandbox.path().join("witness").exists());
    cli.run(&["--env", "production", "run", "x.md", "--drill", "--dry-run"]).assert_exit(0);
    cli.run(&["--env", "staging", "run", "x.md", "--drill", "--yes"]).assert_exit(0);
    assert_eq!(fs::read_to_string(sandbox.path().join("witness")).unwrap(), "done\n");
}

#[test]
fn a_command_that_changes_something_has_no_default_environment() {
    let (_sandbox, cli) = two_environments();
    for args in [&["backup"][..], &["restore", "database", "--yes"], &["prune", "--yes"]] {
        let refused = cli.run(args);
        refused.assert_exit(2);
        assert!(refused.stderr.contains("--env"), "{}", refused.stderr);
    }
}

#[test]
fn a_backup_of_production_behind_the_name_of_staging_is_refused() {
    let (sandbox, cli) = two_environments();
    // Somebody has pointed production's own file at the repository of staging, and made a backup there.
    fs::create_dir(sandbox.path().join("absent")).unwrap();
    fs::write(sandbox.path().join("absent/production.key"), "the key of staging\n").unwrap();
    let production = sandbox.path().join("muster.production.yaml");
    let text =
        fs::read_to_string(&production).unwrap().replace("production-repository", "staging-repository");
    fs::write(&production, text).unwrap();
    let report = cli.run(&["--env", "production", "backup", "--json"]);
    report.assert_exit(0);
    let id = report.json()["backups"][0]["id"].as_str().unwrap().to_owned();
    sqlite::sqlite_with_rows(&sandbox.path().join("staging.db"), 150);
    for target in [id.as_str(), "latest"] {
        let refused = cli.run(&["--env", "staging", "restore", "database", "--to", target, "--yes"]);
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    }
    // The same the other way round: staging's file names production's database, and has a backup of its own.
    fs::remove_file(&production).unwrap();
    cli.run(&["--env", "staging", "backup"]).assert_exit(0);
    let staging = sandbox.path().join("muster.staging.yaml");
    let text = fs::read_to_string(&staging).unwrap().replace("staging.db", "production.db");
    fs::write(&staging, text).unwrap();
    let refused = cli.run(&["--env", "staging", "restore", "database", "--yes"]);
    refused.assert_exit(1);
    assert!(refused.stderr.contains("was taken from"), "{}", refused.stderr);
    assert_eq!(sqlite::count_rows(&sandbox.path().join("production.db")), 100);
}

#[test]
fn a_secret_of_a_service_or_check_is_nowhere_in_what_is_said_or_kept() {
    let platform = crate::platform::Platform::new();
    let secret = "a-token-that-nobody-may-see";
    fs::write(platform.sandbox.path().join("token"), format!("{secret}\n")).unwrap();
    let token = format!("${{file:{}}}", platform.sandbox.path().join("token").display());
    let config = format!(
        "{}services:\n  api:\n    uses: [database]\n    command:\n      start: [sh, -c, \"echo no {token} >&2; exit 9\"]\n      stop: [\"true\"]\n      status: [\"false\"]\nchecks:\n  login:\n    command: [echo, \"other {token}\"]\n    conditions: [\"[BODY] == {token}\"]\n    tags: [quick]\n",
        platform.sandbox.config()
    );
    platform.sandbox.write_config(&config);
    platform.back_up();
    for args in [
        &["restore", "database", "--yes"][..],
        &["service", "start", "api"],
        &["service", "start", "api", "--json"],
        &["service", "start", "api", "--dry-run"],
        &["check", "--verbose"],
        &["check", "--json"],
        &["runs", "--json"],
    ] {
        let outcome = platform.run(args);
        let said = outcome.stdout + &outcome.stderr;
        assert!(!said.contains(secret), "{args:?}: {said}");
        assert!(args[0] == "runs" || said.contains("***"), "{args:?}: {said}");
    }
    let state = platform.sandbox.path().join(".muster");
    for entry in fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains(secret), "{}", path.display());
        }
    }
}
