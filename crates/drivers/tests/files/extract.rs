//! Reads a source as the repository does, and puts what it gave on disk.

use std::{
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use muster_repo::source::{Entry, EntryKind, EntryMeta, Source, SourceSummary};
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// One entry with its content.
pub(crate) struct Taken {
    pub(crate) path: PathBuf,
    pub(crate) content: Option<Vec<u8>>,
    target: Option<PathBuf>,
    is_folder: bool,
    meta: EntryMeta,
}

/// Reads a file's content exactly to its promised size; `None` for anything else.
pub(crate) fn read_all(entry: Entry) -> Option<Vec<u8>> {
    let EntryKind::File { size_bytes, open } = entry.kind else { return None };
    let mut content = vec![0; usize::try_from(size_bytes).unwrap()];
    open().unwrap().read_exact(&mut content).unwrap();
    Some(content)
}

/// Reads everything, one file after another.
pub(crate) fn back_up(source: &dyn Source) -> (SourceSummary, Vec<Taken>) {
    let entries = source
        .entries()
        .map(|entry| {
            let entry = entry.unwrap();
            let (path, meta) = (entry.path.clone(), entry.meta.clone());
            let is_folder = matches!(entry.kind, EntryKind::Directory);
            let target = match &entry.kind {
                EntryKind::Symlink { target } => Some(target.clone()),
                _ => None,
            };
            Taken { path, content: read_all(entry), target, is_folder, meta }
        })
        .collect();
    (source.finish().unwrap(), entries)
}

/// Puts the entries below `folder`; returns the place of each index.
pub(crate) fn extract(entries: &[Taken], folder: &Path) -> Vec<PathBuf> {
    fs::create_dir(folder).unwrap();
    for entry in entries {
        let path = folder.join(&entry.path);
        if let Some(content) = &entry.content {
            fs::write(&path, content).unwrap();
        } else if let Some(target) = &entry.target {
            symlink(target, &path).unwrap();
        } else if entry.is_folder {
            fs::create_dir(&path).unwrap();
        } else {
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        }
        for (name, value) in &entry.meta.xattrs {
            // Security labels are not ours to set.
            if name.starts_with("user.") {
                xattr::set(&path, name, value).unwrap();
            }
        }
    }
    // Folders last and from below: writing into them changes their time, and they may be read-only.
    for entry in entries.iter().rev().filter(|entry| entry.target.is_none()) {
        let path = folder.join(&entry.path);
        fs::set_permissions(&path, fs::Permissions::from_mode(entry.meta.mode & 0o7777)).unwrap();
        let time = rustix::fs::Timespec {
            tv_sec: entry.meta.mtime.unwrap().as_second(),
            tv_nsec: entry.meta.mtime.unwrap().subsec_nanosecond().into(),
        };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    }
    let tops = entries.iter().filter(|entry| entry.path.components().count() == 1);
    tops.map(|entry| folder.join(&entry.path)).collect()
}
