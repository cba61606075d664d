//! Steps out of a fence: one for each statement, with the comment above it as its title.
//!
//! A comment that names a kind of installation (`# Kubernetes`) says for which one the statements below it are. Comments
//! that no statement follows are instructions for a person.

use super::super::{Class, Step, StepKind, Under, placeholders, words::Words};
use crate::{
    command as judge,
    document::{
        Fence, FenceKind, Part,
        statement::{self, PieceKind},
    },
};

/// Returns the steps, and the parts of the fence that are none.
pub(super) fn steps(fence: &Fence, above: Option<&Under>, part: &'static str) -> (Vec<Step>, Vec<Part>) {
    let is_notes = fence.kind == FenceKind::Text
        && matches!(fence.language.as_str(), "bash" | "sh" | "shell" | "zsh" | "console");
    let mut found = Vec::new();
    let mut rest = Vec::new();
    for piece in &fence.parts {
        match piece.kind {
            FenceKind::Shell => shell(&slice(fence, piece), piece.lines.first, above, part, &mut found),
            FenceKind::Text if is_notes => {
                shell(&slice(fence, piece), piece.lines.first, above, part, &mut found);
            }
            FenceKind::Transcript => transcript(fence, piece, above, part, &mut found),
            FenceKind::Sql => sql(&slice(fence, piece), piece.lines.first, above, part, &mut found),
            _ => rest.push(*piece),
        }
    }
    (found, rest)
}

/// Of what was copied from a terminal, the lines behind a prompt are commands; the rest is what they printed.
fn transcript(fence: &Fence, lines: &Part, above: Option<&Under>, part: &'static str, found: &mut Vec<Step>) {
    for (line, text) in fence.lines().filter(|(line, _)| lines.lines.holds(*line)) {
        if let Some(typed) = text.trim_start().strip_prefix("$ ") {
            found.push(command(typed, (line, line), above, part));
        }
    }
}

fn slice(fence: &Fence, part: &Part) -> String {
    fence.lines().filter(|(line, _)| part.lines.holds(*line)).map(|(_, text)| format!("{text}\n")).collect()
}

fn shell(content: &str, first: usize, above: Option<&Under>, part: &'static str, found: &mut Vec<Step>) {
    let mut comments: Vec<(usize, String)> = Vec::new();
    let mut title = above.cloned();
    let mut variant: Option<&'static str> = None;
    for piece in statement::split(content, first) {
        match piece.kind {
            PieceKind::Comment => {
                if let Some(found) = variant_of(&piece.text) {
                    variant = Some(found);
                }
                if !piece.text.is_empty() {
                    comments.push((piece.lines.first, piece.text));
                }
            }
            PieceKind::Blank => notes(&mut comments, above, part, variant, found),
            PieceKind::Statement if piece.text.trim_start().starts_with("#!") => {}
            PieceKind::Statement => {
                // `# Kubernetes` says for what it is, not what it does: that stands above the fence.
                let said = comments.iter().find(|(_, text)| !is_bare_variant(text));
                if let Some((line, text)) = said {
                    title = Some(Under { title: text.clone(), line: *line });
                } else if !comments.is_empty() {
                    title = above.cloned();
                }
                comments.clear();
                let mut step =
                    command(&piece.text, (piece.lines.first, piece.lines.last), title.as_ref(), part);
                step.variant = variant.filter(|name| fits(name, &piece.text)).map(str::to_owned);
                if step.variant.is_none() {
                    variant = None;
                }
                found.push(step);
            }
        }
    }
    notes(&mut comments, above, part, variant, found);
}

/// Comments without a statement are for a person.
fn notes(
    comments: &mut Vec<(usize, String)>,
    above: Option<&Under>,
    part: &'static str,
    variant: Option<&str>,
    found: &mut Vec<Step>,
) {
    let (Some((first, _)), Some((last, _))) = (comments.first(), comments.last()) else { return };
    if !comments.iter().all(|(_, text)| is_bare_variant(text)) {
        let text = comments.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
        let mut step = super::of_words(strip_number(&text), *first, *last, above, part);
        step.variant = variant.map(str::to_owned);
        found.push(step);
    }
    comments.clear();
}

/// `Docker`, `Kubernetes:`, `Docker Compose`: a comment that only names a kind of installation.
fn is_bare_variant(comment: &str) -> bool {
    variant_of(comment).is_some() && Words::of(comment).len() <= 2
}

fn strip_number(text: &str) -> &str {
    match text.split_once(':') {
        Some((name, rest)) if Words::of(name).begins(&["step", "phase"]) && Words::of(name).len() == 2 => {
            rest.trim()
        }
        _ => text,
    }
}

fn variant_of(comment: &str) -> Option<&'static str> {
    let words = Words::of(comment);
    let is = |phrases: &[&str]| {
        words.begins(phrases)
            || (words.len() <= 6
                && phrases.iter().any(|one| {
                    words.begins(&[
                        &format!("for {one}"),
                        &format!("on {one}"),
                        &format!("with {one}"),
                        &format!("restart {one}"),
                    ])
                }))
            || (words.len() <= 4 && comment.contains('(') && words.has(phrases))
    };
    // `Check Docker network` is about Docker; it does not say that the step is only for it.
    if words.begins(&["check", "verify", "list", "show"]) && words.len() > 2 {
        return None;
    }
    [
        ("docker", &["docker", "docker compose", "compose"][..]),
        ("kubernetes", &["kubernetes", "k8s", "kubectl", "eks", "gke", "aks"][..]),
        ("systemd", &["systemd", "systemctl", "bare metal", "vm"][..]),
    ]
    .into_iter()
    .find(|(_, phrases)| is(phrases))
    .map(|(name, _)| name)
}

/// Whether a statement can be meant for a kind of installation: `kubectl` is never for Docker.
fn fits(variant: &str, statement: &str) -> bool {
    let has = |names: &[&str]| {
        statement
            .split(|c: char| c.is_whitespace() || matches!(c, '|' | ';' | '&' | '('))
            .any(|word| names.contains(&word))
    };
    match variant {
        "docker" => !has(&["kubectl", "helm", "systemctl"]),
        "kubernetes" => !has(&["docker", "docker-compose", "systemctl"]),
        _ => !has(&["kubectl", "docker", "docker-compose"]),
    }
}

fn sql(content: &str, first: usize, above: Option<&Under>, part: &'static str, found: &mut Vec<Step>) {
    let mut title = above.cloned();
    let mut open: Option<(usize, String)> = None;
    for (line, text) in content.lines().enumerate().map(|(index, text)| (first + index, text)) {
        let bare = text.trim();
        if let Some(comment) = bare.strip_prefix("--").filter(|_| open.is_none()) {
            title = Some(Under { title: comment.trim().to_owned(), line });
            continue;
        }
        if bare.is_empty() && open.is_none() {
            continue;
        }
        let (begin, mut whole) = open.take().unwrap_or((line, String::new()));
        if !whole.is_empty() {
            whole.push('\n');
        }
        whole.push_str(text);
        if bare.ends_with(';') {
            found.push(sql_step(&whole, begin, line, title.as_ref(), part));
        } else {
            open = Some((begin, whole));
        }
    }
    if let Some((begin, whole)) = open.filter(|(_, whole)| !whole.trim().is_empty()) {
        let last = begin + whole.trim_end().lines().count().saturating_sub(1);
        found.push(sql_step(whole.trim_end(), begin, last, title.as_ref(), part));
    }
}

fn sql_step(text: &str, line: usize, last_line: usize, under: Option<&Under>, part: &'static str) -> Step {
    Step { class: judge::judge_sql(text), ..plain(StepKind::Sql, text, (line, last_line), under, part) }
}

/// A step that nothing is known of but what it says and where.
fn plain(
    kind: StepKind,
    text: &str,
    (line, last_line): (usize, usize),
    under: Option<&Under>,
    part: &'static str,
) -> Step {
    Step {
        line,
        last_line,
        kind,
        class: Class::Unknown,
        text: text.to_owned(),
        under: under.cloned(),
        part,
        variant: None,
        depends_on: None,
        refers_to: None,
        placeholders: placeholders::of(text, line).into_iter().map(|(name, _)| name).collect(),
        details: Vec::new(),
        is_endless: false,
        is_command: false,
    }
}

/// Makes a step of a statement.
pub(super) fn command(
    text: &str,
    (line, last_line): (usize, usize),
    under: Option<&Under>,
    part: &'static str,
) -> Step {
    let text = text.trim_start().strip_prefix("$ ").unwrap_or(text);
    let judged = judge::judge(text);
    // What looks and stands under `Verify` is a check.
    let is_check =
        judged.kind == StepKind::Command && judged.class == Class::Observe && part == "verification";
    let kind = if is_check { StepKind::Check } else { judged.kind };
    Step {
        class: judged.class,
        text: text.trim().to_owned(),
        is_endless: judged.is_endless,
        is_command: judged.kind != StepKind::Manual,
        ..plain(kind, text, (line, last_line), under, part)
    }
}

/// Whether inline code is something to run: a program that is known, with something behind it.
pub(super) fn is_command(code: &str) -> bool {
    code.contains(' ') && crate::document::classify::is_command(code)
}
