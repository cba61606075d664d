//! Reads many files with several threads, and hands them out in order, one piece after the other.
//!
//! ```text
//! walk ─► next piece ─┬─► thread: read, check pages, compute CRC-32C ─┬─► in order ─► whoever asks
//!                     └─► thread: read, check pages, compute CRC-32C ─┘
//! ```
//! In: a walk, and what pages are judged by. Out: pieces of at most [`PIECE_BYTES`]; no more than [`AHEAD`] of them are held
//! in memory. A file has the size that it had when it was opened: what grows later is in the log, what shrinks is filled
//! with zeros, as the server does, and the log cuts it again. A file that has vanished is passed over.
//!
//! A page whose checksum is wrong is read again before it counts: it may have been written at that moment.
//! Read next: `pages.rs`, `walk.rs`.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use muster_repo::source::SourceError;
use muster_types::Lsn;

use super::{
    pages::{self, Verdict},
    walk::{Found, Kind, Walk, meta},
};

/// Bytes that one thread reads at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// Pieces that may be read ahead of who asks for them, and so the memory.
const AHEAD: u64 = 16;
/// More threads than this win nothing: the processor is the limit.
const THREADS: std::ops::RangeInclusive<usize> = 2..=8;
/// How often a page that does not fit is read again, with pauses.
const REREADS: u32 = 5;
const REREAD_PAUSE: Duration = Duration::from_millis(10);
/// So many damaged pages of one piece are named one by one.
const NAMED: usize = 5;

/// What pages are judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checks {
    /// Where the backup has begun; `None` where pages have no checksums.
    pub(super) start: Option<Lsn>,
    pub(super) page_bytes: usize,
    /// Pages of one file of a relation.
    pub(super) segment_pages: u32,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Part {
    /// A folder, a link, or something special.
    Other(Found),
    /// A file begins; its first bytes.
    File { found: Found, size_bytes: u64, first: Piece },
    /// More of the present file.
    More(Piece),
}

/// A stretch of a file.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) crc: u32,
    pub(super) is_last: bool,
    /// Damaged pages, one line each.
    pub(super) damage: Vec<String>,
    /// Pages that do not fit and say that they were changed at this place of the log.
    pub(super) changing: Vec<(String, Lsn)>,
}

/// The threads; they end when everything was read, or with this.
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What threads and reader share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    checks: Checks,
}

struct State {
    walk: Walk,
    /// The file that is being divided into pieces, and where the next one begins.
    present: Option<(Arc<Present>, u64)>,
    /// Pieces that have a reader, and pieces that were handed out.
    begun: u64,
    taken: u64,
    done: BTreeMap<u64, Result<Part, SourceError>>,
    free: Vec<Vec<u8>>,
    /// Nothing is left to begin.
    is_over: bool,
    is_stopped: bool,
}

struct Present {
    file: File,
    path: PathBuf,
    /// As people know it: its path in the manifest.
    name: String,
    size_bytes: u64,
    segment: Option<u32>,
}

/// A piece to read.
struct Task {
    number: u64,
    file: Arc<Present>,
    offset: u64,
    found: Option<Found>,
    memory: Vec<u8>,
}

impl Pool {
    /// Begins to read.
    pub(super) fn begin(walk: Walk, checks: Checks) -> Self {
        let state = State {
            walk,
            present: None,
            begun: 0,
            taken: 0,
            done: BTreeMap::new(),
            free: Vec::new(),
            is_over: false,
            is_stopped: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), checks });
        let count = thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..count.clamp(*THREADS.start(), *THREADS.end()))
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    // Whoever waits for a piece must not wait for a thread that has panicked.
                    let guard = Guard(&shared);
                    while let Some(task) = shared.task() {
                        let (number, part) = task.run(&shared.checks);
                        shared.finish(number, part);
                    }
                    std::mem::forget(guard);
                })
            })
            .collect();
        Self { shared, threads }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

struct Guard<'a>(&'a Shared);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all reading soon.
    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// Waits for the next part; `None` when there is no more.
    pub(super) fn next(&self) -> Option<Result<Part, SourceError>> {
        let mut state = self.lock();
        loop {
            let number = state.taken;
            if let Some(part) = state.done.remove(&number) {
                state.taken += 1;
                drop(state);
                self.changed.notify_all();
                return Some(part);
            }
            if state.is_stopped {
                return Some(Err(stopped()));
            }
            if state.is_over && state.taken == state.begun {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Takes memory back that is read from no more.
    pub(super) fn give_back(&self, memory: Vec<u8>) {
        self.lock().free.push(memory);
    }

    /// Waits until there is something to read.
    fn task(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.is_stopped || state.is_over {
                return None;
            }
            if state.begun - state.taken >= AHEAD {
                state = self.wait(state);
                continue;
            }
            let task = state.begin();
            self.changed.notify_all();
            if task.is_some() {
                return task;
            }
        }
    }

    fn finish(&self, number: u64, part: Result<Part, SourceError>) {
        self.lock().done.insert(number, part);
        self.changed.notify_all();
    }
}

impl State {
    /// Begins the next piece; what needs no reading is done at once.
    fn begin(&mut self) -> Option<Task> {
        if let Some((file, offset)) = self.present.take() {
            return Some(self.task(file, offset, None));
        }
        let found = match self.walk.next() {
            None => {
                self.is_over = true;
                return None;
            }
            Some(Err(error)) => {
                self.is_over = true;
                self.put(Err(error));
                return None;
            }
            Some(Ok(found)) => found,
        };
        let segment = match found.kind {
            Kind::Pages(segment) => Some(segment),
            Kind::Plain => None,
            _ => {
                self.put(Ok(Part::Other(found)));
                return None;
            }
        };
        match File::open(&found.file).and_then(|file| Ok((file.metadata()?, file))) {
            // Dropped since its folder was read: the log tells of that too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                self.is_over = true;
                self.put(Err(SourceError::Read { path: found.file, source }));
                None
            }
            Ok((status, file)) => {
                // A file that is replaced as a whole, such as settings, may be another one than the walk has seen.
                let (size_bytes, found) = (status.len(), Found { meta: meta(&status), ..found });
                let (path, name) = (found.file.clone(), found.listed.display().to_string());
                let file = Arc::new(Present { file, path, name, size_bytes, segment });
                Some(self.task(file, 0, Some(found)))
            }
        }
    }

    fn task(&mut self, file: Arc<Present>, offset: u64, found: Option<Found>) -> Task {
        let next = offset + PIECE_BYTES;
        if next < file.size_bytes {
            self.present = Some((file.clone(), next));
        }
        let number = self.begun;
        self.begun += 1;
        Task { number, file, offset, found, memory: self.free.pop().unwrap_or_default() }
    }

    fn put(&mut self, part: Result<Part, SourceError>) {
        self.done.insert(self.begun, part);
        self.begun += 1;
    }
}

impl Task {
    fn run(self, checks: &Checks) -> (u64, Result<Part, SourceError>) {
        let Self { number, file, offset, found, memory } = self;
        let part = match file.read(offset, memory, checks) {
            Err(source) => Err(SourceError::Read { path: file.path.clone(), source }),
            Ok(piece) => Ok(match found {
                None => Part::More(piece),
                Some(found) => Part::File { found, size_bytes: file.size_bytes, first: piece },
            }),
        };
        (number, part)
    }
}

impl Present {
    fn read(&self, offset: u64, mut memory: Vec<u8>, checks: &Checks) -> io::Result<Piece> {
        let length = (self.size_bytes - offset).min(PIECE_BYTES);
        let is_last = offset + length == self.size_bytes;
        memory.clear();
        memory.resize(usize::try_from(length).unwrap_or_default(), 0);
        let read = fill(&self.file, offset, &mut memory)?;
        let mut piece = Piece { bytes: memory, is_last, ..Piece::default() };
        if let (Some(segment), Some(start)) = (self.segment, checks.start) {
            self.check(&mut piece, read, offset, (segment, start), checks)?;
        }
        piece.crc = crc32c::crc32c(&piece.bytes);
        Ok(piece)
    }

    /// Judges the pages that are there as a whole; a page that does not fit is read again.
    fn check(
        &self,
        piece: &mut Piece,
        read: usize,
        offset: u64,
        (segment, start): (u32, Lsn),
        checks: &Checks,
    ) -> io::Result<()> {
        let Piece { bytes, damage, changing, .. } = piece;
        let first = u32::try_from(offset / checks.page_bytes as u64).unwrap_or(u32::MAX);
        let whole = read - read % checks.page_bytes;
        let mut wrong = 0;
        for (block, page) in
            (first..).zip(bytes.get_mut(..whole).unwrap_or_default().chunks_exact_mut(checks.page_bytes))
        {
            let number = segment.wrapping_mul(checks.segment_pages).wrapping_add(block);
            let mut verdict = pages::judge(page, number, start);
            for _ in 0..REREADS {
                if !matches!(verdict, Verdict::Wrong { .. }) {
                    break;
                }
                thread::sleep(REREAD_PAUSE);
                if fill(&self.file, u64::from(block) * checks.page_bytes as u64, page)? < page.len() {
                    // Cut off in the meantime.
                    page.fill(0);
                }
                verdict = pages::judge(page, number, start);
            }
            match verdict {
                Verdict::Whole => {}
                Verdict::Changing(at) => changing.push((format!("`{}` block {block}", self.name), at)),
                Verdict::Wrong { stored, computed } => {
                    wrong += 1;
                    if wrong <= NAMED {
                        damage.push(format!(
                            "checksum verification failed in file `{}`, block {block}: calculated {computed:X}, the page says {stored:X}",
                            self.name
                        ));
                    }
                }
            }
        }
        if wrong > NAMED {
            damage.push(format!(
                "`{}` has {} more such blocks from block {first} on",
                self.name,
                wrong - NAMED
            ));
        }
        Ok(())
    }
}

/// Reads as much as there is, and returns how much it was.
fn fill(file: &File, offset: u64, memory: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = memory.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn stopped() -> SourceError {
    SourceError::Other {
        message: "the reading of the files was stopped".into(),
        hint: None,
        kind: muster_types::Kind::Interrupted,
    }
}
