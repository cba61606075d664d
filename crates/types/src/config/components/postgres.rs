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

/// Where the files of a physical backup are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PostgresTransport {
    /// On this host where that is possible, else over the network.
    #[default]
    Auto,
    /// Over the network, as the server sends them.
    Replication,
    /// On this host, by Muster itself.
    Local,
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
    /// As `Stream`, and the server's commits wait until their log is durable in the repository.
    Sync,
}

/// What is written to an idle server so that its newest commit tells how far the repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PostgresHeartbeat {
    /// Nothing.
    #[default]
    None,
    /// A message in the log, in a transaction of its own.
    Message,
    /// The row of the component in the table `muster_heartbeat`.
    Table,
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
    /// Where the files of a backup are read.
    pub transport: PostgresTransport,
    /// The member, a standby, that backups are taken from.
    pub backup_from: Option<String>,
    /// The most bytes per second that a backup takes.
    pub max_rate: Option<ByteSize>,
    /// Whether the write-ahead log is received.
    pub wal: PostgresWal,
    /// What is written to the server every few seconds while its log is received.
    pub heartbeat: PostgresHeartbeat,
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
            .field("transport", &self.transport)
            .field("backup_from", &self.backup_from)
            .field("max_rate", &self.max_rate)
            .field("wal", &self.wal)
            .field("common", &self.common)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Span,
        config::{Component, components::ComponentKeys},
        objective::{Objectives, Target},
    };

    fn component(more: &str) -> Component {
        let text = format!("{{\"kind\": \"postgres\", \"url\": \"postgres://muster@db/app\"{more}}}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn where_a_backup_is_read_stands_in_the_file_and_comes_back_into_it() {
        let silent = component("");
        let Component::Postgres(postgres) = &silent else { panic!("{silent:?}") };
        assert_eq!((postgres.transport, &postgres.backup_from), (PostgresTransport::Auto, &None));
        let written = serde_json::to_string(&silent).unwrap();
        assert!(!written.contains("transport") && !written.contains("backup_from"), "{written}");
        let said = component(", \"transport\": \"local\", \"backup_from\": \"db2\"");
        let again: Component = serde_json::from_str(&serde_json::to_string(&said).unwrap()).unwrap();
        assert_eq!(again, said);
        let keys = ComponentKeys::from(said);
        assert_eq!(
            (keys.transport, keys.backup_from.as_deref()),
            (Some(PostgresTransport::Local), Some("db2"))
        );
        let foreign = serde_json::from_str::<Component>("{\"kind\": \"redis\", \"transport\": \"local\"}");
        assert!(foreign.unwrap_err().to_string().contains("`transport` does not belong to kind `redis`"));
    }

    #[test]
    fn the_rpo_of_the_platform_holds_where_a_component_is_silent() {
        let of = |seconds| Some(Target::Within(Span::from_secs(seconds)));
        let platform = Objectives { rpo: of(60), ..Objectives::default() };
        let rpo = |component: &Component| {
            component.with_rpo_of(&platform).common().objectives.and_then(|one| one.rpo)
        };
        assert_eq!(rpo(&component("")), of(60));
        assert_eq!(rpo(&component(", \"objectives\": {\"rpo\": \"5s\"}")), of(5));
    }
}
