//! What can be said of the states that are brought back: whether they must fit together, and since when nothing is
//! trusted.
//!
//! Words only: what they mean is decided in `commands/restore.rs`.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PointArgs {
    /// Bring all named components to one moment, whatever that costs: that of the one that can move least. With `--all
    /// --to TIME` that is so by itself, as far as each RPO allows
    #[arg(long, conflicts_with_all = ["table", "into", "undo"])]
    pub together: bool,
    /// With `--all --to TIME`: each component to its own newest state, whether they fit or not
    #[arg(long, conflicts_with = "together")]
    pub apart: bool,
    #[command(flatten)]
    pub clean: CleanArgs,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CleanArgs {
    /// When an intruder came in (with zone): what was backed up or written from then on is left out
    #[arg(long, value_name = "TIME")]
    pub compromised_since: Option<String>,
    /// Who has examined a later backup that `--to` names, and how: `ada: compared with the audit log`. Kept in the
    /// journal
    #[arg(long, value_name = "NAME: HOW", requires = "compromised_since")]
    pub vouched_by: Option<String>,
}
