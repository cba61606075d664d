//! Sends the objects of one kind that are missing or damaged at the copy, several at the same time.
//!
//! In: their names, sizes and how their content is judged. Out: the same bytes under the same names, and counts.
//!
//! What does not match its name or its seal is never sent and never replaces anything. Read next: `log.rs`.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use muster_types::wal::LineId;

use super::{CopyDepth, Job};
use crate::{
    error::RepoError,
    place::{Fault, Place},
    unlock::hex_hash,
    verify::Finding,
    wal::PieceName,
};

/// Objects on their way at the same time; each takes its size in memory.
const SENDERS_MAX: usize = 4;
/// Of so many packs or pieces that were sent one is read again, and at least one of each run.
const SAMPLE: usize = 20;

/// An object that the copy is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) name: String,
    /// Bytes; `None`: its content changes, so it is compared.
    pub(super) size: Option<u64>,
    pub(super) seal: Seal,
}

/// How the content of an object is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seal {
    /// Its name is its hash.
    Name,
    /// Packed and sealed with the repository's key.
    File,
    /// Sealed with the repository's key.
    Key,
    /// A piece of a log.
    Piece(String, LineId, Box<PieceName>),
    /// It has none.
    None,
}

/// What is to be done about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Send,
    /// It is there with another length.
    Replace,
    /// Its content changes: send it when it differs.
    Compare,
    /// It is there with the right length: read it.
    Check,
}

impl Job<'_> {
    /// Brings the objects of one kind to the copy. All of them, or an error; what is damaged here is only noted.
    pub(super) fn mirror(&self, phase: &str, objects: &[Object]) -> Result<(), RepoError> {
        let there = self.there(phase, objects)?;
        let tasks: Vec<(&Object, Task)> = objects
            .iter()
            .filter_map(|object| Some((object, self.task(object, there.get(&object.name).copied())?)))
            .collect();
        let bytes = tasks.iter().filter_map(|(object, _)| object.size).sum();
        self.watcher.begin(&format!("copy {phase}"), Some(bytes));
        if self.options.dry_run {
            for (object, task) in &tasks {
                match task {
                    Task::Send => self.count_sent(object.size.unwrap_or_default()),
                    Task::Replace => self.count(|stats| stats.replaced += 1),
                    Task::Compare | Task::Check => {}
                }
            }
            return Ok(());
        }
        let sent = self.in_parallel(&tasks)?;
        self.read_again(phase, &sent)
    }

    /// Lists what the copy has of one kind, and counts what only it has.
    fn there(&self, phase: &str, objects: &[Object]) -> Result<BTreeMap<String, u64>, RepoError> {
        let folder = match phase {
            "packs" => "data",
            "index" | "snapshots" | "keys" => phase,
            "pins" => "muster/pins",
            "state" => crate::state::FOLDER,
            _ => {
                let size = self.to.size("config")?;
                return Ok(size.into_iter().map(|size| ("config".to_owned(), size)).collect());
            }
        };
        let listed = self.to.list(folder)?.into_iter();
        let there: BTreeMap<String, u64> = listed
            .filter(|listed| !listed.file_name().starts_with('.'))
            .map(|listed| (listed.name, listed.size))
            .collect();
        if matches!(phase, "packs" | "index" | "snapshots") {
            let own: std::collections::BTreeSet<&str> = objects.iter().map(|one| one.name.as_str()).collect();
            let extra = there.keys().filter(|name| !own.contains(name.as_str())).count() as u64;
            self.count(|stats| stats.extra += extra);
        }
        Ok(there)
    }

    fn task(&self, object: &Object, there: Option<u64>) -> Option<Task> {
        match (there, object.size) {
            (None, _) => Some(Task::Send),
            (Some(_), None) => self.options.may_replace.then_some(Task::Compare),
            (Some(found), Some(size)) if found != size => Some(Task::Replace),
            _ => (self.options.depth == CopyDepth::All).then_some(Task::Check),
        }
    }

    /// Works on all tasks and returns what was sent. After the first error nothing more is begun.
    fn in_parallel<'o>(&self, tasks: &[(&'o Object, Task)]) -> Result<Vec<&'o Object>, RepoError> {
        let senders = self.from.parallel().max(self.to.parallel()).clamp(1, SENDERS_MAX).min(tasks.len());
        let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sent, failed) = (Mutex::new(Vec::new()), Mutex::new(None));
        let work = || {
            while !is_over.load(Ordering::Relaxed) {
                let Some((object, task)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                let done = if self.watcher.is_cancelled() {
                    Err(RepoError::Cancelled)
                } else {
                    self.settle(object, *task)
                };
                self.watcher.advance(object.size.unwrap_or_default());
                match done {
                    Ok(true) => sent.lock().unwrap_or_else(PoisonError::into_inner).push(*object),
                    Ok(false) => {}
                    Err(error) => {
                        is_over.store(true, Ordering::Relaxed);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..senders {
                scope.spawn(work);
            }
            work();
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(sent.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Does what is to be done about one object; tells whether it was sent.
    pub(super) fn settle(&self, object: &Object, task: Task) -> Result<bool, RepoError> {
        match task {
            Task::Check => {
                self.count(|stats| stats.checked += 1);
                match self.read_there(object)? {
                    Ok(_) => return Ok(false),
                    Err(why) => {
                        ::log::warn!("{} at {}: {why}; it is sent again", object.name, self.to.title());
                    }
                }
            }
            Task::Compare => {
                let found = match self.to.read(&object.name) {
                    Ok(content) => Some(content),
                    Err(Fault::Missing | Fault::Short) => None,
                    Err(Fault::Failed(error)) => return Err(error),
                };
                let Some(content) = self.read_here(object)? else { return Ok(false) };
                if found.as_ref() == Some(&content) {
                    return Ok(false);
                }
                self.send(object, content)?;
                return Ok(true);
            }
            Task::Send | Task::Replace => {}
        }
        let Some(content) = self.read_here(object)? else { return Ok(false) };
        self.send(object, content)?;
        if task != Task::Send {
            self.count(|stats| stats.replaced += 1);
        }
        Ok(true)
    }

    pub(super) fn send(&self, object: &Object, content: Vec<u8>) -> Result<(), RepoError> {
        let bytes = content.len() as u64;
        self.to.write(&object.name, &[content.into()])?;
        self.count_sent(bytes);
        Ok(())
    }

    pub(super) fn count_sent(&self, bytes: u64) {
        self.count(|stats| {
            stats.sent += 1;
            stats.sent_bytes += bytes;
        });
    }

    /// Reads an object here; `None`, and a finding, when it is damaged.
    fn read_here(&self, object: &Object) -> Result<Option<Vec<u8>>, RepoError> {
        match self.read_at(&**self.from, object)? {
            Ok(content) => Ok(Some(content)),
            Err(message) => {
                self.count(|stats| stats.damaged.push(Finding::new(&object.name, message)));
                Ok(None)
            }
        }
    }

    pub(super) fn read_there(&self, object: &Object) -> Result<Result<Vec<u8>, String>, RepoError> {
        self.read_at(&**self.to, object)
    }

    /// Reads and judges an object. The inner error is damage of it.
    fn read_at(&self, place: &dyn Place, object: &Object) -> Result<Result<Vec<u8>, String>, RepoError> {
        let content = match place.read(&object.name) {
            Ok(content) => content,
            Err(fault) => return fault.into_message().map(Err),
        };
        if object.size.is_some_and(|size| size != content.len() as u64) && object.seal != Seal::Name {
            return Ok(Err(format!(
                "it has {} bytes instead of {}",
                content.len(),
                object.size.unwrap_or(0)
            )));
        }
        Ok(self.judge(object, content))
    }

    pub(super) fn judge(&self, object: &Object, content: Vec<u8>) -> Result<Vec<u8>, String> {
        match &object.seal {
            Seal::Name => {
                let name = object.name.rsplit('/').next().unwrap_or_default();
                if hex_hash(&content) != name {
                    return Err("its content does not match its name".into());
                }
            }
            Seal::File => drop(self.cipher.decode_file(&content)?),
            Seal::Key => drop(self.cipher.decrypt(&content)?),
            Seal::Piece(system, line, name) => {
                crate::wal::open_piece(self.cipher, system, *line, name, content.clone())?;
            }
            Seal::None => {}
        }
        Ok(content)
    }

    /// Reads again what was sent: all that makes other objects visible, a sample of the rest.
    pub(super) fn read_again(&self, phase: &str, sent: &[&Object]) -> Result<(), RepoError> {
        if self.options.dry_run {
            return Ok(());
        }
        let is_small = matches!(phase, "keys" | "config" | "index" | "snapshots");
        let first = if sent.is_empty() { 0 } else { fastrand::usize(..sent.len()) };
        for (number, object) in sent.iter().enumerate() {
            let is_drawn = is_small || number == first || fastrand::usize(..SAMPLE) == 0;
            if !is_drawn || self.options.depth == CopyDepth::All && !is_small && number != first {
                continue;
            }
            self.count(|stats| stats.checked += 1);
            if let Err(why) = self.read_there(object)? {
                return Err(RepoError::CopyBroken {
                    place: self.to.shown(),
                    object: object.name.clone(),
                    message: why,
                });
            }
        }
        Ok(())
    }
}
