//! A plan: everything a run will do, as a value.
//!
//! The planner makes it, `--dry-run` shows it, `--json` prints it, the executor takes it, the journal keeps it, and
//! `resume` reads it back. It holds names and paths, never secrets. The executor decides nothing that stands open here.
//!
//! All that a step can do is one enum and so one thing: the executor's match over it is checked to be whole.
//!
//! This module never executes.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Span, Timestamp,
    anew::Anew,
    backup::{BackupId, Identity, RunId, Witness},
    config::{Assertion, Edit},
    failover::{Fence, Way},
    objective::ObjectiveRow,
    point::Point,
    quarantine::CountedMark,
    repair::{DamageScope, Mending},
    rescue::{RowSelection, TriggerUse},
    rotation::RotationPart,
    script::ScriptSource,
    wal::{LineId, Lsn, Replay},
};

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Take backups.
    Backup,
    /// Bring a component back.
    Restore,
    /// Put the data back that a restore moved aside.
    Undo,
    /// Prove backups in a sandbox.
    Prove,
    /// Remove backups that no rule keeps.
    Prune,
    /// Check the repository itself.
    Verify,
    /// Pin a backup, or take its pin away.
    Pin,
    /// Bring deleted rows back.
    Rescue,
    /// Bring the repository's copies up to date.
    Copy,
    /// Make a standby the primary.
    Failover,
    /// Mend indexes and tables of a running server.
    Repair,
    /// Set corrupt rows aside, or put them back.
    Quarantine,
    /// Replace secrets by new ones.
    Rotate,
    /// Run a runbook.
    Run,
}

impl Verb {
    /// Returns the word of the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Undo => "undo",
            Self::Prove => "prove",
            Self::Prune => "prune",
            Self::Verify => "verify",
            Self::Pin => "pin",
            Self::Rescue => "rescue",
            Self::Copy => "copy",
            Self::Failover => "failover",
            Self::Repair => "repair",
            Self::Quarantine => "quarantine",
            Self::Rotate => "rotate",
            Self::Run => "run",
        }
    }
}

/// Whether a run is the real thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The real thing.
    Live,
    /// A rehearsal.
    Drill,
}

/// Everything a run will do, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What it is for.
    pub verb: Verb,
    /// Real or rehearsal.
    pub mode: Mode,
    /// The platform.
    pub platform: String,
    /// The environment; `default` where there is only one.
    pub environment: String,
    /// When the facts were taken that it rests on, UTC.
    pub surveyed_at: Timestamp,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What the planner wants a person to know: chosen backup, expected loss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// For restores: when the failure began that this recovers from, UTC. The RTO clock runs from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// The copy of the repository that it reads; absent: the repository itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The targets that the run's report is judged by; `measured_seconds` is empty here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<ObjectiveRow>,
    /// Of several components that belong together: which state each of them has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<Box<Point>>,
    /// Only of the run of a runbook: its text. `steps` is empty then; they are decided one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Box<ScriptSource>>,
}

impl Plan {
    /// Returns the SHA-256 of the plan's JSON, in hex: what a person approves is what is executed.
    pub fn digest(&self) -> String {
        let json = serde_json::to_vec(self).expect("a plan has only text keys and finite numbers");
        crate::text::hex(Sha256::digest(&json))
    }
}

/// What may happen when a step is done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepClass {
    /// Only looks.
    Observe,
    /// May be done again.
    Idempotent,
    /// Must not be done blindly again; its probe decides.
    Destructive,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the plan and the same on every resume: `swap:database`.
    pub id: String,
    /// For people: `put the restored database in place`.
    pub title: String,
    /// What may happen when it is done twice.
    pub class: StepClass,
    /// What it does.
    pub action: Action,
    /// What it belongs to: a failed step skips the later steps of its own group, and no others.
    pub group: String,
    /// Done even when an earlier step of its group failed. (Starting what was stopped is not: a half-restored
    /// platform stays down.)
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub always: bool,
}

/// What a step does.
///
/// Paths are absolute. `scratch` folders are removed at the end of the run, or by the next one after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Takes one backup of a component.
    BackUp {
        /// The component.
        component: String,
        /// Its identity, written into the backup.
        identity: Identity,
        /// `consistent`, or `raw` for a safety copy of whatever lies there.
        method: crate::backup::Method,
        /// A person's name for it.
        label: Option<String>,
        /// Never prune it.
        pin: bool,
        /// Where temporary copies go.
        scratch: PathBuf,
        /// What a stopped server has left, to be read in place of the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<PathBuf>,
    },
    /// Fails when a folder's file system has too little room. Before the first byte.
    CheckSpace {
        /// The folder.
        path: PathBuf,
        /// Bytes that will be written there.
        need_bytes: u64,
    },
    /// Fails when another process has the component open.
    CheckUnused {
        /// The component.
        component: String,
    },
    /// Stops a service and waits until it has ended.
    StopService {
        /// The service.
        service: String,
    },
    /// Starts a service and waits until it is ready.
    StartService {
        /// The service.
        service: String,
        /// How long it may take.
        within: Span,
    },
    /// Writes a backup's content beside its target (or into an empty one), every chunk hash-checked.
    RestoreBeside {
        /// The component.
        component: String,
        /// The backup.
        backup: BackupId,
        /// For each of the backup's paths: where it is written.
        places: Vec<PathBuf>,
        /// Folders above the places that are not there: they are made, and go again when nothing came to stand in them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        absent: Vec<PathBuf>,
    },
    /// Fails when the server that is to take the component could not: no right, no program, no answer.
    CheckPlace {
        /// The component.
        component: String,
        /// The place inside the server.
        place: PathBuf,
    },
    /// Loads what `RestoreBeside` wrote into a running server, beside what stands there.
    Load {
        /// The component.
        component: String,
        /// The backup.
        backup: BackupId,
        /// Where it was written, in the order of the backup's paths.
        places: Vec<PathBuf>,
        /// The new place inside the server.
        into: PathBuf,
    },
    /// Opens the restored state as its server would, checks it and compares the witness.
    VerifyRestored {
        /// The component.
        component: String,
        /// The backup that it came from.
        backup: BackupId,
        /// Where it was written, in the order of the backup's paths.
        places: Vec<PathBuf>,
        /// What must be true.
        witness: Witness,
        /// What must hold besides.
        assertions: Vec<Assertion>,
        /// Damage that the source was found to have when it was backed up: a proof ends with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        damage: Vec<String>,
        /// The log that is replayed on it first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replay: Option<Replay>,
        /// The place inside a running server that it was loaded into: then that is what is judged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loaded: Option<PathBuf>,
    },
    /// Replaces texts in restored files that are not in place yet. Each file is made of the backup's own content, so it
    /// may be done again.
    EditFiles {
        /// The component.
        component: String,
        /// The backup.
        backup: BackupId,
        /// Where it was written, in the order of the backup's paths.
        places: Vec<PathBuf>,
        /// What is replaced; variables are filled in when it is done, so that no secret is in a plan.
        edits: Vec<Edit>,
        /// Values that a person has given for this run.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        set: BTreeMap<String, String>,
    },
    /// Puts the archived log that a restore replays beside the restored files.
    FetchWal {
        /// The component.
        component: String,
        /// Which part of the archive.
        replay: Replay,
        /// The folder.
        into: PathBuf,
    },
    /// Compares restored files with production, and keeps every row that is missing there.
    FindRows {
        /// The component.
        component: String,
        /// Where the earlier state was written, in the order of the backup's paths.
        places: Vec<PathBuf>,
        /// Which rows are meant.
        selection: RowSelection,
        /// The folder in which the rows are kept.
        keep: PathBuf,
        /// Whether their triggers will fire: without, the role needs other rights.
        triggers: TriggerUse,
    },
    /// Inserts the rows that were found, in one transaction.
    InsertRows {
        /// The component.
        component: String,
        /// Whether triggers fire.
        triggers: TriggerUse,
    },
    /// Opens a sealed server with the keys that people give for this run; one that is open is left alone.
    Unseal {
        /// The component.
        component: String,
    },
    /// Puts the backup in place of all that a running server holds.
    TakeOver {
        /// The component.
        component: String,
        /// The backup.
        backup: BackupId,
        /// Where it was written, in the order of the backup's paths.
        places: Vec<PathBuf>,
        /// What server it is.
        how: Takeover,
    },
    /// Tells how often a cache had what it was asked for, of late.
    MeasureHits {
        /// The component.
        component: String,
    },
    /// Empties a cache.
    EmptyCache {
        /// The component.
        component: String,
        /// The folder of its stopped server; absent: the running server empties itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<PathBuf>,
    },
    /// Waits for a cache's server, and lets it be filled again.
    WarmUp {
        /// The component.
        component: String,
    },
    /// Initialises a new server for named people; nothing of the old one is brought back.
    StartAnew {
        /// The component.
        component: String,
        /// Where its newest backup was written, for the names of what is gone; empty: there is none.
        places: Vec<PathBuf>,
        /// Who gets the new keys.
        anew: Anew,
    },
    /// Replaces chosen tables by those of an earlier state, in one transaction; what stood there is kept in the server.
    ReplaceTables {
        /// The component.
        component: String,
        /// Where the earlier state was written, in the order of the backup's paths.
        places: Vec<PathBuf>,
        /// The tables, as the person has named them.
        tables: Vec<String>,
        /// The database. See [`crate::place`].
        target: PathBuf,
        /// The place in it that keeps what stood there.
        kept: PathBuf,
    },
    /// Puts back what a restore of tables has kept, in one transaction; what stands there is kept in its turn.
    ReturnTables {
        /// The component.
        component: String,
        /// The run that kept it.
        run: RunId,
        /// The place that keeps it.
        from: PathBuf,
        /// The database.
        target: PathBuf,
        /// The place in it that keeps what stands there now.
        kept: PathBuf,
    },
    /// Puts the restored state in place; the old one is kept beside.
    Swap {
        /// The component.
        component: String,
        /// Who holds the places of `moves`.
        #[serde(default, skip_serializing_if = "Holder::is_folder")]
        holder: Holder,
        /// What goes where.
        moves: Vec<SwapMove>,
    },
    /// Keeps an old primary from taking writes, before another one takes its place.
    Fence {
        /// The component.
        component: String,
        /// The member.
        member: String,
        /// By what.
        fence: Fence,
    },
    /// Makes a standby the primary, and waits until it takes writes.
    Promote {
        /// The component.
        component: String,
        /// The member.
        member: String,
        /// How far the old primary was when it was last seen, and when, for the case that it cannot be asked any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<(Lsn, Timestamp)>,
        /// Commands that make a standby of the old primary again, for the report.
        rebuild: Vec<String>,
    },
    /// Makes a replica of a Redis Cluster the primary of its slots, in the first of these ways that succeeds.
    PromoteReplica {
        /// The component.
        component: String,
        /// Where the replica is.
        replica: String,
        /// Where its primary is.
        primary: String,
        /// The ways, in their order.
        ways: Vec<Way>,
        /// Since when it had not heard of its primary, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        silent_seconds: Option<u64>,
        /// Who has said that the primary is off, and how.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fenced_by: Option<String>,
    },
    /// Leads clients to the new primary, by the component's own command.
    SwitchClients {
        /// The component.
        component: String,
        /// The member.
        member: String,
    },
    /// Looks for damage in parts of a running server. After a repair, damage fails the step.
    FindDamage {
        /// The component.
        component: String,
        /// What is looked at.
        scope: DamageScope,
        /// Whether it is the look after the repair.
        is_after: bool,
    },
    /// Keeps the definitions of indexes in a file, after their tables were read to the end.
    KeepDefinitions {
        /// The component.
        component: String,
        /// The indexes, as SQL needs them.
        indexes: Vec<String>,
        /// The file.
        file: PathBuf,
    },
    /// Executes one statement that mends something.
    Mend {
        /// The component.
        component: String,
        /// What.
        mending: Mending,
    },
    /// Copies rows into a schema of their own, then marks them or moves them out, in one transaction.
    Quarantine {
        /// The component.
        component: String,
        /// The schema.
        schema: String,
        /// Each table; the others depend on the first.
        marks: Vec<CountedMark>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Puts rows back that a quarantine has kept, but for those that were changed since.
    EndQuarantine {
        /// The component.
        component: String,
        /// The schema.
        schema: String,
    },
    /// Does one part of the rotation of a secret.
    Rotate {
        /// The secret.
        secret: String,
        /// What.
        #[serde(flatten)]
        part: RotationPart,
    },
    /// Runs a check, until it passes or the time is over.
    Check {
        /// The check.
        check: String,
        /// How long it may take.
        within: Span,
    },
    /// Removes a scratch folder or file tree.
    RemoveScratch {
        /// What is removed.
        path: PathBuf,
    },
    /// Forgets backups; their data is freed by `FreeSpace`.
    Forget {
        /// The backups.
        backups: Vec<BackupId>,
    },
    /// Removes data that no backup needs any more.
    FreeSpace,
    /// Removes what no kept backup needs of archived logs.
    FreeWal {
        /// From where on each line is still needed.
        needs: Vec<WalNeed>,
    },
    /// Pins a backup, so that no retention rule removes it, or takes its pin away.
    SetPin {
        /// The backup.
        backup: BackupId,
        /// Whether it is pinned afterwards.
        pin: bool,
    },
    /// Sends to a copy of the repository what is missing there.
    CopyTo {
        /// The copy's name.
        copy: String,
        /// Whether a new copy may be begun where nothing stands.
        may_begin: bool,
        /// Whether it is the repository itself that is made or mended from a copy: what changes there is not replaced.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_mending: bool,
        /// Whether everything that stands there is read again, and replaced where it is damaged.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        read_all: bool,
    },
    /// Removes from a copy what this repository has pruned.
    ThinCopy {
        /// The copy's name.
        copy: String,
        /// Backups that no rule keeps there.
        backups: Vec<BackupId>,
    },
    /// Removes what a restore has moved aside, after its grace time.
    ReleaseKept {
        /// What was kept.
        kept: KeptData,
    },
}

/// What a server is to the backup that takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Takeover {
    /// The one that the backup was taken from, with the same keys.
    Same,
    /// Another one, open: it takes the keys of the backup's server with its data.
    Force,
    /// A cluster that takes the objects of the backup one by one, and keeps what the backup does not know.
    Apply,
    /// Whatever the user's own restore command loads it into.
    Command,
    /// A new one: it is initialised with keys that are thrown away, and then taken as [`Self::Force`].
    Initialise,
}

/// From where on a line of an archived log is still needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalNeed {
    /// The cluster.
    pub system_identifier: String,
    /// The line.
    pub line: LineId,
    /// The first byte that is needed.
    pub first: Lsn,
}

/// Who holds the places of a swap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A folder: places are paths.
    #[default]
    Folder,
    /// A running server: places are its own, and only the component's driver can look at them. See [`crate::place`].
    Server,
}

impl Holder {
    /// Tells whether places are paths.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub fn is_folder(&self) -> bool {
        *self == Self::Folder
    }
}

/// One path of a swap.
///
/// Invariant: all three lie in the same folder or the same server, so that each move is one rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapMove {
    /// The restored state. For an undo: the old one.
    pub from: PathBuf,
    /// The place that services use.
    pub target: PathBuf,
    /// Where the present state is kept.
    pub kept: PathBuf,
}

/// A restore whose old data is still kept: what `--undo` puts back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptData {
    /// The run that kept it.
    pub run: RunId,
    /// The component.
    pub component: String,
    /// Who holds the places of `moves`.
    #[serde(default, skip_serializing_if = "Holder::is_folder")]
    pub holder: Holder,
    /// What was moved.
    pub moves: Vec<SwapMove>,
    /// When, UTC.
    pub at: Timestamp,
    /// Whether it may hold what no backup has: files that the configuration left out.
    #[serde(default)]
    pub holds_more: bool,
}
