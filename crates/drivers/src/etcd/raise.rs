//! Raises the revision of a snapshot where the operator's tool cannot, so that no watcher sees it go back.
//!
//! ```text
//! snapshot ─► scratch server ─► one reserved key written again and again ─► removed ─► history compacted ─► snapshot
//! ```
//!
//! In: a snapshot, and what is still known of the cluster that it replaces: a member that answers, the databases in the
//! data directories. Out: a snapshot in its place with the same keys at a revision beyond all of that. A watcher that asks
//! for an older one is told that it is compacted, and begins anew. Leases are kept alive meanwhile. When it cannot be
//! done, the snapshot stays as it was and the operator is told what to restart. Nothing of it reaches a member.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use muster_repo::durable;
use muster_types::{ByteSize, Explain, Kind, Span, event::Watcher};

use super::{
    EtcdDriver,
    api::{Api, Holding},
    backup::{self, Description, SNAPSHOT},
    scratch::Scratch,
    tool::Tool,
};
use crate::{DriverError, component::Verified, scratch::find_program, snapshot::failed};

/// By how much it is raised beyond the last revision that is known, when the configuration does not say. A database on a
/// disk lacks a tenth of a second, ten thousand writes at most; and each of them costs a write here.
const RAISE_BY: u64 = 20_000;
/// What was not reached by then is told.
const RAISE_WITHIN: Duration = Duration::from_mins(15);
/// Writers side by side: the server puts what they write into one commit.
const WRITERS: usize = 16;
/// Between two looks at the writers; also between two signs of life for the leases.
const PAUSE: Duration = Duration::from_millis(200);
/// The key that is written: no key of text begins with a zero byte.
const RESERVED: &[u8] = b"\0muster-revision";
/// The folder of the scratch server, and the new snapshot, in the restored one.
const FOLDER: &str = "raise";
const RAISED: &str = "raised.db";

/// Raises it in place, and says how far.
///
/// # Errors
/// `Interrupted`; a disk that is full. What else stands in the way is told as a doubt.
pub(super) fn raise(
    driver: &EtcdDriver,
    tool: &Tool,
    place: &Path,
    description: &Description,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let by = driver.component.raise_by.unwrap_or(RAISE_BY);
    let server = find_program(driver.component.bin_dir.as_deref(), &["etcd"])?;
    let why = match (by, server) {
        (0, _) => "`raise_by` is 0".to_owned(),
        (_, None) => format!(
            "this {} cannot raise the revision (`--bump-revision`), and this host has no program `etcd` to do it with",
            tool.name()
        ),
        (by, Some(server)) => match raise_by(driver, (tool, &server), place, by, watcher) {
            Ok(told) => return Ok(told),
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => format!("the revision could not be raised: {error}"),
        },
    };
    Ok(Verified {
        summary: "the snapshot's hash is good".into(),
        doubts: vec![format!(
            "{why}: it goes back to about {}, so restart whatever watches etcd, such as kube-apiserver and controllers, before it is used",
            description.revision
        )],
        reached: None,
    })
}

fn raise_by(
    driver: &EtcdDriver,
    (tool, server): (&Tool, &Path),
    place: &Path,
    by: u64,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let last = last_known(driver, tool, watcher);
    let snapshot = place.join(SNAPSHOT);
    let scratch = Scratch::start(driver, (tool, server), &snapshot, place.join(FOLDER), watcher)?;
    let api = scratch.api(driver)?;
    let first = api.revision()?;
    let before = api.holding(first, watcher)?;
    let goal = first.max(last.unwrap_or(0)).saturating_add(by);
    watcher.begin("raise the revision", None);
    let begun = Instant::now();
    let reached = write_up_to(&scratch, driver, goal, watcher)?;
    let took = begun.elapsed();
    api.delete(RESERVED)?;
    let end = api.revision()?;
    api.compact(end)?;
    watcher.begin("compare the keys", None);
    let after = api.holding(end, watcher)?;
    let keys = |holding: Option<Holding>| holding.map(|holding| (holding.keys, holding.hash));
    if keys(before) != keys(after) {
        let message = "the keys of the scratch server were others afterwards (has a lease ended?)";
        return Err(DriverError::new(Kind::Conflict, message));
    }
    api.defragment()?;
    watcher.begin("take the raised snapshot", None);
    let raised = place.join(RAISED);
    let bytes = backup::receive(api.snapshot()?, &raised, watcher)?;
    durable::rename(&raised, &snapshot).map_err(|error| failed("rename", &raised, error))?;
    let mut told = Verified::from(format!(
        "the snapshot's hash is good; its revision was raised from {first} to {end} in {}, all before it is compacted, the keys are the same ({})",
        Span::from(Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))),
        ByteSize(bytes)
    ));
    if reached < goal {
        told.doubts.push(format!(
            "the revision was raised to {reached} only, and not to {goal}, within {}: restart whatever watches etcd, or restore with an `etcdutl` that knows `--bump-revision`",
            Span::from(RAISE_WITHIN)
        ));
    } else if last.is_none() {
        told.doubts.push(format!(
            "nothing here tells which revision the lost cluster had last; it is {end} now. If it wrote more than {by} times since the backup, restart whatever watches it, or restore with a larger `raise_by`"
        ));
    }
    Ok(told)
}

/// Returns the newest revision of the cluster that is replaced, as far as anything on this host tells.
fn last_known(driver: &EtcdDriver, tool: &Tool, watcher: &dyn Watcher) -> Option<u64> {
    let live = Api::open(&driver.component).and_then(|api| api.status()).ok().map(|status| status.revision);
    let on_disk = driver.component.data_dirs();
    let on_disk = on_disk.iter().filter_map(|folder| tool.revision_of(folder, watcher));
    live.into_iter().chain(on_disk).max()
}

/// Writes until the revision is there; returns how far it came.
fn write_up_to(
    scratch: &Scratch,
    driver: &EtcdDriver,
    goal: u64,
    watcher: &dyn Watcher,
) -> Result<u64, DriverError> {
    let (reached, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let failure: Mutex<Option<DriverError>> = Mutex::new(None);
    let write = || -> Result<(), DriverError> {
        let api = scratch.api(driver)?;
        while !is_over.load(Ordering::Relaxed) && reached.load(Ordering::Relaxed) < goal {
            reached.fetch_max(api.put(RESERVED)?, Ordering::Relaxed);
        }
        Ok(())
    };
    let api = scratch.api(driver)?;
    let leases = api.leases()?;
    let begun = Instant::now();
    let result = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| {
                    if let Err(error) = write() {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        is_over.store(true, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let result = loop {
            if writers.iter().all(thread::ScopedJoinHandle::is_finished) {
                break Ok(());
            }
            if watcher.is_cancelled() {
                break Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
            if begun.elapsed() > RAISE_WITHIN {
                break Ok(());
            }
            // A lease that ends would take its keys with it.
            if let Err(error) = leases.iter().try_for_each(|lease| api.keep_alive(lease)) {
                break Err(error);
            }
            thread::sleep(PAUSE);
        };
        is_over.store(true, Ordering::Relaxed);
        result
    });
    result?;
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(reached.into_inner()),
    }
}
