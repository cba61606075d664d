//! `disk` on a small file system, and `file` on folders of exports.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use muster_drivers::checks::{run, validate};
use muster_testkit::TinyDisk;
use muster_types::{config::Check, event::Unwatched};
use tempfile::TempDir;

use crate::{certificates::Now, given, reason};

// proves: D9
#[test]
fn a_disk_that_is_nearly_full_fails_by_its_numbers() {
    let disk = TinyDisk::new(10_000_000);
    let check = |conditions: &[&str]| {
        let check = Check { disk: Some(disk.path().to_owned()), ..given(conditions) };
        reason(&check)
    };
    assert_eq!(check(&[]), None);
    assert_eq!(
        check(&["[BODY].free_bytes >= 9MB", "[BODY].used_percent < 5", "[BODY].total_bytes < 11MB"]),
        None
    );
    fs::write(disk.path().join("filling"), vec![1; 9_100_000]).unwrap();
    let told = check(&[]).unwrap();
    assert!(told.starts_with("`[BODY].free_percent >= 10` does not hold: found "), "{told}");
    let told = check(&["[BODY].free_bytes >= 1MB"]).unwrap();
    assert!(told.contains("`[BODY].free_bytes >= 1MB` does not hold"), "{told}");
    let gone = Check { disk: Some(disk.path().join("gone")), ..given(&[]) };
    assert!(reason(&gone).unwrap().contains("cannot look at"), "{:?}", reason(&gone));
}

fn export(folder: &Path, name: &str, hours: u64) {
    let file = File::create(folder.join(name)).unwrap();
    file.set_len(100).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
}

fn told(check: &Check) -> Option<String> {
    run("exports", check, &Now, &Unwatched).reason()
}

// proves: B25
#[test]
fn the_newest_export_must_be_young_enough_and_old_ones_beside_it_are_no_fault() {
    let folder = TempDir::new().unwrap();
    let check = |pattern: &str| Check {
        file: Some(folder.path().join(pattern)),
        ..given(&["[AGE] < 26h", "[BODY].size_bytes > 50B"])
    };
    let why = told(&check("*.dump")).unwrap();
    assert!(why.starts_with("nothing fits ") && why.ends_with("*.dump"), "{why}");
    export(folder.path(), "first.dump", 72);
    export(folder.path(), "second.dump", 48);
    export(folder.path(), "notes.txt", 1);
    let why = told(&check("*.dump")).unwrap();
    assert_eq!(why, "`[AGE] < 26h` does not hold: found 2d");
    export(folder.path(), "third.dump", 2);
    fs::create_dir(folder.path().join("folder.dump")).unwrap();
    assert_eq!(told(&check("*.dump")), None);
    let mut three = check("*.dump");
    three.conditions = vec!["[BODY].files == 3".into(), "[BODY].path == pat(*third.dump)".into()];
    assert_eq!(told(&three), None);
    assert_eq!(told(&check("third.dump")), None);
    assert!(told(&check("second.dump")).unwrap().contains("found 2d"));
    assert!(told(&check("gone/*.dump")).unwrap().contains("cannot look at"));
    File::create(folder.path().join("fourth.dump")).unwrap();
    let why = told(&check("*.dump")).unwrap();
    assert_eq!(why, "`[BODY].size_bytes > 50B` does not hold: found 0");
    for (path, conditions) in
        [("/srv/*/x.dump", &["[AGE] < 1h"][..]), ("/srv/[x", &["[AGE] < 1h"]), ("/srv/x", &[])]
    {
        let check = Check { file: Some(path.into()), ..given(conditions) };
        assert!(validate(&check).is_err(), "{path}");
    }
}
