//! Which configuration file a text is taken from.
//!
//! Text comes in; a format leaves, or nothing. A format is recognised by its own words and form; where two would fit,
//! the more special one wins.

use super::ConfigKind;

/// Settings that only PostgreSQL has.
const POSTGRESQL: &[&str] = &[
    "wal_level",
    "archive_mode",
    "archive_command",
    "archive_timeout",
    "restore_command",
    "recovery_target_time",
    "recovery_target",
    "recovery_target_action",
    "max_wal_senders",
    "max_wal_size",
    "wal_keep_size",
    "hot_standby",
    "primary_conninfo",
    "primary_slot_name",
    "standby_mode",
    "shared_buffers",
    "synchronous_commit",
    "full_page_writes",
    "max_replication_slots",
    "effective_cache_size",
    "work_mem",
];
/// Settings that only Redis has.
const REDIS: &[&str] = &[
    "appendonly",
    "appendfsync",
    "appendfilename",
    "auto-aof-rewrite-percentage",
    "auto-aof-rewrite-min-size",
    "dbfilename",
    "maxmemory",
    "maxmemory-policy",
    "requirepass",
    "replicaof",
    "min-replicas-to-write",
    "stop-writes-on-bgsave-error",
    "save",
];

/// Guesses the format.
pub(super) fn guess(content: &str) -> Option<ConfigKind> {
    let lines: Vec<&str> = content
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';']))
        .collect();
    let first = lines.first()?.trim();
    let share = |is: &dyn Fn(&str) -> bool| lines.iter().filter(|line| is(line.trim())).count();
    let is_most = |count: usize| count * 2 > lines.len();
    let is_section = |line: &str| line.starts_with('[') && line.ends_with(']') && !line.contains(' ');
    if share(&|line| matches!(line, "[Unit]" | "[Service]" | "[Timer]" | "[Install]")) > 0 {
        return Some(ConfigKind::Systemd);
    }
    if is_most(share(&|line| POSTGRESQL.contains(&name(line)))) {
        return Some(ConfigKind::Postgresql);
    }
    if is_most(share(&|line| REDIS.contains(&line.split(' ').next().unwrap_or_default()))) {
        return Some(ConfigKind::Redis);
    }
    if is_most(share(&is_hba)) {
        return Some(ConfigKind::PgHba);
    }
    if first.starts_with("FROM ")
        && share(&|line| line.starts_with("RUN ") || line.starts_with("COPY ") || line.starts_with("CMD")) > 0
    {
        return Some(ConfigKind::Dockerfile);
    }
    if is_hcl(first) {
        return Some(ConfigKind::Hcl);
    }
    if share(&|line| {
        line.ends_with('{')
            && ["server", "location", "upstream", "http", "events"].iter().any(|word| line.starts_with(word))
    }) > 0
    {
        return Some(ConfigKind::Nginx);
    }
    if share(&|line| ["frontend ", "backend ", "listen "].iter().any(|word| line.starts_with(word))) > 0
        && share(&|line| line.starts_with("server ") || line.starts_with("bind ")) > 0
    {
        return Some(ConfigKind::Haproxy);
    }
    if first.starts_with("<?xml")
        || (first.starts_with('<') && content.trim_end().ends_with('>') && content.contains("</"))
    {
        return Some(ConfigKind::Xml);
    }
    if is_section(first) {
        let quoted = share(&|line| {
            line.split_once(" = ").is_some_and(|(_, value)| value.starts_with(['"', '[', '\'']))
        });
        return Some(if quoted > 0 { ConfigKind::Toml } else { ConfigKind::Ini });
    }
    if share(&is_assignment) == lines.len() {
        return Some(ConfigKind::Env);
    }
    is_yaml(&lines).then_some(ConfigKind::Yaml)
}

fn name(line: &str) -> &str {
    line.split(['=', ' ']).next().unwrap_or_default()
}

fn is_hba(line: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    fields.len() >= 4
        && matches!(fields.first(), Some(&("local" | "host" | "hostssl" | "hostnossl")))
        && fields
            .iter()
            .any(|field| matches!(*field, "scram-sha-256" | "md5" | "trust" | "peer" | "reject" | "cert"))
}

fn is_hcl(first: &str) -> bool {
    let word = first.split(' ').next().unwrap_or_default();
    first.ends_with('{')
        && matches!(
            word,
            "resource"
                | "variable"
                | "provider"
                | "terraform"
                | "module"
                | "data"
                | "output"
                | "locals"
                | "storage"
                | "listener"
                | "seal"
        )
}

fn is_assignment(line: &str) -> bool {
    line.split_once('=').is_some_and(|(name, value)| {
        name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            && !value.starts_with("$(")
    })
}

/// Keys without blanks that are not all words with a capital: those are names for people.
fn is_yaml(lines: &[&str]) -> bool {
    let key = |line: &str| {
        let line = line.trim().trim_start_matches("- ");
        let (name, rest) = line.split_once(':')?;
        let is_key = !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '"'));
        (is_key && (rest.is_empty() || rest.starts_with(' '))).then(|| name.to_owned())
    };
    let keys: Vec<String> = lines.iter().filter_map(|line| key(line)).collect();
    let is_nested = lines.iter().any(|line| line.starts_with("  ") || line.starts_with("- "));
    let is_small = keys.iter().any(|key| key.starts_with(|c: char| c.is_lowercase()));
    let others = lines.len() - keys.len();
    let listed =
        lines.iter().filter(|line| line.trim_start().starts_with("- ") && key(line).is_none()).count();
    keys.len() * 2 > lines.len().saturating_sub(listed)
        && is_small
        && (others == 0 || is_nested)
        && lines.first().is_some_and(|line| key(line).is_some())
}
