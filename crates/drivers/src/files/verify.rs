//! Compares a restored tree with the witness of its backup, and evaluates the assertions.
//!
//! In: the places that a restore has filled. Out: one line for people, or the first thing that is not as it was.
//! Everything at the places is read: what a backup leaves out is not there, so no glob applies.
//!
//! It never changes a file, and never passes over a witness that it does not know.

use std::{
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use muster_types::{ByteSize, Kind, backup::Witness, config::Assertion, event::Watcher};
use sha2::{Digest, Sha256};

use super::{
    digest::{Content, TreeDigest},
    show::show,
    walk::{Found, Trouble, Walk},
};
use crate::{DriverError, expect};

/// Large enough that hashing and not calling dominates, small enough to stop soon.
const BUFFER_BYTES: usize = 1 << 20;

/// The witness that says everything; a backup without it was not made by this driver.
const TREE: &str = "tree";

/// Verifies what was restored from `paths` to `places`.
pub(crate) fn verify(
    paths: &[PathBuf],
    places: &[PathBuf],
    witness: &Witness,
    assertions: &[Assertion],
    watcher: &dyn Watcher,
) -> Result<String, DriverError> {
    let total = witness.get("bytes").and_then(|bytes| bytes.parse().ok());
    watcher.begin("verify", total);
    let tree = read(places, watcher)?;
    compare(witness, &tree.witness())?;
    for assertion in assertions {
        evaluate(assertion, paths, places)?;
    }
    let held = match assertions.len() {
        0 => String::new(),
        1 => ", 1 assertion held".to_owned(),
        count => format!(", {count} assertions held"),
    };
    let files = if tree.files == 1 { "1 file".to_owned() } else { format!("{} files", tree.files) };
    Ok(format!("{files}, {}{held}", ByteSize(tree.bytes)))
}

fn read(places: &[PathBuf], watcher: &dyn Watcher) -> Result<TreeDigest, DriverError> {
    let mut tree = TreeDigest::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    for item in Walk::new(places.to_vec(), Arc::default()) {
        let found = match item {
            Ok(found) => found,
            // A raw copy may lack a path; the witness tells whether it should be there.
            Err(Trouble::Absent(_)) => continue,
            Err(Trouble::Link(path)) => {
                return Err(DriverError::new(Kind::Corrupt, format!("{} is a symbolic link", show(&path))));
            }
            Err(Trouble::Vanished(path)) => {
                let message = format!("{} vanished while it was verified", show(&path));
                return Err(DriverError::new(Kind::Unavailable, message));
            }
            Err(Trouble::Read(path, error)) => return Err(unreadable(&path, error)),
        };
        let kind = found.metadata.file_type();
        let (path, mode) = (found.entry_path(), found.metadata.mode());
        if kind.is_dir() {
            tree.add(&path, mode, &Content::Directory);
        } else if kind.is_symlink() {
            let target = fs::read_link(&found.path).map_err(|error| unreadable(&found.path, error))?;
            tree.add(&path, mode, &Content::Symlink { target: &target });
        } else if kind.is_file() {
            let sha256 = hash(&found, &mut buffer, watcher)?;
            tree.add(&path, mode, &Content::File { size_bytes: found.metadata.len(), sha256 });
        } else {
            tree.add(&path, mode, &Content::Fifo);
        }
        stop_if_cancelled(watcher)?;
    }
    Ok(tree)
}

fn hash(found: &Found, buffer: &mut [u8], watcher: &dyn Watcher) -> Result<[u8; 32], DriverError> {
    let fail = |error| unreadable(&found.path, error);
    let mut file = fs::File::open(&found.path).map_err(fail)?;
    let mut hash = Sha256::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(count) => {
                hash.update(&buffer[..count]);
                watcher.advance(count as u64);
                stop_if_cancelled(watcher)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(fail(error)),
        }
    }
}

fn stop_if_cancelled(watcher: &dyn Watcher) -> Result<(), DriverError> {
    if watcher.is_cancelled() {
        return Err(DriverError::new(Kind::Interrupted, "the verification was stopped"));
    }
    Ok(())
}

fn unreadable(path: &Path, error: std::io::Error) -> DriverError {
    DriverError::new(Kind::Unavailable, format!("cannot read {}", show(path))).with_source(error)
}

fn compare(witness: &Witness, found: &Witness) -> Result<(), DriverError> {
    if let Some(name) = witness.keys().find(|name| !found.contains_key(*name)) {
        return Err(DriverError::new(Kind::Unavailable, format!("the witness `{name}` is not known"))
            .with_hint("verify this backup with the version of Muster that made it, or a newer one"));
    }
    if !witness.contains_key(TREE) {
        let message = format!("the backup has no witness `{TREE}`: there is nothing to compare with");
        return Err(DriverError::new(Kind::Unavailable, message));
    }
    // Counts say more to people than a hash, so they are compared first.
    for name in ["files", "bytes", TREE] {
        let (Some(was), Some(is)) = (witness.get(name), found.get(name)) else { continue };
        if was != is {
            let message = format!("{name} is {is}, the backup had {was}");
            return Err(DriverError::new(Kind::Corrupt, message));
        }
    }
    Ok(())
}

fn evaluate(assertion: &Assertion, paths: &[PathBuf], places: &[PathBuf]) -> Result<(), DriverError> {
    let config = |message: String, hint: &str| DriverError::new(Kind::Config, message).with_hint(hint);
    let (None, Some(path)) = (&assertion.sql, &assertion.path) else {
        return Err(config(
            "an assertion about files has no `path`".into(),
            "write `{path: index.html}`, with `expect: \"> 0\"` for its size",
        ));
    };
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(config(format!("the asserted path {} has `..` in it", show(path)), "write it without"));
    }
    let candidates: Vec<(&Path, PathBuf)> = if path.is_absolute() {
        let below = paths.iter().zip(places).filter_map(|(from, place)| {
            let relative = path.strip_prefix(from).ok()?;
            Some((place.as_path(), relative.to_owned()))
        });
        below.collect()
    } else {
        places.iter().map(|place| (place.as_path(), path.clone())).collect()
    };
    if candidates.is_empty() {
        let message = format!("the asserted path {} does not belong to the component", show(path));
        return Err(config(message, "write it relative to one of the component's `paths`"));
    }
    let found = candidates.into_iter().find_map(|(place, relative)| look(place, &relative));
    let Some(metadata) = found else {
        return Err(DriverError::new(Kind::Corrupt, format!("{} is not there", show(path))));
    };
    let Some(wanted) = &assertion.expect else { return Ok(()) };
    if !metadata.is_file() {
        let message = format!("the asserted path {} is not a regular file", show(path));
        return Err(config(message, "leave out `expect`: only a file has a size"));
    }
    let size = metadata.len();
    if !expect::holds(&size.to_string(), wanted) {
        let message = format!("{} has {size} bytes, expected {wanted}", show(path));
        return Err(DriverError::new(Kind::Corrupt, message));
    }
    Ok(())
}

/// Looks below `place` without following a link on the way: it could lead out of a sandbox, to the live files.
fn look(place: &Path, relative: &Path) -> Option<fs::Metadata> {
    let mut at = place.to_owned();
    let mut metadata = fs::symlink_metadata(&at).ok()?;
    for part in relative.components().filter(|part| *part != Component::CurDir) {
        if !metadata.is_dir() {
            return None;
        }
        at.push(part);
        metadata = fs::symlink_metadata(&at).ok()?;
    }
    Some(metadata)
}
