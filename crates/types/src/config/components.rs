//! The components of a platform: what has state, one kind each.
//!
//! The file's keys come in as [`ComponentKeys`], because an unknown key must be an error that names its line; they are
//! sorted into one struct per kind, and keys of other kinds are refused.
//!
//! This module never looks at a disk or a server.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackupPolicy, DataClass, ProofPolicy};
use crate::{ByteSize, Span, objective::Objectives};

/// Something with state.
///
/// Serde reads it through [`ComponentKeys`], because an unknown key must be an error that names its line, and serde
/// cannot give that for tagged enums with shared fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ComponentKeys", into = "ComponentKeys")]
pub enum Component {
    /// An SQLite database file.
    Sqlite(SqliteComponent),
    /// Folders and files.
    Files(FilesComponent),
    /// A PostgreSQL cluster.
    Postgres(PostgresComponent),
}

/// The kinds of component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// An SQLite database file.
    Sqlite,
    /// Folders and files.
    Files,
    /// A PostgreSQL cluster.
    Postgres,
}

/// Every key that a component of any kind can have, as the file shows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComponentKeys {
    /// The kind.
    pub kind: ComponentKind,
    /// `sqlite`: the database file. A connection: in a shared file it must come from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// `files`: files and folders. A connection: in a shared file they must come from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<PathBuf>>,
    /// `files`: only names that match one of these globs (relative to the path). Without it: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<Vec<String>>,
    /// `files`: not the names that match one of these globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<String>>,
    /// `files`: leave out files whose last change is longer ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// `postgres`: the server, as `postgres://user@host:port/database`; the database is the one that assertions are
    /// asked in, the backup holds all of them. A connection: in a shared file it must come from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `postgres`: the password, as a reference: `${file:/etc/muster/database.password}`. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// `postgres`: `physical` takes the whole cluster, `logical` takes the database of `url` with `pg_dump`.
    /// Default: `physical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<PostgresMethod>,
    /// `postgres`: the data directory, when it is on this host: where a restore puts it. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// `postgres`: the folder of the server's programs. Default: `PATH`, then where packages put them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bin_dir: Option<PathBuf>,
    /// `postgres`: the most bytes per second that a backup takes from the server. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<ByteSize>,
    /// `postgres`: `stream` receives the write-ahead log as the server writes it (`muster wal receive`). Default: `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<PostgresWal>,
    /// `postgres`: the slot of `wal: stream` may keep log without a limit, and so fill the server's disk. Default: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbounded_slot: Option<bool>,
    /// When to back up and what to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupPolicy>,
    /// Targets of this component; the platform's targets hold where these are silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
    /// Data classes inside the component, each with its own RPO.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<DataClass>,
    /// How a backup is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prove: Option<ProofPolicy>,
}

impl TryFrom<ComponentKeys> for Component {
    type Error = String;

    fn try_from(keys: ComponentKeys) -> Result<Self, String> {
        let common = ComponentCommon {
            backup: keys.backup,
            objectives: keys.objectives,
            classes: keys.classes,
            prove: keys.prove,
        };
        let refuse = |is_set: bool, key: &str, kind: &str, instead: &str| {
            if is_set { Err(format!("`{key}` does not belong to kind `{kind}`: {instead}")) } else { Ok(()) }
        };
        if keys.kind != ComponentKind::Postgres {
            let kind = if keys.kind == ComponentKind::Sqlite { "sqlite" } else { "files" };
            for (is_set, key) in [
                (keys.url.is_some(), "url"),
                (keys.password.is_some(), "password"),
                (keys.method.is_some(), "method"),
                (keys.data_dir.is_some(), "data_dir"),
                (keys.bin_dir.is_some(), "bin_dir"),
                (keys.max_rate.is_some(), "max_rate"),
                (keys.wal.is_some(), "wal"),
                (keys.unbounded_slot.is_some(), "unbounded_slot"),
            ] {
                refuse(is_set, key, kind, "it is a key of kind `postgres`")?;
            }
        }
        match keys.kind {
            ComponentKind::Postgres => {
                for (is_set, key) in [
                    (keys.path.is_some(), "path"),
                    (keys.paths.is_some(), "paths"),
                    (keys.include.is_some(), "include"),
                    (keys.exclude.is_some(), "exclude"),
                    (keys.max_age.is_some(), "max_age"),
                ] {
                    refuse(is_set, key, "postgres", "the whole cluster behind `url` is backed up")?;
                }
                Ok(Self::Postgres(PostgresComponent {
                    url: keys.url,
                    password: keys.password,
                    password_missing: None,
                    method: keys.method.unwrap_or_default(),
                    data_dir: keys.data_dir,
                    bin_dir: keys.bin_dir,
                    max_rate: keys.max_rate,
                    wal: keys.wal.unwrap_or_default(),
                    unbounded_slot: keys.unbounded_slot.unwrap_or_default(),
                    common,
                }))
            }
            ComponentKind::Sqlite => {
                refuse(keys.paths.is_some(), "paths", "sqlite", "one database file stands in `path`")?;
                refuse(keys.include.is_some(), "include", "sqlite", "the whole database is backed up")?;
                refuse(keys.exclude.is_some(), "exclude", "sqlite", "the whole database is backed up")?;
                refuse(keys.max_age.is_some(), "max_age", "sqlite", "the whole database is backed up")?;
                Ok(Self::Sqlite(SqliteComponent { path: keys.path, common }))
            }
            ComponentKind::Files => {
                refuse(keys.path.is_some(), "path", "files", "write a list, `paths: [/srv/uploads]`")?;
                Ok(Self::Files(FilesComponent {
                    paths: keys.paths.unwrap_or_default(),
                    include: keys.include.unwrap_or_default(),
                    exclude: keys.exclude.unwrap_or_default(),
                    max_age: keys.max_age,
                    common,
                }))
            }
        }
    }
}

impl From<Component> for ComponentKeys {
    fn from(component: Component) -> Self {
        let kind = match component {
            Component::Sqlite(_) => ComponentKind::Sqlite,
            Component::Files(_) => ComponentKind::Files,
            Component::Postgres(_) => ComponentKind::Postgres,
        };
        let common = component.common().clone();
        let mut keys = Self {
            kind,
            path: None,
            paths: None,
            include: None,
            exclude: None,
            max_age: None,
            url: None,
            password: None,
            method: None,
            data_dir: None,
            bin_dir: None,
            max_rate: None,
            wal: None,
            unbounded_slot: None,
            backup: common.backup,
            objectives: common.objectives,
            classes: common.classes,
            prove: common.prove,
        };
        let list = |values: Vec<String>| (!values.is_empty()).then_some(values);
        match component {
            Component::Sqlite(sqlite) => keys.path = sqlite.path,
            Component::Files(files) => {
                keys.paths = (!files.paths.is_empty()).then_some(files.paths);
                keys.include = list(files.include);
                keys.exclude = list(files.exclude);
                keys.max_age = files.max_age;
            }
            Component::Postgres(postgres) => {
                keys.url = postgres.url;
                keys.password = postgres.password;
                keys.method = (postgres.method != PostgresMethod::default()).then_some(postgres.method);
                keys.data_dir = postgres.data_dir;
                keys.bin_dir = postgres.bin_dir;
                keys.max_rate = postgres.max_rate;
                keys.wal = (postgres.wal != PostgresWal::default()).then_some(postgres.wal);
                keys.unbounded_slot = postgres.unbounded_slot.then_some(true);
            }
        }
        keys
    }
}

impl JsonSchema for Component {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Component".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        ComponentKeys::json_schema(generator)
    }
}

/// An SQLite database file.
#[derive(Debug, Clone, PartialEq)]
pub struct SqliteComponent {
    /// The database file; `None` only in a shared file, before an environment gives it.
    pub path: Option<PathBuf>,
    /// What all kinds share.
    pub common: ComponentCommon,
}

/// Folders and files.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FilesComponent {
    /// Files and folders; empty only in a shared file, before an environment gives them.
    pub paths: Vec<PathBuf>,
    /// Only names that match one of these globs, relative to the path. Empty: all.
    pub include: Vec<String>,
    /// Not the names that match one of these globs.
    pub exclude: Vec<String>,
    /// Leave out files whose last change is longer ago.
    pub max_age: Option<Span>,
    /// What all kinds share.
    pub common: ComponentCommon,
}

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

/// A secret that the configuration refers to and that cannot be read: told when it is needed, and not before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSecret {
    /// What cannot be read, such as a file's name; never the secret.
    pub message: String,
    /// What to do.
    pub hint: String,
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

/// What every kind of component can declare.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ComponentCommon {
    /// When to back up and what to keep.
    pub backup: Option<BackupPolicy>,
    /// Targets of this component; the platform's targets hold where these are silent.
    pub objectives: Option<Objectives>,
    /// Data classes inside the component, each with its own RPO.
    pub classes: Vec<DataClass>,
    /// How a backup is proven.
    pub prove: Option<ProofPolicy>,
}

impl Component {
    /// Returns the kind as it stands in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Files(_) => "files",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Tells whether a backup may leave out something that lies at the component's place.
    pub fn leaves_out(&self) -> bool {
        match self {
            Self::Sqlite(_) | Self::Postgres(_) => false,
            Self::Files(files) => files.leaves_out(),
        }
    }

    /// Returns the secret that its connection needs and that cannot be read.
    pub fn missing_secret(&self) -> Option<&MissingSecret> {
        match self {
            Self::Postgres(postgres) => postgres.password_missing.as_ref(),
            Self::Sqlite(_) | Self::Files(_) => None,
        }
    }

    /// Returns what all kinds share.
    pub fn common(&self) -> &ComponentCommon {
        match self {
            Self::Sqlite(c) => &c.common,
            Self::Files(c) => &c.common,
            Self::Postgres(c) => &c.common,
        }
    }
}

impl FilesComponent {
    /// Tells whether a backup may leave out something that lies at the paths.
    pub fn leaves_out(&self) -> bool {
        !self.include.is_empty() || !self.exclude.is_empty() || self.max_age.is_some()
    }
}
