//! Wrong input: what, where, why, what next; the documented exit code; nothing changed.

use std::fs;

use muster_testkit::{Cli, Sandbox};

use crate::platform::Platform;

#[test]
fn a_wrong_key_has_its_own_exit_code() {
    let platform = Platform::new();
    platform.back_up();
    platform.sandbox.write_key("another key");
    let refused = platform.run(&["list"]);
    refused.assert_exit(12);
    assert!(refused.stderr.contains("key") && refused.stderr.contains("hint:"), "{}", refused.stderr);
}

#[test]
fn a_missing_repository_has_its_own_exit_code() {
    let platform = Platform::new();
    fs::remove_dir_all(platform.sandbox.repository()).unwrap();
    let refused = platform.run(&["backup"]);
    refused.assert_exit(10);
    assert!(
        refused.stderr.contains("no repository") && refused.stderr.contains("muster init"),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_unknown_component_backup_or_run_is_named_with_what_there_is() {
    let platform = Platform::new();
    platform.back_up();
    let unknown = platform.run(&["restore", "databse", "--yes"]);
    unknown.assert_exit(2);
    assert!(unknown.stderr.contains("database, uploads"), "{}", unknown.stderr);
    platform.run(&["restore", "database", "--to", "ffffffff", "--yes"]).assert_exit(1);
    platform.run(&["restore", "database", "--to", "2020-01-01T00:00:00Z", "--yes"]).assert_exit(1);
    platform.run(&["resume", "nothing", "--yes"]).assert_exit(1);
    platform.run(&["show", "nothing"]).assert_exit(1);
    platform.assert_rows(100);
}

#[test]
fn a_time_without_zone_is_refused() {
    let platform = Platform::new();
    platform.back_up();
    let refused = platform.run(&["restore", "database", "--failed-at", "2026-05-01 10:00", "--yes"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("zone"), "{}", refused.stderr);
    let mistyped = platform.run(&["restore", "database", "--to", "2026-05-01T10:00:00", "--yes"]);
    mistyped.assert_exit(2);
    assert!(mistyped.stderr.contains("zone"), "{}", mistyped.stderr);
    let future = platform.run(&["restore", "database", "--failed-at", "2999-01-01T00:00:00Z", "--yes"]);
    future.assert_exit(2);
    assert!(future.stderr.contains("future"), "{}", future.stderr);
}

#[test]
fn a_wrong_option_is_one_document_for_programs_too() {
    let platform = Platform::new();
    let refused = platform.run(&["restore", "--nonsense", "--json"]);
    refused.assert_exit(2);
    assert_eq!(refused.json()["error"]["kind"], "input");
}

#[test]
fn a_label_that_could_be_taken_for_something_else_is_refused() {
    let platform = Platform::new();
    for label in ["latest", "", "a\nb", "2026-05-01T10:00:00Z"] {
        platform.run(&["backup", "--label", label]).assert_exit(2);
    }
    assert!(platform.list().is_empty());
}

#[test]
fn a_configuration_that_is_named_by_a_winding_path_means_the_same_places() {
    let platform = Platform::new();
    platform.back_up();
    let folder = platform.sandbox.path().join("elsewhere");
    fs::create_dir(&folder).unwrap();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), &folder);
    cli.run(&["-c", "../muster.yaml", "backup"]).assert_exit(0);
    cli.run(&["-c", "../muster.yaml", "restore", "--all", "--yes"]).assert_exit(0);
}

#[test]
fn a_key_that_does_not_exist_in_the_configuration_is_shown_with_line_and_column() {
    let platform = Platform::new();
    let text = platform.sandbox.config().replace("    kind: sqlite", "    kind: sqlite\n    pth: /x");
    platform.sandbox.write_config(&text);
    let refused = platform.run(&["backup"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("muster.yaml:9:5"), "{}", refused.stderr);
    assert!(refused.stderr.contains("did you mean `path`"), "{}", refused.stderr);
}

#[test]
fn without_a_configuration_the_hint_is_to_make_one() {
    let sandbox = Sandbox::empty();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());
    let refused = cli.run(&["status"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("muster init"), "{}", refused.stderr);
}

#[test]
fn init_makes_everything_that_a_first_backup_and_its_proof_need() {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.config_file()).unwrap();
    // Clusters of tests beside this one are no part of the sandbox.
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
        .env("PG_CLUSTER_CONF_ROOT", sandbox.path().join("etc"));
    cli.run(&["init", "--yes"]).assert_exit(0);
    cli.run(&["config", "check"]).assert_exit(0);
    cli.run(&["backup"]).assert_exit(0);
    cli.run(&["prove"]).assert_exit(0);
    let again = cli.run(&["init", "--yes"]);
    assert_ne!(again.code, Some(0), "it never writes over a configuration");
}

#[test]
fn two_backups_at_the_same_time_are_both_whole() {
    let platform = Platform::new();
    let runs: Vec<_> = (0..2).map(|_| platform.cli.spawn(&["backup"])).collect();
    for run in runs {
        run.wait(crate::platform::PATIENCE).assert_exit(0);
    }
    assert_eq!(platform.list().len(), 4);
    platform.well(&["verify", "--read-data"]);
    platform.well(&["prove"]);
}

#[test]
fn a_configuration_that_no_backup_could_be_taken_of_is_not_called_sound() {
    let platform = Platform::new();
    let uploads = platform.sandbox.uploads();
    let link = platform.sandbox.path().join("link");
    std::os::unix::fs::symlink(&uploads, &link).unwrap();
    let (sound, shown) = (platform.sandbox.config(), uploads.display().to_string());
    for (text, word) in [
        (sound.replace(&format!("[{shown}]"), &format!("[{}]", link.display())), "symbolic link"),
        (sound.replace(&format!("[{shown}]"), &format!("[{shown}]\n    exclude: [\"[\"]")), "glob"),
        (sound.replace("keep: {last: 3}", "keep: {last: -1}"), "a number"),
    ] {
        platform.sandbox.write_config(&text);
        let refused = platform.run(&["config", "check"]);
        refused.assert_exit(2);
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
}
