//! Keeps freeing space apart from everything else where no file system can: locks that are files of the place.
//!
//! ```text
//! write muster/locks/<id> ─► wait ─► list all ─► none in the way? ─► held, renewed every 5 minutes ─► removed
//! ```
//! Shared by who reads or adds, exclusive by who removes packs. Each side writes first and looks then, so of two at the
//! same time at least one sees the other. How old a lock is tells the server's clock alone: when it was written,
//! compared with the server's own time. A lock is dead after 30 minutes without renewal, or when its process on
//! this host has ended.
//!
//! A process that was stopped for so long that its lock died must not go on as if it held it: before a snapshot is
//! written and before a pack is removed, [`confirm`] looks whether the lock is still there and young.
//! No lock is ever renewed that has been taken away. Whoever may write but not remove writes into its lock that it is
//! over: it is in nobody's way from then on, and goes when somebody comes who may remove it. Source: docs/format.md, "Locks".

use std::{
    fs, io,
    path::Path,
    sync::{Arc, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::RepoError,
    place::{Distant, Fault},
};

/// Where locks lie.
pub(crate) const FOLDER: &str = "muster/locks";
/// How often a lock is renewed.
const RENEWAL: Duration = Duration::from_mins(5);
/// How soon a renewal that failed is tried again.
const RENEWAL_AGAIN: Duration = Duration::from_secs(30);
/// A lock that was not renewed for so long is dead.
const DEAD_AFTER: SignedDuration = SignedDuration::from_mins(30);
/// The owner stops earlier than others take its lock for dead: no clock and no request is exact.
const CONFIRMED_WITHIN: SignedDuration = SignedDuration::from_mins(20);
/// Between writing an exclusive lock and the second look: a server may show a list that is a moment old.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// What stands in a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    kind: LockKind,
    host: String,
    /// Tells hosts of the same name apart, and a host before and after it was started anew.
    boot: String,
    pid: u32,
    /// When the process began, in the kernel's own count: a number is given to one process after the other.
    process_begun: u64,
    /// For people, by the clock of the host.
    renewed_at: Timestamp,
    /// Its run has ended, and might not remove it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LockKind {
    Shared,
    Exclusive,
}

/// A lock in a distant place, held until it is dropped.
pub(crate) struct DistantLock {
    place: Arc<dyn Distant>,
    name: String,
    kind: LockKind,
    renewer: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl DistantLock {
    /// Takes a lock. Nobody waits: who cannot have it is told at once.
    pub(crate) fn acquire(place: &Arc<dyn Distant>, is_exclusive: bool) -> Result<Self, RepoError> {
        let kind = if is_exclusive { LockKind::Exclusive } else { LockKind::Shared };
        let id: String = std::iter::repeat_with(|| format!("{:08x}", fastrand::u32(..))).take(4).collect();
        let name = format!("{FOLDER}/{id}");
        write(&**place, &name, kind, false)?;
        // From here on it is removed whatever happens.
        let mut lock = Self { place: place.clone(), name, kind, renewer: None };
        lock.refuse_others(kind)?;
        if kind == LockKind::Exclusive {
            thread::sleep(SECOND_LOOK);
            lock.refuse_others(kind)?;
        }
        own(&**place).push(lock.name.clone());
        lock.renewer = Some(lock.begin_renewal(kind)?);
        Ok(lock)
    }

    fn refuse_others(&self, kind: LockKind) -> Result<(), RepoError> {
        let mut may_remove = true;
        for (listed, age) in self.place.ages(FOLDER)? {
            if listed.name == self.name {
                continue;
            }
            let is_old = age.is_some_and(|age| age > DEAD_AFTER);
            // Whoever may not remove its locks leaves many: of an old one nothing more need be known.
            let content = if is_old { None } else { Some(self.place.read(&listed.name)) };
            let note = match content.transpose() {
                Ok(content) => content.and_then(|content| serde_json::from_slice::<Note>(&content).ok()),
                Err(Fault::Missing | Fault::Short) => continue,
                Err(Fault::Failed(error)) => return Err(error),
            };
            if is_old || note.as_ref().is_some_and(Note::is_dead) {
                may_remove = may_remove && self.clear(&listed.name)?;
                continue;
            }
            // A lock that cannot be read may be anything.
            let other = note.as_ref().map_or(LockKind::Exclusive, |note| note.kind);
            if kind == LockKind::Exclusive || other == LockKind::Exclusive {
                return Err(RepoError::Busy {
                    path: self.place.title().into(),
                    by: who(other, note.as_ref()),
                });
            }
        }
        Ok(())
    }

    /// Removes a dead lock; `false`: who asks may not remove any. It is in nobody's way.
    fn clear(&self, name: &str) -> Result<bool, RepoError> {
        log::warn!("the lock {name} of a dead process is removed");
        match self.place.remove(name) {
            Err(fault) if is_refused(&fault) => Ok(false),
            Err(Fault::Failed(error)) => Err(error),
            _ => Ok(true),
        }
    }

    fn begin_renewal(&self, kind: LockKind) -> Result<(mpsc::Sender<()>, JoinHandle<()>), RepoError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (place, name) = (self.place.clone(), self.name.clone());
        let work = move || {
            let mut wait = RENEWAL;
            while stopped.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout) {
                wait = match renew(&*place, &name, kind) {
                    Ok(()) => RENEWAL,
                    Err(error) => {
                        log::warn!("{error}");
                        RENEWAL_AGAIN
                    }
                };
            }
        };
        let thread = thread::Builder::new().name("lock".into()).spawn(work).map_err(|source| {
            RepoError::Io { operation: "begin a thread for", path: self.place.title().into(), source }
        })?;
        Ok((stop, thread))
    }
}

impl Drop for DistantLock {
    fn drop(&mut self) {
        own(&*self.place).retain(|name| *name != self.name);
        if let Some((stop, thread)) = self.renewer.take() {
            drop(stop);
            drop(thread.join());
        }
        let left = match self.place.remove_hastily(&self.name) {
            // Whoever may only add says that it is over.
            Err(fault) if is_refused(&fault) => write(&*self.place, &self.name, self.kind, true).err(),
            Err(Fault::Failed(error)) => Some(error),
            _ => None,
        };
        if let Some(error) = left {
            log::warn!("{error}; the lock ends by itself in 30 minutes");
        }
    }
}

/// Fails when a lock of this process has been taken away, or is about to be.
pub(crate) fn confirm(place: &dyn Distant) -> Result<(), RepoError> {
    let names = own(place).clone();
    names.iter().try_for_each(|name| confirm_one(place, name))
}

fn confirm_one(place: &dyn Distant, name: &str) -> Result<(), RepoError> {
    let lost = || RepoError::Busy {
        path: place.title().into(),
        by: "the lock of this run ended, because the run was stopped for too long or could not renew it"
            .into(),
    };
    match place.age(name) {
        Ok(Some(age)) if age > CONFIRMED_WITHIN => Err(lost()),
        Ok(_) => Ok(()),
        Err(Fault::Missing | Fault::Short) => Err(lost()),
        Err(Fault::Failed(error)) => Err(error),
    }
}

/// Writes a lock anew, unless it was taken away or is so old that it may be at any moment.
fn renew(place: &dyn Distant, name: &str, kind: LockKind) -> Result<(), RepoError> {
    confirm_one(place, name)?;
    write(place, name, kind, false)
}

fn write(place: &dyn Distant, name: &str, kind: LockKind, is_over: bool) -> Result<(), RepoError> {
    let note = Note { is_over, ..Note::of_this_process(kind, now()) };
    let content = serde_json::to_vec(&note)
        .map_err(|error| RepoError::Engine { operation: "write a lock", message: error.to_string() })?;
    place.write(name, &[Bytes::from(content)])
}

/// Tells whether who asks may not do it, and asking again cannot help.
fn is_refused(fault: &Fault) -> bool {
    matches!(fault, Fault::Failed(RepoError::Store { source, .. }) if source.is_refusal())
}

fn own(place: &dyn Distant) -> std::sync::MutexGuard<'_, Vec<String>> {
    place.own_locks().lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "for people who read the lock; nothing is compared with it")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn who(kind: LockKind, note: Option<&Note>) -> String {
    let what = match kind {
        LockKind::Exclusive => "another process is freeing space in it",
        LockKind::Shared => "a backup, restore or another run is using it",
    };
    match note {
        Some(note) => format!("{what} (host {}, process {})", note.host, note.pid),
        None => format!("{what} (its lock cannot be read)"),
    }
}

impl Note {
    fn of_this_process(kind: LockKind, renewed_at: Timestamp) -> Self {
        let pid = std::process::id();
        let process_begun = begun(pid).ok().flatten().unwrap_or_default();
        Self { kind, host: host(), boot: boot(), pid, process_begun, renewed_at, is_over: false }
    }

    /// Tells whether it is certain that its run has ended. Only this host's processes can be looked at.
    fn is_dead(&self) -> bool {
        if self.is_over {
            return true;
        }
        let is_ours = !self.boot.is_empty() && self.host == host() && self.boot == boot();
        is_ours && begun(self.pid).is_ok_and(|begun| begun != Some(self.process_begun))
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// This start of this host's kernel, and the numbering of processes in it: containers have their own.
fn boot() -> String {
    let Ok(boot) = fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return String::new() };
    let Ok(space) = fs::read_link("/proc/self/ns/pid") else { return String::new() };
    format!("{} {}", boot.trim(), space.display())
}

/// Returns when a process began, in ticks of the kernel; `None` when there is none with this number that could still act.
fn begun(pid: u32) -> io::Result<Option<u64>> {
    let stat = match fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) {
        // It may only be hidden from this user: the kernel itself is asked whether there is one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            return match pid.map(test_kill_process) {
                None | Some(Err(Errno::SRCH)) => Ok(None),
                Some(_) => Err(error),
            };
        }
        other => other?,
    };
    // The name, in parentheses, may hold anything; the first field after it is the state, the 20th the time.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
    // Ended, and kept only until its parent asks: in a container that may be never.
    if fields.clone().and_then(|mut fields| fields.next()).is_some_and(|state| ["Z", "X"].contains(&state)) {
        return Ok(None);
    }
    let begun = fields.and_then(|mut fields| fields.nth(19)?.parse().ok());
    begun.map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certainly_dead_is_dead() {
        let alive = Note::of_this_process(LockKind::Shared, Timestamp::UNIX_EPOCH);
        assert!(!alive.is_dead() && alive.process_begun > 0);
        // Above the highest number that Linux gives; a number that another process got; another host or start.
        assert!(Note { pid: 4_194_305, ..alive.clone() }.is_dead());
        assert!(Note { process_begun: alive.process_begun - 1, ..alive.clone() }.is_dead());
        assert!(!Note { pid: 4_194_305, host: "other".into(), ..alive.clone() }.is_dead());
        assert!(!Note { pid: 4_194_305, boot: "other".into(), ..alive.clone() }.is_dead());
        assert!(!Note { pid: 4_194_305, boot: String::new(), ..alive.clone() }.is_dead());
        assert!(Note { host: "other".into(), is_over: true, ..alive }.is_dead());
    }

    #[test]
    fn a_process_that_has_ended_is_dead_though_its_parent_never_asks() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let path = format!("/proc/{}/stat", child.id());
        muster_testkit::wait_for("its end", Duration::from_secs(10), || {
            fs::read_to_string(&path).unwrap().contains(") Z ").then_some(())
        });
        assert_eq!(begun(child.id()).unwrap(), None);
        child.wait().unwrap();
    }

    #[test]
    fn a_lock_is_renewed_by_writing_it_anew_and_never_brought_back() {
        let server = muster_testkit::Seaweed::new();
        let s3 = crate::s3::S3::new(&crate::s3::tests::location(&server.endpoint())).unwrap();
        let s3: Arc<dyn Distant> = Arc::new(s3);
        let lock = DistantLock::acquire(&s3, false).unwrap();
        let note = || serde_json::from_slice::<Note>(&s3.read(&lock.name).unwrap()).unwrap();
        let first = note();
        renew(&*s3, &lock.name, LockKind::Shared).unwrap();
        assert!(note().renewed_at > first.renewed_at && note().pid == first.pid);
        s3.remove(&lock.name).unwrap();
        renew(&*s3, &lock.name, LockKind::Shared).unwrap_err();
        assert!(matches!(s3.read(&lock.name), Err(Fault::Missing)), "a lock that was taken away came back");
    }
}
