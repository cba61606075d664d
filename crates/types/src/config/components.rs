//! The components of a platform: what has state, one kind each.
//!
//! The file's keys come in as [`ComponentKeys`], because an unknown key must be an error that names its line; they are
//! sorted into one struct per kind, and keys of other kinds are refused.
//!
//! This module never looks at a disk or a server. It is long because it is one thing: each key of the file stands once in each of
//! five lists, and they are changed together.

pub(super) mod members;
mod postgres;
mod redis;

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    members::{Member, MemberKeys},
    postgres::{PostgresComponent, PostgresHeartbeat, PostgresMethod, PostgresTransport, PostgresWal},
    redis::{RedisComponent, Setting, WarmUp},
};
use super::{
    BackupPolicy, DataClass, Named, ProofPolicy,
    command::{CommandComponent, DumpCommand, OutputsCommand},
    edits::{Edit, GitPolicy},
    etcd::EtcdComponent,
    kubernetes::{KubernetesComponent, SecretSwitch},
    vault::VaultComponent,
};
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
    /// A Redis server.
    Redis(RedisComponent),
    /// A Vault or OpenBao cluster with Raft storage.
    Vault(VaultComponent),
    /// An etcd cluster.
    Etcd(EtcdComponent),
    /// The objects of a namespace on Kubernetes.
    Kubernetes(KubernetesComponent),
    /// What the user's own commands dump and load again.
    Command(CommandComponent),
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
    /// A Redis server.
    Redis,
    /// A Vault or OpenBao cluster with Raft storage.
    Vault,
    /// An etcd cluster.
    Etcd,
    /// The objects of a namespace on Kubernetes.
    Kubernetes,
    /// What the user's own commands dump and load again.
    Command,
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
    /// `files`: texts that a restore in place replaces, where this host is another one than that of the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edits: Option<Vec<Edit>>,
    /// `files`: what is asked of the git checkout that the paths lie in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitPolicy>,
    /// `postgres`: the server, as `postgres://user@host:port/database`; the database is the one that assertions are
    /// asked in, the backup holds all of them. `redis`: the server, as `redis://user@host:port/`, or `rediss://` with
    /// TLS. `vault`, `etcd`: the server, as `https://host:8200`. A connection: in a shared file it must come from the
    /// environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `postgres`, `redis`, `etcd`: the password, as a reference: `${file:/etc/muster/database.password}`. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// `postgres`: `physical` takes the whole cluster, `logical` takes the database of `url` with `pg_dump`.
    /// Default: `physical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<PostgresMethod>,
    /// `postgres`, `etcd`: the data directory, when it is on this host: where a restore puts it. `redis` with
    /// `disposable`: the folder of its server, which a restore empties. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// `postgres`, `redis`, `vault`, `etcd`: the folder of the server's programs. Default: `PATH`, then where packages
    /// put them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bin_dir: Option<PathBuf>,
    /// `postgres`: where the files of a backup are read. `local`: on this host, by Muster itself; `replication`: over the
    /// network, from the server; `auto`: on this host where that is possible. Default: `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<PostgresTransport>,
    /// `postgres`: the member, a standby, that backups are taken from. Default: the server of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_from: Option<String>,
    /// `postgres`: the most bytes per second that a backup takes from the server. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<ByteSize>,
    /// `postgres`: `stream` receives the write-ahead log as the server writes it (`muster wal receive`); with `sync` the
    /// server's commits wait for it. Default: `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<PostgresWal>,
    /// `postgres`: what is written to the server every few seconds while its log is received, so that the newest commit
    /// tells how far the repository is: `message`, `table` or `none`. Default: `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<PostgresHeartbeat>,
    /// `postgres`: the slot of `wal: stream` may keep log without a limit, and so fill the server's disk. Default: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbounded_slot: Option<bool>,
    /// `redis`: settings that the server must have, as `redis.conf` writes them; `muster survey` compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Named<Setting>>,
    /// `redis`: it is a cache: no backup is made, and `muster restore` empties it. Default: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposable: Option<bool>,
    /// `redis` with `disposable`: how it is filled again after it was emptied. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<WarmUp>,
    /// `redis` with `disposable`: the service that runs the server: it is stopped while `data_dir` is emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `vault`: the token, as a reference: `${file:/etc/muster/vault.token}`. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// `vault`: the role of an AppRole login, instead of `token`. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_id: Option<String>,
    /// `vault`: the secret of an AppRole login, as a reference: `${file:/etc/muster/vault.secret-id}`. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<String>,
    /// `vault`: where each backup writes a secret of its own, which a proof and a restore read again:
    /// `secret/data/muster-canary`. Default: none is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// `etcd`: the user, where authentication is on. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `etcd`: by how much a restore raises the revision beyond the last one known, where the tool has no
    /// `--bump-revision`: more than is written between a backup and its loss. 0: not at all. Default: 20000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raise_by: Option<u64>,
    /// `vault`, `etcd`: the certificate of who signed the server's, in PEM. Default: those of the system. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// `vault`, `etcd`: the client's own certificate, in PEM, where the server asks for one. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// `vault`, `etcd`: the key of `cert_file`, in PEM. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// `postgres`: all servers of the cluster, by name. `etcd`: the members of the cluster that a restore makes; default:
    /// one, in `data_dir`. A connection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<String, MemberKeys>,
    /// `postgres`: keys of Secrets on Kubernetes that lead clients to the new primary after a failover. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_secrets: Option<Vec<SecretSwitch>>,
    /// `postgres`: a program and its arguments that leads clients to the new primary after a failover; it finds
    /// `MUSTER_MEMBER`, `MUSTER_HOST`, `MUSTER_PORT` and `MUSTER_DATABASE` in its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failover: Option<Vec<String>>,
    /// `kubernetes`: the namespace. A connection: in a shared file it must come from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `kubernetes`: the kinds of object, as `kubectl get` takes them. Default: those that Muster brings back in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// `kubernetes`: the context of the kubeconfig. Default: the current one. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// `kubernetes`: the kubeconfig. Default: as `kubectl` finds it. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// `kubernetes`: the program. Default: `kubectl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubectl: Option<PathBuf>,
    /// `command`: the command that writes a backup. A connection: in a shared file it must come from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpCommand>,
    /// `command`: the command that puts a backup in place; it must be able to run again. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<OutputsCommand>,
    /// `command`: the command that opens a backup in a folder of its own and judges it: the proof. A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<OutputsCommand>,
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

    fn try_from(mut keys: ComponentKeys) -> Result<Self, String> {
        keys.refuse_foreign()?;
        let common = ComponentCommon {
            backup: keys.backup.take(),
            objectives: keys.objectives.take(),
            classes: std::mem::take(&mut keys.classes),
            prove: keys.prove.take(),
        };
        match keys.kind {
            ComponentKind::Redis => Ok(redis::from_keys(keys, common)),
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
                    transport: keys.transport.unwrap_or_default(),
                    backup_from: keys.backup_from,
                    max_rate: keys.max_rate,
                    wal: keys.wal.unwrap_or_default(),
                    heartbeat: keys.heartbeat.unwrap_or_default(),
                    unbounded_slot: keys.unbounded_slot.unwrap_or_default(),
                    members: members::of_postgres(keys.members)?,
                    on_failover: keys.on_failover.unwrap_or_default(),
                    failover_secrets: keys.failover_secrets.unwrap_or_default(),
                    common,
                }))
            }
            ComponentKind::Vault => Ok(Self::Vault(VaultComponent::of_keys(keys, common))),
            ComponentKind::Etcd => EtcdComponent::of_keys(keys, common).map(Self::Etcd),
            ComponentKind::Kubernetes => Ok(Self::Kubernetes(KubernetesComponent::of_keys(keys, common))),
            ComponentKind::Command => Ok(Self::Command(CommandComponent::of_keys(keys, common))),
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
                    edits: keys.edits.unwrap_or_default(),
                    git: keys.git,
                    common,
                }))
            }
        }
    }
}

/// Refuses a key that another kind has.
fn refuse(is_set: bool, key: &str, kind: &str, instead: &str) -> Result<(), String> {
    if is_set { Err(format!("`{key}` does not belong to kind `{kind}`: {instead}")) } else { Ok(()) }
}

impl ComponentKeys {
    /// The keys that all kinds share, and none of a kind's own.
    fn of_kind(kind: ComponentKind, common: ComponentCommon) -> Self {
        Self {
            kind,
            path: None,
            paths: None,
            include: None,
            exclude: None,
            max_age: None,
            edits: None,
            git: None,
            url: None,
            password: None,
            method: None,
            data_dir: None,
            bin_dir: None,
            transport: None,
            backup_from: None,
            max_rate: None,
            wal: None,
            heartbeat: None,
            unbounded_slot: None,
            expect: None,
            disposable: None,
            warm: None,
            service: None,
            token: None,
            role_id: None,
            secret_id: None,
            canary: None,
            user: None,
            raise_by: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            members: BTreeMap::new(),
            on_failover: None,
            failover_secrets: None,
            namespace: None,
            kinds: None,
            context: None,
            kubeconfig: None,
            kubectl: None,
            dump: None,
            restore: None,
            verify: None,
            backup: common.backup,
            objectives: common.objectives,
            classes: common.classes,
            prove: common.prove,
        }
    }

    /// Refuses the keys that belong to kinds of server, where the component is of another one.
    fn refuse_foreign(&self) -> Result<(), String> {
        use ComponentKind::{Command, Etcd, Files, Kubernetes, Postgres, Redis, Vault};
        let own: &[(bool, &str, &[ComponentKind])] = &[
            (self.edits.is_some(), "edits", &[Files]),
            (self.git.is_some(), "git", &[Files]),
            (self.url.is_some(), "url", &[Postgres, Redis, Vault, Etcd]),
            (self.password.is_some(), "password", &[Postgres, Redis, Etcd]),
            (self.method.is_some(), "method", &[Postgres]),
            (self.data_dir.is_some(), "data_dir", &[Postgres, Redis, Etcd]),
            (self.bin_dir.is_some(), "bin_dir", &[Postgres, Redis, Vault, Etcd]),
            (self.transport.is_some(), "transport", &[Postgres]),
            (self.backup_from.is_some(), "backup_from", &[Postgres]),
            (self.max_rate.is_some(), "max_rate", &[Postgres]),
            (self.wal.is_some(), "wal", &[Postgres]),
            (self.heartbeat.is_some(), "heartbeat", &[Postgres]),
            (self.unbounded_slot.is_some(), "unbounded_slot", &[Postgres]),
            (self.expect.is_some(), "expect", &[Redis]),
            (self.disposable.is_some(), "disposable", &[Redis]),
            (self.warm.is_some(), "warm", &[Redis]),
            (self.service.is_some(), "service", &[Redis]),
            (self.token.is_some(), "token", &[Vault]),
            (self.role_id.is_some(), "role_id", &[Vault]),
            (self.secret_id.is_some(), "secret_id", &[Vault]),
            (self.canary.is_some(), "canary", &[Vault]),
            (self.user.is_some(), "user", &[Etcd]),
            (self.raise_by.is_some(), "raise_by", &[Etcd]),
            (!self.members.is_empty(), "members", &[Postgres, Etcd]),
            (self.on_failover.is_some(), "on_failover", &[Postgres]),
            (self.namespace.is_some(), "namespace", &[Kubernetes]),
            (self.kinds.is_some(), "kinds", &[Kubernetes]),
            (self.context.is_some(), "context", &[Kubernetes]),
            (self.kubeconfig.is_some(), "kubeconfig", &[Kubernetes]),
            (self.kubectl.is_some(), "kubectl", &[Kubernetes]),
            (self.dump.is_some(), "dump", &[Command]),
            (self.restore.is_some(), "restore", &[Command]),
            (self.verify.is_some(), "verify", &[Command]),
            (self.failover_secrets.is_some(), "failover_secrets", &[Postgres]),
            (self.ca_file.is_some(), "ca_file", &[Vault, Etcd]),
            (self.cert_file.is_some(), "cert_file", &[Vault, Etcd]),
            (self.key_file.is_some(), "key_file", &[Vault, Etcd]),
        ];
        for (is_set, key, kinds) in own {
            let is_foreign = *is_set && !kinds.contains(&self.kind);
            refuse(is_foreign, key, self.kind.word(), &owners(kinds))?;
        }
        if !matches!(self.kind, Redis | Vault | Etcd | Kubernetes | Command) {
            return Ok(());
        }
        for (is_set, key) in [
            (self.path.is_some(), "path"),
            (self.paths.is_some(), "paths"),
            (self.include.is_some(), "include"),
            (self.exclude.is_some(), "exclude"),
            (self.max_age.is_some(), "max_age"),
        ] {
            let instead = match self.kind {
                Kubernetes => "the objects of `namespace` are backed up",
                Command => "what `dump` writes is backed up",
                _ => "the whole server behind `url` is backed up",
            };
            refuse(is_set, key, self.kind.word(), instead)?;
        }
        Ok(())
    }
}

/// Says whose a key is: it is a key of the kinds `vault` and `etcd`.
fn owners(kinds: &[ComponentKind]) -> String {
    let words: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.word())).collect();
    match words.as_slice() {
        [one] => format!("it is a key of kind {one}"),
        [most @ .., last] => format!("it is a key of the kinds {} and {last}", most.join(", ")),
        [] => String::new(),
    }
}

impl From<Component> for ComponentKeys {
    fn from(component: Component) -> Self {
        let kind = match component {
            Component::Sqlite(_) => ComponentKind::Sqlite,
            Component::Files(_) => ComponentKind::Files,
            Component::Postgres(_) => ComponentKind::Postgres,
            Component::Redis(_) => ComponentKind::Redis,
            Component::Vault(_) => ComponentKind::Vault,
            Component::Etcd(_) => ComponentKind::Etcd,
            Component::Kubernetes(_) => ComponentKind::Kubernetes,
            Component::Command(_) => ComponentKind::Command,
        };
        let common = component.common().clone();
        let mut keys = Self::of_kind(kind, common);
        let list = |values: Vec<String>| (!values.is_empty()).then_some(values);
        match component {
            Component::Sqlite(sqlite) => keys.path = sqlite.path,
            Component::Files(files) => {
                keys.paths = (!files.paths.is_empty()).then_some(files.paths);
                keys.include = list(files.include);
                keys.exclude = list(files.exclude);
                keys.max_age = files.max_age;
                keys.edits = (!files.edits.is_empty()).then_some(files.edits);
                keys.git = files.git;
            }
            Component::Postgres(postgres) => {
                keys.url = postgres.url;
                keys.password = postgres.password;
                keys.method = (postgres.method != PostgresMethod::default()).then_some(postgres.method);
                keys.data_dir = postgres.data_dir;
                keys.bin_dir = postgres.bin_dir;
                keys.transport =
                    (postgres.transport != PostgresTransport::default()).then_some(postgres.transport);
                keys.backup_from = postgres.backup_from;
                keys.max_rate = postgres.max_rate;
                keys.wal = (postgres.wal != PostgresWal::default()).then_some(postgres.wal);
                keys.heartbeat =
                    (postgres.heartbeat != PostgresHeartbeat::default()).then_some(postgres.heartbeat);
                keys.unbounded_slot = postgres.unbounded_slot.then_some(true);
                keys.members = members::keys_of_postgres(postgres.members);
                keys.on_failover = list(postgres.on_failover);
                keys.failover_secrets =
                    (!postgres.failover_secrets.is_empty()).then_some(postgres.failover_secrets);
            }
            Component::Redis(redis) => {
                keys.url = redis.url;
                keys.password = redis.password;
                keys.bin_dir = redis.bin_dir;
                keys.expect = redis::expect_keys(redis.expect);
                keys.disposable = redis.is_disposable.then_some(true);
                keys.warm = redis.warm;
                keys.service = redis.service;
                keys.data_dir = redis.data_dir;
            }
            Component::Vault(vault) => vault.put_into(&mut keys),
            Component::Etcd(etcd) => etcd.put_into(&mut keys),
            Component::Kubernetes(own) => own.put_into(&mut keys),
            Component::Command(own) => own.put_into(&mut keys),
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
    /// Texts that a restore in place replaces.
    pub edits: Vec<Edit>,
    /// What is asked of the git checkout that the paths lie in.
    pub git: Option<GitPolicy>,
    /// What all kinds share.
    pub common: ComponentCommon,
}

/// A secret that the configuration refers to and that cannot be read: told when it is needed, and not before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSecret {
    /// What cannot be read, such as a file's name; never the secret.
    pub message: String,
    /// What to do.
    pub hint: String,
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

impl ComponentKind {
    /// Returns the kind as it stands in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Files => "files",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Vault => "vault",
            Self::Etcd => "etcd",
            Self::Kubernetes => "kubernetes",
            Self::Command => "command",
        }
    }
}

impl Component {
    /// Returns the kind as it stands in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Files(_) => "files",
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
            Self::Vault(_) => "vault",
            Self::Etcd(_) => "etcd",
            Self::Kubernetes(_) => "kubernetes",
            Self::Command(_) => "command",
        }
    }

    /// Tells whether a backup may leave out something that lies at the component's place.
    pub fn leaves_out(&self) -> bool {
        match self {
            Self::Sqlite(_)
            | Self::Postgres(_)
            | Self::Redis(_)
            | Self::Vault(_)
            | Self::Etcd(_)
            | Self::Kubernetes(_)
            | Self::Command(_) => false,
            Self::Files(files) => files.leaves_out(),
        }
    }

    /// Tells whether it is never backed up, and made anew instead of restored.
    pub fn is_disposable(&self) -> bool {
        matches!(self, Self::Redis(redis) if redis.is_disposable)
    }

    /// Returns it with the platform's RPO where its own is silent, as its driver wants it.
    #[must_use]
    pub fn with_rpo_of(&self, platform: &Objectives) -> Self {
        let mut component = self.clone();
        if let Self::Postgres(postgres) = &mut component {
            let own = postgres.common.objectives.get_or_insert_default();
            own.rpo = own.rpo.or(platform.rpo);
        }
        component
    }

    /// Returns the secret that its connection needs and that cannot be read.
    pub fn missing_secret(&self) -> Option<&MissingSecret> {
        match self {
            Self::Postgres(postgres) => postgres.password_missing.as_ref(),
            Self::Redis(redis) => redis.password_missing.as_ref(),
            Self::Vault(vault) => vault.secret_missing.as_ref(),
            Self::Etcd(etcd) => etcd.secret_missing.as_ref(),
            Self::Sqlite(_) | Self::Files(_) | Self::Kubernetes(_) | Self::Command(_) => None,
        }
    }

    /// Returns what all kinds share.
    pub fn common(&self) -> &ComponentCommon {
        match self {
            Self::Sqlite(c) => &c.common,
            Self::Files(c) => &c.common,
            Self::Postgres(c) => &c.common,
            Self::Redis(c) => &c.common,
            Self::Vault(c) => &c.common,
            Self::Etcd(c) => &c.common,
            Self::Kubernetes(c) => &c.common,
            Self::Command(c) => &c.common,
        }
    }
}

impl FilesComponent {
    /// Tells whether a backup may leave out something that lies at the paths.
    pub fn leaves_out(&self) -> bool {
        !self.include.is_empty() || !self.exclude.is_empty() || self.max_age.is_some()
    }
}
