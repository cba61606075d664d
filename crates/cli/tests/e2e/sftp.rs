//! A repository, and a copy of one, on a host that is reached over SSH: OpenSSH's own server.

use std::{fs, time::Duration};

use muster_testkit::{
    Cli, Sandbox, Sshd, assert_trees_equal, sqlite, sqlite_with_rows, tree_of_files, wait_for,
};

use crate::platform::Platform;

/// A platform whose `ssh` is the one of a throwaway host.
fn platform(server: &Sshd) -> Platform {
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path().join("data")).unwrap();
    sqlite_with_rows(&sandbox.path().join("data/app.db"), 100);
    tree_of_files(&sandbox.uploads(), 1, 20);
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
        .env("MUSTER_SSH_CONFIG", server.config().to_str().unwrap());
    Platform { sandbox, cli }
}

/// Takes everything away that a backup holds, brings it back with `args`, and compares.
fn lose_and_restore(platform: &Platform, args: &[&str]) {
    let kept = tempfile::tempdir().unwrap();
    let (uploads, database) = (platform.sandbox.uploads(), platform.sandbox.path().join("data/app.db"));
    let copied = kept.path().join("uploads");
    let status =
        std::process::Command::new("cp").args(["-a", "--sparse=always"]).arg(&uploads).arg(&copied).status();
    assert!(status.unwrap().success());
    fs::remove_file(&database).unwrap();
    fs::remove_dir_all(&uploads).unwrap();
    platform.well(args);
    assert_eq!(sqlite::count_rows(&database), 100);
    assert_trees_equal(&copied, &uploads);
}

#[test]
fn a_platform_is_kept_on_a_host_over_ssh_though_its_connection_is_cut() {
    let mut server = Sshd::new();
    let platform = platform(&server);
    let location = server.location("repository");
    platform.well(&["init", "--yes", "--repository", &location]);
    platform.well(&["backup"]);
    let mut content = vec![0; 40_000_000];
    fastrand::Rng::with_seed(7).fill(&mut content);
    fs::write(platform.sandbox.uploads().join("large"), content).unwrap();
    let file = platform.sandbox.config_file();
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replacen("  password:", "  max_upload_rate: 10MB\n  password:", 1)).unwrap();
    let packs = || walk(&server.files().join("repository/data"));
    let before = packs();
    let running = platform.cli.spawn(&["backup"]);
    wait_for("a new file among the packs", Duration::from_mins(1), || (packs() > before).then_some(()));
    assert!(server.cut() > 0, "nothing was connected");
    running.wait(Duration::from_mins(2)).assert_exit(0);
    fs::write(&file, &config).unwrap();
    platform.well(&["verify", "--read-data"]);
    lose_and_restore(&platform, &["restore", "--all", "--yes"]);
    let restic = std::process::Command::new("restic")
        .args([
            "--no-cache",
            "-r",
            server.files().join("repository").to_str().unwrap(),
            "check",
            "--read-data",
        ])
        .arg("--password-file")
        .arg(platform.sandbox.path().join("muster.key"))
        .output()
        .unwrap();
    assert!(restic.status.success(), "{}", String::from_utf8_lossy(&restic.stderr));

    // Another host in its place gets nothing, and the error says what to ask.
    server.change_host_key();
    let refused = platform.run(&["backup"]);
    refused.assert_exit(2);
    for words in ["the host has another key than the one that is known here", "hint:", "ask its owner"] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    server.trust_host_key();
    platform.well(&["prune", "--yes"]);
    platform.well(&["list"]);
}

#[test]
fn a_copy_on_a_host_over_ssh_is_restored_from_when_the_repository_is_gone() {
    let server = Sshd::new();
    let platform = platform(&server);
    platform.well(&["init", "--yes"]);
    let file = platform.sandbox.config_file();
    let config = fs::read_to_string(&file).unwrap();
    let copy = format!(
        "  copies: [{{name: offsite, location: \"{}\", ssh_config: \"{}\", rpo: 1d}}]\n  password:",
        server.location("copies/offsite"),
        server.config().display()
    );
    fs::write(&file, config.replacen("  password:", &copy, 1)).unwrap();
    platform.well(&["backup"]);
    let status = platform.well(&["status", "--json"]).json();
    assert_eq!(
        (&status["copies"][0]["missing"], &status["copies"][0]["verdict"]),
        (&0.into(), &"met".into())
    );
    platform.well(&["copy", "--verify"]);
    fs::remove_dir_all(platform.sandbox.path().join("muster-repository")).unwrap();
    platform.well(&["verify", "--from", "offsite"]);
    lose_and_restore(&platform, &["restore", "--all", "--from", "offsite", "--yes"]);
    // An address that can be none is refused with its form.
    fs::write(&file, config.replacen("location:", "location: sftp://host # ", 1)).unwrap();
    let refused = platform.run(&["list"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("is no address over SSH"), "{}", refused.stderr);
}

/// Counts the files below a folder.
fn walk(folder: &std::path::Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { 1 }).sum()
}
