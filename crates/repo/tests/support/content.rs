//! Sources made of bytes in memory, for tests of the repository.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use muster_repo::{
    BackupHeader, Location, Repo,
    source::{Entry, EntryKind, EntryMeta, Source, SourceError, SourceSummary},
};
use muster_types::{
    Secret, Timestamp,
    backup::{Backup, Identity, Method, RunId, Witness},
    event::Unwatched,
};

/// Files by path, and sizes that are stated for some of them although they are not true.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) stated: BTreeMap<PathBuf, u64>,
    /// Of all folders.
    pub(crate) folder_mode: u32,
}

impl Content {
    pub(crate) fn new() -> Self {
        Self { files: BTreeMap::new(), stated: BTreeMap::new(), folder_mode: 0o040_755 }
    }

    pub(crate) fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    /// States another size than the true one, as for a file that changes while it is read.
    pub(crate) fn stated(mut self, path: &str, size: u64) -> Self {
        self.stated.insert(path.into(), size);
        self
    }

    fn list(&self) -> Vec<Entry> {
        let meta = |mode| EntryMeta { mode, links: 1, ..EntryMeta::default() };
        let mut entries = Vec::new();
        let mut folders: Vec<PathBuf> = Vec::new();
        for (path, content) in &self.files {
            let mut above: Vec<&Path> =
                path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).collect();
            above.reverse();
            for folder in above {
                if !folders.iter().any(|known| known == folder) {
                    folders.push(folder.to_owned());
                    let kind = EntryKind::Directory;
                    entries.push(Entry { path: folder.to_owned(), kind, meta: meta(self.folder_mode) });
                }
            }
            let size_bytes = self.stated.get(path).copied().unwrap_or(content.len() as u64);
            let content = content.clone();
            let open = Box::new(move || Ok(Box::new(std::io::Cursor::new(content)) as Box<dyn Read + Send>));
            let kind = EntryKind::File { size_bytes, open };
            entries.push(Entry { path: path.clone(), kind, meta: meta(0o100_644) });
        }
        entries
    }
}

impl Source for Content {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        Box::new(self.list().into_iter().map(Ok))
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.files.values().map(|content| content.len() as u64).sum())
    }

    fn finish(&self) -> Result<SourceSummary, SourceError> {
        Ok(SourceSummary {
            witness: Witness::new(),
            consistent_at: Timestamp::UNIX_EPOCH,
            warnings: self.stated.keys().map(|p| format!("changed while read: {}", p.display())).collect(),
            damage: Vec::new(),
            fingerprint: String::new(),
            size_bytes: self.size_bytes().unwrap(),
        })
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec!["/srv/uploads".into()]
    }
}

/// The same bytes for the same seed; they do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

pub(crate) fn header(component: &str) -> BackupHeader {
    let text = |text: &str| text.to_owned();
    BackupHeader {
        identity: Identity {
            platform: text("sandbox"),
            environment: text("default"),
            component: text(component),
            kind: text("files"),
            host: text("host"),
            source: text("/srv/uploads"),
        },
        method: Method::Consistent,
        run: RunId("20260501T100203Z-test".into()),
        begun_at: Timestamp::UNIX_EPOCH,
        label: None,
        pin: false,
        muster: "0.1.0".into(),
    }
}

pub(crate) const KEY: &str = "a key for tests only";

pub(crate) fn location(folder: &Path) -> Location {
    folder.to_str().unwrap().parse().unwrap()
}

pub(crate) fn create(folder: &Path) -> Repo {
    Repo::init(&location(folder), &Secret::new(KEY)).unwrap()
}

pub(crate) fn open(folder: &Path) -> Result<Repo, muster_repo::RepoError> {
    Repo::open(&location(folder), &Secret::new(KEY))
}

pub(crate) fn back_up(repo: &Repo, content: &Content) -> Backup {
    repo.back_up(Box::new(content.clone()), header("uploads"), &Unwatched).unwrap()
}

/// Runs `restic` on a repository and returns what it said, or its complaints.
pub(crate) fn restic(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = std::process::Command::new("restic");
    command.args(["--no-cache", "-r"]).arg(folder).args(arguments).env("RESTIC_PASSWORD", KEY);
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(said) }
}
