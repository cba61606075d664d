//! Opens the earlier state: a scratch server on restored files, or one that a dump is loaded into.
//!
//! In: what a backup was restored to. Out: a running server that reaches nothing. It never touches production.
//! Read next: `../scratch.rs`, `../logical/proof.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use muster_types::{Kind, event::Watcher};

use super::super::{
    address::Address,
    binaries::{Binaries, TO_OPEN},
    logical,
    place::{self, Owner},
    rescue::Request,
    scratch::{Fate, ScratchServer},
    verify::{damaged, server, told},
    wire::Connection,
};
use crate::DriverError;

/// The earlier state, open. What is declared first goes first.
pub(super) struct Opened {
    server: ScratchServer,
    _folder: Option<logical::Folder>,
    binaries: Binaries,
    /// Its data directory: the programs' own folder.
    folder: PathBuf,
    database: String,
}

/// Starts the server.
///
/// # Errors
/// `Corrupt`: the files are damaged. `Unavailable`: it cannot run here. `Interrupted`.
pub(super) fn open(
    request: &Request<'_>,
    places: &[PathBuf],
    watcher: &dyn Watcher,
) -> Result<Opened, DriverError> {
    let Some(data) = places.first() else {
        return Err(damaged(request.name, "it holds no data directory"));
    };
    watcher.begin("open the earlier state", None);
    if logical::is_dump(data) {
        let loaded = logical::load_beside(request, data, watcher)?;
        let folder = loaded.folder.path().to_owned();
        let (server, binaries, database) = (loaded.server, loaded.binaries, loaded.database);
        return Ok(Opened { server, _folder: Some(loaded.folder), binaries, folder, database });
    }
    let version = fs::read_to_string(data.join("PG_VERSION")).unwrap_or_default();
    let Ok(major) = version.trim().parse::<u32>() else {
        return Err(damaged(request.name, "it has no PG_VERSION: it is no data directory"));
    };
    let needed = [TO_OPEN, &["pg_dump"]].concat();
    let binaries = Binaries::find(request.bin_dir, major, &needed)?;
    let owner = Owner::find(request.data_dir, data)?;
    place::prepare(places, owner)?;
    let server = ScratchServer::start(&binaries, places, &server(data, major), owner, Fate::Kept, watcher)?;
    let database = request.address.database.clone();
    Ok(Opened { server, _folder: None, binaries, folder: data.clone(), database })
}

impl Opened {
    /// Connects to the component's database.
    ///
    /// # Errors
    /// `NotFound`: it was not there then.
    pub(super) fn connect(
        &self,
        address: &Address,
        watcher: &dyn Watcher,
    ) -> Result<Connection, DriverError> {
        self.server.connect(&self.database, watcher).map_err(|error| {
            let message = format!("the earlier state has no database `{}`: {error}", address.database);
            DriverError::new(Kind::NotFound, message).with_hint("choose another state with `--to`")
        })
    }

    /// Writes definitions out, as `pg_dump` does with `args`.
    ///
    /// # Errors
    /// The program fails; `Interrupted`.
    pub(super) fn dump(&self, args: &[String], watcher: &dyn Watcher) -> Result<String, DriverError> {
        const FILE: &str = "muster-tables.sql";
        let file = format!("--file={FILE}");
        let database = format!("--dbname={}", super::super::binaries::connection_string(&self.database));
        let mut all = vec!["--schema-only", "--no-password", "--encoding=UTF8", file.as_str(), &database];
        all.extend(args.iter().map(String::as_str));
        let ended = self
            .server
            .run(&self.binaries, "pg_dump", &all, watcher)
            .map_err(|error| DriverError::of(&error))?;
        if !ended.is_success() {
            let message = format!(
                "the definitions of the tables cannot be read from the earlier state: {}",
                told(&ended)
            );
            return Err(DriverError::new(Kind::Unavailable, message)
                .with_hint("try `muster prove`: it tells whether the backup is good"));
        }
        let path: &Path = &self.folder.join(FILE);
        let text = fs::read_to_string(path).map_err(|error| place::failed("read", path, &error))?;
        fs::remove_file(path).map_err(|error| place::failed("remove", path, &error))?;
        Ok(text)
    }
}
