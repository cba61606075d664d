//! What is backed up, how it is listed and chosen, and how the platform is observed.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

use muster_testkit::{free_port, sqlite};

use crate::platform::Platform;

// proves: B10
#[test]
fn configuration_files_come_back_with_mode_and_owner_and_their_secrets_are_nowhere_in_clear() {
    let platform = Platform::new();
    let folder = platform.sandbox.path().join("config");
    fs::create_dir(&folder).unwrap();
    let secret = "a-very-secret-token-0123456789";
    fs::write(folder.join("app.env"), format!("TOKEN={secret}\n").repeat(50)).unwrap();
    fs::write(folder.join("docker-compose.yml"), "services: {}\n").unwrap();
    fs::set_permissions(folder.join("app.env"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Command::new("chown").arg("1234:2345").arg(folder.join("app.env")).status().unwrap().success());
    let text = format!(
        "{}  config:\n    kind: files\n    paths: [{}]\n",
        platform.sandbox.config(),
        folder.display()
    );
    platform.sandbox.write_config(&text);
    platform.well(&["backup", "config"]);
    fs::remove_dir_all(&folder).unwrap();
    platform.well(&["restore", "config", "--yes"]);
    let found = fs::metadata(folder.join("app.env")).unwrap();
    assert_eq!((found.mode() & 0o777, found.uid(), found.gid()), (0o640, 1234, 2345));
    assert!(fs::read_to_string(folder.join("app.env")).unwrap().contains(secret));
    let searched =
        Command::new("grep").args(["-r", "-a", secret]).arg(platform.sandbox.repository()).output().unwrap();
    assert_eq!(
        searched.status.code(),
        Some(1),
        "found in clear: {}",
        String::from_utf8_lossy(&searched.stdout)
    );
}

// proves: B11
#[test]
fn logs_older_than_a_week_stay_out_and_the_others_come_back_byte_for_byte() {
    let platform = Platform::new();
    let logs = platform.sandbox.path().join("logs");
    fs::create_dir(&logs).unwrap();
    for name in ["new.log", "old.log", "note.txt"] {
        fs::write(logs.join(name), name.repeat(1_000)).unwrap();
    }
    assert!(
        Command::new("touch")
            .args(["-d", "8 days ago"])
            .arg(logs.join("old.log"))
            .status()
            .unwrap()
            .success()
    );
    let text = format!(
        "{}  logs: {{kind: files, paths: [{}], include: [\"*.log\"], max_age: 7d}}\n",
        platform.sandbox.config(),
        logs.display()
    );
    platform.sandbox.write_config(&text);
    let uploads = platform.copy_of_uploads();
    platform.well(&["backup", "logs", "uploads"]);
    platform.well(&["restore", "logs", "--into", "back"]);
    let back = platform.sandbox.path().join("back");
    let names: Vec<_> = fs::read_dir(&back).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["new.log"]);
    assert_eq!(fs::read_to_string(back.join("new.log")).unwrap(), "new.log".repeat(1_000));
    fs::remove_dir_all(platform.sandbox.uploads()).unwrap();
    platform.well(&["restore", "uploads", "--yes"]);
    platform.assert_uploads(&uploads);
}

// proves: B20
#[test]
fn the_list_shows_each_backup_with_age_size_proof_and_place_and_leaves_out_what_is_not_ours() {
    let platform = Platform::new();
    let ids = platform.back_up();
    platform.well(&["prove", "database"]);
    let stray = platform.sandbox.path().join("stray");
    fs::write(&stray, "not ours").unwrap();
    let foreign = Command::new("restic")
        .args(["--no-cache", "backup", "-r"])
        .arg(platform.sandbox.repository())
        .arg("--password-file")
        .arg(platform.sandbox.key())
        .arg(&stray)
        .output()
        .unwrap();
    assert!(foreign.status.success(), "{}", String::from_utf8_lossy(&foreign.stderr));
    fs::write(platform.sandbox.repository().join("snapshots/notes.txt"), "somebody's notes").unwrap();
    let list = platform.well(&["list", "--json"]).json();
    let backups = list["backups"].as_array().unwrap();
    assert_eq!(backups.len(), 2, "{list:#}");
    for backup in backups {
        let component = backup["identity"]["component"].as_str().unwrap();
        assert_eq!(backup["id"], ids[component]);
        assert_eq!(backup["id"].as_str().unwrap().len(), 64, "the SHA-256 of everything in it");
        assert!(backup["age_seconds"].as_f64().unwrap() >= 0.0);
        assert!(backup["size_bytes"].as_u64().unwrap() > 0);
        assert_eq!(backup["proof"]["at"].is_string(), component == "database");
    }
    assert_eq!(list["location"], platform.sandbox.repository().display().to_string());
    let text = platform.well(&["list"]).stdout;
    for expected in [&ids["database"][..8], "uploads", "proven"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

// proves: B21
#[test]
fn the_latest_the_latest_proven_and_one_by_time_are_found_beside_sidecars_and_broken_files() {
    let platform = Platform::new();
    platform.back_up();
    platform.well(&["prove", "database"]);
    let between = {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let now = muster_types::Timestamp::now();
        now.to_string()
    };
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    let newest = platform.back_up();
    let snapshots = platform.sandbox.repository().join("snapshots");
    let sidecar = snapshots.join(format!("{}.sha256", newest["database"]));
    fs::write(sidecar, "sidecar").unwrap();
    fs::write(snapshots.join("0".repeat(64)), "").unwrap();
    let whole = fs::read(snapshots.join(&newest["database"])).unwrap();
    fs::write(snapshots.join("f".repeat(64)), &whole[..whole.len() / 2]).unwrap();
    for (target, rows) in [("latest", 150), ("latest-proven", 100), (between.as_str(), 100)] {
        let place = format!("at-{rows}-{}", target.len());
        platform.well(&["restore", "database", "--to", target, "--into", &place]);
        assert_eq!(sqlite::count_rows(&platform.sandbox.path().join(&place)), rows, "{target}");
    }
    let verified = platform.run(&["verify"]);
    verified.assert_exit(20);
    assert!(
        verified.stdout.contains("00000000") && verified.stdout.contains("ffffffff"),
        "{}",
        verified.stdout
    );
}

// proves: E2
#[test]
fn quick_checks_are_a_part_of_all_and_the_exit_code_is_their_verdict() {
    let platform = Platform::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (open, closed) = (listener.local_addr().unwrap().port(), free_port());
    let text = format!(
        "{}checks:\n  up: {{tcp: \"127.0.0.1:{open}\", tags: [quick]}}\n  rows:\n    sqlite: {{path: {}, sql: \"select count(*) from entries\"}}\n    conditions: [\"[BODY] >= 100\"]\n  down: {{tcp: \"127.0.0.1:{closed}\", timeout: 1s}}\n",
        platform.sandbox.config(),
        platform.sandbox.database().display(),
    );
    platform.sandbox.write_config(&text);
    let quick = platform.well(&["check", "--quick", "--json"]).json();
    assert_eq!(quick["checks"].as_array().unwrap().len(), 1);
    let full = platform.run(&["check", "--full", "--json"]);
    full.assert_exit(1);
    assert_eq!(full.json()["checks"].as_array().unwrap().len(), 3);
    let verbose = platform.well(&["check", "up", "rows", "--verbose"]);
    assert!(verbose.stdout.contains("[BODY] >= 100"), "{}", verbose.stdout);
}
