//! Brings a copy of the repository up to date, or removes from it what was pruned here.
//!
//! In: the copy's name. Out: what was sent or removed, in one line. What may be forgotten stands in the plan.
//!
//! Nothing here chooses. Read next: `crates/repo/src/copy.rs`.

use muster_repo::{CopyOptions, Expected};
use muster_types::backup::BackupId;

use super::{Executor, StepEffect};
use crate::{EngineError, carry};

impl Executor<'_> {
    pub(super) fn copy_to(&self, copy: &str, options: CopyOptions) -> Result<StepEffect, EngineError> {
        let stats = self.world.repo.copy_to(self.world.copy(copy)?, options, self.observer)?;
        Ok(StepEffect { summary: Some(stats.to_string()), events: Vec::new() })
    }

    pub(super) fn thin_copy(&self, copy: &str, backups: &[BackupId]) -> Result<StepEffect, EngineError> {
        let events = self.world.journal.events()?;
        let taken = carry::expected_backups(self.world, &events);
        let expected = Expected { backups: taken.into_iter().collect(), keys: Vec::new() };
        let to = self.world.copy(copy)?;
        let stats = self.world.repo.thin_copy(to, backups, &expected, false, self.observer)?;
        Ok(StepEffect { summary: Some(stats.to_string()), events: Vec::new() })
    }
}
