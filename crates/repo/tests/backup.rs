//! Backups of real content, judged by `restic`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/content.rs"]
mod content;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use content::{Content, back_up, create, header, location, noise, open, restic};
use muster_repo::{
    Repo, RepoError,
    source::{Entry, Source, SourceError, SourceSummary},
};
use muster_types::{
    Explain, Kind, Secret,
    event::{Unwatched, Watcher},
};

fn restored(place: &Path, out: &Path, name: &str) -> Vec<u8> {
    restic(place, &["restore", "latest", "--target", out.to_str().unwrap()]).unwrap();
    fs::read(out.join(name)).unwrap()
}

#[test]
fn restic_accepts_and_restores_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (place, out) = (folder.path().join("r"), folder.path().join("o"));
    let repo = create(&place);
    let content = Content::new().file("0/a", vec![7; 2_000_000]).file("0/deep/b", noise(1, 700_000));
    let backup = back_up(&repo, &content);
    assert_eq!(repo.backups().unwrap(), vec![backup.clone()]);
    restic(&place, &["check", "--read-data"]).unwrap();
    assert_eq!(restored(&place, &out, "data/0/a"), vec![7; 2_000_000]);
    assert_eq!(fs::read(out.join("data/0/deep/b")).unwrap(), noise(1, 700_000));
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("muster.json")).unwrap()).unwrap();
    assert_eq!(record, serde_json::to_value(&backup.record).unwrap());
    assert!(fs::read_to_string(out.join("how-to-restore.txt")).unwrap().contains("restic restore"));
}

#[test]
fn restic_puts_back_the_special_bits_of_a_mode() {
    let folder = tempfile::tempdir().unwrap();
    let (place, out) = (folder.path().join("r"), folder.path().join("o"));
    let content = Content { folder_mode: 0o042_775, ..Content::new().file("0/team/a", "text") };
    back_up(&create(&place), &content);
    restored(&place, &out, "data/0/team/a");
    assert_eq!(fs::metadata(out.join("data/0/team")).unwrap().permissions().mode() & 0o7777, 0o2775);
}

#[test]
fn a_backup_of_nothing_is_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (place, out) = (folder.path().join("r"), folder.path().join("o"));
    let repo = create(&place);
    back_up(&repo, &Content::new());
    assert_eq!(repo.backups().unwrap().len(), 1);
    restic(&place, &["check", "--read-data"]).unwrap();
    restored(&place, &out, "muster.json");
    assert!(fs::read_dir(out.join("data")).unwrap().next().is_none());
}

#[test]
fn a_file_that_shrinks_or_grows_while_it_is_read_is_named_and_stored_as_read() {
    let folder = tempfile::tempdir().unwrap();
    let (place, out) = (folder.path().join("r"), folder.path().join("o"));
    let repo = create(&place);
    let content = Content::new()
        .file("0/grows", noise(1, 900_000))
        .stated("0/grows", 600_000)
        .file("0/shrinks", noise(2, 600_000))
        .stated("0/shrinks", 900_000);
    let backup = back_up(&repo, &content);
    assert_eq!(backup.record.warnings.len(), 2);
    restic(&place, &["check", "--read-data"]).unwrap();
    assert_eq!(restored(&place, &out, "data/0/grows"), noise(1, 900_000)[..600_000]);
    assert_eq!(fs::read(out.join("data/0/shrinks")).unwrap()[..600_000], noise(2, 600_000));
}

#[test]
fn a_file_that_is_emptied_while_it_is_read_does_not_fail_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r");
    back_up(&create(&place), &Content::new().file("0/emptied", Vec::new()).stated("0/emptied", 10));
    restic(&place, &["check", "--read-data"]).unwrap();
}

/// Fails where it is told to.
struct Failing(Content, &'static str);

impl Source for Failing {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let error = || SourceError::Vanished { path: "0/gone".into() };
        match self.1 {
            "first" => Box::new(std::iter::once(Err(error())).chain(self.0.entries())),
            "last" => Box::new(self.0.entries().chain(std::iter::once(Err(error())))),
            _ => self.0.entries(),
        }
    }
    fn size_bytes(&self) -> Option<u64> {
        None
    }
    fn finish(&self) -> Result<SourceSummary, SourceError> {
        if self.1 == "finish" {
            return Err(SourceError::Vanished { path: "0/gone".into() });
        }
        self.0.finish()
    }
    fn paths(&self) -> Vec<std::path::PathBuf> {
        self.0.paths()
    }
}

#[test]
fn an_error_of_the_source_at_any_place_leaves_no_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(&folder.path().join("r"));
    for place in ["first", "last", "finish"] {
        let content = Content::new().file("0/a", noise(3, 3_000_000));
        let error =
            repo.back_up(Box::new(Failing(content, place)), header("uploads"), &Unwatched).unwrap_err();
        assert!(matches!(error, RepoError::Source(SourceError::Vanished { .. })), "{place}: {error}");
        assert!(repo.backups().unwrap().is_empty(), "{place}");
    }
}

/// Gives its entries in the wrong order, or outside of its root.
struct Wrong(&'static [&'static str]);

impl Source for Wrong {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let entries = self.0.iter().filter_map(|path| Content::new().file(path, "x").entries().last());
        Box::new(entries.collect::<Vec<_>>().into_iter())
    }
    fn size_bytes(&self) -> Option<u64> {
        None
    }
    fn finish(&self) -> Result<SourceSummary, SourceError> {
        Content::new().finish()
    }
    fn paths(&self) -> Vec<std::path::PathBuf> {
        Vec::new()
    }
}

#[test]
fn entries_out_of_order_or_outside_never_become_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(&folder.path().join("r"));
    let wrong: [&[&str]; 5] = [&["0/b", "0/a"], &["0/a", "0/a"], &["1", "0"], &["/etc/x"], &["0/../../x"]];
    for paths in wrong {
        let error = repo.back_up(Box::new(Wrong(paths)), header("uploads"), &Unwatched).unwrap_err();
        assert_eq!(error.kind(), Kind::Bug, "{paths:?}: {error}");
    }
    assert!(repo.backups().unwrap().is_empty());
    repo.back_up(Box::new(Wrong(&["0/a/b", "0/a.b"])), header("uploads"), &Unwatched).unwrap();
}

/// Stops after a number of bytes.
struct Stopping(u64, AtomicU64);

impl Watcher for Stopping {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }
    fn is_cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed) >= self.0
    }
}

#[test]
fn a_cancelled_backup_leaves_no_snapshot_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r");
    let repo = create(&place);
    let content = Content::new().file("0/a", noise(4, 40_000_000));
    for bytes in [0, 1] {
        let watcher = Stopping(bytes, AtomicU64::new(0));
        let error = repo.back_up(Box::new(content.clone()), header("uploads"), &watcher).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted, "{error}");
        assert!(repo.backups().unwrap().is_empty());
    }
    back_up(&repo, &content);
    restic(&place, &["check", "--read-data"]).unwrap();
}

#[test]
fn backups_at_the_same_time_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r");
    create(&place);
    let backups: Vec<_> = thread::scope(|scope| {
        let work: Vec<_> = (0..4)
            .map(|number| {
                let place = &place;
                // Half of the content is the same in all of them.
                let content = Content::new()
                    .file("0/own", noise(number, 2_000_000))
                    .file("0/shared", noise(100, 2_000_000));
                scope.spawn(move || back_up(&open(place).unwrap(), &content))
            })
            .collect();
        work.into_iter().map(|work| work.join().unwrap()).collect()
    });
    let mut ids: Vec<_> = backups.iter().map(|backup| backup.id.clone()).collect();
    let mut listed: Vec<_> = open(&place).unwrap().backups().unwrap().into_iter().map(|b| b.id).collect();
    ids.sort();
    listed.sort();
    assert_eq!(ids, listed);
    restic(&place, &["check", "--read-data"]).unwrap();
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next_backup() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r");
    let repo = create(&place);
    back_up(&repo, &Content::new().file("0/a", noise(5, 1000)));
    // A number above the highest that Linux gives to a process.
    let host = sha256(rustix::system::uname().nodename().to_bytes());
    let mark = format!(".tmp-{}-4194305-0", &host[..8]);
    let (stale, foreign) =
        (place.join(format!("data/00/.00{mark}")), place.join("data/00/.00.tmp-00000000-4194305-0"));
    for path in [&stale, &foreign] {
        muster_repo::durable::create(path, b"half", 0o600).unwrap();
    }
    back_up(&repo, &Content::new().file("0/a", noise(6, 1000)));
    assert!(!stale.exists(), "the leftover of a dead process of this host is still there");
    assert!(foreign.exists(), "another host's file was removed");
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    format!("{:x}", sha2::Sha256::digest(bytes))
}

#[test]
fn a_wrong_key_and_a_missing_repository_are_named() {
    let folder = tempfile::tempdir().unwrap();
    create(&folder.path().join("r"));
    let open = |name: &str, key: &str| {
        Repo::open(&location(&folder.path().join(name)), &Secret::new(key)).err().unwrap().kind()
    };
    assert_eq!(open("r", "other"), Kind::WrongKey);
    assert_eq!(open("none", "k"), Kind::NoRepository);
}

#[test]
fn an_unwritable_repository_is_named_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("file");
    muster_repo::durable::create(&place, b"", 0o600).unwrap();
    let error = Repo::init(&location(&place.join("r")), &Secret::new("k")).err().unwrap();
    assert!(matches!(&error, RepoError::Io { path, .. } if path.starts_with(&place)), "{error}");
}
