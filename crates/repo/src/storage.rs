//! The storage under the repository: durable writes into a place, and checked reads.
//!
//! In: what the backup engine reads and writes. Out: the first thing that went wrong, with its file, because the
//! engine turns errors into long texts or only logs them.
//!
//! A write has arrived when it returns, so whoever refers to a pack only has to come later. No object is handed out
//! whose content does not match its name. After a fault nothing more is written until somebody took it.
//! Read next: `repo.rs`, `place.rs`.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use crate::{
    error::RepoError,
    layout::{self, name, place},
    place::{Fault, Root},
    unlock::hex_hash,
};

/// Packs that are sent at the same time; each takes its size in memory.
const WRITERS_MAX: usize = 4;

pub(crate) struct Storage {
    root: Root,
    fault: Mutex<Option<RepoError>>,
    saved_snapshot: Mutex<Option<Id>>,
}

impl Storage {
    pub(crate) fn new(root: Root) -> Self {
        Self { root, fault: Mutex::new(None), saved_snapshot: Mutex::new(None) }
    }

    /// How many packs are usefully written at the same time: a local disk is not faster with more than one.
    pub(crate) fn writers(&self) -> usize {
        self.root.parallel().clamp(1, WRITERS_MAX)
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

    /// A file that is gone or short is damage of the repository; everything else is the place's fault.
    fn read_fault(&self, tpe: FileType, id: &Id, fault: Fault) -> Box<RusticError> {
        let message = match fault {
            Fault::Missing => "it is missing",
            Fault::Short => "it is cut short",
            Fault::Failed(error) => return self.keep_fault(error),
        };
        self.keep_fault(RepoError::Corrupt { object: name(tpe, id), message: message.into() })
    }
}

impl ReadBackend for Storage {
    fn location(&self) -> String {
        self.root.title()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if tpe == FileType::Config {
            // Its name says nothing, and the engine asks only whether there is one.
            let size = self.root.size("config").map_err(|fault| self.keep_fault(fault))?;
            return Ok(size.into_iter().map(|size| (Id::default(), saturated(size))).collect());
        }
        let found = layout::list(&*self.root, tpe).map_err(|fault| self.keep_fault(fault))?;
        Ok(found.into_iter().map(|(id, size)| (id, saturated(size))).collect())
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        let content = self.root.read(&place(tpe, id)).map_err(|fault| self.read_fault(tpe, id, fault))?;
        // The name of everything but `config` is the hash of its content.
        if tpe != FileType::Config && hex_hash(&content) != *id.to_hex() {
            let message = "its content does not match its name".into();
            return Err(self.keep_fault(RepoError::Corrupt { object: name(tpe, id), message }));
        }
        Ok(content.into())
    }

    fn read_partial(&self, tpe: FileType, id: &Id, _: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let mut content = vec![0; length as usize];
        self.root
            .read_range(&place(tpe, id), offset.into(), &mut content)
            .map_err(|fault| self.read_fault(tpe, id, fault))?;
        Ok(content.into())
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        format!("{}/{}", self.root.title(), place(tpe, id))
    }
}

impl WriteBackend for Storage {
    fn create(&self) -> RusticResult<()> {
        self.root.create().map_err(|fault| self.keep_fault(fault))
    }

    fn write_bytes(&self, tpe: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        if self.has_fault() {
            return Err(RusticError::new(ErrorKind::Backend, "an earlier error has stopped all writing"));
        }
        let content = content.into_vec();
        let write = || {
            if tpe == FileType::Snapshot {
                self.root.confirm_locks()?;
            }
            self.root.write(&place(tpe, id), &content)
        };
        write().map_err(|fault| self.keep_fault(fault))?;
        if tpe == FileType::Snapshot {
            *self.saved_snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(*id);
        }
        Ok(())
    }

    fn remove(&self, tpe: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        if tpe == FileType::Pack {
            self.root.confirm_locks().map_err(|fault| self.keep_fault(fault))?;
        }
        self.root.remove(&place(tpe, id)).map_err(|fault| match fault {
            Fault::Failed(error) => self.keep_fault(error),
            Fault::Missing | Fault::Short => {
                let (path, source) = (self.root.shown().join(place(tpe, id)), io::ErrorKind::NotFound.into());
                self.keep_fault(RepoError::Io { operation: "remove", path, source })
            }
        })
    }
}

/// The engine counts sizes in 32 bits. No sound object is larger, and a larger one then has the wrong size.
fn saturated(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
