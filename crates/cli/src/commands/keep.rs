//! `muster keep-step`: the process that keeps a command of a runbook. Muster starts it; a person has no use for it.

use std::path::Path;

use muster_drivers::keeper;
use muster_types::{Kind, event::Watcher};
use serde_json::json;

use crate::{answer::Answer, exit::Failure, signals};

pub(super) fn run(folder: &Path) -> Result<Answer, Failure> {
    keeper::keep(folder, std::io::stdin().lock(), &UntilToldToStop).map_err(|error| {
        let message = format!("cannot keep a step in {}: {error}", folder.display());
        Failure::new(Kind::Unavailable, message, "Muster starts this itself: use `muster run`")
    })?;
    Ok(Answer::new("", json!({})))
}

struct UntilToldToStop;

impl Watcher for UntilToldToStop {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        signals::is_cancelled()
    }
}
