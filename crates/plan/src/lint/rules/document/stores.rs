//! Whether what holds data is backed up at all, in a form that the promised recovery needs, and ever pruned.
//!
//! In: tables that name stores, and the commands of backup jobs. Out: findings.

use crate::lint::{
    finding::Severity,
    reading::{Reading, Shell},
    rules::{Report, Rule, mentions},
    shell::{Call, RedirectKind},
};

pub(in crate::lint::rules) const RULES: &[Rule] = &[
    Rule {
        id: "wal-without-base-backup",
        severity: Severity::LosesData,
        message: "WAL is archived and only dumps are taken: WAL can be replayed onto a base backup alone, so the archive is of no use",
        instead: "take base backups (`pg_basebackup`) as well, and drill the recovery from both",
        check: without_base,
    },
    Rule {
        id: "tier-without-backup",
        severity: Severity::FalseConfidence,
        message: "the document names this store and nothing in it backs the store up",
        instead: "add its backup and its restore, or say that its data may be lost",
        check: tier,
    },
    Rule {
        id: "backup-never-pruned",
        severity: Severity::FalseConfidence,
        message: "each run adds a file and nothing removes one: the disk fills, and then no backup is taken any more",
        instead: "prune by age in the same job, after the new backup was verified",
        check: pruned,
    },
];

fn without_base(reading: &Reading, report: &mut Report) {
    let text = reading.lines.iter().map(|line| line.to_ascii_lowercase()).collect::<Vec<_>>();
    let archives = text.iter().any(|line| line.contains("archive_command") && line.contains('='));
    let based = text.iter().any(|line| {
        [
            "pg_basebackup",
            "basebackup",
            "base backup",
            "base-backup",
            "pgbackrest",
            "wal-g",
            "barman",
            "muster",
        ]
        .iter()
        .any(|word| line.contains(word))
    });
    if !archives || based {
        return;
    }
    // A dump that the document presents as its backup, and not one that is taken on the way.
    let is_backup = |shell: &Shell, call: &Call| {
        matches!(call.program(), "pg_dump" | "pg_dumpall")
            && mentions(&reading.purpose(shell, call.line()), &["backup", "back up"])
    };
    if let Some((_, call)) = reading.calls().find(|(shell, call)| is_backup(shell, call)) {
        report.call(call);
    }
}

/// Stores with the words by which their backup is known.
const STORES: [(&str, &[&str]); 8] = [
    ("sqlite", &["sqlite3", ".backup", "vacuum into", "litestream"]),
    ("redis", &["bgsave", "redis-cli --rdb", "dump.rdb", "appendonly"]),
    ("mysql", &["mysqldump", "mariabackup", "xtrabackup"]),
    ("mongodb", &["mongodump"]),
    ("vault", &["snapshot save", "raft snapshot", "vault snapshot"]),
    ("etcd", &["snapshot save"]),
    ("elasticsearch", &["_snapshot"]),
    ("minio", &["mc mirror", "replicate"]),
];

fn tier(reading: &Reading, report: &mut Report) {
    let whole = reading.lines.join("\n").to_ascii_lowercase();
    for table in &reading.tables {
        let Some(column) = table.head.iter().position(|head| {
            mentions(head, &["database", "data store", "datastore", "store"])
                && !mentions(head, &["backup", "location"])
        }) else {
            continue;
        };
        for row in &table.rows {
            let Some(cell) = row.cells.get(column) else { continue };
            let missing: Vec<&str> = STORES
                .iter()
                .filter(|(name, words)| {
                    mentions(cell, &[name])
                        && !words.iter().any(|word| whole.contains(word))
                        && !is_told(reading, name)
                })
                .map(|(name, _)| *name)
                .collect();
            if !missing.is_empty() {
                report.line(row.line).message = format!(
                    "nothing in this document backs up {}, which this row names as a store of data",
                    missing.join(" and ")
                );
            }
        }
    }
}

/// Whether a table of backups or a line about backups names the store, or says that it may be lost.
fn is_told(reading: &Reading, name: &str) -> bool {
    let rows = reading.tables.iter().filter(|table| {
        table.head.iter().any(|head| mentions(head, &["frequency", "retention", "schedule"]))
    });
    let in_table = rows.flat_map(|table| &table.rows).any(|row| mentions(&row.cells.join(" "), &[name]));
    let in_prose = reading.prose.iter().any(|line| {
        mentions(&line.text, &[name])
            && mentions(&line.text, &["backup", "backed up", "snapshot", "cache", "ephemeral", "acceptable"])
    });
    in_table || in_prose
}

/// Whether a command makes a new backup file with a name that changes.
fn makes(shell: &Shell, call: &Call) -> bool {
    let varies = |text: &str| {
        let text = shell.resolved(text);
        let local = !text.contains("://");
        local
            && (text.contains("$(date") || text.contains("`date"))
            && mentions(&text, &[".dump", ".sql", ".rdb", ".tar", ".gz", ".snap", ".db", ".zst", ".bak"])
    };
    let target = call.arguments().last().is_some_and(|word| varies(&word.text));
    let option = call.option(&["-f", "--file"]).is_some_and(varies);
    let archive = call.arguments().get(1).is_some_and(|word| varies(&word.text));
    let redirected =
        call.redirects.iter().any(|one| one.kind == RedirectKind::Truncate && varies(&one.target.text));
    match call.program() {
        "cp" | "rsync" | "mv" => target,
        "tar" => option || archive,
        "pg_dump" | "pg_dumpall" | "mongodump" => option || redirected,
        _ => redirected,
    }
}

fn pruned(reading: &Reading, report: &mut Report) {
    let words = ["lifecycle", "pruned", "retention is", "removed after", "deleted after"];
    let elsewhere = reading.prose.iter().any(|line| mentions(&line.text, &words));
    for shell in &reading.shells {
        let Some(call) = shell.script.calls.iter().find(|call| makes(shell, call)) else { continue };
        let removes = shell.script.calls.iter().any(|other| {
            (other.program() == "find" && (other.has_word("-delete") || other.says("rm")))
                || matches!(other.program(), "rm" | "logrotate" | "tmpreaper" | "prune")
                || mentions(other.program(), &["prune", "cleanup", "rotate", "retention"])
                || other.has_word("prune")
                || other.has_word("forget")
        });
        // A copy that somebody makes by hand in the course of a recovery is not a job.
        let is_job = shell.script.calls.len() > 1
            && shell.script.assignments.iter().any(|one| one.value.text.contains("date"));
        if is_job && !removes && !elsewhere {
            report.call(call);
        }
    }
}
