//! Load from the server's own `pgbench`.
//!
//! In: arguments of pgbench. Out: a running load whose handle ends it, by its own id.
//!
//! It ends also with the thread that began it.

use std::time::Duration;

use rustix::process::Signal;

use super::{Postgres, process};
use crate::{Outcome, Running};

/// A running `pgbench`.
#[derive(Debug)]
pub struct Bench {
    running: Running,
}

impl Postgres {
    /// Fills pgbench's tables in database `postgres`: 100,000 accounts, about 16 MB, for each unit of `scale`.
    pub fn pgbench_init(&self, scale: u32) {
        let mut command = self.client("pgbench");
        command.args(["-i", "-q", "-s", &scale.to_string(), "postgres"]);
        process::run_well(command);
    }

    /// Begins a load in database `postgres`, as `args` say (`["-c", "4", "-T", "30"]`).
    pub fn bench(&self, args: &[&str]) -> Bench {
        let mut command = self.client("pgbench");
        command.args(args).arg("postgres");
        Bench { running: Running::begin(command, None, Vec::new()) }
    }
}

impl Bench {
    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Tells whether it has not ended yet.
    pub fn is_alive(&mut self) -> bool {
        self.running.is_alive()
    }

    /// Ends it now: transactions under way are rolled back.
    pub fn stop(mut self) {
        self.running.signal(Signal::TERM);
        self.running.wait(Duration::from_secs(30));
    }

    /// Waits for its end and returns what it said.
    ///
    /// # Panics
    /// When it is still alive after `deadline`, or failed.
    pub fn wait(self, deadline: Duration) -> Outcome {
        let outcome = self.running.wait(deadline);
        assert_eq!(outcome.code, Some(0), "pgbench failed:\n{}{}", outcome.stdout, outcome.stderr);
        outcome
    }
}
