//! What a line, or a run of lines, looks like: cron, SQL, JSON, output of a program, words, commands.
//!
//! Text comes in, a yes or no leaves. Each rule looks at form and at words that belong to a language, never at the
//! wording of a certain document.

/// Fences of these languages say nothing of what they hold.
pub(super) fn is_plain_language(language: &str) -> bool {
    matches!(language, "text" | "txt" | "plain" | "plaintext" | "none" | "code")
}

/// Tells whether a line is one of a crontab: five fields of time, or `@daily`, and a command.
pub(super) fn is_cron(line: &str) -> bool {
    let mut fields = line.split_whitespace();
    let Some(first) = fields.next() else { return false };
    if first.starts_with('@') {
        let is_known = matches!(
            first,
            "@reboot" | "@yearly" | "@annually" | "@monthly" | "@weekly" | "@daily" | "@midnight" | "@hourly"
        );
        return is_known && fields.next().is_some();
    }
    let is_field = |field: &str| {
        let has_time = field.contains('*') || field.chars().any(|c| c.is_ascii_digit());
        let is_name =
            field.len() >= 3 && field.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '-' | ','));
        let is_form = field.chars().all(|c| c.is_ascii_digit() || matches!(c, '*' | '/' | ',' | '-'));
        (has_time && is_form) || is_name
    };
    let starts_well = first.starts_with(|c: char| c.is_ascii_digit() || c == '*');
    starts_well
        && is_field(first)
        && fields.by_ref().take(4).filter(|field| is_field(field)).count() == 4
        && fields.next().is_some()
}

/// Tells whether a statement is SQL that stands without a client before it.
pub(super) fn is_sql(text: &str) -> bool {
    let words: Vec<String> = text.split_whitespace().take(3).map(str::to_uppercase).collect();
    let word = |at: usize| words.get(at).map_or("", |word| word.trim_end_matches(';'));
    match word(0) {
        "SELECT" | "WITH" | "GRANT" | "REVOKE" | "EXPLAIN" | "COPY" => {
            words.len() > 1 && text.trim_end().ends_with(';')
        }
        "INSERT" => word(1) == "INTO",
        "DELETE" => word(1) == "FROM",
        "UPDATE" => word(2) == "SET",
        "CREATE" | "ALTER" | "DROP" => matches!(
            word(1),
            "TABLE"
                | "DATABASE"
                | "INDEX"
                | "ROLE"
                | "USER"
                | "SCHEMA"
                | "EXTENSION"
                | "SYSTEM"
                | "VIEW"
                | "FUNCTION"
                | "SUBSCRIPTION"
                | "PUBLICATION"
                | "UNIQUE"
                | "TRIGGER"
                | "SEQUENCE"
        ),
        "TRUNCATE" | "VACUUM" | "REINDEX" | "ANALYZE" | "BEGIN" | "COMMIT" | "ROLLBACK" => {
            text.trim_end().ends_with(';')
        }
        first => first.starts_with("--") && words.len() > 1,
    }
}

/// How many lines the JSON value at the beginning of `rest` has; `None` when none begins there.
pub(super) fn json_lines(rest: &[&str]) -> Option<usize> {
    let first = rest.first()?.trim();
    if !(first.starts_with('{') || first.starts_with('[')) || first.starts_with("[[") {
        return None;
    }
    // Where the brackets are balanced the value ends; only then it is worth parsing.
    let (mut depth, mut in_string, mut text) = (0_usize, false, String::new());
    for (index, line) in rest.iter().enumerate() {
        let mut is_escaped = false;
        for c in line.chars() {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' if in_string => is_escaped = true,
                '"' => in_string = !in_string,
                '{' | '[' if !in_string => depth += 1,
                '}' | ']' if !in_string => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        text.push_str(line);
        text.push('\n');
        if depth == 0 {
            return serde_json::from_str::<serde_json::Value>(&text).ok().map(|_| index + 1);
        }
    }
    None
}

/// Tells whether this was copied from a terminal or a log.
pub(super) fn is_transcript(content: &str) -> bool {
    let lines: Vec<&str> = content.lines().filter(|line| !line.trim().is_empty()).collect();
    let prompts = lines.iter().filter(|line| is_prompt(line)).count();
    if prompts > 0 && prompts < lines.len() && lines.first().is_some_and(|line| is_prompt(line)) {
        return true;
    }
    let printed = lines.iter().filter(|line| is_printed(line)).count();
    !lines.is_empty() && printed * 2 > lines.len()
}

fn is_prompt(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("$ ")
        || line.starts_with("> ")
        || line.starts_with("% ")
        || line.contains("]$ ")
        || line.contains("]# ")
}

/// A heading of a table that a program prints, or a line of a log with its time.
fn is_printed(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_capital = |word: &&&str| {
        word.len() > 1
            && word.chars().all(|c| c.is_ascii_uppercase() || matches!(c, '-' | '(' | ')' | '/' | '_'))
    };
    let is_header =
        words.len() >= 3 && words.iter().filter(is_capital).count() == words.len() && line.contains("  ");
    let mut chars = line.trim_start_matches('[').chars();
    let date: String = chars.by_ref().take(10).collect();
    let is_date = date.len() == 10
        && date
            .chars()
            .enumerate()
            .all(|(at, c)| if at == 4 || at == 7 { c == '-' } else { c.is_ascii_digit() });
    is_header || (is_date && chars.next().is_some_and(|c| c == 'T' || c == ' ') && words.len() > 2)
}

/// Tells whether this is Markdown that somebody fills in.
pub(super) fn is_template(content: &str) -> bool {
    let lines: Vec<&str> = content.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_heading =
        |line: &&&str| line.starts_with("## ") || line.starts_with("# ") || line.starts_with("### ");
    let is_field = |line: &&&str| {
        line.starts_with("**")
            || line.ends_with(':')
            || (line.contains('[') && line.contains(']') && !line.contains("[ ]"))
    };
    let headings = lines.iter().filter(is_heading).count();
    let fields = lines.iter().filter(is_field).count();
    (headings > 0 && fields * 3 >= lines.len())
        || (fields >= 3 && fields * 2 > lines.len() && !looks_like_shell(content))
}

/// Tells whether this is for people: boxes to tick, `Name: value` lines, sentences.
pub(super) fn is_words(content: &str) -> bool {
    let lines: Vec<&str> = content.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let words = lines.iter().filter(|line| is_wordy(line)).count();
    words * 3 >= lines.len() * 2
}

fn is_wordy(line: &str) -> bool {
    if line.starts_with("[ ]")
        || line.starts_with("[x]")
        || line.starts_with("- ")
        || line.starts_with("* ")
        || line.starts_with('☐')
    {
        return true;
    }
    let is_numbered = line.split_once(['.', ')']).is_some_and(|(number, rest)| {
        !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) && rest.starts_with(' ')
    });
    let is_field = line.split_once(": ").is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_uppercase())
            && name.len() < 60
            && !name.contains(['=', '|', '$', '/'])
    });
    let is_sentence = line.starts_with(|c: char| c.is_uppercase())
        && line.split(' ').count() > 3
        && !line.contains(['|', '$', '=']);
    is_numbered || is_field || is_sentence
}

/// Tells whether most statements begin with something that can be run.
pub(super) fn looks_like_shell(content: &str) -> bool {
    let lines: Vec<&str> =
        content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let commands = lines.iter().filter(|line| is_command(line)).count();
    !lines.is_empty() && commands * 2 >= lines.len()
}

pub(super) fn is_command(line: &str) -> bool {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let mut words = line.split_whitespace().skip_while(|word| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    });
    let Some(first) = words.next() else { return line.contains('=') };
    first.starts_with("./") || first.starts_with('/') || COMMANDS.contains(&first.trim_end_matches(';'))
}

/// Programs and words of the shell that recovery documents use.
const COMMANDS: &[&str] = &[
    "alembic",
    "ansible",
    "ansible-playbook",
    "apt",
    "apt-get",
    "awk",
    "aws",
    "az",
    "barman",
    "bash",
    "borg",
    "brew",
    "bundle",
    "case",
    "cat",
    "cd",
    "chmod",
    "chown",
    "consul",
    "cp",
    "createdb",
    "crontab",
    "curl",
    "cut",
    "date",
    "dd",
    "df",
    "dig",
    "dnf",
    "docker",
    "docker-compose",
    "dropdb",
    "du",
    "echo",
    "env",
    "etcdctl",
    "exit",
    "export",
    "find",
    "flyctl",
    "for",
    "free",
    "fsck",
    "gcloud",
    "git",
    "grep",
    "gsutil",
    "gunzip",
    "gzip",
    "head",
    "helm",
    "host",
    "if",
    "initctl",
    "ip",
    "iptables",
    "journalctl",
    "jq",
    "k3s",
    "kill",
    "kubectl",
    "less",
    "ln",
    "ls",
    "lsblk",
    "lsof",
    "make",
    "mc",
    "md5sum",
    "mkdir",
    "mongo",
    "mongodump",
    "mongorestore",
    "mongosh",
    "mount",
    "mv",
    "mysql",
    "mysqldump",
    "nano",
    "nc",
    "netstat",
    "nginx",
    "nomad",
    "npm",
    "npx",
    "node",
    "nslookup",
    "openssl",
    "pg_basebackup",
    "pg_ctl",
    "pg_dump",
    "pg_dumpall",
    "pg_isready",
    "pg_restore",
    "pgbackrest",
    "ping",
    "pip",
    "pkill",
    "pnpm",
    "podman",
    "ps",
    "psql",
    "pulumi",
    "pytest",
    "python",
    "python3",
    "rclone",
    "read",
    "reboot",
    "redis-cli",
    "restic",
    "rm",
    "rsync",
    "scp",
    "sed",
    "service",
    "set",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "source",
    "sqlite3",
    "ss",
    "ssh",
    "sudo",
    "su",
    "supervisorctl",
    "systemctl",
    "tail",
    "tar",
    "tee",
    "telnet",
    "terraform",
    "test",
    "tofu",
    "top",
    "touch",
    "ufw",
    "umount",
    "unzip",
    "uptime",
    "vault",
    "velero",
    "vim",
    "vi",
    "wal-g",
    "watch",
    "wget",
    "while",
    "xargs",
    "yarn",
    "yum",
    "zcat",
    "zfs",
    "muster",
];
