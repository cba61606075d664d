//! Which verbs of which programs look, repeat or destroy.
//!
//! A simple command comes in; a judgement leaves. Families of programs with verbs of their own are in `families`; what no
//! family knows is looked for in lists; a script is judged by its name, and the rest is `unknown`.
//!
//! A program stands in the list of those that only look when no option of it changes anything by itself.

mod families;

use super::{Class, Judgement, StepKind, words::Command};

use Class::{Destructive, Idempotent, Observe, Unknown};

/// Judges one simple command.
pub(super) fn judge(command: &Command) -> Judgement {
    let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
    let Some(program) = words.first() else {
        return Judgement { class: Idempotent, kind: StepKind::Command, is_endless: false };
    };
    let is_path = program.contains('/');
    let program = program.rsplit('/').next().unwrap_or(program);
    let rest = words.get(1..).unwrap_or_default();
    let mut class = families::class(command, program, rest)
        .or_else(|| files(program, rest))
        .or_else(|| settings(program, rest))
        .or_else(|| listed(program))
        .unwrap_or_else(|| script(program, rest, is_path));
    if !command.writes.is_empty() {
        let is_disk = command.writes.iter().any(|file| is_device(file));
        class = class.max(if is_disk { Destructive } else { Idempotent });
    }
    Judgement { class, kind: kind(program, rest, class), is_endless: is_endless(program, rest) }
}

/// Programs that read, write and pack files.
fn files(program: &str, rest: &[&str]) -> Option<Class> {
    let has = |words: &[&str]| rest.iter().any(|word| words.contains(word));
    let mode = rest.first().copied().unwrap_or_default();
    Some(match program {
        "find" if has(&["-delete", "-exec", "-execdir", "-ok"]) => Destructive,
        "gunzip" | "gzip" | "zstd" | "unzip" | "bzip2" | "xz"
            if has(&["--test", "--list", "--stdout"]) || rest.iter().any(|word| is_flag(word, "tlcp")) =>
        {
            Observe
        }
        "tar" if mode.contains('t') && !mode.contains(['x', 'c']) => Observe,
        "sed" | "perl" if rest.iter().any(|word| word.starts_with("-i") || word.starts_with("-pi")) => {
            Idempotent
        }
        "perl" => Unknown,
        "cp" | "install" | "rsync" if places_data(rest) || has(&["--delete"]) => Destructive,
        "tee" if rest.iter().any(|word| !word.starts_with('-') && *word != "/dev/null") => Idempotent,
        "rclone" => match verb(rest) {
            "ls" | "lsl" | "lsd" | "lsf" | "check" | "size" | "cat" => Observe,
            "copy" | "copyto" | "mkdir" => Idempotent,
            _ => Destructive,
        },
        _ => return None,
    })
}

/// Programs that show or change settings of a host.
fn settings(program: &str, rest: &[&str]) -> Option<Class> {
    let has = |words: &[&str]| rest.iter().any(|word| words.contains(word));
    let looks_if = |looks: bool| if looks { Observe } else { Destructive };
    Some(match program {
        "iptables" | "ip6tables" | "nft" => looks_if(has(&["-L", "--list", "-S", "list"])),
        "ufw" | "firewall-cmd" => looks_if(has(&["status", "--list-all", "--state"])),
        "ip" | "crontab" | "mount" | "swapon" => {
            let shows = has(&["-l", "--list", "show", "list", "addr", "a", "route", "r"]);
            looks_if((rest.is_empty() || shows) && !has(&["-r", "add", "del", "flush"]))
        }
        "journalctl" => {
            looks_if(!rest.iter().any(|word| word.starts_with("--vacuum") || *word == "--rotate"))
        }
        "vim" | "vi" | "nano" | "emacs" | "edit" => Unknown,
        _ => return None,
    })
}

/// Programs whose name says it all.
fn listed(program: &str) -> Option<Class> {
    let is_in = |list: &str| list.split_whitespace().any(|word| word == program);
    if is_in(LOOKING) {
        Some(Observe)
    } else if is_in(REPEATABLE) {
        Some(Idempotent)
    } else {
        is_in(DESTROYING).then_some(Destructive)
    }
}

const LOOKING: &str = "\
    ls cat head tail grep egrep zgrep rg less more wc df du free ps top htop stat find file echo \
    printf date uptime dig nslookup ping ping6 host nc ncat telnet ss netstat lsof journalctl dmesg \
    vmstat iostat sar id whoami hostname uname which type pg_isready pg_verifybackup pg_amcheck \
    pg_controldata pg_waldump sha256sum md5sum sha1sum sha512sum cksum zcat xzcat zstdcat jq yq awk \
    sed sort uniq cut tr tee column diff cmp test [ [[ true false cd pwd sleep wait read exit \
    return set unset export env printenv lsblk blkid smartctl traceroute tracepath mtr \
    whois nmap pytest fi done esac last who w ulimit timedatectl hostnamectl \
    sestatus nvidia-smi stern k9s loginctl lscpu for case";
const REPEATABLE: &str = "\
    mkdir chmod chown touch cp scp rsync ln install pg_dump pg_dumpall pg_basebackup mysqldump \
    mongodump createdb createuser sync nginx redis-server unzip tar gunzip gzip zstd logrotate \
    initctl update-ca-certificates newgrp umask";
const DESTROYING: &str = "\
    rm rmdir unlink shred dd mkfs wipefs parted fdisk fsck e2fsck xfs_repair dropdb dropuser kill \
    pkill killall reboot shutdown poweroff halt truncate pg_restore pg_resetwal pg_rewind pg_ctl \
    pg_ctlcluster pg_dropcluster pg_upgrade mongorestore mysqladmin mv umount userdel lvremove \
    vgremove zfs zpool btrfs mdadm initdb repmgr patronictl swapoff route passwd";

fn is_flag(word: &str, letters: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--") && word.chars().skip(1).any(|c| letters.contains(c))
}

fn is_device(file: &str) -> bool {
    file.starts_with("/dev/") && !matches!(file, "/dev/stderr" | "/dev/stdout" | "/dev/tty")
}

/// The first word that is no option.
fn verb<'a>(rest: &[&'a str]) -> &'a str {
    rest.iter().find(|word| !word.starts_with('-')).copied().unwrap_or("")
}

/// Files that belong to a server: what is copied over them is gone.
fn places_data(rest: &[&str]) -> bool {
    rest.last().is_some_and(|target| {
        ["/var/lib/", "pgdata", "/data/", "dump.rdb", "appendonly"].iter().any(|part| target.contains(part))
            && !target.contains("backup")
    })
}

/// A script says what it does by its name and arguments, if at all.
fn script(program: &str, rest: &[&str], is_path: bool) -> Class {
    let is_script = is_path
        || matches!(program.rsplit_once('.'), Some((_, "sh" | "py")))
        || matches!(program, "bash" | "sh" | "make" | "node" | "npx" | "python");
    let all = format!(
        "{program} {}",
        rest.iter().filter(|word| !word.starts_with('/')).copied().collect::<Vec<_>>().join(" ")
    )
    .to_lowercase();
    let destroys = [
        "restore", "rollback", "delete", "destroy", "drop", "reset", "wipe", "purge", "failover", "promote",
        "prune", "cleanup",
    ];
    let is_word = |name: &str| all.split(|c: char| !c.is_alphanumeric()).any(|word| word == name);
    if is_script && destroys.iter().any(|name| is_word(name)) { Destructive } else { Unknown }
}

fn kind(program: &str, rest: &[&str], class: Class) -> StepKind {
    let has = |word: &str| rest.contains(&word);
    let all = || format!("{program} {}", rest.join(" ")).to_lowercase();
    let is_word = |names: &[&str]| {
        let all = all();
        names.iter().any(|name| all.split(|c: char| !c.is_alphanumeric()).any(|word| word == *name))
    };
    match program {
        "vim" | "vi" | "nano" | "emacs" | "edit" => StepKind::Manual,
        "sleep" | "wait" => StepKind::Wait,
        "kubectl" | "oc" if has("wait") || (has("rollout") && has("status")) => StepKind::Wait,
        "aws" if has("wait") => StepKind::Wait,
        "pg_isready" | "ping" | "pytest" | "sha256sum" | "md5sum" | "pg_verifybackup" | "pg_amcheck"
        | "dig" | "nslookup" => StepKind::Check,
        "redis-cli" if has("ping") || has("PING") => StepKind::Check,
        "systemctl" if has("status") || has("is-active") => StepKind::Check,
        "curl" | "wget" | "http" if class == Observe => StepKind::Check,
        "gunzip" | "gzip" | "unzip" if has("-t") => StepKind::Check,
        _ if class == Unknown
            && is_word(&["smoke", "verify", "healthcheck", "health", "check", "validate", "smoketest"]) =>
        {
            StepKind::Check
        }
        _ => StepKind::Command,
    }
}

/// Follows something until a person stops it.
fn is_endless(program: &str, rest: &[&str]) -> bool {
    let has = |word: &str| rest.contains(&word);
    let follows = has("-f") || has("--follow");
    match program {
        "kubectl" => (has("logs") && follows) || (has("get") && (has("-w") || has("--watch"))),
        "docker" | "docker-compose" | "podman" => {
            (has("logs") && follows) || (has("stats") && !has("--no-stream"))
        }
        "tail" | "journalctl" => follows || has("-F"),
        "top" | "htop" => !has("-b") && !has("-n"),
        _ => false,
    }
}
