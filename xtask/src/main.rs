//! The project's own chores, run as `cargo xtask <chore>`.
//!
//! In: a chore and its arguments. Out: what the tools say, and an exit code that is 0 only when all of them agreed.
//!
//! A chore never changes a tracked file, except `capabilities`, which rewrites `docs/capabilities.md`.
//!
//! Read next: [`suite`] for what `test` does, [`tidy`] for the rules, [`servers`] for what gets installed.
#![allow(clippy::print_stdout, reason = "chores answer on the terminal")]

mod bench;
mod capabilities;
mod servers;
mod suite;
mod tidy;
mod torture;
mod workspace;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The project's own chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what the tests need; quick when all of it is there
    Servers,
    /// Install what the tests need, build, and run every test; further arguments go to the test runner
    Test {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check crate arrows, file headers, lengths and links
    Tidy,
    /// Rewrite docs/capabilities.md from the marks above the tests
    Capabilities {
        /// Change nothing; fail when the file is not up to date
        #[arg(long)]
        check: bool,
        /// A `JUnit` file of nextest: count only tests that ran and passed
        #[arg(long)]
        ran: Option<PathBuf>,
    },
    /// Measure backup and restore beside other tools, and print a table
    Bench(bench::BenchArgs),
    /// Load a PostgreSQL, end receiver, server and store at random, and compare restores with its log
    Torture(torture::TortureArgs),
    /// Load a PostgreSQL for minutes while its log is received, and time each commit's way into the repository
    Load(torture::LoadArgs),
    /// Everything that must hold before a change is taken (`.ci/run`)
    Ci,
}

fn main() -> anyhow::Result<()> {
    match Args::parse().chore {
        Chore::Servers => servers::install(),
        Chore::Test { args } => suite::run(&args),
        Chore::Tidy => tidy::run(),
        Chore::Capabilities { check, ran } => capabilities::run(check, ran.as_deref()),
        Chore::Bench(args) => bench::bench(&args),
        Chore::Torture(args) => torture::run(&args),
        Chore::Load(args) => torture::load(&args),
        Chore::Ci => workspace::run(".ci/run", &[]),
    }
}
