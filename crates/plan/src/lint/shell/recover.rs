//! Text as it stands in documents: placeholders, lines of a crontab, alternatives in comments, pieces that are no shell.
//!
//! In: shell text of any quality. Out: a [`Script`] of all that can be read. Placeholders `<name>` are words, lines of a
//! crontab are taken out, a comment such as `# Or: command` is read as a command, and where the whole does not parse it
//! is read statement by statement. The work is bounded by [`NESTED`], [`TRIES`] and [`LONGEST`].

use brush_parser::{Parser, ParserOptions};

use super::{
    CronLine, Origin, Script,
    walk::{Frame, Walker},
};

/// How deep brackets may stand in each other: the parser calls itself for each, and people do not write deeper ones.
const NESTED: usize = 40;
/// How often a text that does not parse is tried in parts; what is left then is not read.
const TRIES: usize = 2000;
/// How many lines one statement may have where the whole does not parse.
const LONGEST: usize = 60;
/// Words that say that a comment holds another way of doing it.
const ALTERNATIVES: [&str; 6] = ["or", "or use", "alternatively", "alternative", "otherwise", "or with"];

pub(super) fn read(text: &str, origin: Origin) -> Script {
    if let Some(line) = too_deep(text) {
        return Script { unparsed: vec![origin.line + line], ..Script::default() };
    }
    let mut lines: Vec<String> = text.lines().map(mark_placeholders).collect();
    let crons = take_crons(&mut lines, origin);
    let frame = Frame { line: origin.line, lead: origin.indent, indent: origin.indent };
    let mut walker = Walker::new(frame);
    let mut unparsed = Vec::new();
    if !whole(&mut walker, &lines) {
        unparsed = by_statement(&mut walker, &lines, origin);
    }
    alternatives(&mut walker, &lines, origin);
    let mut script = walker.script;
    if text.lines().next().is_some_and(|line| line.starts_with("#!") && line.contains(" -e")) {
        script.has_errexit = true;
    }
    script.crons = crons;
    script.unparsed = unparsed;
    script
}

/// The line at which brackets or compound commands are nested too deep.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (number, line) in text.lines().enumerate() {
        let opens = line.matches(['(', '{', '`']).count() + words(line, &["if", "do", "case", "then"]);
        let closes = line.matches([')', '}']).count() + words(line, &["fi", "done", "esac"]);
        // Within one line each bracket may stand in the one before it.
        if depth + opens > NESTED * 3 {
            return Some(number);
        }
        depth = (depth + opens).saturating_sub(closes);
        if depth > NESTED {
            return Some(number);
        }
    }
    None
}

fn words(line: &str, names: &[&str]) -> usize {
    line.split([' ', '\t', ';']).filter(|word| names.contains(word)).count()
}

fn whole(walker: &mut Walker, lines: &[String]) -> bool {
    let text = lines.join("\n") + "\n";
    let parsed = Parser::new(text.as_bytes(), &ParserOptions::default()).parse_program();
    parsed.is_ok_and(|program| {
        walker.program(&program);
        true
    })
}

/// Reads the smallest groups of lines that parse; returns the lines that belong to none.
fn by_statement(walker: &mut Walker, lines: &[String], origin: Origin) -> Vec<usize> {
    let mut unparsed = Vec::new();
    let mut first = 0;
    let mut tries = 0;
    while let Some(line) = lines.get(first).filter(|_| tries < TRIES) {
        let frame = Frame { line: origin.line + first, lead: origin.indent, indent: origin.indent };
        walker.set_frame(frame);
        let is_open = line.trim_end().ends_with('\\');
        let longest = (first + LONGEST).min(lines.len());
        let shortest = first
            + 1
            + lines
                .get(first..longest)
                .unwrap_or_default()
                .iter()
                .take_while(|line| line.trim_end().ends_with('\\'))
                .count();
        let found = (shortest..=longest).find(|end| {
            tries += 1;
            lines.get(first..*end).is_some_and(|group| {
                // A line that cannot be continued is not tried with the sixty after it.
                (*end == shortest || can_go_on(lines.get(first..*end - 1).unwrap_or_default()))
                    && whole(walker, group)
            })
        });
        if let Some(end) = found {
            first = end;
        } else {
            unparsed.push(origin.line + first);
            first += if is_open { shortest - first } else { 1 };
        }
    }
    unparsed
}

/// Whether more lines can make it whole.
fn can_go_on(lines: &[String]) -> bool {
    let text = lines.join("\n") + "\n";
    match Parser::new(text.as_bytes(), &ParserOptions::default()).parse_program() {
        Ok(_) | Err(brush_parser::ParseError::ParsingNear(_)) => false,
        Err(_) => true,
    }
}

/// Replaces the brackets of `<name>` by letters that mean nothing to a shell, one for one, so that columns stay.
fn mark_placeholders(line: &str) -> String {
    if !line.contains('<') {
        return line.to_owned();
    }
    let letters: Vec<char> = line.chars().collect();
    let mut marked = letters.clone();
    for (start, _) in letters.iter().enumerate().filter(|(_, letter)| **letter == '<') {
        let before = start.checked_sub(1).and_then(|at| letters.get(at));
        let rest = letters.get(start + 1..).unwrap_or_default();
        let length = rest.iter().take_while(|one| one.is_alphanumeric() || "-_.:/".contains(**one)).count();
        let begins = rest.first().is_some_and(|one| one.is_alphabetic());
        let is_closed = rest.get(length) == Some(&'>');
        if before != Some(&'<') && length > 0 && begins && is_closed {
            if let Some(letter) = marked.get_mut(start) {
                *letter = '‹';
            }
            if let Some(letter) = marked.get_mut(start + 1 + length) {
                *letter = '›';
            }
        }
    }
    marked.into_iter().collect()
}

/// Takes lines of a crontab out; those in a here-document are what a command is given, and stay.
fn take_crons(lines: &mut [String], origin: Origin) -> Vec<CronLine> {
    let mut crons = Vec::new();
    let mut document: Option<String> = None;
    for (number, line) in lines.iter_mut().enumerate() {
        if let Some(end) = &document {
            if line.trim() == end {
                document = None;
            }
            continue;
        }
        document = here_document(line);
        if let Some((schedule, command, at)) = cron_line(line) {
            let column = origin.indent + at + 1;
            crons.push(CronLine { schedule, command, line: origin.line + number, column });
            line.clear();
        }
    }
    crons
}

/// The word that ends the here-document which a line begins: `EOF` of `cat <<'EOF' > file`.
fn here_document(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("<<").filter(|(_, rest)| !rest.starts_with('<'))?;
    let rest = rest.trim_start_matches('-').trim_start();
    let end: String = rest
        .trim_start_matches(['\'', '"', '\\'])
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    end.starts_with(|c: char| c.is_alphabetic() || c == '_').then_some(end)
}

/// Splits a line of a crontab into schedule and command, and tells at which character the schedule begins.
pub(crate) fn cron_line(line: &str) -> Option<(String, String, usize)> {
    let trimmed = line.trim_start();
    let at = line.chars().count() - trimmed.chars().count();
    let count = if trimmed.starts_with('@') { 1 } else { 5 };
    let mut rest = trimmed;
    let mut fields = Vec::new();
    for _ in 0..count {
        let (field, after) = rest.split_once(char::is_whitespace)?;
        fields.push(field);
        rest = after.trim_start();
    }
    let is_schedule = match fields.as_slice() {
        [one] => ["@daily", "@hourly", "@weekly", "@monthly", "@reboot", "@midnight", "@yearly", "@annually"]
            .contains(one),
        all => all.iter().all(|field| is_cron_field(field)) && !rest.is_empty(),
    };
    is_schedule.then(|| (fields.join(" "), rest.to_owned(), at))
}

fn is_cron_field(field: &str) -> bool {
    const NAMES: [&str; 19] = [
        "mon", "tue", "wed", "thu", "fri", "sat", "sun", "jan", "feb", "mar", "apr", "may", "jun", "jul",
        "aug", "sep", "oct", "nov", "dec",
    ];
    !field.is_empty()
        && field.split([',', '-', '/']).all(|part| {
            part == "*"
                || (!part.is_empty() && part.chars().all(|one| one.is_ascii_digit()))
                || NAMES.contains(&part.to_ascii_lowercase().as_str())
        })
}

/// Reads commands in comments that stand there as another way: `# Or: command …`.
fn alternatives(walker: &mut Walker, lines: &[String], origin: Origin) {
    for (number, line) in lines.iter().enumerate() {
        let Some((before, comment)) = line.split_once('#') else { continue };
        if !before.trim().is_empty() {
            continue;
        }
        let Some((word, command)) = comment.split_once(':') else { continue };
        if !ALTERNATIVES.contains(&word.trim().to_ascii_lowercase().as_str()) || !command.trim().contains(' ')
        {
            continue;
        }
        let lead = origin.indent + (line.chars().count() - command.chars().count());
        walker.set_frame(Frame { line: origin.line + number, lead, indent: origin.indent });
        let parsed = Parser::new(command.as_bytes(), &ParserOptions::default()).parse_program();
        if let Ok(program) = parsed {
            walker.set_alternative(true);
            walker.program(&program);
            walker.set_alternative(false);
        }
    }
}
