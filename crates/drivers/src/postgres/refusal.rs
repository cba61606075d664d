//! What a PostgreSQL server refuses, and the SQL or setting that mends it.
//!
//! In: the server's message with its SQLSTATE. Out: an error whose hint can be pasted. Codes decide, not texts, because
//! servers speak many languages. It never connects. Read next: `ready.rs`, which asks before the server has to refuse.

use muster_types::Kind;

use super::{address::Address, role, wire::Purpose};
use crate::{DriverError, sql::identifier};

/// An error or a notice of the server.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// `ERROR`, `FATAL`, `WARNING`, …, never translated.
    pub(super) severity: String,
    /// The SQLSTATE.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) detail: Option<String>,
    pub(super) hint: Option<String>,
}

/// `data_corrupted`.
pub(super) const CORRUPTED: &str = "XX001";

/// Makes the error for what was refused.
pub(super) fn refused(address: &Address, purpose: Purpose, said: &Said) -> DriverError {
    let mut message = format!("PostgreSQL at {address} says: {} [{}]", said.message, said.code);
    if let Some(detail) = &said.detail {
        message.push_str(&format!(" ({detail})"));
    }
    let kind = match said.code.as_str() {
        CORRUPTED | "XX002" => Kind::Corrupt,
        code if code.starts_with("42") && code != "42501" => Kind::Input,
        _ => Kind::Unavailable,
    };
    let error = DriverError::new(kind, message);
    match hint(address, purpose, said).or_else(|| said.hint.clone()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn hint(address: &Address, purpose: Purpose, said: &Said) -> Option<String> {
    let user = quoted(&address.user);
    Some(match (said.code.as_str(), purpose) {
        // It says the same of a role that does not exist, so that nobody can guess names.
        ("28P01", _) => format!(
            "give the right password (`password: ${{file:…}}`), or set it: ALTER ROLE {user} PASSWORD '…';\n\
             if there is no such role yet: {}",
            role::statements(&address.user).join(" ")
        ),
        ("28000", _) if said.message.contains(&format!("\"{}\"", address.user)) && !said.message.contains("pg_hba") => {
            format!("make the role: {}", role::statements(&address.user).join(" "))
        }
        ("28000", _) => format!(
            "add to pg_hba.conf, then `SELECT pg_reload_conf();`:\n{}",
            hba_lines(address).join("\n")
        ),
        ("3D000", _) => format!("name a database that exists in `url`, or make it: CREATE DATABASE {};", quoted(&address.database)),
        ("42501", Purpose::Replication) => format!("ALTER ROLE {user} REPLICATION;"),
        ("42501", Purpose::Sql) => format!("GRANT pg_monitor TO {user};"),
        ("53300", Purpose::Replication) => {
            "ALTER SYSTEM SET max_wal_senders = 10; then restart the server (or end a standby or backup that uses one)".into()
        }
        ("53300", Purpose::Sql) => "raise `max_connections`, or end sessions that are not needed".into(),
        ("53400", _) => "ALTER SYSTEM SET max_replication_slots = 10; then restart the server (or drop a slot that nobody uses)".into(),
        ("55000", Purpose::Replication) => "ALTER SYSTEM SET wal_level = replica; then restart the server".into(),
        ("57P01" | "57P02", _) => {
            "the server was stopped, or somebody ended the session; look into its log, then try again".into()
        }
        ("57P03", _) => "wait until the server has started, then try again".into(),
        _ => return None,
    })
}

/// The lines of `pg_hba.conf` that a backup needs; on the server's own host they are complete.
pub(super) fn hba_lines(address: &Address) -> Vec<String> {
    let user = quoted(&address.user);
    let is_here = ["localhost", "127.0.0.1", "::1"].contains(&address.host.as_str());
    let from: &[&str] = if is_here { &["127.0.0.1/32", "::1/128"] } else { &["<address of Muster>/32"] };
    let mut lines = Vec::new();
    // `all` does not mean `replication`: each needs its own line.
    for database in ["replication", "all"] {
        match address.socket_folder() {
            Some(_) => lines.push(format!("local  {database:<12} {user}  scram-sha-256")),
            None => lines.extend(
                from.iter().map(|from| format!("host   {database:<12} {user}  {from}  scram-sha-256")),
            ),
        }
    }
    lines
}

/// Tells whether the server refused with this SQLSTATE: [`refused`] writes it into the text.
pub(super) fn has_code(error: &DriverError, code: &str) -> bool {
    error.to_string().contains(&format!("[{code}]"))
}

/// Quotes a name for SQL where it must be.
pub(super) fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if is_plain && !name.is_empty() { name.to_owned() } else { identifier(name) }
}
