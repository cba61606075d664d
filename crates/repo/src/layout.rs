//! Where the objects of a repository lie, how people call them, and which are there.
//!
//! The layout is restic's: `config`, `keys/<id>`, `snapshots/<id>`, `index/<id>`, `data/<first two digits>/<id>`. Names
//! have a `/` between their parts wherever the repository lies.
//!
//! This module never skips what it cannot list: a backup into a repository that seems empty, or the freeing of space
//! in one, would do harm. Read next: `storage.rs`.

use std::collections::BTreeMap;

use rustic_core::{FileType, Id};

use crate::{error::RepoError, place::Place};

/// Returns where an object lies, relative to the repository.
pub(crate) fn place(tpe: FileType, id: &Id) -> String {
    let hex = id.to_hex().to_string();
    match tpe {
        FileType::Config => "config".into(),
        FileType::Pack => format!("data/{}/{hex}", &hex[..2]),
        _ => format!("{}/{hex}", tpe.dirname()),
    }
}

/// Names an object for people: `pack data/12/12ab…`, `snapshot 12ab…`, `config`.
pub(crate) fn name(tpe: FileType, id: &Id) -> String {
    let hex = id.to_hex();
    match tpe {
        FileType::Config => "config".into(),
        FileType::Pack => format!("pack {}", place(tpe, id)),
        FileType::Index => format!("index {}", &*hex),
        FileType::Key => format!("key {}", &*hex),
        FileType::Snapshot => format!("snapshot {}", &*hex),
    }
}

/// Returns the folders of one kind of object, relative to the repository. `config` has none.
pub(crate) fn folders(tpe: FileType) -> Vec<String> {
    match tpe {
        FileType::Config => Vec::new(),
        FileType::Pack => (0..=255_u8).map(|first| format!("data/{first:02x}")).collect(),
        _ => vec![tpe.dirname().into()],
    }
}

/// Tells whether a folder belongs to what lies around it: one of the 256 of the packs, one of the archive of WAL, or one
/// of the state.
pub(crate) fn is_part_of_folder(name: &str) -> bool {
    let digits = name.strip_prefix("data/");
    let is_of_packs =
        digits.is_some_and(|digits| digits.len() == 2 && digits.chars().all(|c| c.is_ascii_hexdigit()));
    is_of_packs || name.starts_with("muster/wal/") || name.starts_with("muster/state/")
}

/// Lists the objects of one kind with their sizes in bytes. Other files and missing folders are passed over.
pub(crate) fn list(place: &dyn Place, tpe: FileType) -> Result<BTreeMap<Id, u64>, RepoError> {
    let found = place.list(tpe.dirname())?;
    Ok(found
        .into_iter()
        .filter_map(|listed| Some((listed.file_name().parse::<Id>().ok()?, listed)))
        .filter(|(id, listed)| listed.name == self::place(tpe, id))
        .map(|(id, listed)| (id, listed.size))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::LocalFolder;

    #[test]
    fn objects_are_listed_where_they_belong_and_nothing_else_is() {
        let root = tempfile::tempdir().unwrap();
        let folder = LocalFolder::new(root.path().to_owned());
        let id = Id::new([0xab; 32]);
        for tpe in [FileType::Pack, FileType::Index, FileType::Key, FileType::Snapshot] {
            assert_eq!(list(&folder, tpe).unwrap(), BTreeMap::new(), "{tpe:?}");
            let path = root.path().join(place(tpe, &id));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            for (path, content) in [(path.clone(), "four"), (path.with_file_name(".ab.tmp-1"), "")] {
                crate::durable::create(&path, content.as_bytes(), 0o600).unwrap();
            }
            assert_eq!(list(&folder, tpe).unwrap(), BTreeMap::from([(id, 4)]), "{tpe:?}");
        }
        assert_eq!(name(FileType::Pack, &id), format!("pack data/ab/{}", "ab".repeat(32)));
    }
}
