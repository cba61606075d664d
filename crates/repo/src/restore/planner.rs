//! The planner of a restore: walks the backup, makes everything but content, and hands out the content as jobs.
//!
//! In: the snapshot's root and the places. Out: folders that still want their metadata, and totals. It runs on one
//! thread, so that a folder always exists before what is in it.
//!
//! Everything is made with "must not exist": what a hostile tree put there first is never written through.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize, mpsc::SyncSender},
};

use muster_types::event::Watcher;
use rustic_core::{
    DataId, Id, TreeId,
    repofile::{Metadata, Node, NodeType},
};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use sha2::{Digest, Sha256};

use super::{
    Shared,
    attributes::Attributes,
    places::Places,
    writers::{Job, Target},
};
use crate::{
    chunks::Chunks,
    error::RepoError,
    tree::{TreeEntry, TreeWalk, strange},
};

/// Chunks of one job: large enough to read ahead in order, small enough to share one big file among all writers.
const CHUNKS_PER_JOB: usize = 16;

struct Folder {
    path: PathBuf,
    meta: Metadata,
}

/// A file with several names: where its first name lies and what it must hold.
struct Original {
    path: PathBuf,
    content: Id,
}

/// What the planner leaves to do when all content is written.
pub(super) struct Planned {
    folders: Vec<Folder>,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

pub(super) struct Planner<'a> {
    chunks: &'a Chunks,
    places: &'a Places,
    attributes: &'a Attributes<'a>,
    shared: &'a Shared,
    jobs: SyncSender<Job>,
    originals: HashMap<(u64, u64), Original>,
    planned: Planned,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        chunks: &'a Chunks,
        places: &'a Places,
        attributes: &'a Attributes<'a>,
        shared: &'a Shared,
        jobs: SyncSender<Job>,
    ) -> Self {
        let planned = Planned { folders: Vec::new(), files: 0, bytes: 0 };
        Self { chunks, places, attributes, shared, jobs, originals: HashMap::new(), planned }
    }

    /// Walks the whole backup. Stops without an error when another thread has failed: that error counts.
    pub(super) fn run(mut self, root: &TreeId) -> Result<Planned, RepoError> {
        for entry in TreeWalk::new(self.chunks, root)? {
            if self.shared.is_stopped() {
                break;
            }
            self.make(entry?)?;
        }
        Ok(self.planned)
    }

    fn make(&mut self, entry: TreeEntry) -> Result<(), RepoError> {
        let (path, is_ready) = self.locate(&entry.path)?;
        let fail = |source| RepoError::Io { operation: "create", path: path.clone(), source };
        match &entry.node.node_type {
            NodeType::Dir => {
                if !is_ready {
                    // Closed to others until its own mode is set.
                    fs::DirBuilder::new().mode(0o700).create(&path).map_err(fail)?;
                }
                self.planned.folders.push(Folder { path, meta: entry.node.meta });
                return Ok(());
            }
            // An empty folder stands where a file belongs.
            _ if is_ready => fs::remove_dir(&path).map_err(fail)?,
            _ => {}
        }
        match &entry.node.node_type {
            NodeType::File => self.file(path, entry),
            NodeType::Symlink { .. } => {
                symlink(entry.node.node_type.to_link(), &path).map_err(fail)?;
                self.attributes.apply_unopened(&path, &entry.node.meta, true)
            }
            NodeType::Fifo => {
                rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                    .map_err(|error| fail(error.into()))?;
                self.attributes.apply_unopened(&path, &entry.node.meta, false)
            }
            _ => Err(strange(&entry.path, "it is a device or a socket, which Muster never stores")),
        }
    }

    /// Finds where an entry goes. True when it is a place in which an empty folder stands already.
    fn locate(&self, path: &Path) -> Result<(PathBuf, bool), RepoError> {
        let mut names = path.iter();
        let top = names.next().unwrap_or_default();
        let index = index(top).ok_or_else(|| strange(path, "its first name is not an index"))?;
        let place = self.places.get(index).ok_or_else(|| RepoError::Engine {
            operation: "restore",
            message: format!("the backup has a path {index}, but there are {} places", self.places.count()),
        })?;
        let rest = names.as_path();
        if rest.as_os_str().is_empty() {
            return Ok((place.to_owned(), self.places.was_folder(index)));
        }
        Ok((place.join(rest), false))
    }

    fn file(&mut self, path: PathBuf, entry: TreeEntry) -> Result<(), RepoError> {
        let TreeEntry { path: name, node } = entry;
        self.planned.files += 1;
        let content = node.content.as_deref().unwrap_or_default();
        let key = (node.meta.device_id, node.meta.inode);
        if node.meta.links > 1 && node.meta.inode != 0 {
            let hash = hash_of(content);
            match self.originals.get(&key) {
                Some(original) if original.content == hash => {
                    match fs::hard_link(&original.path, &path) {
                        Ok(()) => return Ok(()),
                        // Another disk, or more names than it can hold: then it gets a file of its own.
                        Err(error) if is_unlinkable(&error) => {}
                        Err(source) => return Err(RepoError::Io { operation: "link", path, source }),
                    }
                }
                Some(_) => {}
                None => {
                    self.originals.insert(key, Original { path: path.clone(), content: hash });
                }
            }
        }
        self.hand_out(path, name, node)
    }

    fn hand_out(&mut self, path: PathBuf, name: PathBuf, mut node: Node) -> Result<(), RepoError> {
        let content = node.content.take().unwrap_or_default();
        let mut offsets = Vec::with_capacity(content.len().div_ceil(CHUNKS_PER_JOB));
        let mut size = 0_u64;
        for part in content.chunks(CHUNKS_PER_JOB) {
            offsets.push(size);
            for id in part {
                size += u64::from(self.chunks.size_bytes(id, &name)?);
            }
        }
        if size != node.meta.size {
            let message = format!("it states {} bytes and its chunks have {size}", node.meta.size);
            return Err(strange(&name, &message));
        }
        self.planned.bytes += size;
        let file = create(&path, size)?;
        let target = Arc::new(Target {
            file,
            path,
            name,
            meta: node.meta,
            jobs_left: AtomicUsize::new(offsets.len().max(1)),
        });
        if content.is_empty() {
            self.send(Job { target, offset: 0, content: Vec::new() });
            return Ok(());
        }
        for (offset, part) in offsets.into_iter().zip(content.chunks(CHUNKS_PER_JOB)) {
            self.send(Job { target: target.clone(), offset, content: part.to_vec() });
        }
        Ok(())
    }

    fn send(&self, job: Job) {
        // Refused only when every writer has stopped, and then the reason is known already.
        drop(self.jobs.send(job));
    }
}

impl Planned {
    /// Sets the metadata of all folders, the deepest first, and fsyncs each.
    pub(super) fn finish_folders(
        &self,
        attributes: &Attributes<'_>,
        watcher: &dyn Watcher,
    ) -> Result<(), RepoError> {
        for folder in self.folders.iter().rev() {
            if watcher.is_cancelled() {
                return Err(RepoError::Cancelled);
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::open(&folder.path, flags, Mode::empty()).map_err(|error| {
                RepoError::Io { operation: "open", path: folder.path.clone(), source: error.into() }
            })?;
            attributes.apply(&File::from(opened), &folder.path, &folder.meta)?;
        }
        Ok(())
    }
}

fn create(path: &Path, size: u64) -> Result<File, RepoError> {
    let fail = |source| RepoError::Io { operation: "create", path: path.to_owned(), source };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    // Its whole length is a hole first: what is zero is never written.
    file.set_len(size).map_err(fail)?;
    Ok(file)
}

fn index(name: &OsStr) -> Option<usize> {
    let text = name.to_str()?;
    let index: usize = text.parse().ok()?;
    // `00` and `+0` would be second names of the same place.
    (index.to_string() == text).then_some(index)
}

fn hash_of(content: &[DataId]) -> Id {
    let mut hash = Sha256::new();
    for id in content {
        hash.update(id.to_hex().to_string());
    }
    Id::new(hash.finalize().into())
}

fn is_unlinkable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::CrossesDevices | io::ErrorKind::TooManyLinks | io::ErrorKind::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_are_places() {
        assert_eq!(index(OsStr::new("0")), Some(0));
        assert_eq!(index(OsStr::new("12")), Some(12));
        for name in ["", "00", "+1", "-1", "1a", " 1", "a", "99999999999999999999999"] {
            assert_eq!(index(OsStr::new(name)), None, "{name:?}");
        }
    }
}
