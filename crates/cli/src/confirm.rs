//! Consent: `--yes`, or the typed name of what will be replaced.
//!
//! Without a terminal there is nobody to ask, so nothing is changed.

use std::io::{self, BufRead, IsTerminal, Write};

use muster_types::Kind;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{exit::Failure, signals};

/// Asks for the typed `word` unless `yes` was said.
///
/// # Errors
/// `Input` when there is no terminal to ask on; `Interrupted` when the answer is another one.
pub(crate) fn confirm(yes: bool, question: &str, word: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Kind::Input,
            format!("{question}: nobody is there to confirm"),
            "look at the plan with `--dry-run`, then say `--yes`",
        ));
    }
    let ask = || -> io::Result<String> {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{question}\ntype `{word}` to go on: ")?;
        stderr.flush()?;
        // A signal does not end a read, so wait for input and look at it in between.
        while !is_readable()? {
            if signals::is_cancelled() {
                return Ok(String::new());
            }
        }
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        Ok(line)
    };
    match ask() {
        Ok(line) if line.trim() == word => Ok(()),
        Ok(_) => Err(Failure::new(Kind::Interrupted, "not confirmed", "nothing was changed")),
        Err(error) => Err(Failure::new(
            Kind::Unavailable,
            format!("cannot ask: {error}"),
            "say `--yes` to go on without a question",
        )),
    }
}

/// Whether a line can be read; waits a tenth of a second.
pub(crate) fn is_readable() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
    let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    match poll(&mut waiting, Some(&moment)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
