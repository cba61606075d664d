//! Components of kind `sqlite`: one database file, with what SQLite keeps beside it.
//!
//! In: the component's path. Out: facts, a source for a backup, the judgement on a restored file, and the swap.
//! A consistent backup is one file, `data/0`; a raw one has `-wal` and `-journal` as further paths.
//!
//! ```text
//! database ─► copy (online, one state) ─► check and witness ─► source ─► repository
//!     └─────► as it lies there (raw) ────────────────────────────┘
//! ```
//!
//! It never writes to the database, never takes over its log and makes no file beside it (the index of a log that a
//! killed process has left, `-shm`, is brought up to date by SQLite itself); a running writer is not
//! stopped in WAL mode, and waits for the copy in the other modes, as SQLite's locks want it.
//!
//! Read next: `copy` for how a state is held still, `witness` for what is compared.

mod copy;
mod open;
mod query;
mod source;
mod witness;

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_repo::source::Source;
use muster_types::{
    Clock, Kind,
    backup::Method,
    config::{Assertion, SqliteComponent},
    event::Watcher,
    facts::ComponentFacts,
    plan::SwapMove,
    text::counted,
};
use rusqlite::{Connection, types::ValueRef};

pub(crate) use self::open::uri;
use crate::{
    DriverError,
    component::{ComponentDriver, Verification, Verified},
    expect,
    files::changed_at,
    processes, space,
    swap::{self, SQLITE_COMPANIONS, with_suffix},
};

/// How long a backup waits for a database that another process has locked.
const PATIENCE: Duration = Duration::from_secs(30);

/// The driver of one `sqlite` component.
pub struct SqliteDriver {
    name: String,
    path: PathBuf,
    patience: Duration,
    clock: Arc<dyn Clock>,
}

impl SqliteDriver {
    /// Makes the driver of the component `name`; looks at no disk.
    ///
    /// # Errors
    /// `Config`: no path, or a relative one.
    pub fn new(name: &str, component: &SqliteComponent, clock: Arc<dyn Clock>) -> Result<Self, DriverError> {
        match &component.path {
            Some(path) if path.is_absolute() && path.file_name().is_some() => {
                Ok(Self { name: name.to_owned(), path: path.clone(), patience: PATIENCE, clock })
            }
            Some(path) => {
                let message = format!("path `{}` of component `{name}` is not absolute", path.display());
                Err(DriverError::new(Kind::Config, message).with_hint("write it from `/` on"))
            }
            None => Err(DriverError::new(Kind::Config, format!("component `{name}` has no path"))
                .with_hint("write `path: /srv/app/app.db`")),
        }
    }

    /// Changes how long a backup waits for a locked database.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn inodes(&self) -> HashSet<(u64, u64)> {
        let beside = SQLITE_COMPANIONS.iter().map(|suffix| with_suffix(&self.path, suffix));
        std::iter::once(self.path.clone()).chain(beside).filter_map(|path| processes::inode(&path)).collect()
    }

    fn check_place(&self) -> Result<(), DriverError> {
        let (name, path) = (&self.name, self.path.display());
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_symlink() => {
                let message = format!("{path} of component `{name}` is a symbolic link");
                Err(DriverError::new(Kind::Config, message).with_hint("name the file that it points to"))
            }
            Ok(found) if !found.is_file() => {
                let message = format!("{path} of component `{name}` is not a file");
                Err(DriverError::new(Kind::Config, message).with_hint("name the database file"))
            }
            _ => Ok(()),
        }
    }
}

impl ComponentDriver for SqliteDriver {
    fn query(&self, sql: &str, watcher: &dyn Watcher) -> Result<String, DriverError> {
        self.check_place()?;
        query::query(&self.path, sql, watcher)
    }

    fn survey(&self) -> Result<ComponentFacts, DriverError> {
        let found = fs::metadata(&self.path).ok();
        let log = fs::metadata(with_suffix(&self.path, "-wal")).ok();
        let inodes = self.inodes();
        Ok(ComponentFacts {
            name: self.name.clone(),
            source: self.path.display().to_string(),
            is_present: found.is_some(),
            has_data: found.as_ref().is_some_and(|found| found.len() > 0),
            size_bytes: found.iter().chain(&log).map(fs::Metadata::len).sum(),
            fingerprint: fingerprint(&self.path),
            last_write: found.iter().chain(&log).filter_map(changed_at).max(),
            open_by: if inodes.is_empty() { Vec::new() } else { processes::open_by(&inodes) },
            beside: space::beside(std::slice::from_ref(&self.path)),
            targets: vec![self.path.clone()],
            seal: None,
        })
    }

    fn open_source(
        &self,
        method: Method,
        scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        self.check_place()?;
        match method {
            Method::Raw => Ok(Box::new(source::raw(&self.path, self.clock.now(), fingerprint(&self.path)))),
            Method::Consistent => {
                let place = scratch.join("copy.db");
                let copied = copy::copy(&self.path, &place, self.patience, self.clock.as_ref(), watcher)?;
                let database = open::immutable(&place)?;
                watcher.begin("check", None);
                let (unchecked, witness) = open::stoppable(&database, watcher, || {
                    let unchecked = check_integrity(&database, &self.path)?;
                    Ok((unchecked, witness::compute(&database, &self.path, watcher)?))
                })?;
                Ok(Box::new(source::consistent(&self.path, place, copied, witness, unchecked)))
            }
        }
    }

    fn targets(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn verify(&self, request: &Verification<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        let Verification { places, witness, assertions, .. } = *request;
        let Some(place) = places.first() else {
            return Err(DriverError::new(
                Kind::Corrupt,
                format!("the backup of `{}` holds no file", self.name),
            ));
        };
        if !place.is_file() {
            let message =
                format!("the backup of `{}` holds no database: {} is missing", self.name, place.display());
            return Err(DriverError::new(Kind::Corrupt, message));
        }
        watcher.begin("verify", None);
        let database = open::immutable(place)?;
        let (unchecked, found) = open::stoppable(&database, watcher, || {
            let unchecked = check_integrity(&database, place)?;
            let found = witness::compute(&database, place, watcher)?;
            witness::compare(witness, &found)?;
            assertions.iter().try_for_each(|assertion| evaluate(&database, assertion))?;
            Ok((unchecked, found))
        })?;
        let tables = found.keys().filter(|name| name.starts_with("rows:")).count();
        let rows: usize = found
            .iter()
            .filter(|(name, _)| name.starts_with("rows:"))
            .filter_map(|(_, rows)| rows.parse::<usize>().ok())
            .sum();
        let held = if assertions.is_empty() {
            String::new()
        } else {
            format!(", {} held", counted(assertions.len(), "assertion"))
        };
        let integrity =
            if unchecked.is_some() { "rows readable (indexes need the application)" } else { "integrity ok" };
        Ok(format!("{integrity}, {}, {}{held}", counted(tables, "table"), counted(rows, "row")).into())
    }

    fn check_unused(&self) -> Result<(), DriverError> {
        let inodes = self.inodes();
        let open_by = if inodes.is_empty() { Vec::new() } else { processes::open_by(&inodes) };
        if open_by.is_empty() {
            return Ok(());
        }
        let message =
            format!("`{}` is in use: {} is open in {}", self.name, self.path.display(), open_by.join(", "));
        Err(DriverError::new(Kind::Conflict, message)
            .with_hint("stop it first, or list the service's `uses:` so that Muster stops it"))
    }

    fn swap(&self, moves: &[SwapMove]) -> Result<(), DriverError> {
        self.check_place()?;
        swap::swap(moves, &SQLITE_COMPANIONS)
    }
}

/// Sizes and times of the database and its log: equal later means that nothing was written since.
fn fingerprint(path: &Path) -> Option<String> {
    let mark = |path: &Path| {
        fs::metadata(path)
            .ok()
            .filter(|found| found.len() > 0)
            .map(|found| format!("{}-{}.{:09}", found.len(), found.mtime(), found.mtime_nsec()))
    };
    let log = mark(&with_suffix(path, "-wal")).map(|log| format!("+{log}")).unwrap_or_default();
    Some(format!("{}{log}", mark(path)?))
}

/// Runs SQLite's own check of the whole file. Returns what could not be checked, for a warning.
///
/// An index with a collation or a function that only the application has makes SQLite refuse the whole check. Then the
/// witness is what stands for it: it reads every row of every table.
fn check_integrity(database: &Connection, shown: &Path) -> Result<Option<String>, DriverError> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut statement = database.prepare("pragma integrity_check(3)")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    };
    let (lines, unchecked) = match read() {
        Err(error) if needs_the_application(&error) => {
            let unchecked = format!("{}: its indexes were not checked: {error}", shown.display());
            (vec!["ok".to_owned()], Some(unchecked))
        }
        other => (other.map_err(|error| open::unreadable(shown, error))?, None),
    };
    if lines == ["ok"] {
        return Ok(unchecked);
    }
    let message = format!("{} is damaged: {}", shown.display(), lines.join("; ").replace('\n', " "));
    Err(DriverError::new(Kind::Corrupt, message)
        .with_hint("restore a backup: `muster restore` keeps a safety copy of what is there"))
}

/// SQLite has no code of its own for these, only their words.
fn needs_the_application(error: &rusqlite::Error) -> bool {
    let text = error.to_string();
    ["no such collation sequence", "unknown function", "no such function"]
        .iter()
        .any(|words| text.contains(words))
}

/// Evaluates one assertion; what it did not find is damage, what it cannot mean is an error of the configuration.
fn evaluate(database: &Connection, assertion: &Assertion) -> Result<(), DriverError> {
    let Some(sql) = &assertion.sql else {
        return Err(DriverError::new(Kind::Config, "an assertion of a database needs `sql`")
            .with_hint("write `{sql: \"select count(*) from t\", expect: \">= 1\"}`"));
    };
    let value = database.query_row(sql, [], |row| row.get_ref(0).map(shown)).map_err(|error| {
        let kind = if matches!(error, rusqlite::Error::QueryReturnedNoRows) {
            Kind::Corrupt
        } else {
            open::kind(&error)
        };
        DriverError::new(kind, format!("assertion `{sql}` gives no value")).with_source(error)
    })?;
    let wanted = assertion.expect.as_deref().unwrap_or("!= 0");
    if expect::holds(&value, wanted) {
        return Ok(());
    }
    Err(DriverError::new(
        Kind::Corrupt,
        format!("assertion `{sql}` does not hold: found {value}, expected {wanted}"),
    ))
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}
