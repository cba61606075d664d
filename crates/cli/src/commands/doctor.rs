//! `muster doctor`: what a recovery of this platform needs on this host, as one table.
//!
//! Tools with their versions, room, the repository and its key, the way to each component, the registries of images, and the
//! platform's own checks with the tag `preflight`. Every row is looked at whatever the others say. It changes nothing, and
//! takes no lock. Read next: `doctor/needs.rs` for what is derived from the configuration.

mod needs;

use std::{sync::Arc, time::Duration};

use muster_drivers::checks;
use muster_types::{ByteSize, Clock, Kind, Span, check::CheckResult};
use serde_json::json;

use self::needs::Need;
use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{DoctorArgs, Global},
    clock::SystemClock,
    config::Loaded,
    exit::{self, Failure},
    progress::Progress,
    render,
};

/// A picture of a host is not waited for longer.
const DEADLINE: Duration = Duration::from_mins(1);
/// The tag of the platform's own checks.
const TAG: &str = "preflight";

/// One row of the table.
struct Row {
    name: String,
    is_met: bool,
    needed: String,
    found: String,
    hint: Option<String>,
}

pub(super) fn run(global: &Global, args: &DoctorArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let progress = Progress::new(global.quiet || global.json);
    let mut all = needs::of(&loaded, args.free, &progress);
    let own = loaded.platform.checks.iter().filter(|(_, check)| check.tags.iter().any(|tag| tag == TAG));
    all.extend(own.map(|(name, check)| Need {
        name: format!("check {name}"),
        needed: if check.conditions.is_empty() {
            "it passes".to_owned()
        } else {
            check.conditions.join(", ")
        },
        hint: format!("look closer: `muster check {name} --verbose`"),
        check: check.clone(),
    }));
    let looks: Vec<_> = all.iter().map(|need| (need.name.clone(), need.check.clone())).collect();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let deadline = args.deadline.map_or(DEADLINE, Span::duration);
    let results = checks::run_all(&looks, Some(deadline), &clock, &progress);
    let mut rows: Vec<Row> = all.into_iter().zip(&results).map(|(need, result)| row(need, result)).collect();
    rows.push(repository(&loaded));
    for (name, component) in &loaded.platform.components {
        rows.push(way_in(&loaded, name, component.kind(), &progress));
    }
    Ok(answer(&rows))
}

fn row(need: Need, result: &CheckResult) -> Row {
    let found = match &result.error {
        Some(error) => error.clone(),
        None => {
            result.conditions.iter().map(|one| readable(&need, &one.found)).collect::<Vec<_>>().join(", ")
        }
    };
    Row {
        name: need.name,
        is_met: result.passed,
        needed: need.needed,
        found,
        hint: (!result.passed).then_some(need.hint),
    }
}

/// Bytes of a disk are counted for a condition, and read by a person.
fn readable(need: &Need, found: &str) -> String {
    let bytes = need.check.disk.as_ref().and_then(|_| found.parse().ok());
    bytes.map_or_else(|| found.to_owned(), |bytes| ByteSize(bytes).to_string())
}

/// The repository opens with its key.
fn repository(loaded: &Loaded) -> Row {
    let (name, needed) = ("repository".to_owned(), "opens with its key".to_owned());
    match app::open_repo(loaded) {
        Ok(_) => Row { name, is_met: true, needed, found: "opened".into(), hint: None },
        Err(failure) => refused(name, needed, failure),
    }
}

/// The component's server takes the login, and a backup is possible.
fn way_in(loaded: &Loaded, name: &str, kind: &str, progress: &Progress) -> Row {
    let (row, needed) = (format!("component {name}"), format!("{kind}: can be read"));
    let names = [name.to_owned()];
    let look = app::refuse_missing_secrets(&loaded.platform, &names, &[])
        .and_then(|()| app::open_component(loaded, name))
        .and_then(|driver| Ok(driver.look(progress)?));
    match look {
        Err(failure) => refused(row, needed, failure),
        Ok(look) => Row {
            name: row,
            is_met: look.is_ready(),
            needed,
            found: look.hindrances.first().map_or("it can".to_owned(), |one| one.what.clone()),
            hint: (!look.is_ready()).then(|| format!("look closer: `muster survey {name}`")),
        },
    }
}

fn refused(name: String, needed: String, failure: Failure) -> Row {
    let hint = failure.note.hint.clone().unwrap_or_else(|| "run `muster config check`".into());
    let found = if failure.note.kind == Kind::Config && failure.rendered.is_some() {
        "its secret cannot be read".to_owned()
    } else {
        failure.note.error.clone()
    };
    Row { name, is_met: false, needed, found, hint: Some(hint) }
}

fn answer(rows: &[Row]) -> Answer {
    let word = |is_met: bool| if is_met { "ok" } else { "missing" };
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let found = row.found.replace('\n', " ");
            vec![word(row.is_met).to_owned(), row.name.clone(), row.needed.clone(), found]
        })
        .collect();
    let mut text = render::table(&["", "what", "needed", "found"], &cells);
    for row in rows {
        if let Some(hint) = &row.hint {
            text.push_str(&format!("hint:  {}: {hint}\n", row.name));
        }
    }
    let missing = rows.iter().filter(|row| !row.is_met).count();
    text.push_str(&format!("{} of {} are as needed\n", rows.len() - missing, rows.len()));
    let documents: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name, "verdict": word(row.is_met), "needed": row.needed, "found": row.found,
                "hint": row.hint,
            })
        })
        .collect();
    let outcome = if missing == 0 { "passed" } else { "failed" };
    let code = if missing == 0 { exit::DONE } else { exit::FAILED };
    Answer::new(text, json!({"outcome": outcome, "needs": documents})).with_code(code)
}
