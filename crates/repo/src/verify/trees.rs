//! Verifies the folders of every backup: that each can be read, and that everything they name is known.
//!
//! In: the snapshots that can be read and an [`Index`]. Out: the [`Trouble`] of packs, and blobs that are nowhere.
//!
//! Each folder is read once, however many backups share it. Nothing here recurses: depth costs no stack.
//! Read next: `impact.rs`.

use std::{collections::HashSet, ffi::OsStr};

use rustic_core::{Id, repofile::Tree};

use super::{
    Job,
    index::{Index, Origin},
    objects::Snapshot,
    packs::check_plain,
};
use crate::error::RepoError;

/// More than any record has: a million rows of witness, warnings for thousands of files.
const SMALL_BYTES: usize = 64 << 20;

/// Why a folder cannot be read.
pub(super) enum TreeFault {
    /// It is in no pack that is known.
    Lost,
    /// It is damaged in the pack with this number.
    Damaged(usize, String),
    /// Nobody knows: object storage does not answer.
    Unknown(RepoError),
}

impl Job<'_> {
    /// Walks all folders of all snapshots.
    pub(super) fn check_trees(&mut self, snapshots: &[Snapshot], index: &mut Index) -> Result<(), RepoError> {
        let mut seen = HashSet::new();
        let mut stack: Vec<Id> = snapshots.iter().map(|snapshot| snapshot.tree).collect();
        while let Some(id) = stack.pop() {
            if !seen.insert(id) {
                continue;
            }
            self.stop_if_cancelled()?;
            match self.read_tree(index, &id) {
                Ok(tree) => {
                    index.need(&id);
                    for node in &tree.nodes {
                        node.content.iter().flatten().for_each(|blob| index.need(blob));
                        stack.extend(node.subtree.as_ref().map(|tree| **tree));
                    }
                }
                Err(TreeFault::Lost) => {
                    index.lost.insert(id);
                }
                Err(TreeFault::Damaged(pack, message)) => {
                    index.packs[pack].trouble.blobs.entry(id).or_insert(message);
                }
                Err(TreeFault::Unknown(error)) => return Err(error),
            }
        }
        self.report.trees = seen.len();
        Ok(())
    }

    /// Reads one folder and checks its hash.
    pub(super) fn read_tree(&self, index: &Index, id: &Id) -> Result<Tree, TreeFault> {
        let (pack, plain) = self.read_blob(index, id)?;
        serde_json::from_slice(&plain)
            .map_err(|error| TreeFault::Damaged(pack, format!("it is not a folder: {error}")))
    }

    /// Reads a small file in the root of a snapshot; `None` when there is none or it is not small.
    pub(super) fn read_file(
        &self,
        index: &Index,
        root: &Id,
        name: &str,
    ) -> Result<Option<Vec<u8>>, TreeFault> {
        let tree = self.read_tree(index, root)?;
        let file = tree.nodes.into_iter().find(|node| node.name() == OsStr::new(name));
        let mut content = Vec::new();
        for id in file.and_then(|file| file.content).unwrap_or_default() {
            content.extend(self.read_blob(index, &id)?.1);
            if content.len() > SMALL_BYTES {
                return Ok(None);
            }
        }
        Ok((!content.is_empty()).then_some(content))
    }

    /// Reads one blob, checks its hash, and tells the number of its pack.
    fn read_blob(&self, index: &Index, id: &Id) -> Result<(usize, Vec<u8>), TreeFault> {
        let (pack, blob) = index.locate(id).ok_or(TreeFault::Lost)?;
        let damaged = |message| TreeFault::Damaged(pack, message);
        let known = &index.packs[pack];
        if blob.length > known.size {
            return Err(damaged("the index states an impossible size".into()));
        }
        let mut data = vec![0; blob.length as usize];
        self.packs.read(&known.id, blob.offset, &mut data).map_err(|fault| match fault.into_message() {
            Ok(message) => damaged(message),
            Err(error) => TreeFault::Unknown(error),
        })?;
        let decode = || -> Result<Vec<u8>, String> {
            let plain = self.cipher.decode_blob(&data, blob.unpacked)?;
            check_plain(&plain, &blob).map(|()| plain)
        };
        decode().map(|plain| (pack, plain)).map_err(damaged)
    }
}

impl Index {
    /// Remembers that a backup needs a blob.
    fn need(&mut self, id: &Id) {
        match self.locate(id) {
            Some((pack, _)) if self.packs[pack].origin == Origin::Header => {
                self.needed_headers.insert(pack);
            }
            Some(_) => {}
            None => {
                self.lost.insert(*id);
            }
        }
    }
}
