//! Hands a database's files to the repository: the copy of a consistent state, or everything as it lies there.

use std::{
    fs::{self, File, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use muster_repo::source::{Entry, EntryKind, EntryMeta, Source, SourceError, SourceSummary};
use muster_types::{Timestamp, backup::Witness};

use super::copy::Copied;
use crate::{files::changed_at, swap::with_suffix};

/// A file as it is read, and where it belongs.
struct Part {
    /// Where it stood on the source.
    path: PathBuf,
    /// What is read.
    read_from: PathBuf,
    /// Mode, owner and times come from what stands at `path`.
    metadata: Option<Metadata>,
}

/// One or more files of a database.
pub(super) struct SqliteSource {
    parts: Vec<Part>,
    summary: SourceSummary,
}

/// The copy of one consistent state.
pub(super) fn consistent(
    path: &Path,
    copy: PathBuf,
    copied: Copied,
    witness: Witness,
    unchecked: Option<String>,
) -> SqliteSource {
    let size_bytes = fs::metadata(&copy).map_or(0, |found| found.len());
    let part = Part { path: path.to_owned(), read_from: copy, metadata: fs::metadata(path).ok() };
    SqliteSource {
        parts: vec![part],
        summary: SourceSummary {
            witness,
            consistent_at: copied.consistent_at,
            warnings: unchecked.into_iter().collect(),
            damage: Vec::new(),
            fingerprint: copied.fingerprint.unwrap_or_default(),
            size_bytes,
        },
    }
}

/// The database and what lies beside it, in whatever state. An index of a log (`-shm`) is made anew by SQLite.
pub(super) fn raw(path: &Path, now: Timestamp, fingerprint: Option<String>) -> SqliteSource {
    let parts: Vec<Part> = ["", "-wal", "-journal"]
        .iter()
        .map(|suffix| with_suffix(path, suffix))
        .filter_map(|path| {
            let metadata = fs::metadata(&path).ok()?;
            Some(Part { read_from: path.clone(), path, metadata: Some(metadata) })
        })
        .collect();
    let size_bytes = parts.iter().filter_map(|part| part.metadata.as_ref()).map(Metadata::len).sum();
    SqliteSource {
        parts,
        summary: SourceSummary {
            witness: Witness::new(),
            consistent_at: now,
            warnings: Vec::new(),
            damage: Vec::new(),
            fingerprint: fingerprint.unwrap_or_default(),
            size_bytes,
        },
    }
}

impl Source for SqliteSource {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let entries: Vec<Result<Entry, SourceError>> =
            self.parts.iter().enumerate().map(|(index, part)| entry(index, part)).collect();
        Box::new(entries.into_iter())
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.summary.size_bytes)
    }

    fn finish(&self) -> Result<SourceSummary, SourceError> {
        Ok(self.summary.clone())
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.parts.iter().map(|part| part.path.clone()).collect()
    }
}

fn entry(index: usize, part: &Part) -> Result<Entry, SourceError> {
    let path = part.read_from.clone();
    let size_bytes =
        fs::metadata(&path).map_err(|source| SourceError::Read { path: path.clone(), source })?.len();
    let open = Box::new(move || match File::open(&path) {
        Ok(file) => Ok(Box::new(file) as Box<dyn std::io::Read + Send>),
        Err(source) => Err(SourceError::Read { path, source }),
    });
    let meta = part.metadata.as_ref().map(meta).unwrap_or_default();
    Ok(Entry { path: index.to_string().into(), kind: EntryKind::File { size_bytes, open }, meta })
}

fn meta(found: &Metadata) -> EntryMeta {
    EntryMeta {
        mode: found.mode(),
        uid: found.uid(),
        gid: found.gid(),
        mtime: changed_at(found),
        ..EntryMeta::default()
    }
}
