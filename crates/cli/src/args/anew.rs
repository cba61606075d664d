//! What can be said of a Vault that is started anew, because nobody has its keys any more.
//!
//! Words only: what they mean is decided in `commands/restore/anew.rs`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AnewArgs {
    /// Vault, when its keys are lost: initialise a new, empty server for the people of `--holder`. Its secrets are gone
    #[arg(long, requires = "holder", requires = "keys_into")]
    pub start_anew: bool,
    /// Who gets a share, with a file of the person's `OpenPGP` public key: `ada=ada.asc`; once for each. The first one gets
    /// the root token too
    #[arg(long, value_name = "NAME=FILE", requires = "start_anew")]
    pub holder: Vec<String>,
    /// How many shares will unseal it. Default: more than half
    #[arg(long, value_name = "N", requires = "start_anew")]
    pub needed: Option<u64>,
    /// The folder that the encrypted shares are written into
    #[arg(long, value_name = "DIR", requires = "start_anew")]
    pub keys_into: Option<PathBuf>,
}
