//! Taking, finding and judging backup files.
//!
//! In: commands. Out: findings on files that look like backups and may be none: empty, cut off, or not the newest.

use super::{Report, Rule, is_after, mentions};
use crate::lint::{
    finding::Severity,
    reading::{Reading, Shell},
    shell::{Call, RedirectKind, Word},
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "redirect-leaves-empty-backup",
        severity: Severity::LosesData,
        message: "the shell makes the file before the dump begins: a dump that fails leaves an empty or half file under the final name, the newest of all",
        instead: "write to a temporary name, look at the exit status and the content, then rename; prune only after that",
        check: redirect,
    },
    Rule {
        id: "dump-piped-without-pipefail",
        severity: Severity::FalseConfidence,
        message: "the exit status is that of the last command: a dump that breaks off still makes a whole compressed file, and the line succeeds",
        instead: "`set -o pipefail` before it, and a look at the end of the dump",
        check: pipefail,
    },
    Rule {
        id: "listing-is-not-latest",
        severity: Severity::FalseConfidence,
        message: "a listing is sorted by name, and the newest file may be half-written or unproven",
        instead: "take the newest backup that was verified, from a catalogue: `muster list`",
        check: listing,
    },
    Rule {
        id: "gzip-test-is-not-proof",
        severity: Severity::FalseConfidence,
        message: "this checks the compression only: a dump that broke off before it was compressed passes",
        instead: "restore it into a scratch database and count rows; at least look for the dump's closing line",
        check: gzip_test,
    },
    Rule {
        id: "grep-create-table-is-not-proof",
        severity: Severity::FalseConfidence,
        message: "this finds words of the schema near the beginning of the dump; whether the data is there is not seen",
        instead: "restore it into a scratch database and count rows",
        check: grep,
    },
    Rule {
        id: "backup-age-check-inverted",
        severity: Severity::FalseConfidence,
        message: "this prints old files and nothing else: no backup at all, or a job that stopped, looks as if all were well",
        instead: "look for a new one and fail without it: `[ -n \"$(find … -mtime -1)\" ]`",
        check: age,
    },
    Rule {
        id: "live-data-copied",
        severity: Severity::LosesData,
        message: "files of a running server are copied one after the other while it writes: the copy fits no moment and may not start",
        instead: "use what the server offers (`pg_basebackup`, `redis-cli --rdb`, `etcdctl snapshot save`, `sqlite3 .backup`), or stop it first",
        check: live_copy,
    },
];

/// Whether a command writes a dump to its standard output.
fn dumps(call: &Call) -> bool {
    match call.program() {
        "pg_dump" | "pg_dumpall" => {
            !call.has(&["-f", "--file", "--version", "--help", "-s", "--schema-only"])
        }
        "mysqldump" | "mariadb-dump" => !call.has(&["-r", "--result-file"]),
        "mongodump" => {
            call.has(&["--archive"]) && call.option(&["--archive"]).is_none_or(|value| !value.contains('/'))
        }
        "influxd" => call.has_word("backup"),
        "redis-cli" => call.option(&["--rdb"]) == Some("-"),
        "sqlite3" => call.says(".dump"),
        "slapcat" => !call.has(&["-l"]),
        "pg_basebackup" => call.option(&["-D", "--pgdata"]) == Some("-"),
        _ => false,
    }
}

/// The file to which a pipeline writes at its end.
fn file_of<'s>(shell: &'s Shell, call: &Call) -> Option<(&'s Call, &'s Word)> {
    shell.script.pipeline(call.pipeline).filter(|one| one.stage + 1 == one.stages).find_map(|last| {
        if last.program() == "tee" && !last.has(&["-a", "--append"]) {
            return last.plain(&[]).first().map(|file| (last, *file));
        }
        let redirect = last
            .redirects
            .iter()
            .find(|one| one.kind == RedirectKind::Truncate && one.descriptor.unwrap_or(1) == 1)?;
        Some((last, &redirect.target))
    })
}

fn redirect(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls().filter(|(_, call)| dumps(call)) {
        let Some((last, target)) = file_of(shell, call) else { continue };
        let name = shell.resolved(&target.text);
        if is_temporary(&name)
            || name.starts_with("/dev/")
            || is_renamed_later(shell, last, &name)
            || is_looked_after(call)
        {
            continue;
        }
        let first = shell.script.pipeline(call.pipeline).find(|one| one.stage == 0).unwrap_or(call);
        let finding = report.call(first);
        // Where the script ends there, nothing is uploaded and nothing pruned; the file is left all the same.
        if shell.stops_at_failure() && (!call.is_piped() || shell.script.has_pipefail) {
            finding.severity = Severity::FalseConfidence;
        }
    }
}

/// Somebody asks whether it worked.
fn is_looked_after(call: &Call) -> bool {
    let context = &call.context;
    !context.is_excused && (context.is_condition || context.is_negated || context.is_followed)
}

/// Whether a name says that the file is not finished. A folder such as `/tmp` does not say so: files in it are uploaded too.
fn is_temporary(path: &str) -> bool {
    let is_made = path.contains("mktemp");
    let name = path.rsplit('/').next().unwrap_or(path);
    is_made || mentions(name, &["tmp", "temp", ".part", "partial", ".new", "incomplete", ".wip"])
}

fn is_renamed_later(shell: &Shell, call: &Call, name: &str) -> bool {
    shell.script.calls.iter().any(|other| {
        other.program() == "mv"
            && is_after(other, call)
            && other.arguments().iter().any(|word| shell.resolved(&word.text) == name)
    })
}

fn pipefail(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls().filter(|(_, call)| dumps(call) && call.is_piped()) {
        let packs = shell.script.readers(call).any(|one| {
            matches!(
                one.program(),
                "gzip"
                    | "pigz"
                    | "zstd"
                    | "xz"
                    | "bzip2"
                    | "lz4"
                    | "restic"
                    | "borg"
                    | "gpg"
                    | "age"
                    | "openssl"
                    | "aws"
                    | "gsutil"
                    | "rclone"
            )
        });
        let sees_parts = shell.script.uses.iter().any(|one| one.name == "PIPESTATUS");
        if packs && !shell.script.has_pipefail && !sees_parts {
            report.call(call);
        }
    }
}

/// Words by which a path is known to hold backups.
const BACKUPS: [&str; 7] = ["backup", "dump", "snapshot", "archive", ".sql", ".rdb", "restore"];

fn listing(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls() {
        let lists = match call.program() {
            "ls" => true,
            "aws" => call.has_word("s3") && call.has_word("ls"),
            "gsutil" | "mc" | "rclone" => call.has_word("ls") || call.has_word("lsf"),
            "find" => !call.has(&["-mtime", "-mmin", "-newer"]),
            _ => false,
        };
        if !lists || call.stage > 0 {
            continue;
        }
        let cuts = shell.script.readers(call).find(|one| {
            matches!(one.program(), "head" | "tail")
                && !one.arguments().iter().any(|word| {
                    word.text.starts_with('+') || word.text.contains("-n+") || word.text.starts_with("-c")
                })
        });
        let removes = shell.script.readers(call).any(|one| matches!(one.program(), "rm" | "xargs"));
        let about = call.arguments().iter().any(|word| mentions(&shell.resolved(&word.text), &BACKUPS))
            || mentions(&shell.task(call.line()), &["backup", "latest", "newest"]);
        if cuts.is_some() && about && !removes {
            report.call(call);
        }
    }
}

/// Whether the script also restores the backup somewhere and looks at it.
fn restores(shell: &Shell) -> bool {
    shell
        .script
        .calls
        .iter()
        .any(|one| matches!(one.program(), "psql" | "pg_restore" | "mysql" | "mongorestore" | "createdb"))
}

fn gzip_test(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls() {
        let tests = matches!(
            call.program(),
            "gzip" | "gunzip" | "pigz" | "xz" | "unxz" | "zstd" | "bzip2" | "bunzip2" | "lz4"
        ) && call.has(&["-t", "--test"]);
        if tests && !restores(shell) && !call.context.is_condition {
            report.call(call);
        }
    }
}

fn grep(reading: &Reading, report: &mut Report) {
    for (shell, call) in
        reading.calls().filter(|(_, call)| matches!(call.program(), "grep" | "zgrep" | "egrep" | "rg"))
    {
        let pattern =
            call.plain(&["-e", "-A", "-B", "-C", "-m"]).first().map(|word| word.text.to_ascii_lowercase());
        let pattern = call.option(&["-e"]).map(str::to_ascii_lowercase).or(pattern).unwrap_or_default();
        let is_schema = ["create table", "create schema", "create database", "insert into", "create index"]
            .iter()
            .any(|word| pattern.replace("\\s", " ").contains(word));
        let reads_dump = call.program() == "zgrep"
            || shell.script.writers(call).any(|one| {
                matches!(
                    one.program(),
                    "zcat" | "gunzip" | "gzip" | "cat" | "zstdcat" | "xzcat" | "zstd" | "pg_restore"
                )
            })
            || call.arguments().iter().any(|word| mentions(&word.text, &[".sql", "dump"]));
        if is_schema && reads_dump && !restores_with_psql(shell) {
            let first = shell.script.pipeline(call.pipeline).find(|one| one.stage == 0).unwrap_or(call);
            report.call(first);
        }
    }
}

fn restores_with_psql(shell: &Shell) -> bool {
    shell.script.calls.iter().any(|one| matches!(one.program(), "psql" | "mysql" | "createdb"))
}

fn age(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls().filter(|(_, call)| call.program() == "find") {
        let old =
            call.options(&["-mtime", "-mmin", "-ctime", "-cmin"]).iter().any(|value| value.starts_with('+'));
        let acts = ["-delete", "-exec", "-execdir", "-ok", "-print0", "-ls", "-size"]
            .iter()
            .any(|name| call.has_word(name));
        let about =
            mentions(
                &shell.task(call.line()),
                &["age", "fresh", "monitor", "recent", "stale", "check", "old"],
            ) && !mentions(&shell.task(call.line()), &["clean", "prune", "delete", "remove", "retention"]);
        let is_backup = call.arguments().iter().any(|word| mentions(&shell.resolved(&word.text), &BACKUPS));
        if old && !acts && !call.is_piped() && !call.context.is_substituted && is_backup && about {
            report.call(call);
        }
    }
}

/// Folders of servers that write all the time.
const LIVE: [&str; 6] = [
    "/var/lib/postgresql",
    "/var/lib/mysql",
    "/var/lib/mongodb",
    "/var/lib/etcd",
    "/var/lib/pgsql",
    "appendonlydir",
];

fn live_copy(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls() {
        let source = match call.program() {
            "cp" | "rsync" | "scp" => call.plain(&[]).first().map(|word| word.text.clone()),
            "tar"
                if call
                    .arguments()
                    .first()
                    .is_some_and(|word| word.text.trim_start_matches('-').starts_with('c'))
                    || call.has(&["-c", "--create"]) =>
            {
                call.arguments()
                    .iter()
                    .map(|word| word.text.clone())
                    .find(|text| LIVE.iter().any(|live| text.starts_with(live)))
            }
            "docker" | "podman" if call.has_word("run") => mounted(call),
            _ => None,
        };
        let Some(source) = source else { continue };
        let is_live = LIVE
            .iter()
            .any(|live| source.starts_with(live) || (live.starts_with('a') && source.contains(live)))
            && !mentions(
                &source,
                &["backup", "archive", "restore", ".conf", ".crt", ".key", "dump", "snapshot"],
            );
        let stopped = reading
            .calls_in(reading.scope(shell.section))
            .any(|(_, other)| is_after(call, other) && stops(other));
        let is_whole = matches!(call.program(), "tar" | "docker" | "podman")
            || call.has(&["-r", "-R", "-a", "--recursive", "--archive"]);
        if is_live && is_whole && !stopped {
            report.call(call);
        }
    }
}

/// The data folder of a server whose volume is packed by `docker run … tar -c`.
fn mounted(call: &Call) -> Option<String> {
    let line = call.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    let packs = ["tar c", "tar -c", "tar zc", "tar -zc"].iter().any(|word| line.contains(word));
    let volume = call.options(&["-v", "--volume"]).into_iter().find_map(|mount| {
        let (name, _) = mount.split_once(':')?;
        let is_server = name.split(['_', '-', '.']).any(|part| {
            matches!(
                part,
                "pg" | "pgdata"
                    | "postgres"
                    | "postgresql"
                    | "mysql"
                    | "mariadb"
                    | "mongo"
                    | "mongodb"
                    | "etcd"
            )
        });
        (is_server && !name.contains('/')).then_some(name)
    });
    volume.filter(|_| packs).map(|_| LIVE.first().copied().unwrap_or_default().to_owned())
}

/// Whether a command stops a server or makes it hold still.
fn stops(call: &Call) -> bool {
    let has = |names: &[&str]| call.arguments().iter().any(|word| names.contains(&word.text.as_str()));
    has(&["stop", "down", "pause", "kill", "--replicas=0"])
        || call.says("backup_start")
        || call.program() == "fsfreeze"
        || call.says("snapshot")
}
