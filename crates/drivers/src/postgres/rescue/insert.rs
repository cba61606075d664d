//! Inserts the rows that were kept: all of them, in one transaction, and never a second time.
//!
//! ```text
//! file right? ─► what became of an earlier attempt? ─► BEGIN ─► triggers silent ─► COPY … ─► constraints checked
//!     ─► triggers as before ─► number of the transaction journaled ─► COMMIT
//! ```
//! Foreign keys are never switched off: each is checked by the server itself before the end. Sequences only go forward.
//! Why triggers are silenced one by one: docs/decisions/0011-row-rescue.md. Read next: `keep.rs`.

use std::{
    thread,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use muster_types::{
    Explain, Kind,
    event::Watcher,
    rescue::{MissingRows, SequenceReach, TriggerUse},
};

use super::{
    super::{
        address::Address,
        refusal::has_code,
        wire::{Connection, copy::PIECE_BYTES},
    },
    keep::RowReader,
    session::writing,
    tables::{Trigger, triggers},
};
use crate::{
    DriverError,
    rescue::{Inserted, RowInsertion},
    sql::{identifier, literal},
};

/// How long to wait for a lock: whoever writes to these tables must not wait for us for long.
const LOCK_TIMEOUT: &str = "10s";
/// How long a session of a process that has died may take to end.
const SETTLE_WITHIN: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(100);
/// Further than this a sequence is set and not counted on: nobody draws so many numbers within one statement.
const STEPS: i64 = 1_000_000;

/// Inserts what was found.
///
/// # Errors
/// `Conflict`: production has changed since. `Corrupt`: the file was changed. `Unavailable`: production is not there,
/// or nobody knows what became of an earlier attempt.
pub(super) fn insert(
    address: &Address,
    insertion: &RowInsertion<'_>,
    watcher: &dyn Watcher,
) -> Result<Inserted, DriverError> {
    let mut reader = RowReader::open(insertion.found)?;
    let mut production = writing(address, watcher)?;
    if let Some(transaction) = insertion.earlier
        && is_committed(&mut production, transaction, watcher)?
    {
        return Ok(Inserted::Before);
    }
    watcher.begin("insert rows", Some(insertion.found.bytes));
    production.query("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", watcher)?;
    production.query(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"), watcher)?;
    // What is told to be done must be on the server's disk.
    let durable = "SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
                   WHERE pg_catalog.current_setting('synchronous_commit') = 'off'";
    production.query(durable, watcher)?;
    fill(&mut production, insertion, &mut reader, watcher).map_err(explain)?;
    let number = production.value("SELECT pg_catalog.pg_current_xact_id()::text", watcher)?;
    (insertion.about_to_commit)(&number.unwrap_or_default())?;
    production.query("COMMIT", watcher).map_err(|error| {
        let message = format!("nobody knows yet whether the rows were committed: {error}");
        DriverError::new(error.kind(), message).with_hint("`muster resume RUN` asks the server, and goes on")
    })?;
    Ok(Inserted::Now)
}

/// Asks what became of a transaction; one that still runs belongs to a session that is about to end.
fn is_committed(
    production: &mut Connection,
    transaction: &str,
    watcher: &dyn Watcher,
) -> Result<bool, DriverError> {
    let unknown = |why: &str| {
        let message = format!("nobody knows whether transaction {transaction} was committed: {why}");
        DriverError::new(Kind::Unavailable, message).with_hint(
            "make a new rescue: it compares again, and rows that are there are not inserted a second time",
        )
    };
    if !transaction.bytes().all(|byte| byte.is_ascii_digit()) || transaction.is_empty() {
        return Err(unknown("its number is none"));
    }
    let sql = format!("SELECT pg_catalog.pg_xact_status('{transaction}'::xid8)");
    let deadline = Instant::now() + SETTLE_WITHIN;
    loop {
        let status = production.value(&sql, watcher).map_err(|error| match error.kind() {
            Kind::Interrupted => error,
            _ => unknown(&error.to_string()),
        })?;
        match status.as_deref() {
            Some("committed") => return Ok(true),
            Some("aborted") => return Ok(false),
            None => return Err(unknown("the server has forgotten it")),
            _ if watcher.is_cancelled() => return Err(DriverError::new(Kind::Interrupted, "stopped")),
            _ if Instant::now() >= deadline => return Err(unknown("it still runs in a session of its own")),
            _ => thread::sleep(PAUSE),
        }
    }
}

/// Everything between the beginning of the transaction and its end.
fn fill(
    production: &mut Connection,
    insertion: &RowInsertion<'_>,
    reader: &mut RowReader,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let missing = &insertion.found.missing;
    let mut silenced: Vec<Trigger> = Vec::new();
    if insertion.triggers == TriggerUse::Silent {
        for one in missing {
            silenced.extend(triggers(production, &one.table, watcher)?);
        }
    }
    for trigger in &silenced {
        let name = identifier(&trigger.name);
        production.query(&format!("ALTER TABLE ONLY {} DISABLE TRIGGER {name}", trigger.table), watcher)?;
    }
    production.query("SET CONSTRAINTS ALL DEFERRED", watcher)?;
    for sequence in missing.iter().flat_map(|one| &one.sequences) {
        advance(production, sequence, watcher)?;
    }
    for one in missing {
        let Some(copy) = reader.next_table()? else {
            return Err(DriverError::new(Kind::Bug, format!("the kept file lacks {}", one.table)));
        };
        fill_table(production, one, &copy, reader, watcher)?;
    }
    production.query("SET CONSTRAINTS ALL IMMEDIATE", watcher)?;
    for trigger in &silenced {
        let (word, name) =
            (if trigger.is_always { "ENABLE ALWAYS" } else { "ENABLE" }, identifier(&trigger.name));
        production.query(&format!("ALTER TABLE ONLY {} {word} TRIGGER {name}", trigger.table), watcher)?;
    }
    Ok(())
}

fn fill_table(
    production: &mut Connection,
    missing: &MissingRows,
    copy: &str,
    reader: &mut RowReader,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    // Explicit values win over identity columns here, as with OVERRIDING SYSTEM VALUE.
    production.begin_copy_in(copy, watcher)?;
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    while let Some(row) = reader.next_row()? {
        piece.extend_from_slice(row);
        if piece.len() >= PIECE_BYTES {
            watcher.advance(piece.len() as u64);
            production.send_copy_data(piece.split().freeze())?;
        }
        if watcher.is_cancelled() {
            // Nothing is committed: the session ends, and with it the transaction.
            return Err(DriverError::new(Kind::Interrupted, "stopped"));
        }
    }
    if !piece.is_empty() {
        production.send_copy_data(Bytes::from(piece))?;
    }
    let rows = production.end_copy_in(watcher)?;
    if rows == missing.rows {
        return Ok(());
    }
    let message =
        format!("{} took {rows} of {} rows: a trigger keeps the others out", missing.table, missing.rows);
    Err(DriverError::new(Kind::Conflict, message)
        .with_hint("leave `--triggers` out, so that they stay silent"))
}

/// Moves a sequence beyond the keys that come back, when it is not there yet.
pub(in super::super) fn advance(
    production: &mut Connection,
    reach: &SequenceReach,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let name = literal(&reach.sequence);
    // One that was never drawn from gives out its last value first.
    let sql = format!(
        "SELECT s.seqincrement, CASE WHEN v.is_called THEN v.last_value ELSE v.last_value - s.seqincrement END, \
         s.seqmin, s.seqmax FROM pg_catalog.pg_sequence s, {} v WHERE s.seqrelid = {name}::regclass",
        reach.sequence
    );
    let rows = production.query(&sql, watcher)?;
    let number = |index: usize| rows.first()?.get(index)?.as_deref()?.parse::<i64>().ok();
    let (Some(increment), Some(last), Some(lowest), Some(highest)) =
        (number(0), number(1), number(2), number(3))
    else {
        return Ok(());
    };
    let target = if increment > 0 { reach.highest } else { reach.lowest };
    // A key that the sequence could never give out stands in nobody's way.
    let Some(steps) = steps(increment, last, target).filter(|_| (lowest..=highest).contains(&target)) else {
        return Ok(());
    };
    // Drawing numbers can never take the sequence back, whoever else draws at the same time.
    let sql = if steps <= STEPS {
        format!(
            "SELECT count(pg_catalog.nextval({name}::regclass)) FROM pg_catalog.generate_series(1, {steps})"
        )
    } else {
        format!("SELECT pg_catalog.setval({name}::regclass, {target})")
    };
    production.query(&sql, watcher).map(drop)
}

/// How many numbers must be drawn until `target` is behind; `None` when it is already.
fn steps(increment: i64, last: i64, target: i64) -> Option<i64> {
    let way = i128::from(target) - i128::from(last);
    let (way, stride) = if increment > 0 { (way, increment) } else { (-way, increment.checked_neg()?) };
    let stride = i128::from(stride);
    (way > 0 && stride > 0).then(|| i64::try_from((way + stride - 1) / stride).unwrap_or(i64::MAX))
}

/// Says what to do when production does not take the rows.
fn explain(error: DriverError) -> DriverError {
    let hint = if has_code(&error, "23505") {
        "such a row stands there again, or another one has its unique value: make a new rescue, with a narrower `--where` if it stays so"
    } else if has_code(&error, "23503") {
        "what these rows point to was removed meanwhile: make a new rescue, which takes it along"
    } else if has_code(&error, "55P03") {
        "somebody holds these tables: stop the writers, or say `--triggers`, which needs no lock against them; then `muster resume RUN`"
    } else if has_code(&error, "23514") || has_code(&error, "23502") {
        "a rule of the table has become stricter since: choose rows that keep it with `--where`"
    } else {
        return error;
    };
    DriverError::new(Kind::Conflict, format!("nothing was inserted: {error}")).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn a_sequence_goes_forward_just_beyond_the_highest_key_and_never_back() {
        assert_eq!(steps(1, 10, 12), Some(2));
        assert_eq!(steps(1, 12, 12), None);
        assert_eq!(steps(1, 500, 12), None);
        assert_eq!(steps(10, 1, 12), Some(2));
        assert_eq!(steps(-1, -5, -7), Some(2));
        assert_eq!(steps(-1, -9, -7), None);
        assert_eq!(steps(1, i64::MIN, i64::MAX), Some(i64::MAX));
    }
}
