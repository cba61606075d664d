//! Reads a source from its first entry to its last, in one thread, and builds the snapshot's tree out of it.
//!
//! ```text
//! entry ─► chunks ─► workers ─► ids ─┐
//!   └────► node ──────► steps ───────┴─► a file gets its ids ─► trees.rs
//! ```
//!
//! In: a [`Source`]. Out: the root folder; everything below it is with the workers. A source may be a stream: entries
//! are asked for one by one, and nothing is asked for before the content of the last one was read.
//!
//! A file that grows while it is read is cut at its stated size. One that shrinks ends early: the driver's `finish`
//! names it in the warnings. This module never hides an error of the source. Read next: `work.rs`, `tree.rs`.

use std::{
    collections::VecDeque,
    io::{self, Read},
    mem,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use rustic_core::{
    DataId, Id, TreeId,
    repofile::{BlobType, Node, SnapshotSummary, Tree},
};

use super::{
    index::Known,
    node::{self, Converted, Order},
    stop::{Stop, Stopped, broken},
    tree::{TreeError, Trees},
    work::Job,
};
use crate::{
    chunks::CHUNK_BYTES_MAX,
    source::{SIZE_UNKNOWN, Source, SourceError},
};

/// Nodes that may wait for the chunks of a file before them.
const STEPS_MAX: usize = 4096;

/// What the reader needs of the others.
pub(super) struct Reader<'a> {
    jobs: SyncSender<Job>,
    /// Memory for chunks.
    free: Receiver<Vec<u8>>,
    known: &'a Known,
    stop: &'a Stop,
    bytes: &'a AtomicU64,
    chunk_bytes: usize,
    /// Memory that was never taken may be made as often as this.
    unmade: usize,
    steps: VecDeque<Step>,
    /// Of the file whose end is still among the steps.
    ids: Vec<DataId>,
    summary: SnapshotSummary,
}

/// What will become of what was read, in order.
enum Step {
    Chunk(Receiver<Id>),
    Node(PathBuf, Box<Node>),
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        jobs: SyncSender<Job>,
        free: Receiver<Vec<u8>>,
        buffers: usize,
        chunk_bytes: usize,
        (known, stop, bytes): (&'a Known, &'a Stop, &'a AtomicU64),
    ) -> Self {
        let (steps, ids, summary) = (VecDeque::new(), Vec::new(), SnapshotSummary::default());
        Self { jobs, free, known, stop, bytes, chunk_bytes, unmade: buffers, steps, ids, summary }
    }

    /// Reads everything. `own` gives the files beside `data` when everything was read.
    ///
    /// Returns the root, and of the summary what was read.
    pub(super) fn run(
        mut self,
        source: &dyn Source,
        own: impl FnOnce() -> Result<Vec<(&'static str, Vec<u8>)>, SourceError>,
    ) -> Result<(TreeId, SnapshotSummary), Stopped> {
        let mut order = Order::new(source.is_sorted());
        let mut trees = Trees::new(source.is_sorted());
        self.step(Step::Node("data".into(), Box::new(node::folder(Path::new("data")))), &mut trees)?;
        for entry in source.entries() {
            self.stop.check()?;
            let entry = entry.and_then(|entry| order.check(entry));
            let Converted { path, mut node, open } =
                node::convert(entry.map_err(|error| self.stop.fail(error))?);
            if let Some(open) = open {
                let content = open().map_err(|error| self.stop.fail(error))?;
                let read = self.file(&path, content, node.meta.size, &mut trees)?;
                if node.meta.size == SIZE_UNKNOWN {
                    node.meta.size = read;
                }
                node.content = Some(Vec::new());
            }
            self.step(Step::Node(path, Box::new(node)), &mut trees)?;
        }
        self.stop.check()?;
        for (name, content) in own().map_err(|error| self.stop.fail(error))? {
            let mut node = node::own_file(name, content.len() as u64);
            self.file(Path::new(name), Box::new(io::Cursor::new(content)), node.meta.size, &mut trees)?;
            node.content = Some(Vec::new());
            self.step(Step::Node(name.into(), Box::new(node)), &mut trees)?;
        }
        self.settle(0, &mut trees)?;
        let root = trees.finish(&mut |tree| self.store(tree));
        let root = root.map_err(|error| self.refused(error))?;
        Ok((root, self.summary))
    }

    /// Reads a file to its end, but no more than the stated number of bytes; returns how many there were.
    fn file(
        &mut self,
        path: &Path,
        mut content: Box<dyn Read + Send>,
        mut left: u64,
        trees: &mut Trees,
    ) -> Result<u64, Stopped> {
        let mut read = 0;
        while left > 0 {
            let mut memory = self.memory()?;
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(self.chunk_bytes);
            let length = self.fill(path, &mut content, &mut memory[..room])?;
            left -= length as u64;
            read += length as u64;
            self.summary.total_bytes_processed += length as u64;
            if length < room {
                left = 0;
            }
            if length == 0 {
                // Nothing of it was used, so it is given up and may be made again.
                self.unmade += 1;
                break;
            }
            let (answer, id) = sync_channel(1);
            self.jobs.send(Job::Chunk { memory, length, answer }).map_err(|_| Stopped)?;
            self.step(Step::Chunk(id), trees)?;
        }
        Ok(read)
    }

    /// Fills memory as far as there is content, and returns how far.
    fn fill(
        &self,
        path: &Path,
        content: &mut Box<dyn Read + Send>,
        memory: &mut [u8],
    ) -> Result<usize, Stopped> {
        let mut filled = 0;
        while filled < memory.len() {
            self.stop.check()?;
            match content.read(&mut memory[filled..]) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    self.bytes.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let path = path.strip_prefix("data").unwrap_or(path).to_owned();
                    // What a driver has said of it is better than that a file could not be read.
                    let told = source.downcast::<SourceError>();
                    let told = told.unwrap_or_else(|source| SourceError::Read { path, source });
                    return Err(self.stop.fail(told));
                }
            }
        }
        Ok(filled)
    }

    /// Returns memory for a chunk; waits when the workers have all of it.
    fn memory(&mut self) -> Result<Vec<u8>, Stopped> {
        if let Ok(memory) = self.free.try_recv() {
            return Ok(memory);
        }
        if let Some(unmade) = self.unmade.checked_sub(1) {
            self.unmade = unmade;
            return Ok(vec![0; self.chunk_bytes]);
        }
        self.free.recv().map_err(|_| Stopped)
    }

    fn step(&mut self, step: Step, trees: &mut Trees) -> Result<(), Stopped> {
        self.steps.push_back(step);
        self.settle(STEPS_MAX, trees)
    }

    /// Takes the oldest steps until no more than `left` are left. A chunk that has no id yet is waited for.
    fn settle(&mut self, left: usize, trees: &mut Trees) -> Result<(), Stopped> {
        while self.steps.len() > left {
            match self.steps.pop_front() {
                Some(Step::Chunk(id)) => self.ids.push(id.recv().map_err(|_| Stopped)?.into()),
                Some(Step::Node(path, mut node)) => {
                    if node.content.is_some() {
                        node.content = Some(mem::take(&mut self.ids));
                    }
                    if !node.is_dir() {
                        self.summary.files_new += 1;
                        self.summary.total_files_processed += 1;
                    }
                    let added = trees.add(path, *node, &mut |tree| self.store(tree));
                    added.map_err(|error| self.refused(error))?;
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Hands a folder to the workers when nobody has it.
    fn store(&mut self, tree: &Tree) -> Result<TreeId, Stopped> {
        let made = tree.serialize();
        let (content, id) = made.map_err(|error| self.stop.fail(broken(error.to_string())))?;
        if content.len() > CHUNK_BYTES_MAX as usize {
            return Err(self.stop.fail(SourceError::Other {
                message: format!("a folder has too many names for a backup: {}", tree.nodes.len()),
                hint: Some("divide that folder, or exclude a part of it".into()),
                kind: muster_types::Kind::Input,
            }));
        }
        self.summary.dirs_new += 1;
        self.summary.total_dirs_processed += 1;
        self.summary.total_dirsize_processed += content.len() as u64;
        if self.known.claim(BlobType::Tree, *id) {
            self.jobs.send(Job::Tree { id: *id, content }).map_err(|_| Stopped)?;
        }
        Ok(id)
    }

    fn refused(&self, error: TreeError<Stopped>) -> Stopped {
        match error {
            TreeError::Node(error) => self.stop.fail(error),
            TreeError::Store(stopped) => stopped,
        }
    }
}
