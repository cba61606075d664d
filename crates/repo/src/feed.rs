//! Feeds a [`Source`] to the backup engine and remembers every error, because the engine only logs and skips them.
//!
//! In: a source. Out: its entries below `data/`, then `how-to-restore.txt` for whoever finds the repository without
//! Muster, then `muster.json`. That record is asked for when every other file was read to its end.
//!
//! ```text
//! data/…  how-to-restore.txt  muster.json      the engine looks one entry ahead: when it asks for `muster.json`,
//!    └─ read by the engine's threads ──┘       it has handed out everything up to `how-to-restore.txt`
//! ```
//!
//! Waiting for the readers before the last *data* entry was handed out would never end; the text between them is what
//! makes the wait safe, and `muster.json` has its right size because its content is there before its entry.
//!
//! A file that grows while it is read is cut at its stated size. One that shrinks ends early: the driver's `finish`
//! names it in the warnings. This module never hides an error of the source. Read next: `backup.rs`.

use std::{
    io::{self, Read},
    path::{Component, Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustic_core::{
    ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult,
    repofile::{Metadata, Node, NodeType},
};

use crate::{
    mode,
    source::{Entry, EntryKind, EntryMeta, Source, SourceError},
    storage::Storage,
};

/// What stands in every snapshot for a person without Muster. Always the same, so it is stored once.
const HOW_TO_RESTORE: &str = "\
This is a backup by Muster. The content is below data/, and muster.json tells what it is and where it stood.
Restore it with `muster restore`, or without Muster with `restic restore`: the repository has restic's format.
";

/// How long to sleep between two looks at files that are still being read.
const PAUSE: Duration = Duration::from_millis(1);

type Opener = Box<dyn FnOnce() -> Result<Box<dyn Read + Send>, SourceError> + Send>;
type Record = dyn Fn() -> Result<Vec<u8>, SourceError> + Send + Sync;

/// What the feeding threads share.
pub(crate) struct Shared {
    pub(crate) error: Mutex<Option<SourceError>>,
    pub(crate) is_cancelled: AtomicBool,
    pub(crate) bytes: AtomicU64,
    open_files: AtomicU64,
    storage: Arc<Storage>,
}

impl Shared {
    pub(crate) fn new(storage: Arc<Storage>) -> Self {
        Self {
            error: Mutex::new(None),
            is_cancelled: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            open_files: AtomicU64::new(0),
            storage,
        }
    }

    fn fail(&self, error: SourceError) -> Box<RusticError> {
        let message = error.to_string();
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        RusticError::new(ErrorKind::InputOutput, message)
    }

    /// Nothing that is read from now on could become part of a backup.
    fn has_failed(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
            || self.storage.has_fault()
            || self.error.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits for every reader and tells whether all of them came to their end.
    fn wait_for_readers(&self) -> bool {
        while self.open_files.load(Ordering::SeqCst) > 0 && !self.has_failed() {
            thread::sleep(PAUSE);
        }
        !self.has_failed()
    }
}

/// Counts a file as open until it is dropped, whether it was read or not.
struct Ticket(Arc<Shared>);

impl Ticket {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open_files.fetch_add(1, Ordering::SeqCst);
        Self(shared.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.open_files.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) struct Feed {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) record: Arc<Record>,
}

/// What opens one file.
pub(crate) struct Open {
    path: PathBuf,
    size: u64,
    opener: Opener,
    shared: Arc<Shared>,
    /// Nobody waits for what is no part of the source: the text before the record is still unread at that time.
    ticket: Option<Ticket>,
}

impl ReadSource for Feed {
    type Open = Open;
    type Iter = Box<dyn Iterator<Item = RusticResult<ReadSourceEntry<Open>>> + Send>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(self.source.size_bytes())
    }

    fn entries(&self) -> Self::Iter {
        let (shared, last, stop) = (self.shared.clone(), self.shared.clone(), self.shared.clone());
        let record = self.record.clone();
        let folder = std::iter::once(Ok(content_folder()));
        let mut order = Order::default();
        let content = self.source.entries().map(move |entry| {
            entry
                .and_then(|entry| order.check(entry))
                .map(|entry| convert(entry, &shared))
                .map_err(|error| shared.fail(error))
        });
        let end = [HOW_TO_RESTORE_NAME, RECORD_NAME].into_iter().map(move |name| {
            let content = if name == RECORD_NAME {
                if !last.wait_for_readers() {
                    return Err(RusticError::new(ErrorKind::InputOutput, "the backup has failed already"));
                }
                record().map_err(|error| last.fail(error))?
            } else {
                HOW_TO_RESTORE.as_bytes().to_vec()
            };
            Ok(constant(name, content, &last))
        });
        Box::new(folder.chain(content).chain(end).take_while(move |_| !stop.has_failed()))
    }
}

/// Makes sure that entries come in order and stay below the root: the engine would build a wrong tree without a word.
#[derive(Default)]
struct Order(PathBuf);

impl Order {
    fn check(&mut self, entry: Entry) -> Result<Entry, SourceError> {
        let is_plain = entry.path.components().all(|part| matches!(part, Component::Normal(_)));
        // Paths compare name by name, which is the order of a walk in depth with sorted names.
        if !is_plain || entry.path <= self.0 {
            return Err(SourceError::Other {
                message: format!("{} came after {}", entry.path.display(), self.0.display()),
                hint: Some("report this: entries of a backup must be relative and in order".into()),
                kind: muster_types::Kind::Bug,
            });
        }
        self.0.clone_from(&entry.path);
        Ok(entry)
    }
}

/// The names beside `data`, in byte order as the format wants it.
const HOW_TO_RESTORE_NAME: &str = "how-to-restore.txt";
pub(crate) const RECORD_NAME: &str = "muster.json";

/// The folder of the content is there even when the source has nothing.
fn content_folder() -> ReadSourceEntry<Open> {
    let meta = Metadata { mode: Some(mode::to_format(MODE_FOLDER)), ..Metadata::default() };
    let node = Node::new_node("data".as_ref(), NodeType::Dir, meta);
    ReadSourceEntry { path: "data".into(), node, open: None }
}

/// `st_mode` of a folder that its owner may use.
const MODE_FOLDER: u32 = 0o040_700;
/// `st_mode` of a file that its owner may use.
const MODE_FILE: u32 = 0o100_600;

fn constant(name: &str, content: Vec<u8>, shared: &Arc<Shared>) -> ReadSourceEntry<Open> {
    let size = content.len() as u64;
    let meta = Metadata { mode: Some(mode::to_format(MODE_FILE)), size, links: 1, ..Metadata::default() };
    let node = Node::new_node(name.as_ref(), NodeType::File, meta);
    let opener: Opener = Box::new(move || Ok(Box::new(io::Cursor::new(content))));
    let open = Open { path: name.into(), size, opener, shared: shared.clone(), ticket: None };
    ReadSourceEntry { path: name.into(), node, open: Some(open) }
}

fn convert(entry: Entry, shared: &Arc<Shared>) -> ReadSourceEntry<Open> {
    let path = Path::new("data").join(&entry.path);
    let mut meta = convert_meta(entry.meta);
    let mut opened = None;
    let kind = match entry.kind {
        EntryKind::Directory => NodeType::Dir,
        EntryKind::Symlink { target } => NodeType::from_link(&target),
        EntryKind::Fifo => NodeType::Fifo,
        EntryKind::File { size_bytes, open } => {
            meta.size = size_bytes;
            let ticket = Some(Ticket::new(shared));
            let (path, size, shared) = (entry.path, size_bytes, shared.clone());
            opened = Some(Open { path, size, opener: open, shared, ticket });
            NodeType::File
        }
    };
    let node = Node::new_node(path.file_name().unwrap_or_default(), kind, meta);
    ReadSourceEntry { path, node, open: opened }
}

fn convert_meta(meta: EntryMeta) -> Metadata {
    let mut converted = Metadata {
        mode: Some(mode::to_format(meta.mode)),
        mtime: meta.mtime,
        uid: Some(meta.uid),
        gid: Some(meta.gid),
        inode: meta.inode,
        device_id: meta.device,
        links: meta.links,
        ..Metadata::default()
    };
    for (name, value) in meta.xattrs {
        // The engine does not export the type, so an empty one is parsed and then filled.
        if let Ok(empty) = serde_json::from_str(r#"{"name":"","value":null}"#) {
            converted.extended_attributes.push(empty);
        }
        if let Some(attribute) = converted.extended_attributes.last_mut() {
            (attribute.name, attribute.value) = (name, Some(value));
        }
    }
    converted
}

impl ReadSourceOpen for Open {
    type Reader = Box<dyn Read + Send>;

    fn open(self) -> RusticResult<Self::Reader> {
        let Self { path, size, opener, shared, ticket } = self;
        let inner = opener().map_err(|error| shared.fail(error))?;
        Ok(Box::new(Counted { inner, path, left: size, shared, _ticket: ticket }))
    }
}

/// Reads no more than the stated number of bytes, counts them, and keeps the first error.
struct Counted {
    inner: Box<dyn Read + Send>,
    path: PathBuf,
    left: u64,
    shared: Arc<Shared>,
    _ticket: Option<Ticket>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let shared = &self.shared;
        if shared.has_failed() {
            return Err(io::Error::other("stopped"));
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        match self.inner.read(&mut buffer[..room]) {
            Ok(count) => {
                self.left -= count as u64;
                shared.bytes.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(source) if source.kind() == io::ErrorKind::Interrupted => Err(source),
            Err(source) => {
                let copy = io::Error::new(source.kind(), source.to_string());
                drop(shared.fail(SourceError::Read { path: self.path.clone(), source }));
                Err(copy)
            }
        }
    }
}
