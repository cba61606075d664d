//! What a dump has written: names, sizes, hashes, and the witness that they make.
//!
//! In: a folder with outputs, each a file or a folder of files. Out: what is in them, to be compared after a restore. A
//! link or a device is refused: what it points to is in no backup. Nothing here is ever changed.

use std::{collections::BTreeMap, fs, io::Read, path::Path};

use muster_types::{Kind, backup::Witness, event::Watcher, text::hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::{DriverError, snapshot::failed};

/// The folder of the outputs in a backup.
pub(super) const OUTPUTS: &str = "outputs";
/// Bytes that are hashed between two looks at the watcher.
const PIECE: usize = 256 * 1024;

/// What is known of a dump, beside its outputs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Description {
    /// The names of the outputs, as they were declared.
    pub(super) outputs: Vec<String>,
}

/// What an output holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: u64,
    /// Of a file; of a folder that of the list of its files with their hashes.
    pub(super) sha256: String,
}

impl Content {
    /// Weighs what is in memory.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: hex(Sha256::digest(bytes)) }
    }
}

/// Returns the variable that leads a command to an output: `MUSTER_OUTPUT_LEGACY_SQL` for `legacy.sql`.
pub(super) fn variable(output: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("MUSTER_OUTPUT_{}", output.chars().map(upper).collect::<String>())
}

/// Reads an output; `None` when it is not there.
///
/// # Errors
/// `Conflict`: something in it is neither file nor folder. `Interrupted`.
pub(super) fn read(path: &Path, watcher: &dyn Watcher) -> Result<Option<Content>, DriverError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("look at", path, error)),
        Ok(found) if found.is_file() => return file(path, watcher).map(Some),
        Ok(_) => {}
    }
    let (mut list, mut bytes) = (Sha256::new(), 0);
    for entry in WalkDir::new(path).follow_links(false).sort_by_file_name() {
        let entry = entry.map_err(|error| failed("read", path, error.into()))?;
        if entry.file_type().is_dir() {
            continue;
        }
        if !entry.file_type().is_file() {
            let message = format!("{} is neither a file nor a folder", entry.path().display());
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("let the dump write files; what a link points to is in no backup"));
        }
        let content = file(entry.path(), watcher)?;
        let inside = entry.path().strip_prefix(path).unwrap_or(entry.path());
        list.update(inside.as_os_str().as_encoded_bytes());
        list.update([0]);
        list.update(&content.sha256);
        bytes += content.bytes;
    }
    Ok(Some(Content { bytes, sha256: hex(list.finalize()) }))
}

fn file(path: &Path, watcher: &dyn Watcher) -> Result<Content, DriverError> {
    let mut opened = fs::File::open(path).map_err(|error| failed("open", path, error))?;
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped while the outputs of a dump were read"));
        }
        match opened.read(&mut piece) {
            Ok(0) => return Ok(Content { bytes, sha256: hex(hash.finalize()) }),
            Ok(count) => {
                hash.update(piece.get(..count).unwrap_or_default());
                bytes += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("read", path, error)),
        }
    }
}

/// Returns what must be true after a restore: `bytes:NAME` and `sha256:NAME` of each output.
pub(super) fn witness(contents: &BTreeMap<String, Content>) -> Witness {
    let rows = contents.iter().flat_map(|(name, content)| {
        [
            (format!("bytes:{name}"), content.bytes.to_string()),
            (format!("sha256:{name}"), content.sha256.clone()),
        ]
    });
    rows.collect()
}

/// Returns a mark of the content.
pub(super) fn fingerprint(contents: &BTreeMap<String, Content>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in witness(contents) {
        hash.update(format!("{name}={value}\n"));
    }
    hex(hash.finalize())
}
