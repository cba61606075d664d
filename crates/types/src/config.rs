//! What a user writes in `muster.yaml`, as a document.
//!
//! `cli` reads YAML into [`Platform`], checks it, merges an environment's file and resolves secrets. The planner and
//! the drivers take it from there. Field names are the keys of the file; `docs/configuration.md` explains them.
//!
//! It is long and one thing, because it is one document: who looks for a key finds it here.
//!
//! This module never reads a file or resolves a secret: a text like `${file:/etc/key}` stays as written here and is
//! replaced before a driver sees it.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Span, objective::Objectives};

/// A named map that keeps the order of names stable.
pub type Named<T> = BTreeMap<String, T>;

/// One platform: everything that one `muster.yaml` describes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// The platform's name: letters, digits, `-` and `_`.
    pub platform: String,
    /// Set only in `muster.<env>.yaml`: the environment that the file describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Targets for the whole platform.
    #[serde(default)]
    pub objectives: Objectives,
    /// Where backups live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// Where Muster keeps its state (journal and locks). Default: `.muster` beside `muster.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// What has state: databases, caches, folders.
    #[serde(default)]
    pub components: Named<Component>,
    /// What runs.
    #[serde(default)]
    pub services: Named<Service>,
    /// What is observed.
    #[serde(default)]
    pub checks: Named<Check>,
}

/// Where backups live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// A folder, or `s3://bucket/prefix`.
    pub location: String,
    /// The repository's key, as a reference: `${file:/etc/muster/repository.key}`.
    pub password: String,
    /// Object storage: the server, `https://host` or `http://host:port`. Without it: AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Object storage: the region. Default: `us-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Object storage: whether the bucket stands in the path and not before the host's name. Default: yes where there
    /// is an `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Object storage: the name of the key. Default: the variable `AWS_ACCESS_KEY_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// Object storage: the key, as a reference: `${env:S3_SECRET}`. Default: the variable `AWS_SECRET_ACCESS_KEY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
}

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
                    method: keys.method.unwrap_or_default(),
                    data_dir: keys.data_dir,
                    bin_dir: keys.bin_dir,
                    max_rate: keys.max_rate,
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

/// A PostgreSQL cluster.
#[derive(Clone, PartialEq, Default)]
pub struct PostgresComponent {
    /// The server and a database; `None` only in a shared file, before an environment gives it.
    pub url: Option<String>,
    /// The password of the URL's user.
    pub password: Option<String>,
    /// How a backup is taken.
    pub method: PostgresMethod,
    /// The data directory on this host.
    pub data_dir: Option<PathBuf>,
    /// The folder of the server's programs.
    pub bin_dir: Option<PathBuf>,
    /// The most bytes per second that a backup takes.
    pub max_rate: Option<ByteSize>,
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

/// A class of data inside a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataClass {
    /// The class's name.
    pub name: String,
    /// Its recovery point objective.
    pub rpo: crate::objective::Target,
}

/// When a component is backed up and what is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupPolicy {
    /// The distance between two backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// The time of day in UTC, like `02:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What `muster prune` keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
}

/// Grandfather-father-son retention, per component. What no rule keeps may be pruned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// The newest N backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<KeepCount>,
    /// The newest of each of N hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<KeepCount>,
    /// The newest of each of N days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<KeepCount>,
    /// The newest of each of N ISO weeks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<KeepCount>,
    /// The newest of each of N months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<KeepCount>,
    /// The newest of each of N years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<KeepCount>,
    /// Everything younger than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

/// How many: a number, or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "it is neither a number nor `all`: write `7`, or `all`")]
pub enum KeepCount {
    /// At most this many.
    Count(u32),
    /// Without end.
    All(KeepAll),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeepAll {
    /// Without end.
    All,
}

/// How a backup is proven.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofPolicy {
    /// The longest time between two proofs; older ones do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// What must hold in the restored state.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "assert")]
    pub assertions: Vec<Assertion>,
}

/// One thing that must hold in a restored state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// For databases: a query that gives one value. For `postgres` without `expect` it must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// For files: a path that must exist, relative to the component's path or absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// What the value must be: `>= 1`, `== ok`. Without an operator: equal. For `path`: its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

/// Something that runs. Exactly one of `compose`, `systemd`, `command` is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// A Docker Compose service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compose: Option<ComposeService>,
    /// A systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<SystemdService>,
    /// Plain commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandService>,
    /// The components that it writes to: it is stopped before one of them is restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// The check that says that it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// How long it may take to become ready. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_within: Option<Span>,
}

/// A Docker Compose service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComposeService {
    /// The compose file.
    pub file: PathBuf,
    /// The service's name in it.
    pub service: String,
    /// The project name, if it is not the one that Compose derives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// A systemd unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemdService {
    /// The unit's name.
    pub unit: String,
    /// A user unit (`systemctl --user`).
    #[serde(default)]
    pub user: bool,
}

/// A service that plain commands start and stop. Each is a list: a program and its arguments; no shell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandService {
    /// Starts it, and returns.
    pub start: Vec<String>,
    /// Stops it, and returns when it has ended.
    pub stop: Vec<String>,
    /// Exit 0: it runs. Exit 1 to 3: it does not. Anything else: unknown.
    pub status: Vec<String>,
}

/// One observation with conditions. Exactly one of `http`, `tcp`, `command`, `sqlite` is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// A URL (`GET`), or `METHOD URL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// A program and its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// A database file and a query that gives one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteCheck>,
    /// Headers of an `http` check.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body of an `http` check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What must hold, like `[STATUS] == 200`. All must. Empty: the kind's own default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// `quick` checks run under `--quick`; all run under `--full`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How long one observation may take. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// The longest body or output that is read. Default: 1MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<ByteSize>,
}

/// A database file and a query that gives one value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteCheck {
    /// The database file.
    pub path: PathBuf,
    /// The query. Default: `pragma integrity_check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
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
