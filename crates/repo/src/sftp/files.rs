//! What a repository asks of a host's files, over one connection.
//!
//! In: paths of the host. Out: contents, lists, or a [`Trouble`]. Large contents are cut into questions of 32 KiB, of
//! which many are under way at the same time, so that a line with a long way is filled.
//!
//! Nothing is repeated here (`sftp.rs` does that), and nothing stands under its name before it is whole and durable.
//! Read next: `session.rs`, `error.rs`.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::SignedDuration;

use super::{
    error::{OK, Trouble},
    session::{Pending, Session},
    wire::{self, Attributes, Question, Reply},
};
use crate::{
    layout,
    place::Listed,
    s3::{Pace, StoreError},
    temporary,
};

/// Every server takes and gives so many bytes at once.
const PIECE: usize = 32 * 1024;
/// Questions of one file that are under way: 2 MiB, which is what `ssh` lets go unanswered.
const WINDOW: usize = 64;
/// Less room than this is none.
const ROOM_BYTES_MIN: u64 = 1 << 20;

/// The files of a host.
pub(super) struct Files<'a> {
    pub(super) session: &'a Session,
    pub(super) pace: Option<&'a Pace>,
}

/// A file that was listed.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) listed: Listed,
    modified: Option<u32>,
}

impl Found {
    /// Tells whether it is being written, or was left by a writer that was killed.
    pub(super) fn is_temporary(&self) -> bool {
        temporary::is_temporary(self.listed.file_name())
    }

    /// Returns how long ago it was written, by the clock that `now` was read from.
    pub(super) fn age(&self, now: u32) -> Option<SignedDuration> {
        Some(SignedDuration::from_secs(i64::from(now) - i64::from(self.modified?)))
    }
}

fn done(reply: Reply) -> Result<(), Trouble> {
    match reply {
        Reply::Status(OK, _) => Ok(()),
        other => Err(odd(other)),
    }
}

fn handle(reply: Reply) -> Result<Vec<u8>, Trouble> {
    match reply {
        Reply::Handle(handle) => Ok(handle),
        other => Err(odd(other)),
    }
}

fn attributes(reply: Reply) -> Result<Attributes, Trouble> {
    match reply {
        Reply::Attributes(attributes) => Ok(attributes),
        other => Err(odd(other)),
    }
}

fn odd(reply: Reply) -> Trouble {
    match reply {
        // Success is no answer where content was asked for.
        Reply::Status(OK, _) => Trouble::Final(StoreError::Said("success, without an answer".into())),
        Reply::Status(code, words) => Trouble::of_status(code, words),
        _ => Trouble::Final(StoreError::Said("an answer to another question".into())),
    }
}

impl Files<'_> {
    fn ask(&self, question: &Question<'_>) -> Result<Reply, Trouble> {
        Ok(self.session.ask(question)?.wait()?)
    }

    /// Sends what nobody needs the answer of.
    fn close(&self, handle: &[u8]) -> Result<(), Trouble> {
        drop(self.session.ask(&Question::Close(handle))?);
        Ok(())
    }

    pub(super) fn stat(&self, path: &str) -> Result<Attributes, Trouble> {
        attributes(self.ask(&Question::Stat(path))?)
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), Trouble> {
        done(self.ask(&Question::Remove(path))?)
    }

    /// Reads a file.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let handle = handle(self.ask(&Question::Open(path, wire::READ))?)?;
        let size =
            attributes(self.ask(&Question::StatHandle(&handle))?).map(|found| found.size.unwrap_or_default());
        let content = size.and_then(|size| self.read_open(&handle, 0, size));
        self.close(&handle)?;
        content
    }

    /// Reads at most `length` bytes from `offset` on; none behind the end.
    pub(super) fn read_part(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>, Trouble> {
        let handle = handle(self.ask(&Question::Open(path, wire::READ))?)?;
        let content = self.read_open(&handle, offset, length);
        self.close(&handle)?;
        content
    }

    fn read_open(&self, handle: &[u8], offset: u64, length: u64) -> Result<Vec<u8>, Trouble> {
        let mut content = Vec::new();
        let mut under_way: VecDeque<(usize, Pending)> = VecDeque::new();
        let (mut asked, mut is_over) = (0, false);
        loop {
            while asked < length && under_way.len() < WINDOW && !is_over {
                let count = (length - asked).min(PIECE as u64);
                let wanted = u32::try_from(count).unwrap_or(u32::MAX);
                let pending = self.session.ask(&Question::Read(handle, offset + asked, wanted))?;
                under_way.push_back((usize::try_from(count).unwrap_or(usize::MAX), pending));
                asked += count;
            }
            let Some((count, pending)) = under_way.pop_front() else { return Ok(content) };
            let (false, Some(mut piece)) = (is_over, data(pending.wait()?)?) else {
                is_over = true;
                continue;
            };
            // A server may give less than was asked for before the end, and then the rest is asked for.
            while piece.len() < count {
                let at = offset + (content.len() + piece.len()) as u64;
                let wanted = u32::try_from(count - piece.len()).unwrap_or(u32::MAX);
                match data(self.ask(&Question::Read(handle, at, wanted))?)? {
                    Some(more) if !more.is_empty() => piece.extend(more),
                    _ => {
                        is_over = true;
                        break;
                    }
                }
            }
            piece.truncate(count);
            content.extend(piece);
        }
    }

    /// Writes a file, whole and durable or not at all. Folders that lack are made.
    pub(super) fn write(&self, root: &str, path: &str, content: &[Bytes]) -> Result<(), Trouble> {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let temporary = format!("{folder}/.{file}{}{:08x}", temporary::MARK, fastrand::u32(..));
        let flags = wire::WRITE | wire::CREATE | wire::EXCLUSIVE;
        let opened = match handle(self.ask(&Question::Open(&temporary, flags))?) {
            Err(Trouble::Missing) => {
                self.make_folders(root)?;
                self.make_folders(folder)?;
                handle(self.ask(&Question::Open(&temporary, flags))?)
            }
            other => other,
        }?;
        let written = self.write_open(&opened, content).and_then(|()| self.put(&temporary, path));
        if let Err(trouble) = written {
            // Asked before room is made.
            let trouble = match trouble {
                Trouble::Refused(word) => self.reason(folder, word),
                other => other,
            };
            // Room for others, if the connection still holds; otherwise it is removed after a day.
            if !matches!(trouble, Trouble::Again(_)) {
                drop(self.remove(&temporary));
            }
            return Err(trouble);
        }
        self.sync_folder(folder)
    }

    fn write_open(&self, handle: &[u8], content: &[Bytes]) -> Result<(), Trouble> {
        let mut under_way: VecDeque<Pending> = VecDeque::new();
        let mut offset = 0;
        let mut first = Ok(());
        'parts: for part in content {
            let mut rest: &[u8] = part;
            while !rest.is_empty() {
                let wanted = rest.len().min(PIECE);
                let count = self.pace.map_or(wanted, |pace| pace.wait(wanted));
                let (piece, after) = rest.split_at(count);
                under_way.push_back(self.session.ask(&Question::Write(handle, offset, piece))?);
                (rest, offset) = (after, offset + count as u64);
                if under_way.len() >= WINDOW
                    && let Some(pending) = under_way.pop_front()
                {
                    first = done(pending.wait()?);
                    if first.is_err() {
                        break 'parts;
                    }
                }
            }
        }
        for pending in under_way {
            let answered = done(pending.wait()?);
            first = first.and(answered);
        }
        // The server's own end of a file is where some disks first tell that they are full.
        let synced = if first.is_ok() && self.session.knows(wire::FSYNC) {
            done(self.ask(&Question::Sync(handle))?)
        } else {
            Ok(())
        };
        let closed = done(self.ask(&Question::Close(handle))?);
        first.and(synced).and(closed)
    }

    /// Gives a whole file its name.
    fn put(&self, from: &str, to: &str) -> Result<(), Trouble> {
        if self.session.knows(wire::POSIX_RENAME) {
            return done(self.ask(&Question::RenameOver(from, to))?);
        }
        // Version 3 itself has no way to replace a file: only there it is gone for a moment.
        match done(self.ask(&Question::Rename(from, to))?) {
            Err(Trouble::Refused(_)) if self.stat(to).is_ok() => {
                self.remove(to)?;
                done(self.ask(&Question::Rename(from, to))?)
            }
            other => other,
        }
    }

    /// Makes the names in a folder durable, where the server can: OpenSSH's opens a folder as it opens a file.
    pub(super) fn sync_folder(&self, path: &str) -> Result<(), Trouble> {
        if !self.session.knows(wire::FSYNC) {
            return Ok(());
        }
        let opened = match handle(self.ask(&Question::Open(path, wire::READ))?) {
            Ok(opened) => opened,
            Err(Trouble::Again(last)) => return Err(Trouble::Again(last)),
            // Its disk keeps names as it likes; the content is durable.
            Err(_) => return Ok(()),
        };
        let synced = self.session.ask(&Question::Sync(&opened))?;
        self.close(&opened)?;
        match done(synced.wait()?) {
            Err(Trouble::Again(last)) => Err(Trouble::Again(last)),
            _ => Ok(()),
        }
    }

    /// Makes a folder and those above it that lack.
    pub(super) fn make_folders(&self, path: &str) -> Result<(), Trouble> {
        match self.stat(path) {
            Ok(found) if found.is_folder() => return Ok(()),
            Ok(_) => return Err(Trouble::Final(StoreError::Said(format!("{path} is no folder")))),
            Err(Trouble::Missing) => {}
            Err(other) => return Err(other),
        }
        if let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            self.make_folders(above)?;
        }
        match done(self.ask(&Question::MakeFolder(path))?) {
            // Another writer was faster, or it cannot be made.
            Err(Trouble::Refused(word)) => match self.stat(path) {
                Ok(found) if found.is_folder() => Ok(()),
                _ => Err(Trouble::Refused(word)),
            },
            other => other,
        }
    }

    /// Makes folders whose parents are there, all at once. Those that are there already stay.
    pub(super) fn make_each(&self, paths: &[String]) -> Result<(), Trouble> {
        for paths in paths.chunks(WINDOW) {
            let asked: Vec<Pending> = paths
                .iter()
                .map(|path| self.session.ask(&Question::MakeFolder(path)))
                .collect::<Result<_, _>>()?;
            for pending in asked {
                // "Failure" is what there is for "exists already"; a folder that lacks is made when it is written to.
                match done(pending.wait()?) {
                    Err(Trouble::Refused(_)) | Ok(()) => {}
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(())
    }

    /// Returns the names in a folder; none when it is not there.
    pub(super) fn names(&self, path: &str) -> Result<Vec<String>, Trouble> {
        let entries = self.entries(&[path.to_owned()])?;
        Ok(entries.into_iter().flatten().map(|(name, _)| name).collect())
    }

    /// Lists the files of a folder, whose name in the repository is `name`, and of those in it that belong to it.
    pub(super) fn list(&self, path: &str, name: &str) -> Result<Vec<Found>, Trouble> {
        let mut found = Vec::new();
        let mut level = vec![(path.to_owned(), name.to_owned())];
        while !level.is_empty() {
            let paths: Vec<String> = level.iter().map(|(path, _)| path.clone()).collect();
            let entries = self.entries(&paths)?;
            let mut below = Vec::new();
            for ((path, folder), entries) in level.iter().zip(entries) {
                for (file, attributes) in entries {
                    let name = if folder.is_empty() { file.clone() } else { format!("{folder}/{file}") };
                    if attributes.is_file() {
                        let size = attributes.size.unwrap_or_default();
                        found.push(Found { listed: Listed { name, size }, modified: attributes.modified });
                    } else if attributes.is_folder() && layout::is_part_of_folder(&name) {
                        below.push((format!("{path}/{file}"), name));
                    }
                }
            }
            level = below;
        }
        Ok(found)
    }

    /// Reads several folders at once. One that is not there has no entries.
    fn entries(&self, paths: &[String]) -> Result<Vec<Vec<(String, Attributes)>>, Trouble> {
        let mut all = Vec::new();
        for paths in paths.chunks(WINDOW) {
            let asked: Vec<Pending> = paths
                .iter()
                .map(|path| self.session.ask(&Question::OpenFolder(path)))
                .collect::<Result<_, _>>()?;
            let mut open = Vec::new();
            for pending in asked {
                open.push(match handle(pending.wait()?) {
                    Ok(handle) => Some(handle),
                    Err(Trouble::Missing) => None,
                    Err(other) => return Err(other),
                });
            }
            let mut entries: Vec<Vec<(String, Attributes)>> = vec![Vec::new(); open.len()];
            while open.iter().any(Option::is_some) {
                let asked = open
                    .iter()
                    .map(|handle| {
                        handle
                            .as_ref()
                            .map(|handle| self.session.ask(&Question::ReadFolder(handle)))
                            .transpose()
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                for ((pending, handle), entries) in asked.into_iter().zip(&mut open).zip(&mut entries) {
                    let Some(pending) = pending else { continue };
                    match pending.wait()? {
                        Reply::Names(names) => entries.extend(names.into_iter().filter_map(entry)),
                        Reply::Status(super::error::END, _) => {
                            if let Some(handle) = handle.take() {
                                self.close(&handle)?;
                            }
                        }
                        other => return Err(odd(other)),
                    }
                }
            }
            all.extend(entries);
        }
        Ok(all)
    }

    /// Returns the time by the clock of the disk that holds a folder; `None` when nothing may be written there.
    pub(super) fn now(&self, folder: &str) -> Result<Option<u32>, Trouble> {
        let probe = format!("{folder}/.clock{}{:08x}", temporary::MARK, fastrand::u32(..));
        let handle =
            match handle(self.ask(&Question::Open(&probe, wire::WRITE | wire::CREATE | wire::EXCLUSIVE))?) {
                Ok(handle) => handle,
                Err(Trouble::Missing | Trouble::Final(StoreError::NotPermitted(_))) => return Ok(None),
                Err(other) => return Err(other),
            };
        // The answers to these come in this order, so only the one that counts is waited for.
        drop(self.session.ask(&Question::Write(&handle, 0, b"."))?);
        let pending = self.session.ask(&Question::StatHandle(&handle))?;
        self.close(&handle)?;
        let found = attributes(pending.wait()?);
        self.remove(&probe)?;
        Ok(found?.modified)
    }

    /// Finds out why a server that gives no reason refused.
    pub(super) fn reason(&self, path: &str, word: String) -> Trouble {
        if !self.session.knows(wire::STATVFS) {
            return Trouble::Refused(word);
        }
        let room = |path: &str| match self.ask(&Question::Space(path)) {
            Ok(Reply::Other(answer)) => wire::free_space(&answer).ok(),
            _ => None,
        };
        match room(path) {
            Some((bytes, files)) if bytes < ROOM_BYTES_MIN || files == 0 => {
                Trouble::Final(StoreError::Full(format!("{bytes} bytes and {files} files are free")))
            }
            _ => Trouble::Refused(word),
        }
    }
}

/// Content, or `None` at the end of the file.
fn data(reply: Reply) -> Result<Option<Vec<u8>>, Trouble> {
    match reply {
        Reply::Data(data) => Ok(Some(data)),
        Reply::Status(super::error::END, _) => Ok(None),
        other => Err(odd(other)),
    }
}

/// No file of a repository has a name that is no text, and a folder does not belong to itself.
fn entry((name, attributes): (Vec<u8>, Attributes)) -> Option<(String, Attributes)> {
    let name = String::from_utf8(name).ok()?;
    (!matches!(name.as_str(), "." | "..") && !name.contains('/')).then_some((name, attributes))
}
