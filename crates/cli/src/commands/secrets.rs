//! `muster secrets`: where each secret lives, whether it is there, and who needs it. Never a value.

use muster_drivers::secrets;
use muster_engine::execute;
use muster_types::{
    Kind,
    config::Platform,
    rotation::{Presence, SecretFacts},
};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, SecretsArgs},
    exit::{self, Failure},
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &SecretsArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let names = names(&loaded.platform, &args.names)?;
    let progress = Progress::new(global.quiet || global.json);
    let mut all = secrets::inventory(&loaded.platform, names.iter().map(String::as_str), &progress)?;
    for one in &mut all {
        one.rotating = execute::rotating(&loaded.state_dir, &one.name).map(|run| run.0);
    }
    let is_whole = all.iter().all(|one| one.state == Presence::Present);
    let answer = Answer::new(shown(&all), json!({"secrets": all}));
    Ok(if is_whole { answer } else { answer.with_code(exit::FAILED) })
}

/// Returns the secrets that are given, or all; unknown ones are refused.
pub(super) fn names(platform: &Platform, given: &[String]) -> Result<Vec<String>, Failure> {
    let known: Vec<&str> = platform.secrets.keys().map(String::as_str).collect();
    if let Some(name) = given.iter().find(|name| !known.contains(&name.as_str())) {
        let hint = if known.is_empty() {
            "it has no `secrets:` at all; docs/secrets.md shows how to name them".to_owned()
        } else {
            format!("the configuration has: {}", known.join(", "))
        };
        return Err(Failure::new(Kind::Input, format!("there is no secret `{name}`"), hint));
    }
    if given.is_empty() {
        return Ok(platform.secrets.keys().cloned().collect());
    }
    let mut names: Vec<String> = Vec::new();
    for name in given {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Ok(names)
}

fn shown(all: &[SecretFacts]) -> String {
    if all.is_empty() {
        return "the configuration names no secrets: docs/secrets.md shows how to\n".into();
    }
    let mut rows = Vec::new();
    for one in all {
        for (index, place) in one.places.iter().enumerate() {
            let first = |text: String| if index == 0 { text } else { String::new() };
            rows.push(vec![
                first(one.name.clone()),
                place.state.word().to_owned(),
                place.place.clone(),
                place.fingerprint.clone().unwrap_or_else(|| "-".into()),
                first(one.needed_by.join(", ")),
            ]);
        }
    }
    let mut text = render::table(&["secret", "state", "place", "fingerprint", "needed by"], &rows);
    for one in all {
        for place in one.places.iter().filter(|place| place.state != Presence::Present) {
            let reason = place.reason.as_deref().unwrap_or("no reason is known");
            text.push_str(&format!("{}: {}: {reason}\n", one.name, place.state.word()));
            if let Some(hint) = &place.hint {
                text.push_str(&format!("  hint: {hint}\n"));
            }
        }
        if !one.agrees {
            text.push_str(&format!("{}: its places do not hold the same value\n", one.name));
        }
        if let Some(run) = &one.rotating {
            text.push_str(&format!(
                "{}: run {run} has begun to rotate it: `muster resume {run}`\n",
                one.name
            ));
        }
    }
    text
}
