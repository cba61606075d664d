//! What can be said to `muster service`.
//!
//! Words only: what they mean is decided in `commands/service.rs`.

use std::path::PathBuf;

use clap::Args;
use muster_types::Span;

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// What to do
    #[arg(value_enum)]
    pub verb: ServiceVerb,
    /// The service
    pub service: String,
    /// With `scale`: how many replicas
    #[arg(required_if_eq("verb", "scale"))]
    pub replicas: Option<u32>,
    /// Print the commands and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// `logs`: only what is not older, like `2h`
    #[arg(long, value_name = "SPAN")]
    pub since: Option<Span>,
    /// `logs`: the file. Default: one beside the journal
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// `rollback`: the version, by the beginning of its digest. Default: the one before this
    #[arg(long, value_name = "DIGEST")]
    pub to: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ServiceVerb {
    /// Start it and wait until it is ready
    Start,
    /// Stop it and wait until it has ended
    Stop,
    /// Stop it, then start it
    Restart,
    /// Say whether it runs
    Status,
    /// Store everything that it has logged, with secrets masked
    Logs,
    /// Go back to the image before this one, and wait until it is ready
    Rollback,
    /// Build its image anew, put it in place and wait until it is ready; the old one serves until then
    Rebuild,
    /// Make the networks of its Compose project anew
    Reconnect,
    /// Remove the sandboxes that it has left and that are older than `sandboxes` says
    Clean,
    /// Give it so many replicas, and wait until they are there
    Scale,
}
