//! `muster config`: is the configuration sound, and what may stand in it.
//!
//! Without a chosen environment `check` looks at each, because a file that nobody looks at is wrong on the day that it
//! is needed. It asks whether paths exist, and opens no database
//! and no repository.

mod look;

use serde_json::{Value, json};

use crate::{
    answer::Answer,
    args::{ConfigCommand, Global},
    config::{self, ConfigError, Finding, LoadOptions, Loaded, Severity, SystemEnvironment},
    exit::Failure,
};
use muster_types::text::counted;

pub(super) fn run(global: &Global, command: &ConfigCommand) -> Result<Answer, Failure> {
    match command {
        ConfigCommand::Check => check(global),
        ConfigCommand::Schema => {
            let schema = config::schema();
            Ok(Answer::new(format!("{schema:#}"), schema))
        }
    }
}

fn check(global: &Global) -> Result<Answer, Failure> {
    let folder = std::env::current_dir().unwrap_or_default();
    let fail = |error: ConfigError| Failure::of_config(error, &folder);
    let options = |environment: Option<String>| LoadOptions {
        file: global.config.clone(),
        environment,
        is_destructive: false,
    };
    let chosen = options(global.env.clone());
    let names = config::unchosen(&chosen, &SystemEnvironment).map_err(fail)?;
    if names.is_empty() {
        let loaded = load(&chosen).map_err(fail)?;
        return Ok(Answer::new(shown(&loaded, &folder), document(&loaded)));
    }
    let (mut text, mut documents, mut errors) = (String::new(), Vec::new(), Vec::new());
    for name in names {
        match load(&options(Some(name.clone()))) {
            Ok(loaded) => {
                text.push_str(&shown(&loaded, &folder));
                documents.push(document(&loaded));
            }
            Err(error) => errors
                .extend(error.findings.into_iter().filter(|one| !errors.contains(one)).collect::<Vec<_>>()),
        }
    }
    if !errors.is_empty() {
        return Err(fail(ConfigError { findings: errors }));
    }
    let findings: Vec<_> =
        documents.iter().filter_map(|one| one["findings"].as_array()).flatten().cloned().collect();
    Ok(Answer::new(text, json!({"outcome": "passed", "environments": documents, "findings": findings})))
}

/// Loads a configuration and looks also at the secrets that other commands read only when they need them.
fn load(options: &LoadOptions) -> Result<Loaded, ConfigError> {
    let mut loaded = config::load(options, &SystemEnvironment)?;
    let findings = loaded.look_at_repository_key(&SystemEnvironment).into_iter();
    let findings = findings.chain(look::look(&loaded)).chain(loaded.passwords.clone());
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.partition(|finding| finding.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(ConfigError { findings: errors });
    }
    loaded.warnings.extend(warnings);
    Ok(loaded)
}

fn shown(loaded: &Loaded, folder: &std::path::Path) -> String {
    let platform = &loaded.platform;
    let files: Vec<_> = loaded
        .files
        .iter()
        .map(|file| file.strip_prefix(folder).unwrap_or(file).display().to_string())
        .collect();
    let counts = [
        counted(platform.components.len(), "component"),
        counted(platform.services.len(), "service"),
        counted(platform.checks.len(), "check"),
    ];
    let verb = if files.len() == 1 { "is" } else { "are" };
    let mut text = format!("{} {verb} sound: {}\n", files.join(" and "), counts.join(", "));
    for warning in &loaded.warnings {
        text.push('\n');
        text.push_str(&warning.render(folder));
    }
    text
}

fn document(loaded: &Loaded) -> Value {
    let platform = &loaded.platform;
    json!({
        "outcome": "passed",
        "platform": platform.platform,
        "environment": loaded.environment,
        "files": loaded.files,
        "components": platform.components.len(),
        "services": platform.services.len(),
        "checks": platform.checks.len(),
        "findings": loaded.warnings.iter().map(Finding::document).collect::<Vec<_>>(),
    })
}
