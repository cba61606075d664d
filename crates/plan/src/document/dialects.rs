//! Other ways to write a document, said as Markdown: `AsciiDoc`, reStructuredText, wiki headings, tables drawn with `+---+`.
//!
//! Text comes in; text with **the same number of lines** leaves, so that every line keeps its number. What is Markdown
//! already comes out as it was. It changes headings, lists, fences and tables, never a word in them, and nothing inside a
//! fence. Whoever quotes a line quotes the file, not what leaves here.
//!
//! Read next: `read`, which parses what leaves; `tables` for tables that are drawn.

mod tables;

use std::borrow::Cow;

/// Says a document as Markdown, line by line.
pub(super) fn to_markdown(text: &str) -> Cow<'_, str> {
    let lines: Vec<&str> = text.lines().collect();
    let mut said: Vec<Cow<'_, str>> = lines.iter().map(|line| Cow::Borrowed(*line)).collect();
    let is_fenced = fenced(&lines);
    let is_asciidoc = is_asciidoc(&lines, &is_fenced);
    if is_asciidoc {
        asciidoc(&lines, &mut said);
    } else {
        wiki_headings(&lines, &is_fenced, &mut said);
        underlined(&lines, &is_fenced, &mut said);
        tables::grids(&lines, &is_fenced, &mut said);
        directives(&lines, &is_fenced, &mut said);
    }
    if said.iter().all(|line| matches!(line, Cow::Borrowed(_))) {
        return Cow::Borrowed(text);
    }
    let mut all = said.join("\n");
    all.push('\n');
    Cow::Owned(all)
}

/// Which lines stand in a Markdown fence, its marks among them.
fn fenced(lines: &[&str]) -> Vec<bool> {
    let mut open: Option<&str> = None;
    let mut found = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        let bare = line.trim_start();
        match open {
            Some(mark) => {
                found.push(true);
                if bare.starts_with(mark) && bare.trim_end().chars().all(|c| mark.starts_with(c)) {
                    open = None;
                }
            }
            None if bare.starts_with("```") => {
                open = Some("```");
                found.push(true);
            }
            None if bare.starts_with("~~~") && !is_under_title(lines, at) => {
                open = Some("~~~");
                found.push(true);
            }
            None => found.push(false),
        }
    }
    found
}

/// Whether line `at` underlines the one above it: as long as that, which stands alone and is no introduction.
fn is_under_title(lines: &[&str], at: usize) -> bool {
    let line = lines.get(at).copied().unwrap_or_default().trim_end();
    let Some(title) = at.checked_sub(1).and_then(|above| lines.get(above)).map(|title| title.trim_end())
    else {
        return false;
    };
    let (long, wide) = (line.chars().count(), title.chars().count());
    let Some(mark) = line.chars().next().filter(|c| matches!(c, '=' | '-' | '~' | '^')) else { return false };
    let above = at.checked_sub(2).and_then(|above| lines.get(above)).map_or("", |line| line.trim());
    let is_alone = above.is_empty() || above == line;
    // Three tildes open a fence: only what is exactly as long as the title above it underlines that.
    let slack = if mark == '~' { 0 } else { 2 };
    long >= 4
        && line.chars().all(|c| c == mark)
        && is_alone
        && long.abs_diff(wide) <= slack
        && title.starts_with(|c: char| c.is_alphanumeric() || !c.is_ascii())
        && !title.ends_with(':')
}

/// `3.1 Title` above `~~~~~~~~~`, and `1. Title` above `--------`, which Markdown takes for a list.
fn underlined(lines: &[&str], is_fenced: &[bool], said: &mut [Cow<'_, str>]) {
    for at in 1..lines.len() {
        if is_fenced.get(at).copied().unwrap_or_default() || !is_under_title(lines, at) {
            continue;
        }
        let (title, line) = (lines.get(at - 1).copied().unwrap_or_default().trim(), lines.get(at));
        let mark = line.and_then(|line| line.chars().next()).unwrap_or_default();
        let is_overlined = at >= 2 && lines.get(at - 2) == line;
        let begins_list = title.split_once(['.', ')']).is_some_and(|(number, rest)| {
            !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) && rest.starts_with(' ')
        });
        // All else Markdown reads by itself.
        if !(is_overlined || begins_list || matches!(mark, '~' | '^')) {
            continue;
        }
        let level = match mark {
            '=' => "#",
            '-' => "##",
            '~' => "###",
            _ => "####",
        };
        set(said, at - 1, format!("{level} {title}"));
        set(said, at, String::new());
        if is_overlined {
            set(said, at - 2, String::new());
        }
    }
}

/// `h2. Title`, and `== Title ==` with marks on both sides.
fn wiki_headings(lines: &[&str], is_fenced: &[bool], said: &mut [Cow<'_, str>]) {
    for (at, line) in lines.iter().enumerate() {
        if is_fenced.get(at).copied().unwrap_or_default() {
            continue;
        }
        let by_letter =
            line.strip_prefix('h').and_then(|rest| rest.split_once(". ")).and_then(|(level, title)| {
                let level: usize = level.parse().ok().filter(|level| (1..=6).contains(level))?;
                (!title.trim().is_empty()).then_some((level, title.trim()))
            });
        let by_marks = heading(line, '=').and_then(|(level, title)| {
            let bare = title.trim_end();
            let title = bare.trim_end_matches('=');
            (bare.len() - title.len() == level && level > 1).then_some((level, title.trim()))
        });
        if let Some((level, title)) = by_letter.or(by_marks) {
            set(said, at, format!("{} {title}", "#".repeat(level)));
        }
    }
}

/// `.. code-block:: bash` announces the indented text below it, which Markdown takes for code by itself.
fn directives(lines: &[&str], is_fenced: &[bool], said: &mut [Cow<'_, str>]) {
    for (at, line) in lines.iter().enumerate() {
        let names = [".. code-block::", ".. code::", ".. sourcecode::"];
        if !is_fenced.get(at).copied().unwrap_or_default()
            && names.iter().any(|name| line.trim_start().starts_with(name))
        {
            set(said, at, String::new());
        }
    }
}

/// A document whose headings are `== Title` and that has no heading of Markdown.
fn is_asciidoc(lines: &[&str], is_fenced: &[bool]) -> bool {
    let outside = || lines.iter().zip(is_fenced).filter(|(_, fenced)| !**fenced).map(|(line, _)| *line);
    let is_heading =
        |line: &str| heading(line, '=').is_some_and(|(_, title)| !title.trim_end().ends_with('='));
    outside().filter(|line| is_heading(line)).nth(1).is_some()
        && !outside().any(|line| heading(line, '#').is_some())
}

/// Returns level and title of `== Title`.
fn heading(line: &str, mark: char) -> Option<(usize, &str)> {
    let title = line.trim_start_matches(mark);
    let level = line.len() - title.len();
    ((1..=6).contains(&level) && title.starts_with(' ') && !title.trim().is_empty())
        .then(|| (level, title.trim()))
}

fn asciidoc(lines: &[&str], said: &mut [Cow<'_, str>]) {
    let mut language = String::new();
    let mut columns = 0;
    let mut open: Option<&str> = None;
    let mut skip_until = 0;
    for (at, line) in lines.iter().enumerate() {
        let bare = line.trim_end();
        let is_mark = bare.len() >= 4 && (bare.chars().all(|c| c == '-') || bare.chars().all(|c| c == '.'));
        if let Some(mark) = open {
            if bare == mark {
                set(said, at, "```".to_owned());
                open = None;
            }
            continue;
        }
        if at < skip_until {
            continue;
        }
        if is_mark {
            open = Some(bare);
            set(said, at, format!("```{}", std::mem::take(&mut language)));
        } else if let Some(attributes) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let mut parts = attributes.split(',').map(str::trim);
            if parts
                .next()
                .is_some_and(|kind| matches!(kind, "source" | "listing") || kind.starts_with("source%"))
            {
                parts.next().unwrap_or_default().clone_into(&mut language);
            }
            columns = tables::columns(attributes).unwrap_or(columns);
            set(said, at, String::new());
        } else if bare == "|===" {
            skip_until = tables::asciidoc(lines, at, columns, said);
            columns = 0;
        } else if let Some(line) = asciidoc_line(bare) {
            set(said, at, line);
        }
    }
}

/// Headings, lists and titles of blocks; a `+` that only binds.
fn asciidoc_line(line: &str) -> Option<String> {
    if let Some((level, title)) = heading(line, '=') {
        return Some(format!("{} {title}", "#".repeat(level)));
    }
    if line == "+" || (line.len() >= 4 && (line.chars().all(|c| c == '=') || line.chars().all(|c| c == '*')))
    {
        return Some(String::new());
    }
    for (mark, word) in [('.', "1."), ('*', "*")] {
        let rest = line.trim_start_matches(mark);
        let depth = line.len() - rest.len();
        if depth > 0 && rest.starts_with(' ') && (depth > 1 || mark == '.') {
            return Some(format!("{}{word}{rest}", "   ".repeat(depth - 1)));
        }
    }
    let title = line.strip_prefix('.').filter(|title| title.starts_with(char::is_alphanumeric))?;
    Some(format!("**{title}**"))
}

fn set(said: &mut [Cow<'_, str>], at: usize, line: String) {
    if let Some(place) = said.get_mut(at) {
        *place = Cow::Owned(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        to_markdown(text).lines().map(str::to_owned).collect()
    }

    #[test]
    fn markdown_comes_out_as_it_was() {
        for text in [
            "Title\n=====\n\nText\n\n- a\n- b\n-----\n",
            "Code\n~~~\n= not a heading\n~~~\n",
            "```\n1. a\n----\nh1. x\n== y ==\n```\n",
            "Run this:\n~~~~~~~~~\nls\n~~~~~~~~~\n",
            "| a | b |\n|---|---|\n| 1 | 2 |\n",
            "# A\n\n== not asciidoc\n\n. dot\n",
        ] {
            assert!(matches!(to_markdown(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn titles_that_markdown_takes_for_lists_or_fences_are_headings() {
        assert_eq!(
            said("1. Scope\n--------\n\n3.1 Cache\n~~~~~~~~~\nx"),
            ["## 1. Scope", "", "", "### 3.1 Cache", "", "x"]
        );
        assert_eq!(said("=====\nTitle\n=====\n"), ["", "# Title", ""]);
        assert_eq!(
            said("h2. A\n\n=== B ===\n"),
            ["## A", "", "=== B ===".replace(" ===", "").replace("=== ", "### ").as_str()]
        );
    }

    #[test]
    fn asciidoc_keeps_every_line_where_it_was() {
        let text = "= T\n\n== S\n\n. do\n+\n[source,bash]\n----\nls\n. x\n----\n.. inner\n** deep\n.Name\n";
        assert_eq!(
            said(text),
            [
                "# T",
                "",
                "## S",
                "",
                "1. do",
                "",
                "",
                "```bash",
                "ls",
                ". x",
                "```",
                "   1. inner",
                "   * deep",
                "**Name**"
            ]
        );
    }
}
