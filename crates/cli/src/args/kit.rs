//! What can be said to `muster kit`, and of a kit to `muster recover`.
//!
//! Words only: what they mean is decided in `commands/kit.rs`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct KitArgs {
    /// Write the kit to this file; an older kit there is replaced
    #[arg(required_unless_present_any = ["check", "open"], conflicts_with_all = ["check", "open"])]
    pub file: Option<PathBuf>,
    /// Open this kit, say what is in it and how old it is, and whether its key still opens the repository
    #[arg(long, value_name = "KIT", conflicts_with = "open")]
    pub check: Option<PathBuf>,
    /// Open this kit and write what is in it to `--into`
    #[arg(long, value_name = "KIT", requires = "into")]
    pub open: Option<PathBuf>,
    /// With `--open`: a folder that is not there, or is empty
    #[arg(long, value_name = "DIR", requires = "open")]
    pub into: Option<PathBuf>,
    /// A public key that can open it: `age1…`; besides those of `kit.recipients`. Can be said several times
    #[arg(long, value_name = "KEY", conflicts_with_all = ["check", "open"])]
    pub recipient: Vec<String>,
    /// Leave the binary out: a kit for people who have Muster at hand
    #[arg(long, conflicts_with_all = ["check", "open"])]
    pub no_binary: bool,
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// What opens a kit.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UnlockArgs {
    /// The kit: the file with your private key, as `age-keygen` writes it
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    pub identity: Option<PathBuf>,
    /// The kit: a file with a passphrase, instead of keys of people
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}
