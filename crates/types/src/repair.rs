//! Repair of a running server: what was found damaged, what is mended, and what was kept before.
//!
//! Made by the driver that looks; planned, journaled and shown as it stands here. The SQL of a mending is written in this
//! module and nowhere else, so that a dry run shows the very text that is executed.
//!
//! This module never asks a server. Read next: `quarantine.rs` for rows, `plan.rs` for the steps.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamageKind {
    /// An index does not hold what its table holds, or cannot be read.
    Index,
    /// An index that the server does not use: its build has failed, or was ended.
    InvalidIndex,
    /// Rows of a table, or their large values, cannot be read or contradict themselves.
    Table,
    /// Rows point to rows that are not there.
    ForeignKey,
    /// A constraint that was never checked for the rows that stood there before it.
    Unvalidated,
    /// The server has read pages whose checksum is wrong.
    Checksum,
    /// The planner knows nothing of a table.
    Statistics,
}

impl DamageKind {
    /// Tells whether data is wrong or unusable; the others are worth mending and break nothing.
    pub fn is_damage(self) -> bool {
        !matches!(self, Self::Unvalidated | Self::Statistics)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageFinding {
    /// What it is about.
    pub kind: DamageKind,
    /// The object, as SQL needs it: `public.runs_pkey`.
    pub object: String,
    /// What is wrong, in one line; the server's own words where it has said it.
    pub what: String,
    /// What mends it: a command or SQL. May have several lines.
    pub mend: String,
}

/// What a look for damage has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageFound {
    /// The component.
    pub component: String,
    /// What is wrong, worst first.
    pub findings: Vec<DamageFinding>,
    /// Indexes that were compared with their tables, entry by entry.
    pub indexes: u64,
    /// Tables that were read page by page.
    pub tables: u64,
    /// Foreign keys whose rows were looked up.
    pub foreign_keys: u64,
    /// What was not looked at, and why, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

impl DamageFound {
    /// Tells whether data is wrong or unusable.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|one| one.kind.is_damage())
    }
}

/// Which part of a server is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageScope {
    /// Indexes, as SQL needs them.
    pub indexes: Vec<String>,
    /// Tables, as SQL needs them.
    pub tables: Vec<String>,
}

/// What a person wants mended, as named by the person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairAsked {
    /// Indexes, tables, or the database.
    pub reindex: Vec<String>,
    /// Tables.
    pub vacuum: Vec<String>,
    /// Tables; an empty name means the database.
    pub analyze: Vec<String>,
}

/// One statement that mends something. All of them may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mend", rename_all = "kebab-case")]
pub enum Mending {
    /// Removes what a build of an index that did not come to its end has left.
    DropLeftover {
        /// The left index, as SQL needs it.
        index: String,
    },
    /// Builds an index anew from its table.
    Reindex {
        /// The index, as SQL needs it.
        index: String,
        /// Whether writers go on meanwhile. Not every index can be built so.
        concurrently: bool,
    },
    /// Removes rows that nobody sees any more, and renews the maps of the table.
    Vacuum {
        /// The table, as SQL needs it.
        table: String,
    },
    /// Collects what the planner knows of a table, or of all.
    Analyze {
        /// The table, or several with commas between them, as SQL needs them; absent: every table of the database.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
    },
}

impl Mending {
    /// Returns the statement.
    pub fn sql(&self) -> String {
        match self {
            Self::DropLeftover { index } => format!("DROP INDEX CONCURRENTLY {index}"),
            Self::Reindex { index, concurrently: true } => format!("REINDEX INDEX CONCURRENTLY {index}"),
            Self::Reindex { index, concurrently: false } => format!("REINDEX INDEX {index}"),
            Self::Vacuum { table } => format!("VACUUM {table}"),
            Self::Analyze { table: Some(table) } => format!("ANALYZE {table}"),
            Self::Analyze { table: None } => "ANALYZE".to_owned(),
        }
    }
}

/// What a server says of what is to be mended, before anything is planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairFacts {
    /// The statements, in order.
    pub mendings: Vec<Mending>,
    /// What they touch.
    pub scope: DamageScope,
    /// What a person should know before: locks, indexes that cannot be compared.
    pub notes: Vec<String>,
}

/// The definitions that were kept before indexes were built anew, and the tables that were read to their end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionsKept {
    /// The file, as SQL.
    pub file: PathBuf,
    /// How many indexes are in it.
    pub indexes: u64,
    /// Each table with its rows: every value of them could be read.
    pub tables: Vec<TableRead>,
}

/// A table whose every value could be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRead {
    /// The table, as SQL needs it.
    pub table: String,
    /// Its rows.
    pub rows: u64,
}

/// What a repair tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "repair", rename_all = "kebab-case")]
pub enum RepairEvent {
    /// The state before.
    Before {
        /// What was found.
        found: DamageFound,
    },
    /// The definitions are on disk. Durable before anything is mended.
    Kept {
        /// What and where.
        kept: DefinitionsKept,
    },
    /// The state after.
    After {
        /// What was found.
        found: DamageFound,
    },
}

/// What a repair has come to, for its report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairReport {
    /// What was wrong before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<DamageFound>,
    /// What was kept before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<DefinitionsKept>,
    /// What was wrong after; absent while nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<DamageFound>,
}

impl RepairReport {
    /// Takes in what was told.
    pub fn take(&mut self, event: &RepairEvent) {
        match event.clone() {
            RepairEvent::Before { found } => self.before = Some(found),
            RepairEvent::Kept { kept } => self.kept = Some(kept),
            RepairEvent::After { found } => self.after = Some(found),
        }
    }
}
