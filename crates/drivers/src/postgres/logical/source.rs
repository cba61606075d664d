//! Hands the files of a finished dump to the repository.
//!
//! In: the folder in scratch. Out: `0`, `0/dump`, `0/dump/3012.dat`, …, `0/globals.sql`, `0/schema.sql`,
//! `0/server.json`, in byte order. It never changes them. Read next: `logical.rs`.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use muster_repo::source::{Entry, EntryKind, EntryMeta, Source, SourceError, SourceSummary};
use walkdir::WalkDir;

use crate::files::changed_at;

/// A folder that only its owner may use.
const MODE_FOLDER: u32 = 0o040_700;
/// A file that only its owner may use: a dump holds everything.
const MODE_FILE: u32 = 0o100_600;

/// A dump on disk.
pub(super) struct DumpSource {
    pub(super) folder: PathBuf,
    /// What a database of a server stands for in a list of paths.
    pub(super) path: PathBuf,
    pub(super) summary: SourceSummary,
}

impl Source for DumpSource {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let root = self.folder.clone();
        let walk = WalkDir::new(&self.folder).follow_links(false).sort_by_file_name();
        Box::new(walk.into_iter().map(move |item| {
            let item =
                item.map_err(|error| SourceError::Read { path: root.clone(), source: error.into() })?;
            let relative = item.path().strip_prefix(&root).unwrap_or(Path::new(""));
            let inside = if relative.as_os_str().is_empty() {
                PathBuf::from("0")
            } else {
                Path::new("0").join(relative)
            };
            entry(item.path().to_owned(), inside)
        }))
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.summary.size_bytes)
    }

    fn finish(&self) -> Result<SourceSummary, SourceError> {
        Ok(self.summary.clone())
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }
}

fn entry(read_from: PathBuf, path: PathBuf) -> Result<Entry, SourceError> {
    let found = fs::symlink_metadata(&read_from)
        .map_err(|source| SourceError::Read { path: read_from.clone(), source })?;
    let mode = if found.is_dir() { MODE_FOLDER } else { MODE_FILE };
    let meta = EntryMeta {
        mode,
        uid: found.uid(),
        gid: found.gid(),
        mtime: changed_at(&found),
        links: 1,
        ..EntryMeta::default()
    };
    if found.is_dir() {
        return Ok(Entry { path, kind: EntryKind::Directory, meta });
    }
    let open = Box::new(move || match File::open(&read_from) {
        Ok(file) => Ok(Box::new(file) as Box<dyn std::io::Read + Send>),
        Err(source) => Err(SourceError::Read { path: read_from, source }),
    });
    Ok(Entry { path, kind: EntryKind::File { size_bytes: found.len(), open }, meta })
}
