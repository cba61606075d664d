//! A backup that a server hands out as files: they are taken into scratch, checked there, and go on from there.
//!
//! In: a folder that holds a snapshot or a dump, and what is known of its server. Out: `0`, `0/server.json`,
//! `0/snapshot…`, or `0/dump`, `0/dump/3012.dat`, …, in byte order. It never changes them.
//! Read next: `vault.rs`, `etcd.rs`, `postgres/logical.rs`.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use muster_repo::{
    durable,
    source::{Entry, EntryKind, EntryMeta, Source, SourceError, SourceSummary},
};
use muster_types::{Kind, event::Watcher};
use serde::{Serialize, de::DeserializeOwned};
use walkdir::WalkDir;

use crate::{DriverError, files::changed_at};

/// What is known of the server, beside the snapshot.
pub(crate) const SERVER: &str = "server.json";

/// A folder that only its owner may use.
const MODE_FOLDER: u32 = 0o040_700;
/// A file that only its owner may use: a snapshot or dump holds everything.
const MODE_FILE: u32 = 0o100_600;
/// Bytes that are copied between two looks at the watcher.
const PIECE: usize = 256 * 1024;

/// A folder in scratch.
pub(crate) struct FolderSource {
    pub(crate) folder: PathBuf,
    /// What the server stands for in a list of paths.
    pub(crate) path: PathBuf,
    pub(crate) summary: SourceSummary,
}

impl Source for FolderSource {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let root = self.folder.clone();
        let walk = WalkDir::new(&self.folder).follow_links(false).sort_by_file_name();
        Box::new(walk.into_iter().map(move |item| {
            let item =
                item.map_err(|error| SourceError::Read { path: root.clone(), source: error.into() })?;
            let relative = item.path().strip_prefix(&root).unwrap_or(Path::new(""));
            let inside = if relative.as_os_str().is_empty() {
                PathBuf::from("0")
            } else {
                Path::new("0").join(relative)
            };
            entry(item.path().to_owned(), inside)
        }))
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.summary.size_bytes)
    }

    fn finish(&self) -> Result<SourceSummary, SourceError> {
        Ok(self.summary.clone())
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }
}

fn entry(read_from: PathBuf, path: PathBuf) -> Result<Entry, SourceError> {
    let found = fs::symlink_metadata(&read_from)
        .map_err(|source| SourceError::Read { path: read_from.clone(), source })?;
    let mode = if found.is_dir() { MODE_FOLDER } else { MODE_FILE };
    let meta = EntryMeta {
        mode,
        uid: found.uid(),
        gid: found.gid(),
        mtime: changed_at(&found),
        links: 1,
        ..EntryMeta::default()
    };
    if found.is_dir() {
        return Ok(Entry { path, kind: EntryKind::Directory, meta });
    }
    let open = Box::new(move || match File::open(&read_from) {
        Ok(file) => Ok(Box::new(file) as Box<dyn Read + Send>),
        Err(source) => Err(SourceError::Read { path: read_from, source }),
    });
    Ok(Entry { path, kind: EntryKind::File { size_bytes: found.len(), open }, meta })
}

/// Makes a folder that only its owner can read: it will hold production data. One that is there is emptied.
pub(crate) fn make_folder(folder: &Path) -> Result<(), DriverError> {
    use std::os::unix::fs::DirBuilderExt;
    remove_folder(folder)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| failed("make", folder, error))
}

/// Removes a folder; absent is fine.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), DriverError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", folder, error)),
        _ => Ok(()),
    }
}

/// Copies to the end, and stops when a person asks for it.
///
/// # Errors
/// Those of both sides; `Interrupted` as an error of that kind.
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn Write, watcher: &dyn Watcher) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut copied = 0;
    loop {
        if watcher.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        match from.read(&mut piece) {
            Ok(0) => return Ok(copied),
            Ok(count) => {
                to.write_all(piece.get(..count).unwrap_or_default())?;
                copied += count as u64;
                watcher.advance(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes what is known of a server into the folder of its snapshot.
pub(crate) fn write_server(folder: &Path, server: &impl Serialize) -> Result<(), DriverError> {
    let path = folder.join(SERVER);
    let json = serde_json::to_vec_pretty(server).map_err(|error| {
        DriverError::new(Kind::Bug, "what is known of the server is no JSON").with_source(error)
    })?;
    durable::write(&path, &json, 0o600).map_err(|error| failed("write", &path, error))
}

/// Reads it again.
///
/// # Errors
/// `Corrupt`: it is not there, or not what this version knows.
pub(crate) fn read_server<T: DeserializeOwned>(name: &str, folder: &Path) -> Result<T, DriverError> {
    let path = folder.join(SERVER);
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged(name, &format!("{SERVER} is not in it")));
        }
        Err(error) => return Err(failed("read", &path, error)),
    };
    serde_json::from_slice(&json).map_err(|error| damaged(name, &format!("{SERVER} cannot be read: {error}")))
}

/// Says that a backup is not what was written.
pub(crate) fn damaged(name: &str, why: &str) -> DriverError {
    DriverError::new(Kind::Corrupt, format!("the backup of `{name}` is damaged: {why}"))
        .with_hint("take an older one: `muster list`, then `--to BACKUP`")
}

/// Says that a file of a run could not be worked with.
pub(crate) fn failed(what: &str, path: &Path, error: io::Error) -> DriverError {
    let is_full = error.kind() == io::ErrorKind::StorageFull;
    let told =
        DriverError::new(Kind::Unavailable, format!("cannot {what} {}", path.display())).with_source(error);
    if is_full { told.with_hint("make room on that disk") } else { told }
}
