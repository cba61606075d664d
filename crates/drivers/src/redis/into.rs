//! Files that a stopped server starts from, whatever `appendonly` says: it reads either its AOF or its RDB, never both.
//!
//! In: a folder with a restored RDB. Out: the same with `appendonlydir/` beside, whose base is that very RDB under a second
//! name: no byte is written twice. A server that finds no AOF where it is set to have one begins empty.
//!
//! It may be repeated after a crash at any point, and never touches a folder that a server uses. Source: the manifest of
//! AOFs of several parts, `aof.c` of Redis 7.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

use muster_repo::durable;
use rustix::{
    fs::{Gid, Uid, chown},
    process::geteuid,
};
use walkdir::WalkDir;

use super::{description::RDB, scratch::failed, verify::server_of};
use crate::DriverError;

/// Makes the AOF, under the names that the server of the backup had.
pub(super) fn prepare(place: &Path, target: &Path) -> Result<(), DriverError> {
    let server = server_of(place);
    let named = |name: &str, usual: &str| server.files.get(name).cloned().unwrap_or_else(|| usual.into());
    let file = named("appendfilename", "appendonly.aof");
    let folder = place.join(named("appenddirname", "appendonlydir"));
    if !folder.exists() {
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(|error| failed("make", &folder, &error))?;
    }
    link(&place.join(RDB), &folder.join(format!("{file}.1.base.rdb")))?;
    let manifest = folder.join(format!("{file}.manifest"));
    let text = format!("file {file}.1.base.rdb seq 1 type b\n");
    durable::write(&manifest, text.as_bytes(), 0o600).map_err(|error| failed("write", &manifest, &error))?;
    // The name that the server looks for, where it is another one.
    let own = named("dbfilename", RDB);
    if own != RDB {
        link(&place.join(RDB), &place.join(&own))?;
    }
    give_to_owner(place, target)
}

fn link(from: &Path, to: &Path) -> Result<(), DriverError> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(failed("link", to, &error)),
        _ => Ok(()),
    }
}

/// Files belong to whoever owns what stands at the target, else the folder above it.
fn give_to_owner(place: &Path, target: &Path) -> Result<(), DriverError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let found = fs::metadata(target).or_else(|_| fs::metadata(target.parent().unwrap_or(Path::new("/"))));
    let found = found.map_err(|error| failed("look at", target, &error))?;
    let (uid, gid) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    for entry in WalkDir::new(place).follow_links(false) {
        let entry = entry.map_err(|error| failed("look at", place, &error.into()))?;
        chown(entry.path(), Some(uid), Some(gid))
            .map_err(|errno| failed("give away", entry.path(), &errno.into()))?;
    }
    Ok(())
}
