//! What Muster can do with one component, whatever its kind.
//!
//! The engine calls these in the order of a plan. A driver knows one kind and its versions; it reads the source, and
//! changes it only in [`ComponentDriver::swap`], [`ComponentDriver::detach`] and [`ComponentDriver::insert_rows`].
//!
//! A driver never chooses (no "latest", no default target), never writes the journal, never prints.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_repo::{Repo, source::Source};
use muster_types::{
    Clock, Kind,
    backup::{BackupRecord, Method, Witness},
    config::{Assertion, Component},
    event::Watcher,
    facts::ComponentFacts,
    plan::SwapMove,
    rescue::{RowSelection, RowsFound, TriggerUse},
    wal::{Reached, ReceiverStatus, Replay},
};

use crate::{
    DriverError,
    described::ServerFacts,
    files::FilesDriver,
    look::{Attachments, Look, Preparation},
    postgres::PostgresDriver,
    rescue::{Inserted, RowInsertion, RowSearch, no_rows},
    server::ServerPlaces,
    sqlite::SqliteDriver,
};

/// What is to be judged, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Verification<'a> {
    /// Where the backup was written, in the order of [`Source::paths`].
    pub places: &'a [PathBuf],
    /// What must be true.
    pub witness: &'a Witness,
    /// What must hold besides.
    pub assertions: &'a [Assertion],
    /// A proof looks at every page and index; a restore must not keep people waiting for that.
    pub is_proof: bool,
    /// The log to replay first; its segments lie in the folder `muster-wal` of the first place.
    pub replay: Option<&'a Replay>,
    /// The place inside the running server that it was loaded into: then that is what is judged.
    pub loaded: Option<&'a Path>,
}

impl<'a> Verification<'a> {
    /// Asks for what a restore needs; a proof sets `is_proof`.
    pub fn new(places: &'a [PathBuf], witness: &'a Witness, assertions: &'a [Assertion]) -> Self {
        Self { places, witness, assertions, is_proof: false, replay: None, loaded: None }
    }
}

/// What a verification has found to be good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// One line for people.
    pub summary: String,
    /// What could not be judged on this host, one line each: a proof with a doubt is none.
    pub doubts: Vec<String>,
    /// How far a log was replayed.
    pub reached: Option<Reached>,
}

impl From<String> for Verified {
    fn from(summary: String) -> Self {
        Self { summary, ..Self::default() }
    }
}

/// What receives a log, and who is told.
#[derive(Clone, Copy)]
pub struct WalReception<'a> {
    /// The platform: the slot is named after it.
    pub platform: &'a str,
    /// Where the log goes.
    pub repo: &'a Repo,
    /// Told several times a second.
    pub told: &'a (dyn Fn(&ReceiverStatus) + Sync),
}

/// One component, ready to be worked with. All calls block; all paths are absolute.
pub trait ComponentDriver: Send + Sync {
    /// Reads what stands there now. Never fails because the component is damaged or absent: that is a fact.
    fn survey(&self) -> Result<ComponentFacts, DriverError>;

    /// Says what Muster sees and what stands in the way of a backup; what is missing is in the look, not an error.
    ///
    /// # Errors
    /// `Interrupted`.
    fn look(&self, _watcher: &dyn Watcher) -> Result<Look, DriverError> {
        Ok(Look::of(&self.survey()?))
    }

    /// Says what a person does once at the source so that it can be backed up; `None` when nothing is needed.
    fn preparation(&self) -> Option<Preparation> {
        None
    }

    /// Lists what Muster has made at the source and would leave there; by default nothing was made.
    ///
    /// # Errors
    /// The source does not answer; `Interrupted`.
    fn attachments(&self, _watcher: &dyn Watcher) -> Result<Attachments, DriverError> {
        Ok(Attachments::default())
    }

    /// Removes from the source what [`Self::attachments`] lists, and nothing else. May be repeated.
    ///
    /// # Errors
    /// `Conflict`: one of them is in use; then none is removed.
    fn detach(&self, _watcher: &dyn Watcher) -> Result<Attachments, DriverError> {
        Ok(Attachments::default())
    }

    /// Receives the source's log into the repository until the watcher says stop.
    ///
    /// # Errors
    /// `Input`: the kind has no log. What no waiting mends.
    fn receive_wal(&self, _reception: &WalReception<'_>, _watcher: &dyn Watcher) -> Result<(), DriverError> {
        Err(DriverError::new(
            Kind::Input,
            "only components of kind `postgres` have a log that can be received",
        )
        .with_hint("name a component of kind `postgres` with `wal: stream`"))
    }

    /// Archives one file of the source's log, as its own archiver hands it over; returns what was done.
    ///
    /// May be repeated.
    ///
    /// # Errors
    /// `Input`: the kind has no log, or this is no file of it. `Conflict`: the archive holds another file of that name.
    fn push_wal(&self, _repo: &Repo, _file: &Path) -> Result<String, DriverError> {
        Err(DriverError::new(
            Kind::Input,
            "only components of kind `postgres` have a log that can be archived",
        )
        .with_hint("name a component of kind `postgres`"))
    }

    /// Begins a backup. `scratch` is an empty folder of its own for temporary copies, removed by the caller.
    ///
    /// With [`Method::Raw`] it takes whatever lies there, damaged or partly missing.
    fn open_source(
        &self,
        method: Method,
        scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError>;

    /// The places that a restore fills: the component's own paths, in the order of [`Source::paths`].
    fn targets(&self) -> Vec<PathBuf>;

    /// Opens what was restored as its server would, checks its integrity, computes the witness anew and compares it,
    /// and evaluates the assertions. Leaves the state as it was; a server's recovery may have brought it to its end.
    ///
    /// May be called again after a crash. A witness name that this version cannot compute is an error, never a pass.
    fn verify(&self, request: &Verification<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError>;

    /// Returns what knows the places inside the component's running server, where there is one that takes a dump in.
    fn server(&self) -> Option<&dyn ServerPlaces> {
        None
    }

    /// Looks whether the programs that the configuration names can open a backup, before anything of it is restored.
    ///
    /// # Errors
    /// `Config`: they cannot. What else may be missing here, a proof finds.
    fn check_programs(
        &self,
        _record: &BackupRecord,
        _server: Option<&ServerFacts>,
    ) -> Result<(), DriverError> {
        Ok(())
    }

    /// Refuses rows that cannot be brought back, by a look at the source alone: before anything is restored.
    ///
    /// # Errors
    /// `Input`: no such table, no condition, a kind without rows. `Conflict`: no key, a right that is missing.
    /// `Unavailable`: the source does not answer.
    fn check_rows(
        &self,
        _selection: &RowSelection,
        _triggers: TriggerUse,
        _watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        Err(no_rows())
    }

    /// Compares restored files with the source, and keeps every row that is missing there in a file.
    ///
    /// Changes the restored files, and only reads the source. May be called again after a crash.
    ///
    /// # Errors
    /// As [`Self::check_rows`]; `Conflict`: a table has other columns now than then.
    fn find_rows(&self, _search: &RowSearch<'_>, _watcher: &dyn Watcher) -> Result<RowsFound, DriverError> {
        Err(no_rows())
    }

    /// Inserts rows that were found, all of them or none; never a second time.
    ///
    /// # Errors
    /// `Conflict`: the source has changed since they were found. `Corrupt`: the file is not the one that was kept.
    fn insert_rows(
        &self,
        _insertion: &RowInsertion<'_>,
        _watcher: &dyn Watcher,
    ) -> Result<Inserted, DriverError> {
        Err(no_rows())
    }

    /// Fails when a process has one of the component's files open; names the processes.
    fn check_unused(&self) -> Result<(), DriverError>;

    /// Puts `from` in place of `target` and keeps the old state at `kept`.
    ///
    /// Idempotent: called again after a crash at any point it finishes what was begun. Between the first and the last
    /// rename the target does not open as whole. The folders are fsynced. What makes the result usable comes last.
    fn swap(&self, moves: &[SwapMove]) -> Result<(), DriverError>;
}

/// Makes the driver of a component; looks at no disk.
///
/// # Errors
/// Kind `Config`: no path, a relative one, a glob that is none.
pub fn open(
    name: &str,
    component: &Component,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn ComponentDriver>, DriverError> {
    Ok(match component {
        Component::Sqlite(sqlite) => Box::new(SqliteDriver::new(name, sqlite, clock)?),
        Component::Files(files) => Box::new(FilesDriver::new(name, files, clock)?),
        Component::Postgres(postgres) => Box::new(PostgresDriver::new(name, postgres, clock)?),
    })
}
