//! Copies a repository to another place, byte for byte: the same objects under the same names, opened by the same keys.
//!
//! ```text
//! keys, config ─► packs ─► index ─► snapshots ─► pins ─► WAL (history, pieces, mark) ─► state
//! ```
//! In: an open repository and a location. Out: what was sent, what was found damaged and replaced. Only what is missing
//! is sent. Each object is compared with its own name or seal before it is sent, and what makes others visible (keys,
//! index, snapshots) is read back; of the rest a sample is, or with [`CopyDepth::All`] everything that stands there.
//!
//! The order is the safety: whoever is killed in between leaves a repository that is whole and holds less. Nothing here
//! removes anything from the copy, so a repository that has lost files never empties it: that is `copy/thin.rs`.
//! A damaged object is never sent. Read next: `copy/mirror.rs`, `copy/log.rs`; `docs/decisions/0017-copies.md`.

mod log;
mod mirror;
mod thin;

use std::{fmt, sync::Mutex};

use muster_types::{ByteSize, event::Watcher};
use rustic_core::FileType;
use serde::Serialize;

use self::mirror::{Object, Seal};
pub use self::thin::ThinStats;
use crate::{
    error::RepoError,
    layout,
    location::Location,
    lock::Lock,
    place::{Fault, Root},
    repo::Repo,
    state, temporary,
    unlock::Cipher,
    verify::Finding,
};

/// How much of a copy is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDepth {
    /// What was sent just now: whatever makes other objects visible, and a sample of the rest.
    Sample,
    /// Everything that stands there. What is damaged is replaced.
    All,
}

/// How a copy is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOptions {
    /// Whether a new copy may be begun where nothing stands. Where one stood before, its disk may not be mounted.
    pub may_begin: bool,
    /// Whether files that change (pins, marks, the journal) are replaced where they differ. Not when a repository is
    /// mended from its copy: its own ones are newer.
    pub may_replace: bool,
    /// How much of it is read again.
    pub depth: CopyDepth,
    /// Count what would be sent, and send nothing.
    pub dry_run: bool,
}

/// What a copy came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CopyStats {
    /// Objects that were missing and were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Objects that were damaged or cut there, and were sent again.
    pub replaced: u64,
    /// Objects that were read again at the copy.
    pub checked: u64,
    /// Backups that the copy now has.
    pub backups: u64,
    /// Objects that only the copy has: what was pruned here since.
    pub extra: u64,
    /// Whether nothing was done.
    pub is_dry_run: bool,
    /// What is damaged here and could not be sent.
    pub damaged: Vec<Finding>,
}

impl fmt::Display for CopyStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_dry_run { "would be sent" } else { "sent" };
        write!(f, "{} objects {verb}, {}", self.sent, ByteSize(self.sent_bytes))?;
        if self.replaced > 0 {
            let verb = if self.is_dry_run { "would be replaced" } else { "replaced" };
            write!(f, "; {} damaged there, {verb}", self.replaced)?;
        }
        if !self.is_dry_run {
            write!(f, "; {} backups there, {} objects read again", self.backups, self.checked)?;
        }
        if self.extra > 0 {
            write!(f, "; {} objects only there", self.extra)?;
        }
        Ok(())
    }
}

/// What the parts of a copy share.
struct Job<'a> {
    from: &'a Root,
    to: &'a Root,
    cipher: &'a Cipher,
    options: CopyOptions,
    watcher: &'a dyn Watcher,
    stats: Mutex<CopyStats>,
}

impl Repo {
    /// Sends to `to` what is missing there. Run again after an interruption, it goes on where it was.
    ///
    /// # Errors
    /// `OtherRepository`, `NotEmpty`: something else stands there, and nothing was sent. `CopyGone`: a copy is expected
    /// there and nothing stands there. `Corrupt`: an object here is damaged; what does not need it was sent all the same.
    /// `Busy`, `Io`, `Store`, `Cancelled`: what was sent stays and counts.
    pub fn copy_to(
        &self,
        to: &Location,
        options: CopyOptions,
        watcher: &dyn Watcher,
    ) -> Result<CopyStats, RepoError> {
        // Nobody prunes here meanwhile: what was listed is there to the end.
        let _here = Lock::shared(self.path())?;
        let target = Root::open(to)?;
        let is_new = !self.is_copied_to(&target)?;
        if is_new && !options.may_begin {
            return Err(RepoError::CopyGone(target.shown()));
        }
        let _there = if options.dry_run { None } else { Some(Lock::shared(&target)?) };
        let job = Job {
            from: self.path(),
            to: &target,
            cipher: &self.unlocked()?.cipher,
            options,
            watcher,
            stats: Mutex::default(),
        };
        if !options.dry_run {
            if is_new {
                target.create()?;
            }
            target.remove_leftovers()?;
        }
        job.run()?;
        let mut stats = job.stats.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        stats.is_dry_run = options.dry_run;
        match stats.damaged.first() {
            Some(first) if !options.dry_run => Err(RepoError::Corrupt {
                object: first.object.clone(),
                message: format!("{}; what needs it was not copied", first.message),
            }),
            _ => Ok(stats),
        }
    }

    /// Tells whether a copy of this repository stands there; `false` when nothing does.
    ///
    /// # Errors
    /// `OtherRepository`, `NotEmpty`, or that nobody can tell.
    fn is_copied_to(&self, target: &Root) -> Result<bool, RepoError> {
        let names = target.top()?;
        let known = ["config", "data", "index", "keys", "snapshots", "locks", "muster"];
        if names.iter().any(|name| !known.contains(&name.as_str()) && !temporary::is_temporary(name)) {
            return Err(RepoError::NotEmpty(target.shown()));
        }
        let read = |root: &Root| match root.read("config") {
            Ok(content) => Ok(Some(content)),
            Err(Fault::Missing | Fault::Short) => Ok(None),
            Err(Fault::Failed(error)) => Err(error),
        };
        let keys = layout::list(&**target, FileType::Key)?;
        let own = layout::list(&**self.path(), FileType::Key)?;
        let config = read(target)?;
        let is_same = config.is_some() && config == read(self.path())?;
        // Its `config` may be damaged or lost, or not there yet; then it still has a key of ours.
        if is_same || keys.keys().any(|id| own.contains_key(id)) {
            return Ok(true);
        }
        let is_bare = config.is_none() && keys.is_empty();
        if is_bare && layout::list(&**target, FileType::Snapshot)?.is_empty() {
            return Ok(false);
        }
        Err(RepoError::OtherRepository(target.shown()))
    }
}

impl Job<'_> {
    fn run(&self) -> Result<(), RepoError> {
        // In this order: what is listed later holds what was listed before needs.
        let pins = self.plain("muster/pins")?;
        let snapshots = self.objects(FileType::Snapshot)?;
        let indexes = self.objects(FileType::Index)?;
        let packs = self.objects(FileType::Pack)?;
        self.mirror("keys", &self.objects(FileType::Key)?)?;
        self.mirror("config", &[Object { name: "config".into(), size: None, seal: Seal::File }])?;
        self.mirror("packs", &packs)?;
        if self.is_sound() {
            self.mirror("index", &indexes)?;
        }
        if self.is_sound() {
            self.mirror("snapshots", &snapshots)?;
        }
        let there = layout::list(&**self.to, FileType::Snapshot)?.len() as u64;
        self.count(|stats| stats.backups = there);
        self.mirror("pins", &pins)?;
        self.copy_log()?;
        self.mirror("state", &self.sealed(state::FOLDER)?)
    }

    /// Lists objects whose name is the hash of their content.
    fn objects(&self, tpe: FileType) -> Result<Vec<Object>, RepoError> {
        let found = layout::list(&**self.from, tpe)?;
        Ok(found
            .into_iter()
            .map(|(id, size)| Object { name: layout::place(tpe, &id), size: Some(size), seal: Seal::Name })
            .collect())
    }

    /// Lists small files that change, and have no seal.
    fn plain(&self, folder: &str) -> Result<Vec<Object>, RepoError> {
        self.changing(folder, || Seal::None)
    }

    /// Lists small files that change, and are sealed with the repository's key.
    fn sealed(&self, folder: &str) -> Result<Vec<Object>, RepoError> {
        self.changing(folder, || Seal::Key)
    }

    fn changing(&self, folder: &str, seal: impl Fn() -> Seal) -> Result<Vec<Object>, RepoError> {
        let mut found = self.from.list(folder)?;
        found.retain(|listed| !listed.file_name().starts_with('.'));
        found.sort_by(|one, other| one.name.cmp(&other.name));
        // Of two contents of the same length nobody can tell by a list which is the newer one.
        Ok(found.into_iter().map(|listed| Object { name: listed.name, size: None, seal: seal() }).collect())
    }

    fn is_sound(&self) -> bool {
        self.stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner).damaged.is_empty()
    }

    fn count(&self, change: impl FnOnce(&mut CopyStats)) {
        change(&mut self.stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}
