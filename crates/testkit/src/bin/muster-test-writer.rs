//! Commits SQLite transactions at a given rate until standard input closes: `muster-test-writer DB RATE LOG`.
//!
//! Each transaction inserts one row `(id, body, committed_at)`; after each commit a line `id nanoseconds` goes to LOG.
//! RATE is transactions per second; 0 is as fast as the machine can.
//!
//! It never writes a log line before the commit has returned, and never outlives the process that started it.
#![allow(
    clippy::disallowed_methods,
    reason = "a test program: it stands for a foreign application, with the machine's own clock"
)]

use std::{
    error::Error,
    ffi::OsString,
    fs::OpenOptions,
    io::{Read, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use muster_testkit::sqlite;
use rusqlite::params;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [database, rate, log] =
        <[OsString; 3]>::try_from(args).map_err(|_| "usage: muster-test-writer DB RATE LOG")?;
    let rate: u32 = rate.to_str().ok_or("RATE is a number")?.parse()?;
    write(&PathBuf::from(database), rate, &PathBuf::from(log))
}

fn write(database: &std::path::Path, rate: u32, log: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let ended = end_with_stdin();
    let connection = sqlite::open(database);
    // As most applications set it: a commit is atomic, and durable with the next checkpoint.
    connection.pragma_update(None, "synchronous", "normal")?;
    let mut log = OpenOptions::new().create(true).append(true).open(log)?;
    let mut insert =
        connection.prepare("insert into entries (id, body, committed_at) values (?1, ?2, ?3)")?;
    let first: i64 =
        connection.query_row("select coalesce(max(id), 0) + 1 from entries", [], |row| row.get(0))?;
    let begin = Instant::now();
    let mut done: u32 = 0;
    while !ended.load(Ordering::Relaxed) {
        let id = first + i64::from(done);
        // One statement outside of a transaction is a transaction of its own.
        insert.execute(params![id, format!("entry number {id}"), now()?])?;
        log.write_all(format!("{id} {}\n", now()?).as_bytes())?;
        done += 1;
        if rate > 0 {
            let due = Duration::from_secs_f64(f64::from(done) / f64::from(rate));
            // Behind time (a slow checkpoint) it catches up; ahead of time it sleeps.
            thread::sleep(due.saturating_sub(begin.elapsed()));
        }
    }
    Ok(())
}

fn now() -> Result<i64, Box<dyn Error>> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

/// Sets the flag when standard input closes: on purpose, or because the test has died.
fn end_with_stdin() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    thread::spawn(move || {
        // End of input and a broken input mean the same here: nobody is interested any more.
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        flag.store(true, Ordering::Relaxed);
    });
    ended
}
