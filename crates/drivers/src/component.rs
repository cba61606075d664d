//! What Muster can do with one component, whatever its kind.
//!
//! The engine calls these in the order of a plan. A driver knows one kind and its versions; it reads the source, and
//! changes it only in [`ComponentDriver::swap`], [`ComponentDriver::detach`], [`ComponentDriver::insert_rows`],
//! [`ComponentDriver::restore_tables`], [`ComponentDriver::return_tables`] and through [`ComponentDriver::repairs`].
//!
//! A driver never chooses (no "latest", no default target), never writes the journal, never prints.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_repo::{Repo, source::Source};
use muster_types::{
    Clock, Kind, Lsn,
    anew::Anew,
    backup::{BackupRecord, Method, Witness},
    config::{Assertion, Component},
    event::Watcher,
    facts::ComponentFacts,
    failover::{MemberFacts, ReplicaFacts, Way},
    plan::{SwapMove, Takeover},
    rescue::{RowSelection, RowsFound, TriggerUse},
    tables::{TableFacts, TablesDone},
    wal::{Reached, ReceiverStatus, Replay},
};

use crate::{
    DriverError,
    by_command::CommandDriver,
    cache::Cache,
    described::ServerFacts,
    etcd::EtcdDriver,
    failover::{Closed, ElectedReplica, PromotedMember, no_members},
    files::FilesDriver,
    kubernetes::KubernetesDriver,
    look::{Attachments, Look, Preparation},
    postgres::PostgresDriver,
    redis::RedisDriver,
    repair::Repairs,
    rescue::{Inserted, RowInsertion, RowSearch, no_rows},
    server::{ServerPlaces, Told},
    sqlite::SqliteDriver,
    swap,
    tables::{TableRestore, TableReturn, no_tables},
    vault::VaultDriver,
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

    /// Lists the replication slots through which the log of the source is received for this platform.
    ///
    /// # Errors
    /// No server of the source answers; `Interrupted`.
    fn log_slots(&self, _platform: &str, _watcher: &dyn Watcher) -> Result<Attachments, DriverError> {
        Ok(Attachments::default())
    }

    /// Drops what [`Self::log_slots`] lists, on each server that answers; the others are left, and told. May be repeated.
    ///
    /// # Errors
    /// `Conflict`: one is in use; then none is dropped. No server answers; `Interrupted`.
    fn drop_log_slots(&self, _platform: &str, _watcher: &dyn Watcher) -> Result<Attachments, DriverError> {
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

    /// Begins a backup of what a server that does not run any more has left at `path`; reads it only.
    ///
    /// # Errors
    /// `Input`: the kind has no such files. `NotFound`: nothing of its is there. `Conflict`: it is in use. `Corrupt`.
    fn open_files(
        &self,
        _path: &Path,
        _scratch: &Path,
        _watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        Err(DriverError::new(
            Kind::Input,
            "only components of kind `redis` are backed up from the files of a stopped server",
        )
        .with_hint("leave `--from-files` out"))
    }

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

    /// Opens a sealed server with the keys that people have given for this run; one that is open is left alone.
    ///
    /// # Errors
    /// `Input`: the kind has no seal, or too few keys were given. `WrongKey`: they do not fit.
    fn unseal(&self, _watcher: &dyn Watcher) -> Result<Told, DriverError> {
        Err(no_seal())
    }

    /// Puts what was restored to `place` in place of all that the running server holds. May be repeated.
    ///
    /// # Errors
    /// `Input`: the kind is not restored so. `Corrupt`: the backup is damaged; nothing was sent then. `Conflict`: the
    /// server stands otherwise than the plan supposes.
    fn take_over(&self, _place: &Path, _how: Takeover, _watcher: &dyn Watcher) -> Result<Told, DriverError> {
        Err(no_seal())
    }

    /// Initialises a new server for named people; `places` hold its newest backup, if there is one.
    ///
    /// # Errors
    /// `Input`: the kind has no keys. `Conflict`: the server is not new.
    fn start_anew(
        &self,
        _places: &[PathBuf],
        _request: &Anew,
        _watcher: &dyn Watcher,
    ) -> Result<Told, DriverError> {
        Err(no_seal())
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

    /// Says what the source has of these tables, and refuses what cannot be brought back: before anything is restored.
    ///
    /// # Errors
    /// `Input`: no name of a table, a kind without tables. `Conflict`: a right that is missing. `Unavailable`.
    fn check_tables(
        &self,
        _tables: &[String],
        _watcher: &dyn Watcher,
    ) -> Result<Vec<TableFacts>, DriverError> {
        Err(no_tables())
    }

    /// Brings tables back from restored files, all of them or none; what stood there before is kept in the server.
    ///
    /// May be called again after a crash: what was committed is told and not done again.
    ///
    /// # Errors
    /// `NotFound`: a table is in neither state. `Conflict`: other columns, a foreign key that would be broken.
    fn restore_tables(
        &self,
        _asked: &TableRestore<'_>,
        _watcher: &dyn Watcher,
    ) -> Result<TablesDone, DriverError> {
        Err(no_tables())
    }

    /// Puts back what [`Self::restore_tables`] has kept, all of it or nothing; what stands there is kept in its turn.
    ///
    /// # Errors
    /// As [`Self::restore_tables`]; `NotFound`: nothing is kept there.
    fn return_tables(
        &self,
        _asked: &TableReturn<'_>,
        _watcher: &dyn Watcher,
    ) -> Result<TablesDone, DriverError> {
        Err(no_tables())
    }

    /// Asks every server of the component's cluster what it is. One that does not answer is a fact, not an error.
    ///
    /// # Errors
    /// `Config`: it has no members. `Interrupted`.
    fn members(&self, _watcher: &dyn Watcher) -> Result<Vec<MemberFacts>, DriverError> {
        Err(no_members())
    }

    /// Tells a primary to take no writes and to acknowledge no commit, and ends its sessions. May be repeated.
    ///
    /// Returns where its log ended; `None` when it does not answer or is a standby by now.
    ///
    /// # Errors
    /// `Conflict`: a right is missing. `Unavailable`: sessions do not end. `Interrupted`.
    fn close_member(&self, _member: &str, _watcher: &dyn Watcher) -> Result<Option<Closed>, DriverError> {
        Err(no_members())
    }

    /// Makes a standby the primary, after it has the log up to `end` or can get no more, and waits until it takes writes.
    ///
    /// May be repeated: one that is the primary already is told as it stands.
    ///
    /// # Errors
    /// `Conflict`: a right is missing. `Unavailable`: it does not answer, or does not take writes in time. `Interrupted`.
    fn promote_member(
        &self,
        _member: &str,
        _end: Option<Lsn>,
        _watcher: &dyn Watcher,
    ) -> Result<PromotedMember, DriverError> {
        Err(no_members())
    }

    /// Asks a replica of the component's cluster, and the cluster, how they stand; `None` for a kind whose servers do not
    /// vote: ask [`Self::members`] then. `wanted` is an address or an id.
    ///
    /// # Errors
    /// `Input`: the cluster has no such node. `Config`: it is no cluster. `Unavailable`: nobody answers. `Interrupted`.
    fn replica(&self, _wanted: &str, _watcher: &dyn Watcher) -> Result<Option<ReplicaFacts>, DriverError> {
        Ok(None)
    }

    /// Makes a replica the primary of its slots, in the first of these ways that succeeds, and waits until it is.
    ///
    /// May be repeated: one that is a primary already is told as it stands.
    ///
    /// # Errors
    /// `Conflict`: the cluster did not agree. `Unavailable`: it does not answer. `Interrupted`.
    fn promote_replica(
        &self,
        _replica: &str,
        _ways: &[Way],
        _watcher: &dyn Watcher,
    ) -> Result<ElectedReplica, DriverError> {
        Err(no_members())
    }

    /// Runs the command that leads clients to a member; returns its last line.
    ///
    /// # Errors
    /// It is not there, or fails.
    fn switch_clients(&self, _member: &str, _watcher: &dyn Watcher) -> Result<String, DriverError> {
        Err(no_members())
    }

    /// Runs one command of the source's own language, and returns its reply: a line for each part of a list.
    ///
    /// # Errors
    /// `Input`: a kind without commands. What the server refuses, as it says it. `Unavailable`: it does not answer.
    fn command(&self, _words: &[String], _watcher: &dyn Watcher) -> Result<String, DriverError> {
        Err(DriverError::new(Kind::Input, "only components of kind `redis` take commands"))
    }

    /// Returns what mends the component's running server, and sets rows of it aside, where the kind knows how.
    fn repairs(&self) -> Option<&dyn Repairs> {
        None
    }

    /// Returns what empties the component and fills it again, where it is a cache that is never restored.
    fn cache(&self) -> Option<&dyn Cache> {
        None
    }

    /// Executes SQL on the source and returns the rows of its answer: a line each, columns divided by `|`.
    ///
    /// # Errors
    /// `Input`: a kind without SQL, or it is refused. `Unavailable`: the source does not answer.
    fn query(&self, _sql: &str, _watcher: &dyn Watcher) -> Result<String, DriverError> {
        Err(DriverError::new(Kind::Input, "only components of kind `postgres` and `sqlite` know SQL"))
    }

    /// Asks the source for one value by SQL, which may only read; SQL's null is `None`.
    ///
    /// # Errors
    /// `Input`: a kind without SQL, more than one value, or it is refused. `Unavailable`: the source does not answer.
    fn one_value(&self, _sql: &str, _watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        Err(DriverError::new(Kind::Input, "only components of kind `postgres` and `sqlite` know SQL"))
    }

    /// Asks the running server how it stands, as an object of JSON for conditions. Reads only.
    ///
    /// # Errors
    /// `Input`: a kind that is not asked so. `Unavailable`: the server does not answer.
    fn standing(&self, _watcher: &dyn Watcher) -> Result<serde_json::Value, DriverError> {
        Err(DriverError::new(Kind::Input, "only components of kind `redis`, `vault` and `etcd` are asked so"))
    }

    /// Fails when a process has one of the component's files open; names the processes.
    fn check_unused(&self) -> Result<(), DriverError>;

    /// Tells whether the first rename of [`Self::swap`] has happened: until then the old state is whole, and whoever
    /// finishes the swap of a dead run must leave it.
    fn has_begun(&self, moves: &[SwapMove]) -> bool {
        swap::has_begun(moves)
    }

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
        Component::Redis(redis) => Box::new(RedisDriver::new(name, redis, clock)?),
        Component::Vault(vault) => Box::new(VaultDriver::new(name, vault, clock)?),
        Component::Etcd(etcd) => Box::new(EtcdDriver::new(name, etcd, clock)?),
        Component::Kubernetes(own) => Box::new(KubernetesDriver::new(name, own, clock)?),
        Component::Command(own) => Box::new(CommandDriver::new(name, own, clock)?),
    })
}

fn no_seal() -> DriverError {
    DriverError::new(Kind::Input, "only components of kind `vault` are unsealed and taken over")
        .with_hint("name a component of kind `vault`")
}
