//! Where the objects of a repository lie, how people call them, and which are there.
//!
//! The layout is restic's: `config`, `keys/<id>`, `snapshots/<id>`, `index/<id>`, `data/<first two digits>/<id>`.
//!
//! This module never skips what it cannot list: a backup into a repository that seems empty, or the freeing of space
//! in one, would do harm. Read next: `storage.rs`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rustic_core::{FileType, Id};

use crate::error::RepoError;

/// Returns where an object lies, relative to the repository.
pub(crate) fn place(tpe: FileType, id: &Id) -> PathBuf {
    let hex = id.to_hex().to_string();
    match tpe {
        FileType::Config => "config".into(),
        FileType::Pack => Path::new("data").join(&hex[..2]).join(&hex),
        _ => Path::new(tpe.dirname()).join(&hex),
    }
}

/// Names an object for people: `pack data/12/12ab…`, `snapshot 12ab…`, `config`.
pub(crate) fn name(tpe: FileType, id: &Id) -> String {
    let hex = id.to_hex();
    match tpe {
        FileType::Config => "config".into(),
        FileType::Pack => format!("pack {}", place(tpe, id).display()),
        FileType::Index => format!("index {}", &*hex),
        FileType::Key => format!("key {}", &*hex),
        FileType::Snapshot => format!("snapshot {}", &*hex),
    }
}

/// Returns the folders of one kind of object, relative to the repository. `config` has none.
pub(crate) fn folders(tpe: FileType) -> Vec<PathBuf> {
    match tpe {
        FileType::Config => Vec::new(),
        FileType::Pack => (0..=255_u8).map(|first| Path::new("data").join(format!("{first:02x}"))).collect(),
        _ => vec![tpe.dirname().into()],
    }
}

/// Lists the objects of one kind with their sizes in bytes. Other files and missing folders are passed over.
pub(crate) fn list(root: &Path, tpe: FileType) -> Result<BTreeMap<Id, u64>, RepoError> {
    let mut found = BTreeMap::new();
    for folder in folders(tpe) {
        let folder = root.join(folder);
        list_folder(&folder, &mut found).map_err(|source| RepoError::Io {
            operation: "list",
            path: folder,
            source,
        })?;
    }
    Ok(found)
}

fn list_folder(folder: &Path, found: &mut BTreeMap<Id, u64>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<Id>().ok()) else { continue };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                found.insert(id, metadata.len());
            }
            Ok(_) => {}
            // Another run has removed it just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_listed_where_they_belong_and_nothing_else_is() {
        let root = tempfile::tempdir().unwrap();
        let id = Id::new([0xab; 32]);
        for tpe in [FileType::Pack, FileType::Index, FileType::Key, FileType::Snapshot] {
            assert_eq!(list(root.path(), tpe).unwrap(), BTreeMap::new(), "{tpe:?}");
            let path = root.path().join(place(tpe, &id));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            for (path, content) in [(path.clone(), "four"), (path.with_file_name(".ab.tmp-1"), "")] {
                crate::durable::create(&path, content.as_bytes(), 0o600).unwrap();
            }
            assert_eq!(list(root.path(), tpe).unwrap(), BTreeMap::from([(id, 4)]), "{tpe:?}");
        }
        assert_eq!(name(FileType::Pack, &id), format!("pack data/ab/{}", "ab".repeat(32)));
    }
}
