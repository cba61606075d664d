//! Tells which processes have a file open, as `/proc/*/fd` shows it.
//!
//! Files are compared by device and inode, so another name of the same file counts too. Processes that this user may
//! not look at are not seen; run as root to see all. It never signals a process.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt, path::Path};

/// Returns `comm (pid N)` for each other process that has one of the inodes `(device, inode)` open, sorted by pid.
pub fn open_by(inodes: &HashSet<(u64, u64), impl std::hash::BuildHasher>) -> Vec<String> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .collect();
    pids.sort_unstable();
    pids.into_iter()
        .filter(|pid| has_open(*pid, inodes))
        .map(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{} (pid {pid})", comm.trim())
        })
        .collect()
}

/// Returns device and inode of everything that another process has open, so that a large tree can be searched for them.
pub fn open_inodes() -> HashSet<(u64, u64)> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return HashSet::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own)
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok())
        .flat_map(|descriptors| descriptors.flatten().filter_map(|entry| inode(&entry.path())))
        .collect()
}

/// Returns device and inode of a path, when something stands there.
pub fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn has_open(pid: u32, inodes: &HashSet<(u64, u64), impl std::hash::BuildHasher>) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|entry| inode(&entry.path()).is_some_and(|id| inodes.contains(&id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_the_file_open_is_named_with_its_pid() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inodes = HashSet::from([inode(file.path()).unwrap()]);
        let mut child =
            std::process::Command::new("sleep").arg("30").stdin(file.reopen().unwrap()).spawn().unwrap();
        let seen = open_by(&inodes);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen.iter().any(|line| line.ends_with(&format!("(pid {})", child.id()))), "{seen:?}");
    }
}
