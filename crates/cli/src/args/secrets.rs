//! What can be said to `muster secrets` and `muster rotate`.
//!
//! Words only, and never a value: what they mean is decided in `commands/secrets.rs` and `commands/rotate.rs`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct SecretsArgs {
    /// Only these secrets. Default: all
    pub names: Vec<String>,
}

#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person gives")]
pub(crate) struct RotateArgs {
    /// The secrets, in this order
    #[arg(required_unless_present = "all")]
    pub names: Vec<String>,
    /// All secrets, one after the other; the first failure ends it
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Read the new value of the one secret from standard input
    #[arg(long, requires = "names")]
    pub value_from_stdin: bool,
    /// Print the plan and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}
