//! Whether the files of a server can be read on this host, and are really those of that very server.
//!
//! ```text
//! pg_control: its system identifier ─► postmaster.pid: folder, start, port ─► later: our slot's folder appears in it
//! ```
//! In: what the server says by SQL, and the folder that the configuration names. Out: the folder, or why not and what mends
//! it. A copy of the cluster has the same system identifier; it has neither the same `postmaster.pid` nor our slot.
//!
//! It never writes. Read next: `../direct.rs`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use muster_types::{Kind, event::Watcher};

use super::{
    super::{address::Address, base_backup::Tablespace, refusal::quoted, settings::Server, wire::Connection},
    control,
};
use crate::DriverError;

/// The functions that begin and end a backup; only superusers may call them unless they are granted.
const FUNCTIONS: [&str; 2] = ["pg_backup_start(text, boolean)", "pg_backup_stop(boolean)"];
/// The server notes when it has started some moments after it has written its mark.
const START_WITHIN: std::ops::RangeInclusive<i64> = -2..=120;

/// Why the files are not read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Unfit {
    pub(in super::super) why: String,
    pub(in super::super) mend: String,
    kind: Kind,
}

impl Unfit {
    fn new(kind: Kind, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { why: why.into(), mend: mend.into(), kind }
    }

    /// Makes an error of it, for who has asked for `transport: local`.
    pub(in super::super) fn into_error(self, address: &Address) -> DriverError {
        let message = format!("the files of PostgreSQL at {address} are not read on this host: {}", self.why);
        DriverError::new(self.kind, message)
            .with_hint(format!("{}\nor `transport: replication`: over the network", self.mend))
    }
}

/// Finds the data directory.
///
/// # Errors
/// A lost connection; `Interrupted`. The inner error: why the files are not read here.
pub(in super::super) fn find(
    asked: &mut Connection,
    server: &Server,
    data_dir: Option<&Path>,
    address: &Address,
    watcher: &dyn Watcher,
) -> Result<Result<PathBuf, Unfit>, DriverError> {
    let sql = "SELECT extract(epoch FROM pg_postmaster_start_time())::bigint, current_setting('port'), \
               (SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global'))";
    let rows = asked.query(sql, watcher)?;
    let field = |index: usize| rows.first().and_then(|row| row.get(index)?.clone()).unwrap_or_default();
    let told = Told {
        server,
        started: field(0).parse().unwrap_or_default(),
        port: field(1),
        spaces: field(2) != "0",
    };
    let folder = data_dir.unwrap_or(&server.data_directory);
    if let Err(unfit) = told.compare(folder) {
        return Ok(Err(unfit));
    }
    let may = FUNCTIONS.map(|name| format!("has_function_privilege('{name}', 'execute')")).join(" AND ");
    if asked.value(&format!("SELECT {may}"), watcher)?.as_deref() != Some("t") {
        let user = quoted(&address.user);
        return Ok(Err(Unfit::new(
            Kind::Unavailable,
            format!("the role `{}` may not call pg_backup_start and pg_backup_stop", address.user),
            FUNCTIONS.map(|name| format!("GRANT EXECUTE ON FUNCTION {name} TO {user};")).join("\n"),
        )));
    }
    Ok(Ok(folder.to_owned()))
}

/// The last word: a slot that we made is a folder in the data directory of the server that made it.
pub(super) fn holds_slot(folder: &Path, slot: &str) -> Result<(), Unfit> {
    match fs::metadata(folder.join("pg_replslot").join(slot)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = format!("{} is the data directory of another server", folder.display());
            Err(Unfit::new(Kind::Config, why, "name the right folder with `data_dir`"))
        }
        Err(error) => Err(unreadable(folder, &error)),
    }
}

/// All tablespaces must be where their links lead: in a container that may be another place.
pub(super) fn holds_tablespaces(
    folder: &Path,
    tablespaces: &[Tablespace],
    version: &str,
) -> Result<(), Unfit> {
    for one in tablespaces {
        if let Err(error) = fs::read_dir(folder.join("pg_tblspc").join(&one.oid).join(version)) {
            let why = format!("the tablespace in {} cannot be read: {error}", one.path);
            return Err(Unfit::new(
                Kind::Unavailable,
                why,
                "mount it at the same path, and run Muster as root",
            ));
        }
    }
    Ok(())
}

/// What the server says of itself.
struct Told<'a> {
    server: &'a Server,
    started: i64,
    port: String,
    spaces: bool,
}

impl Told<'_> {
    fn compare(&self, folder: &Path) -> Result<(), Unfit> {
        let said = format!("the server says: data_dir: {}", self.server.data_directory.display());
        let other = |why: String| Unfit::new(Kind::Config, why, said.clone());
        let name = folder.display();
        match control::identifier_of(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why = format!("{name} holds no cluster");
                return Err(Unfit::new(
                    Kind::Config,
                    why,
                    format!("{said}; if that is another host's, leave `transport` out"),
                ));
            }
            Err(error) => return Err(unreadable(folder, &error)),
            Ok(own) if own.as_deref() != Some(&*self.server.system_identifier) => {
                let own = own.unwrap_or_else(|| "none".into());
                return Err(other(format!(
                    "{name} holds another cluster (system identifier {own}, the server has {})",
                    self.server.system_identifier
                )));
            }
            Ok(_) => {}
        }
        let mark = fs::read_to_string(folder.join("postmaster.pid")).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                other(format!("no server runs on {name}: it is a copy"))
            } else {
                unreadable(folder, &error)
            }
        })?;
        let mut lines = mark.lines().skip(1).map(str::trim);
        let (of, since, port) = (lines.next(), lines.next(), lines.next());
        let age = since.and_then(|since| since.parse().ok()).map(|since: i64| self.started - since);
        let is_same = of.is_some_and(|of| Path::new(of) == self.server.data_directory)
            && age.is_some_and(|age| START_WITHIN.contains(&age))
            && port == Some(&self.port);
        if !is_same {
            return Err(other(format!(
                "{name} is the data directory of another server, on port {}",
                port.unwrap_or("unknown")
            )));
        }
        if self.spaces && folder != self.server.data_directory {
            return Err(Unfit::new(
                Kind::Config,
                format!(
                    "the server calls {name} otherwise and has tablespaces: their paths are not those of this host"
                ),
                "mount the folders at the same paths",
            ));
        }
        Ok(())
    }
}

fn unreadable(folder: &Path, error: &io::Error) -> Unfit {
    Unfit::new(
        Kind::Unavailable,
        format!("{} cannot be read: {error}", folder.display()),
        "run Muster as root or as the server's own user",
    )
}
