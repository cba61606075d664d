//! Makes restored files fit this host, beside their place. Read next: `crate::edits`, which shows the same beforehand.

use std::{collections::BTreeMap, path::PathBuf};

use muster_types::{backup::BackupId, config::Edit, event::What};

use super::{Executor, StepEffect};
use crate::{EngineError, edits};

impl Executor<'_> {
    pub(super) fn edit_files(
        &self,
        component: &str,
        backup: &BackupId,
        places: &[PathBuf],
        (asked, set): (&[Edit], &BTreeMap<String, String>),
    ) -> Result<StepEffect, EngineError> {
        let changes = edits::changes(self.world, component, backup, asked, set)?;
        muster_drivers::edits::apply(&changes, places)?;
        let edited = edits::edited(component, &changes);
        let summary = edited.amount();
        Ok(StepEffect {
            summary: Some(summary),
            events: vec![What::FilesEdited { edited: Box::new(edited) }],
        })
    }
}
