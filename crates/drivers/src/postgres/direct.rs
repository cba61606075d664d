//! A backup whose files Muster reads itself, on the server's own host, in the form in which the server would send it.
//!
//! ```text
//! slot ─► pg_backup_start ─► files of tablespaces and data directory, several threads ─► pg_control
//!     ─► pg_backup_stop ─► its log ─► backup_label ─► manifest ─► what lies outside the data directory
//! ```
//! In: an SQL session, which is in backup mode while it lives, and a replication session, whose temporary slot keeps the
//! log. Out: the same entries as those of `source.rs`: whatever reads a backup need not know how it was taken. Both sessions
//! end with this process, whatever happens, and so does the backup mode.
//!
//! `pg_control` comes last of the files: what it promises must be in the backup. There is no `tablespace_map`, as over the
//! network: it would lead a restored server to the folders of the one that it came from. It never writes a file.
//!
//! Read next: `direct/here.rs` for whose files these are, `direct/pool.rs` for how they are read.

mod control;
pub(super) mod here;
mod log;
mod pages;
mod pool;
mod walk;

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_repo::source::{Entry, EntryKind, Source, SourceError, SourceSummary};
use muster_types::{
    Clock, Kind, Lsn, Timestamp,
    backup::Witness,
    event::{Unwatched, Watcher},
};

use self::{
    here::Unfit,
    pool::{Checks, Part, Piece, Pool, Shared},
    walk::{Root, Walk, meta},
};
use super::{
    address::Address,
    base_backup::{self, Begun, Ended, Tablespace},
    manifest::{About, Written},
    ready,
    settings::Settings,
    source::{own_entries, plain, told},
    wire::{Connection, Purpose, Stopper},
};
use crate::DriverError;

/// So many changing pages are remembered, to be compared with the end of the backup.
const CHANGING_MAX: usize = 10_000;

/// What a backup is taken of.
pub(super) struct Request<'a> {
    pub(super) address: &'a Address,
    /// The data directory, as `here` has found it.
    pub(super) folder: &'a Path,
    pub(super) clock: Arc<dyn Clock>,
}

/// A backup that is being read.
pub(super) struct DirectSource {
    taking: Arc<Mutex<Taking>>,
    plan: Arc<Plan>,
    stopper: Stopper,
    pool: Mutex<Option<Arc<Shared>>>,
}

/// What does not change while it is read.
struct Plan {
    data: PathBuf,
    owner: (u32, u32),
    begun: Begun,
    settings: Settings,
    clock: Arc<dyn Clock>,
    checks: Checks,
    /// The name of the folder in each tablespace that is this version's.
    version_folder: String,
}

/// What the entries and their readers share.
struct Taking {
    sql: Connection,
    /// Its slot keeps the log until it was read.
    _slot: Connection,
    manifest: Written,
    present: Option<Present>,
    damage: Vec<String>,
    changing: Vec<(String, Lsn)>,
    warnings: Vec<String>,
    bytes: u64,
    consistent_at: Option<Timestamp>,
    ended: Option<Ended>,
}

/// The file that is being read.
struct Present {
    listed: PathBuf,
    size_bytes: u64,
    changed: Option<Timestamp>,
    crc: u32,
}

/// Begins a backup: waits for an immediate checkpoint.
///
/// # Errors
/// What the server refuses; a lost connection; `Interrupted`. The inner error: the files are those of another server.
pub(super) fn begin(
    request: &Request<'_>,
    mut settings: Settings,
    watcher: &dyn Watcher,
) -> Result<Result<DirectSource, Unfit>, DriverError> {
    let data = request.folder.to_owned();
    let mut slot = Connection::open(request.address, Purpose::Replication, watcher)?;
    let name = base_backup::keep_log(&mut slot, watcher)?;
    if let Err(unfit) = here::holds_slot(&data, &name) {
        return Ok(Err(unfit));
    }
    let mut sql = Connection::open(request.address, Purpose::Sql, watcher)?;
    // The session is idle while the files are read, and it is the backup.
    sql.query("SET idle_session_timeout = 0; SET statement_timeout = 0", watcher)?;
    let sizes = "SELECT current_setting('block_size'), \
                 (SELECT setting FROM pg_settings WHERE name = 'segment_size'), \
                 (SELECT catalog_version_no FROM pg_control_system()), \
                 (SELECT sum(pg_database_size(oid)) FROM pg_database)";
    let rows = sql.query(sizes, watcher)?;
    let field = |index: usize| rows.first().and_then(|row| row.get(index)?.clone()).unwrap_or_default();
    let number = |index: usize| field(index).parse::<u64>().ok().filter(|number| *number > 0);
    let (Some(page), Some(segment)) = (number(0), number(1)) else {
        return Err(sql.confused("the sizes of its pages and files"));
    };
    let version_folder = format!("PG_{}_{}", ready::major(settings.server.version), field(2));
    if let Err(unfit) = here::holds_tablespaces(&data, &tablespaces(&data)?, &version_folder) {
        return Ok(Err(unfit));
    }
    watcher.begin("wait for a checkpoint", None);
    let rows = sql.query(
        "SELECT lsn, substr(pg_walfile_name(lsn), 1, 8) FROM pg_backup_start('muster', true) AS lsn",
        watcher,
    )?;
    let place = || {
        let row = rows.first()?;
        let start: Lsn = row.first()?.as_deref()?.parse().ok()?;
        Some((start, u32::from_str_radix(row.get(1)?.as_deref()?, 16).ok()?))
    };
    let (start, timeline) = place().ok_or_else(|| sql.confused("a position in the log"))?;
    let owner = fs::metadata(&data).map(|found| meta(&found)).unwrap_or_default();
    let checks = Checks {
        start: settings.server.has_checksums.then_some(start),
        page_bytes: usize::try_from(page).unwrap_or(usize::MAX),
        segment_pages: u32::try_from(segment).unwrap_or(u32::MAX),
    };
    settings.server.transport = "local".into();
    let begun = Begun {
        start,
        timeline,
        tablespaces: tablespaces(&data)?,
        size_bytes: number(3).unwrap_or_default(),
    };
    let stopper = sql.stopper()?;
    let plan = Plan {
        data,
        owner: (owner.uid, owner.gid),
        begun,
        settings,
        clock: request.clock.clone(),
        checks,
        version_folder,
    };
    let taking = Taking {
        sql,
        _slot: slot,
        manifest: Written::default(),
        present: None,
        damage: Vec::new(),
        changing: Vec::new(),
        warnings: Vec::new(),
        bytes: 0,
        consistent_at: None,
        ended: None,
    };
    let (taking, plan) = (Arc::new(Mutex::new(taking)), Arc::new(plan));
    Ok(Ok(DirectSource { taking, plan, stopper, pool: Mutex::new(None) }))
}

/// The tablespaces that the server has by now, in the order of their numbers.
fn tablespaces(data: &Path) -> Result<Vec<Tablespace>, DriverError> {
    let folder = data.join("pg_tblspc");
    let failed = |error: io::Error| {
        DriverError::new(Kind::Unavailable, format!("cannot read {}: {error}", folder.display()))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.is_symlink()) {
            let target = fs::read_link(&path).map_err(failed)?;
            found.push((number, Tablespace { oid: number.to_string(), path: target.display().to_string() }));
        }
    }
    found.sort_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, one)| one).collect())
}

impl Plan {
    /// What has to be walked: tablespaces first, as the server sends them.
    fn roots(&self) -> Vec<Root> {
        let spaces = self.begun.tablespaces.iter().enumerate().map(|(index, space)| {
            let name = Path::new(&self.version_folder);
            Root {
                folder: self.data.join("pg_tblspc").join(&space.oid).join(name),
                place: Path::new(&(index + 1).to_string()).join(name),
                listed: Path::new("pg_tblspc").join(&space.oid).join(name),
                is_data: false,
            }
        });
        let data =
            Root { folder: self.data.clone(), place: "0".into(), listed: PathBuf::new(), is_data: true };
        spaces.chain([data]).collect()
    }

    fn own(&self, path: &Path, content: Vec<u8>) -> Entry {
        plain(&path.display().to_string(), content, self.owner)
    }
}

impl Source for DirectSource {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let oids = self.plan.begun.tablespaces.iter().map(|one| one.oid.clone()).collect();
        let pool = Pool::begin(Walk::new(self.plan.roots(), oids), self.plan.checks);
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Some(pool.shared());
        let stage = Stage::Files(pool);
        Box::new(Entries { taking: self.taking.clone(), plan: self.plan.clone(), stage })
    }

    fn is_sorted(&self) -> bool {
        false
    }

    fn interrupt(&self) {
        self.stopper.stop();
        if let Some(pool) = &*self.pool.lock().unwrap_or_else(PoisonError::into_inner) {
            pool.stop();
        }
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.plan.begun.size_bytes)
    }

    fn finish(&self) -> Result<SourceSummary, SourceError> {
        let taking = lock(&self.taking);
        let (Some(ended), Some(consistent_at)) = (&taking.ended, taking.consistent_at) else {
            return Err(SourceError::Other {
                message: "the files were not read to their end".into(),
                hint: None,
                kind: Kind::Bug,
            });
        };
        let (begun, settings) = (&self.plan.begun, &self.plan.settings);
        let witness = Witness::from([
            ("system_identifier".into(), settings.server.system_identifier.clone()),
            ("timeline".into(), begun.timeline.to_string()),
            ("stop_lsn".into(), ended.stop.to_string()),
        ]);
        Ok(SourceSummary {
            witness,
            consistent_at,
            warnings: settings.warnings.iter().chain(&taking.warnings).cloned().collect(),
            damage: ended.damage.clone(),
            fingerprint: format!("{}/{}", begun.timeline, ended.stop),
            size_bytes: taking.bytes,
        })
    }

    fn paths(&self) -> Vec<PathBuf> {
        let spaces = self.plan.begun.tablespaces.iter().map(|one| PathBuf::from(&one.path));
        std::iter::once(self.plan.data.clone()).chain(spaces).collect()
    }
}

/// What the entries are taken from at present.
enum Stage {
    Files(Pool),
    /// Entries that are made here, last one first.
    Own(Vec<Entry>),
}

struct Entries {
    taking: Arc<Mutex<Taking>>,
    plan: Arc<Plan>,
    stage: Stage,
}

impl Iterator for Entries {
    type Item = Result<Entry, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let step = match &mut self.stage {
                Stage::Own(left) => return left.pop().map(Ok),
                Stage::Files(pool) => {
                    let shared = pool.shared();
                    match shared.next() {
                        Some(part) => part.and_then(|part| self.entry(part, shared)),
                        None => self.end().map(|own| {
                            self.stage = Stage::Own(own);
                            None
                        }),
                    }
                }
            };
            match step {
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
    fn entry(&self, part: Part, shared: Arc<Shared>) -> Result<Option<Entry>, SourceError> {
        let (found, kind) = match part {
            Part::More(_) => return Err(bug("a file went on that had not begun")),
            Part::Other(found) => {
                let kind = match &found.kind {
                    walk::Kind::Folder => EntryKind::Directory,
                    walk::Kind::Link(target) => EntryKind::Symlink { target: target.clone() },
                    _ => {
                        let line = format!(
                            "{} is neither a file nor a folder: it is not in the backup",
                            found.file.display()
                        );
                        lock(&self.taking).warnings.push(line);
                        return Ok(None);
                    }
                };
                (found, kind)
            }
            Part::File { found, size_bytes, first } => {
                let mut taking = lock(&self.taking);
                taking.bytes += size_bytes;
                taking.present = Some(Present {
                    listed: found.listed.clone(),
                    size_bytes,
                    changed: found.meta.mtime,
                    crc: 0,
                });
                taking.take(&first);
                let reader = FileReader { taking: self.taking.clone(), shared, piece: first, read: 0 };
                (found, EntryKind::File { size_bytes, open: Box::new(move || Ok(Box::new(reader))) })
            }
        };
        Ok(Some(Entry { path: found.path, kind, meta: found.meta }))
    }

    /// Everything was read but the control file: ends the backup.
    fn end(&self) -> Result<Vec<Entry>, SourceError> {
        let plan = &*self.plan;
        let mut taking = lock(&self.taking);
        // The server ends the backup after this: all that is committed by now is in it.
        taking.consistent_at = Some(plan.clock.now());
        let control = control::read(&plan.data, &plan.settings.server.system_identifier)?;
        let rows =
            taking.sql.query("SELECT lsn, labelfile FROM pg_backup_stop(false)", &Unwatched).map_err(told)?;
        let place = || {
            let row = rows.first()?;
            Some((row.first()?.as_deref()?.parse::<Lsn>().ok()?, row.get(1)?.clone()?))
        };
        let Some((stop, label)) = place() else {
            return Err(told(taking.sql.confused("the end of a backup")));
        };
        let own = |path: PathBuf, content: Vec<u8>| plan.own(&path, content);
        let mut entries: Vec<Entry> = walk::log_folders(&plan.data)
            .map(|(name, meta)| Entry { path: Path::new("0").join(name), kind: EntryKind::Directory, meta })
            .collect();
        let stretch = (plan.begun.start, stop);
        entries.extend(log::entries(
            &plan.data,
            plan.begun.timeline,
            stretch,
            plan.settings.segment_bytes,
            &own,
        )?);
        for (name, content) in [(control::NAME, control), ("backup_label", label.into_bytes())] {
            let size_bytes = content.len() as u64;
            taking.bytes += size_bytes;
            taking.manifest.add(
                Path::new(name),
                size_bytes,
                Some(plan.clock.now()),
                crc32c::crc32c(&content),
            );
            entries.push(own(Path::new("0").join(name), content));
        }
        let about = About {
            major: ready::major(plan.settings.server.version),
            system_identifier: &plan.settings.server.system_identifier,
            timeline: plan.begun.timeline,
            start: plan.begun.start,
            stop,
        };
        entries.push(own("0/backup_manifest".into(), taking.manifest.finish(&about)));
        let ended = Ended { stop, damage: taking.damage(stop) };
        let spaces = plan.begun.tablespaces.len();
        entries.extend(own_entries(
            &plan.settings,
            (&plan.begun, &ended),
            spaces,
            plan.owner,
            plan.clock.now(),
        )?);
        taking.ended = Some(ended);
        entries.reverse();
        Ok(entries)
    }
}

impl Taking {
    /// Counts a piece in, when it comes.
    fn take(&mut self, piece: &Piece) {
        let Some(present) = &mut self.present else { return };
        present.crc = crc32c::crc32c_combine(present.crc, piece.crc, piece.bytes.len());
        self.damage.extend(piece.damage.iter().cloned());
        self.changing
            .extend(piece.changing.iter().take(CHANGING_MAX.saturating_sub(self.changing.len())).cloned());
        if piece.is_last {
            self.manifest.add(&present.listed, present.size_bytes, present.changed, present.crc);
            self.present = None;
        }
    }

    /// A page that does not fit and says that it was changed after the end of the backup was not: it is damaged.
    fn damage(&self, stop: Lsn) -> Vec<String> {
        let impossible = self.changing.iter().filter(|(_, at)| *at > stop).map(|(page, at)| {
            format!("checksum verification failed in {page}: it says that it was changed at {at}, the log ends at {stop}")
        });
        self.damage.iter().cloned().chain(impossible).collect()
    }
}

/// Reads one file.
struct FileReader {
    taking: Arc<Mutex<Taking>>,
    shared: Arc<Shared>,
    piece: Piece,
    /// Bytes of the piece that were read.
    read: usize,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.bytes.len() {
            if self.piece.is_last || buffer.is_empty() {
                return Ok(0);
            }
            let piece = match self.shared.next() {
                Some(Ok(Part::More(piece))) => piece,
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(_)) | None => return Err(io::Error::other(bug("a file ended before its end"))),
            };
            lock(&self.taking).take(&piece);
            let done = std::mem::replace(&mut self.piece, piece);
            self.shared.give_back(done.bytes);
            self.read = 0;
        }
        let rest = self.piece.bytes.get(self.read..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

impl Drop for FileReader {
    fn drop(&mut self) {
        self.shared.give_back(std::mem::take(&mut self.piece.bytes));
    }
}

fn lock(taking: &Mutex<Taking>) -> MutexGuard<'_, Taking> {
    taking.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bug(what: &str) -> SourceError {
    SourceError::Other { message: what.into(), hint: None, kind: Kind::Bug }
}
