//! A platform that an intruder was in: what was backed up since is left out, by every command that chooses.

use std::fs;

use jiff::Timestamp;
use muster_testkit::Cli;

use crate::platform::Platform;

/// A platform with a backup from before an intruder came, and one from after it.
struct Broken {
    platform: Platform,
    since: String,
    later: String,
}

impl Broken {
    fn new() -> Self {
        let platform = Platform::new();
        let page = platform.sandbox.uploads().join("page");
        fs::write(&page, "ours").unwrap();
        platform.back_up();
        let since = Timestamp::now().to_string();
        fs::write(&page, "theirs").unwrap();
        let later = platform.back_up()["uploads"].clone();
        fs::write(&page, "encrypted").unwrap();
        Self { platform, since, later }
    }

    fn page(&self) -> String {
        fs::read_to_string(self.platform.sandbox.uploads().join("page")).unwrap()
    }
}

// proves: C17
#[test]
fn what_was_backed_up_after_a_compromise_is_restored_only_when_somebody_vouches_for_it() {
    let broken = Broken::new();
    let since = ["--compromised-since", &broken.since];
    let run = |args: &[&str]| broken.platform.run(&[args, &since].concat());
    let listed = run(&["list", "--json"]);
    listed.assert_exit(0);
    assert_eq!(listed.json()["left_out"], 2);
    assert!(!listed.stdout.contains(&broken.later), "{}", listed.stdout);
    assert!(run(&["list"]).stdout.contains("2 backups hold a state from"));

    let by_id = run(&["restore", "uploads", "--to", &broken.later, "--yes"]);
    by_id.assert_exit(1);
    assert!(
        by_id.stderr.contains("after the compromise") && by_id.stderr.contains("--vouched-by"),
        "{}",
        by_id.stderr
    );
    run(&["restore", "uploads", "--to", &broken.later, "--yes", "--vouched-by", "ada"]).assert_exit(2);
    run(&["restore", "uploads", "--undo", "--yes"]).assert_exit(2);
    broken
        .platform
        .run(&["restore", "uploads", "--compromised-since", "2099-01-01T00:00:00Z"])
        .assert_exit(2);
    assert_eq!(broken.page(), "encrypted", "nothing was changed");

    for target in
        [&["--all"][..], &["uploads", "--to", "latest"], &["--all", "--to", &Timestamp::now().to_string()]]
    {
        let restored = run(&[&["restore", "--yes", "--json"], target].concat());
        restored.assert_exit(0);
        assert_eq!(broken.page(), "ours", "{target:?}");
        let notes = restored.json()["notes"].to_string();
        assert!(notes.contains("uploads: 1") && notes.contains("of later changes are lost"), "{notes}");
        fs::write(broken.platform.sandbox.uploads().join("page"), "encrypted").unwrap();
    }
    let word = ["--vouched-by", "ada: compared every page with the printed ones"];
    let vouched =
        run(&[&["restore", "uploads", "--to", &broken.later, "--yes", "--json"][..], &word].concat());
    vouched.assert_exit(0);
    assert_eq!(broken.page(), "theirs");
    let id = vouched.json()["run"].as_str().unwrap().to_owned();
    let kept = broken.platform.well(&["show", &id, "--json"]).stdout;
    assert!(kept.contains("vouched for by ada: compared every page"), "{kept}");
}

#[test]
fn a_blank_host_is_recovered_to_the_last_state_before_a_compromise() {
    let broken = Broken::new();
    let home = tempfile::tempdir().unwrap();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), home.path());
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let into = path(home.path().join("new"));
    let (repository, key) = (path(broken.platform.sandbox.repository()), path(broken.platform.sandbox.key()));
    let args =
        ["recover", "--repository", &repository, "--key-file", &key, "--into", &into, "--all", "--yes"];
    let report = cli.run(&[&args[..], &["--compromised-since", &broken.since, "--json"]].concat());
    report.assert_exit(0);
    let notes = report.json()["run"]["notes"].to_string();
    assert!(notes.contains("uploads: 1"), "{notes}");
    assert_eq!(broken.page(), "ours");
}
