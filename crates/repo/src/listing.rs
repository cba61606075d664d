//! Lists what is in a backup, and reads one small file of it. Nothing is written; a list reads the folders alone.

use std::path::{Path, PathBuf};

use muster_types::backup::BackupId;
use rustic_core::repofile::{Node, NodeType};

use crate::{
    chunks::{Chunks, Scratch},
    error::RepoError,
    repo::Repo,
    tree::{TreeWalk, strange},
};

/// What describes a backup is no larger; the rest of a backup is restored and not read into memory.
const SMALL_BYTES_MAX: u64 = 64 << 20;

/// What a listed entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedKind {
    /// A folder.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// Anything else; Muster never writes one.
    Other,
}

/// One entry of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// Relative to the content, such as `0/a.txt`: the first name is the index into the record's `paths`.
    pub path: PathBuf,
    /// What it is.
    pub kind: ListedKind,
    /// Bytes of content; 0 for all but files.
    pub size_bytes: u64,
}

impl Repo {
    /// Lists a backup, folders before what is in them, the names of a folder in byte order.
    ///
    /// # Errors
    /// `NoBackup`; `Corrupt` when a folder of the backup cannot be read.
    pub fn ls(&self, id: &BackupId) -> Result<Vec<ListedEntry>, RepoError> {
        let (chunks, snapshot) = Chunks::open(self, id)?;
        TreeWalk::new(&chunks, &snapshot.tree)?
            .map(|entry| {
                let entry = entry?;
                let (kind, size_bytes) = match entry.node.node_type {
                    NodeType::Dir => (ListedKind::Directory, 0),
                    NodeType::File => (ListedKind::File, entry.node.meta.size),
                    NodeType::Symlink { .. } => (ListedKind::Symlink, 0),
                    NodeType::Fifo => (ListedKind::Fifo, 0),
                    _ => (ListedKind::Other, 0),
                };
                Ok(ListedEntry { path: entry.path, kind, size_bytes })
            })
            .collect()
    }

    /// Reads a file of a backup that describes the rest, such as `0/server.json`; only the folders above it are read.
    ///
    /// **Shape**: `None` when the backup has no file there.
    ///
    /// # Errors
    /// `NoBackup`; `Corrupt` when it or a folder above it cannot be read, or when it is larger than any description.
    pub fn read_small(&self, id: &BackupId, path: &Path) -> Result<Option<Vec<u8>>, RepoError> {
        let (chunks, snapshot) = Chunks::open(self, id)?;
        let mut tree = snapshot.tree;
        let mut found: Option<Node> = None;
        for name in std::iter::once(Path::new("data")).chain(path.iter().map(Path::new)) {
            if let Some(folder) = found.take() {
                let Some(subtree) = folder.subtree else { return Ok(None) };
                tree = subtree;
            }
            let nodes = chunks.tree(&tree, path)?.nodes;
            let Some(node) = nodes.into_iter().find(|node| node.name() == name.as_os_str()) else {
                return Ok(None);
            };
            found = Some(node);
        }
        let Some(node) = found.filter(|node| matches!(node.node_type, NodeType::File)) else {
            return Ok(None);
        };
        if node.meta.size > SMALL_BYTES_MAX {
            return Err(strange(path, "what should describe the backup is too large"));
        }
        let mut content = Vec::new();
        let mut scratch = Scratch::new()?;
        for id in node.content.iter().flatten() {
            content.extend_from_slice(chunks.read(id, path, &mut scratch)?);
        }
        Ok(Some(content))
    }
}
