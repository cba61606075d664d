//! Opens databases without a trace, and puts SQLite's errors into our words.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use muster_types::{Kind, event::Watcher};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::DriverError;

/// How long to wait between two looks at the watcher.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Returns the URI of a database file with a query such as `immutable=1`.
pub(crate) fn uri(path: &Path, query: &str) -> PathBuf {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let encoded: String = absolute
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|&byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    PathBuf::from(format!("file://{encoded}?{query}"))
}

/// Opens a file that nobody writes to: nothing beside it is made, read or locked.
pub(super) fn immutable(path: &Path) -> Result<Connection, DriverError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri(path, "immutable=1"), flags).map_err(|error| unreadable(path, error))
}

/// Does something with a database that a person can stop: statements that run long are interrupted.
pub(super) fn stoppable<T>(
    database: &Connection,
    watcher: &dyn Watcher,
    act: impl FnOnce() -> Result<T, DriverError>,
) -> Result<T, DriverError> {
    let handle = database.get_interrupt_handle();
    let is_done = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        let look = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                if watcher.is_cancelled() {
                    handle.interrupt();
                }
                thread::park_timeout(LOOK_EVERY);
            }
        });
        let result = act();
        is_done.store(true, Ordering::Relaxed);
        look.thread().unpark();
        result
    });
    if watcher.is_cancelled() { Err(cancelled()) } else { result }
}

/// The error of a person who stopped it.
pub(super) fn cancelled() -> DriverError {
    DriverError::new(Kind::Interrupted, "stopped on request")
}

/// The error of a database that does not answer.
pub(super) fn unreadable(path: &Path, error: rusqlite::Error) -> DriverError {
    let kind = kind(&error);
    let (what, hint) = match kind {
        Kind::Corrupt => (
            "is damaged or not a database",
            "restore it: `muster restore` keeps a safety copy of what is there",
        ),
        Kind::NotFound => ("is not there", "is its disk mounted? else correct `path` of the component"),
        Kind::Locked => ("is locked by another process", "wait for that process, or end its transaction"),
        _ => ("cannot be read", "check its rights and its disk"),
    };
    // Exit code 11 is for Muster's own locks.
    let kind = if kind == Kind::Locked { Kind::Unavailable } else { kind };
    DriverError::new(kind, format!("{} {what}", path.display())).with_hint(hint).with_source(error)
}

/// The family of one of SQLite's errors.
pub(super) fn kind(error: &rusqlite::Error) -> Kind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Corrupt,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Locked,
        Some(ErrorCode::OperationInterrupted) => Kind::Interrupted,
        _ => Kind::Unavailable,
    }
}
