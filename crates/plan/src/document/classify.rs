//! What a fence holds: commands, SQL, cron lines, settings, JSON, a template to fill in, or what a program has printed.
//!
//! The language of the info string and the content come in; a [`FenceKind`] and the [`Part`]s leave. The content may
//! overrule the language: a crontab in a `bash` fence is a crontab, and a fence that holds commands and JSON is several.
//! The parts cover every line that is not empty, in order, comments with what follows them.
//!
//! It never runs, parses in full or judges anything; what it does not know is `unknown`.
//!
//! Read next: `lines` for one line, `settings` for configuration files.

mod lines;
mod settings;

use serde::{Serialize, Serializer};

use super::{
    Lines,
    statement::{self, PieceKind},
};

/// What a fence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FenceKind {
    /// A native step of a runbook.
    Muster,
    /// Commands for a shell.
    Shell,
    /// SQL.
    Sql,
    /// Lines of a crontab.
    Cron,
    /// A configuration file.
    Config(ConfigKind),
    /// JSON.
    Json,
    /// Markdown to be filled in.
    Template,
    /// What a program has printed, perhaps with the commands before it.
    Transcript,
    /// A program in another language.
    Program,
    /// A drawing.
    Diagram,
    /// Words for people: a checklist, a list of names.
    Text,
    /// More than one of these; see the parts.
    Several,
    /// Nothing of this can be told.
    Unknown,
}

/// The format of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigKind {
    /// YAML.
    Yaml,
    /// TOML.
    Toml,
    /// Sections in brackets.
    Ini,
    /// `NAME=value` lines.
    Env,
    /// nginx.
    Nginx,
    /// `HAProxy`.
    Haproxy,
    /// `postgresql.conf`, also the old `recovery.conf`.
    Postgresql,
    /// `pg_hba.conf`.
    PgHba,
    /// `redis.conf`.
    Redis,
    /// A unit of systemd.
    Systemd,
    /// A Dockerfile.
    Dockerfile,
    /// Terraform and its relatives.
    Hcl,
    /// XML.
    Xml,
    /// Some other format.
    Other,
}

/// Lines of a fence that hold one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Where they stand in the file.
    pub lines: Lines,
    /// What they hold; never `several`.
    pub kind: FenceKind,
}

impl FenceKind {
    /// Returns its name as documents print it; that of a configuration is `config-` and the format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Muster => "muster",
            Self::Shell => "shell",
            Self::Sql => "sql",
            Self::Cron => "cron",
            Self::Config(kind) => kind.name(),
            Self::Json => "json",
            Self::Template => "template",
            Self::Transcript => "transcript",
            Self::Program => "program",
            Self::Diagram => "diagram",
            Self::Text => "text",
            Self::Several => "several",
            Self::Unknown => "unknown",
        }
    }
}

impl ConfigKind {
    /// Returns its name with `config-` before it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yaml => "config-yaml",
            Self::Toml => "config-toml",
            Self::Ini => "config-ini",
            Self::Env => "config-env",
            Self::Nginx => "config-nginx",
            Self::Haproxy => "config-haproxy",
            Self::Postgresql => "config-postgresql",
            Self::PgHba => "config-pg-hba",
            Self::Redis => "config-redis",
            Self::Systemd => "config-systemd",
            Self::Dockerfile => "config-dockerfile",
            Self::Hcl => "config-hcl",
            Self::Xml => "config-xml",
            Self::Other => "config-other",
        }
    }
}

impl Serialize for FenceKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Whether a line begins with something that a shell can run.
pub(crate) fn is_command(line: &str) -> bool {
    lines::is_command(line.trim())
}

/// How often JSON is looked for in one fence.
const JSON_TRIES_MAX: usize = 20;

/// Says what a fence holds. `language` is in lower case, `first` the line of the first content line.
pub fn classify(language: &str, content: &str, first: usize) -> (FenceKind, Vec<Part>) {
    let whole = |kind| (kind, whole(content, first, kind));
    if content.trim().is_empty() {
        return (by_language(language).unwrap_or(FenceKind::Unknown), Vec::new());
    }
    match by_language(language) {
        Some(FenceKind::Shell) => shell(content, first),
        Some(FenceKind::Sql) => {
            let bare: String = content
                .lines()
                .filter_map(|line| line.trim().strip_prefix("--"))
                .collect::<Vec<_>>()
                .join("\n");
            let is_only_comments =
                content.lines().all(|line| line.trim().is_empty() || line.trim().starts_with("--"));
            // Settings that somebody has commented out of an SQL fence are still settings.
            match settings::guess(&bare) {
                Some(kind) if is_only_comments => whole(FenceKind::Config(kind)),
                _ => whole(FenceKind::Sql),
            }
        }
        Some(FenceKind::Config(ConfigKind::Other | ConfigKind::Ini)) => {
            whole(FenceKind::Config(settings::guess(content).unwrap_or(ConfigKind::Other)))
        }
        Some(kind) => whole(kind),
        None if language.is_empty() || lines::is_plain_language(language) => guess(content, first),
        None => whole(FenceKind::Unknown),
    }
}

fn by_language(language: &str) -> Option<FenceKind> {
    use ConfigKind as C;
    Some(match language {
        "muster" => FenceKind::Muster,
        "bash" | "sh" | "shell" | "zsh" | "ksh" | "fish" | "console" | "terminal" | "shell-session"
        | "shellsession" | "sh-session" | "shellscript" | "powershell" | "pwsh" | "ps1" | "cmd" | "bat" => {
            FenceKind::Shell
        }
        "sql" | "psql" | "pgsql" | "postgres" | "postgresql" | "plpgsql" | "mysql" | "sqlite" => {
            FenceKind::Sql
        }
        "cron" | "crontab" => FenceKind::Cron,
        "json" | "jsonc" | "json5" => FenceKind::Json,
        "yaml" | "yml" => FenceKind::Config(C::Yaml),
        "toml" => FenceKind::Config(C::Toml),
        "ini" | "cfg" | "conf" | "config" | "properties" => FenceKind::Config(C::Ini),
        "env" | "dotenv" => FenceKind::Config(C::Env),
        "nginx" => FenceKind::Config(C::Nginx),
        "haproxy" => FenceKind::Config(C::Haproxy),
        "redis" => FenceKind::Config(C::Redis),
        "systemd" | "service" | "unit" => FenceKind::Config(C::Systemd),
        "dockerfile" | "docker" => FenceKind::Config(C::Dockerfile),
        "hcl" | "terraform" | "tf" => FenceKind::Config(C::Hcl),
        "xml" => FenceKind::Config(C::Xml),
        "markdown" | "md" => FenceKind::Template,
        "output" | "log" | "logs" => FenceKind::Transcript,
        "python" | "py" | "javascript" | "js" | "typescript" | "ts" | "go" | "rust" | "java" | "ruby"
        | "php" | "c" | "cpp" | "perl" | "lua" | "groovy" => FenceKind::Program,
        "mermaid" | "dot" | "plantuml" | "graphviz" => FenceKind::Diagram,
        _ => return None,
    })
}

/// A fence that says it is for a shell: cut into statements, because other things stand in such fences too.
fn shell(content: &str, first: usize) -> (FenceKind, Vec<Part>) {
    if lines::is_transcript(content) {
        return (FenceKind::Transcript, whole(content, first, FenceKind::Transcript));
    }
    let rows: Vec<&str> = content.lines().collect();
    let mut parts: Vec<Part> = Vec::new();
    let mut comment: Option<usize> = None;
    // A JSON document that stands between commands is one thing, although a shell would read it as several.
    let mut json_until = 0;
    let mut tries = JSON_TRIES_MAX;
    for piece in statement::split(content, first) {
        match piece.kind {
            PieceKind::Blank => {}
            PieceKind::Comment => {
                comment.get_or_insert(piece.lines.first);
            }
            PieceKind::Statement => {
                let kind = if piece.lines.first <= json_until {
                    FenceKind::Json
                } else if let Some(count) = json(&rows, piece.lines.first - first, &mut tries) {
                    json_until = piece.lines.first + count - 1;
                    FenceKind::Json
                } else if lines::is_cron(&piece.text) {
                    FenceKind::Cron
                } else if lines::is_sql(&piece.text) {
                    FenceKind::Sql
                } else {
                    FenceKind::Shell
                };
                let begin = comment.take().unwrap_or(piece.lines.first);
                match parts.last_mut() {
                    Some(part) if part.kind == kind => part.lines.last = piece.lines.last,
                    _ => parts.push(Part { lines: Lines::new(begin, piece.lines.last), kind }),
                }
            }
        }
    }
    let Some(part) = parts.last_mut() else {
        // Only comments: notes for a person in a fence for a shell.
        return (FenceKind::Text, whole(content, first, FenceKind::Text));
    };
    if let Some(line) = comment {
        part.lines.last = part.lines.last.max(line);
    }
    (kind_of(&parts), parts)
}

/// Looks for JSON, but only as often as a person would put some into one fence.
fn json(rows: &[&str], at: usize, tries: &mut usize) -> Option<usize> {
    let rows = rows.get(at..)?;
    if !rows.first()?.trim_start().starts_with(['{', '[']) {
        return None;
    }
    *tries = tries.checked_sub(1)?;
    lines::json_lines(rows)
}

/// A fence that says nothing of itself.
fn guess(content: &str, first: usize) -> (FenceKind, Vec<Part>) {
    let whole = |kind| (kind, whole(content, first, kind));
    let is_json = lines::json_lines(&content.lines().collect::<Vec<_>>())
        .is_some_and(|count| count >= content.trim_end().lines().count());
    if is_json {
        return whole(FenceKind::Json);
    }
    if lines::is_transcript(content) {
        return whole(FenceKind::Transcript);
    }
    if let Some(kind) = settings::guess(content) {
        return whole(FenceKind::Config(kind));
    }
    if lines::is_template(content) {
        return whole(FenceKind::Template);
    }
    if lines::is_words(content) {
        return whole(FenceKind::Text);
    }
    let (kind, parts) = shell(content, first);
    let is_shell = matches!(kind, FenceKind::Shell | FenceKind::Several);
    if is_shell && !lines::looks_like_shell(content) {
        return whole(FenceKind::Unknown);
    }
    (kind, parts)
}

fn kind_of(parts: &[Part]) -> FenceKind {
    match parts.first() {
        Some(first) if parts.iter().all(|part| part.kind == first.kind) => first.kind,
        Some(_) => FenceKind::Several,
        None => FenceKind::Unknown,
    }
}

fn whole(content: &str, first: usize, kind: FenceKind) -> Vec<Part> {
    let count = content.trim_end().lines().count().max(1);
    vec![Part { lines: Lines::new(first, first + count - 1), kind }]
}

#[cfg(test)]
mod tests;
