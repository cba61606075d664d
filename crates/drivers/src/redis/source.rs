//! The backup of a Redis server as a source: `0/config.json`, `0/dump.rdb`, `0/server.json`, `0/users.acl`.
//!
//! In: an RDB stream that has begun, and what the server said before. Out: entries in byte order. The stream is read once
//! and by one thread; nothing of it is held but a few pieces. Read next: `stream.rs`.

use std::{
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use muster_repo::source::{Entry, EntryKind, EntryMeta, SIZE_UNKNOWN, Source, SourceError, SourceSummary};
use muster_types::{Kind, Timestamp};

use super::{
    description::{Description, RDB},
    rdb::Contents,
    scratch::Scratch,
    stream::{Judged, Judgement, RdbStream, told},
    witness,
};
use crate::{DriverError, socket::Stopper};

const MODE_FOLDER: u32 = 0o040_700;
const MODE_FILE: u32 = 0o100_600;

/// What was known when the stream began.
pub(super) struct Begun {
    /// The server had every write in memory that it had accepted before.
    pub(super) consistent_at: Timestamp,
    pub(super) fingerprint: String,
    pub(super) description: Description,
    /// What the server stands for in a list of paths.
    pub(super) path: PathBuf,
}

/// An RDB that is being received.
pub(super) struct RedisSource {
    stream: Arc<Mutex<Option<RdbStream>>>,
    stopper: Stopper,
    size_bytes: Option<u64>,
    judgement: Judgement,
    begun: Arc<Begun>,
    /// The scratch server that it comes from, when it is not the component's own.
    _server: Option<Scratch>,
}

impl RedisSource {
    pub(super) fn new(stream: RdbStream, begun: Begun, server: Option<Scratch>) -> Result<Self, DriverError> {
        Ok(Self {
            _server: server,
            stopper: stream.connection().stopper()?,
            size_bytes: stream.size_bytes(),
            stream: Arc::new(Mutex::new(Some(stream))),
            judgement: Judgement::default(),
            begun: Arc::new(begun),
        })
    }

    fn contents(&self) -> Result<Contents, SourceError> {
        let found = self.judgement.lock().unwrap_or_else(PoisonError::into_inner).clone();
        found.ok_or_else(|| bug("the RDB was not read to its end"))
    }
}

impl Source for RedisSource {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let mut first = vec![Ok(folder())];
        match self.begun.description.file_before() {
            Ok(file) => first.extend(file.map(|(name, content)| Ok(plain(name, content)))),
            Err(error) => first.push(Err(told(&error))),
        }
        first.push(Ok(self.rdb()));
        let (judgement, begun) = (self.judgement.clone(), self.begun.clone());
        // Made when it is asked for: the RDB was read by then.
        let behind = std::iter::once_with(move || {
            let contents = judgement.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(contents) = contents else { return vec![Err(bug("the RDB was not read to its end"))] };
            match begun.description.files_behind(&contents) {
                Ok(files) => files.into_iter().map(|(name, content)| Ok(plain(name, content))).collect(),
                Err(error) => vec![Err(told(&error))],
            }
        });
        Box::new(first.into_iter().chain(behind.flatten()))
    }

    fn interrupt(&self) {
        self.stopper.stop();
    }

    fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    fn finish(&self) -> Result<SourceSummary, SourceError> {
        let contents = self.contents()?;
        let mut warnings = self.begun.description.warnings.clone();
        if contents.checksum.is_none() {
            warnings.push("the server writes no checksums into its RDB (`rdbchecksum no`): that it came whole is known only by its shape".into());
        }
        if let Some(what) = &contents.uncounted {
            warnings.push(format!(
                "this version of Muster does not know {what} of RDB {}: keys are not counted, the backup holds them",
                contents.version
            ));
        }
        if !contents.modules.is_empty() {
            let names: Vec<&str> = contents.modules.iter().map(String::as_str).collect();
            warnings.push(format!(
                "values of modules are in it ({}): a server without them cannot load it",
                names.join(", ")
            ));
        }
        Ok(SourceSummary {
            witness: witness::of(&contents),
            consistent_at: self.begun.consistent_at,
            warnings,
            damage: Vec::new(),
            fingerprint: self.begun.fingerprint.clone(),
            size_bytes: contents.bytes,
        })
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.begun.path.clone()]
    }
}

impl RedisSource {
    fn rdb(&self) -> Entry {
        let (stream, judgement) = (self.stream.clone(), self.judgement.clone());
        let moment = self.begun.consistent_at.as_millisecond();
        let open = Box::new(move || {
            let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            let stream = taken.ok_or_else(|| bug("the RDB was asked for twice"))?;
            Ok(Box::new(Judged::new(stream, moment, judgement)) as Box<dyn Read + Send>)
        });
        // Also where the server has said how long it is: only the end of the stream tells that it is whole.
        let kind = EntryKind::File { size_bytes: SIZE_UNKNOWN, open };
        Entry { path: format!("0/{RDB}").into(), kind, meta: meta(MODE_FILE) }
    }
}

fn meta(mode: u32) -> EntryMeta {
    EntryMeta { mode, links: 1, ..EntryMeta::default() }
}

fn folder() -> Entry {
    Entry { path: "0".into(), kind: EntryKind::Directory, meta: meta(MODE_FOLDER) }
}

fn plain(name: &str, content: Vec<u8>) -> Entry {
    let size_bytes = content.len() as u64;
    let open = Box::new(move || Ok(Box::new(io::Cursor::new(content)) as Box<dyn Read + Send>));
    Entry {
        path: format!("0/{name}").into(),
        kind: EntryKind::File { size_bytes, open },
        meta: meta(MODE_FILE),
    }
}

fn bug(message: &str) -> SourceError {
    SourceError::Other { message: message.into(), hint: None, kind: Kind::Bug }
}
