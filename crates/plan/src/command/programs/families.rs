//! Programs with verbs of their own: containers, clusters, clouds, databases, stores of secrets, backup programs.
//!
//! A program with its arguments comes in; its class leaves, or nothing where it belongs to no family. A verb that is not
//! known is destructive where a program mostly changes things, and `unknown` where it runs what others have written.

use super::{
    Class::{self, Destructive, Idempotent, Observe, Unknown},
    is_flag, verb,
};
use crate::command::{sql, words::Command};

/// Judges a program of a family.
pub(super) fn class(command: &Command, program: &str, rest: &[&str]) -> Option<Class> {
    Some(match program {
        "docker" | "podman" | "docker-compose" => docker(program, rest),
        "kubectl" | "oc" | "k" => kubectl(rest),
        "systemctl" | "service" | "supervisorctl" => systemctl(rest),
        "psql" | "mysql" | "sqlite3" | "mariadb" => client(command, rest),
        "redis-cli" | "valkey-cli" => redis(rest),
        "aws" | "gcloud" | "az" | "gsutil" | "doctl" | "mc" | "s3cmd" => cloud(rest),
        "curl" | "wget" | "http" => curl(rest),
        "terraform" | "tofu" | "pulumi" | "cdk" | "ansible-playbook" => infrastructure(rest),
        "vault" | "bao" => vault(rest),
        "etcdctl" | "etcdutl" => etcd(rest),
        "pg_restore" if rest.iter().any(|word| matches!(*word, "-l" | "--list" | "--version")) => Observe,
        "pg_ctl" | "pg_ctlcluster" => {
            match verb_of(rest, &["status", "start", "stop", "restart", "reload"]) {
                Some("status") => Observe,
                Some(_) => Idempotent,
                None => Destructive,
            }
        }
        _ => return simple(program, rest),
    })
}

/// The first of the verbs that stands among the words.
fn verb_of<'a>(rest: &[&str], verbs: &[&'a str]) -> Option<&'a str> {
    verbs.iter().copied().find(|verb| rest.contains(verb))
}

/// Programs whose first word says what they do.
fn simple(program: &str, rest: &[&str]) -> Option<Class> {
    let (looking, repeatable) = match program {
        "helm" => ("list ls status get history template show repo search diff", "upgrade install"),
        "git" => (
            "status log diff show branch remote rev-parse describe",
            "clone pull fetch checkout switch tag add init",
        ),
        "pgbackrest" | "barman" | "wal-g" | "restic" | "rustic" | "borg" | "velero" | "muster" => (
            "info check snapshots list ls stats show verify status get describe backup-list list-backup \
             list-backups diff survey",
            "backup init backup-push prove create",
        ),
        "openssl" | "certbot" => ("x509 s_client verify certificates dgst version", "renew rand genrsa req"),
        "apt" | "apt-get" | "yum" | "dnf" | "npm" | "pnpm" | "yarn" | "pip" | "pip3" | "brew" | "apk" => {
            ("list ls show info search outdated audit test", "install update upgrade ci add i build")
        }
        "alembic" | "flyway" | "prisma" | "knex" | "rake" | "rails" => {
            ("current history info status heads", "")
        }
        _ => return None,
    };
    let is_in = |list: &str, verb: &str| list.split_whitespace().any(|word| word == verb);
    Some(match verb(rest) {
        "" | "help" | "version" => Observe,
        verb if is_in(looking, verb) => Observe,
        // `git reset --hard`, `git checkout -f` throw work away.
        verb if is_in(repeatable, verb) && !rest.contains(&"--force") => Idempotent,
        _ => Destructive,
    })
}

fn docker(program: &str, rest: &[&str]) -> Class {
    let mut words: Vec<&str> = Vec::new();
    let mut skip = false;
    for word in rest {
        if skip {
            skip = false;
        } else if matches!(
            *word,
            "-f" | "--file" | "-p" | "--project-name" | "--env-file" | "--context" | "-H"
        ) && words.len() < 2
        {
            // `docker rm -f` forces; `compose -f` names a file.
            let takes_value = words.is_empty() && program != "docker"
                || words.first() == Some(&"compose") && words.len() == 1;
            skip = takes_value;
        } else if !word.starts_with('-') {
            words.push(word);
        }
    }
    let is_compose = program == "docker-compose" || words.first() == Some(&"compose");
    let verb = if program == "docker-compose" {
        words.first()
    } else if is_compose {
        words.get(1)
    } else {
        words.first()
    };
    let verb = verb.copied().unwrap_or("");
    if is_compose {
        return match verb {
            "ps" | "logs" | "config" | "images" | "top" | "ls" | "version" | "port" | "events" | "" => {
                Observe
            }
            "down" if rest.iter().any(|word| matches!(*word, "-v" | "--volumes")) => Destructive,
            "up" | "start" | "stop" | "restart" | "pull" | "build" | "create" | "pause" | "unpause"
            | "push" | "down" => Idempotent,
            "rm" | "kill" => Destructive,
            _ => Unknown,
        };
    }
    let object = words.get(1).copied().unwrap_or("");
    match verb {
        "ps" | "logs" | "inspect" | "stats" | "images" | "info" | "version" | "top" | "diff" | "port"
        | "events" | "search" | "history" | "" => Observe,
        "start" | "stop" | "restart" | "pull" | "build" | "push" | "login" | "tag" | "load" | "save"
        | "cp" | "update" | "pause" | "unpause" => Idempotent,
        "volume" | "network" | "image" | "container" | "system" | "node" | "service" | "stack" | "secret"
        | "config" => match object {
            "ls" | "list" | "inspect" | "df" | "info" | "ps" | "logs" | "stats" => Observe,
            "create" | "connect" | "start" | "stop" | "restart" | "pull" | "update" | "deploy" | "scale" => {
                Idempotent
            }
            _ => Destructive,
        },
        "rm" | "rmi" | "kill" | "prune" | "swarm" => Destructive,
        _ => Unknown,
    }
}

/// The words that are neither options nor the values of `with_value`.
fn positional<'a>(rest: &[&'a str], with_value: &[&str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        if with_value.contains(word) {
            words.next();
        } else if !word.starts_with('-') {
            found.push(*word);
        }
    }
    found
}

fn kubectl(rest: &[&str]) -> Class {
    let words =
        positional(rest, &["-n", "--namespace", "--context", "--kubeconfig", "-l", "--selector", "-f", "-o"]);
    let word = |at: usize| words.get(at).copied().unwrap_or("");
    match word(0) {
        _ if rest.iter().any(|word| word.starts_with("--dry-run") && !word.ends_with("none")) => Observe,
        "get" | "describe" | "logs" | "top" | "cluster-info" | "version" | "explain" | "diff" | "events"
        | "wait" | "api-resources" | "" => Observe,
        "auth" if word(1) == "can-i" => Observe,
        "config" if matches!(word(1), "view" | "get-contexts" | "current-context" | "get-clusters") => {
            Observe
        }
        "rollout" => match word(1) {
            "status" | "history" => Observe,
            "restart" | "pause" | "resume" => Idempotent,
            // Undoing twice brings back what was undone.
            _ => Destructive,
        },
        "apply" | "scale" | "set" | "annotate" | "label" | "cordon" | "uncordon" | "patch" | "autoscale"
        | "config" | "create" | "expose" | "port-forward" | "cp" => Idempotent,
        "delete" | "drain" | "replace" | "taint" | "edit" => Destructive,
        _ => Unknown,
    }
}

fn systemctl(rest: &[&str]) -> Class {
    let words: Vec<&str> = rest.iter().filter(|word| !word.starts_with('-')).copied().collect();
    let is = |names: &[&str]| words.iter().any(|word| names.contains(word));
    if is(&[
        "status",
        "is-active",
        "is-enabled",
        "is-failed",
        "list-units",
        "list-timers",
        "show",
        "cat",
        "list-unit-files",
    ]) || words.is_empty()
    {
        Observe
    } else if is(&[
        "start",
        "stop",
        "restart",
        "reload",
        "enable",
        "disable",
        "daemon-reload",
        "reload-or-restart",
        "try-restart",
        "mask",
        "unmask",
        "reset-failed",
        "update",
        "reread",
    ]) {
        Idempotent
    } else {
        Destructive
    }
}

/// A client of a database: the SQL that it is given decides.
fn client(command: &Command, rest: &[&str]) -> Class {
    let mut class = None;
    let mut words = rest.iter().peekable();
    while let Some(word) = words.next() {
        let text = match *word {
            "-c" | "-e" | "--command" | "--execute" => words.next().copied(),
            word => word.strip_prefix("--command=").or_else(|| word.strip_prefix("--execute=")),
        };
        if let Some(text) = text {
            class = class.max(Some(sql::class(text)));
        }
        if matches!(*word, "-l" | "--list" | "--version" | "-V") {
            class = class.max(Some(Observe));
        }
        if matches!(*word, "-f" | "--file") || word.starts_with("--file=") {
            class = Some(Destructive);
        }
    }
    if let Some(body) = &command.body {
        class = class.max(Some(sql::class(body)));
    } else if command.reads {
        class = Some(Destructive);
    }
    // Without SQL it is a prompt at which a person types what they like.
    let bare = rest.iter().rev().find(|word| word.contains(' ')).map(|text| sql::class(text));
    class.or(bare).unwrap_or(Unknown)
}

fn redis(rest: &[&str]) -> Class {
    let mut words = rest.iter();
    let mut found: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        match *word {
            "-h" | "-p" | "-a" | "-n" | "-u" | "--user" | "--pass" | "--cacert" => {
                words.next();
            }
            "--stat" | "--latency" | "--bigkeys" | "--memkeys" => return Observe,
            "--rdb" => return Idempotent,
            word if word.starts_with('-') => {}
            word => found.push(word.to_uppercase()),
        }
    }
    let word = |at: usize| found.get(at).map_or("", String::as_str);
    match word(0) {
        "PING" | "INFO" | "GET" | "DBSIZE" | "LASTSAVE" | "TTL" | "SCAN" | "KEYS" | "EXISTS" | "TYPE"
        | "MEMORY" | "SLOWLOG" | "ROLE" | "TIME" | "LLEN" | "HGETALL" | "LRANGE" | "MONITOR" | "ECHO"
        | "COMMAND" => Observe,
        "CONFIG" if word(1) == "GET" => Observe,
        "CONFIG" | "BGSAVE" | "SAVE" | "BGREWRITEAOF" | "SET" | "AUTH" => Idempotent,
        "CLUSTER" if matches!(word(1), "INFO" | "NODES" | "SLOTS" | "SHARDS" | "MYID") => Observe,
        "CLIENT" | "ACL" if matches!(word(1), "LIST" | "INFO" | "GETUSER" | "WHOAMI") => Observe,
        "SENTINEL" if word(1) != "FAILOVER" => Observe,
        "" => Unknown,
        _ => Destructive,
    }
}

fn cloud(rest: &[&str]) -> Class {
    let words: Vec<&str> = rest.iter().filter(|word| !word.starts_with('-')).copied().collect();
    let begins = |names: &[&str]| words.iter().any(|word| names.iter().any(|name| word.starts_with(name)));
    if begins(&[
        "delete",
        "terminate",
        "rotate",
        "remove",
        "revoke",
        "destroy",
        "failover",
        "promote",
        "reboot",
        "change-",
        "restore",
        "disable",
        "detach",
        "purge",
        "reset",
        "stop-",
        "modify",
        "put-",
        "update-",
        "switchover",
    ]) || words.iter().any(|word| matches!(*word, "rm" | "rb" | "mv" | "del"))
        || rest.contains(&"--delete")
    {
        Destructive
    } else if begins(&[
        "describe",
        "list",
        "get-",
        "head-",
        "ls",
        "show",
        "wait",
        "lookup",
        "filter-log",
        "tail",
        "stat",
        "cat",
        "du",
        "logs",
    ]) {
        Observe
    } else if words.iter().any(|word| {
        matches!(
            *word,
            "cp" | "sync"
                | "rsync"
                | "mirror"
                | "start-instances"
                | "configure"
                | "login"
                | "update-kubeconfig"
        )
    }) || begins(&["create-snapshot", "create-db-snapshot", "start-", "auth"])
    {
        Idempotent
    } else {
        Unknown
    }
}

fn curl(rest: &[&str]) -> Class {
    let method = rest
        .iter()
        .zip(rest.iter().skip(1))
        .find(|(word, _)| matches!(**word, "-X" | "--request"))
        .map(|(_, method)| method.to_uppercase())
        .or_else(|| {
            rest.iter().find_map(|word| {
                word.strip_prefix("-X").filter(|rest| !rest.is_empty()).map(str::to_uppercase)
            })
        });
    let sends = rest.iter().any(|word| {
        matches!(
            *word,
            "-d" | "--data"
                | "--data-raw"
                | "--data-binary"
                | "-F"
                | "--form"
                | "--json"
                | "-T"
                | "--upload-file"
        ) || word.starts_with("--data")
    });
    let saves = rest
        .iter()
        .any(|word| matches!(*word, "-o" | "-O" | "--output" | "--remote-name") || is_flag(word, "O"));
    match method.as_deref() {
        Some("DELETE") => Destructive,
        Some("GET" | "HEAD" | "OPTIONS") => Observe,
        Some(_) => Unknown,
        None if sends => Unknown,
        None if saves => Idempotent,
        None => Observe,
    }
}

fn infrastructure(rest: &[&str]) -> Class {
    match verb(rest) {
        "plan" | "show" | "output" | "validate" | "version" | "preview" | "stack" | "diff" | "fmt" | "" => {
            Observe
        }
        "state" if rest.contains(&"list") || rest.contains(&"show") => Observe,
        "init" | "refresh" | "workspace" => Idempotent,
        _ if rest.contains(&"--check") => Observe,
        _ => Destructive,
    }
}

fn vault(rest: &[&str]) -> Class {
    let words: Vec<&str> = rest.iter().filter(|word| !word.starts_with('-')).copied().collect();
    let word = |at: usize| words.get(at).copied().unwrap_or("");
    match (word(0), word(1), word(2)) {
        ("status" | "read" | "list" | "version" | "", _, _)
        | ("kv", "get" | "list", _)
        | ("operator", "raft", "list-peers")
        | ("audit" | "auth" | "secrets" | "policy" | "token", "list" | "read" | "lookup", _) => Observe,
        ("operator", "unseal", _) | ("operator", "raft", "snapshot")
            if words.contains(&"save") || word(1) == "unseal" =>
        {
            Idempotent
        }
        ("login", _, _) | ("kv", "put" | "patch", _) => Idempotent,
        _ => Destructive,
    }
}

fn etcd(rest: &[&str]) -> Class {
    let has = |word: &str| rest.contains(&word);
    if has("snapshot") {
        return if has("save") {
            Idempotent
        } else if has("status") {
            Observe
        } else {
            Destructive
        };
    }
    if has("get")
        || has("endpoint")
        || has("status")
        || has("version")
        || (has("member") && has("list"))
        || (has("alarm") && has("list"))
    {
        Observe
    } else if has("put") {
        Idempotent
    } else {
        Destructive
    }
}
