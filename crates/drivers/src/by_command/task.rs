//! One command of the user's: how it is run, what it finds, and what its end means.
//!
//! In: a text for bash, or a program with its arguments; variables, and the outputs of a dump. Out: an invocation, and
//! an error that names the component and has the command's last words. It never puts a secret into an argument.

use std::{collections::BTreeMap, path::Path, time::Duration};

use muster_types::{Explain, Kind, Span, config::CommandText};

use super::outputs;
use crate::{
    DriverError,
    command::{CommandError, Ended, Exit, Invocation},
};

/// How long a command may run that does not say it: a dump of what has no kind of its own is rarely large.
const TIMEOUT: Duration = Duration::from_hours(1);
/// Lines of a failed command that are told.
const LINES: usize = 3;
/// What a shell says when it cannot run a program.
const NOT_RUN: [i32; 2] = [126, 127];

/// One command of a component.
pub(super) struct Task<'a> {
    pub(super) component: &'a str,
    /// `dump`, `restore` or `verify`.
    pub(super) verb: &'static str,
    pub(super) command: &'a CommandText,
    pub(super) timeout: Option<Span>,
    pub(super) env: &'a BTreeMap<String, String>,
}

impl Task<'_> {
    /// Prepares it: in `folder`, with the outputs `names` of a dump in the folder `dump`.
    pub(super) fn invocation<'n>(
        &self,
        folder: &Path,
        dump: &Path,
        names: impl Iterator<Item = &'n String>,
    ) -> Invocation {
        // A pipe whose first half fails must not look like a dump.
        let argv = match self.command {
            CommandText::Shell(text) => ["bash", "-euo", "pipefail", "-c", text].map(str::to_owned).to_vec(),
            CommandText::Program(argv) => argv.clone(),
        };
        let timeout = self.timeout.map_or(TIMEOUT, Span::duration);
        let mut invocation = Invocation::new(argv, timeout);
        invocation.folder = Some(folder.to_owned());
        invocation.env = self.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        invocation.env.push(("MUSTER_COMPONENT".into(), self.component.to_owned()));
        invocation.env.push(("MUSTER_OUTPUT".into(), text(dump)));
        invocation.env.extend(names.map(|name| (outputs::variable(name), text(&dump.join(name)))));
        invocation
    }

    /// Returns the command for people.
    pub(super) fn shown(&self) -> String {
        match self.command {
            CommandText::Shell(text) => text.trim().to_owned(),
            CommandText::Program(argv) => argv.join(" "),
        }
    }

    /// Says why it did not end with 0; `None` when it did.
    pub(super) fn judge(&self, ended: &Ended) -> Option<DriverError> {
        if ended.is_success() {
            return None;
        }
        let words = ended.last_lines(LINES);
        let words = if words.is_empty() { "it said nothing".to_owned() } else { words };
        let message =
            format!("the {} command of `{}` failed with {}: {words}", self.verb, self.component, ended.exit);
        Some(match ended.exit {
            Exit::Code(code) if NOT_RUN.contains(&code) => DriverError::new(Kind::NotFound, message)
                .with_hint("install the program that it names, or write its full path"),
            _ => DriverError::new(Kind::Unavailable, message).with_hint(
                "run it by hand, as the user that runs Muster, in an empty folder, with `bash -euo pipefail -c '…'`",
            ),
        })
    }

    /// Says why it could not be run to its end.
    pub(super) fn broken(&self, error: &CommandError) -> DriverError {
        let told = DriverError::of(error);
        let message = format!("the {} command of `{}`: {told}", self.verb, self.component);
        let hint = match error {
            CommandError::TimedOut { .. } => Some(format!(
                "allow more, `timeout: 3h` in `{}` of component `{}`, or run it by hand to see what it waits for",
                self.verb, self.component
            )),
            _ => told.hint().map(|hint| hint.0),
        };
        let error = DriverError::new(told.kind(), message);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// Returns the program of a command when it is plainly not there; of a text for bash, bash itself.
pub(super) fn missing_program(command: &CommandText) -> Option<String> {
    let program = match command {
        CommandText::Shell(_) => "bash",
        CommandText::Program(argv) => argv.first()?,
    };
    let is_there = if program.contains('/') {
        Path::new(program).is_file()
    } else {
        std::env::var_os("PATH")
            .is_none_or(|folders| std::env::split_paths(&folders).any(|one| one.join(program).is_file()))
    };
    (!is_there).then(|| program.to_owned())
}
