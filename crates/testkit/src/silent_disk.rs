//! A file system that never answers, as one of another host may: whoever looks at it waits.
//!
//! In: nothing. Out: a folder on which a FUSE file system is mounted whose server has the device open and reads nothing.
//! Needs root and `/dev/fuse`. With its handle it is unmounted, and whoever still waits gets an error.

use std::{
    fs::{File, OpenOptions},
    os::fd::AsRawFd,
    path::Path,
    process::Command,
};

use rustix::io::{FdFlags, fcntl_setfd};
use tempfile::TempDir;

/// A file system without answers, mounted while the handle lives.
#[derive(Debug)]
pub struct SilentDisk {
    folder: Option<TempDir>,
    _device: File,
}

impl SilentDisk {
    /// Mounts it.
    ///
    /// # Panics
    /// When the tests do not run as root, or the kernel has no FUSE.
    #[expect(clippy::new_without_default, reason = "it mounts")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("muster-disk-").tempdir().expect("a mount point");
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
        // `mount` hands its own descriptor to the kernel, so it must inherit this one.
        fcntl_setfd(&device, FdFlags::empty()).expect("a descriptor");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let status = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", &options, "muster-silent-disk"])
            .arg(folder.path())
            .status()
            .expect("`mount` runs");
        fcntl_setfd(&device, FdFlags::CLOEXEC).expect("a descriptor");
        assert!(status.success(), "mounting needs root: run the tests as root");
        Self { folder: Some(folder), _device: device }
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("the folder is there until drop").path()
    }
}

impl Drop for SilentDisk {
    fn drop(&mut self) {
        // Forced: nobody will ever answer a polite request.
        Command::new("umount").arg("-fl").arg(self.path()).status().ok();
        drop(self.folder.take());
    }
}
