//! Files through the real repository and back: what the driver hands over is what a restore puts on disk.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may panic, and its files need no durability"
)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use muster_drivers::{
    component::{ComponentDriver, Verification},
    files::FilesDriver,
};
use muster_repo::{BackupHeader, Location, Repo, RepoError, source::SourceError};
use muster_types::{
    FixedClock, Secret, Timestamp,
    backup::{Backup, Identity, Method, RunId},
    config::{ComponentCommon, FilesComponent},
    event::Unwatched,
};

struct Bench {
    folder: tempfile::TempDir,
    repo: Repo,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location: Location = folder.path().join("repository").to_str().unwrap().parse().unwrap();
        let repo = Repo::init(&location, &Secret::new("a key for tests only")).unwrap();
        Self { folder, repo }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn driver(&self, names: &[&str]) -> FilesDriver {
        let component = FilesComponent {
            paths: names.iter().map(|name| self.at(name)).collect(),
            include: Vec::new(),
            exclude: Vec::new(),
            max_age: None,
            edits: Vec::new(),
            git: None,
            common: ComponentCommon::default(),
        };
        FilesDriver::new("uploads", &component, Arc::new(FixedClock(Timestamp::UNIX_EPOCH))).unwrap()
    }

    fn back_up(&self, driver: &FilesDriver) -> Result<Backup, RepoError> {
        let source = driver.open_source(Method::Consistent, &self.at("scratch"), &Unwatched).unwrap();
        let text = || "x".to_owned();
        let identity = Identity {
            platform: text(),
            environment: text(),
            component: text(),
            kind: "files".into(),
            host: text(),
            source: text(),
        };
        let header = BackupHeader {
            identity,
            method: Method::Consistent,
            run: RunId("r".into()),
            begun_at: Timestamp::UNIX_EPOCH,
            label: None,
            pin: false,
            muster: "0".into(),
        };
        self.repo.back_up(source, header, &Unwatched)
    }
}

/// Whether any file below a folder holds these bytes.
fn holds(folder: &Path, needle: &[u8]) -> bool {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .any(|entry| fs::read(entry.path()).unwrap().windows(needle.len()).any(|part| part == needle))
}

// proves: B10
#[test]
fn a_configuration_comes_back_with_modes_and_owners_and_its_secrets_are_never_in_clear() {
    const SECRET: &[u8] = b"DATABASE_PASSWORD=correct-horse-battery-staple";
    let bench = Bench::new();
    muster_testkit::tree_of_files(&bench.at("etc"), 11, 20);
    fs::write(bench.at("etc/.env"), SECRET).unwrap();
    fs::set_permissions(bench.at("etc/.env"), fs::Permissions::from_mode(0o600)).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(bench.at("etc/.env"), Some(1234), Some(4321)).unwrap();
    }
    fs::write(bench.at("compose.yml"), "services: {}\n").unwrap();
    let driver = bench.driver(&["etc", "compose.yml"]);
    let backup = bench.back_up(&driver).unwrap();
    assert_eq!(backup.record.warnings, Vec::<String>::new());
    assert_eq!(backup.record.paths, driver.targets());

    let places = [bench.at("restored-etc"), bench.at("restored-compose.yml")];
    bench.repo.restore(&backup.id, &places, &Unwatched).unwrap();
    muster_testkit::assert_trees_equal(&bench.at("etc"), &places[0]);
    muster_testkit::assert_trees_equal(&bench.at("compose.yml"), &places[1]);
    driver
        .verify(&Verification::new(&places, &backup.record.witness, &[]), &Unwatched)
        .map(|found| found.summary)
        .unwrap();

    assert!(holds(&bench.at("etc"), SECRET), "the search finds what is there");
    assert!(!holds(&bench.at("repository"), SECRET));
}

#[test]
fn a_path_that_vanishes_fails_the_backup_and_leaves_none() {
    let bench = Bench::new();
    fs::create_dir(bench.at("uploads")).unwrap();
    let driver = bench.driver(&["uploads"]);
    bench.back_up(&driver).unwrap();
    fs::remove_dir_all(bench.at("uploads")).unwrap();
    assert!(driver.open_source(Method::Consistent, &bench.at("scratch"), &Unwatched).is_err());
    fs::create_dir(bench.at("uploads")).unwrap();
    let source = driver.open_source(Method::Consistent, &bench.at("scratch"), &Unwatched).unwrap();
    fs::remove_dir(bench.at("uploads")).unwrap();
    let error = source.entries().find_map(Result::err).unwrap();
    assert!(matches!(error, SourceError::Other { .. }), "{error}");
    assert_eq!(bench.repo.backups().unwrap().len(), 1);
}

/// Ends the writer also when an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_log_that_is_written_and_emptied_all_the_time_is_backed_up_and_named() {
    let bench = Bench::new();
    fs::create_dir(bench.at("logs")).unwrap();
    fs::write(bench.at("logs/app.log"), vec![b'x'; 3_000_000]).unwrap();
    fs::write(bench.at("logs/calm.log"), "calm").unwrap();
    let driver = bench.driver(&["logs"]);
    let is_over = AtomicBool::new(false);
    let mut has_warned = false;
    std::thread::scope(|scope| {
        let stop = Stop(&is_over);
        scope.spawn(|| {
            let log = fs::File::options().write(true).open(bench.at("logs/app.log")).unwrap();
            while !is_over.load(Ordering::SeqCst) {
                log.set_len(0).unwrap();
                log.set_len(3_000_000).unwrap();
            }
        });
        for round in 0..30 {
            let backup = bench.back_up(&driver).unwrap();
            let place = [bench.at(&format!("restored-{round}"))];
            bench.repo.restore(&backup.id, &place, &Unwatched).unwrap();
            driver
                .verify(&Verification::new(&place, &backup.record.witness, &[]), &Unwatched)
                .map(|found| found.summary)
                .unwrap();
            assert!(backup.record.warnings.iter().all(|line| line.ends_with(": app.log")));
            has_warned = !backup.record.warnings.is_empty();
            if has_warned {
                break;
            }
        }
        drop(stop);
    });
    assert!(has_warned, "thirty backups, and none met a change");
}
