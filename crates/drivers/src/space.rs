//! Free space of the file systems where a restore puts things beside.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use muster_types::facts::FreeSpace;
use rustix::{fs::statvfs, process::geteuid};

/// Returns the folders that hold the paths, each once, with their free space.
pub(crate) fn beside(paths: &[PathBuf]) -> Vec<FreeSpace> {
    let mut folders: Vec<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders.into_iter().filter_map(free_space).collect()
}

/// A folder that is not there yet will be made in the nearest one that is.
fn free_space(folder: &Path) -> Option<FreeSpace> {
    let there = folder.ancestors().find(|folder| folder.is_dir())?;
    let found = statvfs(there).ok()?;
    let blocks = if geteuid().is_root() { found.f_bfree } else { found.f_bavail };
    let device = std::fs::metadata(there).ok()?.dev();
    let free_bytes = blocks.saturating_mul(found.f_frsize);
    Some(FreeSpace { path: folder.to_owned(), is_absent: there != folder, device, free_bytes })
}
