//! Brings the archive of WAL to the copy: of each line first how it came to be, then its pieces in the order of the log,
//! its mark last.
//!
//! In: a listing, while a receiver may be writing and joining pieces. Out: at every moment an archive without a hole, up
//! to some earlier position.
//!
//! A mark is read before the pieces are listed and sent when all of them are there, so it never promises what the copy
//! has not. Read next: `wal.rs`.

use std::collections::BTreeMap;

use super::{
    CopyDepth, Job,
    mirror::{Object, Seal, Task},
};
use crate::{
    error::RepoError,
    place::{Fault, Listed},
    verify::Finding,
    wal::{self, ArchiveFile},
};

/// How often the archive is looked at again while a receiver joins what is being copied.
const PASSES_MAX: usize = 20;

/// The files of one line.
#[derive(Default)]
struct Line {
    history: Option<Object>,
    has_mark: bool,
    /// Pieces and gaps, by their beginning; of those that begin together the longest first.
    stretches: Vec<(u64, u64, Object)>,
}

impl Job<'_> {
    pub(super) fn copy_log(&self) -> Result<(), RepoError> {
        for _ in 0..PASSES_MAX {
            let marks = self.marks()?;
            let mut is_whole = true;
            for (folder, line) in self.log_lines()? {
                is_whole &= self.copy_line(&folder, line, marks.get(&folder))?;
            }
            if is_whole {
                return Ok(());
            }
        }
        Err(RepoError::Engine {
            operation: "copy the log",
            message: "it is joined faster than it can be read; run `muster copy` again".into(),
        })
    }

    /// Reads the marks of all lines, sealed as they are.
    fn marks(&self) -> Result<BTreeMap<String, Vec<u8>>, RepoError> {
        let mut marks = BTreeMap::new();
        for (folder, line) in self.log_lines()? {
            if line.has_mark
                && let Ok(content) = self.from.read(&format!("{folder}/mark"))
            {
                marks.insert(folder, content);
            }
        }
        Ok(marks)
    }

    fn log_lines(&self) -> Result<BTreeMap<String, Line>, RepoError> {
        let mut lines: BTreeMap<String, Line> = BTreeMap::new();
        for listed in self.from.list(wal::FOLDER)? {
            add(&mut lines, &listed);
        }
        for line in lines.values_mut() {
            line.stretches.sort_by_key(|(start, end, _)| (*start, std::cmp::Reverse(*end)));
            // What a longer piece holds goes as soon as that is durable.
            let mut reached = None;
            line.stretches.retain(|(_, end, object)| {
                let is_held =
                    matches!(object.seal, Seal::Piece(..)) && reached.is_some_and(|far| *end <= far);
                if matches!(object.seal, Seal::Piece(..)) {
                    reached = reached.max(Some(*end));
                }
                !is_held
            });
        }
        Ok(lines)
    }

    /// Copies a line; `false` when a piece went while it was copied, because a longer one holds it now.
    fn copy_line(&self, folder: &str, line: Line, mark: Option<&Vec<u8>>) -> Result<bool, RepoError> {
        if let Some(history) = &line.history
            && !self.options.dry_run
        {
            self.settle(history, Task::Compare)?;
        }
        let there: BTreeMap<String, u64> =
            self.to.list(folder)?.into_iter().map(|listed| (listed.name, listed.size)).collect();
        let mut sent = Vec::new();
        // One after the other: two at the same time could leave a hole when the process is killed.
        for (_, _, object) in &line.stretches {
            if self.watcher.is_cancelled() {
                return Err(RepoError::Cancelled);
            }
            match self.copy_stretch(object, there.get(&object.name).copied())? {
                Stretch::Was => {}
                Stretch::Sent => sent.push(object),
                Stretch::Gone => return Ok(false),
                // Nothing behind a hole is of use.
                Stretch::Damaged => return Ok(true),
            }
        }
        self.read_again("log", &sent)?;
        match mark {
            Some(content) if !self.options.dry_run => self.copy_mark(&format!("{folder}/mark"), content)?,
            _ => {}
        }
        Ok(true)
    }

    fn copy_stretch(&self, object: &Object, there: Option<u64>) -> Result<Stretch, RepoError> {
        if there == object.size {
            if self.options.depth == CopyDepth::Sample || self.options.dry_run {
                return Ok(Stretch::Was);
            }
            self.count(|stats| stats.checked += 1);
            if self.read_there(object)?.is_ok() {
                return Ok(Stretch::Was);
            }
        }
        if self.options.dry_run {
            self.count_sent(object.size.unwrap_or_default());
            return Ok(Stretch::Sent);
        }
        let content = match self.from.read(&object.name) {
            Err(Fault::Missing) => return Ok(Stretch::Gone),
            Err(fault) => Err(fault.into_message()?),
            Ok(content) => self.judge(object, content),
        };
        match content {
            Err(message) => {
                self.count(|stats| stats.damaged.push(Finding::new(&object.name, message)));
                Ok(Stretch::Damaged)
            }
            Ok(content) => {
                self.send(object, content)?;
                if there.is_some() {
                    self.count(|stats| stats.replaced += 1);
                }
                Ok(Stretch::Sent)
            }
        }
    }

    fn copy_mark(&self, name: &str, content: &[u8]) -> Result<(), RepoError> {
        match self.to.read(name) {
            Ok(found) if found == content || !self.options.may_replace => return Ok(()),
            Ok(_) | Err(Fault::Missing | Fault::Short) => {}
            Err(Fault::Failed(error)) => return Err(error),
        }
        if let Err(message) = self.cipher.decrypt(content) {
            self.count(|stats| stats.damaged.push(Finding::new(name, message)));
            return Ok(());
        }
        self.to.write(name, &[content.to_vec().into()])?;
        self.count_sent(content.len() as u64);
        Ok(())
    }
}

/// What came of a piece or a gap.
enum Stretch {
    Was,
    Sent,
    Gone,
    Damaged,
}

fn add(lines: &mut BTreeMap<String, Line>, listed: &Listed) {
    let Some((folder, _)) = listed.name.rsplit_once('/') else { return };
    let Some(known) = wal::classify(&listed.name) else { return };
    let line = lines.entry(folder.to_owned()).or_default();
    let object = |seal, size| Object { name: listed.name.clone(), size, seal };
    match known {
        ArchiveFile::History => line.history = Some(object(Seal::Key, None)),
        ArchiveFile::Mark => line.has_mark = true,
        ArchiveFile::Gap(start, end) => {
            line.stretches.push((start.0, end.0, object(Seal::None, Some(listed.size))));
        }
        // One that is cut is not what its name says: it is named as damage when it is read.
        ArchiveFile::Piece(system, id, piece) => {
            let seal = Seal::Piece(system, id, Box::new(piece));
            line.stretches.push((piece.start.0, piece.end.0, object(seal, Some(piece.stored_bytes))));
        }
    }
}
