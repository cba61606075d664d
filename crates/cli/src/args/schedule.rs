//! The words of `muster schedule`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    /// Do what is scheduled, until SIGTERM or Ctrl-C: begin jobs when they are due, receive logs, tell what fails
    #[arg(long, conflicts_with_all = ["next", "unit"])]
    pub run: bool,
    /// How many of the next times of each job are shown
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub next: usize,
    /// Print a unit of systemd that runs it
    #[arg(long, conflicts_with = "next")]
    pub unit: bool,
}
