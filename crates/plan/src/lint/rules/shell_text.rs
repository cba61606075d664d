//! Text that stands where commands are expected.
//!
//! In: what the shell parser could not read. Out: one finding per piece of text.

use super::{Report, Rule};
use crate::lint::{finding::Severity, reading::Reading};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "not-shell",
    severity: Severity::Weak,
    message: "this is no shell: whoever pastes the block gets a syntax error here; the other rules did not look at this line",
    instead: "put output, settings and prose into blocks of their own, and quote what the shell must not read",
    check: unparsed,
}];

fn unparsed(reading: &Reading, report: &mut Report) {
    if let Some(line) = reading.unread {
        "there are more than 96 KiB of commands in this file: from here on they were not looked at"
            .clone_into(&mut report.line(line).message);
    }
    for shell in &reading.shells {
        if let Some(line) = shell.script.unparsed.first() {
            report.line(*line);
        }
    }
}
