//! Looks whether a value is accepted: by a request over HTTP, or by a program.
//!
//! In: the look as configured, and one value. Out: accepted, refused, or unclear. Only 401 and 403 are a refusal, or an
//! exit code from 1 to 125: a server that does not answer has refused nobody. The value gets into headers, the body or the
//! program's environment, never into an address, an argument or an error.

use std::{
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    Clock, Kind, Mask, Secret, Span,
    config::{Check, SECRET_MARK, SecretLook},
    event::Watcher,
};

use crate::{
    DriverError, checks,
    command::{Exit, Invocation},
};

/// How long it may take until it is so, when nobody says.
const WITHIN: Duration = Duration::from_secs(10);
/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// How long a program may take that revokes a value.
const REVOKED_WITHIN: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(200);
/// Finds out the status, whatever it is.
const ANY_STATUS: &str = "[STATUS] > 0";
/// The last exit code that a program chooses itself; above are those of shells and signals.
const EXIT_MAX: i32 = 125;

/// What came of a look; each says what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It works.
    Accepted,
    /// It is refused.
    Refused(String),
    /// Neither.
    Unclear(String),
}

/// Says what is wrong with a look as it is configured.
///
/// # Errors
/// What, for people, and what to write.
pub fn validate(look: &SecretLook) -> Result<(), (String, String)> {
    let wrong = |what: &str, hint: &str| Err((what.to_owned(), hint.to_owned()));
    match (&look.http, &look.command) {
        (Some(address), None) if address.contains(SECRET_MARK) => wrong(
            "the value would be a part of an address, which proxies write into their logs",
            "put it into a header: `headers: {Authorization: \"Bearer {{ secret }}\"}`",
        ),
        (Some(_), None) if !look.has_value() => wrong(
            "the look does not use the value",
            "put it into a header: `headers: {Authorization: \"Bearer {{ secret }}\"}`",
        ),
        (Some(_), None) => checks::validate(&request(look, &Secret::new("x"), LOOK_WITHIN))
            .map_err(|error| (error.message, error.hint)),
        (None, Some(argv)) if argv.first().is_none_or(String::is_empty) => {
            wrong("the command is empty", "give a program and its arguments as a list")
        }
        (None, Some(argv)) if argv.iter().any(|word| word.contains(SECRET_MARK)) => wrong(
            "the value would be an argument, which every user of the host can read",
            "read the variable `MUSTER_SECRET` instead",
        ),
        (None, Some(_)) if !look.headers.is_empty() || look.body.is_some() || !look.conditions.is_empty() => {
            wrong("a command has no headers, body or conditions", "let its exit code tell")
        }
        (None, Some(_)) => Ok(()),
        _ => wrong("a look is one of `http` and `command`", "keep one of them"),
    }
}

fn request(look: &SecretLook, value: &Secret, timeout: Duration) -> Check {
    let fill = |text: &String| text.replace(SECRET_MARK, value.expose());
    let usual = vec!["[STATUS] == 200".to_owned()];
    let asked = if look.conditions.is_empty() { usual } else { look.conditions.clone() };
    Check {
        http: look.http.clone(),
        headers: look.headers.iter().map(|(name, text)| (name.clone(), fill(text))).collect(),
        body: look.body.as_ref().map(fill),
        ca: look.ca.clone(),
        conditions: [ANY_STATUS.to_owned()].into_iter().chain(asked).collect(),
        timeout: Some(Span::from(timeout)),
        ..Check::default()
    }
}

/// Looks once.
pub fn look(look: &SecretLook, value: &Secret, clock: &dyn Clock, watcher: &dyn Watcher) -> Answered {
    let mask = Mask::new([value.expose().to_owned()]);
    if let Some(argv) = &look.command {
        return by_program(argv, value, watcher).unwrap_or_else(|why| Answered::Unclear(mask.apply(&why)));
    }
    let result = checks::run("look", &request(look, value, LOOK_WITHIN), clock, watcher);
    if result.passed {
        return Answered::Accepted;
    }
    let status = result.conditions.first().map(|one| one.found.trim().to_owned());
    match status.as_deref() {
        Some(status @ ("401" | "403")) => Answered::Refused(format!("HTTP {status}")),
        _ => Answered::Unclear(mask.apply(&result.reason().unwrap_or_default())),
    }
}

fn by_program(argv: &[String], value: &Secret, watcher: &dyn Watcher) -> Result<Answered, String> {
    let mut invocation = Invocation::new(argv, LOOK_WITHIN);
    invocation.env = vec![("MUSTER_SECRET".into(), value.expose().to_owned())];
    invocation.secrets = vec![value.clone()];
    let ended = invocation.run(watcher).map_err(|error| error.to_string())?;
    let said = |exit: &str| {
        let lines = ended.last_lines(1);
        if lines.is_empty() { exit.to_owned() } else { format!("{exit}: {lines}") }
    };
    Ok(match ended.exit {
        Exit::Code(0) => Answered::Accepted,
        Exit::Code(code) if code <= EXIT_MAX => Answered::Refused(said(&format!("exit code {code}"))),
        other => Answered::Unclear(said(&other.to_string())),
    })
}

impl Answered {
    /// Returns what was seen.
    pub fn words(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused(said) | Self::Unclear(said) => said,
        }
    }

    /// Looks again and again, until `is_wanted` holds or the look's time is over. Returns what was seen last.
    pub fn until(
        asked: &SecretLook,
        value: &Secret,
        (clock, watcher): (&dyn Clock, &dyn Watcher),
        is_wanted: impl Fn(&Self) -> bool,
    ) -> Self {
        let within = asked.within.map_or(WITHIN, Span::duration);
        let begun = Instant::now();
        loop {
            let seen = look(asked, value, clock, watcher);
            if is_wanted(&seen) || begun.elapsed() >= within || watcher.is_cancelled() {
                return seen;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Has a value revoked by a program, which gets both as variables.
///
/// # Errors
/// `Unavailable`: it failed.
pub fn revoke(
    argv: &[String],
    (old, new): (&Secret, &Secret),
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let mut invocation = Invocation::new(argv, REVOKED_WITHIN);
    invocation.env = vec![
        ("MUSTER_SECRET_OLD".into(), old.expose().to_owned()),
        ("MUSTER_SECRET_NEW".into(), new.expose().to_owned()),
    ];
    invocation.secrets = vec![old.clone(), new.clone()];
    let ended = invocation.run(watcher).map_err(|error| DriverError::of(&error))?;
    if ended.is_success() {
        return Ok(());
    }
    let message = format!("`revoke` ended with {}: {}", ended.exit, ended.last_lines(2));
    Err(DriverError::new(Kind::Unavailable, message)
        .with_hint("revoke the old value at its provider by hand; then `muster resume` goes on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_shows_the_value_or_does_not_use_it_is_refused() {
        let http = |address: &str, header: &str| SecretLook {
            http: Some(address.into()),
            headers: [("Authorization".to_owned(), header.to_owned())].into(),
            ..SecretLook::default()
        };
        let command = |words: &[&str]| SecretLook {
            command: Some(words.iter().map(|&word| word.to_owned()).collect()),
            ..SecretLook::default()
        };
        let whole = "Bearer {{ secret }}";
        let both = SecretLook { command: Some(vec!["true".into()]), ..http("http://h/", whole) };
        for (look, wrong) in [
            (http("http://h/", whole), None),
            (command(&["true"]), None),
            (http("http://h/{{ secret }}", whole), Some("a part of an address")),
            (http("http://h/", "Bearer x"), Some("does not use the value")),
            (http("nonsense", whole), Some("not a URL")),
            (command(&[]), Some("empty")),
            (command(&["true", "{{ secret }}"]), Some("every user of the host")),
            (SecretLook::default(), Some("one of `http` and `command`")),
            (both, Some("one of `http` and `command`")),
        ] {
            let said = validate(&look).err().map(|(what, _)| what);
            let fits = match (&said, wrong) {
                (Some(said), Some(wrong)) => said.contains(wrong),
                (None, None) => true,
                _ => false,
            };
            assert!(fits, "{look:?}: {said:?}");
        }
    }

    #[test]
    fn only_a_program_that_says_no_has_refused() {
        let clock = muster_types::FixedClock(muster_types::Timestamp::UNIX_EPOCH);
        let seen = |script: &str| {
            let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
            let asked = SecretLook { command: Some(argv), ..SecretLook::default() };
            look(&asked, &Secret::new("the-value-17"), &clock, &muster_types::event::Unwatched)
        };
        assert_eq!(seen("test $MUSTER_SECRET = the-value-17"), Answered::Accepted);
        assert_eq!(
            seen("echo no $MUSTER_SECRET >&2; exit 7"),
            Answered::Refused("exit code 7: no ***".into())
        );
        assert!(matches!(seen("exit 126"), Answered::Unclear(_)));
        assert!(matches!(seen("kill -9 $$"), Answered::Unclear(_)));
    }
}
