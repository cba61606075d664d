//! Why the engine could not go on. Errors of drivers, of the repository and of the planner keep their own words.

use std::path::PathBuf;

use muster_drivers::DriverError;
use muster_repo::RepoError;
use muster_types::{Explain, Hint, Kind};

/// Why the engine could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The journal could not be read or written. Nothing is done that could not be journaled.
    #[error("cannot {operation} the journal {}", path.display())]
    Journal {
        /// `open`, `read`, `write`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A journal entry does not fit its predecessor: somebody has changed the file.
    #[error("entry {sequence} of the journal {} has been altered", path.display())]
    JournalAltered {
        /// The file.
        path: PathBuf,
        /// The first entry that does not fit.
        sequence: i64,
    },
    /// The state was written by a newer Muster.
    #[error("the state {} has format {found}, and this Muster knows {known}", path.display())]
    NewerState {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Another run holds the lock.
    #[error("`{name}` is locked by {holder}")]
    Locked {
        /// What is locked.
        name: String,
        /// Who holds it.
        holder: String,
    },
    /// A file or folder of the state could not be used.
    #[error("cannot {operation} {}", path.display())]
    State {
        /// What was tried.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is too little room.
    #[error("{} has {free} free, but {need} are needed", path.display())]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// Free.
        free: muster_types::ByteSize,
        /// Needed.
        need: muster_types::ByteSize,
    },
    /// A check did not pass in time.
    #[error("check `{name}` did not pass: {reason}")]
    CheckFailed {
        /// The check.
        name: String,
        /// Why.
        reason: String,
    },
    /// The plan names something that the configuration does not have (any more).
    #[error("the plan names the {what} `{name}`, which the configuration does not have")]
    Unknown {
        /// `component`, `service`, `check`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A secret of a copy is missing.
    #[error("{message}")]
    CopyUnusable {
        /// What is missing.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A state in the repository is not what Muster has stored.
    #[error("the state of {platform} in the repository is damaged: {message}")]
    StateDamaged {
        /// The platform.
        platform: String,
        /// What was seen.
        message: String,
    },
    /// No such run.
    #[error("there is no run `{0}`")]
    NoSuchRun(String),
    /// A run that is over cannot be resumed.
    #[error("run {0} is over: there is nothing to resume")]
    RunIsOver(String),
    /// The run's decisions rest on facts of its own time.
    #[error("the {verb} of run {run} is not continued: what it decided may be wrong by now")]
    NotResumable {
        /// The run.
        run: String,
        /// What it was for.
        verb: &'static str,
    },
    /// A command of an earlier run of the same runbook still works.
    #[error("run {run} of this runbook has died, and its step `{step}` still works")]
    StepStillRuns {
        /// The earlier run.
        run: String,
        /// The step.
        step: String,
    },
    /// Another run has put other data in place since.
    #[error("run {run} is not continued: run {by} has changed the same component since")]
    Superseded {
        /// The run.
        run: String,
        /// The later one.
        by: String,
    },
    /// The source's own files are damaged.
    #[error("the files of `{component}` are damaged at their source, and so is backup {backup}: {damage}")]
    SourceDamaged {
        /// The component.
        component: String,
        /// The backup's short id.
        backup: String,
        /// What the server said.
        damage: String,
    },
    /// A proof could not judge everything on this host.
    #[error("`{component}` cannot be proven on this host: {}", doubts.join("; "))]
    Doubtful {
        /// The component.
        component: String,
        /// What could not be judged.
        doubts: Vec<String>,
    },
    /// What should be put in place is not there.
    #[error("there is nothing to put in place: {} is gone", .0.display())]
    NothingToSwap(PathBuf),
    /// No comparison says what is to be inserted.
    #[error("nobody has found out which rows of `{0}` are missing")]
    NoRowsFound(String),
    /// Stopped by a person or a signal.
    #[error("interrupted")]
    Interrupted,
    /// A driver's error.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The repository's error.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

impl Explain for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Journal { .. }
            | Self::State { .. }
            | Self::NoSpace { .. }
            | Self::CheckFailed { .. }
            | Self::Doubtful { .. } => Kind::Unavailable,
            Self::JournalAltered { .. } | Self::SourceDamaged { .. } | Self::StateDamaged { .. } => {
                Kind::Corrupt
            }
            Self::NewerState { .. }
            | Self::RunIsOver(_)
            | Self::NotResumable { .. }
            | Self::Superseded { .. }
            | Self::NoRowsFound(_)
            | Self::NothingToSwap(_) => Kind::Conflict,
            Self::Locked { .. } | Self::StepStillRuns { .. } => Kind::Locked,
            Self::Unknown { .. } | Self::CopyUnusable { .. } => Kind::Config,
            Self::NoSuchRun(_) => Kind::NotFound,
            Self::Interrupted => Kind::Interrupted,
            Self::Driver(error) => error.kind(),
            Self::Repo(error) => error.kind(),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Locked { .. } | Self::CheckFailed { .. } => true,
            Self::Driver(error) => error.is_retryable(),
            Self::Repo(error) => error.is_retryable(),
            _ => false,
        }
    }

    fn hint(&self) -> Option<Hint> {
        let text = match self {
            Self::Journal { path, .. } | Self::State { path, .. } => format!(
                "free some space and check the rights of {}; nothing has been changed that is not in the journal",
                path.parent().unwrap_or(path).display()
            ),
            Self::JournalAltered { path, .. } => {
                format!("move {} aside: the repository alone is enough to restore from", path.display())
            }
            Self::CopyUnusable { hint, .. } => hint.clone(),
            Self::StateDamaged { .. } => {
                "use a copy of the repository, or write the configuration anew: backups do not need it".into()
            }
            Self::NewerState { .. } => "use the newer Muster, or another `state:` folder".into(),
            Self::Locked { .. } => "wait for it, or end that process".into(),
            Self::NoSpace { path, .. } => format!("make room on the file system of {}", path.display()),
            Self::CheckFailed { name, .. } => format!("look at it with `muster check {name}`"),
            Self::Unknown { .. } => "put it back into `muster.yaml`, or make a new plan".into(),
            Self::StepStillRuns { run, .. } => {
                format!("`muster resume {run}` waits for it and goes on")
            }
            Self::NoSuchRun(_) => "list them with `muster runs`".into(),
            Self::NotResumable { verb, .. } => format!("run `muster {verb}` again"),
            Self::Superseded { by, .. } => {
                format!("look at it with `muster show {by}`, then make a new restore")
            }
            Self::NoRowsFound(_) => "make a new rescue".into(),
            Self::NothingToSwap(_) => "somebody has removed it; restore a backup instead".into(),
            Self::RunIsOver(run) => format!("look at it with `muster show {run}`"),
            Self::SourceDamaged { component, .. } => format!(
                "look at the disk of `{component}` now; the backups before this one are in `muster list {component}`"
            ),
            Self::Doubtful { .. } => {
                "prove it on a host that has what is missing: the same libraries, the same system".into()
            }
            Self::Interrupted => "look at what was done with `muster runs`".into(),
            Self::Driver(error) => return error.hint(),
            Self::Repo(error) => return error.hint(),
        };
        Some(Hint(text))
    }
}
