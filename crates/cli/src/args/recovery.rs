//! What can be said to the commands that bring something back: restore, rescue, failover, run, resume.
//!
//! Words only: what they mean is decided in the commands' own files.

use std::path::PathBuf;

use clap::Args;

use super::{AnewArgs, PointArgs};

/// What people give to open a Vault, for one run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UnsealArgs {
    /// Vault: a file with shares of the original unseal key, one in a line; `-` reads them from standard input. They are
    /// never stored. Without it they are asked for on a terminal
    #[arg(long, value_name = "FILE")]
    pub unseal_keys_file: Option<PathBuf>,
}

/// What is said of the `edits` of restored files.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EditArgs {
    /// A value for `{{ NAME }}` in the `edits` of files; goes before `variables` of the configuration. Can be said
    /// several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Bring files back as they were: leave out the `edits` of the configuration
    #[arg(long, conflicts_with = "set")]
    pub no_edits: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person gives")]
pub(crate) struct RestoreArgs {
    /// The components, restored as one run
    #[arg(required_unless_present = "all")]
    pub components: Vec<String>,
    /// All components
    #[arg(long, conflicts_with_all = ["components", "into"])]
    pub all: bool,
    /// To which state: `latest`, `latest-proven`, a time with zone, a backup's id or its label; with a log also an LSN
    /// (`0/3000100`), `xid:N`, `name:RESTORE_POINT`, `immediate` (the newest backup alone)
    #[arg(long, value_name = "STATE", default_value = "latest")]
    pub to: String,
    #[command(flatten)]
    pub point: PointArgs,
    /// Along which timeline of a cluster. Default: the one that it was on at that time
    #[arg(long, value_name = "N", conflicts_with = "undo")]
    pub timeline: Option<u32>,
    /// Only this table of a PostgreSQL component, as SQL names it (`runs`, `app.runs`, `"Runs"`); can be said several
    /// times. Nothing else changes
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["all", "into", "failed_at", "try_older", "undo"])]
    pub table: Vec<String>,
    /// Restore to another place and leave the component alone
    #[arg(long, value_name = "PATH")]
    pub into: Option<PathBuf>,
    /// From this copy of the repository; the repository itself is not asked
    #[arg(long, value_name = "COPY", conflicts_with = "undo")]
    pub from: Option<String>,
    /// What stands at `--into` may be moved aside
    #[arg(long, requires = "into")]
    pub replace: bool,
    /// Write and verify beside what runs, and stop the services only then, for the swap. What is written meanwhile is not
    /// in the restored state
    #[arg(long, conflicts_with_all = ["into", "table", "undo"])]
    pub side_by_side: bool,
    /// When the failure began (with zone): the RTO clock runs from here
    #[arg(long, value_name = "TIME")]
    pub failed_at: Option<String>,
    /// When the chosen backup turns out to be damaged, go on with the next older one
    #[arg(long)]
    pub try_older: bool,
    /// Put the data back that the last restore moved aside
    #[arg(long, conflicts_with_all = ["into", "failed_at", "try_older"])]
    pub undo: bool,
    /// A rehearsal: its times count as `drill`
    #[arg(long)]
    pub drill: bool,
    #[command(flatten)]
    pub edit: EditArgs,
    #[command(flatten)]
    pub unseal: UnsealArgs,
    /// Vault: a file with a token of a new server that was initialised by hand; the one of the configuration is the old
    /// server's. Never stored
    #[arg(long, value_name = "FILE")]
    pub server_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub anew: AnewArgs,
    /// Print the plan and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RescueArgs {
    /// The component
    pub component: String,
    /// The table, as SQL names it: `runs`, `app.runs`, `"Runs"`
    #[arg(long, value_name = "TABLE")]
    pub table: String,
    /// Only the rows that this SQL condition holds for. Default: all
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// From which state: a time with zone, a backup's id or its label, `latest`; with a log also an LSN (`0/3000100`),
    /// `xid:N`, `name:RESTORE_POINT`
    #[arg(long, value_name = "STATE")]
    pub from: String,
    /// Along which timeline of a cluster. Default: the one that it was on at that time
    #[arg(long, value_name = "N")]
    pub timeline: Option<u32>,
    /// Let the triggers of the tables fire. Default: they stay silent
    #[arg(long)]
    pub triggers: bool,
    /// Find the rows and say what would be inserted, and change nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FailoverArgs {
    /// The component
    pub component: String,
    /// The member that becomes the primary; in a Redis Cluster the replica's address or id
    #[arg(long, value_name = "MEMBER")]
    pub to: String,
    /// Who has made sure that the old primary is off, and how: `ada: power cut at the socket`. Kept in the journal
    #[arg(long, value_name = "NAME: HOW")]
    pub fenced_by: Option<String>,
    /// A rehearsal
    #[arg(long)]
    pub drill: bool,
    /// Print the plan and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person gives")]
pub(crate) struct RunArgs {
    /// The runbook, or any Markdown document
    pub file: PathBuf,
    /// A phase or scenario: its number (`3.2`) or words of its title
    pub section: Option<String>,
    /// Answers and decisions, as YAML: `STEP: ANSWER`
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// When the failure began (with zone): the RTO clock runs from here
    #[arg(long, value_name = "TIME")]
    pub failed_at: Option<String>,
    /// A rehearsal: its times count as `drill`
    #[arg(long)]
    pub drill: bool,
    /// Print the very commands and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Show what commands write as it comes, also where no terminal is
    #[arg(long)]
    pub follow: bool,
    /// Do not ask before each step
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The run
    pub run: String,
    #[command(flatten)]
    pub unseal: UnsealArgs,
    /// Vault: a file with a token of a new server that was initialised by hand. Never stored
    #[arg(long, value_name = "FILE")]
    pub server_token_file: Option<PathBuf>,
    /// Answers and decisions for the run of a runbook, as YAML: `STEP: ANSWER`
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Give the run of a runbook up: undo what it has done, as far as its steps say how
    #[arg(long)]
    pub undo: bool,
    /// Show what commands of a runbook write as it comes, also where no terminal is
    #[arg(long)]
    pub follow: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}
