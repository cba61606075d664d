//! Turns entries of a source into nodes of the repository's format, and refuses paths that could not be nodes.
//!
//! In: an [`Entry`]. Out: its path below the snapshot's root, a [`Node`] without content, and what opens the content.
//!
//! The metadata of a source is taken as it is: nothing is left out, and nothing that Muster would have to invent, such
//! as names of users, is added. Read next: `read.rs`.

use std::{
    io::Read,
    path::{Component, Path, PathBuf},
};

use rustic_core::repofile::{Metadata, Node, NodeType};

use crate::{
    mode,
    source::{Entry, EntryKind, EntryMeta, SourceError},
};

/// `st_mode` of a folder that its owner may use.
const MODE_FOLDER: u32 = 0o040_700;
/// `st_mode` of a file that its owner may use.
const MODE_FILE: u32 = 0o100_600;

/// Opens the content of a file.
pub(super) type Opener = Box<dyn FnOnce() -> Result<Box<dyn Read + Send>, SourceError> + Send>;

/// An entry as the format has it.
pub(super) struct Converted {
    pub(super) path: PathBuf,
    pub(super) node: Node,
    /// For a regular file.
    pub(super) open: Option<Opener>,
}

/// Makes sure that entries stay below the root, and of a sorted source that they come in order.
pub(super) struct Order {
    /// None when any order is right.
    last: Option<PathBuf>,
}

impl Order {
    pub(super) fn new(is_sorted: bool) -> Self {
        Self { last: is_sorted.then(PathBuf::new) }
    }

    pub(super) fn check(&mut self, entry: Entry) -> Result<Entry, SourceError> {
        let mut parts = entry.path.components();
        let is_plain = parts.all(|part| matches!(part, Component::Normal(_)));
        if !is_plain || entry.path.as_os_str().is_empty() {
            return Err(bug(format!("{} is no path of a backup", entry.path.display())));
        }
        if let Some(last) = &mut self.last {
            // Paths compare name by name, which is the order of a walk in depth with sorted names.
            if entry.path <= *last {
                return Err(bug(format!("{} came after {}", entry.path.display(), last.display())));
            }
            last.clone_from(&entry.path);
        }
        Ok(entry)
    }
}

/// A source that breaks its contract.
pub(super) fn bug(message: String) -> SourceError {
    SourceError::Other {
        message,
        hint: Some(
            "report this: entries of a backup must be relative, each once, and in order if sorted".into(),
        ),
        kind: muster_types::Kind::Bug,
    }
}

/// A folder that no entry describes.
pub(super) fn folder(path: &Path) -> Node {
    let meta = Metadata { mode: Some(mode::to_format(MODE_FOLDER)), ..Metadata::default() };
    Node::new_node(path.file_name().unwrap_or_default(), NodeType::Dir, meta)
}

/// A file of Muster's own.
pub(super) fn own_file(name: &str, size: u64) -> Node {
    let meta = Metadata { mode: Some(mode::to_format(MODE_FILE)), size, links: 1, ..Metadata::default() };
    Node::new_node(name.as_ref(), NodeType::File, meta)
}

/// Puts an entry below `data`.
pub(super) fn convert(entry: Entry) -> Converted {
    let path = Path::new("data").join(&entry.path);
    let mut meta = convert_meta(entry.meta);
    let mut opener = None;
    let kind = match entry.kind {
        EntryKind::Directory => NodeType::Dir,
        EntryKind::Symlink { target } => NodeType::from_link(&target),
        EntryKind::Fifo => NodeType::Fifo,
        EntryKind::File { size_bytes, open } => {
            meta.size = size_bytes;
            opener = Some(open);
            NodeType::File
        }
    };
    let node = Node::new_node(path.file_name().unwrap_or_default(), kind, meta);
    Converted { path, node, open: opener }
}

fn convert_meta(meta: EntryMeta) -> Metadata {
    let mut converted = Metadata {
        mode: Some(mode::to_format(meta.mode)),
        mtime: meta.mtime,
        uid: Some(meta.uid),
        gid: Some(meta.gid),
        inode: meta.inode,
        device_id: meta.device,
        links: meta.links,
        ..Metadata::default()
    };
    for (name, value) in meta.xattrs {
        // The engine does not export the type, so an empty one is parsed and then filled.
        if let Ok(empty) = serde_json::from_str(r#"{"name":"","value":null}"#) {
            converted.extended_attributes.push(empty);
        }
        if let Some(attribute) = converted.extended_attributes.last_mut() {
            (attribute.name, attribute.value) = (name, Some(value));
        }
    }
    converted
}
