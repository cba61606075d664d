//! Asks a program for its version (`[VERSION]`): whether it is there, works, and is new enough.
//!
//! The version is the first number with a point that it says under `--version`, or where it refuses that, under `-V` or
//! `version`. A program that says none is there and has no version.

use std::time::{Duration, Instant};

use muster_types::event::Watcher;

use super::{CheckConfigError, Look, Observation, Unseen, no_answer, wrong};
use crate::command::{CommandError, Ended, Invocation};

/// How programs are asked, most usual first; `ssh` knows only the second, `kubectl` and `terraform` the last.
const QUESTIONS: &[&[&str]] = &[&["--version"], &["-V"], &["version", "--client"], &["version"]];

pub(super) fn validate(name: &str) -> Result<(), CheckConfigError> {
    let is_name = !name.is_empty() && !name.starts_with('-') && !name.contains(char::is_whitespace);
    if is_name { Ok(()) } else { Err(wrong("this is no program", name, "write its name: `tool: docker`")) }
}

pub(super) fn observe(name: &str, look: &Look<'_>, watcher: &dyn Watcher) -> Result<Observation, Unseen> {
    validate(name).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let mut said = String::new();
    for question in QUESTIONS {
        let left = look.timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(no_answer(look.timeout).into());
        }
        let ended = ask(name, question, left, look.timeout, watcher)?;
        let text = format!("{}\n{}", ended.stdout.text(), ended.stderr.text());
        if let (true, Some(version)) = (ended.is_success(), version_in(&text)) {
            return Ok(seen(begun, text, Some(version)));
        }
        if said.is_empty() && ended.is_success() {
            said = text;
        }
    }
    if said.is_empty() {
        return Err(format!("`{name}` is there, and fails when it is asked for its version").into());
    }
    Ok(seen(begun, said, None))
}

fn seen(begun: Instant, body: String, version: Option<String>) -> Observation {
    Observation {
        body: Some(body.trim().to_owned()),
        version,
        response_time: begun.elapsed(),
        is_connected: true,
        ..Observation::default()
    }
}

fn ask(
    name: &str,
    question: &[&str],
    left: Duration,
    timeout: Duration,
    watcher: &dyn Watcher,
) -> Result<Ended, Unseen> {
    let argv: Vec<String> = std::iter::once(&name).chain(question).map(|&one| one.to_owned()).collect();
    Invocation::new(argv, left).run(watcher).map_err(|error| match error {
        CommandError::TimedOut { .. } => no_answer(timeout).into(),
        other => other.to_string().into(),
    })
}

/// Finds the first number with a point, as in `Docker version 20.10.24+dfsg1`.
fn version_in(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .map(|word| word.trim_start_matches(['v', 'V']))
        .map(|word| &word[..word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len())])
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn the_version_is_found_in_what_programs_say() {
        for (text, version) in [
            ("Docker version 20.10.24+dfsg1, build 297e128", "20.10.24"),
            ("psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18"),
            ("curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1", "7.88.1"),
            ("aws-cli/2.15.30 Python/3.11.8", "2.15.30"),
            ("OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL 3.0.15", "9.2"),
            ("Client Version: v1.37.0", "1.37.0"),
            ("Docker Compose version v2.24.5.", "2.24.5"),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version), "{text}");
        }
        assert_eq!(version_in("no number here, only 7"), None);
    }
}
