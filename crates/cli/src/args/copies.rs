//! What can be said of copies of the repository, and of a host that begins from one.
//!
//! Words only: what they mean is decided in `commands/copy.rs` and `commands/recover.rs`.

use std::path::PathBuf;

use clap::Args;

use super::{CleanArgs, EditArgs, UnlockArgs, UnsealArgs};

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Only these copies. Default: all
    #[arg(conflicts_with = "from")]
    pub names: Vec<String>,
    /// The other way: bring back from this copy what the repository lacks, or all of it
    #[arg(long, value_name = "COPY")]
    pub from: Option<String>,
    /// Read everything that stands there, and replace what is damaged
    #[arg(long)]
    pub verify: bool,
    /// Begin a copy anew that was there and is gone
    #[arg(long)]
    pub new: bool,
    /// Say what would be sent, and send nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// The repository, or a copy of it: a folder or `s3://bucket/prefix`
    #[arg(long, value_name = "LOCATION", required_unless_present = "kit")]
    pub repository: Option<String>,
    /// An emergency kit: it knows the key and the places, and the first that opens is taken
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    pub kit: Option<PathBuf>,
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// Object storage that is not AWS: its address
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The region of the object storage. Default: us-east-1
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// The file with the key. Default: the variable `MUSTER_KEY`, else it is asked for
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The folder for configuration, runbooks and history. What stands in it is not overwritten
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// The platform, when the repository holds several
    #[arg(long, value_name = "NAME")]
    pub platform: Option<String>,
    /// Then restore every component
    #[arg(long)]
    pub all: bool,
    /// To which state: `latest`, `latest-proven`, a time with zone, or a label that every component has
    #[arg(long, value_name = "STATE", default_value = "latest")]
    pub to: String,
    #[command(flatten)]
    pub clean: CleanArgs,
    #[command(flatten)]
    pub edit: EditArgs,
    #[command(flatten)]
    pub unseal: UnsealArgs,
    /// When the failure began (with zone): the RTO clock runs from here. Default: now
    #[arg(long, value_name = "TIME")]
    pub failed_at: Option<String>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}
