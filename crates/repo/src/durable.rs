//! Writes that survive a power cut: temporary file, fsync, rename, fsync of the folder.
//!
//! Every file that Muster writes outside the repository's own backend goes through here. Nothing here ever leaves a
//! half-written file under its final name.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Writes `content` to `path` with `mode`, atomically and durably. An existing file is replaced.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path, "tmp");
    let result = write_new(&temporary, content, mode).and_then(|()| rename(&temporary, path));
    if result.is_err() {
        // The first error matters; a leftover temporary name is harmless.
        drop(fs::remove_file(&temporary));
    }
    result
}

/// Writes a file that must not exist yet, durably. Fails with `AlreadyExists` otherwise.
pub fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write_new(path, content, mode)?;
    sync_folder(parent(path))
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Renames within one file system and fsyncs both folders.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(parent(to))?;
    if parent(from) != parent(to) {
        sync_folder(parent(from))?;
    }
    Ok(())
}

/// Makes a folder's entries durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Returns a hidden name beside `path` that no other process uses: `.name.<suffix>-<pid>`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{suffix}-{}", std::process::id()));
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
