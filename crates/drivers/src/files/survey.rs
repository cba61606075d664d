//! Looks at a component's files without reading them.
//!
//! In: the paths. Out: facts. Absent and unreadable files are facts too, so nothing here fails; a fingerprint is given
//! only when everything could be looked at.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_types::facts::ComponentFacts;

use super::{
    ledger::Mark,
    select::Selection,
    show::show_all,
    walk::{Walk, changed_at},
};
use crate::{processes, space};

/// Reads the facts.
pub(crate) fn survey(name: &str, paths: &[PathBuf], selection: Arc<Selection>) -> ComponentFacts {
    let open = processes::open_inodes();
    let mut facts = ComponentFacts {
        name: name.to_owned(),
        source: show_all(paths),
        is_present: paths.iter().any(|path| fs::symlink_metadata(path).is_ok()),
        has_data: paths.iter().any(|path| has_data(path)),
        size_bytes: 0,
        fingerprint: None,
        last_write: None,
        open_by: Vec::new(),
        beside: space::beside(paths),
        targets: paths.to_vec(),
        seal: None,
    };
    let (mut mark, mut is_readable, mut opened) = (Mark::default(), true, HashSet::new());
    for item in Walk::new(paths.to_vec(), selection) {
        let Ok(found) = item else {
            is_readable = false;
            continue;
        };
        mark.add(&found);
        let id = (found.metadata.dev(), found.metadata.ino());
        if open.contains(&id) {
            opened.insert(id);
        }
        if found.metadata.is_file() && !found.is_old {
            facts.size_bytes += found.metadata.len();
        }
        facts.last_write = facts.last_write.max(changed_at(&found.metadata));
    }
    facts.fingerprint = is_readable.then(|| mark.to_string());
    facts.open_by = processes::open_by(&opened);
    facts
}

/// Names the processes that have a file or folder below the paths open, also one that a backup leaves out.
pub(crate) fn open_by(paths: &[PathBuf]) -> Vec<String> {
    let open = processes::open_inodes();
    let opened: HashSet<(u64, u64)> = Walk::new(paths.to_vec(), Arc::default())
        .flatten()
        .map(|found| (found.metadata.dev(), found.metadata.ino()))
        .filter(|id| open.contains(id))
        .collect();
    if opened.is_empty() { Vec::new() } else { processes::open_by(&opened) }
}

/// Also what a backup leaves out is data that a swap would put aside.
fn has_data(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::read_dir(path).is_ok_and(|mut names| names.next().is_some()),
        Ok(found) => found.len() > 0,
        Err(_) => false,
    }
}

/// Finds a path where a file system is mounted, such as a container's volume: it cannot be renamed.
///
/// A folder of the same file system that is bound there is not seen; then the rename itself fails, before anything
/// was changed.
pub(crate) fn mount_point(paths: &[PathBuf]) -> Option<&Path> {
    let device = |path: &Path| fs::symlink_metadata(path).ok().map(|found| found.dev());
    paths.iter().map(PathBuf::as_path).find(|path| {
        let (own, above) = (device(path), path.parent().and_then(device));
        own.is_some() && above.is_some() && own != above
    })
}
