//! The servers of a cluster: what each is, how a primary is closed, how a standby becomes the primary.
//!
//! ```text
//! members ─► which is the primary, how far is each
//! close:   read-only by default, no commit acknowledged ─► sessions end ─► where does the log end
//! promote: log up to there, or no more comes ─► pg_promote ─► a commit that is really written
//! ```
//! In: addresses. Out: facts, positions. A closed primary acknowledges nothing any more: it waits for a standby that does
//! not exist. Both settings stand in a file of its own and are not replicated, so that the new primary does not have them.
//!
//! It never decides who becomes the primary, and never promotes one that was not asked for.
//! Read next: `../failover.rs` for what is handed over, docs/recovering.md for how a person uses it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use muster_types::{
    Kind, Lsn, Timestamp,
    config::{PostgresComponent, SecretSwitch},
    event::Watcher,
    failover::{MemberFacts, MemberState},
    text::counted,
};

use super::{
    address::Address,
    refusal::quoted,
    wire::{Connection, Purpose},
};
use crate::{
    DriverError,
    command::Invocation,
    failover::{Closed, PromotedMember},
    kubectl::secret,
    pause::pause,
};

/// How long sessions may take to end.
const END_WITHIN: Duration = Duration::from_secs(30);
/// A standby whose log does not grow for so long gets no more of it.
const STALL: Duration = Duration::from_secs(10);
/// How long a standby may take to get what the closed primary had.
const CATCH_UP_WITHIN: Duration = Duration::from_mins(5);
/// How long a promotion may take: the standby replays what it has first.
const PROMOTE_WITHIN: Duration = Duration::from_mins(10);
/// How long the command that leads clients to the new primary may run.
const SWITCH_WITHIN: Duration = Duration::from_mins(10);
const PAUSE: Duration = Duration::from_millis(200);
/// A standby of this name does not exist: commits wait for it.
pub(super) const NOBODY: &str = "muster_fenced";

/// One server.
pub(super) struct Server {
    pub(super) name: String,
    pub(super) address: Address,
    service: Option<String>,
}

impl Server {
    /// Returns its name, and where it is.
    pub(super) fn place(&self) -> (&str, &Address) {
        (&self.name, &self.address)
    }
}

/// Reads the members of a component.
///
/// # Errors
/// `Config`: a URL cannot be read.
pub(super) fn servers(name: &str, component: &PostgresComponent) -> Result<Vec<Server>, DriverError> {
    let read = |(member, definition): (&String, &muster_types::config::Member)| {
        let own = Address::parse(&definition.url, None).map_err(|error| {
            DriverError::new(Kind::Config, format!("member `{member}` of component `{name}`: {error}"))
        })?;
        let address = match own.password {
            Some(_) => own,
            None => Address {
                password_missing: component.password_missing.clone(),
                ..Address::parse(&definition.url, component.password.as_deref())?
            },
        };
        Ok(Server { name: member.clone(), address, service: definition.service.clone() })
    };
    component.members.iter().map(read).collect()
}

/// Finds a member by its name.
///
/// # Errors
/// `Input`: there is none.
pub(super) fn find<'a>(
    component: &str,
    servers: &'a [Server],
    name: &str,
) -> Result<&'a Server, DriverError> {
    servers.iter().find(|one| one.name == name).ok_or_else(|| {
        let known: Vec<&str> = servers.iter().map(|one| one.name.as_str()).collect();
        let error = DriverError::new(Kind::Input, format!("component `{component}` has no member `{name}`"));
        if known.is_empty() {
            error.with_hint(
                "name its servers: `members: {db1: {url: postgres://muster@db1:5432/app}, db2: …}`",
            )
        } else {
            error.with_hint(format!("it has: {}", known.join(", ")))
        }
    })
}

/// Asks every server what it is.
///
/// # Errors
/// `Config`: there are none. `Interrupted`.
pub(super) fn members(
    component: &str,
    servers: &[Server],
    watcher: &dyn Watcher,
) -> Result<Vec<MemberFacts>, DriverError> {
    if servers.is_empty() {
        let message = format!("component `{component}` has no `members`: nobody knows its standbys");
        return Err(DriverError::new(Kind::Config, message)
            .with_hint("name its servers: `members: {db1: {url: postgres://muster@db1:5432/app}, db2: …}`"));
    }
    servers.iter().map(|server| ask(server, watcher)).collect()
}

fn ask(server: &Server, watcher: &dyn Watcher) -> Result<MemberFacts, DriverError> {
    let facts = |state, system_identifier, hindrance| MemberFacts {
        name: server.name.clone(),
        address: server.address.to_string(),
        service: server.service.clone(),
        state,
        system_identifier,
        hindrance,
    };
    let asked = Connection::open(&server.address, Purpose::Sql, watcher)
        .and_then(|mut connection| look(&mut connection, &server.address, watcher));
    match asked {
        Ok((state, identifier, hindrance)) => Ok(facts(state, identifier, hindrance)),
        Err(error) if is_interrupted(&error) => Err(error),
        Err(error) => {
            let answers = answers(&error);
            Ok(facts(MemberState::Silent { why: error.to_string(), answers }, None, None))
        }
    }
}

fn is_interrupted(error: &DriverError) -> bool {
    muster_types::Explain::kind(error) == Kind::Interrupted
}

/// Only where nobody takes the call is nobody there: a server that refuses us, or hangs, may go on with its work.
fn answers(error: &DriverError) -> bool {
    !error.to_string().starts_with("cannot reach PostgreSQL at ")
}

type Look = (MemberState, Option<String>, Option<String>);

fn look(connection: &mut Connection, address: &Address, watcher: &dyn Watcher) -> Result<Look, DriverError> {
    let identifier = connection
        .value("SELECT system_identifier::text FROM pg_catalog.pg_control_system()", watcher)
        .ok()
        .flatten();
    if connection.value("SELECT pg_catalog.pg_is_in_recovery()::text", watcher)?.as_deref() != Some("true") {
        let at = lsn(connection, "SELECT pg_catalog.pg_current_wal_flush_lsn()::text", watcher)?;
        let hindrance = may_not_close(connection, address, watcher)?;
        return Ok((MemberState::Primary { at }, identifier, hindrance));
    }
    let (received, replayed) = (received(connection, watcher)?, replayed(connection, watcher)?);
    let newest_commit = newest_commit(connection, watcher)?;
    let sql = "SELECT (count(pid) > 0)::text FROM pg_catalog.pg_stat_wal_receiver";
    let is_streaming = connection.value(sql, watcher)?.as_deref() == Some("true");
    let sql = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_promote(boolean, integer)', 'EXECUTE')::text";
    let may = connection.value(sql, watcher)?.as_deref() == Some("true");
    let user = quoted(&address.user);
    let hindrance = (!may).then(|| {
        format!("on the primary (it is replicated): GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO {user};")
    });
    Ok((MemberState::Standby { received, replayed, newest_commit, is_streaming }, identifier, hindrance))
}

/// Returns the statements that let the role close the primary.
fn may_not_close(
    connection: &mut Connection,
    address: &Address,
    watcher: &dyn Watcher,
) -> Result<Option<String>, DriverError> {
    let user = quoted(&address.user);
    let mut mend = Vec::new();
    for (sql, grant) in [
        (
            "has_parameter_privilege('default_transaction_read_only', 'ALTER SYSTEM')",
            "ALTER SYSTEM ON PARAMETER default_transaction_read_only",
        ),
        (
            "has_parameter_privilege('synchronous_standby_names', 'ALTER SYSTEM')",
            "ALTER SYSTEM ON PARAMETER synchronous_standby_names",
        ),
        (
            "has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE')",
            "EXECUTE ON FUNCTION pg_reload_conf()",
        ),
        ("pg_has_role('pg_signal_backend', 'USAGE')", "pg_signal_backend"),
    ] {
        let may = connection.value(&format!("SELECT pg_catalog.{sql}::text"), watcher)?;
        if may.as_deref() != Some("true") {
            mend.push(format!("GRANT {grant} TO {user};"));
        }
    }
    Ok((!mend.is_empty()).then(|| mend.join(" ")))
}

fn lsn(connection: &mut Connection, sql: &str, watcher: &dyn Watcher) -> Result<Lsn, DriverError> {
    let text = connection.value(sql, watcher)?.unwrap_or_default();
    text.parse().map_err(|error: String| DriverError::new(Kind::Bug, error))
}

/// Up to where a standby has the log: by its receiver, or from an archive.
fn received(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Lsn, DriverError> {
    let sql = "SELECT coalesce(greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()), '0/0')::text";
    lsn(connection, sql, watcher)
}

fn replayed(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Lsn, DriverError> {
    lsn(connection, "SELECT coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::text", watcher)
}

fn newest_commit(
    connection: &mut Connection,
    watcher: &dyn Watcher,
) -> Result<Option<Timestamp>, DriverError> {
    let sql =
        "SELECT (extract(epoch FROM pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::bigint::text";
    let text = connection.value(sql, watcher)?;
    Ok(text.and_then(|text| Timestamp::from_microsecond(text.parse().ok()?).ok()))
}

/// Closes a primary.
///
/// # Errors
/// `Conflict`: a right is missing, or it lets nobody in. `Unavailable`: sessions do not end. `Interrupted`.
pub(super) fn close(server: &Server, watcher: &dyn Watcher) -> Result<Option<Closed>, DriverError> {
    let mut connection = match Connection::open(&server.address, Purpose::Sql, watcher) {
        Ok(connection) => connection,
        Err(error) if is_interrupted(&error) => return Err(error),
        Err(error) if answers(&error) => {
            let message = format!("{} answers and cannot be closed: {error}", server.name);
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("stop its server on its host, then try again"));
        }
        Err(_) => return Ok(None),
    };
    if connection.value("SELECT pg_catalog.pg_is_in_recovery()::text", watcher)?.as_deref() == Some("true") {
        return Ok(None);
    }
    if let Some(mend) = may_not_close(&mut connection, &server.address, watcher)? {
        let message = format!("the role {} may not close {}", quoted(&server.address.user), server.name);
        return Err(DriverError::new(Kind::Conflict, message).with_hint(mend));
    }
    // Our own last word must not wait for nobody.
    connection.query("SET synchronous_commit = local", watcher)?;
    connection.query("SET default_transaction_read_only = off", watcher)?;
    connection.query("ALTER SYSTEM SET default_transaction_read_only = on", watcher)?;
    connection.query(&format!("ALTER SYSTEM SET synchronous_standby_names = '{NOBODY}'"), watcher)?;
    connection.query("SELECT pg_catalog.pg_reload_conf()", watcher)?;
    let begun = Instant::now();
    loop {
        let mut fresh = Connection::open(&server.address, Purpose::Sql, watcher)?;
        let names = fresh.value("SHOW synchronous_standby_names", watcher)?;
        if names.as_deref() == Some(NOBODY) {
            break;
        }
        if begun.elapsed() > END_WITHIN {
            let message = format!("{} does not take its new settings", server.name);
            return Err(DriverError::new(Kind::Unavailable, message)
                .with_hint("its command line may set synchronous_standby_names: stop its server instead"));
        }
        pause(PAUSE, watcher)?;
    }
    let ended = end_sessions(&mut connection, server, watcher)?;
    // A commit of our own: everything before it is on disk and can be received.
    connection.query("SELECT pg_catalog.pg_logical_emit_message(true, 'muster', 'closed')", watcher)?;
    let end = lsn(&mut connection, "SELECT pg_catalog.pg_current_wal_flush_lsn()::text", watcher)?;
    let summary = format!("{} ended, its log ends at {end}", counted(ended, "session"));
    Ok(Some(Closed { end, summary }))
}

/// Ends every session that could still write, and returns how many there were.
fn end_sessions(
    connection: &mut Connection,
    server: &Server,
    watcher: &dyn Watcher,
) -> Result<usize, DriverError> {
    // Sessions that begin from now on are read-only, and their commits wait.
    let pids = "SELECT pid::text FROM pg_catalog.pg_stat_activity \
        WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()";
    let old = connection.column(pids, watcher)?;
    let begun = Instant::now();
    loop {
        let now = connection.column(pids, watcher)?;
        let left: Vec<&String> = old.iter().filter(|pid| now.contains(pid)).collect();
        if left.is_empty() {
            return Ok(old.len());
        }
        for pid in &left {
            connection.query(&format!("SELECT pg_catalog.pg_terminate_backend({pid})"), watcher)?;
        }
        if begun.elapsed() > END_WITHIN {
            let message = format!("{} of {} do not end", counted(left.len(), "session"), server.name);
            return Err(DriverError::new(Kind::Unavailable, message)
                .with_hint("stop its server on its host, then try again"));
        }
        pause(PAUSE, watcher)?;
    }
}

/// Makes a standby the primary.
///
/// # Errors
/// `Unavailable`: it does not answer, or takes no writes in time. What the server refuses. `Interrupted`.
pub(super) fn promote(
    server: &Server,
    end: Option<Lsn>,
    watcher: &dyn Watcher,
) -> Result<PromotedMember, DriverError> {
    let mut connection = Connection::open(&server.address, Purpose::Sql, watcher)?;
    let is_standby = "SELECT pg_catalog.pg_is_in_recovery()::text";
    let mut had = None;
    if connection.value(is_standby, watcher)?.as_deref() == Some("true") {
        watcher.begin("wait for the log of the old primary", None);
        had = Some(catch_up(&mut connection, end, watcher)?);
        watcher.begin("promote", None);
        connection.query("SELECT pg_catalog.pg_promote(false)", watcher)?;
        let begun = Instant::now();
        while connection.value(is_standby, watcher)?.as_deref() == Some("true") {
            if begun.elapsed() > PROMOTE_WITHIN {
                let message = format!("{} was told to become the primary and is none yet", server.name);
                return Err(DriverError::new(Kind::Unavailable, message)
                    .with_hint("look into its log; `muster resume RUN` goes on waiting"));
            }
            pause(PAUSE, watcher)?;
        }
    }
    let newest_commit = newest_commit(&mut connection, watcher)?;
    let mut warnings = Vec::new();
    let names = connection.value("SHOW synchronous_standby_names", watcher)?.unwrap_or_default();
    if !names.is_empty() {
        warnings.push(format!(
            "commits on {} wait for the standby `{names}`: where it is not there, ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf();",
            server.name
        ));
    }
    if connection.value("SHOW default_transaction_read_only", watcher)?.as_deref() == Some("on") {
        warnings.push(format!(
            "{} lets nobody write by default: ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();",
            server.name
        ));
        connection.query("SET default_transaction_read_only = off", watcher)?;
    }
    // That it can write is known when it has written.
    connection.query("SET synchronous_commit = local", watcher)?;
    connection.query("SELECT pg_catalog.pg_logical_emit_message(true, 'muster', 'promoted')", watcher)?;
    let sql = "SELECT ('x' || left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int::text";
    let timeline = connection.value(sql, watcher)?.and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(PromotedMember { received: had, newest_commit, timeline, warnings })
}

/// Waits until a standby has the log up to `end`, or gets no more; returns how far it is.
fn catch_up(
    connection: &mut Connection,
    end: Option<Lsn>,
    watcher: &dyn Watcher,
) -> Result<Lsn, DriverError> {
    let mut last = received(connection, watcher)?;
    let Some(end) = end else { return Ok(last) };
    let (begun, mut grown) = (Instant::now(), Instant::now());
    while last < end && grown.elapsed() < STALL && begun.elapsed() < CATCH_UP_WITHIN {
        pause(PAUSE, watcher)?;
        let now = received(connection, watcher)?;
        if now > last {
            grown = Instant::now();
        }
        last = now;
    }
    Ok(last)
}

/// Returns the keys of Secrets that lead clients, when they can be meant.
///
/// # Errors
/// `Config`: no namespace, no name, a workload without replicas.
pub(super) fn switches(component: &PostgresComponent) -> Result<Vec<SecretSwitch>, DriverError> {
    for one in &component.failover_secrets {
        secret::check(one)?;
    }
    Ok(component.failover_secrets.clone())
}

/// Leads clients to a member: first what workloads on Kubernetes read, then by the command. Returns one line.
///
/// # Errors
/// Of the first that fails; may be repeated.
pub(super) fn lead(
    argv: &[String],
    secrets: &[SecretSwitch],
    server: &Server,
    watcher: &dyn Watcher,
) -> Result<String, DriverError> {
    let mut said = Vec::new();
    for one in secrets {
        said.push(secret::lead(one, &server.address.host, server.address.port, watcher)?);
    }
    if !argv.is_empty() {
        said.push(switch(argv, server, watcher)?);
    }
    said.retain(|line| !line.is_empty());
    Ok(said.join("; "))
}

/// Runs the command that leads clients to a member.
///
/// # Errors
/// It is not there, or fails.
fn switch(argv: &[String], server: &Server, watcher: &dyn Watcher) -> Result<String, DriverError> {
    let mut invocation = Invocation::new(argv.iter().cloned(), SWITCH_WITHIN);
    let Address { host, port, database, .. } = &server.address;
    invocation.env = [
        ("MUSTER_MEMBER", server.name.clone()),
        ("MUSTER_HOST", host.clone()),
        ("MUSTER_PORT", port.to_string()),
        ("MUSTER_DATABASE", database.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let ended = invocation.run(watcher).map_err(|error| DriverError::of(&error))?;
    if ended.is_success() {
        return Ok(ended.last_lines(1));
    }
    let program = argv.first().map_or("", |program| Path::new(program).to_str().unwrap_or_default());
    let message = format!("`on_failover` ({program}) failed: {}", ended.last_lines(2).replace('\n', "; "));
    Err(DriverError::new(Kind::Unavailable, message).with_hint(format!(
        "{} is the primary: mend the command, then `muster resume RUN`, or lead the clients there by hand",
        server.name
    )))
}
