//! What a logical backup says of itself: `server.json`.
//!
//! In: the connection that holds the snapshot, and the files of the dump. Out: where the dump came from, which programs
//! can restore it, and a mark of every file, so that a damaged one is named and not only noticed.
//!
//! It never holds a password. Read next: `proof.rs`, which reads it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use muster_types::{Kind, event::Watcher, text::hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::super::{place::failed, ready::major, settings::EXTENSIONS, wire::Connection};
use crate::DriverError;

/// The file's name.
pub(in super::super) const NAME: &str = "server.json";
/// Bytes that are read of a file between two looks at the watcher.
const PIECE: usize = 1 << 20;

/// Where a dump came from and what it is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) database: String,
    /// Of the server, like `150004`.
    pub(super) version: u32,
    /// Of `pg_dump`, like `15.4`.
    pub(super) dumped_by: String,
    /// The name of the role that `initdb` made.
    pub(super) superuser: String,
    pub(super) encoding: String,
    /// `c`: the C library, `i`: ICU, `b`: built in.
    pub(super) locale_provider: String,
    pub(super) collation: String,
    pub(super) ctype: String,
    /// `name version`.
    pub(super) extensions: Vec<String>,
    pub(super) has_passwords: bool,
    /// Paths below the backup's folder.
    pub(super) files: BTreeMap<String, Mark>,
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) size_bytes: u64,
    pub(super) sha256: String,
}

impl Description {
    /// Asks the server about itself and the database of the connection.
    ///
    /// # Errors
    /// A lost connection; `Interrupted`.
    pub(super) fn read(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Self, DriverError> {
        let mut ask = |sql: &str| connection.value(sql, watcher).map(Option::unwrap_or_default);
        let of_database =
            |what: &str| format!("SELECT {what} FROM pg_database WHERE datname = current_database()");
        let mut description = Self {
            database: ask("SELECT current_database()")?,
            version: ask("SHOW server_version_num")?.parse().unwrap_or_default(),
            superuser: ask("SELECT rolname FROM pg_roles WHERE oid = 10")?,
            encoding: ask(&of_database("pg_encoding_to_char(encoding)"))?,
            locale_provider: ask(&of_database("datlocprovider::text"))?,
            collation: ask(&of_database("datcollate"))?,
            ctype: ask(&of_database("datctype"))?,
            ..Self::default()
        };
        description.extensions = connection.column(EXTENSIONS, watcher)?;
        Ok(description)
    }

    /// The major version of the server.
    pub(super) fn major(&self) -> u32 {
        major(self.version)
    }

    /// The major version of the program that dumped, which is never older than the server.
    pub(super) fn dumped_by_major(&self) -> Option<u32> {
        self.dumped_by.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
    }
}

/// Returns the regular files below `root`, relative to it, in byte order.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>, DriverError> {
    let mut found = Vec::new();
    for entry in WalkDir::new(root).follow_links(false).sort_by_file_name() {
        let entry = entry.map_err(|error| failed("look at", root, &error.into()))?;
        if entry.file_type().is_file()
            && let Ok(relative) = entry.path().strip_prefix(root)
        {
            found.push(relative.to_owned());
        }
    }
    Ok(found)
}

/// Reads a file for its mark.
pub(super) fn mark(path: &Path, watcher: &dyn Watcher) -> Result<Mark, DriverError> {
    let read = |error: std::io::Error| failed("read", path, &error);
    let mut file = File::open(path).map_err(read)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; PIECE];
    let mut size_bytes = 0;
    loop {
        let count = file.read(&mut buffer).map_err(read)?;
        if count == 0 {
            return Ok(Mark { size_bytes, sha256: hex(hasher.finalize()) });
        }
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped"));
        }
        hasher.update(&buffer[..count]);
        size_bytes += count as u64;
        watcher.advance(count as u64);
    }
}
