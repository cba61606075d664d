//! Answers and decisions that were given before: `--answers FILE`.
//!
//! A YAML map comes in, `STEP: ANSWER` or `STEP: {answer: …, by: …}`; answers by step leave. A name that is no step of
//! the runbook is refused: it would be an answer to nothing. It never keeps a secret answer.

use std::{collections::BTreeMap, path::Path};

use muster_plan::runbook::Walk;
use muster_types::Kind;
use serde::Deserialize;

use crate::{commands::runbook::bytes, config::suggest::closest, exit::Failure};

/// What was said beforehand about one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) answer: String,
    pub(super) by: Option<String>,
}

/// What was said beforehand.
#[derive(Debug, Default)]
pub(super) struct Answers {
    given: BTreeMap<String, Given>,
    /// What was said when the run began.
    earlier: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Yes(bool),
    Whole(i64),
    Fraction(f64),
    Text(String),
    Full(Full),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    answer: Box<Written>,
    by: Option<String>,
}

impl Written {
    fn given(self) -> Given {
        let plain = |answer: String| Given { answer, by: None };
        match self {
            // In a file for people, `yes` and `true` mean the same.
            Self::Yes(is) => plain(if is { "yes" } else { "no" }.to_owned()),
            Self::Whole(number) => plain(number.to_string()),
            Self::Fraction(number) => plain(number.to_string()),
            Self::Text(text) => plain(text),
            Self::Full(full) => Given { by: full.by, ..full.answer.given() },
        }
    }
}

impl Answers {
    /// Reads the file, if there is one.
    pub(super) fn read(path: Option<&Path>, walk: &Walk) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::default()) };
        let content = bytes(path)?;
        let text = String::from_utf8_lossy(&content);
        let written: BTreeMap<String, Written> = serde_saphyr::from_str(&text).map_err(|error| {
            let mut failure = Failure::new(
                Kind::Input,
                format!("{} does not hold answers", path.display()),
                "write a line for each: `STEP: ANSWER`, or `STEP: {answer: yes, by: anna}`",
            );
            failure.note.causes.push(error.to_string().lines().next().unwrap_or_default().to_owned());
            failure
        })?;
        let ids = walk.ids();
        for name in written.keys() {
            let is_known = ids.iter().any(|id| {
                id == name || name.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with("-ask-"))
            });
            if !is_known {
                let known: Vec<&str> = ids.iter().map(String::as_str).collect();
                let near = closest(name, &known);
                let hint = near
                    .map_or("the names of its steps are in `muster run FILE --dry-run`".to_owned(), |near| {
                        format!("did you mean `{near}`?")
                    });
                let error = format!("{} answers `{name}`, and the runbook has no such step", path.display());
                return Err(Failure::new(Kind::Input, error, hint));
            }
        }
        let given = written.into_iter().map(|(name, written)| (name, written.given())).collect();
        Ok(Self { given, earlier: BTreeMap::new() })
    }

    /// Returns what may be kept in the journal, so that a resume need not be told again.
    pub(super) fn lasting(&self, secrets: &[String]) -> BTreeMap<String, String> {
        let is_secret =
            |id: &str| secrets.iter().any(|secret| id == secret || id.ends_with(&format!("/{secret}")));
        let lasting = self.given.iter().filter(|(id, _)| !is_secret(id));
        lasting.map(|(id, given)| (id.clone(), given.answer.clone())).collect()
    }

    /// Takes what was said when the run began.
    pub(super) fn remember(&mut self, earlier: &BTreeMap<String, String>) {
        self.earlier.clone_from(earlier);
    }

    /// Returns the answer to a step: the newest.
    pub(super) fn of(&self, step: &str) -> Option<Given> {
        self.now(step).or_else(|| {
            let answer = self.earlier.get(step)?.clone();
            Some(Given { answer, by: None })
        })
    }

    /// Returns what was said about a step with this call: a decision on what happened does not hold for ever.
    pub(super) fn now(&self, step: &str) -> Option<Given> {
        self.given.get(step).cloned()
    }
}
