//! What Muster sees of a server, for `muster survey`: facts, what stands in the way, what is worth mending.
//!
//! In: the address and what the configuration says of this host. Out: a look. A server that does not answer is told as
//! what stands in the way, with what is known without it. It takes no lock, begins no backup and changes nothing.
//! Read next: `ready.rs` for what stands in the way of a backup, `look/health.rs` for how the server does.

mod health;

use std::{fs, path::Path};

use muster_types::{Explain, Kind, config::PostgresMethod, event::Watcher, wal::SyncStanding};

use super::{
    address::Address,
    binaries::{self, Binaries},
    ready,
    refusal::quoted,
    settings::{self, Settings},
    wal::sync,
    wire::{Connection, Purpose},
};
use crate::{DriverError, look::Look};

/// What is looked at.
pub(super) struct Request<'a> {
    pub(super) address: &'a Address,
    pub(super) data_dir: Option<&'a Path>,
    pub(super) bin_dir: Option<&'a Path>,
    pub(super) method: PostgresMethod,
    /// With `wal: sync`: the name by which the server waits for the receiver.
    pub(super) sync_name: Option<&'a str>,
}

/// Looks at all of it.
pub(super) fn look(request: &Request<'_>, watcher: &dyn Watcher) -> Result<Look, DriverError> {
    let address = request.address;
    let mut look = Look::default();
    look.add("server", format!("{address}, database {}, role {}", address.database, address.user));
    let known = match ask(request, &mut look, watcher) {
        Ok(major) => Some(major),
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => {
            look.hinder(error.to_string(), error.hint().map(|hint| hint.0).unwrap_or_default());
            None
        }
    };
    here(request, known, &mut look);
    Ok(look)
}

/// Asks the server; returns its major version.
fn ask(request: &Request<'_>, look: &mut Look, watcher: &dyn Watcher) -> Result<u32, DriverError> {
    let address = request.address;
    let mut connection = Connection::open(address, Purpose::Sql, watcher)?;
    let is_physical = request.method == PostgresMethod::Physical;
    // A dump needs no right to replicate; what it may not read is told by the tables' names when it begins.
    let hindrances =
        if is_physical { ready::hindrances(&mut connection, address, watcher)? } else { Vec::new() };
    let mut server = Server { connection, watcher };
    let version = server.tell("SHOW server_version")?.unwrap_or_default();
    let number = server.tell("SHOW server_version_num")?.unwrap_or_default();
    let major = ready::major(number.parse::<u32>().unwrap_or_default());
    look.add("version", version);
    server.what_it_is(look)?;
    server.sizes(look)?;
    server.limits(look)?;
    server.health(look)?;
    server.rights(address, look)?;
    server.rest(look)?;
    if let Some(name) = request.sync_name {
        server.sync(name, look)?;
    }
    look.add(
        "method",
        if is_physical { "physical" } else { "logical: each dump brings back its own moment" },
    );
    if !is_physical {
        return Ok(major);
    }
    server.replication_login(address, hindrances.is_empty(), look)?;
    for one in hindrances {
        look.hinder(one.what, one.mend);
    }
    let is_open = look.hindrances.is_empty();
    match Settings::read(&mut server.connection, watcher) {
        Ok(settings) => tell_settings(&settings, request, look),
        // What stands in the way has been told already.
        Err(error) if error.kind() == Kind::Interrupted || is_open => return Err(error),
        Err(_) => {}
    }
    Ok(major)
}

struct Server<'a> {
    connection: Connection,
    watcher: &'a dyn Watcher,
}

impl Server<'_> {
    /// Asks for one value; what this role may not know is `None`.
    fn tell(&mut self, sql: &str) -> Result<Option<String>, DriverError> {
        match self.connection.value(sql, self.watcher) {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            other => Ok(other.ok().flatten()),
        }
    }

    fn add(&mut self, look: &mut Look, name: &str, sql: &str) -> Result<(), DriverError> {
        let value = self.tell(sql)?;
        look.add(name, value.as_deref().unwrap_or("not known to this role"));
        Ok(())
    }

    fn what_it_is(&mut self, look: &mut Look) -> Result<(), DriverError> {
        self.add(
            look,
            "state",
            "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby: it follows another server' ELSE 'primary' END",
        )?;
        self.add(look, "system identifier", "SELECT system_identifier FROM pg_control_system()")?;
        self.add(look, "data directory", "SELECT setting FROM pg_settings WHERE name = 'data_directory'")?;
        let checksums = self.tell("SHOW data_checksums")?.unwrap_or_default();
        look.add("data checksums", &checksums);
        if checksums == "off" {
            look.warn(
                "data checksums are off: a page that is damaged on the server's disk goes into backups unnoticed",
                Some("stop the server, `pg_checksums --enable -D DATA_DIRECTORY`, start it; it reads and writes every page".into()),
            );
        }
        Ok(())
    }

    fn sizes(&mut self, look: &mut Look) -> Result<(), DriverError> {
        self.add(
            look,
            "databases",
            "SELECT string_agg(datname || ' ' || pg_size_pretty(pg_database_size(oid)), ', ' ORDER BY datname) \
             FROM pg_database WHERE datallowconn",
        )?;
        self.add(look, "size", "SELECT pg_size_pretty(sum(pg_database_size(oid))) FROM pg_database")?;
        self.add(
            look,
            "tablespaces",
            "SELECT coalesce(string_agg(spcname || ' ' || pg_size_pretty(pg_tablespace_size(oid)) || ' in ' || \
             pg_tablespace_location(oid), ', ' ORDER BY spcname), 'none') \
             FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''",
        )?;
        self.add(
            look,
            "log on disk",
            "SELECT pg_size_pretty(coalesce(sum(size), 0)) || ' in ' || count(*) || ' files' FROM pg_ls_waldir()",
        )
    }

    fn limits(&mut self, look: &mut Look) -> Result<(), DriverError> {
        for name in ["wal_level", "archive_mode"] {
            self.add(look, name, &format!("SHOW {name}"))?;
        }
        for (name, used, most) in [
            ("WAL senders", "pg_stat_replication", "max_wal_senders"),
            ("replication slots", "pg_replication_slots", "max_replication_slots"),
        ] {
            let sql = format!(
                "SELECT count(*) || ' of ' || current_setting('{most}') || ' in use ({most})' FROM {used}"
            );
            self.add(look, name, &sql)?;
        }
        Ok(())
    }

    fn rights(&mut self, address: &Address, look: &mut Look) -> Result<(), DriverError> {
        self.add(
            look,
            "rights",
            "SELECT CASE WHEN rolsuper THEN 'superuser' ELSE concat_ws(', ', \
             CASE WHEN rolreplication THEN 'replication' END, \
             CASE WHEN pg_has_role(oid, 'pg_monitor', 'usage') THEN 'pg_monitor' END, \
             CASE WHEN pg_has_role(oid, 'pg_read_server_files', 'usage') THEN 'pg_read_server_files' END) END \
             FROM pg_roles WHERE rolname = current_user",
        )?;
        if self.tell("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")?.as_deref() == Some("t") {
            look.warn(
                format!("`{}` is a superuser: a backup needs much less", address.user),
                Some("`muster survey --sql` prints how a role is made that may only back up".into()),
            );
        }
        Ok(())
    }

    /// A role that may replicate can still be kept out by `pg_hba.conf`, which has lines of its own for that.
    fn replication_login(
        &mut self,
        address: &Address,
        is_open: bool,
        look: &mut Look,
    ) -> Result<(), DriverError> {
        if !is_open {
            return Ok(());
        }
        match Connection::open(address, Purpose::Replication, self.watcher) {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                look.hinder(error.to_string(), error.hint().map(|hint| hint.0).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Whether commits wait for the repository.
    fn sync(&mut self, name: &str, look: &mut Look) -> Result<(), DriverError> {
        match sync::standing(&mut self.connection, name, self.watcher)? {
            SyncStanding::Always => look.add("commits wait", format!("for the repository, as `{name}`")),
            SyncStanding::Not { because, mend } => {
                look.add("commits wait", "not for the repository");
                look.warn(format!("`wal: sync` does not hold: {because}"), Some(mend));
            }
        }
        Ok(())
    }

    fn rest(&mut self, look: &mut Look) -> Result<(), DriverError> {
        self.add(
            look,
            "extensions",
            "SELECT string_agg(extname || ' ' || extversion, ', ' ORDER BY extname) FROM pg_extension",
        )
    }
}

fn tell_settings(settings: &Settings, request: &Request<'_>, look: &mut Look) {
    let server = &settings.server;
    let outside: Vec<String> = server.outside.iter().map(|path| path.display().to_string()).collect();
    if outside.is_empty() {
        look.add("settings", "in the data directory");
    } else if settings.is_told {
        look.add(
            "settings",
            format!("{}: not readable, written anew from what the server tells", outside.join(", ")),
        );
        let role = quoted(&request.address.user);
        look.warn(
            "settings lie outside the data directory and this role may not read the files: backups hold their values without comments",
            Some(format!(
                "GRANT pg_read_server_files TO {role}; GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {role};   -- in the database `{}`",
                request.address.database
            )),
        );
    } else {
        look.add("settings", format!("{}: taken as they are", outside.join(", ")));
    }
    for warning in &settings.warnings {
        look.warn(warning, None);
    }
    if let Some((what, mend)) = request.data_dir.and_then(|data_dir| misplaced(data_dir, server)) {
        look.warn(what, Some(mend));
    }
}

/// Says what is wrong with a `data_dir`, and what the server says.
pub(super) fn misplaced(data_dir: &Path, server: &settings::Server) -> Option<(String, String)> {
    let said = format!("the server says: data_dir: {}", server.data_directory.display());
    match identifier(data_dir) {
        Some(own) if own.to_string() != server.system_identifier => {
            let what = format!(
                "`data_dir` {} holds another cluster (system identifier {own}): a restore would replace that one",
                data_dir.display()
            );
            Some((what, said))
        }
        None if server.data_directory != data_dir => {
            let what = format!("`data_dir` {} holds no cluster that can be read", data_dir.display());
            Some((what, format!("{said}; leave it out when the server is on another host")))
        }
        _ => None,
    }
}

/// Reads which cluster lies in a data directory: the first eight bytes of its control file.
fn identifier(data_dir: &Path) -> Option<u64> {
    let head = fs::read(data_dir.join("global/pg_control")).ok()?;
    Some(u64::from_ne_bytes(head.get(..8)?.try_into().ok()?))
}

/// What can be told without the server.
fn here(request: &Request<'_>, known: Option<u32>, look: &mut Look) {
    if let Some(data_dir) = request.data_dir {
        look.add("data_dir", data_dir.display());
    } else {
        look.add("data_dir", "not said: a restore needs `--into FOLDER`");
    }
    let of_files = request
        .data_dir
        .and_then(|folder| fs::read_to_string(folder.join("PG_VERSION")).ok())
        .and_then(|text| text.trim().parse().ok());
    let Some(major) = known.or(of_files) else { return };
    let programs = match request.method {
        PostgresMethod::Physical => binaries::TO_OPEN,
        PostgresMethod::Logical => binaries::TO_RESTORE,
    };
    match Binaries::find(request.bin_dir, major, programs) {
        Ok(found) => look.add("programs for proofs", found.folder().display()),
        Err(error) => {
            look.add("programs for proofs", "missing");
            look.warn(format!("no proof is possible here: {error}"), error.hint().map(|hint| hint.0));
        }
    }
}
