//! A real folder as a source, and a repository to put it into.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use muster_repo::{BackupHeader, Location, Repo, source::*};
use muster_types::{Secret, Timestamp, backup::*, event::Unwatched};
use xattr::FileExt;

pub const KEY: &str = "a key for tests only";

/// Reads folders as they are, `paths[i]` as `i`; absent ones are left out.
pub struct Folders(pub Vec<PathBuf>);

impl Source for Folders {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let mut found = Vec::new();
        for (index, path) in self.0.iter().enumerate() {
            collect(path, Path::new(&index.to_string()), &mut found);
        }
        Box::new(found.into_iter().map(Ok))
    }
    fn size_bytes(&self) -> Option<u64> {
        None
    }
    fn finish(&self) -> Result<SourceSummary, SourceError> {
        Ok(SourceSummary {
            witness: Witness::new(),
            consistent_at: Timestamp::UNIX_EPOCH,
            warnings: vec![],
            damage: Vec::new(),
            fingerprint: String::new(),
            size_bytes: 0,
        })
    }
    fn paths(&self) -> Vec<PathBuf> {
        self.0.clone()
    }
}

fn collect(path: &Path, name: &Path, found: &mut Vec<Entry>) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let file_type = metadata.file_type();
    let mut meta = EntryMeta {
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: Timestamp::new(metadata.mtime(), i32::try_from(metadata.mtime_nsec()).unwrap()).ok(),
        inode: metadata.ino(),
        device: metadata.dev(),
        links: metadata.nlink(),
        xattrs: vec![],
    };
    if file_type.is_file() || file_type.is_dir() {
        let file = File::open(path).unwrap();
        for name in file.list_xattr().unwrap() {
            let value = file.get_xattr(&name).unwrap().unwrap();
            meta.xattrs.push((name.to_str().unwrap().into(), value));
        }
    }
    let copy = path.to_owned();
    let kind = if file_type.is_dir() {
        EntryKind::Directory
    } else if file_type.is_symlink() {
        EntryKind::Symlink { target: fs::read_link(path).unwrap() }
    } else if file_type.is_file() {
        let open = Box::new(move || Ok(Box::new(File::open(copy).unwrap()) as Box<_>));
        EntryKind::File { size_bytes: metadata.len(), open }
    } else {
        EntryKind::Fifo
    };
    found.push(Entry { path: name.into(), kind, meta });
    if file_type.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for child in names {
            collect(&path.join(&child), &name.join(&child), found);
        }
    }
}

pub fn header(component: &str, pin: bool) -> BackupHeader {
    let text = || "x".to_owned();
    BackupHeader {
        identity: Identity {
            platform: text(),
            environment: text(),
            component: component.into(),
            kind: text(),
            host: "the-host".into(),
            source: text(),
        },
        method: Method::Consistent,
        run: RunId("r".into()),
        begun_at: Timestamp::UNIX_EPOCH,
        label: None,
        pin,
        muster: "0".into(),
    }
}

/// A folder that goes with the test, with a repository in `r`.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub repo: Repo,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location: Location = folder.path().join("r").to_str().unwrap().parse().unwrap();
        let repo = Repo::init(&location, &Secret::new(KEY)).unwrap();
        Self { folder, repo }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn repository(&self) -> PathBuf {
        self.path("r")
    }

    pub fn open(&self, key: &str) -> Result<Repo, muster_repo::RepoError> {
        let location: Location = self.repository().to_str().unwrap().parse().unwrap();
        Repo::open(&location, &Secret::new(key))
    }

    pub fn back_up(&self, paths: &[&Path]) -> BackupId {
        let source = Folders(paths.iter().map(|path| path.to_path_buf()).collect());
        self.repo.back_up(Box::new(source), header("files", false), &Unwatched).unwrap().id
    }

    pub fn restic(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("restic");
        command.args(["--no-cache", "-r"]).arg(self.repository()).args(arguments);
        command.env("RESTIC_PASSWORD", KEY).output().unwrap()
    }

    #[track_caller]
    pub fn check(&self) {
        let output = self.restic(&["check", "--read-data"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Makes a folder with `count` files of `size` random bytes; the same seed makes the same ones.
pub fn random_files(folder: &Path, seed: u64, count: usize, size: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    fs::create_dir_all(folder).unwrap();
    for number in 0..count {
        let mut content = vec![0; size];
        random.fill(&mut content);
        fs::File::create(folder.join(format!("{number}"))).unwrap();
        std::io::Write::write_all(&mut File::create(folder.join(format!("{number}"))).unwrap(), &content)
            .unwrap();
    }
}
