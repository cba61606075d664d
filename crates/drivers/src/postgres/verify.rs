//! Opens a restored cluster as its server would, and says what is true of it.
//!
//! ```text
//! pg_verifybackup ─► prepare ─► scratch server recovers ─► identity, position ─► libraries, collations
//!     ─► (a proof) pg_amcheck --heapallindexed ─► assertions ─► clean shutdown
//! ```
//!
//! What cannot be judged on this host (no programs of that version, a missing library, another collation version) is a
//! doubt: a proof then ends unproven, and a restore goes on and says so. It never judges by a server of another version.
//!
//! Read next: `scratch.rs`.

use std::{fs, path::Path, time::Duration};

use muster_types::{Explain, Kind, Lsn, config::Assertion, event::Watcher, text::counted, wal::Reached};

use super::{
    binaries::{Binaries, TO_OPEN},
    place::{self, Owner},
    refusal::{has_code, quoted},
    replay,
    scratch::{Fate, ScratchServer},
    settings::{self, Server},
    wire::Connection,
};
use crate::{
    DriverError,
    command::{Ended, Exit, Invocation},
    component::{Verification, Verified},
    expect,
    sql::literal,
};

/// Asks whether every value of a database's libraries can be loaded; `58P01` means that there is no such file.
const LIBRARIES: &str =
    "SELECT DISTINCT probin FROM pg_proc WHERE probin IS NOT NULL AND probin <> '' ORDER BY 1";
/// The databases that let themselves be looked at.
const DATABASES: &str = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1";
/// Collations of a database whose version is another one here.
const COLLATIONS: &str = "\
    SELECT 'collation ' || collname || ' is ' || collversion || ', here ' || coalesce(pg_collation_actual_version(oid), 'absent') \
    FROM pg_collation WHERE collversion IS NOT NULL AND collversion IS DISTINCT FROM pg_collation_actual_version(oid) \
    UNION ALL \
    SELECT 'database ' || datname || ' is sorted by version ' || datcollversion || ', here ' || coalesce(pg_database_collation_actual_version(oid), 'absent') \
    FROM pg_database WHERE datname = current_database() AND datcollversion IS NOT NULL \
    AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)";

/// What a verification needs to know.
pub(super) struct Request<'a> {
    pub(super) name: &'a str,
    pub(super) bin_dir: Option<&'a Path>,
    pub(super) data_dir: Option<&'a Path>,
    /// The database that assertions are asked in.
    pub(super) database: &'a str,
    pub(super) asked: &'a Verification<'a>,
}

/// Verifies restored files.
///
/// # Errors
/// `Corrupt`: this backup is damaged. Everything else says nothing about the backup.
pub(super) fn verify(request: &Request<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
    let Some(data) = request.asked.places.first() else {
        return Err(damaged(request.name, "it holds no data directory"));
    };
    let version = fs::read_to_string(data.join("PG_VERSION")).unwrap_or_default();
    let Ok(major) = version.trim().parse::<u32>() else {
        return Err(damaged(request.name, "it has no PG_VERSION: it is no data directory"));
    };
    let server = server(data, major);
    let binaries = match programs(request, major, TO_OPEN)? {
        Ok(binaries) => binaries,
        // Without a server nothing is replayed, and the state is not the one that was asked for.
        Err(unopened) if request.asked.replay.is_some() => {
            let message = format!(
                "the log of `{}` cannot be replayed here: {}",
                request.name,
                unopened.doubts.join("; ")
            );
            return Err(DriverError::new(Kind::Unavailable, message)
                .with_hint("install PostgreSQL of that version, or name its programs with `bin_dir`"));
        }
        Err(unopened) => return Ok(unopened),
    };
    watcher.begin("verify", None);
    let owner = Owner::find(request.data_dir, data)?;
    place::prepare(request.asked.places, owner)?;
    // A server that was started on these files has changed them: it was only started when they were right.
    if replay::is_untouched(data) {
        check_manifest(&binaries, data, request.name, request.asked.is_proof, watcher)?;
    }
    watcher.begin("recover", None);
    let fate = match request.asked.replay {
        None => Fate::Kept,
        Some(asked) => {
            replay::prepare(data, owner)?;
            Fate::Recovered(asked)
        }
    };
    let started = ScratchServer::start(&binaries, request.asked.places, &server, owner, fate, watcher);
    let scratch = started.map_err(|error| match request.asked.replay {
        Some(asked) => replay::explain(error, asked),
        None => error,
    })?;
    let judged = reach(request, data, owner, &scratch, watcher).and_then(|reached| {
        let verified = look(request, &binaries, &scratch, watcher)?;
        Ok(describe(verified, reached))
    });
    let stopped = scratch.stop();
    let verified = judged?;
    stopped?;
    Ok(verified)
}

/// Asks how far the log was replayed, when it was.
fn reach(
    request: &Request<'_>,
    data: &Path,
    owner: Owner,
    scratch: &ScratchServer,
    watcher: &dyn Watcher,
) -> Result<Option<Reached>, DriverError> {
    if request.asked.replay.is_none() {
        return Ok(None);
    }
    replay::reached(&mut scratch.connect("template1", watcher)?, data, owner, watcher)
}

fn describe(mut verified: Verified, reached: Option<Reached>) -> Verified {
    if let Some(Reached { timeline, lsn, commit_at }) = &reached {
        let commit = match commit_at {
            Some(time) => format!("last commit {time}"),
            None => "no commit in it".into(),
        };
        verified.summary =
            format!("replayed to LSN {lsn} ({commit}), now on timeline {timeline}; {}", verified.summary);
    }
    verified.reached = reached;
    verified
}

/// Finds the programs that open a backup; a host without them leaves it unopened, which says nothing of the backup.
pub(super) fn programs(
    request: &Request<'_>,
    major: u32,
    needed: &[&str],
) -> Result<Result<Binaries, Verified>, DriverError> {
    match Binaries::find(request.bin_dir, major, needed) {
        Err(error) if error.kind() == Kind::Unavailable => {
            let hint = error.hint().map(|hint| format!(": {hint}")).unwrap_or_default();
            Ok(Err(unopened(format!("{error}{hint}"))))
        }
        found => found.map(Ok),
    }
}

/// What is known of a backup that this host cannot open.
pub(super) fn unopened(doubt: String) -> Verified {
    Verified { summary: "written, not opened".into(), doubts: vec![doubt], reached: None }
}

/// Names what a newer version has promised of a backup.
pub(super) fn unknown_witness(name: &str, what: &str) -> DriverError {
    let message = format!("the backup of `{name}` promises `{what}`, which this version cannot compute");
    DriverError::new(Kind::Unavailable, message)
        .with_hint("use the version of Muster that took the backup, or a newer one")
}

/// What the backup says of its server; a backup without it is of its major version at least.
pub(super) fn server(data: &Path, major: u32) -> Server {
    let told = fs::read(data.join(settings::FOLDER).join(settings::SERVER)).ok();
    let told: Option<Server> = told.and_then(|json| serde_json::from_slice(&json).ok());
    let mut server = told.unwrap_or_default();
    server.version = major * 10_000;
    server
}

fn check_manifest(
    binaries: &Binaries,
    data: &Path,
    name: &str,
    is_proof: bool,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let program = binaries.program("pg_verifybackup").display().to_string();
    // What was written came from the chunks whose hashes were checked, and those from bytes that were compared with the
    // manifest when they arrived. A proof trusts neither and reads every file again.
    let whole = if is_proof { None } else { Some("--skip-checksums".to_owned()) };
    let mut argv = vec![program, "--exit-on-error".into()];
    argv.extend(whole);
    argv.extend([settings::FOLDER, replay::FOLDER].map(|folder| format!("--ignore={folder}")));
    argv.push(data.display().to_string());
    let ended =
        Invocation::new(argv, Duration::MAX / 4).run(watcher).map_err(|error| DriverError::of(&error))?;
    if ended.is_success() {
        return Ok(());
    }
    Err(damaged(name, &format!("pg_verifybackup says: {}", told(&ended))))
}

fn look(
    request: &Request<'_>,
    binaries: &Binaries,
    scratch: &ScratchServer,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let mut main = scratch.connect("template1", watcher)?;
    compare(&mut main, request, watcher)?;
    let databases = main.column(DATABASES, watcher)?;
    let mut doubts = Vec::new();
    for database in &databases {
        let mut connection = scratch.connect(database, watcher)?;
        doubts.extend(strangers(&mut connection, database, watcher)?);
    }
    if !scratch.has_own_network() && request.asked.is_proof {
        log::warn!(
            "the kernel gave the scratch server no network of its own: its settings alone keep it apart"
        );
    }
    let mut parts = vec![format!("recovered, {}", counted(databases.len(), "database"))];
    if request.asked.is_proof && doubts.is_empty() {
        watcher.begin("check pages and indexes", None);
        check_pages(&databases, binaries, scratch, request.name, watcher)?;
        parts.push("pages and indexes ok".into());
    }
    if !request.asked.assertions.is_empty() {
        let mut connection = scratch.connect(request.database, watcher).map_err(|error| {
            damaged(
                request.name,
                &format!("its database {} does not open: {error}", quoted(request.database)),
            )
        })?;
        for assertion in request.asked.assertions {
            evaluate(&mut connection, assertion, watcher)?;
        }
        parts.push(format!("{} held", counted(request.asked.assertions.len(), "assertion")));
    }
    Ok(Verified { summary: parts.join(", "), doubts, reached: None })
}

/// Compares identity and position with what the backup promises.
fn compare(
    connection: &mut Connection,
    request: &Request<'_>,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let name = request.name;
    for (what, expected) in request.asked.witness {
        let found = match what.as_str() {
            "system_identifier" => {
                connection.value("SELECT system_identifier FROM pg_control_system()", watcher)?
            }
            // Whoever replays a log ends on a timeline of its own.
            "timeline" if request.asked.replay.is_some() => continue,
            "timeline" => connection.value("SELECT timeline_id FROM pg_control_checkpoint()", watcher)?,
            "stop_lsn" => {
                let reached = connection.value("SELECT pg_current_wal_lsn()", watcher)?.unwrap_or_default();
                let (Ok(stop), Ok(at)) = (expected.parse::<Lsn>(), reached.parse::<Lsn>()) else {
                    return Err(damaged(name, &format!("its stop_lsn `{expected}` is no position")));
                };
                if at < stop {
                    return Err(damaged(
                        name,
                        &format!("recovery ended at {at}, before the end of the backup at {stop}"),
                    ));
                }
                continue;
            }
            other => return Err(unknown_witness(name, other)),
        };
        if found.as_deref() != Some(expected) {
            let found = found.unwrap_or_else(|| "nothing".into());
            return Err(damaged(name, &format!("{what} is {found}, the backup had {expected}")));
        }
    }
    Ok(())
}

/// Names what this host lacks: libraries of extensions, versions of collations.
fn strangers(
    connection: &mut Connection,
    database: &str,
    watcher: &dyn Watcher,
) -> Result<Vec<String>, DriverError> {
    let mut doubts = Vec::new();
    for library in connection.column(LIBRARIES, watcher)? {
        let sql = format!("LOAD {}", literal(&library));
        // Some libraries can only be loaded at the start; those are there.
        if let Err(error) = connection.query(&sql, watcher) {
            if error.kind() == Kind::Interrupted {
                return Err(error);
            }
            if has_code(&error, "58P01") {
                doubts.push(format!(
                    "database {database} needs the library {library}, which this host does not have"
                ));
            }
        }
    }
    let collations = connection.column(COLLATIONS, watcher)?;
    doubts.extend(
        collations
            .into_iter()
            .map(|text| format!("{text}: indexes over text may be wrong here, REINDEX them (in {database})")),
    );
    Ok(doubts)
}

/// Runs `pg_amcheck` on everything, and takes its extension away again where it was not.
fn check_pages(
    databases: &[String],
    binaries: &Binaries,
    scratch: &ScratchServer,
    name: &str,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let mut without = Vec::new();
    for database in databases {
        let mut connection = scratch.connect(database, watcher)?;
        if connection.query("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'", watcher)?.is_empty() {
            without.push(connection);
        }
    }
    let args = ["--all", "--heapallindexed", "--install-missing", "--no-password", "--jobs=2"];
    let ended =
        scratch.run(binaries, "pg_amcheck", &args, watcher).map_err(|error| DriverError::of(&error))?;
    for mut connection in without {
        connection.query("DROP EXTENSION IF EXISTS amcheck", watcher)?;
    }
    match ended.exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(2) => Err(damaged(name, &format!("pg_amcheck says: {}", first_lines(&ended)))),
        _ => Err(DriverError::new(Kind::Unavailable, format!("pg_amcheck could not look: {}", told(&ended)))
            .with_hint("is the extension amcheck installed? (Debian: it comes with postgresql-NN)")),
    }
}

pub(super) fn evaluate(
    connection: &mut Connection,
    assertion: &Assertion,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let Some(sql) = &assertion.sql else {
        return Err(DriverError::new(Kind::Config, "an assertion about `postgres` has no `sql`")
            .with_hint("write `{sql: \"select count(*) from runs\", expect: \">= 1\"}`"));
    };
    connection.query("BEGIN READ ONLY", watcher)?;
    let value = connection.value(sql, watcher).map_err(|error| match error.kind() {
        Kind::Interrupted => error,
        _ => DriverError::new(Kind::Corrupt, format!("the assertion `{sql}` cannot be asked: {error}"))
            .with_hint("try it in the database; a missing table means that the wrong database was backed up"),
    })?;
    connection.query("ROLLBACK", watcher)?;
    let value = value.unwrap_or_else(|| "null".into());
    let expect = assertion.expect.as_deref().unwrap_or("== t");
    if expect::holds(&value, expect) {
        return Ok(());
    }
    Err(DriverError::new(Kind::Corrupt, format!("the assertion `{sql}` gives {value}, expected {expect}")))
}

pub(super) fn damaged(name: &str, why: &str) -> DriverError {
    DriverError::new(Kind::Corrupt, format!("the backup of `{name}` is not good: {why}"))
        .with_hint("take an older one: `muster list`, then `muster restore --to ID`")
}

pub(super) fn told(ended: &Ended) -> String {
    ended.last_lines(2).replace('\n', "; ")
}

/// `pg_amcheck` names the relation first and the rest after it.
fn first_lines(ended: &Ended) -> String {
    let text = ended.stdout.text();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    if lines.is_empty() { told(ended) } else { lines.join("; ") }
}
