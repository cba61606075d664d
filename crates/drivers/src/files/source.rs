//! Hands the files of a component to the repository.
//!
//! In: the paths and the [`Selection`]. Out: entries, each file already open, so that a file that is replaced or removed
//! afterwards is still read as it was. The repository bounds how many are open at a time.
//!
//! It never skips what it cannot read. Only a raw copy does, which takes what is left of a damaged component; and it
//! names what it has skipped.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use muster_repo::source::{Entry, EntryKind, EntryMeta, Source, SourceError, SourceSummary};
use muster_types::{
    Clock, Kind, Timestamp,
    backup::{Checkout, Method},
};
use rustix::fs::OFlags;
use xattr::FileExt;

use super::{
    content::FileContent,
    digest::Content,
    ledger::Ledger,
    select::Selection,
    show::show,
    walk::{Found, Trouble, Walk, changed_at},
};

/// The files of a component, as they are read.
pub(crate) struct FilesSource {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) selection: Arc<Selection>,
    pub(crate) method: Method,
    pub(crate) clock: Arc<dyn Clock>,
    /// For progress only.
    pub(crate) size_bytes: Option<u64>,
    pub(crate) begun_at: OnceLock<Timestamp>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) checkouts: Vec<Checkout>,
}

impl Source for FilesSource {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        self.begun_at.get_or_init(|| self.clock.now());
        let reader = Reader {
            is_only_path: self.paths.len() == 1,
            is_tolerant: self.method == Method::Raw,
            ledger: self.ledger.clone(),
        };
        let ledger = self.ledger.clone();
        let end = std::iter::from_fn(move || {
            ledger.end_list();
            None
        });
        let walk = Walk::new(self.paths.clone(), self.selection.clone());
        Box::new(walk.filter_map(move |item| reader.convert(item).transpose()).chain(end))
    }

    fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    fn finish(&self) -> Result<SourceSummary, SourceError> {
        let consistent_at = self.begun_at.get().copied();
        let (Some(balance), Some(consistent_at)) = (self.ledger.balance(), consistent_at) else {
            return Err(SourceError::Other {
                message: "not every file that was listed was read to its end".into(),
                hint: None,
                kind: Kind::Bug,
            });
        };
        Ok(SourceSummary {
            witness: balance.witness,
            consistent_at,
            warnings: balance.warnings,
            damage: Vec::new(),
            fingerprint: balance.fingerprint,
            size_bytes: balance.size_bytes,
        })
    }

    fn checkouts(&self) -> Vec<Checkout> {
        self.checkouts.clone()
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }
}

/// Turns what the walk finds into entries.
struct Reader {
    is_only_path: bool,
    is_tolerant: bool,
    ledger: Arc<Ledger>,
}

impl Reader {
    /// `None` for what is left out.
    fn convert(&self, item: Result<Found, Trouble>) -> Result<Option<Entry>, SourceError> {
        let result = item.and_then(|found| {
            self.ledger.mark(&found);
            if found.is_old { Ok(None) } else { self.entry(found) }
        });
        match result {
            Ok(entry) => Ok(entry),
            Err(Trouble::Link(path)) => Err(link(&path)),
            Err(trouble) if self.is_tolerant => {
                self.ledger.warn(match trouble {
                    Trouble::Absent(path) => format!("not there: {}", show(&path)),
                    Trouble::Vanished(path) => format!("vanished before it was read: {}", show(&path)),
                    Trouble::Link(path) | Trouble::Read(path, _) => format!("unreadable: {}", show(&path)),
                });
                Ok(None)
            }
            Err(Trouble::Absent(path)) => Err(SourceError::Other {
                message: format!("{} is not there", show(&path)),
                hint: Some("is its disk mounted? else correct `paths` of the component".into()),
                kind: Kind::NotFound,
            }),
            Err(Trouble::Vanished(path)) => Err(SourceError::Vanished { path }),
            Err(Trouble::Read(path, source)) => Err(SourceError::Read { path, source }),
        }
    }

    fn entry(&self, found: Found) -> Result<Option<Entry>, Trouble> {
        let kind = found.metadata.file_type();
        if kind.is_file() {
            return self.file(found).map(Some);
        }
        let (path, mode) = (found.entry_path(), found.metadata.mode());
        let entry_kind = if kind.is_dir() {
            self.ledger.add(&path, mode, &Content::Directory);
            EntryKind::Directory
        } else if kind.is_symlink() {
            let target = fs::read_link(&found.path).map_err(|error| trouble(&found.path, error))?;
            self.ledger.add(&path, mode, &Content::Symlink { target: &target });
            EntryKind::Symlink { target }
        } else if kind.is_fifo() {
            self.ledger.add(&path, mode, &Content::Fifo);
            EntryKind::Fifo
        } else {
            let what = if kind.is_socket() { "a socket" } else { "a device" };
            self.ledger.warn(format!("left out, {what}: {}", self.name(&found)));
            return Ok(None);
        };
        let attributes = self
            .xattrs(&found, || xattr::list(&found.path), |name| xattr::get(&found.path, name))
            .map_err(|error| trouble(&found.path, error))?;
        Ok(Some(Entry { path, kind: entry_kind, meta: meta(&found.metadata, attributes) }))
    }

    fn file(&self, found: Found) -> Result<Entry, Trouble> {
        let fail = |error| trouble(&found.path, error);
        let (file, before) = open(&found.path).map_err(fail)?;
        let attributes =
            self.xattrs(&found, || file.list_xattr(), |name| file.get_xattr(name)).map_err(fail)?;
        let (path, meta) = (found.entry_path(), meta(&before, attributes));
        let size_bytes = before.len();
        let content = FileContent::new(
            file,
            before,
            path.clone(),
            self.name(&found),
            self.is_tolerant,
            self.ledger.clone(),
        );
        self.ledger.list_file();
        let open = Box::new(move || Ok(Box::new(content) as Box<dyn Read + Send>));
        Ok(Entry { path, kind: EntryKind::File { size_bytes, open }, meta })
    }

    /// Reads all attributes. A file system that has none is no error.
    fn xattrs(
        &self,
        found: &Found,
        list: impl FnOnce() -> io::Result<xattr::XAttrs>,
        get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<Vec<(String, Vec<u8>)>> {
        let names = match list() {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut attributes = Vec::new();
        for name in names {
            let Some(text) = name.to_str() else {
                // The repository's format has no place for it.
                self.ledger
                    .warn(format!("left out, an attribute without a text as name: {}", self.name(found)));
                continue;
            };
            if let Some(value) = get(&name)? {
                attributes.push((text.to_owned(), value));
            }
        }
        Ok(attributes)
    }

    /// Its name for people: below the only path, relative to it.
    fn name(&self, found: &Found) -> String {
        let is_below = self.is_only_path && !found.relative.as_os_str().is_empty();
        show(if is_below { &found.relative } else { &found.path })
    }
}

/// The error for a path of the component that is itself a symbolic link.
///
/// Its content could be read, but a restore would put a folder in place of the link and leave the link's target, where
/// the data was, as it is.
pub(crate) fn link(path: &Path) -> SourceError {
    let target = fs::canonicalize(path).map_or_else(|_| "the place that it points to".into(), |to| show(&to));
    SourceError::Other {
        message: format!("{} is a symbolic link", show(path)),
        hint: Some(format!("name {target} in `paths` instead")),
        kind: Kind::Config,
    }
}

/// Opens a regular file and nothing else: what was replaced by a link or a pipe since it was listed has vanished.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn trouble(path: &Path, error: io::Error) -> Trouble {
    let is_gone = matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput
    ) || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    if is_gone { Trouble::Vanished(path.to_owned()) } else { Trouble::Read(path.to_owned(), error) }
}

fn meta(metadata: &Metadata, xattrs: Vec<(String, Vec<u8>)>) -> EntryMeta {
    EntryMeta {
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: changed_at(metadata),
        inode: metadata.ino(),
        device: metadata.dev(),
        links: metadata.nlink(),
        xattrs,
    }
}
