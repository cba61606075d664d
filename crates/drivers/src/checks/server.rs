//! Asks the server of a component: one value by SQL, or how it stands.
//!
//! In: the component that the check names, with its login. Out: the value, or a document of JSON (`[BODY].sealed == false`).
//! The look is one of its own: it shares no session with a backup, and it only reads.
//!
//! It never waits past the check's timeout, and never changes the server. Read next: `../component.rs`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use muster_types::{
    FixedClock, Timestamp,
    config::{Component, SqliteCheck},
    event::Watcher,
};

use super::{Look, Observation, Unseen, sqlite};
use crate::{DriverError, component};

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The key of the check: `sql`, or the kind of the component.
    pub(super) kind: &'static str,
    /// The component's name.
    pub(super) name: &'a str,
    /// The component; `None` when the configuration has none of that name.
    pub(super) component: Option<&'a Component>,
    /// The query of an `sql` check.
    pub(super) query: Option<&'a str>,
}

/// Stops a look whose time is over.
struct Stop(Arc<AtomicBool>);

impl Watcher for Stop {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Says why a check cannot ask this component; `None` when it can, or when there is none to judge yet.
pub(super) fn misfit(asked: &Asked<'_>) -> Option<String> {
    let kind = asked.component?.kind();
    let fits = match asked.kind {
        "sql" => ["postgres", "sqlite"].contains(&kind),
        other => other == kind,
    };
    (!fits).then(|| format!("component `{}` is of kind `{kind}`", asked.name))
}

pub(super) fn observe(
    asked: Asked<'_>,
    look: &Look<'_>,
    watcher: &dyn Watcher,
) -> Result<Observation, Unseen> {
    let Some(component) = asked.component else {
        return Err(format!("there is no component `{}`", asked.name).into());
    };
    if let Some(why) = misfit(&asked) {
        return Err(why.into());
    }
    let sql = asked.query.map(str::to_owned);
    if let (Component::Sqlite(file), Some(_)) = (component, &sql) {
        let path = file.path.clone().ok_or_else(|| format!("component `{}` has no path", asked.name))?;
        return sqlite::observe(&SqliteCheck { path, sql }, look, watcher);
    }
    let (name, component, bytes_max) = (asked.name.to_owned(), component.clone(), look.body_bytes_max);
    let at = i64::try_from(look.at.as_secs()).unwrap_or_default();
    let clock = Arc::new(FixedClock(Timestamp::from_second(at).unwrap_or_default()));
    look.supervise(watcher, move |stop| {
        let begun = Instant::now();
        let stop = Stop(stop);
        let ask = || -> Result<String, DriverError> {
            let driver = component::open(&name, &component, clock)?;
            match &sql {
                Some(sql) => Ok(driver.one_value(sql, &stop)?.unwrap_or_else(|| "null".into())),
                None => Ok(driver.standing(&stop)?.to_string()),
            }
        };
        let body = ask().map_err(|error| Unseen::from(error.to_string()))?;
        Ok(Observation::of_value(body, begun.elapsed(), bytes_max)?)
    })
}
