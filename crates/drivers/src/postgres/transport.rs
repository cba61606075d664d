//! Where the files of a backup are read: on this host, or over the network.
//!
//! ```text
//! ready? ─► settings ─┬─ local, or auto and the files are here ─► direct.rs
//!                     └─ replication, or auto and they are not ─► base_backup.rs, source.rs
//! ```
//! In: a server, and what the configuration wants. Out: a backup that has begun. Both give the same entries. `auto` never
//! fails for what `replication` can do; `local` never goes over the network instead.
//!
//! Read next: `direct/here.rs`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_repo::source::Source;
use muster_types::{
    Clock, Kind,
    config::{PostgresComponent, PostgresMethod, PostgresTransport},
    event::Watcher,
};

use super::{
    address::Address,
    base_backup::{BaseBackup, Log},
    direct, look, ready,
    settings::Settings,
    source::{About, PostgresSource},
    standby::{self, Standby},
    wire::{Connection, Purpose},
};
use crate::DriverError;

/// What is to be backed up.
pub(super) struct Request<'a> {
    pub(super) address: &'a Address,
    pub(super) transport: PostgresTransport,
    pub(super) data_dir: Option<&'a Path>,
    /// Bytes per second.
    pub(super) max_rate: Option<u64>,
    /// The member that gives the backup, if it is not the server of `address`.
    pub(super) from: Option<standby::Request<'a>>,
    pub(super) clock: &'a Arc<dyn Clock>,
}

/// Looks whether what the configuration wants can be done at all.
///
/// # Errors
/// `Config`: a dump is made by the server's own programs, wherever they run.
pub(super) fn check(component: &str, keys: &PostgresComponent) -> Result<(), DriverError> {
    if keys.method == PostgresMethod::Logical && keys.transport != PostgresTransport::Auto {
        let message = format!("`transport` of component `{component}` does not go with `method: logical`");
        return Err(DriverError::new(Kind::Config, message).with_hint("leave one of the two out"));
    }
    Ok(())
}

/// Begins a backup.
///
/// # Errors
/// What stands in the way of it; what the server refuses; a lost connection; `Interrupted`.
pub(super) fn begin(request: &Request<'_>, watcher: &dyn Watcher) -> Result<Box<dyn Source>, DriverError> {
    let address = request.address;
    let mut asked = Connection::open(address, Purpose::Sql, watcher)?;
    ready::refuse(address, &ready::hindrances(&mut asked, address, watcher)?)?;
    let mut settings = Settings::read(&mut asked, watcher)?;
    let misplaced = request.data_dir.and_then(|folder| look::misplaced(folder, &settings.server));
    settings.warnings.extend(misplaced.map(|(what, mend)| format!("{what}; {mend}")));
    if let Some(from) = &request.from {
        let standby = Standby::open(from, asked, request.clock.clone(), watcher)?;
        return Ok(Box::new(replication(request, settings, Some(standby), watcher)?));
    }
    if let Some(folder) = folder(request, &mut asked, &settings, watcher)? {
        let direct = direct::Request { address, folder: &folder, clock: request.clock.clone() };
        match direct::begin(&direct, settings, watcher)? {
            Ok(source) => return Ok(Box::new(source)),
            Err(unfit) if request.transport == PostgresTransport::Local => {
                return Err(unfit.into_error(address));
            }
            Err(unfit) => log::info!("{address} is read over the network: {}", unfit.why),
        }
        settings = Settings::read(&mut asked, watcher)?;
    }
    Ok(Box::new(replication(request, settings, None, watcher)?))
}

/// Finds the data directory that is to be read on this host.
fn folder(
    request: &Request<'_>,
    asked: &mut Connection,
    settings: &Settings,
    watcher: &dyn Watcher,
) -> Result<Option<PathBuf>, DriverError> {
    let is_local = match request.transport {
        PostgresTransport::Replication => return Ok(None),
        PostgresTransport::Local => true,
        PostgresTransport::Auto => false,
    };
    if request.max_rate.is_some() {
        if is_local {
            let message =
                "`max_rate` is kept by the server, over the network: it does not go with `transport: local`";
            return Err(DriverError::new(Kind::Config, message).with_hint("leave one of the two out"));
        }
        return Ok(None);
    }
    match direct::here::find(asked, &settings.server, request.data_dir, request.address, watcher)? {
        Ok(folder) => Ok(Some(folder)),
        Err(unfit) if is_local => Err(unfit.into_error(request.address)),
        Err(unfit) => {
            log::info!("{} is read over the network: {}", request.address, unfit.why);
            Ok(None)
        }
    }
}

fn replication(
    request: &Request<'_>,
    mut settings: Settings,
    standby: Option<Standby>,
    watcher: &dyn Watcher,
) -> Result<PostgresSource, DriverError> {
    let (address, log) = match &request.from {
        Some(from) => (from.address, Log::Left),
        None => (request.address, Log::Sent),
    };
    let connection = Connection::open(address, Purpose::Replication, watcher)?;
    watcher.begin("wait for a checkpoint", None);
    let (backup, mut begun) = BaseBackup::begin(connection, request.max_rate, log, watcher)?;
    begun.tablespaces.sort_by_key(|one| one.oid.parse::<u64>().unwrap_or(u64::MAX));
    settings.server.transport = "replication".into();
    let data = request.data_dir.unwrap_or(&settings.server.data_directory).to_owned();
    let paths =
        std::iter::once(data).chain(begun.tablespaces.iter().map(|one| PathBuf::from(&one.path))).collect();
    settings.server.member = request.from.as_ref().map(|from| from.member.to_owned());
    let segment_bytes = settings.segment_bytes;
    let about = About { begun, paths, settings, segment_bytes, clock: request.clock.clone() };
    PostgresSource::new(backup, standby, about)
}
