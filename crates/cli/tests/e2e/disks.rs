//! Full disks, one after the other: source, repository, state, target.

use std::fs;

use muster_testkit::{Sandbox, TinyDisk, sqlite};

use crate::platform::Platform;

/// A platform whose `what` lies on a small disk.
fn on_small_disk(what: &str, size: u64) -> (Platform, TinyDisk) {
    let disk = TinyDisk::new(size);
    let sandbox = Sandbox::new();
    let place = disk.path().join(what);
    let config = match what {
        "state" => format!("state: {}\n{}", place.display(), sandbox.config()),
        _ => sandbox.config(),
    };
    match what {
        "repository" => {
            fs::create_dir(&place).unwrap();
            std::os::unix::fs::symlink(&place, sandbox.repository()).unwrap();
        }
        "app.db" => {
            sandbox.write_config(&config.replace(
                &sandbox.database().display().to_string(),
                &disk.path().join("app.db").display().to_string(),
            ));
            fs::remove_file(sandbox.database()).unwrap();
            sqlite::sqlite_with_rows(&disk.path().join("app.db"), 2_000);
            return (Platform::with(sandbox), disk);
        }
        _ => {}
    }
    sandbox.write_config(&config);
    (Platform::with(sandbox), disk)
}

#[test]
fn a_full_repository_disk_fails_the_backup_with_its_name_and_loses_nothing() {
    let (platform, disk) = on_small_disk("repository", 24 << 20);
    let first = platform.back_up();
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(8 << 20).collect();
    fs::write(platform.sandbox.uploads().join("large"), noise).unwrap();
    for free in [4 << 20, 256 << 10, 8 << 10, 0] {
        disk.fill_to(free);
        let failed = platform.run(&["backup"]);
        assert!(matches!(failed.code, Some(1 | 3)), "{failed:?}", failed = failed.stderr);
        let said = failed.stderr + &failed.stdout;
        assert!(said.contains("No space left"), "{said}");
        assert!(said.contains("repository"), "{said}");
        assert!(said.contains("hint:"), "{said}");
        let uploads = platform.well(&["list", "uploads", "--json"]).json();
        assert_eq!(uploads["backups"].as_array().unwrap().len(), 1, "no snapshot of what failed");
        platform.well(&["verify"]);
        platform.assert_nothing_left();
        disk.empty();
    }
    platform.well(&["verify", "--read-data"]);
    platform.well(&["restore", "uploads", "--to", &first["uploads"], "--into", "elsewhere"]);
    platform.back_up();
}

#[test]
fn a_full_state_disk_stops_a_run_before_anything_is_changed() {
    let (platform, disk) = on_small_disk("state", 4 << 20);
    platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    disk.fill_to(0);
    for args in [&["backup"][..], &["restore", "database", "--yes"], &["prune", "--yes"]] {
        let failed = platform.run(args);
        assert!(matches!(failed.code, Some(1)), "{}", failed.stderr);
        assert!(failed.stderr.contains("state") && failed.stderr.contains("hint:"), "{}", failed.stderr);
        platform.assert_rows(150);
    }
    disk.empty();
    assert_eq!(platform.list().len(), 2);
    platform.well(&["restore", "database", "--yes"]);
    platform.assert_rows(100);
}

#[test]
fn a_target_disk_without_room_is_refused_before_the_first_byte_and_before_the_service_stops() {
    let (platform, disk) = on_small_disk("app.db", 24 << 20);
    let database = disk.path().join("app.db");
    platform.back_up();
    sqlite::sqlite_with_rows(&database, 2_100);
    disk.fill_to(64 << 10);
    let refused = platform.run(&["restore", "database", "--yes"]);
    refused.assert_exit(1);
    assert!(refused.stderr.contains("are needed"), "{}", refused.stderr);
    assert_eq!(sqlite::count_rows(&database), 2_100);
    assert_eq!(crate::platform::leftovers(disk.path()), Vec::<String>::new());
    disk.empty();
    platform.well(&["restore", "database", "--yes"]);
    assert_eq!(sqlite::count_rows(&database), 2_000);
}

#[test]
fn a_source_disk_that_is_full_can_still_be_backed_up() {
    let (platform, disk) = on_small_disk("app.db", 8 << 20);
    disk.fill_to(0);
    platform.back_up();
    platform.well(&["prove", "database"]);
}
