//! What the server shows: documents by the functions behind `status`, `check`, `list`, `runs` and `show`.
//!
//! The options of the command come in. Each look reads the configuration anew, so that a change in `muster.yaml` is shown
//! without a restart; journal and state folder are those of the start.
//!
//! Nothing leaves without the mask of the configuration it was made with.

use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_engine::{EngineError, fold, history::History, journal::Journal};
use muster_plan::status::{Summary, summary};
use muster_server::{Made, Source, Topic};
use muster_types::{
    Kind, Mask,
    backup::RunId,
    check::CheckResult,
    event::ErrorNote,
    objective::{CopyRow, ObjectiveRow},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    app::{self, Intent},
    args::{Global, ListArgs},
    commands::{check, list, runs, show, status},
    config::Loaded,
    exit::Failure,
};

/// The documents of one platform and environment.
pub(super) struct Documents {
    global: Global,
    journal: Journal,
    history: Mutex<History>,
    mask: Mutex<Mask>,
}

impl Documents {
    /// Opens the journal.
    pub(super) fn new(global: &Global, loaded: &Loaded) -> Result<Self, Failure> {
        // Progress of many looks would be noise in the log of a service.
        let global = Global { quiet: true, ..global.clone() };
        let journal = Journal::open(&loaded.state_dir)?;
        Ok(Self { global, journal, history: Mutex::default(), mask: Mutex::new(loaded.mask.clone()) })
    }

    fn load(&self) -> Result<Loaded, Failure> {
        let loaded = app::load(&self.global, Intent::Read)?;
        *held(&self.mask) = loaded.mask.clone();
        Ok(loaded)
    }

    fn covered(&self, mut document: Value) -> Value {
        crate::cover(&mut document, &held(&self.mask));
        document
    }

    #[expect(clippy::unnecessary_box_returns, reason = "the trait's results hold it in a box, to stay small")]
    fn note(&self, failure: Failure) -> Box<ErrorNote> {
        let mut note = failure.note;
        note.cover(&held(&self.mask));
        note
    }

    /// The history with everything that the journal holds now.
    fn history(&self) -> Result<MutexGuard<'_, History>, EngineError> {
        let mut history = held(&self.history);
        history.read(&self.journal)?;
        Ok(history)
    }

    fn look(&self, topic: Topic) -> Result<Made, Failure> {
        let (document, metrics) = match topic {
            Topic::Status => {
                let stand = status::look(self.load()?)?;
                (stand.document, stand.metrics)
            }
            Topic::Checks => {
                let seen = check::look(&self.load()?)?;
                (seen.document, seen.metrics)
            }
            Topic::Backups => {
                self.load()?;
                let all = ListArgs { components: Vec::new(), from: None, compromised_since: None };
                (list::run(&self.global, &all)?.document, String::new())
            }
        };
        Ok(Made { document: self.covered(document), metrics: held(&self.mask).apply(&metrics) })
    }

    fn told(&self, id: &str) -> Result<Value, Failure> {
        let run = RunId(id.to_owned());
        let is_known = self.history()?.row(&run).is_some();
        let events = if is_known { self.journal.events_of(&run)? } else { Vec::new() };
        let record = fold::run(&events, id).ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("there is no run `{id}`"), "list them with `muster runs`")
        })?;
        Ok(show::of_run(&record, &events).document)
    }
}

impl Source for Documents {
    fn make(&self, topic: Topic) -> Result<Made, Box<ErrorNote>> {
        self.look(topic).map_err(|failure| self.note(failure))
    }

    fn runs(&self, limit: usize) -> Result<Value, Box<ErrorNote>> {
        let history = self.history().map_err(|error| self.note(error.into()))?;
        Ok(self.covered(runs::document(&history, limit)))
    }

    fn run(&self, id: &str) -> Result<Value, Box<ErrorNote>> {
        let told = self.told(id).map_err(|failure| self.note(failure))?;
        Ok(self.covered(told))
    }

    fn summary(&self, status: &Value, checks: Option<&Value>) -> Result<Value, Box<ErrorNote>> {
        let wrong = |error: serde_json::Error| {
            let report = "report this, with the version of Muster";
            Failure::new(Kind::Bug, format!("a document cannot be summed up: {error}"), report).note
        };
        let stand = Stand::deserialize(status).map_err(wrong)?;
        let observed = checks.map(Observed::deserialize).transpose().map_err(wrong)?.unwrap_or_default();
        Ok(statuspage(&stand, &summary(&stand.objectives, &stand.copies, &observed.checks)))
    }

    fn mark(&self) -> Result<i64, Box<ErrorNote>> {
        self.journal.last().map_err(|error| self.note(error.into()))
    }
}

/// What a summary needs of `status`.
#[derive(Deserialize)]
struct Stand {
    platform: String,
    environment: String,
    at: Value,
    #[serde(default)]
    objectives: Vec<ObjectiveRow>,
    #[serde(default)]
    copies: Vec<CopyRow>,
}

/// What a summary needs of `check`.
#[derive(Default, Deserialize)]
struct Observed {
    #[serde(default)]
    checks: Vec<CheckResult>,
}

/// The shape of a Statuspage, as its own readers know it.
fn statuspage(stand: &Stand, summary: &Summary) -> Value {
    let components: Vec<Value> = summary
        .parts
        .iter()
        .map(|part| {
            json!({"id": part.name, "name": part.name, "status": part.indicator.component_word(),
                "description": part.why, "updated_at": stand.at})
        })
        .collect();
    json!({
        "page": {"id": format!("{}-{}", stand.platform, stand.environment),
            "name": format!("{} ({})", stand.platform, stand.environment), "time_zone": "Etc/UTC", "updated_at": stand.at},
        "status": {"indicator": summary.indicator.word(), "description": summary.description},
        "components": components,
        "incidents": [],
    })
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
