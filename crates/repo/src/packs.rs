//! Reads ranges of packs, near or far.
//!
//! ```text
//! a folder:        range ─► the pack that was read last stays open
//! object storage:  range ─► blocks of 2 MiB ─┬► in memory? ─► copy
//!                                            └► ask, and those after it ahead of time ─► memory, 96 MiB at most
//! ```
//! In: a pack, an offset and room. Out: its bytes, unchecked. A request over a network costs as much time as megabytes
//! do, and chunks that are needed one after the other lie side by side: so neighbours come along with one request, and
//! many requests are on their way at the same time. Who knows what it will need says so with [`Packs::want`].
//!
//! Nothing here keeps more than [`BLOCKS_MAX`] blocks, or asks for the same block twice at the same time.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use rustic_core::{FileType, Id};

use crate::{
    error::RepoError,
    layout,
    place::{Fault, Root},
};

/// Several chunks, and not so much that reading one of them alone would be a waste.
const BLOCK_BYTES: u64 = 2 << 20;
/// Blocks in memory.
const BLOCKS_MAX: usize = 48;
/// Blocks behind one that are asked for before anybody needs them.
const AHEAD: u64 = 8;
/// Requests ahead of time that run at the same time.
const ASKING_MAX: usize = 20;

/// Reads ranges of the packs of one repository.
pub(crate) enum Packs {
    Near(Near),
    Far(Far),
}

/// Packs in a folder.
pub(crate) struct Near {
    root: Root,
    /// The pack that was read last by anyone: chunks in a row lie in the same one, and opening takes time.
    last: Mutex<Option<(Id, Arc<File>)>>,
}

/// Packs in object storage.
pub(crate) struct Far {
    shared: Arc<Shared>,
    wanted: Option<mpsc::SyncSender<Key>>,
    threads: Vec<JoinHandle<()>>,
}

type Key = (Id, u64);

struct Shared {
    root: Root,
    blocks: Mutex<Blocks>,
    changed: Condvar,
}

#[derive(Default)]
struct Blocks {
    /// `None`: on its way.
    known: HashMap<Key, Option<Arc<Vec<u8>>>>,
    /// Those that are here, the one that was used longest ago first.
    used: VecDeque<Key>,
}

impl Packs {
    pub(crate) fn new(root: &Root) -> Self {
        if root.folder().is_some() {
            Self::Near(Near { root: root.clone(), last: Mutex::new(None) })
        } else {
            Self::Far(Far::new(root))
        }
    }

    /// How many threads may usefully read at the same time.
    pub(crate) fn parallel(&self) -> usize {
        match self {
            Self::Near(near) => near.root.parallel(),
            Self::Far(far) => far.shared.root.parallel(),
        }
    }

    /// Says that this range will be needed soon. Costs nothing where reading is quick.
    pub(crate) fn want(&self, pack: &Id, offset: u32, length: u32) {
        if let Self::Far(far) = self {
            let (begin, end) = (u64::from(offset), u64::from(offset) + u64::from(length.max(1)) - 1);
            for number in begin / BLOCK_BYTES..=end / BLOCK_BYTES {
                far.want((*pack, number));
            }
        }
    }

    /// Reads exactly `content.len()` bytes from `offset` on.
    pub(crate) fn read(&self, pack: &Id, offset: u32, content: &mut [u8]) -> Result<(), Fault> {
        match self {
            Self::Near(near) => near.read(pack, offset, content),
            Self::Far(far) => far.read(pack, offset.into(), content),
        }
    }
}

impl Near {
    fn read(&self, pack: &Id, offset: u32, content: &mut [u8]) -> Result<(), Fault> {
        let folder = self.root.folder().unwrap_or(Path::new(""));
        let path = folder.join(layout::place(FileType::Pack, pack));
        let read = self.open(pack, &path).and_then(|file| file.read_exact_at(content, offset.into()));
        read.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Fault::Missing,
            io::ErrorKind::UnexpectedEof => Fault::Short,
            _ => Fault::Failed(RepoError::Io { operation: "read", path, source }),
        })
    }

    fn open(&self, pack: &Id, path: &Path) -> io::Result<Arc<File>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((id, file)) = &*last
            && id == pack
        {
            return Ok(file.clone());
        }
        let file = Arc::new(File::open(path)?);
        *last = Some((*pack, file.clone()));
        Ok(file)
    }
}

impl Far {
    fn new(root: &Root) -> Self {
        let shared = Arc::new(Shared {
            root: root.clone(),
            blocks: Mutex::new(Blocks::default()),
            changed: Condvar::new(),
        });
        let (wanted, queue) = mpsc::sync_channel::<Key>(BLOCKS_MAX * 2 / 3);
        let queue = Arc::new(Mutex::new(queue));
        let ask = |_| {
            let (shared, queue) = (shared.clone(), queue.clone());
            thread::Builder::new().name("read ahead".into()).spawn(move || {
                loop {
                    let key = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(key) = key else { return };
                    // Whoever needs it asks again and tells what is wrong.
                    drop(shared.fetch(key));
                }
            })
        };
        // Reading ahead only saves time: without threads everything is read all the same.
        let threads = (0..ASKING_MAX).filter_map(|number| ask(number).ok()).collect();
        Self { shared, wanted: Some(wanted), threads }
    }

    fn read(&self, pack: &Id, offset: u64, content: &mut [u8]) -> Result<(), Fault> {
        let mut done = 0;
        while done < content.len() {
            let at = offset + done as u64;
            let number = at / BLOCK_BYTES;
            let block = self.block((*pack, number))?;
            let begin = usize::try_from(at % BLOCK_BYTES).unwrap_or(usize::MAX);
            let rest = block.get(begin..).filter(|rest| !rest.is_empty()).ok_or(Fault::Short)?;
            let count = rest.len().min(content.len() - done);
            content[done..done + count].copy_from_slice(&rest[..count]);
            done += count;
        }
        Ok(())
    }

    fn block(&self, key: Key) -> Result<Arc<Vec<u8>>, Fault> {
        if !self.shared.knows(&key) {
            for next in 1..=AHEAD {
                self.want((key.0, key.1 + next));
            }
        }
        self.shared.fetch(key)
    }

    fn want(&self, key: Key) {
        if let Some(wanted) = self.wanted.as_ref().filter(|_| !self.shared.knows(&key)) {
            // When the queue is full, enough is on its way.
            let _is_queued = wanted.try_send(key).is_ok();
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.wanted = None;
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, key: &Key) -> bool {
        self.lock().known.contains_key(key)
    }

    /// Returns a block out of memory, or asks for it; when another thread asks already, waits for that.
    fn fetch(&self, key: Key) -> Result<Arc<Vec<u8>>, Fault> {
        let mut blocks = self.lock();
        loop {
            match blocks.known.get(&key) {
                Some(Some(block)) => {
                    let block = block.clone();
                    blocks.used.retain(|other| *other != key);
                    blocks.used.push_back(key);
                    return Ok(block);
                }
                Some(None) => {
                    blocks = self.changed.wait(blocks).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        blocks.known.insert(key, None);
        drop(blocks);
        let asked = self.ask(key);
        let mut blocks = self.lock();
        let answer = asked.map(Arc::new);
        match &answer {
            Ok(block) => {
                blocks.known.insert(key, Some(block.clone()));
                blocks.used.push_back(key);
                while blocks.used.len() > BLOCKS_MAX
                    && let Some(oldest) = blocks.used.pop_front()
                {
                    blocks.known.remove(&oldest);
                }
            }
            Err(_) => {
                blocks.known.remove(&key);
            }
        }
        self.changed.notify_all();
        answer
    }

    /// The last block of a pack is shorter; one behind its end is empty.
    fn ask(&self, (pack, number): Key) -> Result<Vec<u8>, Fault> {
        let name = layout::place(FileType::Pack, &pack);
        match self.root.read_up_to(&name, number * BLOCK_BYTES, BLOCK_BYTES) {
            Err(Fault::Short) => Ok(Vec::new()),
            other => other,
        }
    }
}
