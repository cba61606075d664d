//! A run to hand over: its report with the stretch of the journal that it was folded from, so that others can check both.
//!
//! ```text
//!   journal ──► entries first..=last of the run, with the hash before the first ──► Exported (a JSON file)
//!   Exported ──► chain, last hash, report folded anew ──► Judged: it holds, or the first thing that was changed
//! ```
//!
//! Entries of other runs in between belong to the stretch: without them the chain could not be followed. It never judges
//! what was done. A person who makes the whole chain anew is found only by the last hash: in the journal that it came from,
//! or noted when it was handed over.

use muster_types::{Timestamp, backup::RunId, event::Event};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    EngineError,
    carry::Entry,
    fold,
    journal::{Journal, misfit_after},
};

/// What the file says of its own form.
pub const FORMAT: &str = "muster-journal-1";

/// A run with its stretch of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exported {
    /// [`FORMAT`].
    pub format: String,
    /// The version of Muster that made it.
    pub version: String,
    /// The platform.
    pub platform: String,
    /// The environment.
    pub environment: String,
    /// When, UTC.
    pub exported_at: Timestamp,
    /// By whom: the system user's name.
    pub exported_by: String,
    /// The run.
    pub run: RunId,
    /// The hash of the entry before the first one; empty when that is the first of all.
    pub before: String,
    /// The hash of the last entry.
    pub head: String,
    /// The run's report, as `muster show RUN --json` prints it.
    pub report: Value,
    /// The entries, without a gap.
    pub entries: Vec<Entry>,
}

/// What came of looking at an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Judged {
    /// Nothing was changed.
    Holds,
    /// An entry was changed, removed or added: this is the first that does not fit.
    EntryAltered {
        /// Its number in the journal.
        sequence: i64,
        /// When it says that it was written, and what it says, as far as it can be read.
        entry: String,
    },
    /// The chain ends elsewhere than the file says.
    EndAltered,
    /// The report is not what the entries tell.
    ReportAltered,
}

/// Who exports, from where.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    /// The version of Muster.
    pub version: &'a str,
    /// The platform.
    pub platform: &'a str,
    /// The environment.
    pub environment: &'a str,
    /// Now, UTC.
    pub at: Timestamp,
    /// By whom.
    pub operator: String,
}

/// Takes a run out of the journal, after checking its whole chain.
///
/// # Errors
/// `NoSuchRun`; `Journal`; `JournalAltered`.
pub fn export(journal: &Journal, run: &RunId, origin: Origin<'_>) -> Result<Exported, EngineError> {
    let all = journal.entries(1, i64::MAX - 1)?;
    let is_own = |entry: &Entry| entry.run == run.0;
    let (Some(first), Some(last)) = (all.iter().position(is_own), all.iter().rposition(is_own)) else {
        return Err(EngineError::NoSuchRun(run.0.clone()));
    };
    let hash = |index: usize| all.get(index).map(|entry| entry.hash.clone()).unwrap_or_default();
    let before = first.checked_sub(1).map(hash).unwrap_or_default();
    let entries = all.get(first..=last).unwrap_or_default().to_vec();
    let report = report(&entries, run).ok_or_else(|| EngineError::NoSuchRun(run.0.clone()))?;
    Ok(Exported {
        format: FORMAT.to_owned(),
        version: origin.version.to_owned(),
        platform: origin.platform.to_owned(),
        environment: origin.environment.to_owned(),
        exported_at: origin.at,
        exported_by: origin.operator,
        run: run.clone(),
        before,
        head: hash(last),
        report,
        entries,
    })
}

impl Exported {
    /// Says whether it is as it was exported.
    pub fn judge(&self) -> Judged {
        let first = self.entries.first().map_or(1, |entry| entry.sequence);
        if let Some(sequence) = misfit_after(&self.before, first, &self.entries) {
            let entry = self.entries.iter().find(|entry| entry.sequence == sequence);
            let entry = entry.map(|entry| entry.entry.chars().take(200).collect()).unwrap_or_default();
            return Judged::EntryAltered { sequence, entry };
        }
        if self.entries.last().is_none_or(|last| last.hash != self.head) {
            return Judged::EndAltered;
        }
        if report(&self.entries, &self.run).as_ref() != Some(&self.report) {
            return Judged::ReportAltered;
        }
        Judged::Holds
    }
}

/// The report of a run, folded from its entries, as it is read from a file: numbers go through their text once.
fn report(entries: &[Entry], run: &RunId) -> Option<Value> {
    let events: Vec<Event> =
        entries.iter().map(|entry| serde_json::from_str(&entry.entry)).collect::<Result<_, _>>().ok()?;
    let record = fold::run(&events, &run.0)?;
    serde_json::from_str(&serde_json::to_string(&record.report).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use muster_types::{
        FixedClock,
        event::{ProcessMark, RunOutcome, What},
        plan::{Mode, Plan, Verb},
    };

    use super::*;

    fn exported() -> Exported {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let clock = FixedClock("2026-05-01T10:00:00Z".parse().unwrap());
        let plan = Plan {
            verb: Verb::Prune,
            mode: Mode::Live,
            platform: "shop".into(),
            environment: "default".into(),
            surveyed_at: clock.0,
            steps: Vec::new(),
            notes: Vec::new(),
            failed_at: None,
            objectives: Vec::new(),
            point: None,
            script: None,
            from: None,
        };
        let begun = What::RunBegun {
            plan: Box::new(plan),
            operator: "anna".into(),
            process: ProcessMark { pid: 1, start_ticks: 1 },
        };
        let warning = |text: &str| What::Warning { message: text.into() };
        for (run, what) in [
            ("other", warning("before")),
            ("r", begun),
            ("r", warning("one")),
            ("other", warning("beside")),
            ("r", What::RunEnded { outcome: RunOutcome::Done }),
            ("other", warning("after")),
        ] {
            journal.append(&clock, &RunId(run.into()), what).unwrap();
        }
        let origin = Origin {
            version: "0",
            platform: "shop",
            environment: "default",
            at: clock.0,
            operator: "anna".into(),
        };
        assert!(matches!(
            export(&journal, &RunId("gone".into()), origin.clone()),
            Err(EngineError::NoSuchRun(_))
        ));
        let exported = export(&journal, &RunId("r".into()), origin).unwrap();
        drop(PathBuf::from(folder.path()));
        exported
    }

    #[test]
    fn an_export_holds_as_it_is_and_names_the_first_entry_that_was_changed() {
        let good = exported();
        let numbers: Vec<i64> = good.entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(numbers, [2, 3, 4, 5], "without a gap, and nothing beyond the run");
        let text = serde_json::to_string(&good).unwrap();
        let read: Exported = serde_json::from_str(&text).unwrap();
        assert_eq!(read.judge(), Judged::Holds);

        let with = |change: &dyn Fn(&mut Exported)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed.judge()
        };
        let altered = |judged: Judged| match judged {
            Judged::EntryAltered { sequence, .. } => sequence,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            altered(with(&|one| one.entries[1].entry = one.entries[1].entry.replace("one", "two"))),
            3
        );
        assert_eq!(altered(with(&|one| drop(one.entries.remove(2)))), 5);
        assert_eq!(altered(with(&|one| one.before.clear())), 2);
        assert_eq!(altered(with(&|one| one.entries.swap(0, 1))), 3);
        // Whoever cuts its end off must also say another last hash; then the report tells of more.
        assert_eq!(with(&|one| drop(one.entries.pop())), Judged::EndAltered);
        let cut = with(&|one| {
            one.entries.pop();
            one.head.clone_from(&one.entries[2].hash);
        });
        assert_eq!(cut, Judged::ReportAltered);
        assert_eq!(with(&|one| one.report["operator"] = "mallory".into()), Judged::ReportAltered);
    }
}
