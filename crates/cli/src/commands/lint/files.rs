//! Reading what is to be looked at: which form a file has, and errors for what is none.
//!
//! A path comes in; its bytes and form leave, or an error that says what to give instead. `muster.yaml` is not read here:
//! it goes through the same loader as for every other command, and its findings are turned into those of lint.

use std::{
    fs,
    path::{Path, PathBuf},
};

use muster_plan::lint::{Finding, Form, LintError, Severity};
use muster_types::Kind;

use crate::{
    config::{self, LoadOptions, SystemEnvironment},
    exit::Failure,
};

/// The page of the findings of a configuration.
const PAGE: &str = "docs/configuration.md";

/// A file to look at.
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) content: Content,
}

/// What a file is.
pub(super) enum Content {
    /// A configuration of Muster, or the part of it for one environment.
    Configuration,
    /// Anything else.
    Text(Form, Vec<u8>),
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Input, Failure> {
    if path.is_dir() {
        return Err(Failure::new(
            Kind::Input,
            format!("`{}` is a folder", path.display()),
            format!("name files: `muster lint {}/*.md`", path.display()),
        ));
    }
    if is_configuration(path) && path.exists() {
        return Ok(Input { path: path.to_owned(), content: Content::Configuration });
    }
    let bytes = fs::read(path).map_err(|error| {
        let mut failure = Failure::new(
            Kind::Input,
            format!("`{}` cannot be read", path.display()),
            "give the path of a Markdown document, a script, SQL, a crontab or `muster.yaml`",
        );
        failure.note.causes.push(error.to_string());
        failure
    })?;
    Ok(Input { path: path.to_owned(), content: Content::Text(form(path, &bytes), bytes) })
}

/// `muster.yaml` and `muster.<env>.yaml`.
fn is_configuration(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    name.starts_with("muster.") && matches!(ending, "yaml" | "yml")
}

/// Tells the form by the ending, else by the first line.
fn form(path: &Path, bytes: &[u8]) -> Form {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let first = bytes.split(|byte| *byte == b'\n').next().map(String::from_utf8_lossy).unwrap_or_default();
    match ending {
        "sh" | "bash" | "zsh" | "ksh" => Form::Shell,
        "sql" => Form::Sql,
        "yaml" | "yml" | "conf" | "cnf" | "ini" | "cfg" => Form::Config,
        "cron" | "crontab" => Form::Cron,
        _ if name == "crontab" => Form::Cron,
        _ if first.starts_with("#!") && first.trim_end().ends_with("sh") => Form::Shell,
        _ => Form::Markdown,
    }
}

/// Says why a file cannot be looked at.
pub(super) fn refused(path: &Path, error: &LintError) -> Failure {
    let hint = match error {
        LintError::TooLarge { .. } => "lint looks at what people write by hand: give it the document itself",
        _ => "give it a text file in UTF-8",
    };
    let mut failure = Failure::new(Kind::Input, format!("`{}` cannot be looked at", path.display()), hint);
    failure.note.causes.push(error.to_string());
    failure
}

/// Whether a script that a command names lies beside the document or in a folder above it.
pub(super) fn is_there(document: &Path, command: &str) -> bool {
    let Some(script) =
        command.split_whitespace().find(|word| word.starts_with("./") || word.starts_with("../"))
    else {
        return false;
    };
    let whole = fs::canonicalize(document).unwrap_or_else(|_| document.to_owned());
    // The folder above the document is the root of most repositories, or not far from it.
    whole.ancestors().skip(1).take(5).any(|folder| folder.join(script).is_file())
}

/// Looks at a configuration with every environment that it has.
pub(super) fn configuration(path: &Path, name: &str) -> Vec<Finding> {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let own = file
        .trim_start_matches("muster.")
        .rsplit_once('.')
        .map(|(before, _)| before)
        .filter(|env| !env.is_empty());
    let main = path.with_file_name("muster.yaml");
    let options = |environment: Option<String>| LoadOptions {
        file: Some(if own.is_some() { main.clone() } else { path.to_owned() }),
        environment,
        is_destructive: false,
    };
    let environments = match own {
        Some(environment) => vec![Some(environment.to_owned())],
        None => match config::unchosen(&options(None), &SystemEnvironment) {
            Ok(names) if !names.is_empty() => names.into_iter().map(Some).collect(),
            Ok(_) => vec![None],
            Err(error) => return error.findings.iter().map(|one| finding(one, name)).collect(),
        },
    };
    let mut findings: Vec<Finding> = Vec::new();
    for environment in environments {
        let found = match config::load(&options(environment), &SystemEnvironment) {
            Ok(loaded) => loaded.warnings,
            Err(error) => error.findings,
        };
        for one in found.iter().map(|one| finding(one, name)) {
            if !findings.contains(&one) {
                findings.push(one);
            }
        }
    }
    findings
}

/// Turns a finding of the configuration into one of lint.
fn finding(one: &config::Finding, name: &str) -> Finding {
    let place = one.place.as_ref();
    let cause = one.cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"));
    Finding {
        file: place.map_or_else(|| name.to_owned(), |place| shown(&place.file)),
        line: place.map_or(1, |place| place.line),
        column: place.map_or(1, |place| place.column),
        rule: "configuration",
        severity: if one.severity == config::Severity::Error { Severity::Fails } else { Severity::Weak },
        quote: place.map_or_else(String::new, |place| place.text.clone()),
        message: format!("{}{cause}", one.message),
        instead: one.hint.clone().unwrap_or_default(),
        page: PAGE.to_owned(),
    }
}

/// A path relative to the current folder where it lies in it.
fn shown(path: &Path) -> String {
    let folder = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&folder).unwrap_or(path).display().to_string()
}
