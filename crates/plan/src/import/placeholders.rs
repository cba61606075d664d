//! Places that somebody has to fill in before a command can run.
//!
//! Text comes in; each placeholder leaves with its line: `<pod-name>`, `backup_YYYYMMDD`, `____`, `[TITLE]`, `sk-xxx`,
//! `YOUR_TOKEN`, `TBD`, `…://...`. A redirection is no placeholder, and neither is a test in brackets.

use std::collections::BTreeMap;

use super::{Question, Reader};
use crate::document::FenceKind;

const LINE_BYTES_MAX: usize = 10_000;

/// Gathers the questions of all fences that hold something to run, and of configuration.
pub(super) fn read(reader: &mut Reader<'_>) {
    let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut order = Vec::new();
    for (_, _, fence) in reader.document.fences() {
        if matches!(
            fence.kind,
            FenceKind::Template
                | FenceKind::Transcript
                | FenceKind::Diagram
                | FenceKind::Text
                | FenceKind::Program
        ) {
            continue;
        }
        for (placeholder, line) in of(&fence.content, fence.content_line) {
            let lines = found.entry(placeholder.clone()).or_default();
            if lines.is_empty() {
                order.push(placeholder);
            }
            if lines.last() != Some(&line) {
                lines.push(line);
            }
        }
    }
    reader.found.questions = order
        .into_iter()
        .filter_map(|placeholder| {
            let lines = found.remove(&placeholder)?;
            Some(Question { line: *lines.first()?, name: name(&placeholder), lines, placeholder })
        })
        .collect();
}

/// Returns each placeholder of a text once for each line on which it stands.
pub(super) fn of(text: &str, first: usize) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    for (offset, line) in text.lines().enumerate() {
        // No command has a line as long as this; it is data.
        if line.len() > LINE_BYTES_MAX {
            continue;
        }
        let mut here: Vec<String> = angled(line);
        here.extend(words(line));
        here.dedup();
        for one in here {
            let is_new =
                !found.iter().rev().take_while(|(_, at)| *at == first + offset).any(|(name, _)| *name == one);
            if is_new {
                found.push((one, first + offset));
            }
        }
    }
    found
}

/// `<name>`: letters, digits and a few marks, no blank around. `<EOF>` and `a < b > c` are none.
fn angled(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = line.get(from..).and_then(|rest| rest.find('<')).map(|at| from + at) {
        let before = line.get(..at).and_then(|text| text.chars().last());
        let after = line.get(at + 1..).unwrap_or_default();
        from = at + 1;
        let Some(inner) = after.find('>').and_then(|end| after.get(..end)) else { continue };
        let is_name = inner.starts_with(char::is_alphabetic)
            && inner.len() <= 60
            && inner.trim() == inner
            && inner.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ' | '.' | ':'));
        if is_name && !matches!(before, Some('<' | '$')) {
            found.push(format!("<{inner}>"));
            from += inner.len() + 1;
        }
    }
    found
}

/// Words that are plainly no value.
fn words(line: &str) -> Vec<String> {
    line.split(|c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '=' | ',' | ';' | '(' | ')' | '{' | '}' | '`' | '|')
    })
    .filter_map(|word| {
        let word = word.trim_end_matches(['.', ':']).rsplit('/').next().unwrap_or(word);
        let upper = word.to_uppercase();
        // `%Y%m%d` and `$YOUR_X` have values of their own.
        if word.contains('%') || word.contains('$') || word.len() < 3 || word.starts_with('<') {
            return None;
        }
        let is_date = word.contains("YYYY") || word.contains("HHMMSS") || word.contains("HH:MM");
        let is_lower_x = word.to_lowercase().contains("xxx") && !word.contains("xxxl");
        let is_yours = upper.starts_with("YOUR_")
            || upper.starts_with("YOUR-")
            || upper.contains("CHANGEME")
            || upper.contains("CHANGE_ME")
            || upper.contains("REPLACE_ME")
            || upper == "TBD"
            || upper == "TODO";
        let is_line = word.chars().all(|c| c == '_') && word.len() >= 3;
        let is_bracketed = word.starts_with('[')
            && word.ends_with(']')
            && word.chars().skip(1).take(word.len() - 2).all(|c| c.is_ascii_uppercase() || c == '_')
            && word.len() > 4;
        let is_shouted =
            ["_ID", "_IP", "_TOKEN", "_KEY", "_NAME", "_HOST"].iter().any(|end| word.ends_with(end))
                && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                && line.contains('"')
                && line.contains(&format!("\"{word}\""));
        (is_date || is_lower_x || is_yours || is_line || is_bracketed || is_shouted).then(|| stem(word))
    })
    .collect()
}

/// The file name without what follows the placeholder: `backup_YYYYMMDD.sql.gz` asks for one thing.
fn stem(word: &str) -> String {
    let end = word
        .find('.')
        .filter(|at| word.get(..*at).is_some_and(|stem| stem.contains("YYYY") || stem.contains("HHMMSS")));
    word.get(..end.unwrap_or(word.len())).unwrap_or(word).to_owned()
}

/// A name for the answer: small letters, digits and underscores.
pub(super) fn name(placeholder: &str) -> String {
    let mut name: String =
        placeholder.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    while name.contains("__") {
        name = name.replace("__", "_");
    }
    let name = name.trim_matches('_');
    if name.is_empty() { "value".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_and_redirections_are_not() {
        let names = |text: &str| of(text, 1).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("kubectl logs <pod-name> -n <ns>"), ["<pod-name>", "<ns>"]);
        assert_eq!(names("./b restore app_YYYYMMDD_HHMMSS.dump --yes"), ["app_YYYYMMDD_HHMMSS"]);
        assert_eq!(names("--from-literal=KEY=sk-ant-xxx"), ["sk-ant-xxx"]);
        assert_eq!(names("-H \"Authorization: token=YOUR_TOKEN\""), ["YOUR_TOKEN"]);
        assert_eq!(names("\"id\": \"SERVICE_ID\""), ["SERVICE_ID"]);
        for text in [
            "cat <<EOF > x",
            "sort < a > b",
            "date +%Y%m%d",
            "psql -c 'a <> b'",
            "if [ -f x ]; then",
            "echo $YOUR_KEY",
        ] {
            assert!(names(text).is_empty(), "{text}: {:?}", names(text));
        }
        assert_eq!(name("<pod-name>"), "pod_name");
        assert_eq!(name("____"), "value");
    }
}
