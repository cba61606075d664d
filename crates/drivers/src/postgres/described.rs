//! Reads what a backup of PostgreSQL says of its server: `server.json`, of a cluster or of a dump.
//!
//! In: the record and the file's content. Out: facts for people. Read next: `settings.rs`, `logical/description.rs`, which
//! write the two forms.

use std::path::{Path, PathBuf};

use muster_types::{Explain, Kind, backup::BackupRecord};

use super::{
    binaries::{Binaries, TO_OPEN, TO_RESTORE, full_version},
    logical,
    settings::{self, Server},
};
use crate::{DriverError, described::ServerFacts};

/// A dump knows no cluster.
fn is_dump(record: &BackupRecord) -> bool {
    !record.witness.contains_key("system_identifier")
}

/// Returns where the file lies in a backup.
pub(crate) fn description_file(record: &BackupRecord) -> PathBuf {
    let folder = Path::new("0");
    if is_dump(record) {
        folder.join(logical::DESCRIPTION)
    } else {
        folder.join(settings::FOLDER).join(settings::SERVER)
    }
}

/// Reads the file.
pub(crate) fn described(record: &BackupRecord, content: &[u8]) -> Option<ServerFacts> {
    if is_dump(record) {
        return logical::described(content);
    }
    let server: Server = serde_json::from_slice(content).ok()?;
    let known = |text: String| Some(text).filter(|text| !text.is_empty());
    Some(ServerFacts {
        version: version(server.version),
        system_identifier: known(server.system_identifier),
        timeline: Some(server.timeline).filter(|number| *number > 0),
        start_lsn: known(server.start_lsn),
        stop_lsn: known(server.stop_lsn),
        has_checksums: Some(server.has_checksums),
        tablespaces: Some(record.paths.iter().skip(1).cloned().collect()),
        extensions: server.extensions,
        collations: server.collations,
        ..ServerFacts::default()
    })
}

/// Looks whether a configured folder of programs fits a backup; where none is configured a proof looks for one.
///
/// # Errors
/// `Config`: another version, or no server at all.
pub(super) fn check_programs(
    bin_dir: Option<&Path>,
    record: &BackupRecord,
    server: Option<&ServerFacts>,
) -> Result<(), DriverError> {
    let Some(folder) = bin_dir else { return Ok(()) };
    let version = server.map(|server| server.dumped_by.as_ref().unwrap_or(&server.version));
    let major = version.and_then(|version| version.split('.').next()?.parse().ok());
    let needed = if is_dump(record) { TO_RESTORE } else { TO_OPEN };
    let found = match major {
        Some(major) => Binaries::find(bin_dir, major, needed),
        // What the backup is of, it does not say; but without a server nothing can be opened.
        None if full_version(&folder.join("postgres")).is_some() => return Ok(()),
        None => Binaries::find(bin_dir, 0, needed),
    };
    found.map(drop).or_else(|error| if error.kind() == Kind::Config { Err(error) } else { Ok(()) })
}

/// `150004` as people write it.
pub(super) fn version(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}
