//! Names of files that are still being written, and the removal of those that a dead process left behind.
//!
//! In: the final name, `data/12/12ab…`. Out: `data/12/.12ab….tmp-<host>-<pid>-<serial>`, where `<host>` stands for
//! this host's name, because a repository may lie on a disk that several hosts share.
//!
//! This module never removes a file whose writer may still live: another host's, a living process's, a foreign name.
//! In object storage there is nothing of the kind; on another host age decides. Read next: `place/local.rs`, `sftp.rs`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustic_core::repofile::ALL_FILE_TYPES;

use crate::{layout, unlock::hex_hash};

/// What stands between the final name and the marks of the writer.
pub(crate) const MARK: &str = ".tmp-";

/// Returns a name beside `path` that no other process and no other call uses.
pub(crate) fn beside(path: &Path, serial: u64) -> PathBuf {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{file}{MARK}{}-{}-{serial}", host(), std::process::id()))
}

/// Tells whether a file name is one of those.
pub(crate) fn is_temporary(file_name: &str) -> bool {
    file_name.starts_with('.') && file_name.contains(MARK)
}

/// Returns all temporary files of a repository.
pub(crate) fn find(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let below = ALL_FILE_TYPES.into_iter().flat_map(layout::folders).map(|folder| root.join(folder));
    for folder in std::iter::once(root.to_owned()).chain(below) {
        find_in(&folder, 0, &mut found)?;
    }
    // The archive of WAL: a folder for each cluster, and one for each line in it. The state: one more.
    find_in(&root.join("muster"), 4, &mut found)?;
    found.sort();
    Ok(found)
}

/// Looks in a folder, and so many levels below it.
fn find_in(folder: &Path, levels: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_temporary) {
            found.push(entry.path());
        } else if levels > 0 && entry.file_type()?.is_dir() {
            find_in(&entry.path(), levels - 1, found)?;
        }
    }
    Ok(())
}

/// Removes the temporary files of this host's dead processes and returns how many there were.
///
/// A number that belongs to a living process again keeps its file for another time.
pub(crate) fn remove_stale(root: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for path in find(root)?.into_iter().filter(|path| is_stale(path)) {
        match fs::remove_file(path) {
            Ok(()) => removed += 1,
            // Another backup that begins just now was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

fn is_stale(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some((_, marks)) = name.rsplit_once(MARK) else { return false };
    let mut marks = marks.split('-');
    let (owner, pid) = (marks.next(), marks.next().and_then(|pid| pid.parse::<u32>().ok()));
    owner == Some(&host()) && pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Eight digits that stand for this host's name.
fn host() -> String {
    let mut hash = hex_hash(rustix::system::uname().nodename().to_bytes());
    hash.truncate(8);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_this_hosts_dead_processes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data/ab");
        fs::create_dir_all(&data).unwrap();
        // Above the highest number that Linux gives.
        let dead = data.join(format!(".abcd.tmp-{}-4194305-0", host()));
        let mut kept = vec![
            beside(&data.join("abcd"), 3),
            data.join(".abcd.tmp-00000000-4194305-0"),
            data.join(".abcd.tmp-4194305"),
            data.join("abcd"),
            data.join(".hidden"),
        ];
        for path in kept.iter().chain([&dead]) {
            durable_empty(path);
        }
        let root = folder.path();
        assert_eq!(remove_stale(root).unwrap(), 1);
        assert!(!dead.exists());
        kept.retain(|path| !path.exists());
        assert_eq!(kept, Vec::<PathBuf>::new());
        assert_eq!(find(root).unwrap().len(), 3);
    }

    fn durable_empty(path: &Path) {
        crate::durable::create(path, b"", 0o600).unwrap();
    }
}
