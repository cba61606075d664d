//! The component of kind `command`: whatever the user's own commands dump and load again.
//!
//! In: the keys of the file. Out: the component, and the way back. A command stays as written: what looks like a reference
//! in it belongs to its shell, and secrets go into `env`. This module never runs anything.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ComponentCommon, ComponentKeys};
use crate::Span;

/// A command: a text for `bash`, or a program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "it is no command: write a text for bash, or a program and its arguments as a list"
)]
pub enum CommandText {
    /// Run by `bash` with `-e`, `-u` and `pipefail`: a failure anywhere is a failure.
    Shell(String),
    /// A program and its arguments; no shell.
    Program(Vec<String>),
}

impl CommandText {
    /// Returns the program with its arguments; `None` of a text for bash.
    pub fn program_mut(&mut self) -> Option<&mut Vec<String>> {
        match self {
            Self::Shell(_) => None,
            Self::Program(argv) => Some(argv),
        }
    }
}

/// The command that writes a backup.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DumpCommand {
    /// The command. Exit code 0 means that the dump is whole.
    pub command: CommandText,
    /// What its standard output is called: then that is the dump, and it goes into the repository as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// The files and folders that it writes into the folder where it runs. None of them may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// How long it may run. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Its variables; secrets as references: `${file:/etc/muster/legacy.password}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// A command that gets the outputs of a dump: it finds each as `MUSTER_OUTPUT_…`, and their folder as `MUSTER_OUTPUT`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputsCommand {
    /// The command. Exit code 0 means that it went well.
    pub command: CommandText,
    /// How long it may run. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Its variables; secrets as references.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// What the user's own commands dump and load again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CommandComponent {
    /// Writes a backup; `None` only in a shared file, before an environment gives it.
    pub dump: Option<DumpCommand>,
    /// Puts a dump in place; without it a backup comes back as files only.
    pub restore: Option<OutputsCommand>,
    /// Opens a dump somewhere else and judges it; without it no backup is proven.
    pub verify: Option<OutputsCommand>,
    /// What all kinds share.
    pub common: ComponentCommon,
}

impl CommandComponent {
    /// Takes it out of the keys of a file.
    pub(super) fn of_keys(keys: ComponentKeys, common: ComponentCommon) -> Self {
        Self { dump: keys.dump, restore: keys.restore, verify: keys.verify, common }
    }

    /// Returns its commands.
    pub fn commands_mut(&mut self) -> impl Iterator<Item = &mut CommandText> {
        let dump = self.dump.iter_mut().map(|one| &mut one.command);
        dump.chain(self.restore.iter_mut().chain(&mut self.verify).map(|one| &mut one.command))
    }

    /// Puts it back.
    pub(super) fn put_into(self, keys: &mut ComponentKeys) {
        keys.dump = self.dump;
        keys.restore = self.restore;
        keys.verify = self.verify;
    }
}

impl DumpCommand {
    /// Returns the names of what it writes.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.stdout.iter().chain(&self.outputs)
    }
}

impl fmt::Debug for DumpCommand {
    /// Without the variables: they may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DumpCommand")
            .field("command", &self.command)
            .field("stdout", &self.stdout)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OutputsCommand {
    /// Without the variables: they may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputsCommand").field("command", &self.command).finish_non_exhaustive()
    }
}
