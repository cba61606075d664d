//! Puts back owner, extended attributes, mode and times, in the one order in which none undoes another.
//!
//! The owner comes first, because changing it clears setuid and file capabilities; then attributes, while the file is
//! still writable; then the mode; the times last. Without root, owners stay and this is noted once; such a file never
//! keeps setuid or setgid, because they would now mean another user.
//!
//! Nothing here follows a symlink.

use std::{
    fs::File,
    io,
    os::unix::fs::{MetadataExt, fchown, lchown},
    path::Path,
};

use muster_types::Timestamp;
use rustic_core::repofile::Metadata;
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, UTIME_OMIT};
use xattr::FileExt;

use super::Shared;
use crate::{error::RepoError, mode::SPECIAL};

const OWNERS: &str = "owners were not put back, because Muster does not run as root";
/// Setuid and setgid as the kernel has them.
const SPECIAL_BITS: u32 = 0o6000;

/// Applies metadata, and collects what could not be applied.
pub(super) struct Attributes<'a> {
    is_root: bool,
    shared: &'a Shared,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { is_root: rustix::process::geteuid().is_root(), shared }
    }

    /// Finishes an open file or folder and fsyncs it.
    pub(super) fn apply(&self, file: &File, path: &Path, meta: &Metadata) -> Result<(), RepoError> {
        let fail =
            |operation| move |source: io::Error| RepoError::Io { operation, path: path.to_owned(), source };
        let has_owner = self.own(file, meta).map_err(fail("set the owner of"))?;
        for attribute in &meta.extended_attributes {
            let value = attribute.value.as_deref().unwrap_or_default();
            let result = file.set_xattr(&attribute.name, value);
            self.attribute(&attribute.name, result).map_err(fail("set an extended attribute of"))?;
        }
        if let Some(mode) = meta.mode {
            rustix::fs::fchmod(file, permissions(mode, has_owner))
                .map_err(|error| fail("set the mode of")(error.into()))?;
        }
        if let Some(mtime) = meta.mtime {
            rustix::fs::futimens(file, &times(mtime))
                .map_err(|error| fail("set the time of")(error.into()))?;
        }
        file.sync_all().map_err(fail("sync"))
    }

    /// Finishes a symlink or a pipe, which cannot be opened.
    pub(super) fn apply_unopened(
        &self,
        path: &Path,
        meta: &Metadata,
        is_link: bool,
    ) -> Result<(), RepoError> {
        let fail =
            |operation| move |source: io::Error| RepoError::Io { operation, path: path.to_owned(), source };
        let has_owner = match lchown(path, meta.uid, meta.gid) {
            Err(_) if !self.is_root => self.note_owner(path.symlink_metadata().map_err(fail("read"))?, meta),
            other => other.map(|()| true).map_err(fail("set the owner of"))?,
        };
        for attribute in &meta.extended_attributes {
            let value = attribute.value.as_deref().unwrap_or_default();
            let result = xattr::set(path, &attribute.name, value);
            self.attribute(&attribute.name, result).map_err(fail("set an extended attribute of"))?;
        }
        if let Some(mode) = meta.mode.filter(|_| !is_link) {
            // The place is ours alone and the entry was just made as a pipe, so this cannot follow a link.
            rustix::fs::chmod(path, permissions(mode, has_owner))
                .map_err(|error| fail("set the mode of")(error.into()))?;
        }
        if let Some(mtime) = meta.mtime {
            rustix::fs::utimensat(CWD, path, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| fail("set the time of")(error.into()))?;
        }
        Ok(())
    }

    fn own(&self, file: &File, meta: &Metadata) -> io::Result<bool> {
        match fchown(file, meta.uid, meta.gid) {
            Err(_) if !self.is_root => Ok(self.note_owner(file.metadata()?, meta)),
            other => other.map(|()| true),
        }
    }

    /// Tells whether the owner is right anyway; else notes that it is not.
    fn note_owner(&self, now: std::fs::Metadata, meta: &Metadata) -> bool {
        let is_right =
            meta.uid.is_none_or(|uid| uid == now.uid()) && meta.gid.is_none_or(|gid| gid == now.gid());
        if !is_right {
            self.shared.note(OWNERS);
        }
        is_right
    }

    /// An attribute that this file system or user cannot have is noted; any other failure is one.
    fn attribute(&self, name: &str, result: io::Result<()>) -> io::Result<()> {
        let is_beyond_us = |error: &io::Error| match error.kind() {
            io::ErrorKind::Unsupported => true,
            io::ErrorKind::PermissionDenied => !self.is_root,
            _ => false,
        };
        match result {
            Err(error) if is_beyond_us(&error) => {
                self.shared.note(&format!("the extended attribute {name} was not put back ({error})"));
                Ok(())
            }
            other => other,
        }
    }
}

/// Takes the mode for `chmod` out of the format's. The kernel's own bits count too: no other use is made of them.
fn permissions(mode: u32, has_owner: bool) -> Mode {
    let mut bits = mode & 0o7777;
    for (kernel, format) in SPECIAL {
        if mode & format != 0 {
            bits |= kernel;
        }
    }
    if !has_owner {
        bits &= !SPECIAL_BITS;
    }
    Mode::from_raw_mode(bits)
}

/// Sets the time of change, and leaves the time of reading.
fn times(mtime: Timestamp) -> Timestamps {
    let nanoseconds = mtime.as_nanosecond();
    let second = 1_000_000_000;
    // Before 1970 the nanoseconds still count forward, as the kernel wants it.
    let changed = Timespec {
        tv_sec: i64::try_from(nanoseconds.div_euclid(second)).unwrap_or_default(),
        tv_nsec: i64::try_from(nanoseconds.rem_euclid(second)).unwrap_or_default(),
    };
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: changed }
}
