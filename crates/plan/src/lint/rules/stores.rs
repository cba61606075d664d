//! Redis, Vault and etcd.
//!
//! In: commands and configuration. Out: findings on saves that are not awaited, restores that restore nothing, and
//! answers that nobody reads.

use super::{Report, Rule, is_after, mentions};
use crate::lint::{
    finding::Severity,
    reading::{BlockKind, Place, Reading, Shell},
    shell::Call,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "bgrewriteaof-restores-nothing",
        severity: Severity::LosesData,
        message: "`BGREWRITEAOF` writes a new file from what is in memory now: it restores nothing, and may replace the file that was to be restored",
        instead: "stop Redis, put the files in place, start it, compare `DBSIZE`",
        check: rewrite,
    },
    Rule {
        id: "bgsave-sleep-copy",
        severity: Severity::FalseConfidence,
        message: "`BGSAVE` returns at once: a save that is slow or refused leaves the old file, and that is copied as new",
        instead: "wait until `LASTSAVE` has changed and `rdb_last_bgsave_status` is `ok`, or use `redis-cli --rdb FILE`",
        check: bgsave,
    },
    Rule {
        id: "redis-cli-without-host",
        severity: Severity::FalseConfidence,
        message: "other commands of this document name a host; this one asks whatever Redis runs on this machine",
        instead: "give the same `-h` everywhere",
        check: without_host,
    },
    Rule {
        id: "rdb-restored-beside-aof",
        severity: Severity::LosesData,
        message: "with `appendonly yes` Redis loads the append-only file and ignores the `dump.rdb` that was put there",
        instead: "start with `appendonly no`, check `DBSIZE`, then `CONFIG SET appendonly yes` and wait for the rewrite",
        check: beside_aof,
    },
    Rule {
        id: "vault-status-as-verification",
        severity: Severity::FalseConfidence,
        message: "`vault status` shows the seal; its exit status (0 unsealed, 1 error, 2 sealed) is not read here, and no secret is",
        instead: "check the exit status and read a known secret: `vault kv get`",
        check: vault,
    },
    Rule {
        id: "etcdctl-snapshot-restore",
        severity: Severity::Fails,
        message: "etcd 3.6 has no `etcdctl snapshot restore`; before it, this makes one member with default names",
        instead: "`etcdutl snapshot restore` on every member from the same file, with names, peers, `--bump-revision` and `--mark-compacted`, API servers stopped",
        check: etcdctl,
    },
    Rule {
        id: "etcd-restore-keeps-revision",
        severity: Severity::FalseConfidence,
        message: "revisions go back in time: what watches the API (controllers, caches) does not see the change",
        instead: "add `--bump-revision 1000000000 --mark-compacted`",
        check: revision,
    },
];

fn is_redis(call: &Call) -> bool {
    matches!(call.program(), "redis-cli" | "valkey-cli" | "keydb-cli")
}

fn says(call: &Call, command: &str) -> bool {
    is_redis(call) && call.arguments().iter().any(|word| word.text.eq_ignore_ascii_case(command))
}

fn rewrite(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls().filter(|(_, call)| says(call, "bgrewriteaof")) {
        let purpose = reading.purpose(shell, call.line());
        let loaded = shell.script.calls.iter().any(|other| {
            is_after(call, other)
                && (says(other, "dbsize") || (says(other, "config") && other.says("appendonly")))
        });
        if mentions(&purpose, &["restor", "recover"]) && !loaded {
            report.call(call);
        }
    }
}

fn bgsave(reading: &Reading, report: &mut Report) {
    const GOES_ON: [&str; 9] = ["sleep", "cp", "scp", "rsync", "aws", "gsutil", "tar", "docker", "kubectl"];
    for shell in &reading.shells {
        let calls = &shell.script.calls;
        let waits = |call: &&Call| is_redis(call) && (says(call, "lastsave") || call.says("persistence"));
        let goes_on = |call: &&Call| GOES_ON.contains(&call.program()) || call.program() == "mv";
        let (waits, goes_on) = (calls.iter().rfind(waits), calls.iter().rfind(goes_on));
        for call in calls.iter().filter(|call| says(call, "bgsave")) {
            let is_behind = |other: Option<&Call>| other.is_some_and(|other| is_after(other, call));
            if is_behind(goes_on) && !is_behind(waits) {
                report.call(call);
            }
        }
    }
}

fn without_host(reading: &Reading, report: &mut Report) {
    let names = |call: &Call| {
        call.has(&["-h", "-u", "-s", "--uri", "--socket", "-H"]) || call.option(&["-h", "-u", "-s"]).is_some()
    };
    let elsewhere = reading.calls().any(|(_, call)| {
        is_redis(call)
            && call.wrappers.is_empty()
            && call.option(&["-h", "-u"]).is_some_and(|host| !host.contains('<'))
    });
    if !elsewhere {
        return;
    }
    for (_, call) in reading.calls().filter(|(_, call)| is_redis(call)) {
        let is_inside = call.wrappers.iter().any(|one| {
            !matches!(one, crate::lint::shell::Wrapper::User(_) | crate::lint::shell::Wrapper::Other)
        });
        if !is_inside && !names(call) && !call.has(&["--version", "--help"]) {
            report.call(call);
        }
    }
}

fn beside_aof(reading: &Reading, report: &mut Report) {
    let on = |text: &str| {
        text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("appendonly") && words.next() == Some("yes")
        }) || text.contains("--appendonly yes")
    };
    let is_on = reading
        .blocks
        .iter()
        .any(|block| matches!(block.kind, BlockKind::Config | BlockKind::Yaml) && on(&block.text));
    if !is_on {
        return;
    }
    for (shell, call) in reading
        .calls()
        .filter(|(_, call)| matches!(call.program(), "cp" | "mv" | "scp" | "rsync" | "install"))
    {
        let target = call.arguments().last().map(|word| word.text.as_str()).unwrap_or_default();
        let turned_off = reading.text_of(shell.section).contains("appendonly no");
        if target.rsplit_once('.').is_some_and(|(_, ending)| ending == "rdb")
            && mentions(target, &["/var/lib/redis", "/data/", "redis"])
            && !mentions(target, &["backup"])
            && !turned_off
        {
            report.call(call);
        }
    }
}

fn vault(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading
        .calls()
        .filter(|(_, call)| matches!(call.program(), "vault" | "bao") && call.has_word("status"))
    {
        let is_read = call.context.is_condition
            || call.context.is_in_loop
            || call.context.is_followed
            || call.is_piped()
            || call.context.is_substituted
            || shell.script.uses.iter().any(|one| one.name == "?");
        let reads = shell.script.calls.iter().any(|other| {
            matches!(other.program(), "vault" | "bao")
                && (other.has_word("read") || (other.has_word("kv") && other.has_word("get")))
        });
        let purpose = reading.purpose(shell, call.line());
        let verifies =
            shell.place == Place::Checklist || mentions(&purpose, &["verif", "confirm", "smoke", "test"]);
        if verifies && !is_read && !reads {
            report.call(call);
        }
    }
}

fn restores_etcd(call: &Call) -> bool {
    call.has_word("snapshot") && call.has_word("restore")
}

fn etcdctl(reading: &Reading, report: &mut Report) {
    for (_, call) in reading.calls().filter(|(_, call)| call.program() == "etcdctl" && restores_etcd(call)) {
        let column = call.words.first().map_or(1, |word| word.column);
        report.at(call.line(), column);
    }
}

fn revision(reading: &Reading, report: &mut Report) {
    let in_kubernetes = |shell: &Shell| {
        mentions(&reading.text_of(reading.scope(shell.section)), &["kubectl", "kubernetes", "apiserver"])
    };
    for (shell, call) in
        reading.calls().filter(|(_, call)| call.program() == "etcdutl" && restores_etcd(call))
    {
        if !call.has(&["--bump-revision"]) && in_kubernetes(shell) {
            report.call(call);
        }
    }
}
