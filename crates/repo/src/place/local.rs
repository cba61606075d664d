//! A repository in a folder of this host.
//!
//! In: names. Out: files with durable writes: temporary file, fsync, rename, fsync of the folder.
//!
//! A half-written file never stands under its final name; what a killed process leaves has a temporary one.
//! Read next: `temporary.rs`.

use std::{
    fs::{self, File},
    io::{self, ErrorKind as IoKind, Read, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use rustic_core::ALL_FILE_TYPES;

use super::{Fault, Listed, Place};
use crate::{durable, error::RepoError, layout, temporary};

/// A folder.
#[derive(Debug)]
pub(crate) struct LocalFolder {
    root: PathBuf,
}

/// Tells the writes of this process apart, whoever does them.
static SERIAL: AtomicU64 = AtomicU64::new(0);

impl LocalFolder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn write_through(&self, path: &Path, content: &[Bytes]) -> io::Result<()> {
        let temporary = temporary::beside(path, SERIAL.fetch_add(1, Ordering::SeqCst));
        let result = fs::create_dir_all(path.parent().unwrap_or(&self.root))
            .and_then(|()| File::create(&temporary))
            .and_then(|mut file| {
                content.iter().try_for_each(|part| io::Write::write_all(&mut file, part))?;
                file.sync_all()
            })
            .and_then(|()| durable::rename(&temporary, path));
        if result.is_err() {
            drop(fs::remove_file(&temporary));
        }
        result
    }

    fn list_folder(&self, folder: &str, found: &mut Vec<Listed>) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Err(error) if error.kind() == IoKind::NotFound => return Ok(()),
            other => other?,
        };
        let mut below = Vec::new();
        for entry in entries {
            let entry = entry?;
            let file_name = entry.file_name();
            // No file of a repository has such a name.
            let Some(file_name) = file_name.to_str() else { continue };
            let name = format!("{folder}/{file_name}");
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => found.push(Listed { name, size: metadata.len() }),
                Ok(metadata) if metadata.is_dir() && layout::is_part_of_folder(&name) => below.push(name),
                Ok(_) => {}
                // Another run has removed it just now.
                Err(error) if error.kind() == IoKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        below.iter().try_for_each(|folder| self.list_folder(folder, found))
    }

    fn fault(&self, operation: &'static str, name: &str, source: io::Error) -> Fault {
        match source.kind() {
            IoKind::NotFound => Fault::Missing,
            IoKind::UnexpectedEof => Fault::Short,
            _ => Fault::Failed(RepoError::Io { operation, path: self.root.join(name), source }),
        }
    }
}

impl Place for LocalFolder {
    fn title(&self) -> String {
        self.root.display().to_string()
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn has_folders(&self) -> bool {
        true
    }

    fn top(&self) -> Result<Vec<String>, RepoError> {
        let fail = |source| RepoError::Io { operation: "list", path: self.root.clone(), source };
        let entries = match fs::read_dir(&self.root) {
            Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            other => other.map_err(fail)?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<_>>().map_err(fail)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, RepoError> {
        let mut found = Vec::new();
        self.list_folder(folder, &mut found).map_err(|source| RepoError::Io {
            operation: "list",
            path: self.root.join(folder),
            source,
        })?;
        Ok(found)
    }

    fn size(&self, name: &str) -> Result<Option<u64>, RepoError> {
        match fs::metadata(self.root.join(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == IoKind::NotFound => Ok(None),
            Err(source) => Err(RepoError::Io { operation: "look at", path: self.root.join(name), source }),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Fault> {
        fs::read(self.root.join(name)).map_err(|source| self.fault("read", name, source))
    }

    fn read_range(&self, name: &str, offset: u64, content: &mut [u8]) -> Result<(), Fault> {
        File::open(self.root.join(name))
            .and_then(|file| file.read_exact_at(content, offset))
            .map_err(|source| self.fault("read", name, source))
    }

    fn read_up_to(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Fault> {
        let mut content = Vec::new();
        File::open(self.root.join(name))
            .and_then(|mut file| {
                file.seek(io::SeekFrom::Start(offset))?;
                file.take(length).read_to_end(&mut content)
            })
            .map_err(|source| self.fault("read", name, source))?;
        if content.is_empty() { Err(Fault::Short) } else { Ok(content) }
    }

    fn write(&self, name: &str, content: &[Bytes]) -> Result<(), RepoError> {
        let path = self.root.join(name);
        self.write_through(&path, content).map_err(|source| RepoError::Io {
            operation: "write",
            path,
            source,
        })
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        fs::remove_file(self.root.join(name)).map_err(|source| self.fault("remove", name, source))
    }

    fn sync(&self, folder: &str) -> Result<(), RepoError> {
        let path = self.root.join(folder);
        durable::sync_folder(&path).map_err(|source| RepoError::Io { operation: "sync", path, source })
    }

    fn remove_leftovers(&self) -> Result<usize, RepoError> {
        temporary::remove_stale(&self.root).map_err(|source| RepoError::Io {
            operation: "remove what a killed backup left in",
            path: self.root.clone(),
            source,
        })
    }

    fn create(&self) -> Result<(), RepoError> {
        let folders = ALL_FILE_TYPES.into_iter().flat_map(layout::folders);
        for path in folders.map(|folder| self.root.join(folder)) {
            fs::create_dir_all(&path).map_err(|source| RepoError::Io {
                operation: "create",
                path,
                source,
            })?;
        }
        Ok(())
    }
}
