//! PostgreSQL: moving from a primary that is down to its standby.
//!
//! In: commands and SQL of one scenario. Out: findings where two primaries may come about, or where a standby is asked for
//! what only a primary knows. A command that names the primary is believed.

use super::{Report, Rule, is_after, mentions};
use crate::lint::{finding::Severity, reading::Reading, shell::Call, sql};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "wal-lsn-on-standby",
        severity: Severity::Fails,
        message: "on a standby this function ends with `recovery is in progress`, and the primary is what may be down here",
        instead: "on the standby: `pg_last_wal_receive_lsn()`, `pg_last_wal_replay_lsn()`, `pg_last_xact_replay_timestamp()`",
        check: lsn_on_standby,
    },
    Rule {
        id: "promote-without-fence",
        severity: Severity::LosesData,
        message: "nothing keeps the old primary from taking writes: two primaries, and one half of the writes is lost",
        instead: "fence the old primary, note the lag, promote, check `pg_is_in_recovery()` is false, then move the clients",
        check: promote,
    },
];

fn promotes(call: &Call) -> bool {
    let has = |text: &str| call.arguments().iter().any(|word| word.text == text);
    matches!(call.program(), "pg_ctl" | "pg_ctlcluster") && has("promote")
        || (call.program() == "repmgr" && has("standby") && has("promote"))
        || (call.program() == "psql" && call.says("pg_promote("))
        || (call.program() == "touch" && call.says("promote") && call.says("trigger"))
}

fn lsn_on_standby(reading: &Reading, report: &mut Report) {
    let names =
        ["pg_current_wal_lsn(", "pg_current_wal_insert_lsn(", "pg_current_wal_flush_lsn(", "pg_switch_wal("];
    for sql in sql::all(reading) {
        let says_primary = sql.from.is_some_and(|(_, call)| {
            call.words.iter().any(|word| mentions(&word.text, &["primary", "master", "leader"]))
        });
        let scope = reading.scope(sql.section);
        let fails_over = reading.calls_in(scope).any(|(_, call)| promotes(call));
        for at in names.iter().flat_map(|name| sql.find(&[name])) {
            if !sql.statement(at).contains("pg_is_in_recovery") && !says_primary && fails_over {
                let (line, column) = sql.place(at);
                report.at(line, column);
            }
        }
    }
}

fn promote(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls().filter(|(_, call)| promotes(call)) {
        let scope = reading.scope(shell.section);
        let fenced = reading.calls_in(scope).any(|(_, other)| is_after(call, other) && fences(other));
        if !fenced {
            report.call(call);
        }
    }
}

/// Whether a command keeps a server from taking writes.
fn fences(call: &Call) -> bool {
    let has = |names: &[&str]| call.arguments().iter().any(|word| names.contains(&word.text.as_str()));
    match call.program() {
        "iptables" | "ip6tables" | "nft" | "ufw" => true,
        name if name.starts_with("fence")
            || name.starts_with("stonith")
            || name == "ipmitool"
            || name == "pcs" =>
        {
            true
        }
        "pg_ctl" | "pg_ctlcluster" | "systemctl" | "service" => {
            has(&["stop", "disable", "mask", "poweroff", "kill"])
        }
        "docker" | "podman" | "docker-compose" => has(&["stop", "kill", "pause", "down", "disconnect"]),
        "kubectl" => {
            has(&["scale", "delete", "cordon"]) && (has(&["--replicas=0"]) || has(&["delete", "cordon"]))
        }
        "aws" => has(&[
            "stop-instances",
            "terminate-instances",
            "revoke-security-group-ingress",
            "modify-instance-attribute",
        ]),
        "gcloud" | "az" => has(&["stop", "deallocate", "delete"]),
        "poweroff" | "shutdown" | "halt" => true,
        "psql" => call.says("default_transaction_read_only") || call.says("revoke connect"),
        _ => call.program().contains("fence"),
    }
}
