//! What a command line would do: only look, do something that may be repeated, or take something away.
//!
//! One statement of a shell comes in; a [`Judgement`] leaves. It is made of the program, its verbs and options, looks
//! through `sudo`, `docker exec`, `kubectl exec -- …` and `ssh`, and reads the SQL that stands in the statement. In a
//! pipeline the gravest part decides. What is not known is `unknown`: that is no permission.
//!
//! It never runs anything and never says that a command is correct; that is lint's business.
//!
//! Read next: `words` for how a statement is taken apart, `programs` for the verbs.

mod programs;
mod sql;
mod words;

use serde::{Deserialize, Serialize};

/// What happens when a step is done twice, or half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It only looks.
    Observe,
    /// Doing it again does no harm.
    Idempotent,
    /// Nobody can tell from the text.
    Unknown,
    /// It removes or replaces something, or doing it again does harm.
    Destructive,
}

/// What kind of step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// A command for a shell.
    Command,
    /// SQL for a database.
    Sql,
    /// It finds out whether something works.
    Check,
    /// It waits.
    Wait,
    /// A person decides how to go on.
    Decision,
    /// A person does it.
    Manual,
}

/// What a statement would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// How grave it is.
    pub class: Class,
    /// What kind of step it is.
    pub kind: StepKind,
    /// Whether it goes on until somebody stops it (`logs -f`, `get -w`).
    pub is_endless: bool,
}

impl Class {
    /// Returns its name as documents print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Idempotent => "idempotent",
            Self::Unknown => "unknown",
            Self::Destructive => "destructive",
        }
    }
}

impl StepKind {
    /// Returns its name as documents print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Sql => "sql",
            Self::Check => "check",
            Self::Wait => "wait",
            Self::Decision => "decision",
            Self::Manual => "manual",
        }
    }
}

/// Nobody writes a longer statement by hand, and nobody reads it before it runs.
pub const STATEMENT_BYTES_MAX: usize = 64 << 10;

/// Judges a statement of a shell.
///
/// A statement above [`STATEMENT_BYTES_MAX`] is unknown.
pub fn judge(statement: &str) -> Judgement {
    if statement.len() > STATEMENT_BYTES_MAX {
        return Judgement { class: Class::Unknown, kind: StepKind::Command, is_endless: false };
    }
    let commands = words::simple_commands(statement);
    let judged: Vec<Judgement> = commands.iter().map(programs::judge).collect();
    let class = judged.iter().map(|one| one.class).max().unwrap_or(Class::Observe);
    let is_endless = judged.iter().any(|one| one.is_endless);
    // `cd x && make check` is a check; `curl … | jq` too. A statement that changes something is a command.
    let kind = if judged.iter().any(|one| one.kind == StepKind::Manual) {
        StepKind::Manual
    } else if judged.iter().any(|one| one.kind == StepKind::Wait) || is_endless {
        StepKind::Wait
    } else if judged.iter().any(|one| one.kind == StepKind::Check) && class != Class::Destructive {
        StepKind::Check
    } else {
        StepKind::Command
    };
    Judgement { class, kind, is_endless }
}

/// Judges SQL: the gravest of its statements decides.
pub fn judge_sql(text: &str) -> Class {
    sql::class(text)
}

#[cfg(test)]
mod tests;
