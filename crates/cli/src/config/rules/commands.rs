//! What must hold for components of kind `command`: a dump that says what it writes, commands that carry no secret.
//!
//! Judges a [`CommandComponent`] with its place in the tree; findings leave. It never runs a command.

use muster_types::config::{CommandComponent, CommandText};

use super::Rules;
use crate::config::finding::Finding;

/// What would be a reference elsewhere.
const REFERENCES: [&str; 3] = ["${env:", "${file:", "${command:"];

impl Rules<'_> {
    pub(super) fn judge_own_commands(&self, name: &str, own: &CommandComponent, findings: &mut Vec<Finding>) {
        let at_component = self.sources.place(self.key_at(&["components", name]));
        let Some(dump) = &own.dump else {
            if !self.is_refused(&["components", name, "dump"]) {
                let hint = format!(
                    "add `dump: {{command: \"legacyctl export\", stdout: legacy.dump}}` to component `{name}`{}",
                    self.files.whither()
                );
                let finding = Finding::error(format!("component `{name}` has no `dump`"));
                findings.push(finding.at(at_component).hint(hint));
            }
            return;
        };
        let at_dump = || self.sources.place(self.key_at(&["components", name, "dump"]));
        if dump.stdout.is_some() != dump.outputs.is_empty() {
            let message = match &dump.stdout {
                Some(_) => format!("`dump` of component `{name}` has `stdout` and `outputs`"),
                None => format!("`dump` of component `{name}` does not say what it writes"),
            };
            findings.push(Finding::error(message).at(at_dump()).hint(
                "write `stdout: legacy.dump` when the dump is its standard output, or `outputs: [legacy.dump]` when it writes files into the folder where it runs",
            ));
        }
        if own.restore.is_none() {
            findings.push(
                Finding::warning(format!("component `{name}` has no `restore`"))
                    .at(at_component.clone())
                    .because("its backups come back as files only, with `--into`")
                    .hint("add `restore: {command: \"legacyctl import < $MUSTER_OUTPUT_LEGACY_DUMP\"}`"),
            );
        }
        if own.verify.is_none() {
            findings.push(
                Finding::warning(format!("component `{name}` has no `verify`"))
                    .at(at_component)
                    .because("nothing opens its dumps, so no backup of it is ever proven")
                    .hint("add `verify: {command: \"legacyctl check $MUSTER_OUTPUT_LEGACY_DUMP\"}`"),
            );
        }
        let others = [("restore", &own.restore), ("verify", &own.verify)];
        let others = others.into_iter().filter_map(|(key, one)| Some((key, &one.as_ref()?.command)));
        for (key, command) in others.chain([("dump", &dump.command)]) {
            let words: Vec<&str> = match command {
                CommandText::Shell(text) => vec![text],
                CommandText::Program(argv) => argv.iter().map(String::as_str).collect(),
            };
            let place = || self.sources.place(self.key_at(&["components", name, key]));
            if words.iter().any(|word| REFERENCES.iter().any(|one| word.contains(one))) {
                let message = format!("the command of `{key}` of component `{name}` has a reference in it");
                findings.push(
                    Finding::error(message)
                        .at(place())
                        .because("every user of the host can read the arguments of a program")
                        .hint("put it into `env: {TOKEN: \"${file:/etc/muster/legacy.token}\"}`, and write `$TOKEN` in the command"),
                );
            }
            if words.first().is_none_or(|first| first.trim().is_empty()) {
                let message = format!("the command of `{key}` of component `{name}` is empty");
                let hint = "write a text for bash, or a program and its arguments as a list";
                findings.push(Finding::error(message).at(place()).hint(hint));
            }
        }
    }
}
