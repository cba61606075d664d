//! PostgreSQL: restoring, promoting, repairing and looking at it.
//!
//! In: commands and SQL. Out: findings. Which server is meant is told from container, host and port of the command; where
//! it cannot be told, nothing is said.

use super::{Report, Rule, is_after, is_scratch, mentions};
use crate::lint::{
    finding::Severity,
    reading::{Place, Reading, Shell},
    shell::{Call, RedirectKind, Word, Wrapper},
    sql,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "pg-restore-target-time",
        severity: Severity::Fails,
        message: "`pg_restore` has no recovery target: a dump is one moment, and only a base backup with WAL reaches another",
        instead: "restore a base backup into an empty data directory, set `restore_command` and `recovery_target_time`, create `recovery.signal`, start",
        check: target_time,
    },
    Rule {
        id: "pg-restore-of-plain-sql",
        severity: Severity::Fails,
        message: "`pg_restore` reads archives only: a plain SQL dump ends with `input file appears to be a text format dump` or is no valid archive",
        instead: "`psql -v ON_ERROR_STOP=1 --single-transaction` for SQL; or dump with `pg_dump -Fc`",
        check: plain_sql,
    },
    Rule {
        id: "pg-restore-into-stopped-server",
        severity: Severity::Fails,
        message: "the server was stopped above, and this command needs one that runs: connection refused",
        instead: "keep the server running and stop the application instead",
        check: into_stopped_server,
    },
    Rule {
        id: "psql-without-on-error-stop",
        severity: Severity::FalseConfidence,
        message: "without `ON_ERROR_STOP` psql goes on after an error in the file and exits with 0",
        instead: "`set -o pipefail`, and `psql -v ON_ERROR_STOP=1 --single-transaction`",
        check: on_error_stop,
    },
    Rule {
        id: "pg-restore-table-into-live",
        severity: Severity::LosesData,
        message: "restoring single tables into the database in use collides with what is there, leaves out what depends on them, or overwrites newer rows",
        instead: "restore into a scratch database, compare, and move the missing rows in one transaction",
        check: table_into_live,
    },
    Rule {
        id: "pg-isready-is-not-health",
        severity: Severity::FalseConfidence,
        message: "`pg_isready` only says that something accepts connections: no login, no schema, no row was tried",
        instead: "run a query as the application's user, such as `psql -Atc 'select count(*) from …'`, and compare the answer",
        check: isready,
    },
    Rule {
        id: "vacuum-full-as-repair",
        severity: Severity::LosesData,
        message: "`VACUUM FULL` rewrites a damaged table: it may stop half-way, and what could have been saved is gone",
        instead: "copy the data directory first, find the damage with `pg_amcheck`, `REINDEX` indexes, dump what can be read",
        check: vacuum_full,
    },
    Rule {
        id: "vector-array-length",
        severity: Severity::Fails,
        message: "the vector type is no array: `array_length(vector, integer)` does not exist",
        instead: "`vector_dims(column)`",
        check: array_length,
    },
    Rule {
        id: "database-dropped-before-restore",
        severity: Severity::LosesData,
        message: "the database is dropped before it is known that the backup can be restored",
        instead: "restore into a new database, verify it, then rename both; drop the old one days later",
        check: dropped,
    },
    Rule {
        id: "restore-errors-ignored",
        severity: Severity::FalseConfidence,
        message: "a failure of the dump or restore is thrown away, and the next line goes on as if it had worked",
        instead: "let it fail: remove `|| true`, look at the exit status of the whole pipeline",
        check: errors_ignored,
    },
];

/// Clients of a server.
const CLIENTS: [&str; 8] =
    ["pg_restore", "psql", "pg_dump", "pg_dumpall", "createdb", "dropdb", "vacuumdb", "reindexdb"];

fn target_time(reading: &Reading, report: &mut Report) {
    for (_, call) in
        reading.calls().filter(|(_, call)| ["pg_restore", "psql", "pg_dump"].contains(&call.program()))
    {
        let is_target = |text: &str| text.starts_with("--target-") || text.starts_with("--recovery-target");
        if call.arguments().iter().any(|word| is_target(&word.text)) {
            report.call(call);
        }
    }
}

fn plain_sql(reading: &Reading, report: &mut Report) {
    const VALUED: [&str; 16] = [
        "-d",
        "--dbname",
        "-h",
        "--host",
        "-p",
        "--port",
        "-U",
        "--username",
        "-j",
        "--jobs",
        "-t",
        "--table",
        "-n",
        "--schema",
        "-f",
        "-L",
    ];
    for (shell, call) in reading.calls().filter(|(_, call)| call.program() == "pg_restore") {
        let is_sql = |word: &&&Word| {
            let name = shell.resolved(&word.text);
            let name = name.trim_end_matches(['"', '\'']);
            [".sql", ".sql.gz", ".sql.zst", ".sql.xz", ".sql.bz2"].iter().any(|ending| name.ends_with(ending))
        };
        if call.plain(&VALUED).iter().any(|word| is_sql(&word)) {
            report.call(call);
        }
    }
}

/// What was stopped: the server of this host, or a container.
enum Stopped {
    Local,
    Container(String),
    All,
}

fn stops(call: &Call) -> Option<Stopped> {
    let names = call.arguments().iter().map(|word| word.text.to_ascii_lowercase()).collect::<Vec<_>>();
    let is_postgres = names.iter().any(|name| name.starts_with("postgres"));
    match call.program() {
        "systemctl" | "service" | "rc-service" if names.iter().any(|name| name == "stop") && is_postgres => {
            Some(Stopped::Local)
        }
        "pg_ctl" | "pg_ctlcluster" if names.iter().any(|name| name == "stop") => Some(Stopped::Local),
        // `/etc/init.d/postgresql stop`
        name if name.starts_with("postgres") && names.iter().any(|name| name == "stop") => {
            Some(Stopped::Local)
        }
        "kubectl" | "oc" if scales(call, |count| count == 0) => {
            let workload = names.iter().find(|name| name.contains("postgres") || name.contains("pg"))?;
            Some(Stopped::Container(workload.rsplit('/').next().unwrap_or(workload).to_owned()))
        }
        "docker" | "podman" | "docker-compose"
            if names.iter().any(|name| name == "stop" || name == "down") =>
        {
            let at = names.iter().position(|name| name == "stop" || name == "down")?;
            let stopped = names.iter().skip(at + 1).find(|name| !name.starts_with('-'));
            Some(stopped.map_or(Stopped::All, |name| Stopped::Container(name.clone())))
        }
        _ => None,
    }
}

/// Whether a command sets a number of replicas that fits.
fn scales(call: &Call, fits: impl Fn(u32) -> bool) -> bool {
    call.has_word("scale")
        && call.option(&["--replicas"]).is_some_and(|count| count.parse().map_or_else(|_| fits(1), &fits))
}

fn starts(call: &Call) -> bool {
    if matches!(call.program(), "kubectl" | "oc") {
        return scales(call, |count| count > 0);
    }
    let starts = |word: &str| matches!(word, "start" | "restart" | "up" | "run");
    matches!(
        call.program(),
        "systemctl"
            | "service"
            | "pg_ctl"
            | "pg_ctlcluster"
            | "docker"
            | "docker-compose"
            | "podman"
            | "rc-service"
            | "postgres"
            | "postgresql"
    ) && (call.program() == "postgres" || call.arguments().iter().any(|word| starts(&word.text)))
}

fn into_stopped_server(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        let mut stopped: Option<(Stopped, Option<String>)> = None;
        for call in &shell.script.calls {
            if let Some(what) = stops(call) {
                stopped = Some((what, host(call)));
            } else if starts(call) {
                stopped = None;
            } else if let Some((what, on)) = &stopped {
                let needs = CLIENTS.contains(&call.program()) && !reads_only_the_file(call);
                if needs && *on == host(call) && meets(call, what) {
                    report.call(call);
                }
            }
        }
    }
}

/// The host on which a command runs, if it is another one.
fn host(call: &Call) -> Option<String> {
    call.wrappers.iter().find_map(|one| match one {
        Wrapper::Host(name) => Some(name.clone()),
        _ => None,
    })
}

/// `pg_restore --list` and `pg_restore -f` ask no server.
fn reads_only_the_file(call: &Call) -> bool {
    call.program() == "pg_restore"
        && (call.has(&["-l", "--list"]) || (call.has(&["-f", "--file"]) && !call.has(&["-d", "--dbname"])))
}

fn meets(call: &Call, stopped: &Stopped) -> bool {
    let container = call.container().map(str::to_ascii_lowercase);
    let host = call.option(&["-h", "--host"]);
    let is_here = host
        .is_none_or(|host| matches!(host, "localhost" | "127.0.0.1" | "::1") || host.starts_with('/'))
        && !call.words.iter().any(|word| word.text.contains("://") || word.text.starts_with('$'))
        && call.option(&["-p", "--port"]).is_none_or(|port| port == "5432");
    match stopped {
        Stopped::Local => container.is_none() && is_here,
        Stopped::All => container.is_some(),
        Stopped::Container(name) => {
            container.is_some_and(|one| one.contains(name.as_str()) || name.contains(one.as_str()))
        }
    }
}

/// Programs that hand a dump on.
const READERS: [&str; 14] = [
    "cat", "gunzip", "zcat", "gzip", "pigz", "unpigz", "xz", "xzcat", "zstd", "zstdcat", "bzip2", "bzcat",
    "lz4", "pv",
];

fn on_error_stop(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls().filter(|(_, call)| call.program() == "psql") {
        let file = call.option(&["-f", "--file"]);
        let reads_file = call
            .redirects
            .iter()
            .any(|one| one.kind == RedirectKind::Read && one.descriptor.unwrap_or(0) == 0);
        let is_piped = shell.script.writers(call).any(|one| {
            READERS.contains(&one.program())
                || matches!(
                    one.program(),
                    "pg_dump"
                        | "pg_dumpall"
                        | "aws"
                        | "gsutil"
                        | "openssl"
                        | "gpg"
                        | "age"
                        | "curl"
                        | "ssh"
                        | "sed"
                )
        });
        if !(file.is_some() || reads_file || is_piped) {
            continue;
        }
        let stops = |text: &str| {
            let text = text.to_ascii_lowercase();
            text.contains("on_error_stop")
                && !text.contains("on_error_stop=0")
                && !text.contains("on_error_stop=off")
        };
        let is_set = call
            .words
            .iter()
            .chain(call.redirects.iter().map(|one| &one.target))
            .any(|word| stops(&word.text))
            || shell.script.writers(call).any(|one| one.words.iter().any(|word| stops(&word.text)));
        if !is_set {
            let first = shell.script.pipeline(call.pipeline).find(|one| one.stage == 0).unwrap_or(call);
            report.call(first);
        }
    }
}

fn table_into_live(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls().filter(|(_, call)| call.program() == "pg_restore") {
        let Some(target) = call.option(&["-d", "--dbname"]) else { continue };
        let is_part = call.has(&["-t", "--table"]);
        if is_part && !call.has(&["-l", "--list"]) && !is_made_here(shell, call, target) {
            report.call(call);
        }
    }
}

/// Whether a database is new or meant for trying: made in the same script, or called so.
fn is_made_here(shell: &Shell, call: &Call, name: &str) -> bool {
    let name = shell.resolved(name);
    let creates = |other: &Call| {
        let made = other.program() == "createdb"
            && other.words.iter().any(|word| shell.resolved(&word.text) == name);
        is_after(call, other) && (made || (other.says("create database") && other.says(&name)))
    };
    is_scratch(&name) || shell.script.calls.iter().any(creates)
}

fn isready(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls().filter(|(_, call)| call.program() == "pg_isready") {
        let context = &call.context;
        if context.is_condition
            || context.is_in_loop
            || (context.is_followed && !context.is_excused)
            || context.is_negated
        {
            continue;
        }
        let queries =
            shell.script.calls.iter().any(|other| other.program() == "psql" && is_after(other, call));
        let titles = reading.chain(shell.section).map(|one| one.title.as_str()).collect::<Vec<_>>().join(" ");
        let says = mentions(&titles, &["verif", "health check", "smoke", "validat", "checklist"])
            || mentions(&shell.task(call.line()), &["verif", "confirm", "health", "works", "smoke"]);
        let restarted = shell.script.calls.iter().any(|other| starts(other) && is_after(call, other));
        if !queries && (says || restarted || shell.place == Place::Checklist) {
            report.call(call);
        }
    }
}

const DAMAGE: [&str; 4] = ["corrupt", "repair", "damage", "integrity"];

fn vacuum_full(reading: &Reading, report: &mut Report) {
    for sql in sql::all(reading) {
        let about = reading.chain(sql.section).map(|one| one.title.as_str()).collect::<Vec<_>>().join(" ");
        let task = sql.from.map(|(shell, call)| shell.task(call.line())).unwrap_or_default();
        if !mentions(&about, &DAMAGE) && !mentions(&task, &DAMAGE) && !mentions(&sql.text, &DAMAGE) {
            continue;
        }
        let full = sql.find(&["vacuum", "full"]).into_iter().chain(sql.find(&["vacuum", "(full"]));
        if let Some(at) = full.min() {
            let (line, column) = sql.from.map_or_else(
                || sql.place(at),
                |(_, call)| (call.line(), call.words.first().map_or(1, |word| word.column)),
            );
            report.at(line, column);
        }
    }
    for (shell, call) in
        reading.calls().filter(|(_, call)| call.program() == "vacuumdb" && call.has(&["-f", "--full"]))
    {
        if mentions(&reading.purpose(shell, call.line()), &DAMAGE) {
            report.call(call);
        }
    }
}

fn array_length(reading: &Reading, report: &mut Report) {
    for sql in sql::all(reading) {
        for name in ["array_length(", "array_dims(", "cardinality("] {
            for at in sql.find(&[name]) {
                let argument = sql.bare.get(at + name.len()..).unwrap_or_default();
                let column = argument.split([',', ')']).next().unwrap_or_default();
                let column = column.trim().rsplit('.').next().unwrap_or_default();
                if column.contains("embedding")
                    || column == "vector"
                    || column.ends_with("_vector")
                    || column.ends_with("_vec")
                {
                    let (line, column) = sql.place(at);
                    report.at(line, column);
                }
            }
        }
    }
}

fn dropped(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        for call in &shell.script.calls {
            let target = match call.program() {
                "dropdb" => call
                    .plain(&["-h", "-p", "-U", "--host", "--port", "--username", "--maintenance-db"])
                    .first()
                    .map(|word| word.text.clone()),
                "psql" | "mysql" | "mariadb" => dropped_name(call),
                _ => None,
            };
            let Some(name) = target else { continue };
            let is_saved = |other: &&Call| {
                is_after(call, other)
                    && (matches!(other.program(), "pg_dump" | "mysqldump" | "mariadb-dump" | "pg_basebackup")
                        || (other.says("alter database") && other.says("rename")))
            };
            let restores = shell.script.calls.iter().any(|other| {
                is_after(other, call)
                    && (matches!(other.program(), "pg_restore" | "createdb")
                        || other.says("create database")
                        || (other.program() == "psql" && reads_a_dump(shell, other)))
            });
            let names_scratch =
                call.option(&["-d", "--dbname"]).is_some_and(|name| is_scratch(&shell.resolved(name)));
            if restores
                && !names_scratch
                && !is_made_here(shell, call, &name)
                && !shell.script.calls.iter().any(|other| is_saved(&other))
            {
                report.call(call);
            }
        }
    }
}

/// Whether `psql` is given a file or the output of what unpacks one.
fn reads_a_dump(shell: &Shell, call: &Call) -> bool {
    call.has(&["-f", "--file"])
        || call.redirects.iter().any(|one| one.kind == RedirectKind::Read)
        || shell.script.writers(call).any(|one| READERS.contains(&one.program()))
}

/// The database or schema that `DROP DATABASE` or `DROP SCHEMA` names.
fn dropped_name(call: &Call) -> Option<String> {
    let texts = call
        .words
        .iter()
        .map(|word| word.text.as_str())
        .chain(call.redirects.iter().map(|one| one.target.text.as_str()));
    for text in texts {
        let lower = text.to_ascii_lowercase();
        let found = ["drop database", "drop schema"]
            .iter()
            .find_map(|verb| lower.find(verb).map(|at| at + verb.len()));
        let Some(at) = found else { continue };
        let rest = text.get(at..).unwrap_or_default();
        let mut words = rest
            .split_whitespace()
            .filter(|word| !matches!(word.to_ascii_lowercase().as_str(), "if" | "exists"));
        return words.next().map(|name| name.trim_matches(['"', ';', '`', '\'']).to_owned());
    }
    None
}

fn errors_ignored(reading: &Reading, report: &mut Report) {
    const PROGRAMS: [&str; 9] = [
        "pg_restore",
        "pg_dump",
        "pg_dumpall",
        "mysqldump",
        "mongodump",
        "mongorestore",
        "pg_basebackup",
        "restic",
        "psql",
    ];
    for (shell, call) in
        reading.calls().filter(|(_, call)| PROGRAMS.contains(&call.program()) && call.context.is_excused)
    {
        let moves_data = call.program() != "psql"
            || call.redirects.iter().any(|one| one.kind == RedirectKind::Read)
            || shell.script.writers(call).any(|one| READERS.contains(&one.program()));
        // `restic init || true` and the like make something that may be there already.
        if moves_data && !call.has(&["init", "unlock", "check"]) {
            report.call(call);
        }
    }
}
