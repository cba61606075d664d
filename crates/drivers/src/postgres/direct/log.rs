//! The log that a backup needs, from the server's own folder.
//!
//! In: where the backup begins and ends. Out: the whole segments of that stretch and the histories of timelines, each with
//! the mark that says "archived", so that a restored server does not archive them once more; as the server sends them. A
//! temporary slot keeps them until they were read. It never removes one. Read next: `../direct.rs`.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use muster_repo::source::{Entry, EntryKind, SourceError};
use muster_types::{Kind, Lsn};

use super::{super::source::segment_names, walk::meta};

/// Returns the entries.
///
/// # Errors
/// A segment is not there: the server has removed it although a slot asked for it.
pub(super) fn entries(
    data: &Path,
    timeline: u32,
    (start, stop): (Lsn, Lsn),
    segment_bytes: u64,
    own: &dyn Fn(PathBuf, Vec<u8>) -> Entry,
) -> Result<Vec<Entry>, SourceError> {
    let folder = data.join("pg_wal");
    let mut entries = Vec::new();
    for name in segment_names(timeline, start, stop, segment_bytes).into_iter().chain(histories(&folder)?) {
        let path = folder.join(&name);
        let found = fs::metadata(&path).map_err(|source| missing(&path, source))?;
        let size_bytes = found.len();
        let open = Box::new(move || {
            let file = File::open(&path).map_err(|source| missing(&path, source))?;
            Ok(Box::new(file) as Box<dyn Read + Send>)
        });
        let kind = EntryKind::File { size_bytes, open };
        entries.push(Entry { path: Path::new("0/pg_wal").join(&name), kind, meta: meta(&found) });
        entries.push(own(Path::new("0/pg_wal/archive_status").join(format!("{name}.done")), Vec::new()));
    }
    Ok(entries)
}

fn histories(folder: &Path) -> Result<Vec<String>, SourceError> {
    let failed = |source| SourceError::Read { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name.strip_suffix(".history").is_some_and(|number| number.len() == 8) {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

fn missing(path: &Path, source: std::io::Error) -> SourceError {
    if source.kind() != std::io::ErrorKind::NotFound {
        return SourceError::Read { path: path.to_owned(), source };
    }
    SourceError::Other {
        message: format!("the server has removed {}, which this backup needs", path.display()),
        hint: Some("raise `max_slot_wal_keep_size` above what is written during a backup".into()),
        kind: Kind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segments_reach_from_the_first_byte_to_the_last() {
        let named = |start, stop, size| segment_names(1, Lsn(start), Lsn(stop), size);
        let size = 16 << 20;
        assert_eq!(named(size * 255 + 40, size * 256, size), ["0000000100000000000000FF"]);
        assert_eq!(
            named(size * 255, size * 256 + 1, size),
            ["0000000100000000000000FF", "000000010000000100000000"]
        );
        assert_eq!(
            named((1 << 32) - 1, (1 << 32) + 9, 1 << 20),
            ["000000010000000000000FFF", "000000010000000100000000"]
        );
    }
}
