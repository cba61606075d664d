//! The storage under the repository: a local folder with durable writes and checked reads.
//!
//! In: what the backup engine reads and writes. Out: the first thing that went wrong, with its file, because the
//! engine turns errors into long texts or only logs them.
//!
//! A half-written file never stands under its final name, and no file is handed out whose content does not match its
//! name. After a fault nothing more is written until somebody took it. Read next: `repo.rs`, `temporary.rs`.

use std::{
    fs::{self, File},
    io::{self, ErrorKind as IoKind, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use rustic_core::{
    ALL_FILE_TYPES, BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend,
};

use crate::{
    durable,
    error::RepoError,
    layout::{self, name, place},
    temporary,
    unlock::hex_hash,
};

/// Packs that are written at the same time: a local disk is not faster with more of them, and each takes memory.
const WRITERS: usize = 1;

pub(crate) struct Storage {
    root: PathBuf,
    writers: usize,
    fault: Mutex<Option<RepoError>>,
    saved_snapshot: Mutex<Option<Id>>,
    serial: AtomicU64,
}

impl Storage {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            writers: WRITERS,
            fault: Mutex::new(None),
            saved_snapshot: Mutex::new(None),
            serial: AtomicU64::new(0),
        }
    }

    /// How many packs to write at the same time.
    pub(crate) fn writers(&self) -> usize {
        self.writers
    }

    /// Returns the first thing that went wrong.
    pub(crate) fn take_fault(&self) -> Option<RepoError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn has_fault(&self) -> bool {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Returns the id of the snapshot that was written last.
    pub(crate) fn take_saved_snapshot(&self) -> Option<Id> {
        self.saved_snapshot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep_fault(&self, fault: RepoError) -> Box<RusticError> {
        let error = RusticError::new(ErrorKind::Backend, fault.to_string());
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        error
    }

    fn write(&self, path: &Path, content: BytesList) -> io::Result<()> {
        let temporary = temporary::beside(path, self.serial.fetch_add(1, Ordering::SeqCst));
        let result = fs::create_dir_all(path.parent().unwrap_or(&self.root))
            .and_then(|()| File::create(&temporary))
            .and_then(|mut file| {
                content.slice().iter().try_for_each(|part| file.write_all(part))?;
                file.sync_all()
            })
            .and_then(|()| durable::rename(&temporary, path));
        if result.is_err() {
            drop(fs::remove_file(&temporary));
        }
        result
    }

    /// A file that is gone or short is damage of the repository; everything else is the disk's fault.
    fn read_fault(&self, tpe: FileType, id: &Id, source: io::Error) -> Box<RusticError> {
        let message = match source.kind() {
            IoKind::NotFound => "it is missing",
            IoKind::UnexpectedEof => "it is cut short",
            _ => {
                let path = self.root.join(place(tpe, id));
                return self.keep_fault(RepoError::Io { operation: "read", path, source });
            }
        };
        self.keep_fault(RepoError::Corrupt { object: name(tpe, id), message: message.into() })
    }
}

impl ReadBackend for Storage {
    fn location(&self) -> String {
        format!("local:{}", self.root.display())
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if tpe == FileType::Config {
            // Its name says nothing, and the engine asks only whether there is one.
            let size = fs::metadata(self.root.join("config")).map(|metadata| metadata.len());
            return Ok(size.into_iter().map(|size| (Id::default(), saturated(size))).collect());
        }
        let found = layout::list(&self.root, tpe).map_err(|fault| self.keep_fault(fault))?;
        Ok(found.into_iter().map(|(id, size)| (id, saturated(size))).collect())
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        let content =
            fs::read(self.root.join(place(tpe, id))).map_err(|source| self.read_fault(tpe, id, source))?;
        // The name of everything but `config` is the hash of its content.
        if tpe != FileType::Config && hex_hash(&content) != *id.to_hex() {
            let message = "its content does not match its name".into();
            return Err(self.keep_fault(RepoError::Corrupt { object: name(tpe, id), message }));
        }
        Ok(content.into())
    }

    fn read_partial(&self, tpe: FileType, id: &Id, _: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let mut content = vec![0; length as usize];
        File::open(self.root.join(place(tpe, id)))
            .and_then(|file| file.read_exact_at(&mut content, offset.into()))
            .map_err(|source| self.read_fault(tpe, id, source))?;
        Ok(content.into())
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        self.root.join(place(tpe, id)).display().to_string()
    }
}

impl WriteBackend for Storage {
    fn create(&self) -> RusticResult<()> {
        let folders = ALL_FILE_TYPES.into_iter().flat_map(layout::folders);
        for path in folders.map(|folder| self.root.join(folder)) {
            fs::create_dir_all(&path)
                .map_err(|source| self.keep_fault(RepoError::Io { operation: "create", path, source }))?;
        }
        Ok(())
    }

    fn write_bytes(&self, tpe: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        if self.has_fault() {
            return Err(RusticError::new(ErrorKind::Backend, "an earlier error has stopped all writing"));
        }
        let path = self.root.join(place(tpe, id));
        self.write(&path, content)
            .map_err(|source| self.keep_fault(RepoError::Io { operation: "write", path, source }))?;
        if tpe == FileType::Snapshot {
            *self.saved_snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(*id);
        }
        Ok(())
    }

    fn remove(&self, tpe: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        let path = self.root.join(place(tpe, id));
        fs::remove_file(&path)
            .map_err(|source| self.keep_fault(RepoError::Io { operation: "remove", path, source }))
    }
}

/// The engine counts sizes in 32 bits. No sound object is larger, and a larger one then has the wrong size.
fn saturated(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
