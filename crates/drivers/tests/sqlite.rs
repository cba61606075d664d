//! The `sqlite` driver against real databases, real writers and real damage.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it should be, and what it writes need not survive a power cut"
)]

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use muster_drivers::{
    DriverError,
    component::{ComponentDriver, Verification},
    sqlite::SqliteDriver,
};
use muster_repo::source::{EntryKind, Source};
use muster_testkit::{Writer, sqlite, sqlite_with_rows, writer::Commit};
use muster_types::{
    Clock, Explain, Kind, Timestamp,
    backup::{Method, Witness},
    config::{Assertion, ComponentCommon, SqliteComponent},
    event::{Unwatched, Watcher},
    plan::SwapMove,
};
use rusqlite::Connection;
use tempfile::TempDir;

struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn driver(path: &Path) -> SqliteDriver {
    let component = SqliteComponent { path: Some(path.to_owned()), common: ComponentCommon::default() };
    SqliteDriver::new("database", &component, Arc::new(RealClock)).unwrap()
}

/// A backup without a repository: the source's files, written beside each other.
struct Taken {
    folder: TempDir,
    witness: Witness,
    consistent_at: Timestamp,
    paths: Vec<PathBuf>,
}

impl Taken {
    fn place(&self) -> PathBuf {
        self.folder.path().join("0")
    }

    fn verify(&self, driver: &SqliteDriver) -> Result<String, DriverError> {
        driver
            .verify(&Verification::new(&[self.place()], &self.witness, &[]), &Unwatched)
            .map(|found| found.summary)
    }
}

fn take(driver: &SqliteDriver, method: Method) -> Result<Taken, DriverError> {
    let scratch = tempfile::tempdir().unwrap();
    let source = driver.open_source(method, scratch.path(), &Unwatched)?;
    Ok(write_out(source.as_ref()))
}

fn write_out(source: &dyn Source) -> Taken {
    let folder = tempfile::tempdir().unwrap();
    for entry in source.entries() {
        let entry = entry.unwrap();
        let EntryKind::File { open, .. } = entry.kind else { panic!("{} is no file", entry.path.display()) };
        let mut content = Vec::new();
        open().unwrap().read_to_end(&mut content).unwrap();
        fs::write(folder.path().join(entry.path), content).unwrap();
    }
    let summary = source.finish().unwrap();
    Taken { folder, witness: summary.witness, consistent_at: summary.consistent_at, paths: source.paths() }
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The whole point is the load: without it the test would show nothing.
fn assert_rate(commits: &[Commit]) {
    let seconds = (commits.last().unwrap().committed_at - commits[0].committed_at) as f64 / 1e9;
    let rate = commits.len() as f64 / seconds;
    assert!(rate >= 4_500.0, "the writer only reached {rate:.0} transactions per second");
}

fn ids(path: &Path) -> BTreeSet<u64> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare("select id from entries").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    rows.map(|id| u64::try_from(id.unwrap()).unwrap()).collect()
}

/// Overwrites pages in the middle, as a bad disk would.
fn ruin(path: &Path) {
    use std::os::unix::fs::FileExt;
    let size = fs::metadata(path).unwrap().len();
    let noise = vec![0xA5; usize::try_from(size / 2).unwrap()];
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&noise, size / 4).unwrap();
}

// proves: B5
#[test]
fn a_copy_under_a_writer_of_five_thousand_transactions_a_second_ends_and_lacks_nothing_committed_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    sqlite_with_rows(&path, 50_000);
    let writer = Writer::begin(&path, 5_000);
    writer.wait_for_commits(1_000);
    let before = writer.commits();
    let taken = take(&driver(&path), Method::Consistent).unwrap();
    let during = writer.commits().len() - before.len();
    let all = writer.end();
    assert!(during > 0, "the writer went on");
    assert_rate(&all);
    assert_eq!(sqlite::integrity(&taken.place()), "ok");
    let found = ids(&taken.place());
    assert!(
        before.iter().all(|commit| found.contains(&commit.id)),
        "a row committed before the backup is missing"
    );
    let stated = taken.consistent_at.as_nanosecond();
    for commit in all.iter().filter(|commit| i128::from(commit.committed_at) <= stated) {
        assert!(found.contains(&commit.id), "row {} was committed before `consistent_at`", commit.id);
    }
    let newest =
        all.iter().filter(|c| found.contains(&c.id)).map(|c| i128::from(c.committed_at)).max().unwrap();
    assert!((newest - stated).abs() < 1_000_000_000, "the stated time is within a second of the newest row");
    taken.verify(&driver(&path)).unwrap();
}

#[test]
fn a_writer_with_a_rollback_journal_only_waits_while_the_copy_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    sqlite_with_rows(&path, 20_000);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "delete").unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (flag, started) = (stop.clone(), std::sync::mpsc::channel());
    let writer = std::thread::spawn(move || {
        let mut count = 0_u64;
        while !flag.load(std::sync::atomic::Ordering::Relaxed) {
            connection.execute("insert into entries (body, committed_at) values ('x', 0)", []).unwrap();
            count += 1;
            if count == 20 {
                started.0.send(()).unwrap();
            }
        }
        count
    });
    started.1.recv().unwrap();
    let taken = take(&driver(&path), Method::Consistent).unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let written = writer.join().unwrap();
    let rows = sqlite::count_rows(&taken.place());
    assert!(rows >= 20_020 && rows <= 20_000 + written, "{rows} of {written} more");
    assert_eq!(sqlite::integrity(&taken.place()), "ok");
}

#[test]
fn a_backup_changes_nothing_beside_the_database() {
    for mode in ["wal", "delete"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        sqlite_with_rows(&path, 100);
        Connection::open(&path).unwrap().pragma_update(None, "journal_mode", mode).unwrap();
        let (before, bytes) = (names(folder.path()), fs::read(&path).unwrap());
        let mark = driver(&path).survey().unwrap().fingerprint;
        let taken = take(&driver(&path), Method::Consistent).unwrap();
        taken.verify(&driver(&path)).unwrap();
        assert_eq!(names(folder.path()), before, "{mode}");
        assert_eq!(
            names(taken.folder.path()),
            BTreeSet::from(["0".to_owned()]),
            "{mode}: the check left a trace"
        );
        assert!(fs::read(&path).unwrap() == bytes, "{mode}");
        assert_eq!(driver(&path).survey().unwrap().fingerprint, mark, "{mode}");
    }
}

#[test]
fn rows_that_are_only_in_a_log_that_nobody_has_open_are_in_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    sqlite_with_rows(&path, 100);
    let connection = sqlite::open(&path);
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    connection.execute("insert into entries (body, committed_at) values ('late', 0)", []).unwrap();
    // As after a power cut: the files as they are, and no process.
    let crashed = folder.path().join("crashed");
    fs::create_dir(&crashed).unwrap();
    for name in ["app.db", "app.db-wal"] {
        fs::copy(folder.path().join(name), crashed.join(name)).unwrap();
    }
    drop(connection);
    let before = names(&crashed);
    let taken = take(&driver(&crashed.join("app.db")), Method::Consistent).unwrap();
    assert_eq!(sqlite::count_rows(&taken.place()), 101);
    assert_eq!(names(&crashed), before);
}

#[test]
fn a_damaged_database_is_refused_by_name_and_still_taken_as_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    sqlite_with_rows(&path, 5_000);
    ruin(&path);
    let error = take(&driver(&path), Method::Consistent).err().unwrap();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("app.db") && error.hint().is_some(), "{error}");
    let taken = take(&driver(&path), Method::Raw).unwrap();
    assert!(fs::read(taken.place()).unwrap() == fs::read(&path).unwrap());
}

#[test]
fn what_is_no_database_is_refused_and_what_is_absent_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let absent = take(&driver(&path), Method::Consistent).err().unwrap();
    assert_eq!(absent.kind(), Kind::NotFound);
    assert!(take(&driver(&path), Method::Raw).unwrap().paths.is_empty());
    let facts = driver(&path).survey().unwrap();
    assert!(!facts.is_present && facts.fingerprint.is_none());
    fs::write(&path, "not a database, but long enough to have a header of its own ".repeat(20)).unwrap();
    let garbage = take(&driver(&path), Method::Consistent).err().unwrap();
    assert_eq!(garbage.kind(), Kind::Corrupt, "{garbage}");
    fs::write(&path, "").unwrap();
    let empty = take(&driver(&path), Method::Consistent).unwrap();
    assert_eq!(
        empty.witness.keys().filter(|name| name.starts_with("rows:")).count(),
        0,
        "an empty file is an empty database"
    );
}

#[test]
fn a_database_that_stays_locked_is_an_error_within_the_patience() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    sqlite_with_rows(&path, 10);
    let holder = Connection::open(&path).unwrap();
    holder.pragma_update(None, "journal_mode", "delete").unwrap();
    holder.execute_batch("begin exclusive").unwrap();
    let begun = Instant::now();
    let error =
        take(&driver(&path).with_patience(Duration::from_millis(300)), Method::Consistent).err().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(error.to_string().contains("locked") && error.hint().is_some(), "{error}");
}

struct Cancelled;

impl Watcher for Cancelled {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn is_cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_person_can_stop_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    sqlite_with_rows(&path, 10);
    let scratch = tempfile::tempdir().unwrap();
    let error = driver(&path).open_source(Method::Consistent, scratch.path(), &Cancelled).err().unwrap();
    assert_eq!(error.kind(), Kind::Interrupted);
}

/// Changes a copy of a taken backup and returns what the verification says.
fn verdict_after(change: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    sqlite_with_rows(&path, 1_000);
    let taken = take(&driver(&path), Method::Consistent).unwrap();
    taken.verify(&driver(&path)).unwrap();
    let connection = Connection::open(taken.place()).unwrap();
    connection.execute_batch(change).unwrap();
    connection.pragma_update(None, "journal_mode", "delete").unwrap();
    drop(connection);
    let error = taken.verify(&driver(&path)).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    error.to_string()
}

// proves: E5
#[test]
fn rows_that_are_not_those_of_the_backup_are_told_by_table_and_number() {
    assert!(
        verdict_after("delete from entries where id = 7")
            .contains("rows:entries is 999, the backup had 1000")
    );
    assert!(verdict_after("update entries set body = 'forged' where id = 7").contains("hash:entries is "));
    assert!(
        verdict_after("update entries set committed_at = committed_at + 1 where id = 1000")
            .contains("hash:entries")
    );
    assert!(verdict_after("drop table entries").contains("rows:entries is missing"));
    assert!(verdict_after("create table more (a)").contains("schema"));
    assert!(verdict_after("pragma user_version = 7").contains("user_version is 7"));
}

#[test]
fn a_cut_copy_fails_its_check_and_an_unknown_witness_is_never_a_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    sqlite_with_rows(&path, 5_000);
    let mut taken = take(&driver(&path), Method::Consistent).unwrap();
    taken.witness.insert("colour".into(), "blue".into());
    let unknown = taken.verify(&driver(&path)).unwrap_err();
    assert!(unknown.kind() != Kind::Corrupt && unknown.to_string().contains("colour"), "{unknown}");
    taken.witness.remove("colour");
    let whole = fs::read(taken.place()).unwrap();
    fs::write(taken.place(), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(taken.verify(&driver(&path)).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn every_kind_of_table_and_value_has_its_place_in_the_witness() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd \"name\" ü.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "create table plain (a, b);
             insert into plain values (null, 1), (1.5, 'text'), (x'00ff', -9223372036854775808), (cast(x'ff41' as text), '');
             create table \"od\"\"d table\" (k text primary key, v) without rowid;
             insert into \"od\"\"d table\" values ('b', 1), ('a', 2);
             create table made (a integer, twice integer generated always as (a * 2) stored, thrice generated always as (a * 3));
             insert into made (a) values (1), (2);
             create virtual table words using fts5(body);
             insert into words values ('some words'), ('more words');
             create view seen as select * from plain;",
        )
        .unwrap();
    drop(connection);
    let taken = take(&driver(&path), Method::Consistent).unwrap();
    let rows = |table: &str| taken.witness.get(&format!("rows:{table}")).map(String::as_str);
    assert_eq!((rows("plain"), rows("od\"d table"), rows("made")), (Some("4"), Some("2"), Some("2")));
    assert_eq!((rows("words"), rows("seen")), (None, None));
    assert!(rows("words_content").is_some(), "{:?}", taken.witness.keys());
    taken.verify(&driver(&path)).unwrap();
}

/// An application that orders its names in its own way.
const MAKE_OWN_COLLATION: &str = "\
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.create_collation('own', lambda a, b: (a < b) - (a > b))
db.executescript(\"create table t (name text collate own); create index i on t (name); insert into t values ('a'), ('b');\")
db.close()
";

#[test]
fn an_index_that_needs_the_application_is_told_in_a_warning_and_all_else_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let made =
        std::process::Command::new("python3").args(["-c", MAKE_OWN_COLLATION]).arg(&path).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let scratch = tempfile::tempdir().unwrap();
    let source = driver(&path).open_source(Method::Consistent, scratch.path(), &Unwatched).unwrap();
    let taken = write_out(source.as_ref());
    let warnings = source.finish().unwrap().warnings;
    assert!(warnings.iter().any(|line| line.contains("collation")), "{warnings:?}");
    assert!(taken.verify(&driver(&path)).unwrap().contains("indexes need the application"));
}

#[test]
fn assertions_are_evaluated_on_the_restored_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    sqlite_with_rows(&path, 10);
    let taken = take(&driver(&path), Method::Consistent).unwrap();
    let verify = |sql: &str, expect: Option<&str>| {
        let assertion =
            Assertion { sql: Some(sql.into()), expect: expect.map(str::to_owned), ..Assertion::default() };
        driver(&path)
            .verify(&Verification::new(&[taken.place()], &taken.witness, &[assertion]), &Unwatched)
            .map(|found| found.summary)
    };
    assert!(verify("select count(*) from entries", Some(">= 10")).unwrap().contains("1 assertion held"));
    assert_eq!(verify("select count(*) from entries", Some("> 10")).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(verify("select id from entries where id < 0", None).unwrap_err().kind(), Kind::Corrupt);
    assert_ne!(
        verify("select nonsense", None).unwrap_err().kind(),
        Kind::Corrupt,
        "a wrong query says nothing about the data"
    );
}

#[test]
fn a_process_that_has_it_open_is_named_and_its_log_goes_with_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let writer = {
        sqlite_with_rows(&path, 10);
        Writer::begin(&path, 100)
    };
    let error = driver(&path).check_unused().unwrap_err();
    assert!(error.to_string().contains(&format!("(pid {})", writer.pid())), "{error}");
    assert_eq!(driver(&path).survey().unwrap().open_by.len(), 1);
    writer.end();
    driver(&path).check_unused().unwrap();

    let at = |name: &str| folder.path().join(name);
    sqlite_with_rows(&at("new"), 5);
    fs::write(at("app.db-wal"), "the log of the old file").unwrap();
    let one = SwapMove { from: at("new"), target: path.clone(), kept: at("old") };
    driver(&path).swap(&[one]).unwrap();
    assert_eq!(fs::read_to_string(at("old-wal")).unwrap(), "the log of the old file");
    assert!(!at("app.db-wal").exists());
    assert_eq!(sqlite::count_rows(&path), 5);
}

#[test]
fn sql_of_a_runbook_gives_the_last_rows_and_says_how_far_a_refused_one_came() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("app.db");
    let ask = |sql: &str| driver(&path).query(sql, &Unwatched);
    assert_eq!(ask("select 1").unwrap_err().kind(), Kind::NotFound, "a database is not made by asking it");
    assert!(!path.exists());
    sqlite_with_rows(&path, 10);
    assert_eq!(ask("select 1, 'a'; select 2, null; select 3, 'c' union select 4, 'd'").unwrap(), "3|c\n4|d");
    assert_eq!(ask("create table t (x); insert into t values (7); select x from t").unwrap(), "7");
    let first = ask("selekt 1").unwrap_err();
    assert_eq!(first.kind(), Kind::Input, "nothing was done: {first}");
    let second = ask("insert into t values (8); selekt 1").unwrap_err();
    assert!(second.to_string().contains("statement 2") && second.kind() == Kind::Unavailable, "{second}");
    assert_eq!(ask("select count(*) from t").unwrap(), "2");
    let long = ask(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select i from n",
    );
    assert!(long.unwrap_err().to_string().contains("64 KiB"));
}
