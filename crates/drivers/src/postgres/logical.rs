//! Logical backups: the content of one database, as `pg_dump` writes it, with the roles that it needs.
//!
//! ```text
//! snapshot ─┬─► pg_dump, in several sessions          ─► dump/ ─► schema.sql   ┐
//!           └─► witness, by our own session meanwhile                          ├─► marks: server.json ─► source
//! pg_dumpall --globals-only                           ─► globals.sql           ┘
//! ```
//!
//! Restored, it goes into the running server as a new database: `logical/inside.rs`.
//!
//! To take one needs no right but to read, and reaches the moment of the dump and no other. The dump is not compressed: the
//! repository finds what is equal in two backups, and compresses what is left.
//!
//! The server is only read, and nothing stays open when this returns. Read next: `logical/snapshot.rs`, then
//! `logical/proof.rs` for what opens it again.

mod description;
mod globals;
mod inside;
mod judge;
mod load;
mod programs;
mod proof;
mod properties;
mod reading;
mod renames;
mod roles;
mod snapshot;
mod witness;

use std::{fs, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, thread};

use muster_repo::{
    durable,
    source::{Source, SourceSummary},
};
use muster_types::{Clock, Kind, backup::Witness, event::Watcher, place::in_server};

use self::{
    description::Description,
    programs::Programs,
    reading::{Attempt, Reading},
    snapshot::Snapshot,
};
use super::{
    address::Address,
    binaries::{Binaries, connection_string, full_version},
    described::version,
    place::failed,
    ready::major,
    refusal::quoted,
    scratch,
    wire::Connection,
};
use crate::{DriverError, described::ServerFacts, snapshot::FolderSource};

pub(super) use self::{
    description::NAME as DESCRIPTION,
    proof::{Folder, is_dump, load_beside, verify},
};

/// The folder of the dump, in the format that several processes write and read.
const DUMP: &str = "dump";
/// The roles and what else all databases share.
const GLOBALS: &str = "globals.sql";
/// The schema as text, for people.
const SCHEMA: &str = "schema.sql";
/// More sessions at once than this are more than a server in use should bear.
const JOBS_MAX: usize = 4;
/// How often a moment is tried that nobody disturbs.
const TRIES: usize = 5;

/// Reads what a dump says of its server; `None` when it is none of Muster's.
pub(super) fn described(content: &[u8]) -> Option<ServerFacts> {
    let dump: Description = serde_json::from_slice(content).ok()?;
    let provider = match dump.locale_provider.as_str() {
        "i" => "icu",
        "b" => "builtin",
        _ => "libc",
    };
    Some(ServerFacts {
        version: version(dump.version),
        database: Some(dump.database),
        extensions: dump.extensions,
        collations: vec![format!("{provider} {} {}", dump.collation, dump.ctype)],
        dumped_by: Some(dump.dumped_by),
        ..ServerFacts::default()
    })
}

/// Takes a dump into `scratch`.
///
/// # Errors
/// `Unavailable`: no program, no right, no room, no connection. `Corrupt`: the server's own files are damaged.
/// `Interrupted`. Nothing of it is left in `scratch` then.
pub(super) fn take(
    address: &Address,
    bin_dir: Option<&Path>,
    clock: &Arc<dyn Clock>,
    scratch: &Path,
    watcher: &dyn Watcher,
) -> Result<Box<dyn Source>, DriverError> {
    let folder = scratch.join("postgres");
    let taken = dump(address, bin_dir, clock, &folder, watcher);
    if taken.is_err() {
        // The room that it took may be what others wait for. A failure here is only that it is removed later.
        drop(fs::remove_dir_all(&folder));
    }
    Ok(Box::new(taken?))
}

fn dump(
    address: &Address,
    bin_dir: Option<&Path>,
    clock: &Arc<dyn Clock>,
    folder: &Path,
    watcher: &dyn Watcher,
) -> Result<FolderSource, DriverError> {
    fs::DirBuilder::new().mode(0o700).create(folder).map_err(|error| failed("make", folder, &error))?;
    let application = format!("muster {:016x}", fastrand::u64(..));
    let mut jobs = jobs();
    for _ in 0..TRIES {
        watcher.begin("take a snapshot", None);
        let mut snapshot = Snapshot::take(address, clock, watcher)?;
        let mut description = Description::read(&mut snapshot.look, watcher)?;
        let fingerprint = snapshot.look.position(watcher)?.unwrap_or_default();
        let binaries = Binaries::find_to_dump(bin_dir, major(description.version))?;
        description.dumped_by = full_version(&binaries.program("pg_dump")).unwrap_or_default();
        let programs =
            Programs { binaries: &binaries, address, application: application.clone(), scratch: folder };
        watcher.begin("dump", None);
        let args = dump_args(&snapshot, jobs, &folder.join(DUMP));
        let mut reading = match reading::read(&programs, &args, &mut snapshot, watcher)? {
            Attempt::Done(reading) => reading,
            other => {
                scratch::remove(&folder.join(DUMP))?;
                if matches!(other, Attempt::Crowded) {
                    jobs = 1;
                }
                continue;
            }
        };
        description.has_passwords = write_rest(&programs, &mut snapshot.look, &mut reading, watcher)?;
        if snapshot.is_standby {
            reading.warnings.push(
                "the server is a standby: it has no rows of unlogged tables, and they are not in this backup"
                    .into(),
            );
        }
        let consistent_at = snapshot.consistent_at;
        snapshot.end(watcher)?;
        let size_bytes = describe(folder, &mut description, &mut reading.witness, watcher)?;
        let summary = SourceSummary {
            witness: reading.witness,
            consistent_at,
            warnings: reading.warnings,
            damage: Vec::new(),
            fingerprint,
            size_bytes,
        };
        return Ok(FolderSource {
            folder: folder.to_owned(),
            path: in_server("postgres", &description.database),
            summary,
        });
    }
    let message = format!(
        "no dump of {} could be taken of one moment: each of {TRIES} times a table was emptied or changed in shape while it began",
        quoted(&address.database)
    );
    Err(DriverError::new(Kind::Unavailable, message)
        .with_hint("try again when no migration and no job with TRUNCATE is running"))
}

/// Marks the files, and completes description and witness; returns how much there is.
fn describe(
    folder: &Path,
    description: &mut Description,
    witness: &mut Witness,
    watcher: &dyn Watcher,
) -> Result<u64, DriverError> {
    watcher.begin("mark the files", None);
    let mut size_bytes = 0;
    for relative in description::files(folder)? {
        let mark = description::mark(&folder.join(&relative), watcher)?;
        size_bytes += mark.size_bytes;
        description.files.insert(relative.display().to_string(), mark);
    }
    let schema = read(&folder.join(SCHEMA))?;
    witness.insert(witness::SCHEMA.into(), witness::schema_hash(&schema));
    let path = folder.join(description::NAME);
    let json = serde_json::to_vec_pretty(&description).map_err(|error| {
        DriverError::new(Kind::Bug, format!("the description of the dump cannot be written: {error}"))
    })?;
    durable::write(&path, &json, 0o600).map_err(|error| failed("write", &path, &error))?;
    witness.insert(witness::MANIFEST.into(), description::mark(&path, watcher)?.sha256);
    Ok(size_bytes + json.len() as u64)
}

/// Lets `pg_dump` write what several sessions can read at once.
fn dump_args(snapshot: &Snapshot, jobs: usize, to: &Path) -> Vec<String> {
    let mut args: Vec<String> = vec![
        "--format=directory".into(),
        "--compress=0".into(),
        format!("--jobs={jobs}"),
        "--no-sync".into(),
        "--no-password".into(),
        format!("--snapshot={}", snapshot.id),
        format!("--file={}", to.display()),
    ];
    if snapshot.is_standby {
        args.push("--no-unlogged-table-data".into());
    }
    args
}

/// Writes the schema and the globals; tells whether passwords are among them.
///
/// The schema comes out of the dump: a second look at the server could meet tables that have changed since.
fn write_rest(
    programs: &Programs<'_>,
    look: &mut Connection,
    reading: &mut Reading,
    watcher: &dyn Watcher,
) -> Result<bool, DriverError> {
    let to = |name: &str| format!("--file={}", programs.scratch.join(name).display());
    let dump = programs.scratch.join(DUMP).display().to_string();
    reading.warnings.extend(programs.run(
        "pg_restore",
        &["--schema-only".into(), to(SCHEMA), dump],
        watcher,
    )?);
    let sql = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')";
    let has_passwords = look.value(sql, watcher)?.as_deref() == Some("t");
    let database = connection_string(&programs.address.database);
    let mut args: Vec<String> = vec![
        "--globals-only".into(),
        "--no-sync".into(),
        "--no-password".into(),
        format!("--dbname={database}"),
        to(GLOBALS),
    ];
    if !has_passwords {
        args.push("--no-role-passwords".into());
        reading.warnings.push(
            "the role may not read passwords of roles: they are not in this backup (to have them: GRANT pg_read_all_data, or a superuser)".into(),
        );
    }
    reading.warnings.extend(programs.run("pg_dumpall", &args, watcher)?);
    Ok(has_passwords)
}

/// How many sessions dump or restore at once.
fn jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from).clamp(1, JOBS_MAX)
}

fn read(path: &Path) -> Result<String, DriverError> {
    let bytes = fs::read(path).map_err(|error| failed("read", path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
