//! A manifest that is written here, as the server would have written it.
//!
//! In: each file of a backup with its size, time and CRC-32C, and the stretch of log that it needs. Out: the text of
//! `backup_manifest`, which `pg_verifybackup` reads. It never looks at a file.
//! Source: <https://www.postgresql.org/docs/current/backup-manifest-format.html>.

use std::{os::unix::ffi::OsStrExt, path::Path};

use muster_types::{Lsn, Timestamp, text::hex};
use sha2::{Digest, Sha256};

/// From this version on it names the cluster.
const NAMES_SYSTEM: u32 = 17;

/// The list of files so far.
#[derive(Debug, Default)]
pub(in super::super) struct Written {
    files: String,
}

/// What a backup is, besides its files.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct About<'a> {
    /// The major version.
    pub(in super::super) major: u32,
    pub(in super::super) system_identifier: &'a str,
    pub(in super::super) timeline: u32,
    pub(in super::super) start: Lsn,
    pub(in super::super) stop: Lsn,
}

impl Written {
    /// Adds a file.
    pub(in super::super) fn add(
        &mut self,
        path: &Path,
        size_bytes: u64,
        changed: Option<Timestamp>,
        crc: u32,
    ) {
        let name = match path.to_str() {
            Some(text) => format!("\"Path\": {}", serde_json::Value::from(text)),
            None => format!("\"Encoded-Path\": \"{}\"", hex(path.as_os_str().as_bytes())),
        };
        let changed = changed.unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S GMT");
        let end = if self.files.is_empty() { "" } else { ",\n" };
        self.files.push_str(&format!(
            "{end}{{ {name}, \"Size\": {size_bytes}, \"Last-Modified\": \"{changed}\", \"Checksum-Algorithm\": \"CRC32C\", \
             \"Checksum\": \"{}\" }}",
            hex(crc.to_ne_bytes())
        ));
    }

    /// Returns the text.
    pub(in super::super) fn finish(&self, about: &About<'_>) -> Vec<u8> {
        let version = if about.major >= NAMES_SYSTEM {
            format!("2,\n\"System-Identifier\": {}", about.system_identifier)
        } else {
            "1".into()
        };
        let mut text = format!(
            "{{ \"PostgreSQL-Backup-Manifest-Version\": {version},\n\"Files\": [\n{}\n],\n\"WAL-Ranges\": [\n\
             {{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}\n],\n",
            self.files, about.timeline, about.start, about.stop
        );
        let sum = hex(Sha256::digest(text.as_bytes()));
        text.push_str(&format!("\"Manifest-Checksum\": \"{sum}\"}}\n"));
        text.into_bytes()
    }
}
