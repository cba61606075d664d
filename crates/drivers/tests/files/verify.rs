//! How a restored tree is judged: the witness, and what a person asserts.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use muster_drivers::{
    DriverError,
    component::{ComponentDriver, Verification},
    files::FilesDriver,
};
use muster_types::{
    Explain, Kind,
    backup::{Method, Witness},
    config::Assertion,
    event::{Unwatched, Watcher},
};

use super::{back_up, component, driver, driver_of, extract, open, write};

struct Restored {
    _folder: tempfile::TempDir,
    driver: FilesDriver,
    witness: Witness,
    places: Vec<PathBuf>,
}

impl Restored {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let uploads = folder.path().join("uploads");
        write(&uploads.join("a.txt"), "hello");
        write(&uploads.join("b/c"), "world!");
        symlink("/etc/hostname", uploads.join("link")).unwrap();
        symlink("/etc", uploads.join("etc")).unwrap();
        let driver = driver(&uploads);
        let (summary, entries) = back_up(&*open(&driver, Method::Consistent));
        let places = extract(&entries, &folder.path().join("restored"));
        Self { _folder: folder, driver, witness: summary.witness, places }
    }

    fn verify(&self, assertions: &[Assertion]) -> Result<String, DriverError> {
        self.driver
            .verify(&Verification::new(&self.places, &self.witness, assertions), &Unwatched)
            .map(|found| found.summary)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.places[0].join(name)
    }
}

#[test]
fn every_difference_of_a_restored_tree_is_corrupt_and_the_first_is_named() {
    type Damage = fn(&Restored);
    let damages: [(Damage, &str); 7] = [
        (|tree| fs::remove_file(tree.at("a.txt")).unwrap(), "files is 1, the backup had 2"),
        (|tree| fs::write(tree.at("b/extra"), "").unwrap(), "files is 3, the backup had 2"),
        (|tree| fs::write(tree.at("a.txt"), "hell").unwrap(), "bytes is 10, the backup had 11"),
        (|tree| fs::write(tree.at("a.txt"), "hellO").unwrap(), "tree is "),
        (|tree| fs::rename(tree.at("a.txt"), tree.at("A.txt")).unwrap(), "tree is "),
        (
            |tree| fs::set_permissions(tree.at("a.txt"), fs::Permissions::from_mode(0o666)).unwrap(),
            "tree is ",
        ),
        (
            |tree| {
                fs::remove_file(tree.at("link")).unwrap();
                symlink("/etc/shadow", tree.at("link")).unwrap();
            },
            "tree is ",
        ),
    ];
    for (damage, says) in damages {
        let tree = Restored::new();
        assert_eq!(tree.verify(&[]).unwrap(), "2 files, 11 B");
        damage(&tree);
        let error = tree.verify(&[]).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}

#[test]
fn a_witness_that_is_unknown_or_says_nothing_is_no_pass() {
    let mut tree = Restored::new();
    tree.witness.insert("blake3".into(), "x".into());
    let error = tree.verify(&[]).unwrap_err();
    assert!(error.to_string().contains("`blake3`") && error.hint().is_some(), "{error}");
    tree.witness = Witness::new();
    assert!(tree.verify(&[]).unwrap_err().to_string().contains("nothing to compare"));
}

fn assertion(path: &str, expect: Option<&str>) -> Assertion {
    Assertion { path: Some(path.into()), expect: expect.map(str::to_owned), ..Assertion::default() }
}

#[test]
fn assertions_hold_or_say_which_file_does_not() {
    let tree = Restored::new();
    let absolute = tree.driver.targets()[0].join("b/c").display().to_string();
    let held = tree.verify(&[assertion("a.txt", Some("5")), assertion(&absolute, Some(">= 6"))]).unwrap();
    assert_eq!(held, "2 files, 11 B, 2 assertions held");
    assert_eq!(tree.verify(&[assertion("b", None)]).unwrap(), "2 files, 11 B, 1 assertion held");
    let fails = |path: &str, expect: Option<&str>| tree.verify(&[assertion(path, expect)]).unwrap_err();
    assert_eq!(fails("a.txt", Some("> 5")).to_string(), "a.txt has 5 bytes, expected > 5");
    assert_eq!(fails("a.txt", Some("> 5")).kind(), Kind::Corrupt);
    assert_eq!(fails("missing", None).to_string(), "missing is not there");
    assert_eq!(fails("etc/hostname", None).kind(), Kind::Corrupt, "outside of the sandbox");
    for error in [
        fails("/etc/hostname", None),
        fails("b/../a.txt", None),
        fails("b", Some("> 0")),
        tree.verify(&[Assertion { sql: Some("select 1".into()), ..Assertion::default() }]).unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Config, "{error}");
    }
}

#[test]
fn a_raw_copy_without_one_path_is_verified_by_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("here"), "a");
    let driver = driver_of(&component(&[&folder.path().join("gone"), &folder.path().join("here")]));
    let (summary, entries) = back_up(&*open(&driver, Method::Raw));
    let restored = extract(&entries, &folder.path().join("restored"));
    let places = [folder.path().join("restored/0"), restored[0].clone()];
    assert_eq!(
        driver
            .verify(&Verification::new(&places, &summary.witness, &[]), &Unwatched)
            .map(|found| found.summary)
            .unwrap(),
        "1 file, 1 B"
    );
}

struct Stopping(AtomicBool);
impl Watcher for Stopping {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {
        self.0.store(true, Ordering::SeqCst);
    }
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_verification_stops_when_it_is_told_to() {
    let tree = Restored::new();
    let watcher = Stopping(AtomicBool::new(false));
    let error = tree
        .driver
        .verify(&Verification::new(&tree.places, &tree.witness, &[]), &watcher)
        .map(|found| found.summary)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(Path::new(&tree.places[0]).exists());
}
