//! What SQL would do. The gravest statement decides; comments and quoted text are no statements.

use super::Class;

/// Judges SQL.
pub(super) fn class(text: &str) -> Class {
    let bare: String = text
        .lines()
        .map(|line| line.split_once("--").map_or(line, |(before, _)| before))
        .collect::<Vec<_>>()
        .join("\n");
    statements(&bare).iter().map(|one| statement(one)).max().unwrap_or(Class::Observe)
}

/// Splits at semicolons outside of quotes.
fn statements(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut is_quoted = false;
    for c in text.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ';' if !is_quoted => found.push(String::new()),
            // What is quoted is data: `'delete'` deletes nothing.
            _ if is_quoted => {}
            _ => found.last_mut().into_iter().for_each(|one| one.push(c)),
        }
    }
    found
}

fn statement(text: &str) -> Class {
    let upper = text.to_uppercase();
    let words: Vec<&str> = upper
        .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '\\')
        .filter(|word| !word.is_empty())
        .collect();
    let Some(first) = words.first() else { return Class::Observe };
    let has = |word: &str| words.contains(&word);
    match *first {
        "SELECT" | "TABLE" | "VALUES" | "WITH"
            if !["DELETE", "UPDATE", "INSERT"].iter().any(|word| has(word)) =>
        {
            let acts = ["PG_TERMINATE_BACKEND", "PG_PROMOTE", "PG_DROP_REPLICATION_SLOT", "SETVAL", "INTO"];
            if acts.iter().any(|word| has(word)) { Class::Destructive } else { Class::Observe }
        }
        "EXPLAIN" if !has("ANALYZE") => Class::Observe,
        "SHOW" | "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "SET" | "PRAGMA" => Class::Observe,
        "VACUUM" | "ANALYZE" | "REINDEX" | "CHECKPOINT" | "REFRESH" | "GRANT" => Class::Idempotent,
        "CREATE" if has("EXISTS") || has("REPLACE") => Class::Idempotent,
        "DROP" | "DELETE" | "TRUNCATE" | "UPDATE" | "ALTER" | "INSERT" | "MERGE" | "REVOKE" | "COPY"
        | "CREATE" | "SELECT" | "WITH" | "REASSIGN" | "LOCK" => Class::Destructive,
        // `\d`, `\l` and their like show; `\i` reads a file that nobody sees here.
        word if word.starts_with("\\D")
            || word.starts_with("\\L")
            || word.starts_with("\\X")
            || word.starts_with("\\C") =>
        {
            Class::Observe
        }
        _ => Class::Unknown,
    }
}
