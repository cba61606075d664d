//! Walks the content of a snapshot: every entry below `data/`, folders before what is in them.
//!
//! In: the snapshot's root. Out: entries with safe relative paths. The names come out of the repository, so they are
//! treated as hostile: nothing leaves the content's root, and neither depth nor number is unbounded.
//!
//! Nothing here recurses, so a deep tree cannot exhaust the stack, and nothing here touches the file system.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    vec,
};

use rustic_core::{
    TreeId,
    repofile::{Node, NodeType},
};

use crate::{chunks::Chunks, error::RepoError};

/// No file system takes a deeper path, because a path has at most 4,096 bytes.
const DEPTH_MAX: usize = 2_048;
/// A tree whose folders name each other's again and again would otherwise never end.
const ENTRIES_MAX: u64 = 200_000_000;

/// One entry: its path below `data/` and what the repository knows of it.
pub(crate) struct TreeEntry {
    pub(crate) path: PathBuf,
    pub(crate) node: Node,
}

/// Walks depth first. After an error the walk is over.
pub(crate) struct TreeWalk<'a> {
    chunks: &'a Chunks,
    stack: Vec<(PathBuf, vec::IntoIter<Node>)>,
    seen: u64,
}

impl<'a> TreeWalk<'a> {
    /// Begins at the content of the snapshot with this root. No `data` means no content.
    pub(crate) fn new(chunks: &'a Chunks, root: &TreeId) -> Result<Self, RepoError> {
        let mut walk = Self { chunks, stack: Vec::new(), seen: 0 };
        let nodes = chunks.tree(root, Path::new("the snapshot"))?.nodes;
        if let Some(data) = nodes.into_iter().find(|node| node.name() == OsStr::new("data")) {
            walk.enter(PathBuf::new(), &data)?;
        }
        Ok(walk)
    }

    fn enter(&mut self, path: PathBuf, node: &Node) -> Result<(), RepoError> {
        let subtree = node.subtree.ok_or_else(|| strange(&path, "a folder has no content"))?;
        if self.stack.len() >= DEPTH_MAX {
            return Err(strange(&path, "the folders are too deep"));
        }
        let tree = self.chunks.tree(&subtree, &path)?;
        self.stack.push((path, tree.nodes.into_iter()));
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<TreeEntry>, RepoError> {
        let (folder, node) = loop {
            let Some((folder, nodes)) = self.stack.last_mut() else { return Ok(None) };
            if let Some(node) = nodes.next() {
                break (folder, node);
            }
            self.stack.pop();
        };
        let name = node.name().into_owned();
        if !is_safe(&name) {
            return Err(strange(folder, "it names an entry outside of itself"));
        }
        let path = folder.join(name);
        self.seen += 1;
        if self.seen > ENTRIES_MAX {
            return Err(strange(&path, "the entries never end"));
        }
        if matches!(node.node_type, NodeType::Dir) {
            self.enter(path.clone(), &node)?;
        }
        Ok(Some(TreeEntry { path, node }))
    }
}

impl Iterator for TreeWalk<'_> {
    type Item = Result<TreeEntry, RepoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            self.stack.clear();
        }
        result.transpose()
    }
}

/// Tells whether a name stays in its folder.
fn is_safe(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/') && !bytes.contains(&0)
}

/// A tree that Muster never writes.
pub(crate) fn strange(path: &Path, message: &str) -> RepoError {
    RepoError::Corrupt { object: format!("the tree of `{}`", path.display()), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_folder_are_not_safe() {
        for name in ["", ".", "..", "/etc", "a/b", "../a", "a\0b"] {
            assert!(!is_safe(OsStr::new(name)), "{name:?}");
        }
        for name in ["a", "...", "..a", "-x", "\n", "größe"] {
            assert!(is_safe(OsStr::new(name)), "{name:?}");
        }
        assert!(is_safe(OsStr::from_bytes(b"\xff\xfe")));
    }
}
