//! What a user writes in `muster.yaml`, as a document.
//!
//! `cli` reads YAML into [`Platform`], checks it, merges an environment's file and resolves secrets. The planner and
//! the drivers take it from there. Field names are the keys of the file; `docs/configuration.md` explains them.
//!
//! It is long and one thing, because it is one document: who looks for a key finds it here.
//!
//! This module never reads a file or resolves a secret: a text like `${file:/etc/key}` stays as written here and is
//! replaced before a driver sees it.

mod bucket;
mod chain;
mod command;
mod components;
mod edits;
mod etcd;
mod kit;
mod kubernetes;
mod network;
mod notify;
mod schedules;
mod secrets;
mod vault;

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Span, objective::Objectives, schedule::Rule};

pub use self::components::{
    Component, ComponentCommon, ComponentKeys, ComponentKind, FilesComponent, Member, MemberKeys,
    MissingSecret, PostgresComponent, PostgresHeartbeat, PostgresMethod, PostgresTransport, PostgresWal,
    RedisComponent, Setting, SqliteComponent, WarmUp,
};
pub use self::{
    bucket::{Bucket, BucketEncryption},
    chain::{ChainCheck, ChainDownload, ChainRequest, ChainUpload},
    command::{CommandComponent, CommandText, DumpCommand, OutputsCommand},
    edits::{Edit, GitPolicy, GitRemote},
    etcd::{EtcdComponent, EtcdMember},
    kit::KitPolicy,
    kubernetes::{KubernetesComponent, KubernetesService, SecretSwitch},
    network::Network,
    notify::Channel,
    schedules::{CheckSchedule, Schedule, Schedules, VerifySchedule},
    secrets::{
        EnvFilePlace, KubernetesPlace, NewSecret, SECRET_MARK, SecretDefinition, SecretLook, SecretProof,
        SecretTarget, VaultPlace,
    },
    vault::{TlsFiles, VaultComponent},
};

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
    /// Who can open the emergency kit.
    #[serde(default, skip_serializing_if = "KitPolicy::is_empty")]
    pub kit: KitPolicy,
    /// Where Muster keeps its state (journal and locks). Default: `.muster` beside `muster.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// Values for `{{ name }}` in `edits` of components: what differs from host to host.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub variables: Named<String>,
    /// What has state: databases, caches, folders.
    #[serde(default)]
    pub components: Named<Component>,
    /// What runs.
    #[serde(default)]
    pub services: Named<Service>,
    /// What services need to know and nobody else may.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub secrets: Named<SecretDefinition>,
    /// What is observed.
    #[serde(default)]
    pub checks: Named<Check>,
    /// How the network is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// How people are reached.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub notify: Named<Channel>,
    /// The time zone of all times of day, by its name: `Europe/Berlin`. Default: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What `muster schedule --run` does for the platform as a whole, and when.
    #[serde(default, skip_serializing_if = "Schedules::is_empty")]
    pub schedules: Schedules,
}

/// Where backups live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// A folder, `s3://bucket/prefix`, `gs://bucket/prefix`, `azblob://container/prefix` or `sftp://user@host/path`.
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
    /// Object storage: the most bytes per second that are sent to it, of all that this process sends. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_upload_rate: Option<crate::ByteSize>,
    /// Object storage: the name of the key, or Azure's account. Default: the variable `AWS_ACCESS_KEY_ID`, or
    /// `AZURE_STORAGE_ACCOUNT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// Object storage: the key, as a reference: `${env:S3_SECRET}`; for Azure the account's or a SAS token. Default: the
    /// variable `AWS_SECRET_ACCESS_KEY`, or `AZURE_STORAGE_KEY` or `AZURE_STORAGE_SAS_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
    /// Object storage: what the bucket is meant to be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// `sftp://`: a file for `ssh -F`. Default: the variable `MUSTER_SSH_CONFIG`, else the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_config: Option<PathBuf>,
    /// Copies of it in other places, opened by the same key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<RepositoryCopy>,
}

/// A copy of the repository in another place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryCopy {
    /// Its name: `muster restore --from NAME`.
    pub name: String,
    /// A folder, `s3://bucket/prefix`, `gs://bucket/prefix`, `azblob://container/prefix` or `sftp://user@host/path`.
    pub location: String,
    /// Object storage: the server, `https://host` or `http://host:port`. Without it: AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Object storage: the region. Default: `us-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Object storage: whether the bucket stands in the path. Default: yes where there is an `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Object storage: the most bytes per second that are sent to it. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_upload_rate: Option<crate::ByteSize>,
    /// Object storage: the name of the key, or Azure's account. Default: the variable `AWS_ACCESS_KEY_ID`, or
    /// `AZURE_STORAGE_ACCOUNT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// Object storage: the key, as a reference; for Azure the account's or a SAS token. Default: the variable
    /// `AWS_SECRET_ACCESS_KEY`, or `AZURE_STORAGE_KEY` or `AZURE_STORAGE_SAS_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
    /// Object storage: what the bucket is meant to be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// `sftp://`: a file for `ssh -F`. Default: the variable `MUSTER_SSH_CONFIG`, else the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_config: Option<PathBuf>,
    /// How old the state may be that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo: Option<crate::objective::Target>,
    /// Whether each `muster backup` brings it up to date. Default: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_backup: Option<bool>,
}

impl Repository {
    /// Returns the copy of this name.
    pub fn copy(&self, name: &str) -> Option<&RepositoryCopy> {
        self.copies.iter().find(|copy| copy.name == name)
    }
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
    /// The distance between two backups; beside `at`, the longest one that is promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// When it is taken: `daily 02:00`, `sunday 03:00`, `1st of month 04:00`, `cron 0 2 * * 1-5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Rule>,
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
    /// When the newest backup is proven. Default: `every` so often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Rule>,
    /// What must hold in the restored state.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "assert")]
    pub assertions: Vec<Assertion>,
}

/// One thing that must hold in a restored state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// For databases: a query that gives one value. For `postgres` without `expect` it must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// For files: a path that must exist, relative to the component's path or absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// For `redis`: a command that gives one value, such as `GET version`; of several values their number counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<String>,
    /// What the value must be: `>= 1`, `== ok`. Without an operator: equal. For `path`: its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

/// Something that runs. Exactly one of `compose`, `systemd`, `kubernetes`, `command` is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// A Docker Compose service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compose: Option<ComposeService>,
    /// A systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<SystemdService>,
    /// A workload on Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesService>,
    /// Plain commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandService>,
    /// Compose: the containers that it makes on its own, to run other people's code in: `muster service clean` removes
    /// old ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandboxes: Option<Sandboxes>,
    /// The components that it writes to: it is stopped before one of them is restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// The services that it needs: they are started before it, and stopped after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
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

/// Containers that a service makes on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sandboxes {
    /// The label that each of them carries, and nothing else: `NAME=VALUE` or `NAME`.
    pub label: String,
    /// Those that were made longer ago are removed.
    pub older_than: Span,
}

/// A container that is looked at, by its labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerCheck {
    /// The Compose project.
    pub project: String,
    /// The service in it.
    pub service: String,
    /// How long ago the engine's last restart of it must lie. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
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
    /// The file that it logs into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
}

/// One observation with conditions. Exactly one of the kinds (`http` to `file`) is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// A URL (`GET`), or `METHOD URL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// HTTP requests that hang together: log in, create, execute, remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainCheck>,
    /// `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// `host:port` that is spoken to with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// A name that is asked of a name server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsCheck>,
    /// A query of Prometheus; without one, whether all its targets are up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusCheck>,
    /// A status page of Statuspage's form: its URL. HTTP 200 is not health there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuspage: Option<String>,
    /// A program and its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// A database file and a query that gives one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteCheck>,
    /// The containers of a Compose service: whether they run, are healthy and stay up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerCheck>,
    /// A component of kind `postgres` or `sqlite`, and a query that gives one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlCheck>,
    /// A component of kind `redis`: whether its server answers, has room and its cluster is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<String>,
    /// A component of kind `vault`: whether it is initialised and open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// A component of kind `etcd`: whether its members agree, and what it warns of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<String>,
    /// The component that one of these four names, with its login. Never written.
    #[serde(skip)]
    pub component: Option<Box<Component>>,
    /// Whether a component can be brought back to a moment, or to one that is new enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<ReachCheck>,
    /// Whether the objectives of a component are met, or with `platform` all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// Who knows what `reach` and `objective` ask. Never written.
    #[serde(skip)]
    pub recovery: Option<crate::check::RecoverySource>,
    /// A program that must be there: `docker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// A folder whose file system is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<PathBuf>,
    /// A file, or the newest one of a pattern like `/srv/exports/*.dump`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// `http`, `tls`, `prometheus`, `statuspage`: a file with the certificates that are trusted, instead of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Headers of an `http` check, or of all requests of a `chain`.
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
    /// How long one observation may take. Default: 10s; a `chain` 60s, without its clean-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// The longest body or output that is read. Default: 1MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<ByteSize>,
}

impl Check {
    /// Returns the component that it asks, with the key that names it.
    pub fn asks(&self) -> Option<(&'static str, &str)> {
        let sql = self.sql.as_ref().map(|sql| &sql.component);
        [
            ("sql", sql),
            ("redis", self.redis.as_ref()),
            ("vault", self.vault.as_ref()),
            ("etcd", self.etcd.as_ref()),
            ("reach", self.reach.as_ref().map(|reach| &reach.component)),
            ("objective", self.objective.as_ref().filter(|name| Self::objective_component(name).is_some())),
        ]
        .into_iter()
        .find_map(|(key, name)| Some((key, name?.as_str())))
    }

    /// Returns the component that the key `objective` names; nothing when it means the whole platform.
    pub fn objective_component(name: &str) -> Option<&str> {
        (name != "platform").then_some(name)
    }
}

/// A component, and how far back or how new a state of it must be within reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReachCheck {
    /// The component.
    pub component: String,
    /// The moment, with its zone: `2026-05-01T10:00:00Z`. Default: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// How much older than that moment the state may be. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

/// A component and a query that gives one value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlCheck {
    /// The component, of kind `postgres` or `sqlite`.
    pub component: String,
    /// The query. It may only read.
    pub query: String,
}

/// A name that is asked of a name server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsCheck {
    /// The name.
    pub name: String,
    /// The kind of record. Default: `A`.
    #[serde(default, rename = "type")]
    pub record: DnsRecord,
    /// The server, `host` or `host:port`. Default: the first one of `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// A kind of record of the domain name system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names are those of RFC 1035 and 3596")]
pub enum DnsRecord {
    #[default]
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    Txt,
}

/// A query of Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusCheck {
    /// The server: `http://localhost:9090`.
    pub url: String,
    /// A query that gives one value. Default: none; then all targets must be up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
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
