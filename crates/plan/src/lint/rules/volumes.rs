//! What throws data away: volumes, claims, folders.
//!
//! In: commands. Out: findings where the only copy is removed before another one was made or proven.

use super::{
    Report, Rule,
    containers::{compose, docker},
    is_after, is_scratch, mentions,
};
use crate::lint::{
    finding::Severity,
    reading::{Reading, Shell},
    shell::Call,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "volume-removed-before-backup-proven",
        severity: Severity::LosesData,
        message: "the only copy of the data, perhaps repairable, goes before it is known that a backup can be restored",
        instead: "keep or rename the volume, restore beside it, verify, then swap; remove the old one days later",
        check: removed,
    },
    Rule {
        id: "volume-in-use",
        severity: Severity::Fails,
        message: "a stopped container still holds its volume: `volume is in use`, and the next start takes the old data again",
        instead: "remove the container first: `docker compose rm -sf SERVICE`",
        check: in_use,
    },
    Rule {
        id: "rm-of-unset-variable",
        severity: Severity::LosesData,
        message: "nothing here sets the variable: where it is empty, this removes from the root of the file system",
        instead: "`rm -rf -- \"${NAME:?}/…\"`, and set it in the same script",
        check: unset,
    },
];

/// How a document says that the data of a scenario may be lost.
const DISPOSABLE: [&str; 6] = [
    "data loss is acceptable",
    "cache-only",
    "cache only",
    "is ephemeral",
    "is disposable",
    "can be rebuilt",
];

/// Names of volumes and claims that a command removes; an empty one means "all".
fn removes(call: &Call) -> Option<Vec<String>> {
    if let Some((verb, names)) = docker(call) {
        return match verb.as_str() {
            // `… | xargs docker volume rm` names none: it is all that the list holds.
            "volume rm" if names.is_empty() => Some(vec![String::new()]),
            "volume rm" => Some(names),
            "volume prune" if call.has(&["-a", "--all"]) => Some(vec![String::new()]),
            "system prune" if call.has(&["--volumes"]) => Some(vec![String::new()]),
            "compose" => project(call),
            _ => None,
        };
    }
    if let Some(names) = project(call) {
        return Some(names);
    }
    if call.program() == "kubectl" && call.has_word("delete") {
        let plain: Vec<&str> = call
            .plain(&["-n", "--namespace", "-l", "--selector"])
            .iter()
            .map(|word| word.text.as_str())
            .collect();
        let kind = plain.get(1).copied().unwrap_or_default();
        let (kind, name) = kind.split_once('/').unwrap_or((kind, plain.get(2).copied().unwrap_or_default()));
        return ["pvc", "pv", "persistentvolumeclaim", "persistentvolumeclaims", "persistentvolume"]
            .contains(&kind)
            .then(|| vec![name.to_owned()]);
    }
    if call.program() == "zfs" && call.has_word("destroy") {
        return Some(
            call.plain(&[])
                .iter()
                .skip(1)
                .map(|word| word.text.clone())
                .filter(|name| !name.contains('@'))
                .collect(),
        )
        .filter(|names: &Vec<String>| !names.is_empty());
    }
    let is_find = call.program() == "find" && call.has_word("-delete") && !call.has(&["-mtime", "-mmin"]);
    if is_find || (call.program() == "rm" && call.has(&["-r", "-R", "--recursive"])) {
        let stores = [
            "/var/lib/postgresql",
            "/var/lib/mysql",
            "/var/lib/redis",
            "/var/lib/mongodb",
            "/var/lib/etcd",
            "/var/lib/pgsql",
            "PGDATA",
        ];
        let names: Vec<String> = call
            .plain(&[])
            .iter()
            .map(|word| word.text.clone())
            .filter(|text| !(is_find && text.contains('*')))
            .filter(|text| stores.iter().any(|store| text.contains(store)))
            .collect();
        return (!names.is_empty()).then_some(names);
    }
    None
}

/// The projects or files of Compose that lose their volumes by `down -v`; an empty name where none is given.
fn project(call: &Call) -> Option<Vec<String>> {
    if compose(call).is_none_or(|(verb, _)| verb != "down") || !call.has(&["-v", "--volumes"]) {
        return None;
    }
    let named = call.options(&["-p", "--project-name", "-f", "--file"]);
    let scratch: Vec<String> =
        named.iter().filter(|name| is_scratch(name)).map(|name| (*name).to_owned()).collect();
    Some(if scratch.is_empty() { vec![String::new()] } else { scratch })
}

fn removed(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls() {
        let Some(names) = removes(call) else { continue };
        let is_new = names.iter().all(|name| {
            !name.is_empty()
                && (is_scratch(name) || mentions(name, &["cache"]) || is_created(shell, call, name))
        });
        let text = reading.text_of(reading.scope(shell.section));
        let may_go = DISPOSABLE.iter().any(|word| text.contains(word)) && reading.scope(shell.section) > 0;
        let saved = reading
            .calls_in(reading.scope(shell.section))
            .any(|(_, other)| is_after(call, other) && saves(other));
        if !is_new && !saved && !may_go {
            report.call(call);
        }
    }
}

fn is_created(shell: &Shell, call: &Call, name: &str) -> bool {
    shell.script.calls.iter().any(|other| {
        is_after(call, other)
            && docker(other)
                .is_some_and(|(verb, names)| verb == "volume create" && names.iter().any(|one| one == name))
    })
}

/// Whether a command makes a copy of data as it is.
fn saves(call: &Call) -> bool {
    let makes_archive = call.program() == "tar"
        && call.arguments().first().is_some_and(|word| word.text.trim_start_matches('-').starts_with('c'));
    makes_archive
        || matches!(
            call.program(),
            "pg_basebackup" | "muster" | "restic" | "borg" | "rsync" | "zfs" | "lvcreate"
        )
        || (call.program() == "cp" && call.has(&["-a", "-r", "-R", "--archive"]))
        || call.program() == "mv"
        || (matches!(call.program(), "docker" | "podman") && call.has_word("run") && copies_inside(call))
        || call.says("create-snapshot")
        || (call.program() == "kubectl" && call.says("volumesnapshot"))
}

/// Whether a container is started only to copy: `docker run … tar -cz …`, also in `sh -c`.
fn copies_inside(call: &Call) -> bool {
    let line = call.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    ["tar c", "tar -c", "tar zc", "tar -zc", "cp -a", "cp -r", "rsync "]
        .iter()
        .any(|copy| line.contains(copy))
}

fn in_use(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        for call in &shell.script.calls {
            let Some((verb, names)) = docker(call) else { continue };
            if verb != "volume rm" {
                continue;
            }
            let before = |test: &dyn Fn(&Call) -> bool| {
                shell.script.calls.iter().any(|other| is_after(call, other) && test(other))
            };
            let stopped = before(&|other| {
                compose(other).is_some_and(|(verb, _)| verb == "stop")
                    || docker(other)
                        .is_some_and(|(verb, _)| matches!(verb.as_str(), "stop" | "kill" | "container stop"))
            });
            let gone = before(&|other| {
                compose(other).is_some_and(|(verb, _)| matches!(verb.as_str(), "rm" | "down"))
                    || docker(other).is_some_and(|(verb, _)| matches!(verb.as_str(), "rm" | "container rm"))
            });
            let is_new = names.iter().all(|name| is_created(shell, call, name));
            if stopped && !gone && !is_new {
                report.call(call);
            }
        }
    }
}

fn unset(reading: &Reading, report: &mut Report) {
    for (shell, call) in
        reading.calls().filter(|(_, call)| call.program() == "rm" && call.has(&["-r", "-R", "--recursive"]))
    {
        for word in call.plain(&[]) {
            let Some(rest) = word.text.strip_prefix('$') else { continue };
            let name: String = rest
                .trim_start_matches('{')
                .chars()
                .take_while(|one| one.is_ascii_alphanumeric() || *one == '_')
                .collect();
            let tail = rest.trim_start_matches('{').get(name.len()..).unwrap_or_default();
            let is_plain = !name.is_empty() && (tail.starts_with('/') || tail.starts_with("}/"));
            let is_set = shell.script.assignments.iter().any(|one| one.name == name);
            let stops = shell
                .script
                .calls
                .iter()
                .any(|one| one.program() == "set" && (one.has(&["-u"]) || one.has_word("nounset")));
            let is_known = matches!(name.as_str(), "HOME" | "PWD" | "TMPDIR" | "OLDPWD");
            if is_plain && !is_set && !stops && !is_known {
                report.call(call);
                break;
            }
        }
    }
}
