//! Builds the folders of a snapshot out of nodes, and hands out each one when all of it is known.
//!
//! ```text
//! sorted source     ─ Walk ── a folder is closed when the walk leaves it: memory for one path, not for all
//! unsorted source   ─ all nodes by path, kept until the end ── then the same walk
//! ```
//!
//! In: nodes with their paths. Out: folders as the format has them, names in byte order, the deepest first; the last
//! one is the root. A folder that no node describes is made. A path that comes twice, or below something that is no
//! folder, is an error: this module never lets one node hide another. Read next: `read.rs`.

use std::{
    collections::{BTreeMap, btree_map},
    ffi::OsString,
    path::{Path, PathBuf},
};

use rustic_core::{
    TreeId,
    repofile::{Node, Tree},
};

use super::node;
use crate::source::SourceError;

/// Why no tree can be made.
pub(super) enum TreeError<E> {
    /// The nodes do not fit together.
    Node(SourceError),
    /// The folder could not be stored.
    Store(E),
}

impl<E> From<SourceError> for TreeError<E> {
    fn from(error: SourceError) -> Self {
        Self::Node(error)
    }
}

/// A folder whose nodes are not all known yet.
struct Open {
    name: OsString,
    node: Node,
    tree: Tree,
    /// The name of the last node and whether it is a folder.
    last: Option<(OsString, bool)>,
}

/// Nodes in the order of a walk in depth with sorted names.
pub(super) struct Walk {
    /// From the root down.
    open: Vec<Open>,
}

impl Walk {
    fn new() -> Self {
        let root = Open {
            name: OsString::new(),
            node: node::folder(Path::new("")),
            tree: Tree::default(),
            last: None,
        };
        Self { open: vec![root] }
    }

    /// Adds the next node. `store` gets each folder that it closes.
    fn add<E>(
        &mut self,
        path: &Path,
        node: Node,
        store: &mut impl FnMut(&Tree) -> Result<TreeId, E>,
    ) -> Result<(), TreeError<E>> {
        let above: Vec<_> = path.parent().unwrap_or(Path::new("")).iter().collect();
        let shared =
            self.open.iter().skip(1).zip(&above).take_while(|(open, name)| open.name == **name).count();
        while self.open.len() > shared + 1 {
            self.close(store)?;
        }
        for name in &above[shared..] {
            self.enter(Path::new(name), node::folder(Path::new(name)), path)?;
        }
        let name = Path::new(path.file_name().unwrap_or_default());
        if node.is_dir() {
            return Ok(self.enter(name, node, path)?);
        }
        let parent = self.parent(name, false, path)?;
        parent.tree.nodes.push(node);
        Ok(())
    }

    fn enter(&mut self, name: &Path, node: Node, path: &Path) -> Result<(), SourceError> {
        self.parent(name, true, path)?;
        self.open.push(Open { name: name.into(), node, tree: Tree::default(), last: None });
        Ok(())
    }

    /// Returns the folder that gets a node of this name, when it comes behind all others there.
    fn parent(&mut self, name: &Path, is_folder: bool, path: &Path) -> Result<&mut Open, SourceError> {
        let parent = self.open.last_mut().ok_or_else(|| node::bug("the root is closed".into()))?;
        match &parent.last {
            Some((last, false)) if *last == *name.as_os_str() && is_folder => {
                return Err(node::bug(format!("{} lies below a path that is no folder", shown(path))));
            }
            Some((last, _)) if *last >= *name.as_os_str() => {
                return Err(node::bug(format!("{} came twice or out of order", shown(path))));
            }
            _ => parent.last = Some((name.into(), is_folder)),
        }
        Ok(parent)
    }

    fn close<E>(&mut self, store: &mut impl FnMut(&Tree) -> Result<TreeId, E>) -> Result<(), TreeError<E>> {
        let Some(mut done) = self.open.pop() else { return Ok(()) };
        done.node.subtree = Some(store(&done.tree).map_err(TreeError::Store)?);
        if let Some(parent) = self.open.last_mut() {
            parent.tree.nodes.push(done.node);
        }
        Ok(())
    }

    fn finish<E>(
        mut self,
        store: &mut impl FnMut(&Tree) -> Result<TreeId, E>,
    ) -> Result<TreeId, TreeError<E>> {
        while self.open.len() > 1 {
            self.close(store)?;
        }
        let root = self.open.pop().map(|open| open.tree).unwrap_or_default();
        store(&root).map_err(TreeError::Store)
    }
}

/// Collects the nodes of a snapshot, in whichever order its source gives them.
pub(super) enum Trees {
    Sorted(Walk),
    Unsorted(BTreeMap<PathBuf, Node>),
}

impl Trees {
    pub(super) fn new(is_sorted: bool) -> Self {
        if is_sorted { Self::Sorted(Walk::new()) } else { Self::Unsorted(BTreeMap::new()) }
    }

    /// Adds a node; `store` gets each folder that is complete.
    pub(super) fn add<E>(
        &mut self,
        path: PathBuf,
        node: Node,
        store: &mut impl FnMut(&Tree) -> Result<TreeId, E>,
    ) -> Result<(), TreeError<E>> {
        match self {
            Self::Sorted(walk) => walk.add(&path, node, store),
            Self::Unsorted(nodes) => match nodes.entry(path) {
                btree_map::Entry::Occupied(known) => {
                    Err(TreeError::Node(node::bug(format!("{} came twice", shown(known.key())))))
                }
                btree_map::Entry::Vacant(place) => {
                    place.insert(node);
                    Ok(())
                }
            },
        }
    }

    /// Closes everything that is open and returns the root.
    pub(super) fn finish<E>(
        self,
        store: &mut impl FnMut(&Tree) -> Result<TreeId, E>,
    ) -> Result<TreeId, TreeError<E>> {
        match self {
            Self::Sorted(walk) => walk.finish(store),
            Self::Unsorted(nodes) => {
                let mut walk = Walk::new();
                // Paths compare name by name, so this is the order of a walk.
                for (path, node) in nodes {
                    walk.add(&path, node, store)?;
                }
                walk.finish(store)
            }
        }
    }
}

/// The path as the source gave it.
fn shown(path: &Path) -> std::path::Display<'_> {
    path.strip_prefix("data").unwrap_or(path).display()
}
