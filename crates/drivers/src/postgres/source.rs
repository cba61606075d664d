//! A base backup as a source: archives in, files out, in the order in which the server sends them.
//!
//! ```text
//! archive of tablespace 16400 ─► 1/PG_15_…/5/1234
//! archive of the data directory ─► 0/base/5/1259, …, 0/global/pg_control, 0/pg_wal/0000…
//! manifest ─► 0/backup_manifest        what lies outside the data directory ─► 0/muster-settings/…
//! ```
//!
//! A link to a tablespace points to the tablespace's place in the backup (`../../1`) and never to the server's own:
//! a restored cluster that is started without any care must not touch the files of the one that it came from.
//!
//! The log that a standby has streams after the manifest: `0/pg_wal/0000…`, segment by segment.
//!
//! It reads the stream once, from one thread, and holds one message of it in memory.
//! Read next: `base_backup.rs`.

mod log;

use std::{
    collections::BTreeSet,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, Bytes};
use muster_repo::source::{Entry, EntryKind, EntryMeta, Source, SourceError, SourceSummary};
use muster_types::{Clock, Explain, Kind, Timestamp, backup::Witness, event::Unwatched};

pub(super) use self::log::segment_names;
use super::{
    base_backup::{BaseBackup, Begun, Ended, Part},
    manifest::Arrived,
    settings::{self, Settings},
    standby::{Standby, follow::Following},
    wire::Stopper,
};
use crate::DriverError;

/// The unit of a tar archive in bytes.
const BLOCK: u64 = 512;
/// A folder that only its owner may use.
const MODE_FOLDER: u32 = 0o040_700;
/// A file that only its owner may use.
const MODE_FILE: u32 = 0o100_600;

/// A base backup that is being received.
pub(super) struct PostgresSource {
    stream: Arc<Mutex<Stream>>,
    stoppers: Vec<Stopper>,
    begun: Begun,
    paths: Vec<PathBuf>,
    settings: Arc<Settings>,
    segment_bytes: u64,
    clock: Arc<dyn Clock>,
}

/// What the entries and their readers share.
struct Stream {
    backup: BaseBackup,
    /// Bytes of the present archive that were received and not read yet.
    ahead: Bytes,
    /// What ended the present archive.
    next: Option<Part>,
    /// Bytes until the next header: the rest of a file and what fills its last block.
    until_header: u64,
    consistent_at: Option<Timestamp>,
    ended: Option<Ended>,
    owner: (u32, u32),
    bytes: u64,
    arrived: Arrived,
    /// Where the server is a standby.
    standby: Option<Standby>,
    following: Option<Following>,
}

/// What is taken besides the stream.
pub(super) struct About {
    pub(super) begun: Begun,
    pub(super) paths: Vec<PathBuf>,
    pub(super) settings: Settings,
    /// Bytes of a file of log.
    pub(super) segment_bytes: u64,
    pub(super) clock: Arc<dyn Clock>,
}

impl PostgresSource {
    pub(super) fn new(
        backup: BaseBackup,
        standby: Option<Standby>,
        about: About,
    ) -> Result<Self, DriverError> {
        let About { begun, paths, settings, segment_bytes, clock } = about;
        let mut stoppers = vec![backup.connection().stopper()?];
        if let Some(standby) = &standby {
            stoppers.extend(standby.stoppers()?);
        }
        let stream = Stream {
            backup,
            ahead: Bytes::new(),
            next: None,
            until_header: 0,
            consistent_at: None,
            ended: None,
            owner: (0, 0),
            bytes: 0,
            arrived: Arrived::default(),
            standby,
            following: None,
        };
        let stream = Arc::new(Mutex::new(stream));
        Ok(Self { stream, stoppers, begun, paths, settings: Arc::new(settings), segment_bytes, clock })
    }
}

impl Source for PostgresSource {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let oids = self.begun.tablespaces.iter().map(|one| one.oid.clone()).collect();
        Box::new(Entries {
            stream: self.stream.clone(),
            oids,
            folder: None,
            stage: Stage::Archives,
            settings: self.settings.clone(),
            begun: self.begun.clone(),
            segment_bytes: self.segment_bytes,
            clock: self.clock.clone(),
        })
    }

    fn is_sorted(&self) -> bool {
        false
    }

    fn interrupt(&self) {
        self.stoppers.iter().for_each(Stopper::stop);
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.begun.size_bytes)
    }

    fn finish(&self) -> Result<SourceSummary, SourceError> {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(ended), Some(consistent_at)) = (&stream.ended, stream.consistent_at) else {
            return Err(SourceError::Other {
                message: "the base backup was not read to its end".into(),
                hint: None,
                kind: Kind::Bug,
            });
        };
        let witness = Witness::from([
            ("system_identifier".into(), self.settings.server.system_identifier.clone()),
            ("timeline".into(), self.begun.timeline.to_string()),
            ("stop_lsn".into(), ended.stop.to_string()),
        ]);
        Ok(SourceSummary {
            witness,
            consistent_at,
            warnings: self.settings.warnings.clone(),
            damage: ended.damage.clone(),
            fingerprint: format!("{}/{}", self.begun.timeline, ended.stop),
            size_bytes: stream.bytes,
        })
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }
}

/// What the entries are taken from at present.
enum Stage {
    Archives,
    /// Entries that are made here, last one first.
    Own(Vec<Entry>),
}

struct Entries {
    stream: Arc<Mutex<Stream>>,
    /// The oids of the tablespaces, in the order of the backup's paths from 1 on.
    oids: Vec<String>,
    /// The top folder of the present archive.
    folder: Option<String>,
    stage: Stage,
    settings: Arc<Settings>,
    begun: Begun,
    segment_bytes: u64,
    clock: Arc<dyn Clock>,
}

impl Iterator for Entries {
    type Item = Result<Entry, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Stage::Own(left) = &mut self.stage {
                return left.pop().map(Ok);
            }
            match self.step() {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(error) => {
                    self.stage = Stage::Own(Vec::new());
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Entries {
    /// Goes on to the next header; `None` when there is nothing to hand out yet.
    fn step(&mut self) -> Result<Option<Entry>, SourceError> {
        let shared = self.stream.clone();
        let mut stream = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if self.folder.is_some()
            && let Some(header) = stream.header()?
        {
            return self.entry(&mut stream, &header);
        }
        let part = match stream.next.take() {
            Some(part) => part,
            None => stream.next()?,
        };
        match part {
            Part::Archive(oid) => {
                let index =
                    oid.map_or(Some(0), |oid| Some(self.oids.iter().position(|one| *one == oid)? + 1));
                let index = index.ok_or_else(|| strange("an archive of an unknown tablespace came"))?;
                (self.folder, stream.until_header) = (Some(index.to_string()), 0);
                Ok(None)
            }
            Part::Manifest => {
                self.folder = None;
                let manifest = stream.manifest()?;
                std::mem::take(&mut stream.arrived)
                    .compare(&manifest, |path| path.starts_with(settings::FOLDER))
                    .map_err(changed)?;
                Ok(Some(plain("0/backup_manifest", manifest, stream.owner)))
            }
            Part::Data(_) => Err(strange("data came without an archive")),
            Part::End => {
                let ended = stream.backup.end(&Unwatched).map_err(|error| stream.told(error))?;
                let (ended, log) = self.log_of_standby(&mut stream, ended)?;
                let taken = (&self.begun, &ended);
                let mut own =
                    own_entries(&self.settings, taken, self.oids.len(), stream.owner, self.clock.now())?;
                // The last one comes first, and the log has to come in order.
                own.extend(log.into_iter().rev());
                self.stage = Stage::Own(own);
                stream.ended = Some(ended);
                Ok(None)
            }
        }
    }

    fn entry(&self, stream: &mut Stream, header: &tar::Header) -> Result<Option<Entry>, SourceError> {
        let wrong = |_| strange("a header of the archive cannot be read");
        let path = header.path().map_err(wrong)?;
        let name = path.to_string_lossy().trim_start_matches("./").trim_end_matches('/').to_owned();
        let size_bytes = header.size().map_err(wrong)?;
        let is_data_directory = self.folder.as_deref() == Some("0");
        let seconds = i64::try_from(header.mtime().map_err(wrong)?).unwrap_or_default();
        let owned = |id: io::Result<u64>| u32::try_from(id.unwrap_or_default()).unwrap_or_default();
        stream.owner = (owned(header.uid()), owned(header.gid()));
        let mut meta = EntryMeta {
            mode: header.mode().map_err(wrong)? & 0o7777,
            uid: stream.owner.0,
            gid: stream.owner.1,
            mtime: Timestamp::from_second(seconds).ok(),
            links: 1,
            ..EntryMeta::default()
        };
        // The folder of an earlier restore is made anew, and the top folders come at the end.
        let is_left_out =
            name.is_empty() || name == "." || is_data_directory && name.starts_with(settings::FOLDER);
        let kind = match header.entry_type() {
            tar::EntryType::Directory => {
                meta.mode |= 0o040_000;
                EntryKind::Directory
            }
            tar::EntryType::Symlink => {
                meta.mode |= 0o120_000;
                let target = header.link_name().map_err(wrong)?.unwrap_or_default().into_owned();
                EntryKind::Symlink { target: self.link(&name, target) }
            }
            tar::EntryType::Regular => {
                if is_data_directory && name == "global/pg_control" {
                    // It is sent last, and the server ends the backup after it: all that is committed by now is in it.
                    stream.consistent_at = Some(self.clock.now());
                }
                meta.mode |= 0o100_000;
                stream.arrived.begin(self.manifest_path(&name));
                stream.until_header = size_bytes.next_multiple_of(BLOCK);
                stream.bytes += size_bytes;
                let reader = FileReader { stream: self.stream.clone(), left: size_bytes };
                EntryKind::File { size_bytes, open: Box::new(move || Ok(Box::new(reader))) }
            }
            _ => return Err(strange(&format!("`{name}` is neither a file nor a folder nor a link"))),
        };
        if is_left_out {
            return Ok(None);
        }
        let folder = self.folder.as_deref().unwrap_or_default();
        Ok(Some(Entry { path: format!("{folder}/{name}").into(), kind, meta }))
    }

    /// The path of a file of the present archive as the manifest has it.
    fn manifest_path(&self, name: &str) -> String {
        let index =
            self.folder.as_deref().and_then(|folder| folder.parse::<usize>().ok()).unwrap_or_default();
        match index.checked_sub(1).and_then(|index| self.oids.get(index)) {
            Some(oid) => format!("pg_tblspc/{oid}/{name}"),
            None => name.to_owned(),
        }
    }

    /// Turns the link to a tablespace to its place in the backup.
    fn link(&self, name: &str, target: PathBuf) -> PathBuf {
        let oid = name.strip_prefix("pg_tblspc/");
        match oid.and_then(|oid| self.oids.iter().position(|one| one == oid)) {
            Some(index) => format!("../../{}", index + 1).into(),
            None => target,
        }
    }
}

impl Stream {
    /// Waits for the next part of the backup.
    fn next(&mut self) -> Result<Part, SourceError> {
        self.backup.next(&Unwatched).map_err(|error| self.told(error))
    }

    /// Says what an error means.
    fn told(&mut self, error: DriverError) -> SourceError {
        told(match &mut self.standby {
            Some(standby) => standby.explain(error, &Unwatched),
            None => error,
        })
    }

    /// Reads the next header of the present archive; `None` at its end.
    fn header(&mut self) -> Result<Option<tar::Header>, SourceError> {
        while self.until_header > 0 {
            if !self.receive()? {
                return Err(strange("the archive ends within a file"));
            }
            let skipped = self.until_header.min(self.ahead.len() as u64);
            self.ahead.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
            self.until_header -= skipped;
        }
        let mut header = tar::Header::new_old();
        let mut filled = 0;
        while filled < header.as_bytes().len() {
            if !self.receive()? {
                return if filled == 0 { Ok(None) } else { Err(strange("the archive ends within a header")) };
            }
            let count = self.ahead.len().min(header.as_bytes().len() - filled);
            header.as_mut_bytes()[filled..filled + count].copy_from_slice(&self.ahead[..count]);
            self.ahead.advance(count);
            filled += count;
        }
        // Two empty blocks end an archive; more than that may follow and is passed over block by block.
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return self.header();
        }
        Ok(Some(header))
    }

    /// Makes sure that there are bytes of the present archive ahead; `false` at its end.
    fn receive(&mut self) -> Result<bool, SourceError> {
        while self.ahead.is_empty() {
            if self.next.is_some() {
                return Ok(false);
            }
            match self.next()? {
                Part::Data(bytes) => self.ahead = bytes,
                other => self.next = Some(other),
            }
        }
        Ok(true)
    }

    /// The manifest has no stated size: it is small, and is read as a whole.
    fn manifest(&mut self) -> Result<Vec<u8>, SourceError> {
        let mut manifest = Vec::new();
        while self.receive()? {
            manifest.extend_from_slice(&std::mem::take(&mut self.ahead));
        }
        Ok(manifest)
    }
}

/// Reads one file of the present archive.
struct FileReader {
    stream: Arc<Mutex<Stream>>,
    left: u64,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if !stream.receive().map_err(io::Error::other)? {
            return Err(io::Error::other("the archive ends within a file"));
        }
        let count =
            buffer.len().min(stream.ahead.len()).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buffer[..count].copy_from_slice(&stream.ahead[..count]);
        stream.arrived.add(&buffer[..count]);
        stream.ahead.advance(count);
        stream.until_header -= count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// What is no part of the stream: the top folders, and what the server keeps outside its data directory.
pub(super) fn own_entries(
    settings: &Settings,
    (begun, ended): (&Begun, &Ended),
    tablespaces: usize,
    owner: (u32, u32),
    made_at: Timestamp,
) -> Result<Vec<Entry>, SourceError> {
    let mut own: Vec<Entry> =
        (0..=tablespaces).map(|index| folder(&index.to_string(), owner, made_at)).collect();
    let mut folders = BTreeSet::from([PathBuf::from(settings::FOLDER)]);
    for (name, content) in settings.files(begun, ended).map_err(told)? {
        let path = Path::new(settings::FOLDER).join(name);
        // Each folder says whose it is: one that root owns would stop the server's own tools.
        folders.extend(
            path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).map(Path::to_owned),
        );
        own.push(plain(&format!("0/{}", path.display()), content, owner));
    }
    own.extend(folders.iter().map(|path| folder(&format!("0/{}", path.display()), owner, made_at)));
    Ok(own)
}

fn folder(path: &str, (uid, gid): (u32, u32), made_at: Timestamp) -> Entry {
    let meta =
        EntryMeta { mode: MODE_FOLDER, uid, gid, mtime: Some(made_at), links: 1, ..EntryMeta::default() };
    Entry { path: path.into(), kind: EntryKind::Directory, meta }
}

pub(super) fn plain(path: &str, content: Vec<u8>, (uid, gid): (u32, u32)) -> Entry {
    let meta = EntryMeta { mode: MODE_FILE, uid, gid, links: 1, ..EntryMeta::default() };
    let size_bytes = content.len() as u64;
    let open = Box::new(move || Ok(Box::new(io::Cursor::new(content)) as Box<dyn Read + Send>));
    Entry { path: path.into(), kind: EntryKind::File { size_bytes, open }, meta }
}

pub(super) fn told(error: DriverError) -> SourceError {
    let hint = error.hint().map(|hint| hint.0);
    SourceError::Other { message: error.to_string(), hint, kind: error.kind() }
}

fn changed(message: String) -> SourceError {
    let hint = "try again; when it comes back, look at the network to the server and at this host's memory";
    SourceError::Other { message, hint: Some(hint.into()), kind: Kind::Unavailable }
}

fn strange(what: &str) -> SourceError {
    SourceError::Other {
        message: format!("the base backup is not as PostgreSQL sends it: {what}"),
        hint: Some("is there something between Muster and the server that changes the stream?".into()),
        kind: Kind::Unavailable,
    }
}
