//! The order of steps in one scenario, and drills against what they touch.
//!
//! In: the commands of a scenario in the order of the document. Out: findings where a later step needed to come first.

use crate::{
    document,
    lint::{
        finding::Severity,
        reading::{Reading, Shell},
        rules::{
            Report, Rule,
            containers::{compose, docker},
            has_token, is_after, is_scratch, mentions,
        },
        shell::{Call, RedirectKind},
    },
    runbook,
};

pub(in crate::lint::rules) const RULES: &[Rule] = &[
    Rule {
        id: "evidence-after-rollout",
        severity: Severity::LosesData,
        message: "this ends the containers that were attacked, and their logs and memory with them, before anything was exported",
        instead: "export and hash logs, sessions and volume snapshots first",
        check: evidence,
    },
    Rule {
        id: "apply-before-secrets",
        severity: Severity::LosesData,
        message: "the application starts before its secrets and its data are back: it fails, or fills an empty database that the restore then collides with",
        instead: "stores, then secrets, then the application with 0 replicas, then the restore, then scale up",
        check: apply,
    },
    Rule {
        id: "drill-hits-production",
        severity: Severity::LosesData,
        message: "a drill that does not name its target may run against production",
        instead: "make the target mandatory, and refuse production by name",
        check: drill,
    },
    Rule {
        id: "restore-into-existing-database",
        severity: Severity::LosesData,
        message: "the database still holds the old tables: objects exist, keys collide, old rows stay among the restored ones",
        instead: "restore into a new database from `template0`, verify, then swap the names",
        check: existing,
    },
];

fn evidence(reading: &Reading, report: &mut Report) {
    const WORDS: [&str; 8] =
        ["security", "breach", "compromis", "ransom", "intrusion", "unauthor", "malicious", "attack"];
    own_steps(reading, report, &WORDS);
    for scope in &reading.scenarios {
        let title = reading.sections.get(*scope).map(|one| one.title.clone()).unwrap_or_default();
        let symptoms =
            reading.prose_in(*scope).iter().filter(|one| one.section == *scope && one.is_item).any(|one| {
                mentions(&one.text, &["breach", "intrusion", "malicious", "compromised cred", "ransom"])
            });
        if !mentions(&title, &WORDS) && !symptoms {
            continue;
        }
        let ends = reading.calls_in(*scope).find(|(_, call)| ends_containers(call));
        let Some((_, ends)) = ends else { continue };
        let exported = reading.calls_in(*scope).any(|(_, call)| is_after(ends, call) && exports(call));
        if !exported {
            report.call(ends);
        }
    }
}

/// Steps of Muster's own in a runbook that says, or whose title says, that it is about an attack.
fn own_steps(reading: &Reading, report: &mut Report, words: &[&str]) {
    let Ok(document) = document::read(reading.lines.join("\n").as_bytes()) else { return };
    let front = document.front_matter.as_ref().map_or("", |front| front.content.as_str());
    let says_so = front.lines().any(|line| {
        line.split_once(':').is_some_and(|(key, value)| match key {
            "incident" => value.trim() == "security",
            "security" => value.trim() == "true",
            _ => false,
        })
    });
    let is_attack = says_so || document.title().is_some_and(|title| mentions(title, words));
    if is_attack && runbook::is_runbook(&document) {
        for line in runbook::ends_before_evidence(&document) {
            report.line(line);
        }
    }
}

/// Whether a command replaces or removes running containers.
fn ends_containers(call: &Call) -> bool {
    let words: Vec<&str> = call.plain(&["-n", "--namespace"]).iter().map(|word| word.text.as_str()).collect();
    match call.program() {
        "kubectl" | "oc" => match words.as_slice() {
            ["patch" | "edit", kind, ..] => mentions(kind, &["deploy", "statefulset", "daemonset", "sts"]),
            ["set", "env" | "image" | "resources", ..]
            | ["rollout", "restart" | "undo", ..]
            | ["scale", ..] => true,
            ["delete", kind, ..] => mentions(kind, &["pod", "deploy", "statefulset", "namespace"]),
            _ => false,
        },
        "docker" | "podman" | "docker-compose" => {
            compose(call).is_some_and(|(verb, _)| matches!(verb.as_str(), "down" | "restart" | "rm"))
                || docker(call).is_some_and(|(verb, _)| matches!(verb.as_str(), "rm" | "restart" | "kill"))
        }
        _ => false,
    }
}

fn exports(call: &Call) -> bool {
    let to_file =
        call.redirects.iter().any(|one| matches!(one.kind, RedirectKind::Truncate | RedirectKind::Append));
    let logs = call.has_word("logs") || call.program() == "journalctl";
    (logs && (to_file || call.is_piped()))
        || docker(call)
            .is_some_and(|(verb, _)| matches!(verb.as_str(), "export" | "commit" | "cp" | "checkpoint"))
        || call.says("create-snapshot")
        || matches!(call.program(), "tar" | "dd" | "muster")
}

/// Whether a command puts data back.
fn restores(shell: &Shell, call: &Call) -> bool {
    let name = call.program();
    name == "pg_restore"
        || name.contains("restore")
        || call.has_word("restore")
        || (name == "psql"
            && (call.has(&["-f"])
                || shell.script.writers(call).next().is_some()
                || call.redirects.iter().any(|one| one.kind == RedirectKind::Read)))
}

fn apply(reading: &Reading, report: &mut Report) {
    for scope in &reading.scenarios {
        for (_, call) in reading.calls_in(*scope) {
            let deploys = match call.program() {
                "kubectl" | "oc" => {
                    call.has_word("apply")
                        && call.has(&["-k", "-f", "--kustomize", "--filename"])
                        && !call.has_word("-")
                }
                "helm" => call.has_word("install") || call.has_word("upgrade"),
                _ => false,
            };
            if !deploys
                || call.words.iter().any(|word| {
                    mentions(
                        &word.text,
                        &["secret", "store", "postgres", "database", "namespace", "crd", "redis"],
                    )
                })
            {
                continue;
            }
            let later = reading.calls_in(*scope).any(|(shell, other)| {
                let secrets = matches!(other.program(), "kubectl" | "oc")
                    && other.has_word("create")
                    && other.has_word("secret");
                is_after(other, call) && (secrets || restores(shell, other))
            });
            if later {
                report.call(call);
            }
        }
    }
}

fn is_drill(reading: &Reading, section: usize) -> bool {
    let titles = reading
        .chain(section)
        .filter(|one| one.level > 1)
        .map(|one| one.title.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    mentions(
        &titles,
        &["drill", "dr test", "testing", "game day", "simulation", "exercise", "\ntest ", "rehears"],
    ) || titles.to_ascii_lowercase().starts_with("test ")
}

fn drill(reading: &Reading, report: &mut Report) {
    let drills: Vec<(&Shell, &Call)> =
        reading.calls().filter(|(shell, _)| is_drill(reading, shell.section)).collect();
    for (shell, call) in &drills {
        let harmful =
            restores(shell, call) || ends_containers(call) || matches!(call.program(), "dropdb" | "createdb");
        let target = call.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        let is_safe = is_scratch(&target.replace("restore", "")) || has_token(&target, &["dr"]);
        let names_production = has_token(&target, &["prod", "live"]);
        let words = call.plain(&[]);
        // The same program is given a target elsewhere, so it has a default: the one in use.
        let has_default = call.program().contains("restore")
            && drills
                .iter()
                .chain(&reading.calls().collect::<Vec<_>>())
                .any(|(_, other)| other.program() == call.program() && other.plain(&[]).len() > words.len());
        if harmful && !is_safe && (names_production || has_default) {
            report.call(call);
        }
    }
}

fn existing(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls() {
        let into = match call.program() {
            "psql" => {
                let packed = shell.script.writers(call).any(|one| {
                    matches!(
                        one.program(),
                        "gunzip"
                            | "zcat"
                            | "gzip"
                            | "zstd"
                            | "xz"
                            | "bzip2"
                            | "cat"
                            | "zstdcat"
                            | "xzcat"
                            | "aws"
                            | "pigz"
                    )
                });
                let file = call.redirects.iter().any(|one| {
                    one.kind == RedirectKind::Read && mentions(&one.target.text, &[".sql", "dump", "backup"])
                });
                packed || file
            }
            "pg_restore" => {
                call.has(&["-d", "--dbname"])
                    && !call.has(&[
                        "-c",
                        "--clean",
                        "-C",
                        "--create",
                        "-t",
                        "--table",
                        "-l",
                        "--list",
                        "-a",
                        "--data-only",
                        "--target-time",
                    ])
            }
            _ => false,
        };
        if !into {
            continue;
        }
        let target = shell.resolved(&database(call));
        let scope = reading.scope(shell.section);
        let titles = reading.chain(shell.section).map(|one| one.title.as_str()).collect::<Vec<_>>().join(" ");
        let is_new_host =
            mentions(&titles, &["new host", "new server", "bare metal", "from scratch", "fresh"]);
        let emptied = reading.calls_in(scope).any(|(_, other)| is_after(call, other) && empties(other));
        let first = shell.script.pipeline(call.pipeline).find(|one| one.stage == 0).unwrap_or(call);
        if !is_scratch(&target) && !is_new_host && !emptied && !stopped_here(shell, call) {
            report.call(first);
        }
    }
}

/// The database that a client connects to, as far as the command names it.
fn database(call: &Call) -> String {
    const VALUED: [&str; 20] = [
        "-h",
        "--host",
        "-p",
        "--port",
        "-U",
        "--username",
        "-d",
        "--dbname",
        "-v",
        "--set",
        "-f",
        "--file",
        "-c",
        "--command",
        "-o",
        "-P",
        "-F",
        "-R",
        "-j",
        "-L",
    ];
    let named = call.option(&["-d", "--dbname"]).map(str::to_owned);
    let plain =
        || call.plain(&VALUED).first().filter(|_| call.program() == "psql").map(|word| word.text.clone());
    named.or_else(plain).unwrap_or_default()
}

/// Whether a command makes room: a new database, or an empty server.
fn empties(call: &Call) -> bool {
    matches!(call.program(), "createdb" | "dropdb" | "initdb" | "pg_createcluster" | "terraform" | "pulumi")
        || call.says("create database")
        || call.says("drop database")
        || call.says("drop schema")
        || (call.says("volume") && (call.has_word("rm") || call.has_word("create")))
        || (call.says("down") && call.has(&["-v", "--volumes"]))
        || (call.program() == "rm"
            && mentions(
                &call.words.iter().map(|word| word.text.as_str()).collect::<String>(),
                &["postgresql", "pgdata"],
            ))
        || (call.program() == "git" && call.has_word("clone"))
}

/// Whether the server was stopped before: then another rule speaks.
fn stopped_here(shell: &Shell, call: &Call) -> bool {
    shell.script.calls.iter().any(|other| {
        is_after(call, other)
            && other.program() == "systemctl"
            && other.has_word("stop")
            && other.says("postgres")
    })
}
