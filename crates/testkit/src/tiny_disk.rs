//! A small disk in memory that fills up for real.
//!
//! In: a size. Out: a folder on a tmpfs of that size. Needs root, as mounting does.
//!
//! The mount never outlives its handle.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    process::Command,
};

use rustix::fs::statvfs;
use tempfile::TempDir;

/// Fills are written in pieces of this size.
const PIECE: usize = 4096;

/// A small tmpfs, mounted while the handle lives.
#[derive(Debug)]
pub struct TinyDisk {
    folder: Option<TempDir>,
}

impl TinyDisk {
    /// Mounts a disk of `size` bytes.
    ///
    /// # Panics
    /// When the tests do not run as root.
    pub fn new(size: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("muster-disk-").tempdir().expect("a mount point");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "muster-tiny-disk"])
            .arg(folder.path())
            .status()
            .expect("`mount` runs");
        assert!(status.success(), "mounting a tmpfs needs root: run the tests as root");
        Self { folder: Some(folder) }
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("the folder is there until drop").path()
    }

    /// Returns how many bytes can still be written.
    pub fn free_bytes(&self) -> u64 {
        let stat = statvfs(self.path()).expect("a mounted disk has numbers");
        stat.f_bavail * stat.f_frsize
    }

    /// Writes a file `filler` until at most `free_bytes` (rounded up to a page) are left.
    pub fn fill_to(&self, free_bytes: u64) {
        let mut filler: File =
            OpenOptions::new().create(true).append(true).open(self.path().join("filler")).expect("a file");
        while self.free_bytes() > free_bytes.next_multiple_of(PIECE as u64) {
            if filler.write_all(&[0x55; PIECE]).is_err() {
                break;
            }
        }
    }

    /// Removes what [`Self::fill_to`] wrote.
    pub fn empty(&self) {
        drop(std::fs::remove_file(self.path().join("filler")));
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        // Lazily: a process that still has a file open there must not keep the mount point alive.
        let unmounted = Command::new("umount").arg("--lazy").arg(folder.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            // Deleting through a live mount would only hide it; the folder is left for a person to see.
            drop(folder.keep());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_refuses_and_vanishes() {
        let disk = TinyDisk::new(1024 * 1024);
        let path = disk.path().to_owned();
        disk.fill_to(8192);
        assert!(disk.free_bytes() <= 8192);
        let error = std::fs::write(path.join("more"), vec![1; 65536]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        disk.empty();
        assert!(disk.free_bytes() > 900_000);
        drop(disk);
        assert!(!path.exists());
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains(path.to_str().unwrap()));
    }
}
