//! Sources that are streams: in an order of their own, on one thread, and blocking for as long as they like.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/content.rs"]
mod content;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use content::{Content, back_up, create, header, noise, restic};
use muster_repo::{
    RepoError,
    source::{Entry, EntryKind, EntryMeta, Source, SourceError, SourceSummary},
};
use muster_types::{
    Explain, Kind,
    event::{Unwatched, Watcher},
};

/// Bytes of a chunk.
const CHUNK: usize = 512 * 1024;
/// A backup that has not ended by then hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// What came over the wire, in its order. A file is read from the one stream that all share.
struct Stream {
    entries: Vec<(PathBuf, Option<Vec<u8>>)>,
    is_sorted: bool,
    /// Entries that were asked for, less files that were read to their end.
    open: Arc<AtomicUsize>,
    /// Whether the contract was broken.
    is_broken: Arc<AtomicBool>,
}

impl Stream {
    fn new(entries: Vec<(PathBuf, Option<Vec<u8>>)>) -> Self {
        Self { entries, is_sorted: false, open: Arc::default(), is_broken: Arc::default() }
    }
}

/// One file of the stream. It is open until its last byte was read or nobody holds it.
struct Part(io::Cursor<Vec<u8>>, Arc<AtomicUsize>, thread::ThreadId, Arc<AtomicBool>);

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if thread::current().id() != self.2 {
            self.3.store(true, Ordering::SeqCst);
        }
        // A network hands out small and uneven pieces.
        let length = buffer.len().min(77_777);
        self.0.read(&mut buffer[..length])
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source for Stream {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let (open, is_broken) = (self.open.clone(), self.is_broken.clone());
        Box::new(self.entries.clone().into_iter().map(move |(path, content)| {
            if open.load(Ordering::SeqCst) != 0 {
                is_broken.store(true, Ordering::SeqCst);
            }
            let mode = if content.is_some() { 0o100_640 } else { 0o040_750 };
            let kind = content.map_or(EntryKind::Directory, |content| {
                open.fetch_add(1, Ordering::SeqCst);
                let (open, asked_by, is_broken) = (open.clone(), thread::current().id(), is_broken.clone());
                let size_bytes = content.len() as u64;
                let part = Part(io::Cursor::new(content), open, asked_by, is_broken);
                EntryKind::File { size_bytes, open: Box::new(move || Ok(Box::new(part))) }
            });
            Ok(Entry { path, kind, meta: EntryMeta { mode, links: 1, ..EntryMeta::default() } })
        }))
    }
    fn is_sorted(&self) -> bool {
        self.is_sorted
    }
    fn size_bytes(&self) -> Option<u64> {
        None
    }
    fn finish(&self) -> Result<SourceSummary, SourceError> {
        assert_eq!(self.open.load(Ordering::SeqCst), 0, "finish was called before the last file was read");
        Content::new().finish()
    }
    fn paths(&self) -> Vec<PathBuf> {
        Content::new().paths()
    }
}

/// Files of every awkward size, in several hundred folders and files, and what they are by path.
fn awkward() -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for number in 0..400_usize {
        let folder = format!("0/base/{}/{}", number % 17, number % 5);
        // Every tenth content is the same, every seventh file is empty.
        let length = if number % 7 == 0 { 0 } else { number * 37 };
        files.insert(format!("{folder}/{number}").into(), noise(number as u64 % 10, length));
    }
    for (name, length) in
        [("n", 3 * CHUNK), ("less", 3 * CHUNK - 1), ("more", 3 * CHUNK + 1), ("large", 34 << 20)]
    {
        files.insert(format!("0/sizes/{name}").into(), noise(1000 + length as u64, length));
    }
    let large = files[Path::new("0/sizes/large")].clone();
    files.insert("0/sizes/large again".into(), large);
    files.insert(format!("0/{}bottom", "deep/".repeat(60)).into(), b"deep".to_vec());
    for name in ["a", "a.b", "a b", "a-b", "B", "ä", "a/below"].map(|name| format!("0/names/{name}")) {
        let name = name.replace("names/a/", "names/a0/");
        files.insert(name.into(), b"name".to_vec());
    }
    files.insert("0/global/pg_control".into(), vec![1; 8192]);
    files
}

/// The same in an order that no walk has: shuffled, some folders before and some after, the control file last.
fn shuffled(files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut entries: Vec<_> =
        files.iter().map(|(path, content)| (path.clone(), Some(content.clone()))).collect();
    entries.extend(["0", "0/base", "0/sizes", "0/empty", "0/global"].map(|path| (path.into(), None)));
    fastrand::Rng::with_seed(7).shuffle(&mut entries);
    entries.sort_by_key(|(path, _)| path.ends_with("pg_control"));
    entries
}

#[test]
fn a_stream_in_any_order_is_restored_whole_and_its_folders_are_sorted() {
    let folder = tempfile::tempdir().unwrap();
    let (place, out, ours) = (folder.path().join("r"), folder.path().join("o"), folder.path().join("ours"));
    let (repo, files) = (create(&place), awkward());
    let stream = Stream::new(shuffled(&files));
    let is_broken = stream.is_broken.clone();
    let backup = repo.back_up(Box::new(stream), header("uploads"), &Unwatched).unwrap();
    assert!(!is_broken.load(Ordering::SeqCst), "an entry was asked for too early, or read by another thread");
    restic(&place, &["check", "--read-data"]).unwrap();
    restic(&place, &["restore", "latest", "--target", out.to_str().unwrap()]).unwrap();
    repo.restore(&backup.id, std::slice::from_ref(&ours), &Unwatched).unwrap();
    for (path, content) in &files {
        assert!(fs::read(out.join("data").join(path)).unwrap() == *content, "{}", path.display());
        let below = path.strip_prefix("0").unwrap();
        assert!(fs::read(ours.join(below)).unwrap() == *content, "{}", path.display());
    }
    let mode = |path: &str| fs::metadata(out.join("data").join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        [mode("0/base"), mode("0/empty"), mode("0/deep"), mode("0/base/1")],
        [0o750, 0o750, 0o700, 0o700]
    );
    assert_trees_are_sorted(&place);
}

/// Lists what restic sees, which it does in the order of the trees, and compares the names in each folder.
fn assert_trees_are_sorted(place: &Path) {
    let list = restic(place, &["ls", "latest", "--json"]).unwrap();
    let mut last: BTreeMap<PathBuf, String> = BTreeMap::new();
    for line in list.lines() {
        let node: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(path) = node["path"].as_str().map(PathBuf::from) else { continue };
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let before = last.insert(path.parent().unwrap().to_owned(), name.clone());
        assert!(before.as_ref() < Some(&name), "{} came after {before:?}", path.display());
    }
    assert!(last.len() > 150, "restic listed only {} folders", last.len());
}

#[test]
fn the_order_of_a_stream_does_not_change_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r");
    let repo = create(&place);
    let content = awkward()
        .into_iter()
        .fold(Content::new(), |all, (path, content)| all.file(path.to_str().unwrap(), content));
    let backup = back_up(&repo, &Content { folder_mode: 0o040_700, ..content });
    let mut entries: Vec<_> = awkward().into_iter().map(|(path, content)| (path, Some(content))).collect();
    entries.reverse();
    let stream = Stream::new(entries);
    let again = repo.back_up(Box::new(stream), header("uploads"), &Unwatched).unwrap();
    assert!(backup.added_bytes.unwrap() > 34 << 20);
    // No chunk of a file is new; folders are, because the modes of the files are others here.
    assert!(again.added_bytes.unwrap() < 200_000, "{:?}", again.added_bytes);
    let third = Stream::new(shuffled(&awkward()).into_iter().filter(|(_, file)| file.is_some()).collect());
    let third = repo.back_up(Box::new(third), header("uploads"), &Unwatched).unwrap();
    assert_eq!(third.added_bytes, Some(0));
    restic(&place, &["check", "--read-data"]).unwrap();
}

#[test]
fn an_entry_that_comes_twice_or_below_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(&folder.path().join("r"));
    for (paths, named) in [
        (&["0/b", "0/a", "0/b"][..], "0/b came twice"),
        (&["0/a/b", "0/a"], "0/a/b lies below a path that is no folder"),
        (&["0/a", "../x"], "../x is no path of a backup"),
        (&[""], "is no path of a backup"),
    ] {
        let entries = paths.iter().map(|path| (path.into(), Some(b"x".to_vec()))).collect();
        let error = repo.back_up(Box::new(Stream::new(entries)), header("uploads"), &Unwatched).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(error.kind(), Kind::Bug);
    }
    let sorted = ["0/a", "0/a/b"].map(|path| (path.into(), Some(b"x".to_vec()))).to_vec();
    let stream = Stream { is_sorted: true, ..Stream::new(sorted) };
    let error = repo.back_up(Box::new(stream), header("uploads"), &Unwatched).unwrap_err();
    assert!(error.to_string().contains("lies below a path that is no folder"), "{error}");
    assert!(repo.backups().unwrap().is_empty());
}

/// Hands out a little and then blocks until it is interrupted, as a server does that says nothing.
struct Silent(Arc<(Mutex<bool>, Condvar)>);

impl Read for Silent {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let (is_interrupted, signal) = &*self.0;
        let guard = is_interrupted.lock().unwrap();
        drop(signal.wait_while(guard, |is_interrupted| !*is_interrupted).unwrap());
        Err(io::Error::other("interrupted"))
    }
}

struct Blocking(Arc<(Mutex<bool>, Condvar)>);

impl Source for Blocking {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let state = self.0.clone();
        let first = Content::new().file("0/a", noise(1, 3_000_000)).entries();
        let kind = EntryKind::File { size_bytes: 10, open: Box::new(move || Ok(Box::new(Silent(state)))) };
        let last = Entry { path: "0/b".into(), kind, meta: EntryMeta::default() };
        Box::new(first.chain(std::iter::once(Ok(last))))
    }
    fn interrupt(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
    fn size_bytes(&self) -> Option<u64> {
        None
    }
    fn finish(&self) -> Result<SourceSummary, SourceError> {
        Content::new().finish()
    }
    fn paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// Wants to stop when it was asked often enough, which nobody does while everybody waits for the source.
struct Patient {
    begun: Instant,
    asked: AtomicUsize,
}

impl Watcher for Patient {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst) >= 20
    }
}

#[test]
fn a_source_that_blocks_in_a_read_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(&folder.path().join("r"));
    let watcher = Patient { begun: Instant::now(), asked: AtomicUsize::new(0) };
    let error = repo.back_up(Box::new(Blocking(Arc::default())), header("uploads"), &watcher).unwrap_err();
    assert!(matches!(error, RepoError::Cancelled), "{error}");
    assert!(watcher.begun.elapsed() < DEADLINE);
    assert!(repo.backups().unwrap().is_empty());
}

/// Panics where a driver must not.
struct Panicking;

impl Source for Panicking {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        Box::new(Content::new().file("0/a", noise(1, 5_000_000)).entries().chain(std::iter::from_fn(|| {
            panic!("a driver is broken");
        })))
    }
    fn size_bytes(&self) -> Option<u64> {
        None
    }
    fn finish(&self) -> Result<SourceSummary, SourceError> {
        Content::new().finish()
    }
    fn paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

#[test]
fn a_source_that_panics_is_an_error_and_no_hang() {
    let folder = tempfile::tempdir().unwrap();
    let repo = create(&folder.path().join("r"));
    let error = repo.back_up(Box::new(Panicking), header("uploads"), &Unwatched).unwrap_err();
    assert!(matches!(&error, RepoError::Engine { message, .. } if message.contains("panicked")), "{error}");
    assert!(repo.backups().unwrap().is_empty());
}

/// Fails in the middle of the content, with much before it.
struct Breaking;

impl Source for Breaking {
    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, SourceError>> + Send> {
        let good = Content::new().file("0/a", noise(1, 40_000_000)).entries();
        let content = || io::Cursor::new(noise(2, 3_000_000)).chain(Gone);
        let kind = EntryKind::File { size_bytes: 9_000_000, open: Box::new(move || Ok(Box::new(content()))) };
        Box::new(good.chain(std::iter::once(Ok(Entry {
            path: "0/b".into(),
            kind,
            meta: EntryMeta::default(),
        }))))
    }
    fn size_bytes(&self) -> Option<u64> {
        None
    }
    fn finish(&self) -> Result<SourceSummary, SourceError> {
        panic!("finish was called although a read has failed");
    }
    fn paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

struct Gone;

impl Read for Gone {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    }
}

/// Names of this process's threads that belong to a backup cannot be told, but their number can.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn an_error_in_the_middle_leaves_no_snapshot_and_no_thread() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r");
    let repo = create(&place);
    // The engine's threads for reading an index stay once they are there.
    back_up(&repo, &Content::new().file("0/x", noise(9, 1000)));
    let before = repo.backups().unwrap();
    let alive = threads();
    for _ in 0..3 {
        let error = repo.back_up(Box::new(Breaking), header("uploads"), &Unwatched).unwrap_err();
        let RepoError::Source(SourceError::Read { path, source }) = &error else { panic!("{error}") };
        assert_eq!((path.to_str(), source.kind()), (Some("0/b"), io::ErrorKind::ConnectionReset));
        assert!(threads() <= alive, "{} threads instead of {alive}", threads());
        assert_eq!(repo.backups().unwrap(), before);
    }
    // What was stored before is not in the way.
    back_up(&repo, &Content::new().file("0/a", noise(1, 40_000_000)));
    restic(&place, &["check", "--read-data"]).unwrap();
}
