//! Copies of a repository: the same bytes in another place, whole wherever they stop, never emptied, damage replaced.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may panic, and what it writes need not survive a power cut"
)]

#[path = "support/place.rs"]
mod place;

use std::{
    collections::BTreeMap,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use muster_repo::{
    CopyDepth, CopyOptions, CopyStats, Credentials, Expected, Location, Provider, Repo, RepoError,
    S3Location, Standing, Stop, VerifyDepth,
    wal::{self, Piece},
};
use muster_testkit::{
    Seaweed, TinyDisk,
    seaweed::{ACCESS_KEY, BUCKET, SECRET_KEY},
    trees_equal,
};
use muster_types::{
    Explain, Kind, Lsn, Secret, Timestamp,
    backup::BackupId,
    event::{Unwatched, Watcher},
    wal::WalMark,
};
use place::{KEY, Place, random_files};

const WHOLE: VerifyDepth = VerifyDepth::ReadData { percent: 100.0 };
const USUAL: CopyOptions =
    CopyOptions { may_begin: true, may_replace: true, depth: CopyDepth::Sample, dry_run: false };
const SYSTEM: &str = "7300000000000000001";

fn at(folder: &Path) -> Location {
    folder.to_str().unwrap().parse().unwrap()
}

fn copy(place: &Place, to: &Path) -> CopyStats {
    place.repo.copy_to(&at(to), USUAL, &Unwatched).unwrap()
}

/// Backs up some random files.
fn back_up(place: &Place, seed: u64) -> BackupId {
    let source = place.path(&format!("source-{seed}"));
    random_files(&source, seed, 3, 700_000);
    place.back_up(&[&source])
}

/// Writes a stretch of a log that tells where it belongs.
fn log(repo: &Repo, start: u64, end: u64) {
    let at = |second: u64| Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
    let content: Vec<u8> = (start..end).map(|at| at.to_le_bytes()[0]).collect();
    let piece = Piece {
        start: Lsn(start),
        content: &content,
        newest_commit: Some(at(start)),
        begun_at: at(start),
        as_of: at(end),
    };
    repo.wal().write(SYSTEM, wal::line_of(1, b"", 20), &piece).unwrap();
}

/// A repository with two backups, a pin, a log with a mark and a state.
fn furnished() -> Place {
    let place = Place::new();
    let id = back_up(&place, 1);
    back_up(&place, 2);
    place.repo.set_pin(&id, true).unwrap();
    let line = wal::line_of(1, b"", 20);
    place.repo.wal().note_gap(SYSTEM, line, Lsn(0), Lsn(1000)).unwrap();
    for number in 1..6 {
        log(&place.repo, number * 1000, (number + 1) * 1000);
    }
    let mark = WalMark { end: Lsn(6000), at: Timestamp::UNIX_EPOCH, is_complete: true };
    place.repo.wal().write_mark(SYSTEM, line, mark).unwrap();
    let state = muster_repo::state::StateId {
        platform: "shop".into(),
        environment: "default".into(),
        journal: "abcd".into(),
    };
    place.repo.write_state(&state, "files", b"{}").unwrap();
    place
}

/// All files of a repository but its lock, with a hash of their content.
fn content(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("muster/lock") {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), hash(&fs::read(&path).unwrap()));
            }
        }
    }
    found
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn packs(repository: &Path) -> Vec<PathBuf> {
    let names = content(repository).into_keys().filter(|name| name.starts_with("data"));
    names.map(|name| repository.join(name)).collect()
}

fn restic_check(repository: &Path) {
    let mut command = Command::new("restic");
    command.args(["--no-cache", "-r"]).arg(repository).args(["check", "--read-data"]);
    let output = command.env("RESTIC_PASSWORD", KEY).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn findings(repository: &Path, depth: VerifyDepth) -> Vec<String> {
    let repo = Repo::open(&at(repository), &Secret::new(KEY)).unwrap();
    let report = repo.verify(depth, &Expected::default(), &Unwatched).unwrap();
    report.findings.iter().map(ToString::to_string).collect()
}

fn s3(server: &Seaweed, prefix: &str) -> Location {
    Location::S3(S3Location {
        provider: Provider::S3,
        bucket: BUCKET.into(),
        prefix: prefix.into(),
        endpoint: Some(server.endpoint()),
        region: "us-east-1".into(),
        path_style: true,
        credentials: Some(Credentials {
            access_key: ACCESS_KEY.into(),
            secret_key: Secret::new(SECRET_KEY),
            session_token: None,
        }),
        patience: Duration::from_mins(1),
        stop: Stop::default(),
        upload_rate_max: None,
        storage_class: None,
    })
}

#[test]
fn a_copy_has_the_same_bytes_and_the_next_one_sends_only_what_is_new() {
    let place = furnished();
    let to = place.path("copy");
    let foreseen = CopyOptions { dry_run: true, ..USUAL };
    let would = place.repo.copy_to(&at(&to), foreseen, &Unwatched).unwrap();
    assert!(would.sent > 8 && !to.exists(), "{would:?}");
    let first = copy(&place, &to);
    assert_eq!((first.backups, first.replaced, first.extra), (2, 0, 0));
    assert_eq!(content(&place.repository()), content(&to));
    restic_check(&to);
    assert_eq!(findings(&to, WHOLE), [""; 0]);
    let again = copy(&place, &to);
    assert_eq!((again.sent, again.checked), (0, 0), "{again:?}");
    back_up(&place, 3);
    log(&place.repo, 6000, 7000);
    let third = copy(&place, &to);
    assert!(third.sent > 3 && third.sent < first.sent && third.backups == 3, "{third:?}");
    assert_eq!(content(&place.repository()), content(&to));
}

/// Wants to stop after so many questions.
struct StopsAfter(AtomicI64);

impl Watcher for StopsAfter {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) <= 0
    }
}

#[test]
fn a_copy_that_stops_between_any_two_objects_is_a_whole_repository_that_holds_less() {
    let place = furnished();
    let to = place.path("copy");
    let mut stopped = 0;
    let whole = content(&place.repository());
    for objects in 0.. {
        let watcher = StopsAfter(AtomicI64::new(objects));
        fs::remove_dir_all(&to).ok();
        match place.repo.copy_to(&at(&to), USUAL, &watcher) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), Kind::Interrupted, "{error}"),
        }
        stopped += 1;
        if Repo::standing(&at(&to)).unwrap() == Standing::Repository {
            let there = place.repo.open_copy(&at(&to)).unwrap();
            let report = there.verify(VerifyDepth::Structure, &Expected::default(), &Unwatched).unwrap();
            assert!(report.is_sound(), "after {objects} objects: {report}");
            for backup in there.backups().unwrap() {
                let into = place.path("restored");
                there.restore(&backup.id, std::slice::from_ref(&into), &Unwatched).unwrap();
                fs::remove_dir_all(into).unwrap();
            }
        }
        if objects % 4 == 0 {
            copy(&place, &to);
            assert_eq!(content(&to), whole, "after {objects} objects");
        }
    }
    assert!(stopped > 12, "only {stopped}");
}

#[test]
fn what_is_cut_or_changed_at_the_copy_is_replaced_and_what_is_damaged_here_is_never_sent() {
    let place = furnished();
    let to = place.path("copy");
    copy(&place, &to);
    let whole = content(&to);
    // Cut: seen by its length.
    let cut = &packs(&to)[0];
    fs::write(cut, &fs::read(cut).unwrap()[..100]).unwrap();
    assert_eq!(copy(&place, &to).replaced, 1);
    assert_eq!(content(&to), whole);
    // Changed: seen when everything is read, in every kind of object.
    for kind in ["config", "keys", "data", "index", "snapshots", "muster/wal"] {
        // What a note of a gap says stands in its name.
        let mut names = whole.keys().filter(|name| !name.to_str().unwrap().ends_with("-gap"));
        let name = names.find(|name| name.starts_with(kind)).unwrap();
        let mut changed = fs::read(to.join(name)).unwrap();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(to.join(name), &changed).unwrap();
        let all = CopyOptions { depth: CopyDepth::All, ..USUAL };
        let stats = place.repo.copy_to(&at(&to), all, &Unwatched).unwrap();
        assert!(stats.checked > 5, "{kind}: {stats:?}");
        assert_eq!(content(&to), whole, "{kind}");
    }
    // A damaged pack here neither replaces a good one there nor gets to a new copy; backups that need it do not either.
    let name = packs(&place.repository())[0].strip_prefix(place.repository()).unwrap().to_owned();
    let good = fs::read(place.repository().join(&name)).unwrap();
    let mut bad = good.clone();
    bad[10] ^= 1;
    fs::write(place.repository().join(&name), &bad).unwrap();
    copy(&place, &to);
    fs::write(to.join(&name), &good[..50]).unwrap();
    let error = place.repo.copy_to(&at(&to), USUAL, &Unwatched).unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.to_string().contains("does not match"), "{error}");
    assert_eq!(fs::read(to.join(&name)).unwrap().len(), 50);
    let second = place.path("second");
    let error = place.repo.copy_to(&at(&second), USUAL, &Unwatched).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!(findings(&second, VerifyDepth::Structure), [""; 0]);
    assert!(Repo::open(&at(&second), &Secret::new(KEY)).unwrap().backups().unwrap().is_empty());
    assert!(second.join("muster/wal").exists(), "the log does not need the pack");
}

#[test]
fn a_repository_that_has_lost_files_never_empties_its_copy_and_gets_them_back_from_it() {
    let place = furnished();
    let to = place.path("copy");
    copy(&place, &to);
    let whole = content(&to);
    let lost = packs(&place.repository());
    fs::remove_file(&lost[0]).unwrap();
    for snapshot in fs::read_dir(place.repository().join("snapshots")).unwrap() {
        fs::remove_file(snapshot.unwrap().path()).unwrap();
    }
    copy(&place, &to);
    assert_eq!(content(&to), whole);
    let all: Vec<BackupId> = Repo::open(&at(&to), &Secret::new(KEY))
        .unwrap()
        .backups()
        .unwrap()
        .into_iter()
        .map(|backup| backup.id)
        .collect();
    let expected = Expected { backups: all.clone(), keys: Vec::new() };
    let error = place.repo.thin_copy(&at(&to), &all, &expected, false, &Unwatched).unwrap_err();
    assert!(matches!(error, RepoError::CopyNeeded(_)), "{error}");
    assert_eq!(content(&to), whole);
    // The other way: what is missing comes back, and what changes here is not replaced by an older one.
    let state = |text: &[u8]| {
        let (id, _) = place.repo.states().unwrap().remove(0);
        place.repo.write_state(&id, "files", text).unwrap();
        id
    };
    let id = state(b"newer");
    let there = Repo::open(&at(&to), &Secret::new(KEY)).unwrap();
    let mending = CopyOptions { may_replace: false, ..USUAL };
    let stats = there.copy_to(&at(&place.repository()), mending, &Unwatched).unwrap();
    assert_eq!(stats.sent, 3, "{stats:?}");
    assert_eq!(place.repo.read_state(&id, "files").unwrap().unwrap(), b"newer");
    place.check();
    assert_eq!(findings(&place.repository(), WHOLE), [""; 0]);
}

#[test]
fn what_was_pruned_goes_from_the_copy_only_when_it_is_asked_for_and_nothing_there_needs_it() {
    let place = furnished();
    let to = place.path("copy");
    let old = back_up(&place, 3);
    copy(&place, &to);
    place.repo.forget(std::slice::from_ref(&old)).unwrap();
    place.repo.free_space(false).unwrap();
    let thin =
        |forget: &[BackupId]| place.repo.thin_copy(&at(&to), forget, &Expected::default(), false, &Unwatched);
    // Freeing space has written objects that the copy has not got yet.
    assert!(matches!(thin(std::slice::from_ref(&old)), Err(RepoError::CopyNeeded(_))));
    let stats = copy(&place, &to);
    assert!(stats.backups == 3 && stats.extra > 0, "{stats:?}");
    // Somebody keeps it there: then its data stays.
    let kept = thin(&[]).unwrap();
    assert_eq!((kept.backups, kept.only_there, kept.objects), (0, 1, 0), "{kept:?}");
    restic_check(&to);
    let gone = thin(std::slice::from_ref(&old)).unwrap();
    assert!(gone.backups == 1 && gone.only_there == 0 && gone.objects > 0 && gone.bytes > 0, "{gone:?}");
    assert_eq!(content(&place.repository()), content(&to));
    restic_check(&to);
    // A log whose pieces were joined here.
    log(&place.repo, 1000, 6000);
    let line = wal::line_of(1, b"", 20);
    let short = place.repo.wal().pieces(SYSTEM, line).unwrap();
    let short: Vec<_> = short.into_iter().filter(|piece| piece.end.0 - piece.start.0 == 1000).collect();
    place.repo.wal().remove(SYSTEM, line, &short).unwrap();
    copy(&place, &to);
    assert_eq!(thin(&[]).unwrap().objects, 5);
    assert_eq!(content(&place.repository()), content(&to));
}

#[test]
fn only_a_copy_of_this_repository_or_an_empty_place_is_written_to() {
    let place = furnished();
    let copy_error = |to: &Path, options| place.repo.copy_to(&at(to), options, &Unwatched).unwrap_err();
    let other = Place::new();
    back_up(&other, 9);
    let before = content(&other.repository());
    assert!(matches!(copy_error(&other.repository(), USUAL), RepoError::OtherRepository(_)));
    assert_eq!(content(&other.repository()), before);
    let full = place.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("diary.txt"), "dear diary").unwrap();
    assert!(matches!(copy_error(&full, USUAL), RepoError::NotEmpty(_)));
    let gone = place.path("gone");
    let expected = CopyOptions { may_begin: false, ..USUAL };
    let error = copy_error(&gone, expected);
    assert!(
        matches!(error, RepoError::CopyGone(_)) && error.hint().unwrap().0.contains("mounted"),
        "{error}"
    );
    assert!(!gone.exists());
    // Begun and killed before its `config` was there.
    copy(&place, &gone);
    let whole = content(&gone);
    fs::remove_file(gone.join("config")).unwrap();
    copy(&place, &gone);
    assert_eq!(content(&gone), whole);
}

#[test]
fn a_copy_goes_from_a_folder_to_object_storage_and_back_and_on_to_another_prefix() {
    let server = Seaweed::new();
    let place = furnished();
    let (one, two) = (s3(&server, "copies/one"), s3(&server, "two"));
    place.repo.copy_to(&one, USUAL, &Unwatched).unwrap();
    let away = Repo::open(&one, &Secret::new(KEY)).unwrap();
    assert!(away.verify(WHOLE, &Expected::default(), &Unwatched).unwrap().is_sound());
    away.copy_to(&two, USUAL, &Unwatched).unwrap();
    let further = Repo::open(&two, &Secret::new(KEY)).unwrap();
    let back = place.path("back");
    further.copy_to(&at(&back), USUAL, &Unwatched).unwrap();
    assert_eq!(content(&back), content(&place.repository()));
    restic_check(&back);
    // A flipped byte in the bucket is found, and replaced.
    let name = server.names("two/data").remove(0);
    let mut changed = server.get(&name);
    changed[20] ^= 1;
    server.put(&name, &changed);
    let report = further.verify(WHOLE, &Expected::default(), &Unwatched).unwrap();
    assert_eq!(report.findings.len(), 1, "{report}");
    let all = CopyOptions { depth: CopyDepth::All, ..USUAL };
    assert_eq!(place.repo.copy_to(&two, all, &Unwatched).unwrap().replaced, 1);
    assert!(further.verify(WHOLE, &Expected::default(), &Unwatched).unwrap().is_sound());
    let restored = place.path("restored");
    let backup = further.backups().unwrap().remove(0);
    further.restore(&backup.id, std::slice::from_ref(&restored), &Unwatched).unwrap();
    let sources = ["source-1", "source-2"].map(|name| trees_equal(&place.path(name), &restored).is_ok());
    assert!(sources.contains(&true));
    assert_eq!(server.names("two/muster/locks"), [""; 0]);
}

#[test]
fn a_full_disk_ends_a_copy_that_is_whole_and_holds_less_and_with_room_it_goes_on() {
    let place = furnished();
    let disk = TinyDisk::new(24 << 20);
    let to = disk.path().join("copy");
    let ids: Vec<BackupId> = place.repo.backups().unwrap().into_iter().map(|backup| backup.id).collect();
    for free in [0, 64 << 10, 1 << 20, 3 << 20] {
        disk.fill_to(free);
        let error = place.repo.copy_to(&at(&to), USUAL, &Unwatched).unwrap_err();
        assert!(error.hint().unwrap().0.contains("free space"), "{free}: {error}");
        if to.exists() && Repo::standing(&at(&to)).unwrap() == Standing::Repository {
            let there = place.repo.open_copy(&at(&to)).unwrap();
            let report = there.verify(VerifyDepth::Structure, &Expected::default(), &Unwatched).unwrap();
            assert!(report.is_sound(), "{free}: {report}");
            assert!(there.backups().unwrap().len() < ids.len());
        }
        let left = content(disk.path());
        assert!(!left.keys().any(|name| name.to_str().unwrap().contains(".tmp-")), "{left:?}");
        disk.empty();
    }
    copy(&place, &to);
    assert_eq!(content(&to), content(&place.repository()));
    restic_check(&to);
}
