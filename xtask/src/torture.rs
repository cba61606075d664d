//! Everything ends at random while a cluster is loaded and its log received: `cargo xtask torture`.
//!
//! In: how many rounds, and a seed to repeat one that failed. Out: what the test says; it prints its seed first.
//!
//! It is the long form of a test that every run of the suite has in short. Read next:
//! `crates/cli/tests/e2e/wal/torture.rs`.

use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args;

use crate::{
    servers,
    workspace::{self, root},
};

/// What the long form takes.
#[derive(Debug, Args)]
pub(crate) struct TortureArgs {
    /// Rounds, and random targets of each sort, on each version of the server
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Repeat one that failed
    #[arg(long)]
    seed: Option<u64>,
}

/// Installs, builds and runs.
pub(crate) fn run(args: &TortureArgs) -> anyhow::Result<()> {
    servers::install()?;
    workspace::run("cargo", &["build", "--workspace", "--bins"])?;
    let mut command = Command::new("cargo");
    command.args(["test", "-p", "muster-cli", "--test", "e2e", "wal::torture::", "--", "--nocapture"]);
    command.current_dir(root()).env("MUSTER_TORTURE", args.rounds.to_string());
    if let Some(seed) = args.seed {
        command.env("MUSTER_SEED", seed.to_string());
    }
    let status = command.status().context("running cargo test")?;
    ensure!(status.success(), "a target was not exactly its prefix, or something else went wrong: see above");
    Ok(())
}
