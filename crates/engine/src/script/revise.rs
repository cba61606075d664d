//! Whether a runbook was changed after what its run has taught: the step `revise`.
//!
//! In: the runbook's path and what a person has said. Out: the hashes before and after, or the reason for which it stays.
//! `changed` is not believed: the file must differ from the text with which the run began. It changes nothing.

use std::{fs, path::Path};

use muster_types::{Kind, event::ErrorNote, text::hex};
use sha2::{Digest, Sha256};

use super::{Effect, Failed, Runner};

/// The answer that says that the runbook was changed.
const CHANGED: &str = "changed";

impl Runner<'_> {
    pub(super) fn revise(&self, file: &str, answer: &str) -> Result<Effect, Failed> {
        let summary = if answer.trim().eq_ignore_ascii_case(CHANGED) {
            self.changed(file)?
        } else {
            format!("stays as it is: {}", answer.trim())
        };
        Ok(Effect { summary: Some(summary), ..Effect::default() })
    }

    fn changed(&self, file: &str) -> Result<String, Failed> {
        let source = self.plan.script.as_deref();
        let Some((source, before)) = source.and_then(|source| Some((source, source.texts.get(file)?))) else {
            return Err(failed(Kind::Bug, format!("the run has no text of {file}"), "please report this"));
        };
        // Paths of runbooks are relative to where the first of them was called from.
        let folder = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
        let inside = Path::new(file).strip_prefix(folder(Path::new(&source.file)));
        let path = folder(&source.path).join(inside.unwrap_or(Path::new(file)));
        let now = fs::read(&path).map_err(|error| {
            let message = format!("cannot read {}: {error}", path.display());
            failed(Kind::NotFound, message, "put it back, then resume; or skip this step with a reason")
        })?;
        if now == before.as_bytes() {
            let message = format!("{} is as it was when this run began", path.display());
            let hint = "change it, then `muster resume RUN`; or skip this step with a reason";
            return Err(failed(Kind::Conflict, message, hint));
        }
        Ok(format!("changed: sha256 {} is now {}", short(before.as_bytes()), short(&now)))
    }
}

fn failed(kind: Kind, error: impl Into<String>, hint: &str) -> Failed {
    ErrorNote { error: error.into(), causes: Vec::new(), hint: Some(hint.into()), kind }.into()
}

/// Enough of a hash to compare by eye.
fn short(text: &[u8]) -> String {
    hex(Sha256::digest(text).get(..6).unwrap_or_default())
}
