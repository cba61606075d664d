//! A component of kind `etcd`: a cluster of one or several members.
//!
//! In: the keys of the file. Out: a value for the driver. This module never looks at a disk or a server.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ComponentCommon, ComponentKeys, MissingSecret, TlsFiles, components::members};

/// An etcd cluster.
#[derive(Clone, PartialEq, Default)]
pub struct EtcdComponent {
    /// A member's client URL; `None` only in a shared file, before an environment gives it.
    pub url: Option<String>,
    /// The user, where authentication is on.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Why the password that the file names cannot be had; then `password` is `None`. Never written.
    pub secret_missing: Option<MissingSecret>,
    /// For `https`.
    pub tls: TlsFiles,
    /// The data directory of the only member, on this host.
    pub data_dir: Option<PathBuf>,
    /// The members that a restore makes; empty: one, in `data_dir`.
    pub members: Vec<EtcdMember>,
    /// The folder of the programs `etcd`, `etcdctl` and, where there is one, `etcdutl`.
    pub bin_dir: Option<PathBuf>,
    /// By how much a restore raises the revision where the tool cannot; `None`: by the driver's own number.
    pub raise_by: Option<u64>,
    /// What all kinds share.
    pub common: ComponentCommon,
}

impl std::fmt::Debug for EtcdComponent {
    /// Without URL and password: both may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdComponent")
            .field("tls", &self.tls)
            .field("data_dir", &self.data_dir)
            .field("members", &self.members)
            .field("bin_dir", &self.bin_dir)
            .field("common", &self.common)
            .finish_non_exhaustive()
    }
}

impl EtcdComponent {
    /// Takes it out of the keys of a file.
    ///
    /// # Errors
    /// A member says too little, or what belongs to another kind.
    pub(super) fn of_keys(mut keys: ComponentKeys, common: ComponentCommon) -> Result<Self, String> {
        Ok(Self {
            tls: TlsFiles::of_keys(&mut keys),
            url: keys.url,
            user: keys.user,
            password: keys.password,
            secret_missing: None,
            data_dir: keys.data_dir,
            members: members::of_etcd(keys.members)?,
            bin_dir: keys.bin_dir,
            raise_by: keys.raise_by,
            common,
        })
    }

    /// Puts it back.
    pub(super) fn put_into(self, keys: &mut ComponentKeys) {
        keys.url = self.url;
        keys.user = self.user;
        keys.password = self.password;
        keys.data_dir = self.data_dir;
        keys.members = members::keys_of_etcd(self.members);
        keys.bin_dir = self.bin_dir;
        keys.raise_by = self.raise_by;
        self.tls.put_into(keys);
    }

    /// Returns the data directories on this host, in the order of the members.
    pub fn data_dirs(&self) -> Vec<PathBuf> {
        if self.members.is_empty() {
            return self.data_dir.iter().cloned().collect();
        }
        self.members.iter().map(|member| member.data_dir.clone()).collect()
    }
}

/// One member of an etcd cluster, as a restore makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EtcdMember {
    /// Its `--name`.
    pub name: String,
    /// Its `--initial-advertise-peer-urls`: `http://10.0.0.1:2380`.
    pub peer_url: String,
    /// Its `--data-dir`.
    pub data_dir: PathBuf,
}
