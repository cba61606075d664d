//! Components of kind `postgres`: a whole PostgreSQL cluster, or one database of it, over the network alone.
//!
//! In: a connection URL, and where its data directory lies when this is its host. Out: facts, a base backup or a dump as
//! a source, the judgement on restored files by a scratch server, and the swap of data directory and tablespaces.
//!
//! ```text
//! server ─► ready? ─► base backup (replication protocol) ─► archives ─► source ─► repository
//! repository ─► files ─► prepare ─► scratch server ─► verified ─► swap
//! ```
//!
//! The server is only read, but for `rescue`, `tables`, `repair` and `quarantine`: a temporary slot keeps the log while a backup runs, and ends with its session.
//!
//! Read next: `wire` for the connection, `source` for the backup, `verify` for the proof, `logical` for dumps, `rescue` for rows, `tables`
//! for whole tables.

mod address;
mod attachments;
mod base_backup;
mod binaries;
mod described;
mod direct;
mod failover;
mod logical;
mod look;
mod lsn;
mod manifest;
mod moved;
mod noted;
mod place;
mod quarantine;
mod ready;
mod refusal;
mod repair;
mod replay;
mod rescue;
mod role;
mod scratch;
mod settings;
mod source;
mod standby;
mod tables;
mod tls;
mod transport;
mod verify;
mod wal;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_repo::{Repo, source::Source};
use muster_types::{
    Clock, Kind, Lsn,
    backup::{BackupRecord, Method},
    config::{
        FilesComponent, PostgresComponent, PostgresHeartbeat, PostgresMethod, PostgresTransport, PostgresWal,
        SecretSwitch,
    },
    event::{Unwatched, Watcher},
    facts::ComponentFacts,
    failover::MemberFacts,
    objective::Target,
    place::in_server,
    plan::SwapMove,
    rescue::{RowSelection, RowsFound, TriggerUse},
    tables::{TableFacts, TablesDone},
};

pub(crate) use self::described::{described, description_file};
use self::{
    address::Address,
    attachments::Deed,
    moved::Want,
    place::Owner,
    wire::{Connection, Purpose},
};
use crate::{
    DriverError,
    component::{ComponentDriver, Verification, Verified, WalReception},
    described::ServerFacts,
    failover::{Closed, PromotedMember},
    files::FilesDriver,
    look::{Attachments, Look, Preparation},
    repair::Repairs,
    rescue::{Inserted, RowInsertion, RowSearch},
    server::ServerPlaces,
    swap,
    tables::{TableRestore, TableReturn},
};

/// The driver of one `postgres` component.
pub struct PostgresDriver {
    name: String,
    address: Address,
    method: PostgresMethod,
    transport: PostgresTransport,
    /// The member that gives backups, if it is not the server of `url`.
    backup_from: Option<String>,
    /// What that member may lag.
    rpo: Option<Duration>,
    data_dir: Option<PathBuf>,
    bin_dir: Option<PathBuf>,
    /// Bytes per second.
    max_rate: Option<u64>,
    wal: PostgresWal,
    heartbeat: PostgresHeartbeat,
    /// The slot may keep log without a limit.
    unbounded_slot: bool,
    members: Vec<failover::Server>,
    on_failover: Vec<String>,
    failover_secrets: Vec<SecretSwitch>,
    clock: Arc<dyn Clock>,
}

impl PostgresDriver {
    /// Makes the driver of the component `name`; asks nobody.
    ///
    /// # Errors
    /// `Config`: no URL, one that cannot be read, a relative path.
    pub fn new(
        name: &str,
        component: &PostgresComponent,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DriverError> {
        let Some(url) = &component.url else {
            return Err(DriverError::new(Kind::Config, format!("component `{name}` has no url"))
                .with_hint("write `url: postgres://muster@db:5432/app`"));
        };
        for (key, path) in [("data_dir", &component.data_dir), ("bin_dir", &component.bin_dir)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute() || path.file_name().is_none())
            {
                let message = format!("{key} `{}` of component `{name}` is not absolute", path.display());
                return Err(DriverError::new(Kind::Config, message).with_hint("write it from `/` on"));
            }
        }
        transport::check(name, component)?;
        let members = failover::servers(name, component)?;
        if let Some(from) = &component.backup_from {
            standby::check(name, from, &members, component)?;
        }
        let rpo = component.common.objectives.and_then(|one| one.rpo);
        Ok(Self {
            name: name.to_owned(),
            address: Address {
                password_missing: component.password_missing.clone(),
                ..Address::parse(url, component.password.as_deref())?
            },
            method: component.method,
            transport: component.transport,
            backup_from: component.backup_from.clone(),
            rpo: rpo
                .and_then(|rpo| if let Target::Within(span) = rpo { Some(span.duration()) } else { None }),
            data_dir: component.data_dir.clone(),
            bin_dir: component.bin_dir.clone(),
            max_rate: component.max_rate.map(|rate| rate.0),
            wal: component.wal,
            heartbeat: component.heartbeat,
            unbounded_slot: component.unbounded_slot,
            members,
            on_failover: component.on_failover.clone(),
            failover_secrets: failover::switches(component)?,
            clock,
        })
    }

    /// Says what makes the role of a URL, for a server that is no component yet.
    ///
    /// # Errors
    /// `Config`: the URL cannot be read.
    pub fn preparation_of(url: &str) -> Result<Preparation, DriverError> {
        Ok(role::preparation(&Address::parse(url, None)?))
    }

    /// Returns what reads and judges the data directory and tablespaces as files, when they are on this host.
    fn local(&self) -> Result<FilesDriver, DriverError> {
        let Some(data_dir) = &self.data_dir else {
            return Err(DriverError::new(
                Kind::Config,
                format!("component `{}` does not say where its data directory is on this host", self.name),
            )
            .with_hint("add `data_dir: /var/lib/postgresql/15/main`, or restore with `--into FOLDER`"));
        };
        let paths = std::iter::once(data_dir.clone()).chain(place::tablespaces(data_dir)).collect();
        let component = FilesComponent { paths, ..FilesComponent::default() };
        FilesDriver::new(&self.name, &component, self.clock.clone())
    }

    fn request<'a>(&'a self, asked: &'a Verification<'a>) -> verify::Request<'a> {
        verify::Request {
            name: &self.name,
            bin_dir: self.bin_dir.as_deref(),
            data_dir: self.data_dir.as_deref(),
            database: &self.address.database,
            asked,
        }
    }

    fn asked(&self) -> transport::Request<'_> {
        transport::Request {
            address: &self.address,
            transport: self.transport,
            data_dir: self.data_dir.as_deref(),
            max_rate: self.max_rate,
            from: self
                .members
                .iter()
                .find(|one| self.backup_from.as_ref() == Some(&one.name))
                .map(|one| standby::Request { member: &one.name, address: &one.address, rpo: self.rpo }),
            clock: &self.clock,
        }
    }

    /// With `wal: sync`: the name by which the server waits for the receiver.
    fn sync_name(&self) -> Option<String> {
        (self.wal == PostgresWal::Sync).then(|| wal::sync::name_of(&self.name))
    }

    fn about(&self) -> rescue::Request<'_> {
        rescue::Request {
            name: &self.name,
            address: &self.address,
            bin_dir: self.bin_dir.as_deref(),
            data_dir: self.data_dir.as_deref(),
        }
    }

    /// Says what the server itself tells: its files may lie on another host.
    fn survey_server(&self, source: String) -> ComponentFacts {
        let mut asked = Connection::open(&self.address, Purpose::Sql, &Unwatched).ok();
        let fingerprint = asked.as_mut().and_then(|asked| asked.position(&Unwatched).ok()?);
        let size = match self.method {
            PostgresMethod::Physical => fingerprint.is_some().then_some(0),
            PostgresMethod::Logical => asked.as_mut().and_then(|asked| {
                let sql = "SELECT pg_database_size(current_database())";
                asked.value(sql, &Unwatched).ok()??.parse().ok()
            }),
        };
        ComponentFacts {
            name: self.name.clone(),
            source,
            is_present: size.is_some(),
            has_data: size.is_some(),
            size_bytes: size.unwrap_or_default(),
            fingerprint,
            last_write: None,
            open_by: Vec::new(),
            beside: Vec::new(),
            targets: self.targets(),
            seal: None,
        }
    }
}

impl ComponentDriver for PostgresDriver {
    fn survey(&self) -> Result<ComponentFacts, DriverError> {
        // Not the data directory: on a new host it may lie elsewhere, and its backups are still those of this server.
        let source = self.address.to_string();
        if self.method == PostgresMethod::Logical {
            return Ok(self.survey_server(format!("{source}/{}", self.address.database)));
        }
        if self.data_dir.is_some() {
            return Ok(ComponentFacts { source, targets: self.targets(), ..self.local()?.survey()? });
        }
        Ok(self.survey_server(source))
    }

    fn look(&self, watcher: &dyn Watcher) -> Result<Look, DriverError> {
        let sync_name = self.sync_name();
        let request = look::Request {
            address: &self.address,
            data_dir: self.data_dir.as_deref(),
            bin_dir: self.bin_dir.as_deref(),
            method: self.method,
            sync_name: sync_name.as_deref(),
        };
        self.with_successor(look::look(&request, watcher)?, watcher)
    }

    fn preparation(&self) -> Option<Preparation> {
        Some(role::preparation(&self.address))
    }

    fn attachments(&self, watcher: &dyn Watcher) -> Result<Attachments, DriverError> {
        attachments::of_all(&self.servers(), attachments::list, watcher)
    }

    fn detach(&self, watcher: &dyn Watcher) -> Result<Attachments, DriverError> {
        // When one is in use, none is removed, on no server.
        attachments::of_all(&self.servers(), attachments::list_unused, watcher)?;
        attachments::of_all(&self.servers(), attachments::remove, watcher)
    }

    fn log_slots(&self, platform: &str, watcher: &dyn Watcher) -> Result<Attachments, DriverError> {
        self.slots(platform, Deed::List, watcher)
    }

    fn drop_log_slots(&self, platform: &str, watcher: &dyn Watcher) -> Result<Attachments, DriverError> {
        self.slots(platform, Deed::Remove, watcher)
    }

    fn receive_wal(&self, reception: &WalReception<'_>, watcher: &dyn Watcher) -> Result<(), DriverError> {
        if self.wal == PostgresWal::None {
            let message = format!("component `{}` does not say that its log is received", self.name);
            return Err(DriverError::new(Kind::Config, message).with_hint("add `wal: stream` to it"));
        }
        let servers = self.servers();
        let sync_name = self.sync_name();
        let request = wal::Request {
            component: &self.name,
            servers: &servers,
            slot: &wal::slot_name(reception.platform, &self.name),
            sync_name: sync_name.as_deref(),
            heartbeat: self.heartbeat,
            data_dir: self.data_dir.as_deref(),
            may_fill_disk: self.unbounded_slot,
            repo: reception.repo,
            clock: &self.clock,
        };
        wal::receive(&request, reception.told, watcher)
    }

    fn push_wal(&self, repo: &Repo, file: &Path) -> Result<String, DriverError> {
        wal::push(repo, file, self.clock.as_ref())
    }

    fn open_source(
        &self,
        method: Method,
        scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        match method {
            Method::Raw => self.local()?.open_source(method, scratch, watcher),
            Method::Consistent if self.method == PostgresMethod::Logical => {
                self.refuse_old_primary(Want::Read, watcher)?;
                logical::take(&self.address, self.bin_dir.as_deref(), &self.clock, scratch, watcher)
            }
            Method::Consistent => {
                self.refuse_old_primary(Want::Read, watcher)?;
                transport::begin(&self.asked(), watcher)
            }
        }
    }

    fn targets(&self) -> Vec<PathBuf> {
        // A dump goes into the server, whatever the method is by now.
        let database = in_server("postgres", &self.address.database);
        self.data_dir.iter().cloned().chain([database]).collect()
    }

    fn verify(&self, asked: &Verification<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        let request = self.request(asked);
        if let (Some(loaded), Some(place)) = (asked.loaded, asked.places.first()) {
            return self.verify_loaded(&request, place, loaded, watcher);
        }
        // What was restored decides, not how the next backup will be taken.
        match asked.places.first() {
            Some(place) if logical::is_dump(place) => logical::verify(&request, watcher),
            _ => verify::verify(&request, watcher),
        }
    }

    fn check_programs(&self, record: &BackupRecord, server: Option<&ServerFacts>) -> Result<(), DriverError> {
        described::check_programs(self.bin_dir.as_deref(), record, server)
    }

    fn server(&self) -> Option<&dyn ServerPlaces> {
        Some(self)
    }

    fn repairs(&self) -> Option<&dyn Repairs> {
        Some(self)
    }

    fn query(&self, sql: &str, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let mut connection = Connection::open(&self.address, Purpose::Sql, watcher)?;
        let line = |row: Vec<Option<String>>| {
            row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("|")
        };
        Ok(connection.query(sql, watcher)?.into_iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    fn one_value(&self, sql: &str, watcher: &dyn Watcher) -> Result<Option<String>, DriverError> {
        let mut connection = Connection::open(&self.address, Purpose::Sql, watcher)?;
        // A query whose asker has gone away ends by itself. (Its end is not waited for here.)
        connection.query("SET client_connection_check_interval = '1s'", watcher)?;
        connection.query("SET default_transaction_read_only = on", watcher)?;
        // One statement only: a second one could make it writable again.
        connection.parse(sql, watcher)?;
        connection.value(sql, watcher)
    }

    fn check_rows(
        &self,
        selection: &RowSelection,
        triggers: TriggerUse,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        self.refuse_old_primary(Want::Write, watcher)?;
        rescue::check(&self.address, selection, triggers, watcher)
    }

    fn find_rows(&self, search: &RowSearch<'_>, watcher: &dyn Watcher) -> Result<RowsFound, DriverError> {
        rescue::find(&self.about(), search, watcher)
    }

    fn insert_rows(
        &self,
        insertion: &RowInsertion<'_>,
        watcher: &dyn Watcher,
    ) -> Result<Inserted, DriverError> {
        rescue::insert(&self.address, insertion, watcher)
    }

    fn check_tables(&self, tables: &[String], watcher: &dyn Watcher) -> Result<Vec<TableFacts>, DriverError> {
        self.refuse_old_primary(Want::Write, watcher)?;
        tables::check(&self.address, tables, watcher)
    }

    fn restore_tables(
        &self,
        asked: &TableRestore<'_>,
        watcher: &dyn Watcher,
    ) -> Result<TablesDone, DriverError> {
        tables::restore(&self.about(), asked, watcher)
    }

    fn return_tables(
        &self,
        asked: &TableReturn<'_>,
        watcher: &dyn Watcher,
    ) -> Result<TablesDone, DriverError> {
        tables::put_back(&self.about(), asked, watcher)
    }

    fn members(&self, watcher: &dyn Watcher) -> Result<Vec<MemberFacts>, DriverError> {
        failover::members(&self.name, &self.members, watcher)
    }

    fn close_member(&self, member: &str, watcher: &dyn Watcher) -> Result<Option<Closed>, DriverError> {
        failover::close(failover::find(&self.name, &self.members, member)?, watcher)
    }

    fn promote_member(
        &self,
        member: &str,
        end: Option<Lsn>,
        watcher: &dyn Watcher,
    ) -> Result<PromotedMember, DriverError> {
        failover::promote(failover::find(&self.name, &self.members, member)?, end, watcher)
    }

    fn switch_clients(&self, member: &str, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let member = failover::find(&self.name, &self.members, member)?;
        failover::lead(&self.on_failover, &self.failover_secrets, member, watcher)
    }

    fn check_unused(&self) -> Result<(), DriverError> {
        let Some(data_dir) = &self.data_dir else { return Ok(()) };
        // The server's own mark says it even where open files cannot be seen.
        if let Ok(pid) = fs::read_to_string(data_dir.join("postmaster.pid"))
            && let Some(pid) = pid.lines().next().and_then(|line| line.trim().parse::<u32>().ok())
            // After a crash the mark stays, and its number may belong to anybody by now.
            && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("post"))
        {
            let message = format!("PostgreSQL runs on {} (pid {pid})", data_dir.display());
            return Err(DriverError::new(Kind::Conflict, message).with_hint(
                "stop it first, or name it under `services:` with `uses:`, so that Muster stops it",
            ));
        }
        self.local()?.check_unused()
    }

    fn swap(&self, moves: &[SwapMove]) -> Result<(), DriverError> {
        let Some(data) = moves.first() else { return Ok(()) };
        for place in [&data.from, &data.target] {
            // Before the rename it is the restored one; after a crash it may stand at its target already.
            let is_restored = place == &data.from || !data.from.exists();
            if is_restored && place.join("PG_VERSION").exists() {
                let owner = Owner::find(self.data_dir.as_deref(), place)?;
                place::point_to_targets(place, moves)?;
                place::put_settings(place, &data.target, owner)?;
                for one in moves.iter().filter(|one| one.from.exists()) {
                    owner.take(&one.from)?;
                }
                scratch::remove(&place.join(scratch::FOLDER))?;
                replay::clean(place)?;
            }
        }
        // A server that finds its data directory must find its tablespaces.
        let last: Vec<SwapMove> = moves[1..].iter().chain(&moves[..1]).cloned().collect();
        swap::swap(&last, &[])
    }
}
