//! What a server logs, raised for the time of a run: the step `log_level` and what puts it back.
//!
//! ```text
//!   what stands there ──► Noted (fsync) ──► raised, read back ──► … ──► the run ends ──► as it stood, read back
//! ```
//!
//! What stood there is in the journal before anything is changed, once: a try after a crash would read what the first one
//! has set. It changes what is logged and nothing else. Read next: `undo` for when it is put back.

use std::time::{Duration, Instant};

use muster_drivers::component::ComponentDriver;
use muster_types::{
    event::{ErrorNote, ScriptEvent},
    script::{LogSetting, ScriptStep},
};
use serde::{Deserialize, Serialize};

use super::{
    Effect, Failed, Runner,
    deeds::{Acted, pause, unavailable},
};

/// How long a server may take to read its settings again.
const RELOAD_WITHIN: Duration = Duration::from_secs(30);
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// The file of PostgreSQL that `ALTER SYSTEM` writes.
const AUTO: &str = "postgresql.auto.conf";

/// What stood there before.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stood {
    component: String,
    is_sql: bool,
    settings: Vec<StoodSetting>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoodSetting {
    name: String,
    value: String,
    /// Whether somebody has set it in the way in which it is raised: then it is set back, else that is taken out.
    is_own: bool,
}

impl Runner<'_> {
    pub(super) fn raise_log(
        &self,
        step: &ScriptStep,
        component: &str,
        is_sql: bool,
        settings: &[LogSetting],
    ) -> Acted {
        let known = self.memory().notes.contains_key(&step.id);
        let driver = match self.component(component) {
            Ok(driver) => driver,
            Err(note) => return Ok(Err(note.into())),
        };
        if !known {
            let mut stood = Stood { component: component.to_owned(), is_sql, settings: Vec::new() };
            for setting in settings {
                match self.stands(driver, is_sql, &setting.name) {
                    Ok(one) => stood.settings.push(one),
                    Err(note) => return Ok(Err(note.into())),
                }
            }
            let note = serde_json::to_string(&stood).unwrap_or_default();
            self.tell_step(ScriptEvent::Noted { step: step.id.clone(), note })?;
        }
        for setting in settings {
            let change = if is_sql {
                sql(
                    driver,
                    &format!("ALTER SYSTEM SET {} = '{}'", setting.name, setting.value.replace('\'', "''")),
                    self,
                )
            } else {
                words(driver, &["CONFIG", "SET", &setting.name, &setting.value], self)
            };
            if let Err(note) = change {
                return Ok(Err(note.into()));
            }
        }
        let wanted: Vec<(&str, &str)> =
            settings.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
        let said = self.take_effect(driver, is_sql, &wanted);
        let summary =
            wanted.iter().map(|(name, value)| format!("{name} is {value}")).collect::<Vec<_>>().join(", ");
        let summary = format!("{summary}, until the run ends");
        Ok(said.map(|()| Effect { summary: Some(summary), ..Effect::default() }).map_err(Failed::from))
    }

    /// As it stood before.
    pub(super) fn lower_log(&self, step: &str) -> Result<Effect, Failed> {
        let note = self.memory().notes.get(step).cloned();
        let stood = note.and_then(|note| serde_json::from_str::<Stood>(&note).ok());
        let Some(stood) = stood else {
            // Nothing was read, so nothing was changed.
            let summary = Some("nothing was raised".to_owned());
            return Ok(Effect { summary, ..Effect::default() });
        };
        self.put_back(&stood).map_err(Failed::from)
    }

    fn put_back(&self, stood: &Stood) -> Result<Effect, ErrorNote> {
        let driver = self.component(&stood.component)?;
        for one in &stood.settings {
            match (stood.is_sql, one.is_own) {
                (true, true) => {
                    let value = one.value.replace('\'', "''");
                    sql(driver, &format!("ALTER SYSTEM SET {} = '{value}'", one.name), self)?;
                }
                (true, false) => {
                    sql(driver, &format!("ALTER SYSTEM RESET {}", one.name), self)?;
                }
                (false, _) => {
                    words(driver, &["CONFIG", "SET", &one.name, &one.value], self)?;
                }
            }
        }
        let wanted: Vec<(&str, &str)> =
            stood.settings.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
        self.take_effect(driver, stood.is_sql, &wanted)?;
        let summary =
            wanted.iter().map(|(name, value)| format!("{name} is {value} again")).collect::<Vec<_>>();
        Ok(Effect { summary: Some(summary.join(", ")), ..Effect::default() })
    }

    fn stands(
        &self,
        driver: &dyn ComponentDriver,
        is_sql: bool,
        name: &str,
    ) -> Result<StoodSetting, ErrorNote> {
        if !is_sql {
            let value = self.value(driver, is_sql, name)?;
            return Ok(StoodSetting { name: name.to_owned(), value, is_own: true });
        }
        let query = format!(
            "select setting, source, coalesce(sourcefile, '') from pg_settings where name = '{name}'"
        );
        let answer = sql(driver, &query, self)?;
        let mut parts = answer.trim().split('|');
        let (value, source, file) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        let (Some(value), Some(source)) = (value, source) else {
            return Err(unavailable(format!("the server has no setting `{name}`")));
        };
        if source == "configuration file" && file.is_empty() {
            let mut note =
                unavailable(format!("the server does not say where `{name}` is set: nothing was changed"));
            note.hint = Some("grant pg_read_all_settings to the role of the component".into());
            return Err(note);
        }
        Ok(StoodSetting { name: name.to_owned(), value: value.to_owned(), is_own: file.ends_with(AUTO) })
    }

    fn value(&self, driver: &dyn ComponentDriver, is_sql: bool, name: &str) -> Result<String, ErrorNote> {
        let answer = if is_sql {
            sql(driver, &format!("select setting from pg_settings where name = '{name}'"), self)?
        } else {
            words(driver, &["CONFIG", "GET", name], self)?
        };
        Ok(answer.trim().lines().last().unwrap_or_default().to_owned())
    }

    /// Lets the server read its settings, and waits until they are as they should be.
    fn take_effect(
        &self,
        driver: &dyn ComponentDriver,
        is_sql: bool,
        wanted: &[(&str, &str)],
    ) -> Result<(), ErrorNote> {
        if is_sql {
            sql(driver, "select pg_reload_conf()", self)?;
        }
        let end = Instant::now() + RELOAD_WITHIN;
        for (name, value) in wanted {
            loop {
                let found = self.value(driver, is_sql, name)?;
                if found == *value {
                    break;
                }
                if Instant::now() >= end || self.operator.is_cancelled() {
                    return Err(unavailable(format!("`{name}` is `{found}`, and not `{value}`")));
                }
                pause(LOOK_PAUSE, self.operator);
            }
        }
        Ok(())
    }
}

fn sql(driver: &dyn ComponentDriver, query: &str, runner: &Runner<'_>) -> Result<String, ErrorNote> {
    driver.query(query, runner.operator).map_err(|error| ErrorNote::of(&error))
}

fn words(driver: &dyn ComponentDriver, words: &[&str], runner: &Runner<'_>) -> Result<String, ErrorNote> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    driver.command(&words, runner.operator).map_err(|error| ErrorNote::of(&error))
}
