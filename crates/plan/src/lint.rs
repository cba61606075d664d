//! Lint: what in a recovery document or a script fails, loses data or only looks like proof.
//!
//! In: the text of one file, its [`Form`] and today's date. Out: [`Finding`]s in the order of the file, each with the
//! rule that it broke, the quoted text, why it is wrong and what to do instead. Rules look at parsed commands, SQL,
//! configuration and at the document as a whole; they know programs, never names of a particular platform.
//!
//! Nothing is executed, resolved or asked of a server, and a text that is no shell or no Markdown is not an error: what
//! can be read is looked at. Whether a file exists is not known here, and the clock is the caller's.
//!
//! Read next: `reading` for how a file is taken apart, `rules` for the list, `docs/lint/` for each rule's reasons.

mod finding;
mod reading;
mod rules;
mod shell;
mod sql;
mod suppress;

use jiff::civil::Date;

use crate::document::DocumentError;

pub use finding::{Finding, Severity};
pub use rules::{Rule, all};

/// What kind of text a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A Markdown document with fenced commands.
    Markdown,
    /// A shell script.
    Shell,
    /// A crontab.
    Cron,
    /// SQL.
    Sql,
    /// Configuration: YAML, INI, `postgresql.conf`.
    Config,
}

/// Why a file was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LintError {
    /// Too large to be written by hand.
    #[error("the file has {bytes} bytes, more than 1 MiB")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not text.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Looks at one file.
///
/// **Shape**: findings are sorted by line, then column, then rule; lines and columns count from 1. Suppressed findings
/// are left out; a suppression without a reason, or that suppresses nothing, is a finding itself.
///
/// **Units**: `today` is the date against which review dates are held; without it they are not looked at.
///
/// # Errors
/// [`LintError`]: the file is too large to be written by hand, or it is not text. Nothing was looked at.
pub fn lint(name: &str, bytes: &[u8], form: Form, today: Option<Date>) -> Result<Vec<Finding>, LintError> {
    let reading = reading::Reading::of(name, bytes, form, today)?;
    let mut findings = Vec::new();
    for rule in rules::all() {
        let mut report = rules::Report::new(&reading, rule);
        (rule.check)(&reading, &mut report);
        findings.extend(report.done());
    }
    let mut findings = suppress::apply(&reading, findings);
    findings
        .sort_by(|one, other| (one.line, one.column, one.rule).cmp(&(other.line, other.column, other.rule)));
    // The same rule twice in one line says the same twice.
    let mut seen = std::collections::HashSet::new();
    findings.retain(|one| seen.insert((one.line, one.rule)));
    Ok(findings)
}
