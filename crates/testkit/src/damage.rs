//! Damages one object of a repository in a known way, and puts it back.
//!
//! In: a repository folder in restic's layout. Out: its objects by kind, and [`Damage`] handles that hold the original
//! bytes. The layout (`data/xx/`, `index/`, `keys/`, `snapshots/`, `config`) and the place of a pack's header (at the
//! end, before its own four-byte length) are those of restic's format, repository version 2.
//!
//! A handle never leaves damage behind: dropping it restores content and mode.

use std::{
    fs, io,
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The kinds of object in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A pack: blobs and a header.
    Pack,
    /// An index file.
    Index,
    /// A key file.
    Key,
    /// A snapshot.
    Snapshot,
    /// The `config` file.
    Config,
}

/// One object of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its file.
    pub path: PathBuf,
    /// Its kind.
    pub kind: ObjectKind,
    /// Its size in bytes.
    pub size_bytes: u64,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Pack, Self::Index, Self::Key, Self::Snapshot, Self::Config];

    fn name(self) -> &'static str {
        match self {
            Self::Pack => "data",
            Self::Index => "index",
            Self::Key => "keys",
            Self::Snapshot => "snapshots",
            Self::Config => "config",
        }
    }
}

/// Lists the objects of one kind, sorted by path.
///
/// # Panics
/// When the folder cannot be read.
pub fn objects(repository: &Path, kind: ObjectKind) -> Vec<Object> {
    let mut found = Vec::new();
    collect(&repository.join(kind.name()), kind, &mut found).expect("a readable repository");
    found.sort();
    found
}

fn collect(path: &Path, kind: ObjectKind, found: &mut Vec<Object>) -> io::Result<()> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), kind, found)?;
        }
    } else {
        found.push(Object { path: path.to_owned(), kind, size_bytes: metadata.len() });
    }
    Ok(())
}

/// Returns where the header of a pack lies, its length field included; the blobs are what comes before.
pub fn pack_header(pack: &Path) -> Range<u64> {
    let bytes = fs::read(pack).expect("a readable pack");
    let size = bytes.len() as u64;
    let field: [u8; 4] = bytes[bytes.len() - 4..].try_into().expect("four bytes");
    size - 4 - u64::from(u32::from_le_bytes(field))..size
}

/// An object that is damaged while the handle lives.
#[derive(Debug)]
#[must_use = "the object is put back when the handle is dropped"]
pub struct Damage {
    path: PathBuf,
    original: Vec<u8>,
    mode: u32,
    what: String,
}

impl Damage {
    /// Flips one bit of the byte at `offset`.
    pub fn flip(path: &Path, offset: u64) -> Self {
        let damage = Self::begin(path, format!("bit flipped in byte {offset}"));
        let mut bytes = damage.original.clone();
        bytes[usize::try_from(offset).expect("an offset in memory")] ^= 0x10;
        damage.replace(&bytes);
        damage
    }

    /// Flips one bit somewhere in `range`; the same seed chooses the same byte.
    pub fn flip_in(path: &Path, range: Range<u64>, seed: u64) -> Self {
        Self::flip(path, fastrand::Rng::with_seed(seed).u64(range))
    }

    /// Flips one bit somewhere in the file; the same seed chooses the same byte.
    pub fn flip_seeded(path: &Path, seed: u64) -> Self {
        let size = fs::metadata(path).expect("a readable object").len();
        Self::flip_in(path, 0..size, seed)
    }

    /// Cuts the file to `size` bytes.
    pub fn truncate(path: &Path, size: u64) -> Self {
        let damage = Self::begin(path, format!("cut to {size} bytes"));
        damage.replace(&damage.original[..usize::try_from(size).expect("a size in memory")]);
        damage
    }

    /// Deletes the file.
    pub fn delete(path: &Path) -> Self {
        let damage = Self::begin(path, "deleted".to_owned());
        fs::remove_file(path).expect("a file that can be deleted");
        damage
    }

    /// Tells what was done to which file, for messages.
    pub fn what(&self) -> String {
        format!("{}: {}", self.path.display(), self.what)
    }

    fn begin(path: &Path, what: String) -> Self {
        let mode = fs::metadata(path).expect("a readable object").permissions().mode();
        Self { path: path.to_owned(), original: fs::read(path).expect("a readable object"), mode, what }
    }

    /// The object may be read-only, so it is made anew.
    fn replace(&self, bytes: &[u8]) {
        drop(fs::remove_file(&self.path));
        fs::write(&self.path, bytes).expect("a file that can be written");
        fs::set_permissions(&self.path, fs::Permissions::from_mode(self.mode)).expect("its mode");
    }
}

impl Drop for Damage {
    fn drop(&mut self) {
        // The whole repository may be gone with its folder already; then there is nothing to put back.
        if self.path.parent().is_some_and(Path::exists) {
            self.replace(&self.original);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;

    /// How to damage a file, and its size afterwards.
    type Case = (fn(&Path) -> Damage, Option<usize>);

    fn repository(folder: &Path) -> PathBuf {
        let repository = folder.join("repository");
        fs::write(folder.join("content"), vec![7; 100_000]).unwrap();
        let restic = Cli::with_binary("/usr/bin/restic", folder)
            .env("RESTIC_PASSWORD", "x")
            .env("RESTIC_REPOSITORY", &repository);
        restic.run(&["init", "--repository-version", "2"]).assert_exit(0);
        restic.run(&["backup", "content"]).assert_exit(0);
        repository
    }

    #[test]
    fn objects_of_every_kind_are_found_and_headers_lie_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        for kind in ObjectKind::ALL {
            assert!(!objects(&repository, kind).is_empty(), "{kind:?}");
        }
        for pack in objects(&repository, ObjectKind::Pack) {
            let header = pack_header(&pack.path);
            assert!(header.start > 0 && header.end == pack.size_bytes && header.end - header.start > 4);
        }
    }

    #[test]
    fn damage_holds_while_its_handle_lives_and_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        let original: Vec<u8> = (0..=255).collect();
        fs::write(&path, &original).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        let kinds: [Case; 3] = [
            (|path| Damage::flip_seeded(path, 3), Some(256)),
            (|path| Damage::truncate(path, 10), Some(10)),
            (Damage::delete, None),
        ];
        for (damage, size) in kinds {
            let handle = damage(&path);
            let now = fs::read(&path).ok();
            assert_eq!(now.as_ref().map(Vec::len), size, "{}", handle.what());
            assert_ne!(now.as_ref(), Some(&original), "{}", handle.what());
            drop(handle);
            assert_eq!(fs::read(&path).unwrap(), original);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        }
    }

    #[test]
    fn damage_is_put_back_when_a_test_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        fs::write(&path, b"whole").unwrap();
        let result = std::panic::catch_unwind(|| {
            let _damage = Damage::delete(&path);
            panic!("a failing test");
        });
        assert!(result.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }
}
