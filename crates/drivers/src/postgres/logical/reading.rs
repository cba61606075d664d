//! Lets `pg_dump` and our own session read the same moment at the same time.
//!
//! ```text
//! thread: pg_dump ── locks every table ─────────────── reads ───────────────► ended
//! here:      wait for its locks ─► undisturbed? ─► count, table by table ─► wait ─► count what was busy
//! ```
//!
//! When one of the two fails the other one is stopped. Read next: `snapshot.rs` for why the locks matter.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use muster_types::{Explain, Kind, backup::Witness, event::Watcher};

use super::{
    programs::Programs,
    snapshot::{Counted, Relation, Snapshot},
    witness,
};
use crate::DriverError;

/// What was read.
pub(super) struct Reading {
    pub(super) witness: Witness,
    pub(super) warnings: Vec<String>,
}

/// What one attempt came to.
pub(super) enum Attempt {
    Done(Reading),
    /// A table was emptied or changed before `pg_dump` had locked it: this snapshot is of no use.
    Disturbed,
    /// Somebody waits to change a table: the sessions of a dump would give up on it.
    Crowded,
}

/// Runs `pg_dump` with `args` and counts the tables meanwhile.
pub(super) fn read(
    programs: &Programs<'_>,
    args: &[String],
    snapshot: &mut Snapshot,
    watcher: &dyn Watcher,
) -> Result<Attempt, DriverError> {
    let (is_halted, has_ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let linked = Linked { watcher, is_halted: &is_halted };
    let before = witness::sequences(&mut snapshot.look, watcher)?;
    let (counted, dumped) = thread::scope(|scope| {
        let dumping = scope.spawn(|| {
            let dumped = programs.run("pg_dump", args, &linked);
            is_halted.fetch_or(dumped.is_err(), Ordering::AcqRel);
            has_ended.store(true, Ordering::Release);
            dumped
        });
        let counted = count(snapshot, &programs.application, &has_ended, &linked);
        is_halted.fetch_or(!matches!(counted, Ok(Some(_))), Ordering::AcqRel);
        let dumped = dumping
            .join()
            .unwrap_or_else(|_| Err(DriverError::new(Kind::Bug, "the thread of pg_dump has panicked")));
        (counted, dumped)
    });
    // Who was only stopped says nothing of the cause.
    let (counted, warnings) = match (counted, dumped) {
        (Ok(None), _) => return Ok(Attempt::Disturbed),
        (Err(error), _) if error.kind() != Kind::Interrupted => return Err(error),
        (_, Err(error)) if error.to_string().contains("could not obtain lock") => {
            return Ok(Attempt::Crowded);
        }
        (_, Err(error)) | (Err(error), _) => return Err(error),
        (Ok(Some(counted)), Ok(warnings)) => (counted, warnings),
    };
    let (mut witness, busy) = counted;
    let mut reading = Reading { witness: Witness::new(), warnings };
    for table in busy {
        match snapshot.count(&table, true, watcher)? {
            Counted::As(rows) => witness::add_rows(&mut witness, &table, rows),
            Counted::Busy | Counted::Changed => reading.warnings.push(format!(
                "{} was emptied or changed right after it was dumped: it is in the backup, and a proof cannot compare its rows",
                table.shown()
            )),
        }
    }
    let after = witness::sequences(&mut snapshot.look, watcher)?;
    witness::add_sequences(&mut witness, &before, &after);
    reading.witness = witness;
    Ok(Attempt::Done(reading))
}

/// Counts what can be counted without waiting, and names the rest. `None`: the snapshot was disturbed.
fn count(
    snapshot: &mut Snapshot,
    application: &str,
    has_ended: &AtomicBool,
    watcher: &dyn Watcher,
) -> Result<Option<(Witness, Vec<Relation>)>, DriverError> {
    if !snapshot.is_held_by(application, has_ended, watcher)? {
        return Ok(None);
    }
    watcher.begin("compute the witness", None);
    let (mut witness, mut busy) = (Witness::new(), Vec::new());
    for table in snapshot.tables() {
        match snapshot.count(&table, false, watcher)? {
            Counted::As(rows) => witness::add_rows(&mut witness, &table, rows),
            Counted::Busy | Counted::Changed => busy.push(table),
        }
    }
    witness::add_others(&mut witness, &mut snapshot.connection, watcher)?;
    Ok(Some((witness, busy)))
}

/// A watcher that also stops when the other side has failed.
struct Linked<'a> {
    watcher: &'a dyn Watcher,
    is_halted: &'a AtomicBool,
}

impl Watcher for Linked<'_> {
    fn begin(&self, phase: &str, total: Option<u64>) {
        self.watcher.begin(phase, total);
    }

    fn advance(&self, bytes: u64) {
        self.watcher.advance(bytes);
    }

    fn is_cancelled(&self) -> bool {
        self.is_halted.load(Ordering::Acquire) || self.watcher.is_cancelled()
    }
}
