//! Makes a copy of a database that holds one state of it, while others write.
//!
//! Two ways, chosen by what lies there:
//! - **online**: a read transaction holds the state still, and SQLite's backup interface copies its pages in steps. With
//!   the transaction open the steps never start again, however much is written meanwhile.
//! - **at rest**: a database in WAL mode without a `-shm` has no reader and no writer; opening it would make files
//!   beside it. Its files are copied, and must be the same before and after; the copy recovers itself.
//!
//! `consistent_at` is taken just before the state is held: everything committed before is in the copy.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use muster_types::{Clock, Kind, Timestamp, event::Watcher};
use rusqlite::{
    Connection, ErrorCode, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{fingerprint, open};
use crate::{DriverError, swap::with_suffix};

/// Pages of one step: a few megabytes, so that a person can stop it soon.
const PAGES_PER_STEP: i32 = 1_000;
/// How long to wait before asking for the lock again.
const PAUSE: Duration = Duration::from_millis(5);
/// How often a database at rest may change under the copy before it counts as one that is written to.
const ATTEMPTS: usize = 5;

/// What is known of the state in the copy.
pub(super) struct Copied {
    /// Everything committed before this is in it.
    pub(super) consistent_at: Timestamp,
    /// The mark of the source at that time.
    pub(super) fingerprint: Option<String>,
}

/// Copies the database at `path` to `place`, which must not exist.
pub(super) fn copy(
    path: &Path,
    place: &Path,
    patience: Duration,
    clock: &dyn Clock,
    watcher: &dyn Watcher,
) -> Result<Copied, DriverError> {
    let size = fs::metadata(path).map_err(|error| absent(path, error))?.len();
    watcher.begin("copy", Some(size));
    for _ in 0..ATTEMPTS {
        if !is_at_rest(path)? {
            match online(path, place, patience, clock, watcher) {
                // A transaction that died half-way lies beside it, and only a writer could take it back.
                Err(error) if needs_recovery(&error) => {}
                Err(error) => return Err(error.into_driver(path)),
                Ok(copied) => return Ok(copied),
            }
        }
        if let Some(copied) = at_rest(path, place, clock, watcher)? {
            return Ok(copied);
        }
        thread::sleep(PAUSE);
    }
    let message = format!("{} changed each time it was copied", path.display());
    Err(DriverError::new(Kind::Unavailable, message).with_hint("run the backup again when less is written"))
}

/// Why the online way did not work.
enum Failure {
    Sqlite(rusqlite::Error),
    Driver(DriverError),
}

impl Failure {
    fn into_driver(self, path: &Path) -> DriverError {
        match self {
            Self::Sqlite(error) => open::unreadable(path, error),
            Self::Driver(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn needs_recovery(failure: &Failure) -> bool {
    matches!(failure, Failure::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly))
}

/// A database whose header says WAL, and beside which no process keeps the index of a log.
fn is_at_rest(path: &Path) -> Result<bool, DriverError> {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Ok(()) => Ok(header[18] == 2 && !with_suffix(path, "-shm").exists()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(absent(path, error)),
    }
}

fn online(
    path: &Path,
    place: &Path,
    patience: Duration,
    clock: &dyn Clock,
    watcher: &dyn Watcher,
) -> Result<Copied, Failure> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let source = Connection::open_with_flags(open::uri(path, "mode=ro"), flags)?;
    let mut target = Connection::open(place)?;
    // The copy is read once and removed: it need not survive a power cut.
    target.pragma_update(None, "synchronous", "off")?;
    let copied = hold(&source, path, patience, clock, watcher)?;
    let backup = Backup::new(&source, &mut target)?;
    let mut page_bytes = 0;
    let mut stalled = Instant::now();
    loop {
        if watcher.is_cancelled() {
            return Err(Failure::Driver(open::cancelled()));
        }
        let result = backup.step(PAGES_PER_STEP)?;
        if page_bytes == 0 {
            page_bytes = source.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))?;
        }
        watcher.advance(u64::try_from(page_bytes * i64::from(PAGES_PER_STEP)).unwrap_or(0));
        match result {
            StepResult::Done => break,
            StepResult::More => stalled = Instant::now(),
            // Nobody else has the target, and the source's lock is held: this passes, or something is very wrong.
            _ if stalled.elapsed() > patience => return Err(Failure::Driver(stuck(path))),
            _ => thread::sleep(PAUSE),
        }
    }
    drop(backup);
    // The source's mode was copied too: without this a `-wal` would be made when the copy is opened.
    target.close().map_err(|(_, error)| error)?;
    Ok(copied)
}

fn stuck(path: &Path) -> DriverError {
    DriverError::new(Kind::Unavailable, format!("{} is locked by another process", path.display()))
        .with_hint("wait for that process, or end its transaction")
}

/// Begins a read transaction, so that the state stands still; waits for a lock no longer than `patience`.
fn hold(
    source: &Connection,
    path: &Path,
    patience: Duration,
    clock: &dyn Clock,
    watcher: &dyn Watcher,
) -> Result<Copied, Failure> {
    source.busy_timeout(Duration::ZERO)?;
    let begun = Instant::now();
    loop {
        let copied = Copied { consistent_at: clock.now(), fingerprint: fingerprint(path) };
        let held = source
            .execute_batch("begin")
            .and_then(|()| source.query_row("select count(*) from sqlite_schema", [], |_| Ok(())));
        match held {
            Ok(()) => return Ok(copied),
            Err(error) if open::kind(&error) == Kind::Locked && begun.elapsed() < patience => {
                if watcher.is_cancelled() {
                    return Err(Failure::Driver(open::cancelled()));
                }
                source.execute_batch("rollback")?;
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Copies the files and lets the copy recover itself; `None` when something was written meanwhile.
fn at_rest(
    path: &Path,
    place: &Path,
    clock: &dyn Clock,
    watcher: &dyn Watcher,
) -> Result<Option<Copied>, DriverError> {
    let copied = Copied { consistent_at: clock.now(), fingerprint: fingerprint(path) };
    let before = marks(path);
    for suffix in ["", "-wal", "-journal"] {
        let (from, to) = (with_suffix(path, suffix), with_suffix(place, suffix));
        remove(&to)?;
        if suffix.is_empty() || from.exists() {
            copy_file(&from, &to, watcher)?;
        }
    }
    remove(&with_suffix(place, "-shm"))?;
    if marks(path) != before {
        return Ok(None);
    }
    recover(place).map_err(|error| open::unreadable(path, error))?;
    Ok(Some(copied))
}

/// Opens the copy as a writer would: a log or a broken transaction beside it is worked off and removed.
fn recover(place: &Path) -> rusqlite::Result<()> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let database = Connection::open_with_flags(open::uri(place, "mode=rw"), flags)?;
    database.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?;
    // The last connection that closes takes the log over and removes it.
    database.close().map_err(|(_, error)| error)
}

/// What shows that a file was written to.
fn marks(path: &Path) -> Vec<Option<[i128; 6]>> {
    ["", "-wal", "-journal", "-shm"]
        .iter()
        .map(|suffix| {
            let found = fs::metadata(with_suffix(path, suffix)).ok()?;
            Some([
                found.ino().into(),
                found.len().into(),
                found.mtime().into(),
                found.mtime_nsec().into(),
                found.ctime().into(),
                found.ctime_nsec().into(),
            ])
        })
        .collect()
}

fn copy_file(from: &Path, to: &Path, watcher: &dyn Watcher) -> Result<(), DriverError> {
    let mut source = File::open(from).map_err(|error| absent(from, error))?;
    let mut target = File::create_new(to).map_err(|error| unwritable(to, error))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        if watcher.is_cancelled() {
            return Err(open::cancelled());
        }
        let count = source.read(&mut buffer).map_err(|error| absent(from, error))?;
        if count == 0 {
            return Ok(());
        }
        target.write_all(&buffer[..count]).map_err(|error| unwritable(to, error))?;
        watcher.advance(count as u64);
    }
}

fn remove(path: &Path) -> Result<(), DriverError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(path, error)),
        _ => Ok(()),
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> DriverError {
    DriverError::new(Kind::Unavailable, format!("cannot write the copy {}", path.display()))
        .with_hint("make room where Muster keeps its state")
        .with_source(error)
}

fn absent(path: &Path, error: std::io::Error) -> DriverError {
    let is_absent = error.kind() == std::io::ErrorKind::NotFound;
    let kind = if is_absent { Kind::NotFound } else { Kind::Unavailable };
    let hint = if is_absent {
        "is its disk mounted? else correct `path` of the component"
    } else {
        "run Muster as a user that may read it"
    };
    DriverError::new(kind, format!("cannot read {}", path.display())).with_hint(hint).with_source(error)
}
