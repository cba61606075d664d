//! What a backup says of the server that it was taken from: a file in it, for people and for `--json`.
//!
//! In: the record of a backup, and the file that it names. Out: what the server was when the backup was taken. Backups of
//! other kinds have no such file. Nothing here reads a repository, and no secret is in what it gives.

use std::path::PathBuf;

use muster_types::backup::{BackupRecord, Method};
use serde::Serialize;

use crate::{look::Fact, postgres, redis};

/// What a server was when a backup of it was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServerFacts {
    /// Of what the server is, for people; empty for PostgreSQL.
    #[serde(skip)]
    pub product: &'static str,
    /// Like `15.4`.
    pub version: String,
    /// The database, of a backup that holds one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// What tells clusters apart. This and the next five: of a backup of a whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// Where its log begins that the backup needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_lsn: Option<String>,
    /// Where a recovery is consistent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_lsn: Option<String>,
    /// Whether pages had checksums.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_checksums: Option<bool>,
    /// Where tablespaces stood, in the order of their numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tablespaces: Option<Vec<PathBuf>>,
    /// `name version`, of the database of the URL.
    pub extensions: Vec<String>,
    /// `database provider version` of a cluster, `provider collation ctype` of one database.
    pub collations: Vec<String>,
    /// The version of the `pg_dump` that wrote it, of a backup of one database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dumped_by: Option<String>,
}

/// Returns the file of a backup that says it, relative to its content; `None` where the kind has none.
pub fn file(record: &BackupRecord) -> Option<PathBuf> {
    if record.method != Method::Consistent {
        return None;
    }
    match record.identity.kind.as_str() {
        "postgres" => Some(postgres::description_file(record)),
        "redis" => Some(PathBuf::from(redis::DESCRIPTION_FILE)),
        _ => None,
    }
}

/// Reads the file's content; `None` when it is not what this version knows.
pub fn read(record: &BackupRecord, content: &[u8]) -> Option<ServerFacts> {
    if record.identity.kind == "redis" {
        redis::described(content)
    } else {
        postgres::described(record, content)
    }
}

impl ServerFacts {
    /// Returns the same as lines for people.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            facts.extend(value.map(|value| Fact { name: name.to_owned(), value }));
        };
        let list = |words: &[String]| Some(words.join(", ")).filter(|text| !text.is_empty());
        let product = if self.product.is_empty() { "PostgreSQL" } else { self.product };
        add("server", Some(format!("{product} {}", self.version)));
        add("database", self.database.clone());
        add("system id", self.system_identifier.clone());
        add("timeline", self.timeline.map(|number| number.to_string()));
        add("start LSN", self.start_lsn.clone());
        add("stop LSN", self.stop_lsn.clone());
        add("checksums", self.has_checksums.map(|has| if has { "on" } else { "off" }.to_owned()));
        let spaces = self.tablespaces.iter().flatten().map(|path| path.display().to_string());
        add("tablespaces", list(&spaces.collect::<Vec<_>>()));
        add("extensions", list(&self.extensions));
        add("collations", list(&self.collations));
        add("dumped by", self.dumped_by.as_ref().map(|version| format!("pg_dump {version}")));
        facts
    }
}
