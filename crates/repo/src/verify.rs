//! Verifies a repository: names everything that is damaged, in one pass, and which backups depend on it.
//!
//! In: an open repository and what the caller's journal says must be there, because nothing in a repository tells
//! that a snapshot was deleted. Out: a [`VerifyReport`].
//!
//! ```text
//! config → keys → snapshots → index files → packs (there? right size?) → folders of every backup → [content of packs]
//! ```
//!
//! Snapshots are listed before the index, so a backup that ends meanwhile is either not seen or seen whole. One
//! damaged object never hides another, and nothing is repaired, moved or removed here. What is damaged but needed by
//! no backup is damage all the same; what is merely left over is a note.
//!
//! Read next: `verify/objects.rs`, `verify/index.rs`, `verify/trees.rs`, `verify/packs.rs`, `verify/impact.rs`.

mod impact;
mod index;
mod objects;
mod packs;
mod report;
mod trees;

use muster_types::{
    backup::BackupId,
    event::{Unwatched, Watcher},
};
use rustic_core::Id;

pub use self::report::{Finding, VerifyReport};
use self::trees::TreeFault;
use crate::{error::RepoError, lock::Lock, packs::Packs, place::Root, repo::Repo, temporary, unlock::Cipher};

/// How deep a verification goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VerifyDepth {
    /// Everything but the content of the packs with data: finds what is missing, cut or unreadable in structure.
    Structure,
    /// The content of the packs too: finds every changed bit of what was read.
    ReadData {
        /// How many of the packs, in percent, at least one; below 100 they are drawn by chance.
        percent: f64,
    },
}

/// What must be there as far as the caller knows. Empty: nothing is expected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Backups that were taken and not forgotten.
    pub backups: Vec<BackupId>,
    /// Names of key files, 64 hex digits each.
    pub keys: Vec<String>,
}

/// What the stages share.
struct Job<'a> {
    root: &'a Root,
    packs: Packs,
    cipher: &'a Cipher,
    watcher: &'a dyn Watcher,
    report: VerifyReport,
}

impl<'a> Job<'a> {
    fn new(root: &'a Root, cipher: &'a Cipher, watcher: &'a dyn Watcher) -> Self {
        Self { root, packs: Packs::new(root), cipher, watcher, report: VerifyReport::default() }
    }

    fn find(&mut self, object: impl Into<String>, message: impl Into<String>) {
        self.report.findings.push(Finding::new(object, message));
    }

    fn note(&mut self, object: impl Into<String>, message: impl Into<String>) {
        self.report.notes.push(Finding::new(object, message));
    }

    fn stop_if_cancelled(&self) -> Result<(), RepoError> {
        if self.watcher.is_cancelled() { Err(RepoError::Cancelled) } else { Ok(()) }
    }
}

/// Reads a file in the root of each of these trees, for snapshots whose description another program has dropped.
///
/// `None` where it cannot be had: a verification tells why.
pub(crate) fn read_root_files(
    repo: &Repo,
    roots: &[Id],
    name: &str,
) -> Result<Vec<Option<Vec<u8>>>, RepoError> {
    let cipher = &repo.unlocked()?.cipher;
    let mut job = Job::new(repo.path(), cipher, &Unwatched);
    let mut index = job.read_index()?;
    job.check_packs(&mut index)?;
    let read = |root| match job.read_file(&index, root, name) {
        Err(TreeFault::Unknown(error)) => Err(error),
        other => Ok(other.ok().flatten()),
    };
    roots.iter().map(read).collect()
}

impl Repo {
    /// Verifies the repository and names everything that is damaged.
    ///
    /// # Errors
    /// `Cancelled`, `Busy` while another process frees space, `Io` when a folder of the repository cannot even be
    /// listed, or `Store` when object storage does not answer. Damage is in the report.
    pub fn verify(
        &self,
        depth: VerifyDepth,
        expected: &Expected,
        watcher: &dyn Watcher,
    ) -> Result<VerifyReport, RepoError> {
        let _lock = Lock::shared(self.path())?;
        let cipher = &self.unlocked()?.cipher;
        let mut job = Job::new(self.path(), cipher, watcher);
        watcher.begin("verify the structure", None);
        if let Err(error) = self.read_config() {
            job.find("config", config_message(error)?);
        }
        job.check_keys(&expected.keys)?;
        let snapshots = job.check_snapshots(&expected.backups)?;
        let mut index = job.read_index()?;
        job.check_packs(&mut index)?;
        job.check_trees(&snapshots, &mut index)?;
        if let VerifyDepth::ReadData { percent } = depth {
            job.read_packs(&mut index, percent)?;
        }
        job.report_packs(&snapshots, &index)?;
        let (findings, notes) = self.wal().verify(matches!(depth, VerifyDepth::ReadData { .. }), watcher)?;
        job.report.findings.extend(findings);
        job.report.notes.extend(notes);
        job.report.findings.extend(self.damaged_states()?);
        job.note_leftovers()?;
        Ok(job.report)
    }
}

/// A disk that cannot be read is an error of the call; everything else is a finding.
fn config_message(error: RepoError) -> Result<String, RepoError> {
    match error {
        RepoError::Corrupt { message, .. } => Ok(message),
        RepoError::NewerFormat { .. } => Ok(format!("{error}: upgrade Muster")),
        RepoError::Io { source, .. } => Ok(format!("it cannot be read: {source}")),
        other => Err(other),
    }
}

impl Job<'_> {
    fn note_leftovers(&mut self) -> Result<(), RepoError> {
        let fail = |source| RepoError::Io { operation: "list", path: self.root.shown(), source };
        let Some(folder) = self.root.folder() else { return Ok(()) };
        for path in temporary::find(folder).map_err(fail)? {
            let name = path.strip_prefix(folder).unwrap_or(&path).display();
            let message =
                "a backup that runs now or was killed left it; the next backup removes it in the second case";
            self.report.notes.push(Finding::new(format!("temporary file {name}"), message));
        }
        Ok(())
    }
}
