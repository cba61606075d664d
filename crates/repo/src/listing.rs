//! Lists what is in a backup. Nothing is written, and no content is read: only the folders.

use std::path::PathBuf;

use muster_types::backup::BackupId;
use rustic_core::repofile::NodeType;

use crate::{chunks::Chunks, error::RepoError, repo::Repo, tree::TreeWalk};

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
}
