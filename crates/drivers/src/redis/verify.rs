//! The judgement on a restored RDB: whole, the same as in the backup, and loaded by a real server with every key.
//!
//! In: the folder that a backup was restored to. Out: a line for people, and what could not be judged here. Keys whose
//! time is over are left out by a server that loads them, so what it has is compared with what must be alive by now.
//!
//! It leaves the files as they were. Read next: `scratch.rs`, `witness.rs`.

use std::{
    fs::{self, File},
    path::Path,
};

use muster_types::{Clock, Explain, Kind, event::Watcher};

use super::{
    binaries::Program,
    description::{RDB, SERVER, Server, Version},
    rdb::{self, Contents},
    scratch::{Reach, Scratch, failed},
    wire::{Connection, Value},
    witness,
};
use crate::{
    DriverError,
    component::{Verification, Verified},
    expect::holds,
};

/// What is judged, and with what.
pub(super) struct Request<'a> {
    pub(super) name: &'a str,
    pub(super) bin_dir: Option<&'a Path>,
    pub(super) clock: &'a dyn Clock,
    pub(super) asked: &'a Verification<'a>,
}

/// Judges the RDB in `place`.
///
/// # Errors
/// `Corrupt`: it is damaged, or not what the backup had. `Interrupted`.
pub(super) fn verify(
    request: &Request<'_>,
    place: &Path,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    watcher.begin("check the RDB", None);
    let contents = inspect(place, request.clock, watcher)?;
    witness::compare(request.name, request.asked.witness, &contents)?;
    let mut summary = summary_of(&contents);
    // A restore into the running server loads it there in a moment; nobody is kept waiting twice.
    let must_load =
        request.asked.is_proof || request.asked.loaded.is_none() || !request.asked.assertions.is_empty();
    if !must_load {
        return Ok(summary.into());
    }
    let server = server_of(place);
    let program = match usable(request.bin_dir, &server) {
        Ok(program) => program,
        Err(error) if error.kind() == Kind::Config => return Err(error),
        Err(error) => {
            let hint = error.hint().map(|hint| format!("; {}", hint.0)).unwrap_or_default();
            summary.push_str(", not loaded by a server");
            return Ok(Verified { summary, doubts: vec![format!("{error}{hint}")], reached: None });
        }
    };
    let scratch = match Scratch::start(&program, place, Reach::Us, watcher) {
        Ok(scratch) => scratch,
        // A server of the same version that lacks a module says nothing about the backup.
        Err(error) if error.kind() == Kind::Unavailable => {
            return Ok(Verified { summary, doubts: vec![error.to_string()], reached: None });
        }
        Err(error) => return Err(error),
    };
    let mut connection = scratch.connect(watcher)?;
    compare_loaded(request, place, &contents, &mut connection, watcher)?;
    let held = assertions(request, &mut connection, watcher)?;
    summary.push_str(&format!(", loaded by Redis {} in {:.1} s", program.told, scratch.seconds));
    if held > 0 {
        summary.push_str(&format!(", {held} {} held", if held == 1 { "assertion" } else { "assertions" }));
    }
    drop(connection);
    scratch.stop()?;
    Ok(summary.into())
}

/// Says what is in an RDB, for people.
fn summary_of(contents: &Contents) -> String {
    if contents.uncounted.is_some() {
        return format!("{} bytes, keys not counted", contents.bytes);
    }
    let several =
        |count: u64, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let keys = contents.keys.values().map(|keys| keys.all).sum();
    let databases = contents.keys.len() as u64;
    let mut summary =
        format!("{} in {}", several(keys, "key", "keys"), several(databases, "database", "databases"));
    if contents.functions > 0 {
        let functions = several(contents.functions, "library of functions", "libraries of functions");
        summary.push_str(&format!(", {functions}"));
    }
    summary
}

/// Reads the RDB in a folder.
///
/// # Errors
/// `Corrupt`: it is no whole RDB. `Unavailable`: it cannot be read.
pub(super) fn inspect(
    place: &Path,
    clock: &dyn Clock,
    watcher: &dyn Watcher,
) -> Result<Contents, DriverError> {
    let path = place.join(RDB);
    let file = File::open(&path).map_err(|error| failed("open", &path, &error))?;
    let read = rdb::read(Cancellable { file, watcher }, clock.now().as_millisecond());
    read.map_err(|error| match error {
        rdb::RdbError::Read(_) if watcher.is_cancelled() => DriverError::new(Kind::Interrupted, "stopped"),
        rdb::RdbError::Read(error) => failed("read", &path, &error),
        error => DriverError::new(Kind::Corrupt, format!("{} is no whole RDB: {error}", path.display()))
            .with_hint("restore an older backup"),
    })
}

/// What the backup says of its server; a folder of another origin says nothing.
pub(super) fn server_of(place: &Path) -> Server {
    let content = fs::read(place.join(SERVER)).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

/// Finds a server program that can load what another server has written.
///
/// # Errors
/// `Config`: `bin_dir` has none. `Unavailable`: none is there, or it is older.
pub(super) fn usable(bin_dir: Option<&Path>, server: &Server) -> Result<Program, DriverError> {
    let program = Program::find(bin_dir)?;
    if let Some(version) = Version::parse(&server.version).filter(|version| program.version < *version) {
        let message = format!(
            "the backup is of Redis {}.{}, and this host has Redis {} ({}): an older server cannot load it",
            version.0,
            version.1,
            program.told,
            program.path.display()
        );
        return Err(DriverError::new(Kind::Unavailable, message)
            .with_hint("install the same version, or name its folder with `bin_dir:`"));
    }
    if let Some(free) = free_memory().filter(|free| *free < server.used_memory_bytes) {
        let message = format!(
            "the data took {} of memory, and this host has {} free",
            muster_types::ByteSize(server.used_memory_bytes),
            muster_types::ByteSize(free)
        );
        return Err(DriverError::new(Kind::Unavailable, message).with_hint("use a host with more memory"));
    }
    Ok(program)
}

fn free_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Compares what the server has with what must be alive: no more than at the beginning, no less than now.
fn compare_loaded(
    request: &Request<'_>,
    place: &Path,
    before: &Contents,
    connection: &mut Connection,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    if before.uncounted.is_some() {
        return Ok(());
    }
    let loaded = connection.info("keyspace", watcher)?.keyspace();
    let after = if before.expiring_later.is_empty() {
        before.clone()
    } else {
        inspect(place, request.clock, watcher)?
    };
    for (database, keys) in &before.keys {
        let lasting = keys.all - keys.expiring;
        let of = |contents: &Contents| contents.expiring_later.get(database).copied().unwrap_or_default();
        let (most, least) = (of(before), of(&after));
        let found = loaded.get(database).copied().unwrap_or_default();
        let found_lasting = found.all.saturating_sub(found.expiring);
        if found_lasting != lasting || found.expiring > most || found.expiring < least {
            let message = format!(
                "a server that loads the backup of {} has {found_lasting} lasting and {} expiring keys in database {database}, and {lasting} and {least} to {most} are in it",
                request.name, found.expiring
            );
            return Err(DriverError::new(Kind::Corrupt, message).with_hint("restore an older backup"));
        }
    }
    let functions = match connection.ask(&["FUNCTION", "LIST"], watcher)? {
        Value::Array(libraries) => libraries.len() as u64,
        // A server before 7.0 has none.
        _ => before.functions,
    };
    if functions != before.functions {
        let message = format!(
            "a server that loads the backup of {} has {functions} libraries of functions, and {} are in it",
            request.name, before.functions
        );
        return Err(DriverError::new(Kind::Corrupt, message));
    }
    Ok(())
}

fn assertions(
    request: &Request<'_>,
    connection: &mut Connection,
    watcher: &dyn Watcher,
) -> Result<usize, DriverError> {
    for assertion in request.asked.assertions {
        let Some(command) = &assertion.redis else { continue };
        let words = split(command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let value = match connection.ask(&words, watcher)? {
            Value::Error(said) => {
                return Err(DriverError::new(
                    Kind::Input,
                    format!("the assertion `{command}` of {} is refused: {said}", request.name),
                ));
            }
            Value::Array(items) => items.len().to_string(),
            Value::Bulk(None) => "nil".into(),
            other => other.text().unwrap_or_default(),
        };
        let expected = assertion.expect.as_deref().unwrap_or("!= nil");
        if !holds(&value, expected) {
            let message =
                format!("the assertion `{command}` of {} gives `{value}`, expected {expected}", request.name);
            return Err(DriverError::new(Kind::Corrupt, message));
        }
    }
    Ok(request.asked.assertions.len())
}

/// Splits a command at blanks; quotes hold a word together.
fn split(command: &str) -> Vec<String> {
    let (mut words, mut quote, mut is_open) = (Vec::<String>::new(), None, false);
    for letter in command.chars() {
        match quote {
            Some(end) if letter == end => quote = None,
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                if !is_open {
                    words.push(String::new());
                    is_open = true;
                }
            }
            None if letter.is_whitespace() => is_open = false,
            _ => {
                if !is_open {
                    words.push(String::new());
                    is_open = true;
                }
                if let Some(word) = words.last_mut() {
                    word.push(letter);
                }
            }
        }
    }
    words
}

/// A file whose reading a person can stop.
struct Cancellable<'a> {
    file: File,
    watcher: &'a dyn Watcher,
}

impl std::io::Read for Cancellable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.watcher.is_cancelled() {
            return Err(std::io::Error::other("stopped"));
        }
        self.file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_command_is_split_at_blanks_and_quotes_hold_a_word_together() {
        assert_eq!(split("HGET 'my key'  \"a b\"c"), ["HGET", "my key", "a bc"]);
        assert_eq!(split("GET ''"), ["GET", ""]);
    }
}
