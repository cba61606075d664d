//! `muster show RUN --export FILE`: a run with its stretch of the journal, in one file for others.
//!
//! A run comes in; a file leaves that was not there before, whole or not at all. It changes nothing else.
//! `muster verify FILE` looks at it.

use std::path::Path;

use muster_engine::{
    export::{self, Origin},
    fold::RunRecord,
    journal::Journal,
};
use muster_repo::durable;
use muster_types::{Clock, Kind};
use serde_json::json;

use crate::{answer::Answer, app, clock::SystemClock, config::Loaded, exit::Failure};

pub(super) fn write(
    loaded: &Loaded,
    journal: &Journal,
    record: &RunRecord,
    file: &Path,
) -> Result<Answer, Failure> {
    let origin = Origin {
        version: env!("CARGO_PKG_VERSION"),
        platform: &loaded.platform.platform,
        environment: &loaded.environment,
        at: SystemClock.now(),
        operator: app::operator(),
    };
    let run = &record.report.run;
    let exported = export::export(journal, run, origin)?;
    let cannot = |why: String, hint: &str| {
        Failure::new(Kind::Unavailable, format!("cannot write {}: {why}", file.display()), hint)
    };
    let text =
        serde_json::to_vec_pretty(&exported).map_err(|error| cannot(error.to_string(), "report this"))?;
    if file.exists() {
        let hint = "name another file: an export is never overwritten";
        return Err(Failure::new(Kind::Conflict, format!("{} is there already", file.display()), hint));
    }
    durable::write(file, &text, 0o600)
        .map_err(|error| cannot(error.to_string(), "is there room, and may you write there?"))?;
    let (count, head) = (exported.entries.len(), &exported.head);
    let told = format!(
        "run {run}: its report and {count} entries of the journal are in {0}\nlast hash: {head}\nnote it elsewhere, and look with: muster verify {0}\n",
        file.display()
    );
    Ok(Answer::new(
        told,
        json!({"outcome": "done", "run": run, "file": file, "entries": count, "head": head}),
    ))
}
