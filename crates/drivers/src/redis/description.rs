//! What a backup says of the server beside its RDB: `server.json`, `config.json` and `users.acl`.
//!
//! In: a connection. Out: what `INFO`, `CONFIG GET *` and `ACL LIST` tell; what the user may not ask is absent, and a
//! warning says so. Passwords and their hashes are among it, so it is never printed. An RDB has none of this.

use std::collections::BTreeMap;

use muster_types::{Kind, event::Watcher};
use serde::{Deserialize, Serialize};

use super::{
    info::Info,
    rdb::Contents,
    refusal::{RIGHTS_TO_READ, grant},
    wire::{Connection, Value},
};
use crate::{DriverError, described::ServerFacts};

/// The RDB.
pub(super) const RDB: &str = "dump.rdb";
/// What the server was.
pub(super) const SERVER: &str = "server.json";
/// Its settings, as `CONFIG GET *` gives them.
pub(super) const CONFIG: &str = "config.json";
/// Its users, as lines of an ACL file.
pub(super) const USERS: &str = "users.acl";

/// A version of Redis; the third number changes no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl Version {
    /// Reads `7.0.15`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// What a server was when a backup of it was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Server {
    /// Such as `7.0.15`.
    pub(super) version: String,
    /// Another one after each start.
    pub(super) run_id: String,
    /// Bytes of memory that its data took.
    #[serde(default)]
    pub(super) used_memory_bytes: u64,
    /// The format of the RDB.
    #[serde(default)]
    pub(super) rdb_version: u32,
    /// Modules whose values are in the RDB.
    #[serde(default)]
    pub(super) modules: Vec<String>,
    /// Names of files, where the server tells them.
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
}

/// What stands beside an RDB.
#[derive(Debug, Clone, Default)]
pub(super) struct Description {
    pub(super) server: Server,
    pub(super) config: Option<BTreeMap<String, String>>,
    pub(super) users: Option<Vec<String>>,
    pub(super) warnings: Vec<String>,
}

impl Description {
    /// Reads it.
    ///
    /// # Errors
    /// A lost connection; a server that is none for backups; `Interrupted`.
    pub(super) fn read(
        connection: &mut Connection,
        info: &Info,
        watcher: &dyn Watcher,
    ) -> Result<Self, DriverError> {
        let mut warnings = Vec::new();
        let user = connection.address().user().to_owned();
        let mut may = |answer: Value, what: &str| match answer {
            Value::Error(said) => {
                warnings.push(format!(
                    "{what} not in this backup: {said} (to have them: {})",
                    grant(&user, RIGHTS_TO_READ)
                ));
                None
            }
            other => Some(other.texts()),
        };
        let config = may(connection.ask(&["CONFIG", "GET", "*"], watcher)?, "the server's settings are");
        let users = may(connection.ask(&["ACL", "LIST"], watcher)?, "the server's users are");
        let config = config.map(|texts| {
            let pairs = texts.chunks_exact(2).filter_map(|pair| match pair {
                [name, value] => Some((name.clone(), value.clone())),
                _ => None,
            });
            pairs.collect::<BTreeMap<_, _>>()
        });
        let named = ["dbfilename", "appenddirname", "appendfilename", "appendonly"];
        let files = config.iter().flatten().filter(|(name, _)| named.contains(&name.as_str()));
        let server = Server {
            version: info.text("redis_version").to_owned(),
            run_id: info.text("run_id").to_owned(),
            used_memory_bytes: info
                .number("used_memory_dataset")
                .or(info.number("used_memory"))
                .unwrap_or_default(),
            files: files.map(|(name, value)| (name.clone(), value.clone())).collect(),
            ..Server::default()
        };
        Ok(Self { server, config, users, warnings })
    }

    /// Returns the files behind the RDB, in byte order, once it is known what is in it.
    ///
    /// # Errors
    /// `Bug`.
    pub(super) fn files_behind(
        &self,
        contents: &Contents,
    ) -> Result<Vec<(&'static str, Vec<u8>)>, DriverError> {
        let server = Server {
            rdb_version: contents.version,
            modules: contents.modules.iter().cloned().collect(),
            ..self.server.clone()
        };
        let mut files = vec![(SERVER, json(&server)?)];
        if let Some(users) = &self.users {
            files.push((USERS, (users.join("\n") + "\n").into_bytes()));
        }
        Ok(files)
    }

    /// Returns the file before the RDB.
    ///
    /// # Errors
    /// `Bug`.
    pub(super) fn file_before(&self) -> Result<Option<(&'static str, Vec<u8>)>, DriverError> {
        self.config.as_ref().map(|config| Ok((CONFIG, json(config)?))).transpose()
    }
}

/// Reads what a backup says of its server; `None` when it is none of Muster's.
pub(crate) fn described(content: &[u8]) -> Option<ServerFacts> {
    let server: Server = serde_json::from_slice(content).ok()?;
    Some(ServerFacts { product: "Redis", version: server.version, ..ServerFacts::default() })
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, DriverError> {
    serde_json::to_vec_pretty(value).map_err(|error| {
        DriverError::new(Kind::Bug, format!("the description of the server cannot be written: {error}"))
    })
}
