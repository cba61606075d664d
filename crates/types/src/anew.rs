//! A Vault that is started anew because nobody has its keys any more: who holds the new ones.
//!
//! In: names and public keys. Nothing here is secret: what the server hands out is encrypted to these keys. This module
//! never encrypts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Who gets the keys of a server that is started anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anew {
    /// One share each; the first one gets the root token too. Never empty.
    pub holders: Vec<KeyHolder>,
    /// How many shares open the server; from 1 to the number of holders.
    pub needed: u64,
    /// The folder that the encrypted shares are written into. Absolute.
    pub into: PathBuf,
}

/// A person who holds a share of an unseal key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyHolder {
    /// The name; also of files.
    pub name: String,
    /// The person's `OpenPGP` public key, in base64.
    pub public_key: String,
}
