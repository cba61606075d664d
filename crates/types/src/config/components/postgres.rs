//! The component of kind `postgres`: a cluster behind a URL, how it is backed up, and its members.
//!
//! In: values out of the keys of the file. It never resolves a secret.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ComponentCommon, Member, MissingSecret};
use crate::{ByteSize, config::SecretSwitch};

/// How a backup of PostgreSQL is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PostgresMethod {
    /// The files of the whole cluster, by the replication protocol.
    #[default]
    Physical,
    /// The content of one database, by `pg_dump`.
    Logical,
}

/// Whether the write-ahead log is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PostgresWal {
    /// It is not: a restore brings back the moment of a backup.
    #[default]
    None,
    /// By a replication slot, as the server writes it.
    Stream,
}

/// A PostgreSQL cluster.
#[derive(Clone, PartialEq, Default)]
pub struct PostgresComponent {
    /// The server and a database; `None` only in a shared file, before an environment gives it.
    pub url: Option<String>,
    /// The password of the URL's user.
    pub password: Option<String>,
    /// Why the password that the file names cannot be had; then `password` is `None`. Never written.
    pub password_missing: Option<MissingSecret>,
    /// How a backup is taken.
    pub method: PostgresMethod,
    /// The data directory on this host.
    pub data_dir: Option<PathBuf>,
    /// The folder of the server's programs.
    pub bin_dir: Option<PathBuf>,
    /// The most bytes per second that a backup takes.
    pub max_rate: Option<ByteSize>,
    /// Whether the write-ahead log is received.
    pub wal: PostgresWal,
    /// Whether the slot may keep log without a limit.
    pub unbounded_slot: bool,
    /// The servers of its cluster, by name.
    pub members: BTreeMap<String, Member>,
    /// What leads clients to the new primary; empty when nothing does.
    pub on_failover: Vec<String>,
    /// Keys of Secrets that lead clients to the new primary.
    pub failover_secrets: Vec<SecretSwitch>,
    /// What all kinds share.
    pub common: ComponentCommon,
}

impl std::fmt::Debug for PostgresComponent {
    /// Without the URL and the password: both may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresComponent")
            .field("method", &self.method)
            .field("data_dir", &self.data_dir)
            .field("bin_dir", &self.bin_dir)
            .field("max_rate", &self.max_rate)
            .field("wal", &self.wal)
            .field("common", &self.common)
            .finish_non_exhaustive()
    }
}
