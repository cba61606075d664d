//! What a `files` component says of other hosts: texts that a restore replaces, and what is asked of its git remote.
//!
//! In: keys of `muster.yaml`. Out: values. Nothing here opens a file, fills in a variable or asks git; read next:
//! `crates/drivers/src/edits.rs` and `crates/drivers/src/files/git.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that a restore in place replaces in restored files, because this host is not the one of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Which files: a glob as in `include`, relative to the component's path, or the absolute path of one file.
    pub file: String,
    /// What is replaced, to the letter; `{{ name }}` is a variable.
    pub replace: String,
    /// What stands there afterwards; `{{ name }}` is a variable.
    pub with: String,
    /// How often it must stand there, in all its files together. Default: at least once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// What is asked of the git checkout that the component's files lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitPolicy {
    /// `required`: a backup is refused unless the commit is on the remote.
    pub remote: GitRemote,
}

/// What is asked of a git remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GitRemote {
    /// It answers and has the commit.
    Required,
    /// Nothing; the commit is recorded all the same.
    Optional,
}

impl GitPolicy {
    /// Tells whether a backup needs the remote.
    pub fn needs_remote(self) -> bool {
        self.remote == GitRemote::Required
    }
}
