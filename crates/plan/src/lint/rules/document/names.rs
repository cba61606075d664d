//! Names of files, scripts, objects and variables: whether what a step needs is made anywhere in the document.
//!
//! In: commands, and prose that states names. Out: findings where a name is used that nothing makes. A name is compared by
//! its shape: `app_${NOW}.dump` with `NOW=$(date +%Y%m%d)` makes `app_` eight digits `.dump`.

use crate::lint::{
    finding::Severity,
    reading::{BlockKind, Place, Reading, Shell},
    rules::{Report, Rule, is_after, mentions},
    shell::{Call, RedirectKind},
};

pub(in crate::lint::rules) const RULES: &[Rule] = &[
    Rule {
        id: "name-never-produced",
        severity: Severity::Fails,
        message: "no backup job of this document makes a file of this name",
        instead: "take the name from what is there: a catalogue, or the job's own pattern",
        check: name,
    },
    Rule {
        id: "bucket-prefix-mismatch",
        severity: Severity::Fails,
        message: "the objects lie deeper than this looks: the list holds folders (`PRE …`) and no names of objects",
        instead: "give the whole prefix, or take the name from a catalogue",
        check: prefix,
    },
    Rule {
        id: "variable-from-another-shell",
        severity: Severity::Fails,
        message: "the variable is set in another scenario only: in this shell it is empty",
        instead: "set it in this step, with `${NAME:?}` where it is used",
        check: other_shell,
    },
    Rule {
        id: "variable-never-set",
        severity: Severity::Weak,
        message: "this document neither sets nor explains the variable",
        instead: "say where it comes from, and use `${NAME:?}` so that an empty one stops the command",
        check: never_set,
    },
    Rule {
        id: "undefined-script",
        severity: Severity::FalseConfidence,
        message: "what this script does, and whether it exists on the day it is needed, is not told here",
        instead: "put its commands or a link to its source into this document, and run it in a drill",
        check: script,
    },
];

/// The shape of a name: digits are `0`, what varies is `*`.
fn shape(name: &str) -> String {
    let mut text = name.to_owned();
    for (from, to) in [
        ("YYYYMMDD", "00000000"),
        ("HHMMSS", "000000"),
        ("YYYY", "0000"),
        ("%Y", "0000"),
        ("%m", "00"),
        ("%d", "00"),
        ("%H", "00"),
        ("%M", "00"),
        ("%S", "00"),
        ("%F", "0000-00-00"),
        ("%s", "*"),
    ] {
        text = text.replace(from, to);
    }
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '$' | '<' | '[' | '{' => {
                let close = match (letter, letters.peek()) {
                    ('$', Some('(')) => Some(')'),
                    ('<', _) => Some('>'),
                    ('[', _) => Some(']'),
                    ('$', Some('{')) | ('{', _) => Some('}'),
                    _ => None,
                };
                if let Some(close) = close {
                    let inner: String = letters.by_ref().take_while(|one| *one != close).collect();
                    // `$(date +FORMAT)` is what the format makes.
                    match inner.split_once('+').filter(|(before, _)| before.contains("date")) {
                        Some((_, format)) => out.push_str(
                            &format
                                .trim_matches(['\'', '"'])
                                .chars()
                                .map(|one| if one.is_ascii_digit() { '0' } else { one })
                                .collect::<String>(),
                        ),
                        None => out.push('*'),
                    }
                } else {
                    while letters.next_if(|one| one.is_ascii_alphanumeric() || *one == '_').is_some() {}
                    out.push('*');
                }
            }
            one if one.is_ascii_digit() => out.push('0'),
            one => out.push(one),
        }
    }
    while out.contains("**") {
        out = out.replace("**", "*");
    }
    out
}

/// Splits a shape into what stands before and behind what varies.
fn ends(shape: &str) -> Option<(&str, &str, &str)> {
    let from = shape.find(['0', '*'])?;
    let to = shape.rfind(['0', '*'])? + 1;
    Some((shape.get(..from)?, shape.get(from..to)?, shape.get(to..)?))
}

/// Whether a middle part fits a pattern with stars.
fn fits(pattern: &str, text: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let [first, rest @ ..] = parts.as_slice() else { return pattern == text };
    let Some(mut tail) = text.strip_prefix(first) else { return false };
    for (number, part) in rest.iter().enumerate() {
        let is_last = number + 1 == rest.len();
        match (is_last, tail.find(part)) {
            (true, _) => return tail.ends_with(part),
            (false, Some(at)) => tail = tail.get(at + part.len()..).unwrap_or_default(),
            (false, None) => return false,
        }
    }
    tail.is_empty()
}

const ENDINGS: [&str; 14] = [
    ".dump", ".sql", ".sql.gz", ".gz", ".rdb", ".tar", ".tgz", ".zst", ".snap", ".db", ".bak", ".age",
    ".gpg", ".xz",
];

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_backup_name(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The shapes of the files that the document makes or describes.
fn produced(reading: &Reading) -> Vec<String> {
    let mut shapes = Vec::new();
    for (shell, call) in reading.calls() {
        let targets =
            call.redirects.iter().filter(|one| one.kind == RedirectKind::Truncate).map(|one| &one.target);
        let files = match call.program() {
            "pg_dump" | "pg_dumpall" | "tar" | "mysqldump" | "cp" | "mv" | "aws" | "gsutil" | "redis-cli"
            | "ln" | "etcdctl" | "vault" => call.arguments(),
            _ => &[],
        };
        for word in targets.chain(files.iter().filter(|word| word.is_dynamic)) {
            let name = shell.resolved(&word.text);
            let name = base(name.trim_end_matches(['"', '\'']));
            if is_backup_name(name) && name.contains('$') || shape_varies(name) && word.is_dynamic {
                shapes.push(shape(name));
            }
        }
        let links = call.program() == "ln" || call.program() == "cp";
        if let Some(last) = call.arguments().last().filter(|word| links && word.text.contains("latest")) {
            shapes.push(shape(base(&shell.resolved(&last.text))));
        }
    }
    let told = reading.prose.iter().map(|one| one.text.as_str());
    let blocks = reading
        .blocks
        .iter()
        .filter(|block| block.kind == BlockKind::Text)
        .flat_map(|block| block.text.lines());
    for word in told.chain(blocks).flat_map(|line| line.split([' ', '`', ',', '"'])) {
        let name = base(word.trim_end_matches(['.', ':', ')']));
        if is_backup_name(name) && (name.contains("YYYY") || name.contains('<')) {
            shapes.push(shape(name));
        }
    }
    shapes.sort();
    shapes.dedup();
    shapes
}

fn shape_varies(name: &str) -> bool {
    is_backup_name(name) && (name.contains("%Y") || name.contains('$'))
}

fn name(reading: &Reading, report: &mut Report) {
    let shapes = produced(reading);
    if shapes.is_empty() {
        return;
    }
    for (_, call) in reading.calls() {
        let takes = matches!(
            call.program(),
            "pg_restore"
                | "psql"
                | "zcat"
                | "gunzip"
                | "gzip"
                | "cat"
                | "cp"
                | "aws"
                | "gsutil"
                | "tar"
                | "du"
                | "ls"
                | "sha256sum"
                | "md5sum"
                | "mv"
                | "zstd"
        ) || call.program().contains("restore")
            || call.arguments().iter().any(|word| word.text == "restore" || word.text == "verify");
        if !takes {
            continue;
        }
        // What it makes itself is no name that must exist.
        let writes = matches!(call.program(), "cp" | "mv" | "aws" | "gsutil" | "tar");
        let count = call.arguments().len();
        let used = call.arguments().iter().enumerate().find(|(at, word)| {
            let name = base(&word.text);
            let is_source = !writes || at + 1 < count;
            is_source
                && !word.is_dynamic
                && !word.is_glob
                && is_backup_name(name)
                && is_unknown(name, &shapes)
        });
        if let Some((_, word)) = used {
            report.word(word);
        }
    }
}

/// Whether a job makes names that begin and end like this one, and none makes this one.
fn is_unknown(name: &str, shapes: &[String]) -> bool {
    let own = shape(name);
    let alike: Vec<&String> = shapes
        .iter()
        .filter(|shape| {
            ends(shape).is_some_and(|(before, _, behind)| {
                before.len() > 2
                    && own.starts_with(before)
                    && own.ends_with(behind)
                    && own.len() > before.len() + behind.len()
            })
        })
        .collect();
    !alike.is_empty() && !alike.iter().any(|shape| **shape == own || fits(shape, &own))
}

/// The bucket and the path of an address of object storage.
fn address(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("s3://").or_else(|| text.strip_prefix("gs://"))?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

/// The folders in which the document says that objects lie: uploads, and prose.
fn places(reading: &Reading) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let told = reading.prose.iter().map(|one| one.text.as_str());
    let blocks = reading
        .blocks
        .iter()
        .filter(|block| block.kind == BlockKind::Text)
        .flat_map(|block| block.text.lines());
    for word in told.chain(blocks).flat_map(|line| line.split([' ', '`', ',', '"', '(', ')'])) {
        if let Some((bucket, path)) = address(word.trim_end_matches('.')) {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            found.push((bucket.to_owned(), folder.to_owned()));
        }
    }
    for (shell, call) in reading.calls().filter(|(_, call)| matches!(call.program(), "aws" | "gsutil")) {
        let words: Vec<String> = call.arguments().iter().map(|word| shell.resolved(&word.text)).collect();
        let last = words.iter().rev().find(|word| !word.starts_with('-'));
        let is_upload = ["cp", "mv", "sync", "rsync"].iter().any(|verb| call.has_word(verb))
            && words.iter().filter(|word| address(word).is_some()).count() == 1;
        if let Some((bucket, path)) = last.filter(|_| is_upload).and_then(|word| address(word)) {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            found.push((bucket.to_owned(), folder.to_owned()));
        }
    }
    found
}

fn prefix(reading: &Reading, report: &mut Report) {
    let places = places(reading);
    for (_, call) in reading
        .calls()
        .filter(|(_, call)| call.program() == "aws" && call.has_word("s3") && call.has_word("ls"))
    {
        let Some((bucket, path)) = call.arguments().iter().find_map(|word| address(&word.text)) else {
            continue;
        };
        let folder = path.trim_end_matches('/');
        let here: Vec<&str> =
            places.iter().filter(|(one, _)| one == bucket).map(|(_, folder)| folder.as_str()).collect();
        let is_deeper = here.iter().any(|one| one.len() > folder.len() && one.starts_with(folder));
        let is_used = call.context.is_substituted || call.is_piped();
        if is_used && is_deeper && !here.contains(&folder) && !call.has(&["--recursive"]) {
            report.call(call);
        }
    }
}

/// Variables that every shell has, and those that tools read by themselves.
const USUAL: [&str; 24] = [
    "HOME",
    "PATH",
    "USER",
    "PWD",
    "SHELL",
    "HOSTNAME",
    "LANG",
    "TMPDIR",
    "RANDOM",
    "SECONDS",
    "UID",
    "EUID",
    "IFS",
    "LOGNAME",
    "OLDPWD",
    "PIPESTATUS",
    "BASH_SOURCE",
    "LINENO",
    "PPID",
    "EDITOR",
    "TERM",
    "OPTARG",
    "OPTIND",
    "REPLY",
];

fn sets(shell: &Shell, name: &str) -> bool {
    shell.script.assignments.iter().any(|one| one.name == name)
}

/// Uses of variables that their own shell does not set.
fn unset<'r>(reading: &'r Reading) -> impl Iterator<Item = (&'r Shell, &'r crate::lint::shell::Use)> {
    reading.shells.iter().flat_map(|shell| {
        shell
            .script
            .uses
            .iter()
            .filter(|one| {
                let is_constant = one.name.len() > 1
                    && one.name.chars().all(|letter| {
                        letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'
                    });
                is_constant
                    && !one.is_guarded
                    && !USUAL.contains(&one.name.as_str())
                    && !sets(shell, &one.name)
            })
            .map(move |one| (shell, one))
    })
}

fn other_shell(reading: &Reading, report: &mut Report) {
    for (shell, one) in unset(reading) {
        let scope = reading.scope(shell.section);
        let setting: Vec<&Shell> = reading.shells.iter().filter(|other| sets(other, &one.name)).collect();
        let near = setting.iter().any(|other| reading.is_in(other.section, scope));
        // What stands before the first scenario is for all of them.
        let general = setting.iter().any(|other| {
            other.line < shell.line
                && !reading.scenarios.iter().any(|scenario| reading.is_in(other.section, *scenario))
                && reading.scenarios.iter().any(|scenario| reading.is_in(shell.section, *scenario))
        });
        if !setting.is_empty() && !near && !general {
            report.at(one.line, 1);
        }
    }
}

fn never_set(reading: &Reading, report: &mut Report) {
    if reading.shells.iter().all(|shell| shell.place == Place::File) {
        return;
    }
    let mut told: Vec<&str> = Vec::new();
    for (_, one) in unset(reading) {
        if told.contains(&one.name.as_str()) || reading.shells.iter().any(|shell| sets(shell, &one.name)) {
            continue;
        }
        told.push(&one.name);
        let explained = reading.prose.iter().any(|line| line.text.contains(&one.name))
            || reading.tables.iter().any(|table| {
                table.rows.iter().any(|row| row.cells.iter().any(|cell| cell.contains(&one.name)))
            });
        let is_secret = mentions(&one.name, &["token", "password", "secret", "key"]);
        if !explained && !is_secret {
            report.at(one.line, one.column);
        }
    }
}

fn script(reading: &Reading, report: &mut Report) {
    let mut told: Vec<String> = Vec::new();
    for (shell, call) in reading.calls() {
        let Some(path) = call.words.first().map(|word| word.text.as_str()) else { continue };
        // A program that was built here is no script that somebody has to have written.
        let ending = base(path).rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_kind = matches!(ending, "sh" | "bash" | "py" | "pl" | "rb" | "js" | "mjs" | "ts")
            || path.contains("script");
        let is_script = is_kind
            && (path.starts_with("./") || path.starts_with("../"))
            && !call.words.first().is_some_and(|word| word.is_dynamic);
        let name = base(path);
        if !is_script
            || shell.place == Place::File
            || told.iter().any(|one| one == name)
            || call.container().is_some()
        {
            continue;
        }
        told.push(name.to_owned());
        let shown = reading.shells.iter().any(|other| {
            other.script.calls.len() > 1
                && other
                    .comments
                    .iter()
                    .take(4)
                    .any(|(_, text)| text.split([' ', '`']).any(|word| base(word) == name))
                && other.script.calls.iter().all(|one| one.program() != name)
        });
        let made = reading.calls().any(|(_, other)| {
            is_after(call, other)
                && (other
                    .redirects
                    .iter()
                    .any(|one| one.kind == RedirectKind::Truncate && base(&one.target.text) == name)
                    || fetches(other, name))
        });
        let linked = reading.lines.iter().any(|line| line.contains("](") && line.contains(name));
        if !shown && !made && !linked {
            report.call(call);
        }
    }
}

fn fetches(call: &Call, name: &str) -> bool {
    matches!(call.program(), "curl" | "wget" | "scp" | "aws" | "install" | "cp")
        && call.arguments().iter().any(|word| base(&word.text) == name)
}
