//! Entries of the key-value engines of a Vault: read whole, written whole.
//!
//! In: a component and the entry's path, as the HTTP API names it. Out: its keys with their values. An engine with versions
//! says so in its answer; then a write names the version that it rests on. It never puts a value into an error.
//!
//! Source: the HTTP API of OpenBao, "KV secrets engine", versions 1 and 2.

use muster_types::{Kind, config::VaultComponent};
use serde_json::{Map, Value, json};

use super::server::Server;
use crate::{DriverError, http::Answer};

/// What an entry holds.
pub(crate) struct Stored {
    /// Its keys with their values.
    pub(crate) data: Map<String, Value>,
    /// Its version, where the engine counts them.
    version: Option<u64>,
}

/// Reads an entry; `None`: there is none, or its newest version is deleted.
///
/// # Errors
/// `Unavailable`: the server does not answer, is sealed, or the token may not.
pub(crate) fn read(component: &VaultComponent, path: &str) -> Result<Option<Stored>, DriverError> {
    let server = Server::new(component)?;
    let session = server.session(component)?;
    let answer = session.ask("GET", &at(path), None)?;
    if answer.status == 404 {
        return Ok(None);
    }
    if !answer.is_success() {
        return Err(refused(&server, "read", path, &answer));
    }
    let version = answer.body.pointer("/data/metadata/version").and_then(Value::as_u64);
    let data = match version {
        Some(_) => answer.body.pointer("/data/data"),
        None => answer.body.pointer("/data"),
    };
    Ok(data.and_then(Value::as_object).map(|data| Stored { data: data.clone(), version }))
}

/// Writes an entry in the place of the one that was read.
///
/// # Errors
/// `Unavailable` as [`read`]; `Conflict`: there is a newer version.
pub(crate) fn write(component: &VaultComponent, path: &str, stored: &Stored) -> Result<(), DriverError> {
    let server = Server::new(component)?;
    let session = server.session(component)?;
    let body = match stored.version {
        Some(version) => json!({"options": {"cas": version}, "data": stored.data}),
        None => Value::Object(stored.data.clone()),
    };
    let answer = session.ask("POST", &at(path), Some(&body))?;
    if answer.is_success() { Ok(()) } else { Err(refused(&server, "write", path, &answer)) }
}

fn at(path: &str) -> String {
    format!("/v1/{}", path.trim_matches('/'))
}

fn refused(server: &Server, verb: &str, path: &str, answer: &Answer) -> DriverError {
    let path = path.trim_matches('/');
    if answer.status == 400 && answer.body.to_string().contains("check-and-set") {
        let message = format!("{} has a newer version of {path}: somebody else changes it", server.url());
        return DriverError::new(Kind::Conflict, message)
            .with_hint("find out who writes it, and do it again");
    }
    server.refused(&format!("{verb} {path}"), answer).with_hint(match answer.status {
        403 => {
            format!("add to the token's policy: path \"{path}\" {{ capabilities = [\"read\", \"update\"] }}")
        }
        503 => "it is sealed: open it first, `bao operator unseal`".to_owned(),
        _ => "look into the server's log; nothing was changed".to_owned(),
    })
}
