//! Secrets as references: `${env:NAME}`, `${file:PATH}`, `${command:LINE}`.
//!
//! A text with references comes in; the text with their values leaves as a [`Secret`], or a finding that names the
//! reference. A line feed at the end of a file or an output does not belong to the value. `$${` stands for `${`.
//!
//! Nothing is resolved before a caller asks for it, and no value ever gets into a finding.

use std::path::Path;

use muster_types::Secret;

use super::{
    environment::Environment,
    finding::{Finding, Place},
};

/// Says how a reference is written.
pub(super) const FORMS: &str = "`${env:NAME}`, `${file:/path}` or `${command:program argument}`";

/// Others may read the file.
const WORLD_READABLE: u32 = 0o004;

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Plain(&'a str),
    Variable { name: &'a str, whole: &'a str },
    File { path: &'a str, whole: &'a str },
    Command { line: &'a str, whole: &'a str },
}

/// A reference that cannot be meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed<'a> {
    pub(super) message: String,
    pub(super) offending: &'a str,
}

/// Tells whether a text has a reference in it.
pub(super) fn has_reference(text: &str) -> bool {
    parts(text).map_or(true, |parts| parts.iter().any(|part| !matches!(part, Part::Plain(_))))
}

/// Splits a text into its references and what stands between them.
pub(super) fn parts(text: &str) -> Result<Vec<Part<'_>>, Malformed<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            parts.extend([Part::Plain(&rest[..at - 1]), Part::Plain("${")]);
            rest = &rest[at + 2..];
            continue;
        }
        let Some(length) = closed(&rest[at..]) else {
            return Err(Malformed { message: "the closing `}` is missing".into(), offending: &rest[at..] });
        };
        let whole = &rest[at..at + length];
        let inner = &whole[2..length - 1];
        parts.push(Part::Plain(&rest[..at]));
        parts.push(match inner.split_once(':') {
            Some((_, "")) => {
                return Err(Malformed { message: format!("`{whole}` names nothing"), offending: whole });
            }
            Some(("env", name)) => Part::Variable { name, whole },
            Some(("file", path)) => Part::File { path, whole },
            Some(("command", line)) => Part::Command { line, whole },
            _ => {
                return Err(Malformed {
                    message: format!("`{whole}` is no known reference"),
                    offending: whole,
                });
            }
        });
        rest = &rest[at + length..];
    }
    parts.push(Part::Plain(rest));
    parts.retain(|part| *part != Part::Plain(""));
    Ok(parts)
}

/// The length of a reference with its closing brace; braces inside it come in pairs.
fn closed(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Replaces every reference by its value. Relative files are relative to `folder`.
///
/// `place` is the whole text's; the error points at the reference in it. Each value is added to `values`, so that no
/// message repeats it.
pub(super) fn resolve(
    text: &str,
    place: &Place,
    folder: &Path,
    environment: &dyn Environment,
    values: &mut Vec<String>,
) -> Result<Secret, Finding> {
    let parts = parts(text).map_err(|wrong| {
        Finding::error(wrong.message).at(inside(place, wrong.offending)).hint(format!("write {FORMS}"))
    })?;
    let mut value = String::new();
    for part in parts {
        let (found, whole) = match part {
            Part::Plain(text) => {
                value.push_str(text);
                continue;
            }
            Part::Variable { name, whole } => (variable(name, environment), whole),
            Part::File { path, whole } => (file(&folder.join(path), environment), whole),
            Part::Command { line, whole } => (command(line, environment), whole),
        };
        let found = found.map_err(|finding| finding.at(inside(place, whole)))?;
        value.push_str(&found);
        values.push(found);
    }
    Ok(Secret::new(value))
}

/// Looks at what a text refers to without running a command: what is missing, and files that everybody may read.
pub(super) fn look(text: &str, place: &Place, folder: &Path, environment: &dyn Environment) -> Vec<Finding> {
    // A malformed reference was reported when the file was read.
    let Ok(parts) = parts(text) else { return Vec::new() };
    let mut findings = Vec::new();
    for part in parts {
        match part {
            Part::Variable { name, whole } => {
                findings.extend(variable(name, environment).err().map(|f| f.at(inside(place, whole))));
            }
            Part::File { path, whole } => {
                let path = folder.join(path);
                match file(&path, environment) {
                    Err(finding) => findings.push(finding.at(inside(place, whole))),
                    Ok(_) if environment.mode(&path).is_ok_and(|mode| mode & WORLD_READABLE != 0) => {
                        let shown = path.display();
                        let finding = Finding::warning(format!("every user of this host can read `{shown}`"))
                            .at(inside(place, whole))
                            .hint(format!("run `chmod 600 {shown}`"));
                        findings.push(finding);
                    }
                    Ok(_) => {}
                }
            }
            Part::Plain(_) | Part::Command { .. } => {}
        }
    }
    findings
}

fn variable(name: &str, environment: &dyn Environment) -> Result<String, Finding> {
    match environment.variable(name) {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) => Err(Finding::error(format!("the environment variable `{name}` is empty"))
            .hint(format!("give `{name}` a value"))),
        None => Err(Finding::error(format!("the environment variable `{name}` is not set")).hint(format!(
            "set `{name}` before you start muster, or read the secret with `${{file:/path}}`"
        ))),
    }
}

fn file(path: &Path, environment: &dyn Environment) -> Result<String, Finding> {
    let shown = path.display();
    let bytes = environment.read(path).map_err(|error| {
        Finding::error(format!("the secret in `{shown}` cannot be read"))
            .because(error.to_string())
            .hint("put the secret there (mode 0600), or correct the path")
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Finding::error(format!("the secret in `{shown}` is not text")).hint("save it as UTF-8")
    })?;
    filled(trimmed(&text), &format!("the file `{shown}` is empty"))
}

fn command(line: &str, environment: &dyn Environment) -> Result<String, Finding> {
    let output = environment.run(line).map_err(|why| {
        Finding::error("the command that gives a secret failed")
            .because(why)
            .hint("run it by hand as the user that runs muster")
    })?;
    filled(trimmed(&output), "the command that gives a secret printed nothing")
}

fn filled(value: &str, otherwise: &str) -> Result<String, Finding> {
    if value.is_empty() {
        return Err(Finding::error(otherwise).hint("a secret cannot be empty"));
    }
    Ok(value.to_owned())
}

fn trimmed(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn inside(place: &Place, part: &str) -> Place {
    let Some(at) = place.text.find(part) else { return place.clone() };
    let column = place.column + place.text[..at].chars().count();
    Place { column, text: part.to_owned(), ..place.clone() }
}
