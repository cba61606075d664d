//! Settings of PostgreSQL wherever they stand: configuration, SQL, comments, here-documents.
//!
//! In: all lines of a file. Out: findings on `archive_command`, `restore_command` and files that no longer exist. The
//! value of a command is parsed as the shell text that it is.

use super::{Report, Rule};
use crate::lint::{
    finding::Severity,
    reading::{BlockKind, Reading},
    shell::{self, Origin, RedirectKind},
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "archive-command-overwrites",
        severity: Severity::LosesData,
        message: "the command overwrites a segment that is in the archive already, and says that all went well",
        instead: "`test ! -f /archive/%f && cp %p /archive/%f`, with an fsync and on another host, or a WAL tool; `archive_timeout = 60`",
        check: overwrites,
    },
    Rule {
        id: "archive-command-hides-failure",
        severity: Severity::LosesData,
        message: "the command succeeds whatever happens: the server recycles segments that are nowhere else, or ends recovery too early",
        instead: "let its exit status be that of the copy: no `|| true`, no `; exit 0`",
        check: hides_failure,
    },
    Rule {
        id: "recovery-conf",
        severity: Severity::Fails,
        message: "since PostgreSQL 12 the server refuses to start when there is a `recovery.conf`",
        instead: "put the settings into `postgresql.auto.conf` and create an empty `recovery.signal` (or `standby.signal`)",
        check: recovery_conf,
    },
    Rule {
        id: "pg-resetwal",
        severity: Severity::LosesData,
        message: "this makes a server start by throwing away what it needs to be consistent; what it shows then may be wrong",
        instead: "restore a backup; on a copy of the data directory only, to dump what can be read",
        check: resetwal,
    },
];

/// A setting whose value is a command.
struct Command {
    line: usize,
    column: usize,
    script: shell::Script,
    is_archive: bool,
}

/// Finds the values of `archive_command` and `restore_command`, in comments too: they are copied from there.
fn commands(reading: &Reading) -> Vec<Command> {
    let mut found = Vec::new();
    for (number, line) in reading.lines.iter().enumerate() {
        for name in ["archive_command", "restore_command"] {
            let Some(at) = line.find(name) else { continue };
            let rest = line.get(at + name.len()..).unwrap_or_default().trim_start();
            let rest = rest
                .strip_prefix('=')
                .or_else(|| rest.strip_prefix("TO "))
                .or_else(|| rest.strip_prefix("to "))
                .or_else(|| rest.strip_prefix(':'));
            let Some(value) = rest.and_then(quoted) else { continue };
            // The placeholders of the server are words of the shell.
            let script = shell::read(&value, Origin { line: number + 1, indent: 0 });
            let column = line.get(..at).map_or(1, |before| before.chars().count() + 1);
            found.push(Command { line: number + 1, column, script, is_archive: name == "archive_command" });
        }
    }
    found
}

/// The text between the quotes; two quotes are one.
fn quoted(text: &str) -> Option<String> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|one| matches!(one, '\'' | '"'))?;
    let inner = text.get(1..)?;
    let inner = inner.replace(&format!("{quote}{quote}"), "\u{1}");
    inner.split(quote).next().map(|value| value.replace('\u{1}', &quote.to_string()))
}

fn overwrites(reading: &Reading, report: &mut Report) {
    for command in commands(reading).iter().filter(|one| one.is_archive) {
        let calls = &command.script.calls;
        let writes = calls.iter().find(|call| {
            let copies = matches!(call.program(), "cp" | "mv" | "scp" | "rsync" | "install" | "ln");
            let refuses = call.has(&["--ignore-existing", "--update=none-fail"]);
            let into = call
                .redirects
                .iter()
                .any(|one| one.kind == RedirectKind::Truncate && one.target.text.contains("%f"));
            (copies
                && !refuses
                && call
                    .arguments()
                    .last()
                    .is_some_and(|word| word.text.contains("%f") || word.text.ends_with('/')))
                || into
        });
        let tests = calls.iter().any(|call| {
            matches!(call.program(), "test" | "[")
                && call.arguments().iter().any(|word| matches!(word.text.as_str(), "-f" | "-e" | "-s"))
        });
        if writes.is_some() && !tests {
            report.at(command.line, command.column);
        }
    }
}

fn hides_failure(reading: &Reading, report: &mut Report) {
    for command in commands(reading) {
        let calls = &command.script.calls;
        let excused = calls.iter().any(|call| call.context.is_excused);
        let last = calls.last().is_some_and(|call| {
            calls.len() > 1
                && (matches!(call.program(), "true" | ":" | "echo")
                    || (call.program() == "exit" && call.has_word("0")))
                && call.joint == shell::Joint::First
        });
        if excused || last {
            report.at(command.line, command.column);
        }
    }
}

fn recovery_conf(reading: &Reading, report: &mut Report) {
    let is_it = |text: &str| text.rsplit('/').next() == Some("recovery.conf");
    for (_, call) in reading.calls() {
        let written = call.redirects.iter().find(|one| {
            matches!(one.kind, RedirectKind::Truncate | RedirectKind::Append) && is_it(&one.target.text)
        });
        let makes =
            matches!(call.program(), "cp" | "mv" | "touch" | "tee" | "vi" | "vim" | "nano" | "install")
                && call.arguments().iter().any(|word| is_it(&word.text));
        if written.is_some() || makes {
            report.call(call);
        }
    }
    for block in reading.blocks.iter().filter(|block| block.kind == BlockKind::Config) {
        let first = block.text.lines().next().unwrap_or_default();
        if first.trim_start().starts_with('#')
            && first.trim_start_matches(['#', ' ']).split_whitespace().next().is_some_and(is_it)
        {
            report.line(block.line);
        }
    }
}

fn resetwal(reading: &Reading, report: &mut Report) {
    for (_, call) in reading.calls() {
        let resets = matches!(call.program(), "pg_resetwal" | "pg_resetxlog")
            && !call.has(&["-n", "--dry-run", "--help", "--version"]);
        let removes = matches!(call.program(), "rm" | "mv")
            && !call.arguments().is_empty()
            && call.arguments().iter().any(|word| word.text.rsplit('/').next() == Some("backup_label"));
        if resets || removes {
            report.call(call);
        }
    }
}
