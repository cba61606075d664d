//! The long forms of tests that every run of the suite has in short.
//!
//! `cargo xtask torture`: everything ends at random while a cluster is loaded and its log received. In: how many rounds,
//! and a seed to repeat one that failed. Out: what the test says; it prints its seed first.
//!
//! `cargo xtask load`: a cluster is loaded for minutes, and every commit's way into the repository is timed. In: how
//! long. Out: commits, the 99th percentile, what the slot held and what the receiver used, per repository.
//!
//! Read next: `crates/cli/tests/e2e/wal/torture.rs`, `crates/cli/tests/e2e/wal/away.rs`.

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

/// What a long load takes.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// How long each of the two clusters is loaded
    #[arg(long, default_value_t = 300)]
    seconds: u64,
}

/// Ends everything at random, on each version of the server.
pub(crate) fn run(args: &TortureArgs) -> anyhow::Result<()> {
    let mut settings = vec![("MUSTER_TORTURE", args.rounds)];
    settings.extend(args.seed.map(|seed| ("MUSTER_SEED", seed)));
    test("wal::torture::", &settings)
        .context("a target was not exactly its prefix, or something else went wrong: see above")
}

/// Times the way of each commit into the repository, in a folder and in a store.
pub(crate) fn load(args: &LoadArgs) -> anyhow::Result<()> {
    test("wal::away::ninety_nine", &[("MUSTER_LOAD_SECONDS", args.seconds)])
        .context("commits were durable too late, or something else went wrong: see above")
}

/// Installs, builds and runs the tests whose names begin so.
fn test(name: &str, settings: &[(&str, u64)]) -> anyhow::Result<()> {
    servers::install()?;
    workspace::run("cargo", &["build", "--workspace", "--bins"])?;
    let mut command = Command::new("cargo");
    command.args(["test", "-p", "muster-cli", "--test", "e2e", name, "--", "--nocapture"]);
    command.current_dir(root()).envs(settings.iter().map(|(name, value)| (name, value.to_string())));
    let status = command.status().context("running cargo test")?;
    ensure!(status.success(), "the test failed");
    Ok(())
}
