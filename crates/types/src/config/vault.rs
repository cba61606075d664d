//! A component of kind `vault`: a Vault or OpenBao server with Raft storage.
//!
//! In: the keys of the file, and what people give for one run (shares of the unseal key). Out: a value for the driver.
//! What people give is never written and never printed. This module never looks at a server.

use std::path::PathBuf;

use super::{ComponentCommon, ComponentKeys, MissingSecret};
use crate::Secret;

/// Files for encrypted connections, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// Who signed the server's certificate; without it those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// The client's own certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}

impl TlsFiles {
    /// Takes them out of the keys of a file.
    pub(super) fn of_keys(keys: &mut ComponentKeys) -> Self {
        Self {
            ca_file: keys.ca_file.take(),
            cert_file: keys.cert_file.take(),
            key_file: keys.key_file.take(),
        }
    }

    /// Puts them back.
    pub(super) fn put_into(self, keys: &mut ComponentKeys) {
        keys.ca_file = self.ca_file;
        keys.cert_file = self.cert_file;
        keys.key_file = self.key_file;
    }

    /// Hands out the paths that are given.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.ca_file.iter_mut().chain(&mut self.cert_file).chain(&mut self.key_file)
    }
}

/// A Vault or OpenBao cluster with Raft storage.
#[derive(Clone, PartialEq, Default)]
pub struct VaultComponent {
    /// The server; `None` only in a shared file, before an environment gives it.
    pub url: Option<String>,
    /// The token.
    pub token: Option<String>,
    /// The role of an AppRole login.
    pub role_id: Option<String>,
    /// The secret of an AppRole login.
    pub secret_id: Option<String>,
    /// Why a secret that the file names cannot be had; then it is `None` above. Never written.
    pub secret_missing: Option<MissingSecret>,
    /// Shares of the original unseal key that people gave for this run. Never read from a file of Muster, never written.
    pub unseal_keys: Vec<Secret>,
    /// A token of a server that is new and that a restore goes to; given by people for this run, never written.
    pub setup_token: Option<Secret>,
    /// Where a backup writes a secret that proofs read again.
    pub canary: Option<String>,
    /// For `https`.
    pub tls: TlsFiles,
    /// The folder of the program `bao` or `vault`.
    pub bin_dir: Option<PathBuf>,
    /// What all kinds share.
    pub common: ComponentCommon,
}

impl std::fmt::Debug for VaultComponent {
    /// Without any secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VaultComponent")
            .field("canary", &self.canary)
            .field("tls", &self.tls)
            .field("bin_dir", &self.bin_dir)
            .field("common", &self.common)
            .finish_non_exhaustive()
    }
}

impl VaultComponent {
    /// Takes it out of the keys of a file.
    pub(super) fn of_keys(mut keys: ComponentKeys, common: ComponentCommon) -> Self {
        Self {
            tls: TlsFiles::of_keys(&mut keys),
            url: keys.url,
            token: keys.token,
            role_id: keys.role_id,
            secret_id: keys.secret_id,
            secret_missing: None,
            unseal_keys: Vec::new(),
            setup_token: None,
            canary: keys.canary,
            bin_dir: keys.bin_dir,
            common,
        }
    }

    /// Puts it back.
    pub(super) fn put_into(self, keys: &mut ComponentKeys) {
        keys.url = self.url;
        keys.token = self.token;
        keys.role_id = self.role_id;
        keys.secret_id = self.secret_id;
        keys.canary = self.canary;
        keys.bin_dir = self.bin_dir;
        self.tls.put_into(keys);
    }
}
