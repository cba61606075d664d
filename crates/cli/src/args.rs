//! What can be said on the command line. Words only: what they mean is decided in `commands`.

mod anew;
mod copies;
mod doctor;
mod kit;
mod network;
mod point;
mod recovery;
mod repair;
mod runbook;
mod schedule;
mod secrets;
mod service;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use muster_types::Span;

pub(crate) use self::{
    anew::AnewArgs,
    copies::{CopyArgs, RecoverArgs},
    doctor::DoctorArgs,
    kit::{KitArgs, UnlockArgs},
    network::NetworkArgs,
    point::{CleanArgs, PointArgs},
    recovery::{EditArgs, FailoverArgs, RescueArgs, RestoreArgs, ResumeArgs, RunArgs, UnsealArgs},
    repair::{QuarantineArgs, RepairArgs},
    runbook::{LintArgs, RenderForm, RunbookCommand},
    schedule::ScheduleArgs,
    secrets::{RotateArgs, SecretsArgs},
    service::{ServiceArgs, ServiceVerb},
};

/// Disaster recovery that is proven before it is needed.
#[derive(Debug, Parser)]
#[command(name = "muster", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The configuration file. Default: `muster.yaml` here or in a folder above
    #[arg(long, short = 'c', global = true, value_name = "FILE", env = "MUSTER_CONFIG")]
    pub config: Option<PathBuf>,
    /// The environment, when there are several `muster.<env>.yaml`
    #[arg(long, short = 'e', global = true, value_name = "ENV")]
    pub env: Option<String>,
    /// Print the answer as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress and no status, only the answer and errors
    #[arg(long, short = 'q', global = true)]
    pub quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at what is here, write a `muster.yaml`, make the repository and its key
    Init(InitArgs),
    /// Say what Muster sees of each component, and what a backup still needs
    Survey(SurveyArgs),
    /// Check the configuration, or print its JSON Schema
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Observe the platform: run checks
    Check(CheckArgs),
    /// Print the commands that are needed in an emergency, with the names of this platform in them
    Cheat,
    /// Run all checks, and name the runbook that fits what is seen
    Diagnose(DiagnoseArgs),
    /// Say what a recovery needs on this host: tools, room, keys, logins, registries
    Doctor(DoctorArgs),
    /// Look at the way to servers: names, routes, firewalls, connections, certificates, answers
    Network(NetworkArgs),
    /// Back components up
    Backup(BackupArgs),
    /// Bring the copies of the repository up to date
    Copy(CopyArgs),
    /// List backups
    List(ListArgs),
    /// Show one backup or one run
    Show(ShowArgs),
    /// Verify the repository, or foreign backup files
    Verify(VerifyArgs),
    /// Prove backups by restoring them in a sandbox
    Prove(ProveArgs),
    /// Bring components back
    Restore(RestoreArgs),
    /// On a blank host: bring configuration, runbooks and history back from a repository, then everything else
    Recover(RecoverArgs),
    /// Write the emergency kit: one encrypted file with what a person needs where everything is gone; or try one
    Kit(KitArgs),
    /// Bring deleted rows of a PostgreSQL table back from an earlier state
    Rescue(RescueArgs),
    /// Make a standby the primary of a PostgreSQL cluster, after the old primary is kept out
    Failover(FailoverArgs),
    /// Look for damage in a running PostgreSQL server, or mend indexes, tables and statistics of it
    Repair(RepairArgs),
    /// Set corrupt rows of a PostgreSQL table aside, so that they can be put back as they were
    Quarantine(QuarantineArgs),
    /// Run a runbook, or a scenario of any Markdown document, step by step
    Run(RunArgs),
    /// Continue a run that was interrupted, has failed or waits
    Resume(ResumeArgs),
    /// List runs, newest first
    Runs(RunsArgs),
    /// Say what is done when and what was missed; with `--run` do it until stopped
    Schedule(ScheduleArgs),
    /// Say how each objective stands
    Status(StatusArgs),
    /// Show on this host, over HTTP, what the other commands say: dashboard, API, metrics
    Serve(ServeArgs),
    /// Forget backups that no retention rule keeps, and free their space
    Prune(PruneArgs),
    /// Keep a backup whatever the retention rules say, or give it back to them
    Pin(PinArgs),
    /// Look for what fails, loses data or proves nothing in recovery documents, scripts and `muster.yaml`
    Lint(LintArgs),
    /// Print, add, list or remove keys of the repository
    #[command(subcommand)]
    Key(KeyCommand),
    /// Say where each secret lives, whether it is there, and which service needs it
    Secrets(SecretsArgs),
    /// Replace secrets by new ones where they live, and prove that the old ones are refused
    Rotate(RotateArgs),
    /// Start, stop or look at services
    Service(ServiceArgs),
    /// Receive the write-ahead log of a PostgreSQL server
    #[command(subcommand)]
    Wal(WalCommand),
    /// Say to which times a component can be brought back by its log, and what is missing
    Reach(ReachArgs),
    /// Remove from a component's server what Muster has made there
    Detach(DetachArgs),
    /// Read runbooks and recovery documents: show what is to be done, or draft files of them
    #[command(subcommand)]
    Runbook(RunbookCommand),
    /// Destroy and recover a small platform in a sandbox, to see how it works
    Demo(DemoArgs),
    /// Internal: keeps a command of a runbook
    #[command(hide = true)]
    KeepStep {
        /// Where its end is written
        folder: PathBuf,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where the repository is made: a folder or `s3://bucket/prefix`. Default: `muster-repository` beside the file
    #[arg(long, value_name = "PATH")]
    pub repository: Option<PathBuf>,
    /// Object storage that is not AWS: its address
    #[arg(long, value_name = "URL", requires = "repository")]
    pub endpoint: Option<String>,
    /// The region of the object storage. Default: us-east-1
    #[arg(long, value_name = "NAME", requires = "repository")]
    pub region: Option<String>,
    /// An existing key file. Default: a new one, `muster.key`, mode 0600
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The platform's name. Default: the folder's name
    #[arg(long, value_name = "NAME")]
    pub platform: Option<String>,
    /// Ask nothing
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SurveyArgs {
    /// Only these components. Default: all
    pub components: Vec<String>,
    /// Ask nobody; print the SQL and the `pg_hba.conf` lines of a role that may back up and nothing else
    #[arg(long)]
    pub sql: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WalCommand {
    /// Receive until it is told to stop; says every few seconds how far it is
    Receive {
        /// The component
        component: String,
    },
    /// For `restore_command`: write one file of the archive. Exit 1: there is none; 126: nobody knows
    Fetch {
        /// The component
        component: String,
        /// The file that the server asks for: `%f`
        name: String,
        /// Where it wants it: `%p`
        path: PathBuf,
    },
    /// For `archive_command`, where nothing can stream: archive one file of `pg_wal`
    Push {
        /// The component
        component: String,
        /// The file: `%p`
        path: PathBuf,
    },
    /// The slot by which a server keeps the log until it is received
    #[command(subcommand)]
    Slot(SlotCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SlotCommand {
    /// Drop it on each server of the component: the server keeps no log for Muster any more
    Drop(SlotArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SlotArgs {
    /// The component
    pub component: String,
    /// Show what it keeps, and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReachArgs {
    /// Only these components. Default: all whose log is archived
    pub components: Vec<String>,
    /// Trust the names of the archive; do not read its content
    #[arg(long)]
    pub quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// The component
    pub component: String,
    /// List what would go, and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check `muster.yaml` and everything it names
    Check,
    /// Print the JSON Schema of `muster.yaml`, for editors
    Schema,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person gives")]
pub(crate) struct CheckArgs {
    /// Only these checks
    pub names: Vec<String>,
    /// Only the checks with the tag `quick`
    #[arg(long, conflicts_with_all = ["full", "tag"])]
    pub quick: bool,
    /// All checks (the default)
    #[arg(long)]
    pub full: bool,
    /// Only the checks with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// The time that all of them have together; what has not answered by then has failed. Default: each has its own
    /// `timeout` only
    #[arg(long, value_name = "SPAN")]
    pub deadline: Option<Span>,
    /// Show each condition with what was found
    #[arg(long, short = 'v')]
    pub verbose: bool,
    /// Print Prometheus metrics instead, for the textfile collector of its node exporter
    #[arg(long, conflicts_with_all = ["json", "verbose"])]
    pub metrics: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    /// What you see, in your own words: `database slow`
    pub words: Vec<String>,
    /// Documents, or folders of them. Default: `runbooks/` beside the configuration, and the Markdown files beside it
    #[arg(long = "in", value_name = "PATH")]
    pub documents: Vec<PathBuf>,
    /// Run no check: only your words count
    #[arg(long, requires = "words")]
    pub no_checks: bool,
    /// The time that all checks have together. Default: 1m
    #[arg(long, value_name = "SPAN")]
    pub deadline: Option<Span>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person gives")]
pub(crate) struct BackupArgs {
    /// Only these components. Default: all
    pub components: Vec<String>,
    /// All components (the default)
    #[arg(long, conflicts_with = "components")]
    pub all: bool,
    /// As close together in time as can be, under one label: `muster restore --all --to LABEL`
    #[arg(long)]
    pub together: bool,
    /// A name for the backup, such as `before-deploy-42`
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
    /// Never prune it
    #[arg(long)]
    pub pin: bool,
    /// Redis: take what a server that does not run any more has left: its data directory, or one of its files
    #[arg(long, value_name = "PATH", requires = "components")]
    pub from_files: Option<PathBuf>,
    /// Print the plan and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only the backups of these components
    pub components: Vec<String>,
    /// Look at this copy of the repository
    #[arg(long, value_name = "COPY")]
    pub from: Option<String>,
    /// Leave out what was backed up from this time on (with zone), and say how much that is
    #[arg(long, value_name = "TIME")]
    pub compromised_since: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The beginning of a backup's id, or a run's
    pub id: String,
    /// List the files of the backup
    #[arg(long)]
    pub files: bool,
    /// Look on while the run works: its steps, what their commands write, the time that is over and left
    #[arg(long, short = 'f', conflicts_with_all = ["json", "files"])]
    pub follow: bool,
    /// Write the run's report with its part of the journal into a new file: `muster verify FILE` tells whether it was changed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "follow"])]
    pub export: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Judge these files (.dump, .sql, .sql.gz, .tar, SQLite, runs exported by `show --export`) instead of the repository
    pub files: Vec<PathBuf>,
    /// Verify this copy of the repository
    #[arg(long, value_name = "COPY", conflicts_with = "files")]
    pub from: Option<String>,
    /// Read and check all data, or a part of it: `--read-data=10%`
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100%")]
    pub read_data: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// Only these components. Default: all
    pub components: Vec<String>,
    /// Prove this backup. Default: each component's newest
    #[arg(long, value_name = "BACKUP", conflicts_with = "random")]
    pub backup: Option<String>,
    /// Prove a backup chosen by chance instead of the newest
    #[arg(long)]
    pub random: bool,
    #[command(flatten)]
    pub unseal: UnsealArgs,
    /// Prove what stands in this copy of the repository
    #[arg(long, value_name = "COPY")]
    pub from: Option<String>,
    /// Print the plan and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Exit with 21 when an objective is breached
    #[arg(long)]
    pub check: bool,
    /// Print Prometheus metrics instead, for the textfile collector of its node exporter
    #[arg(long, conflicts_with = "json")]
    pub metrics: bool,
    /// Print alerting rules of Prometheus for these metrics and those of `check --metrics`; nothing is looked at
    #[arg(long, conflicts_with_all = ["json", "metrics", "check"])]
    pub rules: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen: an address of this host only. Port 0 is any free one; the first line that is printed names it
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8440")]
    pub listen: String,
    /// Do what is scheduled too, as `muster schedule --run`
    #[arg(long)]
    pub schedule: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Remove from this copy what was pruned here, by the same rules
    #[arg(long, value_name = "COPY")]
    pub copy: Option<String>,
    /// Say what would go, and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// The beginning of a backup's id, or a label: then all backups with it
    pub backup: String,
    /// Take the pin away
    #[arg(long)]
    pub remove: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Print the key in a form to write down and lock away
    Print,
    /// Add a key for a second person
    Add {
        /// Where the new key file is written
        file: PathBuf,
    },
    /// List the repository's keys
    List,
    /// Remove a key
    Remove {
        /// The beginning of its id
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep the sandbox
    #[arg(long)]
    pub keep: bool,
    /// Internal: the platform's own process
    #[arg(long, hide = true, value_name = "VERB", requires = "sandbox")]
    pub platform: Option<String>,
    /// Internal: the sandbox of the platform's process
    #[arg(long, hide = true, value_name = "DIR")]
    pub sandbox: Option<PathBuf>,
}
