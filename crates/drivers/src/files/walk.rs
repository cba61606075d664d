//! Walks the paths of a component depth first, the names of one folder in byte order.
//!
//! In: the paths and a [`Selection`]. Out: one item per folder, file, link and pipe, with what `lstat` says; a folder
//! comes before what is in it. With `include`, a folder that was not asked for comes only when something below it does.
//! File systems that are mounted below a path are walked too: to the services that use it they are one tree.
//!
//! It holds the names of the folders on the way down and nothing else, so the number of files does not matter. It never
//! follows a symbolic link, and never ends at the first error: what an error means is for the caller to say.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_types::Timestamp;

use super::select::Selection;

/// Something that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// The place of its path in the list of paths.
    pub(crate) index: usize,
    /// Relative to that path; empty for the path itself.
    pub(crate) relative: PathBuf,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What `lstat` says.
    pub(crate) metadata: Metadata,
    /// A regular file that the component's `max_age` leaves out: it counts for the fingerprint only, because growing
    /// old is no write.
    pub(crate) is_old: bool,
}

impl Found {
    /// Its name in a backup: `0/uploads/a.txt`.
    pub(crate) fn entry_path(&self) -> PathBuf {
        let top = PathBuf::from(self.index.to_string());
        if self.relative.as_os_str().is_empty() { top } else { top.join(&self.relative) }
    }
}

/// Why something cannot be told.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A path of the component is not there.
    Absent(PathBuf),
    /// A path of the component is itself a symbolic link.
    Link(PathBuf),
    /// Its name was listed, and then it was gone.
    Vanished(PathBuf),
    /// It cannot be looked at.
    Read(PathBuf, io::Error),
}

/// Returns when a file's content last changed.
pub(crate) fn changed_at(metadata: &Metadata) -> Option<Timestamp> {
    Timestamp::new(metadata.mtime(), i32::try_from(metadata.mtime_nsec()).ok()?).ok()
}

/// The walk; ends after the last path.
pub(crate) struct Walk {
    /// What is still to be walked; the names in a backup come in byte order, so `10` comes before `2`.
    paths: std::vec::IntoIter<(usize, PathBuf)>,
    index: usize,
    selection: Arc<Selection>,
    stack: Vec<Folder>,
    ready: VecDeque<Result<Found, Trouble>>,
}

/// A folder on the way down.
struct Folder {
    relative: PathBuf,
    path: PathBuf,
    /// What is still to be visited, the next one last.
    names: Vec<(OsString, bool)>,
    /// Whether everything below is asked for.
    is_included: bool,
    /// The folder itself, as long as nothing below it was asked for.
    pending: Option<Found>,
}

impl Walk {
    /// Begins at the first path.
    pub(crate) fn new(paths: Vec<PathBuf>, selection: Arc<Selection>) -> Self {
        let mut paths: Vec<(usize, PathBuf)> = paths.into_iter().enumerate().collect();
        paths.sort_by_key(|(index, _)| index.to_string());
        Self { paths: paths.into_iter(), index: 0, selection, stack: Vec::new(), ready: VecDeque::new() }
    }

    fn begin(&mut self, index: usize, path: PathBuf) {
        self.index = index;
        match fs::symlink_metadata(&path) {
            Err(error) if is_absent(&error) => self.ready.push_back(Err(Trouble::Absent(path))),
            Err(error) => self.ready.push_back(Err(Trouble::Read(path, error))),
            Ok(metadata) if metadata.is_symlink() => self.ready.push_back(Err(Trouble::Link(path))),
            Ok(metadata) => {
                let found = Found { index, relative: PathBuf::new(), path, metadata, is_old: false };
                // The path itself is always there, even when nothing below it was asked for.
                let is_included = self.selection.is_included(Path::new(""), true);
                self.take(found, true, is_included);
            }
        }
    }

    fn visit(&mut self, index: usize, name: OsString, is_folder: bool) {
        let Some(parent) = self.stack.last() else { return };
        let (relative, path) = (parent.relative.join(&name), parent.path.join(&name));
        let is_included = parent.is_included || self.selection.is_included(&relative, is_folder);
        // Before it is looked at: what is excluded may come and go.
        if self.selection.is_excluded(&relative, is_folder) || !is_folder && !is_included {
            return;
        }
        match fs::symlink_metadata(&path) {
            Err(error) if is_absent(&error) => self.ready.push_back(Err(Trouble::Vanished(path))),
            Err(error) => self.ready.push_back(Err(Trouble::Read(path, error))),
            Ok(metadata) => {
                let is_old = metadata.is_file() && !self.selection.is_young(changed_at(&metadata));
                let found = Found { index, relative, path, metadata, is_old };
                if is_old {
                    self.ready.push_back(Ok(found));
                } else {
                    self.take(found, is_included, is_included);
                }
            }
        }
    }

    /// Hands it out, now or, for a folder nobody asked for, when something below it is.
    fn take(&mut self, found: Found, is_wanted: bool, is_included: bool) {
        let folder = found.metadata.is_dir().then(|| (found.relative.clone(), found.path.clone()));
        let mut pending = None;
        if is_wanted {
            let parents = self.stack.iter_mut().filter_map(|folder| folder.pending.take());
            self.ready.extend(parents.map(Ok));
            self.ready.push_back(Ok(found));
        } else {
            pending = Some(found);
        }
        if let Some((relative, path)) = folder {
            match names_in(&path) {
                Ok(names) => self.stack.push(Folder { relative, path, names, is_included, pending }),
                Err(error) if is_absent(&error) => self.ready.push_back(Err(Trouble::Vanished(path))),
                Err(error) => self.ready.push_back(Err(Trouble::Read(path, error))),
            }
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Found, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            match self.stack.last_mut().map(|folder| folder.names.pop()) {
                Some(Some((name, is_folder))) => self.visit(self.index, name, is_folder),
                Some(None) => drop(self.stack.pop()),
                None => {
                    let (index, path) = self.paths.next()?;
                    self.begin(index, path);
                }
            }
        }
    }
}

/// Names with whether each is a folder, in falling byte order.
fn names_in(folder: &Path) -> io::Result<Vec<(OsString, bool)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        names.push((entry.file_name(), is_folder));
    }
    names.sort_unstable_by(|a, b| b.0.cmp(&a.0));
    Ok(names)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
